// SPDX-License-Identifier: Apache-2.0
//
// The kinds of faults: what each is, where it can be, what the runtime is documented to answer and how a user recovers.
// The one list from which the parser, `opennrt faults list`, the schema and the documentation are made.
#pragma once

#include <span>
#include <string_view>

#include "core/faults/plan.h"

namespace opennrt::faults {

struct Parameter {
  enum class Type { kBool, kInteger, kBits, kNumber, kText };  ///< kBits: a pattern of 64 bits, not 0
  std::string_view name;
  Type type = Type::kInteger;
  std::string_view fallback;   ///< as text; empty: required
  double least = 0, most = 0;  ///< range of numbers; equal: none
  std::string_view choices;    ///< "a|b|c" for text; empty: any
  std::string_view meaning;
};

struct Kind {
  std::string_view name;  ///< "sram_uncorrectable"
  Level level = Level::kChip;
  std::string_view what;      ///< one sentence
  std::string_view backends;  ///< "sim neuron": where it can be; front door: "*"
  std::string_view where;     ///< fields of `where` that mean something: "device core engine"
  std::span<const Parameter> parameters;
  std::string_view event;     ///< what is counted: "an instruction retires", "a descriptor is fetched"
  std::string_view status;    ///< documented outcome: "NRT_EXEC_HW_ERR_NC_UE", several separated by spaces
  std::string_view recovery;  ///< "retry", "reset", "reload", "reinit", "none needed"
  std::string_view source;    ///< public source of the fact, or why it is so
};

std::span<const Kind> kinds();
const Kind* find_kind(std::string_view name);

}  // namespace opennrt::faults
