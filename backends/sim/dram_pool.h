// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace opennrt::driver {

/// The kernel driver hands out device memory in pages (aws-neuron-driver neuron_mempool.c, mempool_min_alloc_size).
inline constexpr std::uint64_t kPoolPage = 4096;

/// Free space of one DRAM channel, first fit. Addresses are device addresses. Not thread-safe: its device has the lock.
class DramPool {
 public:
  DramPool(std::uint64_t base, std::uint64_t bytes);

  /// `bytes` rounded up to pages, at a multiple of `alignment` (0 or a power of two; at least a page). Nothing: it does
  /// not fit.
  std::optional<std::uint64_t> allocate(std::uint64_t bytes, std::uint64_t alignment);
  /// What allocate returned, with the same `bytes`.
  void release(std::uint64_t address, std::uint64_t bytes);

  std::uint64_t free_bytes() const { return free_bytes_; }
  std::uint64_t largest_free() const;

  /// What `bytes` take from a pool.
  static std::uint64_t rounded(std::uint64_t bytes) { return (bytes + kPoolPage - 1) / kPoolPage * kPoolPage; }

 private:
  std::map<std::uint64_t, std::uint64_t> free_;  ///< start → bytes; neighbours are merged
  std::uint64_t free_bytes_;
};

}  // namespace opennrt::driver
