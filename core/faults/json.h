// SPDX-License-Identifier: Apache-2.0
//
// JSON whose values know their lines, so that a wrong one can be pointed at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::faults {

struct Json {
  struct Member;
  enum class Type { kNull, kBool, kInteger, kUnsigned, kNumber, kText, kArray, kObject };
  Type type = Type::kNull;
  std::uint32_t line = 1;
  bool flag = false;
  std::int64_t integer = 0;     ///< kInteger
  std::uint64_t magnitude = 0;  ///< kUnsigned: integers from 0
  double number = 0;            ///< any number
  std::string text;             ///< kText
  std::vector<Json> items;      ///< kArray
  std::vector<Member> members;  ///< kObject, in the file's order, each name once

  const Json* find(const std::string& name) const;
  /// As a message shows it: short, "an object" where it is long.
  std::string shown() const;
};

struct Json::Member {
  std::string name;
  Json value;
};

/// kInvalidFile with `source` and line: no JSON, a name twice in one object, deeper than 16 or more than a million values.
Result<Json> parse_json(const std::string& text, const std::string& source);

}  // namespace opennrt::faults
