// SPDX-License-Identifier: Apache-2.0
//
// Notification queues. The driver makes one, and keeps it until it is asked to make it anew or the core is reset, beyond the
// process (neuron_nq.c): what a caller destroys is switched off here, at the registers that the driver uses, too.
#include <atomic>
#include <cerrno>
#include <cstring>

#include "backends/neuron/device.h"

namespace opennrt::neuron {
namespace {

constexpr std::uint32_t kEntryBytes = sizeof(inf1::chosen::Notification);
constexpr std::uint32_t kMinBytes = 4096;  // the driver maps whole pages only
constexpr std::uint32_t kMaxBytes = 1u << 30;

}  // namespace

int Device::check_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  const auto number = static_cast<std::uint32_t>(type);
  if (core >= kCores || number >= inf1::kNotificationTypes || engine >= inf1::kNotificationEngines) return -EINVAL;
  const bool one_per_core = type == OPENNRT_NQ_ERROR || type == OPENNRT_NQ_EVENT;
  return one_per_core && engine != 0 ? -EINVAL : 0;
}

Device::Queue& Device::queue_of(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  return queues_[core].queues[static_cast<std::size_t>(type) * inf1::kNotificationEngines + engine];
}

std::uint64_t Device::notification_register(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
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

int Device::program_queue(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t address,
                          std::uint32_t bytes) {
  // Base low, base high, size, in the driver's order (v1/neuron_dhal_v1.c, nnq_set_hwaddr). A queue of size 0 is off.
  const std::uint64_t base = notification_register(core, type, engine);
  const std::uint64_t offsets[] = {base, base + 4, base + 8};
  const std::uint32_t values[] = {static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32),
                                  bytes};
  return bar_write(0, offsets, values);
}

void Device::unmap_queue(Queue& queue) {
  if (queue.entries != nullptr) file_.system().munmap(queue.entries, queue.mapped_bytes);
  queue.entries = nullptr;
}

int Device::make_queue(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
                       Queue& queue) {
  std::uint64_t offset = 0;
  bool fresh = true;
  int error = -EINVAL;
  if (!nq_without_realloc_.load(std::memory_order_relaxed)) {
    abi::NotificationsInitWithReallocV2 request{};
    request.nq_dev_id = core;
    request.nq_dev_type = abi::kNqDeviceNeuronCore;
    request.nq_type = static_cast<std::uint32_t>(type);
    request.engine_index = engine;
    request.size = bytes;
    request.on_host_memory = 1;
    request.force_alloc_mem =
        1;  // what may be there is somebody else's leftover, at a place that only the device knows
    error = file_.request(abi::kNotificationsInitWithReallocV2, &request);
    queue.memory = request.mem_handle;
    offset = request.mmap_offset;
  }
  if (is_unknown_request(error)) {
    abi::NotificationsInitV2 request{};
    request.nq_dev_id = core;
    request.nq_dev_type = abi::kNqDeviceNeuronCore;
    request.nq_type = static_cast<std::uint32_t>(type);
    request.engine_index = engine;
    request.size = bytes;
    request.on_host_memory = 1;
    error = file_.request(abi::kNotificationsInitV2, &request);
    if (error == 0) nq_without_realloc_.store(true, std::memory_order_relaxed);
    queue.memory = request.mem_handle;
    offset = request.mmap_offset;
    fresh = false;
  }
  if (error != 0) return error;
  abi::MemGetExtendedInfo info{};
  if (error = extended_info(queue.memory, info); error != 0) return error;
  if (info.size < kMinBytes || info.size > kMaxBytes || (info.size & (info.size - 1)) != 0) return -EIO;
  queue.mapped_bytes = queue.bytes = static_cast<std::uint32_t>(info.size);
  void* address = nullptr;
  if (error = file_.system().mmap(file_.fd(), offset, queue.mapped_bytes, true, address); error != 0) return error;
  queue.entries = static_cast<std::byte*>(address);
  if (fresh) return 0;
  // A driver that gives the queue that is there: everything in it is old, and the device shall begin at its start.
  if (error = program_queue(core, type, engine, 0, 0); error != 0) return error;
  std::memset(queue.entries, 0, queue.bytes);
  return program_queue(core, type, engine, info.pa, queue.bytes);
}

int Device::nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
                    opennrt_nq_t& queue) {
  queue = {};
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  if (bytes < 2 * kEntryBytes || bytes > kMaxBytes || (bytes & (bytes - 1)) != 0) return -EINVAL;
  const std::lock_guard guard(queues_[core].mutex);
  Queue& slot = queue_of(core, type, engine);
  if (slot.entries == nullptr || !slot.armed) {
    unmap_queue(slot);
    slot = {};
    if (const int error = make_queue(core, type, engine, bytes < kMinBytes ? kMinBytes : bytes, slot); error != 0) {
      unmap_queue(slot);
      slot = {};
      return error;
    }
    slot.armed = true;
  }
  queue.memory = slot.memory;
  queue.entries = slot.entries;
  queue.bytes = slot.bytes;
  return 0;
}

int Device::nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  const std::lock_guard guard(queues_[core].mutex);
  Queue& slot = queue_of(core, type, engine);
  if (slot.entries == nullptr) return 0;  // as the driver answers
  int error = 0;
  if (slot.armed) {
    error = program_queue(core, type, engine, 0, 0);
    slot.left_over = scan(slot);
  }
  unmap_queue(slot);
  slot.armed = false;
  return error;
}

int Device::nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries) {
  if (const int error = check_notifications(core, type, engine); error != 0) return error;
  {
    const std::lock_guard guard(queues_[core].mutex);
    Queue& slot = queue_of(core, type, engine);
    if (!slot.armed || entries > scan(slot)) return -EINVAL;
  }
  // Silicon's queues have no public register that takes how far they have been read (v1/putils.h).
  if (!emulator_) return 0;
  paravirtual::Consume request{core, static_cast<std::uint32_t>(type), engine, 0, entries};
  return file_.request(paravirtual::kConsume, &request);
}

std::uint64_t Device::scan(Queue& queue) {
  const std::uint64_t entries = queue.bytes / kEntryBytes;
  // The device never runs more than one ring ahead of what was read, so the phase bits tell all there is to know.
  for (std::uint64_t looked = 0; looked < entries; ++looked) {
    const auto expected = static_cast<std::uint8_t>(1 - (queue.written / entries) % 2);
    auto& phase = *reinterpret_cast<std::uint8_t*>(queue.entries + queue.written % entries * kEntryBytes);
    if (std::atomic_ref<std::uint8_t>(phase).load(std::memory_order_acquire) != expected) break;
    ++queue.written;
  }
  return queue.written;
}

std::uint64_t Device::written(std::uint32_t core, std::uint64_t& left_over) {
  const std::lock_guard guard(queues_[core].mutex);
  std::uint64_t total = 0;
  left_over = 0;
  for (Queue& queue : queues_[core].queues) {
    if (queue.entries != nullptr && queue.armed) total += scan(queue);
    left_over += queue.left_over;
  }
  return total;
}

}  // namespace opennrt::neuron
