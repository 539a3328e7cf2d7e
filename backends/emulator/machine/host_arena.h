// SPDX-License-Identifier: Apache-2.0
//
// The host memory of an emulated machine: one memfd that every client maps, too. What the driver would allocate from
// the kernel is a range of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "backends/sim/dram_pool.h"
#include "backends/sim/platform.h"
#include "core/common/error.h"

namespace opennrt::emulator {

/// Thread-safe. Sealed: a client can neither shrink it nor make it grow.
class HostArena : public driver::HostMemory {
 public:
  static constexpr std::uint64_t kBytes = 64ull << 30;  ///< sparse: pages exist once they are touched

  static Result<std::unique_ptr<HostArena>> make();
  ~HostArena() override;
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  std::byte* allocate(std::uint64_t bytes) override;
  void release(std::byte* data, std::uint64_t bytes) override;
  void clear(std::byte* data, std::uint64_t bytes) override;

  int descriptor() const { return fd_; }  ///< ours; it closes with this object
  /// Where in the memfd `data` is, which allocate returned.
  std::uint64_t offset_of(const std::byte* data) const { return static_cast<std::uint64_t>(data - base_); }

 private:
  HostArena(int fd, std::byte* base);
  const int fd_;
  std::byte* const base_;
  std::mutex mutex_;
  driver::DramPool pool_;
};

}  // namespace opennrt::emulator
