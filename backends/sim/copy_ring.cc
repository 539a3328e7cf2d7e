// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/copy_ring.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "backends/sim/queue_registers.h"
#include "core/isa/inf1.h"

namespace opennrt::driver {
namespace {

constexpr std::uint32_t kRingDescriptors = 4096;  // aws-neuron-driver neuron_ring.h, DMA_H2T_DESC_COUNT
/// A batch never fills more than half the ring, so that what the device may still prefetch is never overwritten.
constexpr std::uint64_t kBatchDescriptors = kRingDescriptors / 2 - 1;
constexpr std::uint32_t kPattern = 0xabcdef01;  // neuron_dma.c, DMA_COMPLETION_MARKER
/// The driver gives a descriptor, which takes about 16 us, a thousand times that (v1/neuron_dhal_v1.c).
constexpr std::uint64_t kTimeoutPerDescriptorNs = 16'000'000;

}  // namespace

CopyRing::CopyRing(Platform& platform, std::uint32_t device, std::uint32_t core)
    : platform_(platform), device_(device), core_(core) {}

int CopyRing::prepare() {
  if (!tx_) {
    tx_ = HostPages::allocate(platform_, kRingDescriptors * inf1::kDescriptorBytes);
    rx_ = HostPages::allocate(platform_, kRingDescriptors * inf1::kDescriptorBytes);
    completion_ = HostPages::allocate(platform_, 2 * sizeof(std::uint32_t));
    scratch_ = HostPages::allocate(platform_, kScratchBytes);
    if (!tx_ || !rx_ || !completion_ || !scratch_) {
      tx_.reset();
      return -ENOMEM;
    }
  }
  if (!ready_) {
    const std::uint32_t engine = inf1::h2t_engine(core_);
    program_queue(*platform_.machine, device_, engine, inf1::kH2tQueue, true, tx_->device_address(), kRingDescriptors);
    program_queue(*platform_.machine, device_, engine, inf1::kH2tQueue, false, rx_->device_address(), kRingDescriptors);
    position_ = 0;
    ready_ = true;
  }
  return 0;
}

void CopyRing::put(std::uint64_t from, std::uint64_t to, std::uint32_t bytes, bool barrier) {
  const std::uint64_t slot = position_ % kRingDescriptors;
  const auto ring_id = static_cast<std::uint32_t>((inf1::kInitialRingId + position_ / kRingDescriptors) % 4);
  const std::uint32_t length =
      (bytes & inf1::kDescLengthMask) | ring_id << inf1::kDescRingIdShift;  // 64 KiB is written as 0
  const std::uint32_t flags = inf1::kDescFirst | inf1::kDescLast | (barrier ? inf1::kDescBarrier : 0);
  const auto write = [slot](HostPages& ring, std::uint32_t control, std::uint64_t address) {
    std::byte* at = ring.data() + slot * inf1::kDescriptorBytes;
    const std::uint32_t meta = 0;
    std::memcpy(at, &control, 4);
    std::memcpy(at + 4, &meta, 4);
    std::memcpy(at + 8, &address, 8);
  };
  write(*tx_, length | flags, from);
  write(*rx_, length, to);
  ++position_;
}

int CopyRing::batch(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves) {
  std::uint32_t count = 0;
  for (std::uint64_t offset = 0; offset < bytes; ++count) {
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes - offset, inf1::kDescMaxBytes));
    // The driver sets the barrier on the last descriptor with data; the chip keeps everything before a barrier before
    // it.
    put(from_moves ? from + offset : from, to + offset, part, offset + part == bytes);
    offset += part;
  }
  auto* words = reinterpret_cast<std::uint32_t*>(completion_->data());
  words[0] = kPattern;
  std::atomic_ref<std::uint32_t> arrived(words[1]);
  arrived.store(0);
  put(completion_->device_address(), completion_->device_address() + sizeof(std::uint32_t), sizeof(std::uint32_t),
      true);
  ++count;

  const std::uint32_t engine = inf1::h2t_engine(core_);
  sim::Machine& machine = *platform_.machine;
  const auto pass = platform_.admission.enter_copy(device_ * inf1::kCoresPerDevice + core_);
  ring_doorbell(machine, device_, {engine, inf1::kH2tQueue, count, count});
  const std::uint64_t deadline = machine.now_ns() + count * kTimeoutPerDescriptorNs;
  const sim::Ran ran = platform_.run([&arrived] { return arrived.load() == kPattern; }, deadline);
  if (ran == sim::Ran::kConditionMet) return 0;
  ready_ = false;
  platform_.log.error("mem_copy", "nd{}: copy of {} bytes from {:#x} to {:#x} {}: {}", device_, bytes, from, to,
                      ran == sim::Ran::kIdle ? "stopped" : "took too long", machine.describe_core(device_, core_));
  return ran == sim::Ran::kIdle ? -EIO : -ETIMEDOUT;
}

int CopyRing::copy_locked(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves) {
  if (const int error = prepare(); error != 0) return error;
  constexpr std::uint64_t kBatchBytes = (kBatchDescriptors - 1) * inf1::kDescMaxBytes;
  for (std::uint64_t offset = 0; offset < bytes;) {
    const std::uint64_t part = std::min(bytes - offset, kBatchBytes);
    if (const int error = batch(from_moves ? from + offset : from, to + offset, part, from_moves); error != 0)
      return error;
    offset += part;
  }
  return 0;
}

int CopyRing::copy(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, bool from_moves) {
  const std::lock_guard guard(mutex_);
  return copy_locked(from, to, bytes, from_moves);
}

int CopyRing::with_scratch(const std::function<int(std::byte*, std::uint64_t)>& use) {
  const std::lock_guard guard(mutex_);
  if (const int error = prepare(); error != 0) return error;
  return use(scratch_->data(), scratch_->device_address());
}

std::unique_lock<std::mutex> CopyRing::hold_for_reset() {
  std::unique_lock guard(mutex_);
  ready_ = false;
  return guard;
}

}  // namespace opennrt::driver
