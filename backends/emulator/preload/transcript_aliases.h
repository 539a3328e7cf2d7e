// SPDX-License-Identifier: Apache-2.0
//
// The recorder's side of renaming: numbers that differ from run to run get names in the order of their appearance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "backends/emulator/preload/describe.h"

namespace opennrt::emulator {

/// What is behind an mmap offset, which decides whether its contents are followed.
enum class Origin : std::uint8_t { kMemory, kNotifications, kDatastore };

/// Not thread-safe. A number that means nothing (0 of handles, addresses and pids, all ones) keeps its own text.
class Aliases {
 public:
  struct Known {
    std::uint64_t number = 0;  ///< of the alias, from 1
    std::uint64_t bytes = 0;   ///< from the number on, 0: unknown
    std::uint64_t owner = 0;   ///< memory handle that it goes away with; 0: none
    Origin origin = Origin::kMemory;
  };

  /// The alias of a number, made if there is none; a number within known bytes is shown as "pa1+0x40". `fresh`
  /// describes what to note if it is made.
  std::string of(Kind kind, int device, std::uint64_t value, Known fresh);
  std::string of(Kind kind, int device, std::uint64_t value) { return of(kind, device, value, Known()); }
  /// What is known about a number (within the bytes of an alias, too); null: nothing.
  const Known* find(Kind kind, int device, std::uint64_t value) const;
  /// Memory is freed: its handle and what belongs to it will mean something else when they appear again.
  void forget(int device, std::uint64_t handle);
  void forget(Kind kind, int device, std::uint64_t value);

 private:
  using Space = std::map<std::pair<int, std::uint64_t>, Known>;
  Space& space(Kind kind) { return spaces_[kind]; }
  Space::const_iterator locate(const Space& space, int device, std::uint64_t value) const;

  std::map<Kind, Space> spaces_;
  std::map<Kind, std::uint64_t> last_;
};

/// "mh", "pa", "mo", "pid", "fd".
const char* alias_prefix(Kind kind);
/// Numbers that are shown as they are: see Aliases.
bool means_nothing(Kind kind, std::uint64_t value);

}  // namespace opennrt::emulator
