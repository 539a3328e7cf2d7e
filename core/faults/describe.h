// SPDX-License-Identifier: Apache-2.0
//
// The catalogue for people and for their editors: docs/faults.schema.json, the table in docs/fault-injection.md and what
// `opennrt faults list` and `explain` print.
#pragma once

#include <functional>
#include <string>

#include "core/faults/catalogue.h"

namespace opennrt::faults {

/// JSON Schema (draft 2020-12) of a plan.
std::string schema();
/// All kinds as tables of Markdown, a table for each level.
std::string tables();
/// Kinds as a JSON list.
std::string list_json(const std::function<bool(const Kind&)>& wanted);
/// What is to know about a kind, and an example of a rule. Ends with a line break.
std::string explain(const Kind& kind);
/// "an integer from 1 to 9".
std::string expected(const Parameter& parameter);

}  // namespace opennrt::faults
