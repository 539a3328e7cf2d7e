// SPDX-License-Identifier: Apache-2.0
//
// The notification queues of one core (PUTILS registers, aws-neuron-driver v1/putils.h): rings in host memory or DRAM
// that the device writes and somebody reads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/isa/inf1.h"
#include "simulator/chip/bus.h"
#include "simulator/chip/context.h"
#include "simulator/chip/stats.h"

namespace opennrt::sim {

/// Entries are inf1::chosen::Notification. Writing the size register sets a queue up anew: next entry 0, phase 1,
/// nothing consumed, nothing held back; size 0 turns it off. Until the reader writes the consumed register for the
/// first time the ring runs freely and overwrites its oldest entries. The head register reads the index of the entry
/// that is written next.
class Notifier {
 public:
  static constexpr std::uint8_t kDmaSender = 3;

  Notifier(Context& context, Bus& bus, CoreStats& stats, std::string name, const FaultPlace& place)
      : context_(context), bus_(bus), stats_(stats), name_(std::move(name)), place_(place) {}

  /// `sender`: isa::Engine or kDmaSender. Trace and notify queues are one per sender, event and error queues one per
  /// core. Does nothing when the queue is not set up.
  void post(inf1::NotificationType type, std::uint8_t sender, std::uint8_t code, std::uint32_t value);
  void error(inf1::chosen::ErrorNotification code, std::uint8_t sender, std::uint32_t value) {
    post(inf1::NotificationType::kError, sender, static_cast<std::uint8_t>(code), value);
  }
  bool enabled(inf1::NotificationType type, std::uint8_t sender) const {
    return queues_[index(type, sender)].entries != 0;
  }

  /// Registers at `offset` in the core's PUTILS block; nothing when the offset is no queue's.
  std::optional<std::uint32_t> read(std::uint64_t offset) const;
  bool write(std::uint64_t offset, std::uint32_t value);
  void reset();

 private:
  struct Queue {
    std::uint64_t base = 0;
    std::uint32_t size_register = 0;
    std::uint32_t entries = 0;  ///< 0: off
    std::uint32_t written = 0;  ///< in total, wraps around like the consumed register
    std::uint32_t consumed = 0;
    std::uint32_t head = 0;
    std::uint8_t phase = 1;
    bool flow_control = false;  ///< the reader tells how far it has come
    bool overflowed = false;    ///< an entry was lost and this has not been reported yet
    bool full() const { return flow_control && written - consumed >= entries; }
  };
  static constexpr std::size_t kQueues = 10;  // trace x 4, notify x 4, event, error
  static constexpr std::size_t kErrorQueue = 9;

  static std::size_t index(inf1::NotificationType type, std::uint8_t sender);
  static std::uint64_t base_low(std::size_t queue);
  static std::optional<std::pair<std::size_t, std::uint64_t>> locate(std::uint64_t offset);
  void put(Queue& queue, const inf1::chosen::Notification& entry);
  void report_overflows();
  bool found_full(inf1::NotificationType type);  ///< a fault; only where there are any

  Context& context_;
  Bus& bus_;
  CoreStats& stats_;
  std::string name_;
  const FaultPlace place_;
  std::array<Queue, kQueues> queues_{};
};

}  // namespace opennrt::sim
