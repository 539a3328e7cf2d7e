// SPDX-License-Identifier: Apache-2.0
//
// Host memory as the chips reach it: only what was registered, at bus addresses of our own choice, so that a run does
// not depend on where the process's memory happens to lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace opennrt::sim {

/// Translates bus addresses to memory of this process. Used on the simulation thread only.
class HostMemory {
 public:
  /// Registers [memory, memory + bytes); returns a bus address, aligned to 64 KiB and never 0. Ranges never touch
  /// each other, so that running over the end of one is noticed. 0 when `bytes` is 0 or the bus address space is full.
  std::uint64_t add(void* memory, std::uint64_t bytes);
  /// The same at a given bus address of any alignment; ranges may touch. False when `bytes` is 0 or addresses are
  /// taken.
  bool add_at(std::uint64_t bus_address, void* memory, std::uint64_t bytes);
  /// False when no range begins there.
  bool remove(std::uint64_t bus_address);
  /// Memory behind [bus_address, bus_address + bytes), or null unless all of it lies in one registered range.
  std::byte* find(std::uint64_t bus_address, std::uint64_t bytes) const;
  void clear();

 private:
  struct Range {
    std::byte* memory;
    std::uint64_t bytes;
  };
  std::map<std::uint64_t, Range> ranges_;
  std::uint64_t next_ = kFirst;

  static constexpr std::uint64_t kAlignment = 0x1'0000;
  static constexpr std::uint64_t kFirst = 0x1'0000'0000;
  static constexpr std::uint64_t kEnd =
      0x3fff'ffff'0000;  // below bit 46, which marks host addresses (v1/address_map.h)
};

}  // namespace opennrt::sim
