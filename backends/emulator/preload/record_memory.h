// SPDX-License-Identifier: Apache-2.0
//
// Mapped memory that the device writes to: what has changed in it since it was last looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace opennrt::emulator {

/// Not thread-safe.
class FollowedMemory {
 public:
  /// Follows a mapping, of which nothing but zeros is known. Changes are reported in pieces of `piece` bytes.
  void follow(unsigned alias, const void* address, std::size_t bytes, std::size_t piece);
  /// Mappings that overlap the range are no longer looked at; their aliases.
  std::vector<unsigned> forget(const void* address, std::size_t bytes);
  void forget_all() { mappings_.clear(); }
  /// Each changed piece: alias of the mapping, offset in it, what is there now.
  void changes(const std::function<void(unsigned alias, std::size_t offset, const std::string& bytes)>& report);

 private:
  struct Mapping {
    unsigned alias = 0;
    std::uint64_t address = 0;
    std::size_t piece = 0;
    std::string seen;
  };
  std::vector<Mapping> mappings_;
};

}  // namespace opennrt::emulator
