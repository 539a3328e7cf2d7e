// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <vector>

#include "backends/sim/device.h"
#include "backends/sim/queue_registers.h"

namespace opennrt::driver {
namespace {

/// How long the driver lets a reader and a writer of a model lock starve (neuron_crwl.c).
constexpr auto kReaderPatience = std::chrono::milliseconds(500);
constexpr auto kWriterPatience = std::chrono::seconds(2);

/// BAR 0 and 2; the driver serves no other directly (neuron_cdev.c, ncdev_bar_rw). Offsets are of 32-bit registers.
bool valid_access(std::uint32_t bar, std::span<const std::uint64_t> offsets) {
  if (bar != 0 && bar != 2) return false;
  const std::uint64_t size = bar == 0 ? inf1::kBar0Bytes : inf1::kBar2Bytes;
  return std::all_of(offsets.begin(), offsets.end(),
                     [size](std::uint64_t offset) { return offset < size && offset % 4 == 0; });
}

/// Registers by which a process could point a queue at memory that is not its own, or start it past the checks
/// (neuron_dma.c, ndma_bar0_blocked_one_engine), and the firmware's mailbox, which does DMA, too
/// (v1/neuron_dhal_v1.c, ncdev_bar0_write_blocked_addrs_v1).
bool write_blocked(std::uint64_t offset) {
  for (const std::uint32_t word :
       {inf1::kFwRequestLow, inf1::kFwRequestHigh, inf1::kFwResponseLow, inf1::kFwResponseHigh, inf1::kFwDoorbell}) {
    if (offset == inf1::kMiscRam + word) return true;
  }
  for (std::uint32_t engine = 0; engine < inf1::kDmaEnginesPerDevice; ++engine) {
    const std::uint64_t base = inf1::udma_base(engine);
    for (const std::uint64_t side : {inf1::kM2sQueues, inf1::kS2mQueues}) {
      const std::uint64_t begin = base + side;
      if (offset < begin || offset >= begin + inf1::kQueuesPerDmaEngine * inf1::kUdmaQueueStride) continue;
      const auto reg = static_cast<std::uint32_t>((offset - begin) % inf1::kUdmaQueueStride);
      return reg == inf1::kQBaseLow || reg == inf1::kQBaseHigh || reg == inf1::kQTailIncrement;
    }
  }
  return false;
}

}  // namespace

int Device::bar_read(std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values) {
  if (!valid_access(bar, offsets)) return -EINVAL;
  for (std::size_t i = 0; i < offsets.size(); ++i) values[i] = platform_.machine->bar_read(number_, bar, offsets[i]);
  return 0;
}

int Device::bar_write(std::uint32_t bar, std::span<const std::uint64_t> offsets, const std::uint32_t* values) {
  if (!valid_access(bar, offsets)) return -EINVAL;
  if (bar == 0 && std::any_of(offsets.begin(), offsets.end(), write_blocked)) return -EINVAL;
  for (std::size_t i = 0; i < offsets.size(); ++i) platform_.machine->bar_write(number_, bar, offsets[i], values[i]);
  return 0;
}

int Device::semaphore(std::uint64_t operation, std::uint32_t core, std::uint32_t index, std::uint32_t value) {
  if (core >= kCores || index >= inf1::kSemaphores) return -EINVAL;
  platform_.machine->bar_write(number_, 2, core * inf1::kCoreWindow + operation + index * 4, value);
  return 0;
}

int Device::semaphore_read(std::uint32_t core, std::uint32_t index, std::uint32_t& value) {
  if (core >= kCores || index >= inf1::kSemaphores) return -EINVAL;
  value = platform_.machine->bar_read(number_, 2, core * inf1::kCoreWindow + inf1::kSemaphoreRead + index * 4);
  return 0;
}

int Device::event_get(std::uint32_t core, std::uint32_t event, std::uint32_t& value) {
  if (core >= kCores || event >= inf1::kEvents) return -EINVAL;
  value = platform_.machine->bar_read(number_, 2, core * inf1::kCoreWindow + inf1::kEventOffset + event * 4);
  return 0;
}

int Device::event_set(std::uint32_t core, std::uint32_t event, std::uint32_t value) {
  if (core >= kCores || event >= inf1::kEvents) return -EINVAL;
  platform_.machine->bar_write(number_, 2, core * inf1::kCoreWindow + inf1::kEventOffset + event * 4, value);
  return 0;
}

int Device::reset_start(std::uint32_t core_map, std::uint32_t& request) {
  constexpr std::uint32_t kDevice = 0xffff'ffff;
  if (core_map != kDevice && (core_map == 0 || core_map >> kCores != 0)) return -EINVAL;
  std::vector<std::uint32_t> cores;
  for (std::uint32_t core = 0; core < kCores; ++core) {
    if ((core_map >> core & 1) != 0) cores.push_back(core);
  }
  const std::lock_guard order(reset_mutex_);
  bool answered = false;
  {
    // What has been set up is forgotten here and in the chip as one: nobody initialises a queue or copies in between.
    std::vector<std::unique_lock<std::mutex>> held;
    for (const std::uint32_t core : cores) {
      platform_.admission.drop(machine_core(core));
      held.push_back(copies_[core].hold_for_reset());
    }
    for (const std::uint32_t core : cores) {
      for (std::uint32_t i = 0; i < inf1::kDmaEnginesPerCore; ++i) {
        Engine& engine = engines_[core * inf1::kDmaEnginesPerCore + i];
        held.emplace_back(engine.mutex);
        engine.queues = {};
      }
    }
    held.emplace_back(nq_setup_mutex_);
    for (const std::uint32_t core : cores) {
      {
        const std::lock_guard guard(notifications_[core].mutex);
        for (Notifications& queue : notifications_[core].queues) {
          queue.armed = false;  // the memory stays mapped for whoever is still reading; nq_init starts it again
          queue.written = queue.consumed = 0;
        }
      }
      const std::lock_guard guard(memory_mutex_);
      models_started_[core] = 0;
    }
    answered = platform_.machine->reset_cores(number_, core_map);
  }
  for (const std::uint32_t core : cores) {
    ModelLock& lock = model_locks_[core];
    {
      const std::lock_guard guard(lock.mutex);
      lock.owned = lock.writer = false;
      lock.readers = 0;
    }
    lock.changed.notify_all();
  }
  request = ++last_reset_;
  if (!answered) unanswered_resets_.insert(request);
  return 0;
}

int Device::reset_wait(std::uint32_t request, std::int32_t& result) {
  const std::lock_guard order(reset_mutex_);
  if (request == 0 || request > last_reset_) return -EINVAL;
  if (unanswered_resets_.contains(request)) return -ETIMEDOUT;  // a fault that was asked for
  result = 0;                                                   // the simulated chip is ready when reset_start returns
  return 0;
}

// aws-neuron-driver neuron_crwl.c: a writer puts its model on the core, then becomes its first reader; readers name the
// model.

int Device::core_lock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32], std::int32_t owner) {
  if (core >= kModelLocks) return -EINVAL;
  ModelLock& lock = model_locks_[core];
  std::unique_lock guard(lock.mutex);
  const auto same_model = [&] {
    return lock.owned && lock.owner == owner && std::memcmp(lock.uuid.data(), uuid, lock.uuid.size()) == 0;
  };
  if (mode == OPENNRT_LOCK_READ) {
    if (!lock.changed.wait_for(guard, kReaderPatience, [&] { return !lock.writer; })) return -EBUSY;
    if (!same_model()) return -ENOENT;
    ++lock.readers;
    return 0;
  }
  if (mode != OPENNRT_LOCK_WRITE) return -EINVAL;
  if (!lock.changed.wait_for(guard, kWriterPatience, [&] { return !lock.writer && lock.readers == 0; })) return -EBUSY;
  lock.writer = true;
  if (same_model()) return -EALREADY;
  lock.owned = true;
  lock.owner = owner;
  std::memcpy(lock.uuid.data(), uuid, lock.uuid.size());
  return 0;
}

int Device::core_unlock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32], std::int32_t owner) {
  if (core >= kModelLocks) return -EINVAL;
  ModelLock& lock = model_locks_[core];
  {
    const std::lock_guard guard(lock.mutex);
    const bool same_model =
        lock.owned && lock.owner == owner && std::memcmp(lock.uuid.data(), uuid, lock.uuid.size()) == 0;
    if (mode == OPENNRT_LOCK_READ) {
      if (!same_model) return -ENOENT;
      if (lock.readers == 0) return -EINVAL;
      --lock.readers;
    } else if (mode == OPENNRT_LOCK_WRITE) {
      if (!lock.writer) return -EINVAL;
      if (!same_model) return -ENOENT;
      lock.writer = false;
      lock.readers = 1;
    } else {
      return -EINVAL;
    }
  }
  lock.changed.notify_all();
  return 0;
}

void Device::release_core_locks(std::int32_t owner) {
  for (ModelLock& lock : model_locks_) {
    {
      const std::lock_guard guard(lock.mutex);
      if (!lock.owned || lock.owner != owner) continue;
      lock.owned = lock.writer = false;
      lock.readers = 0;
    }
    lock.changed.notify_all();
  }
}

bool Device::core_locked_by(std::uint32_t core, std::int32_t owner, std::uint8_t uuid[32]) {
  if (core >= kCores) return false;
  ModelLock& lock = model_locks_[core];
  const std::lock_guard guard(lock.mutex);
  if (!lock.owned || lock.owner != owner || (!lock.writer && lock.readers == 0)) return false;
  std::memcpy(uuid, lock.uuid.data(), lock.uuid.size());
  return true;
}

int Device::read_counters(std::span<const std::uint64_t> addresses, std::uint32_t* values) {
  const auto offset = [](std::uint64_t address) { return address - inf1::kApbBase; };  // wraps around below it
  for (const std::uint64_t address : addresses) {
    if (offset(address) >= inf1::kBar0Bytes || address % 4 != 0) return -EINVAL;
  }
  for (std::size_t i = 0; i < addresses.size(); ++i)
    values[i] = platform_.machine->bar_read(number_, 0, offset(addresses[i]));
  return 0;
}

}  // namespace opennrt::driver
