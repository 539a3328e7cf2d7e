// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backends/sim/device.h"

namespace opennrt::driver {
namespace {

constexpr std::uint32_t kEntryBytes = sizeof(inf1::chosen::Notification);
/// Two entries at least (the phase of one could not be told from its next pass); 1 GiB is far beyond any use.
constexpr std::uint32_t kMinBytes = 2 * kEntryBytes, kMaxBytes = 1u << 30;

}  // namespace

int Device::check_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  const auto number = static_cast<std::uint32_t>(type);
  if (core >= kCores || number >= inf1::kNotificationTypes || engine >= inf1::kNotificationEngines) return -EINVAL;
  const bool one_per_core = type == OPENNRT_NQ_ERROR || type == OPENNRT_NQ_EVENT;
  return one_per_core && engine != 0 ? -EINVAL : 0;
}

std::size_t Device::notification_index(opennrt_nq_type_t type, std::uint32_t engine) {
  return static_cast<std::size_t>(type) * inf1::kNotificationEngines + engine;
}

std::uint64_t Device::notification_register(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) const {
  const std::uint64_t putils = inf1::kPutilsBase + core * inf1::kPutilsStride;
  switch (type) {
    case OPENNRT_NQ_ERROR:
      return putils + inf1::kNqErrorBaseLow;
    case OPENNRT_NQ_EVENT:
      return putils + inf1::kNqEventBaseLow;
    case OPENNRT_NQ_NOTIFY:
      return putils + inf1::kNqNotifyBaseLow + engine * inf1::kNqEngineStride;
    case OPENNRT_NQ_TRACE:
      return putils + inf1::kNqTraceBaseLow + engine * inf1::kNqEngineStride;
  }
  return 0;
}

void Device::program_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine,
                                   std::uint64_t address, std::uint32_t bytes) const {
  // Base low, base high, size, in the driver's order (v1/neuron_dhal_v1.c, nnq_set_hwaddr). A queue of size 0 is off.
  const std::uint64_t base = notification_register(core, type, engine);
  write0(base, static_cast<std::uint32_t>(address));
  write0(base + 4, static_cast<std::uint32_t>(address >> 32));
  write0(base + 8, bytes);
}

std::uint64_t Device::CoreNotifications::scan() {
  std::uint64_t total = 0;
  for (Notifications& queue : queues) {
    if (!queue.ref) continue;
    const std::uint64_t entries = queue.bytes / kEntryBytes;
    // The device never runs more than one ring ahead of what was consumed, so the phase bits tell all there is to know.
    for (std::uint64_t looked = 0; queue.armed && looked < entries; ++looked) {
      const std::uint64_t slot = queue.written % entries;
      const auto expected = static_cast<std::uint8_t>(1 - (queue.written / entries) % 2);
      auto& phase = *reinterpret_cast<std::uint8_t*>(queue.ref->host() + slot * kEntryBytes);
      if (std::atomic_ref<std::uint8_t>(phase).load(std::memory_order_acquire) != expected) break;
      ++queue.written;
    }
    total += queue.written;
  }
  return total;
}

int Device::nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
                    opennrt_nq_t& queue) {
  queue = {};
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  if (bytes < kMinBytes || bytes > kMaxBytes || (bytes & (bytes - 1)) != 0) {
    platform_.log.debug("nq_init", "nd{}: size of a notification queue is {}, expected a power of two from {} to {}",
                        number_, bytes, kMinBytes, kMaxBytes);
    return -EINVAL;
  }
  const std::lock_guard order(nq_setup_mutex_);
  CoreNotifications& own = notifications_[core];
  Notifications& slot = own.queues[notification_index(type, engine)];
  if (!slot.ref) {
    opennrt_mem_params_t params{};
    params.bytes = bytes;
    params.host_memory = true;
    params.core = core;
    params.category = OPENNRT_MEM_NOTIFICATION_HOST;
    opennrt_mem_t memory = 0;
    if (const int error = mem_alloc(params, memory); error != 0) return error;
    const MemoryRef ref = find(memory);
    const std::lock_guard guard(own.mutex);
    slot = {memory, ref, bytes, false, 0, 0};
  } else if (!slot.armed) {
    slot.ref->pages->clear();  // cut off by a reset: everything that was in it is old
  }
  if (!slot.armed) {
    // The first pass writes phase 1 over zeros.
    program_notifications(core, type, engine, slot.ref->address, slot.bytes);
    write0(notification_register(core, type, engine) + inf1::chosen::kNqConsumedAfterBaseLow, 0);
    const std::lock_guard guard(own.mutex);
    slot.written = slot.consumed = 0;
    slot.armed = true;
  }
  queue.memory = slot.memory;
  queue.entries = slot.ref->host();
  queue.bytes = slot.bytes;
  return 0;
}

int Device::nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  const std::lock_guard order(nq_setup_mutex_);
  CoreNotifications& own = notifications_[core];
  Notifications gone;  // its memory goes back outside the lock
  {
    const std::lock_guard guard(own.mutex);
    gone = std::exchange(own.queues[notification_index(type, engine)], {});
  }
  if (!gone.ref) return 0;  // as the driver answers
  program_notifications(core, type, engine, 0, 0);
  mem_free(gone.memory);
  return 0;
}

int Device::nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries) {
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  CoreNotifications& own = notifications_[core];
  {
    const std::lock_guard guard(own.mutex);
    own.scan();
    Notifications& slot = own.queues[notification_index(type, engine)];
    if (!slot.ref || !slot.armed || entries > slot.written || entries < slot.consumed) return -EINVAL;
    slot.consumed = entries;
  }
  write0(notification_register(core, type, engine) + inf1::chosen::kNqConsumedAfterBaseLow,
         static_cast<std::uint32_t>(entries));
  return 0;
}

int Device::wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline, std::string* reason,
                 const std::atomic<bool>* cancelled) {
  if (core >= kCores) return -EINVAL;
  CoreNotifications& own = notifications_[core];
  const auto arrived = [&own, seen] {
    const std::lock_guard guard(own.mutex);
    return own.scan() > seen;
  };
  const auto pass = platform_.admission.enter_wait(machine_core(core));
  for (const Doorbell& doorbell : pass.doorbells) ring(doorbell);
  // Time that others took before this core was let in is not the caller's.
  const std::uint64_t until = deadline > UINT64_MAX - pass.waited_ns ? UINT64_MAX : deadline + pass.waited_ns;
  const sim::Ran ran = platform_.run(arrived, until, cancelled);
  starts_[core].open = false;
  if (ran == sim::Ran::kConditionMet || arrived()) return 0;
  if (cancelled != nullptr && *cancelled) return -EINTR;
  if (ran == sim::Ran::kIdle) {
    std::uint64_t written = 0;
    {
      const std::lock_guard guard(own.mutex);
      written = own.scan();
    }
    const std::string text =
        fmt::format("nd{} nc{}: nothing can happen any more, with {} notifications written and one more waited for: {}",
                    number_, core, written, platform_.machine->describe_core(number_, core));
    if (reason != nullptr) {
      *reason = text;
    } else {
      platform_.log.error("wait", "{}", text);
    }
  }
  return -ETIMEDOUT;
}

void Device::run(std::uint32_t core, const std::atomic<bool>& cancelled) {
  const auto pass = platform_.admission.enter_wait(machine_core(core));
  for (const Doorbell& doorbell : pass.doorbells) ring(doorbell);
  platform_.run([] { return false; }, UINT64_MAX, &cancelled);
  starts_[core].open = false;
}

int Device::work_started(std::uint32_t core, std::uint64_t& nanoseconds) const {
  if (core >= kCores) return -EINVAL;
  nanoseconds = starts_[core].ns;
  return 0;
}

}  // namespace opennrt::driver
