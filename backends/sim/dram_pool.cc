// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/dram_pool.h"

#include <algorithm>
#include <iterator>

namespace opennrt::driver {

DramPool::DramPool(std::uint64_t base, std::uint64_t bytes) : free_{{base, bytes}}, free_bytes_(bytes) {}

std::optional<std::uint64_t> DramPool::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  if (bytes == 0 || bytes > free_bytes_) return std::nullopt;  // also keeps rounded() from overflowing
  const std::uint64_t size = rounded(bytes);
  const std::uint64_t step = std::max(alignment, kPoolPage);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [start, length] = *it;
    const std::uint64_t address = (start + step - 1) / step * step;
    const std::uint64_t skipped = address - start;
    if (skipped > length || length - skipped < size) continue;
    const std::uint64_t behind = length - skipped - size;
    if (skipped == 0) {
      free_.erase(it);
    } else {
      it->second = skipped;
    }
    if (behind != 0) free_.emplace(address + size, behind);
    free_bytes_ -= size;
    return address;
  }
  return std::nullopt;
}

void DramPool::release(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t size = rounded(bytes);
  free_bytes_ += size;
  auto it = free_.emplace(address, size).first;
  if (auto next = std::next(it); next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    auto previous = std::prev(it);
    if (previous->first + previous->second == it->first) {
      previous->second += it->second;
      free_.erase(it);
    }
  }
}

std::uint64_t DramPool::largest_free() const {
  std::uint64_t largest = 0;
  for (const auto& [start, length] : free_) largest = std::max(largest, length);
  return largest;
}

}  // namespace opennrt::driver
