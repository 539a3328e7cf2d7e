// SPDX-License-Identifier: Apache-2.0
#include "simulator/memory/host_memory.h"

#include <iterator>

namespace opennrt::sim {

std::uint64_t HostMemory::add(void* memory, std::uint64_t bytes) {
  if (bytes == 0 || bytes > kEnd - kFirst) return 0;
  // One unit of distance to the next range, so that running over the end is noticed.
  const std::uint64_t room = (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
  for (int pass = 0; pass < 2; ++pass) {
    std::uint64_t candidate = pass == 0 ? next_ : kFirst;
    while (candidate + room <= kEnd) {
      // Ranges that begin below candidate + room and end above candidate are in the way.
      auto after = ranges_.lower_bound(candidate + room);
      if (after == ranges_.begin()) break;
      const auto& [base, range] = *std::prev(after);
      const std::uint64_t end = (base + range.bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
      if (end <= candidate) break;
      candidate = end;
    }
    if (candidate + room <= kEnd) {
      ranges_.emplace(candidate, Range{static_cast<std::byte*>(memory), bytes});
      next_ = candidate + room;
      return candidate;
    }
  }
  return 0;
}

bool HostMemory::add_at(std::uint64_t bus_address, void* memory, std::uint64_t bytes) {
  constexpr std::uint64_t kSpace = kEnd + kAlignment;
  if (bytes == 0 || bus_address >= kSpace || bytes > kSpace - bus_address) return false;
  auto after = ranges_.lower_bound(bus_address + bytes);
  if (after != ranges_.begin()) {
    const auto& [base, range] = *std::prev(after);
    if (base + range.bytes > bus_address) return false;
  }
  ranges_.emplace(bus_address, Range{static_cast<std::byte*>(memory), bytes});
  return true;
}

bool HostMemory::remove(std::uint64_t bus_address) {
  return ranges_.erase(bus_address) != 0;
}

std::byte* HostMemory::find(std::uint64_t bus_address, std::uint64_t bytes) const {
  auto after = ranges_.upper_bound(bus_address);
  if (after == ranges_.begin()) return nullptr;
  const auto& [base, range] = *std::prev(after);
  const std::uint64_t offset = bus_address - base;
  if (offset >= range.bytes || bytes > range.bytes - offset) return nullptr;
  return range.memory + offset;
}

void HostMemory::clear() {
  ranges_.clear();
  next_ = kFirst;
}

}  // namespace opennrt::sim
