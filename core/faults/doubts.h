// SPDX-License-Identifier: Apache-2.0
//
// What is strange about a plan that is valid: rules that can hardly ever strike.
#pragma once

#include <string>
#include <vector>

#include "core/faults/plan.h"

namespace opennrt::faults {

/// A sentence for each, "plan.json:7: rules[2] (slow copies): …"; empty: nothing is strange. No backend is asked.
std::vector<std::string> doubts(const Plan& plan);

}  // namespace opennrt::faults
