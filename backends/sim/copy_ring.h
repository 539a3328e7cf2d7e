// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "backends/sim/platform.h"

namespace opennrt::driver {

/// The driver's own ring of one core: engine 3*core+2, queue 15 (aws-neuron-driver v1/neuron_dhal_v1.c). Everything
/// that a
/// process reads from or writes to device memory goes through it, as on the real device: descriptors of up to 64 KiB,
/// and a last
/// one of 4 bytes that moves a pattern from one word of host memory to the next, where the driver waits for it
/// (neuron_dma.c). One copy at a time; thread-safe.
class CopyRing {
 public:
  CopyRing(Platform& platform, std::uint32_t device, std::uint32_t core);

  /// Addresses as descriptors take them; at least 1 byte. `from_moves` false: every 64 KiB of the destination get the
  /// same
  /// source bytes. 0; -ENOMEM; -EIO: the queue stopped at an address or a descriptor; -ETIMEDOUT: the device is busy
  /// for far
  /// longer than the copy takes.
  int copy(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves);

  /// Small copies go through `scratch`, 64 KiB that the device reaches: `use` is called with its memory and device
  /// address while
  /// nobody else has it, and calls copy_locked.
  int with_scratch(const std::function<int(std::byte* scratch, std::uint64_t address)>& use);
  int copy_locked(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves);
  static constexpr std::uint64_t kScratchBytes = 0x1'0000;

  /// Nobody copies while the result lives, in which the device is reset; the next copy initialises the ring again.
  [[nodiscard]] std::unique_lock<std::mutex> hold_for_reset();

 private:
  int prepare();
  int batch(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves);
  void put(std::uint64_t from, std::uint64_t to, std::uint32_t bytes, bool barrier);

  Platform& platform_;
  const std::uint32_t device_, core_;
  std::mutex mutex_;
  std::unique_ptr<HostPages> tx_, rx_, completion_, scratch_;
  bool ready_ = false;
  std::uint64_t position_ = 0;  ///< descriptors written since the ring was initialised
};

}  // namespace opennrt::driver
