// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/core.h"

#include <cstring>

#include "simulator/chip/device.h"

namespace opennrt::sim {

using inf1::chosen::ErrorNotification;

namespace {

constexpr std::uint64_t kFifoOffsets[isa::kEngines] = {inf1::kPeFifoOffset, inf1::chosen::kActFifoOffset,
                                                       inf1::chosen::kPoolFifoOffset};
constexpr std::uint32_t kSemaphoreMax = 65535;

bool inside(std::uint64_t offset, std::uint64_t base, std::uint64_t bytes) {
  return offset >= base && offset - base < bytes;
}

}  // namespace

Core::Core(Context& context, Device& device, std::uint32_t device_index, std::uint32_t index)
    : context_(context),
      device_(device),
      device_index_(device_index),
      index_(index),
      name_(fmt::format("device {} core {}", device_index, index)),
      notifier_(context, device, stats_, name_, {device_index, index}) {
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const auto engine = static_cast<isa::Engine>(e);
    const std::string unit = fmt::format("device{}_core{}_{}", device_index, index, isa::engine_name(engine));
    engines_[e] = std::make_unique<Sequencer>(unit.c_str(), context, *this, engine);
  }
}

Status Core::power_on() {
  const isa::Limits& limits = context_.config.limits;
  auto sbuf = Mapping::reserve(std::uint64_t{limits.partitions} * limits.sbuf_bytes_per_partition);
  if (!sbuf) return with_context(sbuf.error(), name_ + " SBUF");
  auto psum = Mapping::reserve(std::uint64_t{limits.partitions} * limits.psum_bytes_per_partition);
  if (!psum) return with_context(psum.error(), name_ + " PSUM");
  sbuf_ = std::move(*sbuf);
  psum_ = std::move(*psum);
  memory_ = CoreMemory{sbuf_.data(), psum_.data(), limits};
  stats_ = {};
  return {};
}

void Core::power_off() {
  reset();
  sbuf_ = {};
  psum_ = {};
  memory_ = {};
}

void Core::reset() {
  for (auto& engine : engines_) engine->reset();
  semaphores_ = {};
  events_.reset();
  notifier_.reset();
  stationary_ = {};
  sbuf_.clear();
  psum_.clear();
}

void Core::changed(std::uint32_t semaphore) {
  for (auto& engine : engines_) engine->semaphore_changed(semaphore);
}

void Core::semaphore_add(std::uint32_t index, std::int64_t delta, std::uint8_t sender) {
  index %= inf1::kSemaphores;
  if (context_.faults != nullptr && change_is_lost(index, sender)) return;
  const std::int64_t sum = std::int64_t{semaphores_[index]} + delta;
  const std::int64_t kept = sum < 0 ? 0 : sum > kSemaphoreMax ? kSemaphoreMax : sum;
  semaphores_[index] = static_cast<std::uint16_t>(kept);
  if (kept != sum) notifier_.error(ErrorNotification::kSemaphore, sender, index);
  changed(index);
}

void Core::semaphore_set(std::uint32_t index, std::uint32_t value) {
  index %= inf1::kSemaphores;
  if (value > kSemaphoreMax) notifier_.error(ErrorNotification::kSemaphore, Notifier::kDmaSender, index);
  semaphores_[index] = static_cast<std::uint16_t>(value > kSemaphoreMax ? kSemaphoreMax : value);
  changed(index);
}

void Core::semaphore_take(std::uint32_t index, std::uint32_t value) {
  index %= inf1::kSemaphores;
  semaphores_[index] = static_cast<std::uint16_t>(semaphores_[index] - value);
  changed(index);  // somebody may wait for equality
}

void Core::event_write(std::uint32_t index, bool value, std::uint8_t sender) {
  index %= inf1::kEvents;
  if (events_[index] == value) {
    notifier_.error(ErrorNotification::kEvent, sender, index);
    return;
  }
  events_[index] = value;
  notifier_.post(inf1::NotificationType::kEvent, sender, value ? 1 : 0, index);
  if (!value) return;
  for (auto& engine : engines_) engine->event_changed(index);
}

bool Core::owns_queue(std::uint32_t engine, std::uint32_t queue) const {
  return engine / inf1::kDmaEnginesPerCore == index_ && queue < inf1::kQueuesPerDmaEngine;
}

void Core::ring_doorbell(const isa::DmaRing& ring) {
  DmaQueue& queue = device_.dma_engine(ring.engine).queue(ring.queue);
  // RX first, so that a packet finds room when it starts (as the kernel driver does it).
  if (ring.rx_count != 0) queue.add_tail(DmaQueue::kRx, ring.rx_count);
  if (ring.tx_count != 0) queue.add_tail(DmaQueue::kTx, ring.tx_count);
}

Target Core::window_resolve(std::uint64_t offset, std::uint64_t bytes) {
  const isa::Limits& limits = context_.config.limits;
  Target target;
  auto partitioned = [&](std::uint64_t base, std::uint64_t stride, std::uint32_t per_partition, std::byte* memory) {
    const std::uint64_t partition = (offset - base) / stride, in_partition = (offset - base) % stride;
    if (partition >= limits.partitions || in_partition >= per_partition || bytes > per_partition - in_partition) return;
    target.place = Place::kCoreMemory;
    target.memory = memory + partition * per_partition + in_partition;
  };
  if (inside(offset, inf1::chosen::kSbufOffset, inf1::chosen::kSbufPartitionStride * inf1::chosen::kPartitions)) {
    partitioned(inf1::chosen::kSbufOffset, inf1::chosen::kSbufPartitionStride, limits.sbuf_bytes_per_partition,
                sbuf_.data());
    return target;
  }
  if (inside(offset, inf1::chosen::kPsumOffset, inf1::chosen::kPsumPartitionStride * inf1::chosen::kPartitions)) {
    partitioned(inf1::chosen::kPsumOffset, inf1::chosen::kPsumPartitionStride, limits.psum_bytes_per_partition,
                psum_.data());
    return target;
  }
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    if (!inside(offset, kFifoOffsets[e], inf1::kFifoBytes)) continue;
    // The window is a port, not a memory: the address in it does not matter and a long write need not end in it.
    target.place = Place::kFifo;
    target.sequencer = engines_[e].get();
    return target;
  }
  if (inside(offset, inf1::kEventOffset, inf1::kEvents * 4) ||
      inside(offset, inf1::kSemaphoreRead, inf1::kSemaphoreDecrement - inf1::kSemaphoreRead + inf1::kSemaphores * 4)) {
    target.place = Place::kRegister;
    target.bar = 2;
    target.offset = index_ * inf1::kCoreWindow + offset;
  }
  return target;
}

std::optional<std::uint32_t> Core::window_read(std::uint64_t offset) {
  const auto word = static_cast<std::uint32_t>((offset & 0xff) / 4);
  if (inside(offset, inf1::kSemaphoreRead, inf1::kSemaphores * 4)) return semaphores_[word];
  if (inside(offset, inf1::kEventOffset, inf1::kEvents * 4)) return events_[(offset - inf1::kEventOffset) / 4] ? 1 : 0;
  const Target target = window_resolve(offset, 4);
  if (target.place != Place::kCoreMemory) return std::nullopt;
  std::uint32_t value;
  std::memcpy(&value, target.memory, sizeof value);
  return value;
}

bool Core::window_write(std::uint64_t offset, std::uint32_t value) {
  const auto word = static_cast<std::uint32_t>((offset & 0xff) / 4);
  if (inside(offset, inf1::kSemaphoreSet, inf1::kSemaphores * 4)) {
    semaphore_set(word, value);
    return true;
  }
  if (inside(offset, inf1::kSemaphoreIncrement, inf1::kSemaphores * 4)) {
    semaphore_add(word, value, Notifier::kDmaSender);
    return true;
  }
  if (inside(offset, inf1::kSemaphoreDecrement, inf1::kSemaphores * 4)) {
    semaphore_add(word, -std::int64_t{value}, Notifier::kDmaSender);
    return true;
  }
  if (inside(offset, inf1::kEventOffset, inf1::kEvents * 4)) {
    const auto index = static_cast<std::uint32_t>((offset - inf1::kEventOffset) / 4);
    events_[index] = (value & 1) != 0;
    if (value & 1) {
      for (auto& engine : engines_) engine->event_changed(index);
    }
    return true;
  }
  const Target target = window_resolve(offset, 4);
  if (target.place == Place::kCoreMemory) {
    std::memcpy(target.memory, &value, sizeof value);
    return true;
  }
  if (target.place == Place::kFifo) {
    std::byte bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    target.sequencer->fifo_push(bytes);
    return true;
  }
  return false;
}

}  // namespace opennrt::sim
