// SPDX-License-Identifier: Apache-2.0
//
// One NeuronCore: semaphores, events, SBUF and PSUM, three engines, notification queues.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/isa/inf1.h"
#include "simulator/chip/notifier.h"
#include "simulator/chip/sequencer.h"
#include "simulator/chip/stats.h"
#include "simulator/engines/engines.h"
#include "simulator/memory/mapping.h"

namespace opennrt::sim {

class Device;

class Core {
 public:
  Core(Context& context, Device& device, std::uint32_t device_index, std::uint32_t index);

  /// Reserves SBUF and PSUM for the sizes of the chip file.
  Status power_on();
  void power_off();
  /// As after power on, SBUF and PSUM included.
  void reset();

  // ---- semaphores: 0..65535; counting beyond is clamped and reported by a kSemaphore notification, value =
  // semaphore ----
  std::uint32_t semaphore(std::uint32_t index) const { return semaphores_[index % inf1::kSemaphores]; }
  void semaphore_add(std::uint32_t index, std::int64_t delta, std::uint8_t sender);
  void semaphore_set(std::uint32_t index, std::uint32_t value);
  /// After a wait that consumes: the value is there.
  void semaphore_take(std::uint32_t index, std::uint32_t value);

  bool event(std::uint32_t index) const { return events_[index % inf1::kEvents]; }
  /// By an instruction: setting a set event or clearing a clear one is reported by a kEvent notification, value =
  /// event.
  void event_write(std::uint32_t index, bool value, std::uint8_t sender);

  /// DMA engine and queue as the device numbers them.
  bool owns_queue(std::uint32_t engine, std::uint32_t queue) const;
  void ring_doorbell(const isa::DmaRing& ring);

  // ---- the 64 MiB window in BAR2 ----
  std::optional<std::uint32_t> window_read(std::uint64_t offset);
  bool window_write(std::uint64_t offset, std::uint32_t value);
  Target window_resolve(std::uint64_t offset, std::uint64_t bytes);

  Sequencer& engine(std::size_t index) { return *engines_[index]; }
  const Sequencer& engine(std::size_t index) const { return *engines_[index]; }
  Notifier& notifier() { return notifier_; }
  CoreStats& stats() { return stats_; }
  CoreMemory& memory() { return memory_; }
  StationaryMatrix& stationary() { return stationary_; }
  const std::string& name() const { return name_; }
  Device& device() { return device_; }
  std::uint32_t device_index() const { return device_index_; }
  std::uint32_t index() const { return index_; }
  std::uint32_t machine_index() const { return device_index_ * inf1::kCoresPerDevice + index_; }
  void mark_start(std::uint64_t ps) {
    if (stats_.started) return;
    stats_.started = true;
    stats_.first_start_ps = ps;
  }
  void mark_end(std::uint64_t ps) { stats_.last_end_ps = ps; }

 private:
  void changed(std::uint32_t semaphore);
  /// A fault; only where there are any.
  bool change_is_lost(std::uint32_t semaphore, std::uint8_t sender);

  Context& context_;
  Device& device_;
  const std::uint32_t device_index_, index_;
  const std::string name_;
  CoreStats stats_;
  Notifier notifier_;
  std::array<std::uint16_t, inf1::kSemaphores> semaphores_{};
  std::bitset<inf1::kEvents> events_;
  std::array<std::unique_ptr<Sequencer>, isa::kEngines> engines_;
  Mapping sbuf_, psum_;
  CoreMemory memory_;
  StationaryMatrix stationary_;
};

}  // namespace opennrt::sim
