// SPDX-License-Identifier: Apache-2.0
//
// The CostModel in a chip file.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/common/error.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

/// Reads `clock` (GHz) and every member of CostModel but clock_ghz from `engines` of a chip file; each is a number or an object
/// with a `value`. All must be there. kInvalidArgument names the field, its value and what was expected. Thread-safe.
Result<CostModel> cost_model_from_json(const nlohmann::json& chip);

}  // namespace opennrt::sim
