// SPDX-License-Identifier: Apache-2.0
//
// The replayer's side of renaming: which number an alias of the transcript stands for in this process.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "backends/emulator/preload/describe.h"

namespace opennrt::emulator {

/// Not thread-safe.
class ReplayNames {
 public:
  using Taking = std::map<std::string, std::uint64_t>;
  /// Whether the transcript's text may stand for the number that the program gave. An alias that has no number yet is
  /// noted in `taking`, to be bound when everything else fits, too.
  bool accepts(Kind kind, const std::string& text, std::uint64_t value, Taking& taking) const;
  void bind(const Taking& taking) { values_.insert(taking.begin(), taking.end()); }
  /// The number that the program gets for a text of the transcript; a new alias gets a fresh one. False: the text is
  /// neither a number nor an alias.
  bool value(Kind kind, const std::string& text, std::uint64_t& value);
  /// What a number of the program is called in the transcript; its hexadecimal text if it has no name.
  std::string name(Kind kind, std::uint64_t value) const;
  /// A descriptor has been opened: its number is no longer that of one that was closed.
  void bind_fd(const std::string& alias, std::uint64_t value) {
    std::erase_if(values_, [&](const auto& known) { return known.second == value && known.first.starts_with("fd"); });
    values_[alias] = value;
  }

 private:
  std::map<std::string, std::uint64_t> values_;  ///< by alias
};

}  // namespace opennrt::emulator
