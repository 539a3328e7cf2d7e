// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/notifier.h"

#include <cstring>

namespace opennrt::sim {

using inf1::NotificationType;
using inf1::chosen::ErrorNotification;
using inf1::chosen::Notification;

std::size_t Notifier::index(NotificationType type, std::uint8_t sender) {
  switch (type) {
    case NotificationType::kTrace:
      return sender % inf1::kNotificationEngines;
    case NotificationType::kNotify:
      return inf1::kNotificationEngines + sender % inf1::kNotificationEngines;
    case NotificationType::kEvent:
      return 8;
    case NotificationType::kError:
      return kErrorQueue;
  }
  return kErrorQueue;
}

std::uint64_t Notifier::base_low(std::size_t queue) {
  if (queue < 4) return inf1::kNqTraceBaseLow + queue * inf1::kNqEngineStride;
  if (queue < 8) return inf1::kNqNotifyBaseLow + (queue - 4) * inf1::kNqEngineStride;
  return queue == 8 ? inf1::kNqEventBaseLow : inf1::kNqErrorBaseLow;
}

std::optional<std::pair<std::size_t, std::uint64_t>> Notifier::locate(std::uint64_t offset) {
  for (std::size_t queue = 0; queue < kQueues; ++queue) {
    const std::uint64_t base = base_low(queue);
    if (offset >= base && offset - base < 0x20) return std::pair{queue, offset - base};
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Notifier::read(std::uint64_t offset) const {
  const auto place = locate(offset);
  if (!place) return std::nullopt;
  const Queue& queue = queues_[place->first];
  switch (place->second) {
    case 0x0:
      return static_cast<std::uint32_t>(queue.base);
    case 0x4:
      return static_cast<std::uint32_t>(queue.base >> 32);
    case 0x8:
      return queue.size_register;
    case inf1::kNqHeadAfterBaseLow:
      return queue.head;
    case inf1::chosen::kNqConsumedAfterBaseLow:
      return queue.consumed;
    default:
      return std::nullopt;
  }
}

bool Notifier::write(std::uint64_t offset, std::uint32_t value) {
  const auto place = locate(offset);
  if (!place) return false;
  Queue& queue = queues_[place->first];
  switch (place->second) {
    case 0x0:
      queue.base = (queue.base & 0xffff'ffff'0000'0000ull) | value;
      return true;
    case 0x4:
      queue.base = (queue.base & 0xffff'ffffull) | (std::uint64_t{value} << 32);
      return true;
    case 0x8: {
      const std::uint64_t base = queue.base;
      queue = Queue{};
      queue.base = base;
      queue.size_register = value;
      queue.entries = value / sizeof(Notification);
      return true;
    }
    case inf1::kNqHeadAfterBaseLow:
      return true;  // read only
    case inf1::chosen::kNqConsumedAfterBaseLow:
      queue.consumed = value;
      queue.flow_control = true;
      report_overflows();
      return true;
    default:
      return false;
  }
}

void Notifier::put(Queue& queue, const Notification& entry) {
  Notification copy = entry;
  copy.phase = queue.phase;
  copy.time_ns = context_.now_ns();
  const std::uint64_t address = queue.base + std::uint64_t{queue.head} * sizeof(Notification);
  // The phase byte tells the reader that an entry is there, and so it is written after the rest.
  std::byte bytes[sizeof(Notification)];
  std::memcpy(bytes, &copy, sizeof copy);
  if (!bus_.write(address, bytes)) {
    ++stats_.notifications_lost;
    context_.log(LogLevel::kError,
                 fmt::format("{}: notification queue entry at device address {:#x} cannot be written: nobody "
                             "answers there; type {} code {} value {} is lost",
                             name_, address, copy.type, copy.code, copy.value));
    return;
  }
  ++stats_.notifications;
  ++queue.written;
  if (++queue.head == queue.entries) {
    queue.head = 0;
    queue.phase ^= 1;
  }
}

void Notifier::post(NotificationType type, std::uint8_t sender, std::uint8_t code, std::uint32_t value) {
  Queue& queue = queues_[index(type, sender)];
  if (queue.entries == 0) return;
  if (queue.full() || (context_.faults != nullptr && found_full(type))) {
    ++stats_.notifications_lost;
    queue.overflowed = true;
  } else {
    Notification entry{};
    entry.type = static_cast<std::uint8_t>(type);
    entry.engine = sender;
    entry.code = code;
    entry.value = value;
    put(queue, entry);
  }
  report_overflows();
}

void Notifier::report_overflows() {
  Queue& errors = queues_[kErrorQueue];
  for (std::size_t q = 0; q < kQueues; ++q) {
    if (!queues_[q].overflowed || errors.entries == 0 || errors.full()) continue;
    queues_[q].overflowed = false;
    Notification entry{};
    entry.type = static_cast<std::uint8_t>(NotificationType::kError);
    entry.engine = static_cast<std::uint8_t>(q < 8 ? q % 4 : 0);
    entry.code = static_cast<std::uint8_t>(ErrorNotification::kQueueOverflow);
    // value: which queue it was, type << 8 | engine.
    const std::uint32_t of_type = q < 4 ? 0 : q < 8 ? 1 : q == 8 ? 2 : 3;
    entry.value = of_type << 8 | entry.engine;
    put(errors, entry);
  }
}

void Notifier::reset() {
  queues_ = {};
}

}  // namespace opennrt::sim
