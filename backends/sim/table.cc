// SPDX-License-Identifier: Apache-2.0
//
// The C table of backend `sim`: checks pointers, keeps forked children out, lets no exception pass.
#include <opennrt/backend.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "backends/sim/backend.h"

using opennrt::driver::Backend;
using opennrt::driver::Config;
using opennrt::driver::CoreLocks;
using opennrt::driver::Device;
using opennrt::driver::Log;

struct opennrt_device {
  opennrt_backend* backend;
  Device* device;
};

struct opennrt_backend {
  opennrt_backend(const opennrt_host_t* host, Config config) : driver(host, std::move(config)) {}
  Backend driver;
  std::mutex mutex;
  std::vector<std::unique_ptr<opennrt_device>> devices;  ///< handed out, not yet closed
};

namespace {

// The emulated driver: the last public release that serves Inf1 (aws-neuron-driver 2.24.7.0) and the runtimes it serves
// (v1/neuron_dhal_v1.c, V1_RT_MIN/MAX_COMPATIBLE_VERSION).
constexpr std::uint32_t kMajor = 2, kMinor = 24, kCompatibleMin = 2, kCompatibleMax = 7;

template <typename Call>
int guarded(opennrt_backend_t* backend, Call&& call) {
  if (backend == nullptr) return -EINVAL;
  if (!backend->driver.in_own_process())
    return -EACCES;  // what the driver tells a process that has not attached itself
  try {
    return call(backend->driver);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}

template <typename Call>
int guarded(opennrt_device_t* device, Call&& call) {
  if (device == nullptr) return -EINVAL;
  return guarded(device->backend, [&](Backend&) { return call(*device->device); });
}

int report(const Backend& backend, const char* function, const CoreLocks::Failure& failure) {
  if (!failure.message.empty()) {
    // A wrong argument is the caller's to report; a folder that cannot be trusted is news.
    backend.log().text(failure.error == EINVAL ? OPENNRT_LOG_DEBUG : OPENNRT_LOG_ERROR, function, failure.message);
  }
  return -failure.error;
}

int open_backend(const opennrt_host_t* host, opennrt_backend_t** backend) {
  if (host == nullptr || backend == nullptr || host->size < sizeof(opennrt_host_t)) return -EINVAL;
  *backend = nullptr;
  try {
    auto config = Config::read(*host);
    if (!config) {
      Log(host).error("open", "{}", config.error().message);
      return -EINVAL;
    }
    *backend = new opennrt_backend(host, std::move(*config));
    return 0;
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}

void close_backend(opennrt_backend_t* backend) {
  if (backend == nullptr || !backend->driver.in_own_process()) return;
  try {
    for (auto& device : backend->devices) backend->driver.device_close(device->device);
    delete backend;
  } catch (...) {  // nobody is left to hear of it
  }
}

int version(opennrt_backend_t* backend, opennrt_driver_version_t* version) {
  return guarded(backend, [&](Backend&) {
    if (version == nullptr) return -EINVAL;
    *version = {kMajor, kMinor, "", kCompatibleMin, kCompatibleMax};
    std::snprintf(version->text, sizeof(version->text), "%u.%u", kMajor, kMinor);
    return 0;
  });
}

int devices(opennrt_backend_t* backend, uint32_t* numbers, uint32_t* count) {
  return guarded(backend, [&](Backend& driver) {
    if (count == nullptr || (numbers == nullptr && *count != 0)) return -EINVAL;
    const auto& visible = driver.config().visible;
    std::copy_n(visible.begin(), std::min<std::size_t>(*count, visible.size()), numbers);
    *count = static_cast<uint32_t>(visible.size());
    return 0;
  });
}

int device_open(opennrt_backend_t* backend, uint32_t number, opennrt_device_t** device) {
  return guarded(backend, [&](Backend& driver) {
    if (device == nullptr) return -EINVAL;
    *device = nullptr;
    auto handle = std::make_unique<opennrt_device>(opennrt_device{backend, nullptr});
    if (const int error = driver.device_open(number, handle->device); error != 0) return error;
    *device = handle.get();
    const std::lock_guard guard(backend->mutex);
    backend->devices.push_back(std::move(handle));
    return 0;
  });
}

void device_close(opennrt_device_t* device) {
  if (device == nullptr || !device->backend->driver.in_own_process()) return;
  opennrt_backend_t* backend = device->backend;
  guarded(backend, [&](Backend& driver) {
    driver.device_close(device->device);
    const std::lock_guard guard(backend->mutex);
    std::erase_if(backend->devices, [device](const auto& open) { return open.get() == device; });
    return 0;
  });
}

int device_info(opennrt_device_t* device, opennrt_device_info_t* info) {
  return guarded(device, [&](Device& d) {
    if (info == nullptr) return -EINVAL;
    d.info(*info);
    return 0;
  });
}

int cores_reserve(opennrt_backend_t* backend, uint32_t count, uint32_t first, uint32_t last, opennrt_core_map_t* taken,
                  uint32_t* available) {
  return guarded(backend, [&](Backend& driver) {
    if (taken == nullptr || available == nullptr) return -EINVAL;
    return report(driver, "cores_reserve", driver.cores().reserve(count, first, last, *taken, *available));
  });
}

int cores_release(opennrt_backend_t* backend, const opennrt_core_map_t* cores) {
  return guarded(backend, [&](Backend& driver) {
    if (cores == nullptr) return -EINVAL;
    return report(driver, "cores_release", driver.cores().release(*cores));
  });
}

int core_holder(opennrt_backend_t* backend, uint32_t core, opennrt_core_holder_t* holder) {
  return guarded(backend, [&](Backend& driver) {
    if (holder == nullptr) return -EINVAL;
    return report(driver, "core_holder", driver.cores().holder(core, *holder));
  });
}

int core_lock(opennrt_device_t* device, uint32_t core, opennrt_lock_mode_t mode, const uint8_t* uuid) {
  return guarded(device, [&](Device& d) {
    return uuid == nullptr || core >= opennrt::inf1::kCoresPerDevice ? -EINVAL : d.core_lock(core, mode, uuid);
  });
}

int core_unlock(opennrt_device_t* device, uint32_t core, opennrt_lock_mode_t mode, const uint8_t* uuid) {
  return guarded(device, [&](Device& d) {
    return uuid == nullptr || core >= opennrt::inf1::kCoresPerDevice ? -EINVAL : d.core_unlock(core, mode, uuid);
  });
}

int mem_alloc(opennrt_device_t* device, const opennrt_mem_params_t* params, opennrt_mem_t* memory) {
  return guarded(device, [&](Device& d) {
    return params == nullptr || memory == nullptr ? -EINVAL : d.mem_alloc(*params, *memory);
  });
}

int mem_free(opennrt_device_t* device, opennrt_mem_t memory) {
  return guarded(device, [&](Device& d) { return d.mem_free(memory); });
}

int mem_info(opennrt_device_t* device, opennrt_mem_t memory, opennrt_mem_info_t* info) {
  return guarded(device, [&](Device& d) { return info == nullptr ? -EINVAL : d.mem_info(memory, *info); });
}

int mem_map(opennrt_device_t* device, opennrt_mem_t memory, void** address) {
  return guarded(device, [&](Device& d) { return address == nullptr ? -EINVAL : d.mem_map(memory, *address); });
}

int mem_unmap(opennrt_device_t* device, opennrt_mem_t memory) {
  return guarded(device, [&](Device& d) { return d.mem_unmap(memory); });
}

int mem_write(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, const void* buffer, uint64_t bytes) {
  return guarded(device, [&](Device& d) { return d.mem_write(memory, offset, buffer, bytes); });
}

int mem_read(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, void* buffer, uint64_t bytes) {
  return guarded(device, [&](Device& d) { return d.mem_read(memory, offset, buffer, bytes); });
}

int mem_copy(opennrt_device_t* device, opennrt_mem_t from, uint64_t from_offset, opennrt_mem_t to, uint64_t to_offset,
             uint64_t bytes) {
  return guarded(device, [&](Device& d) { return d.mem_copy(from, from_offset, to, to_offset, bytes); });
}

int mem_set(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, uint32_t value, uint64_t bytes) {
  return guarded(device, [&](Device& d) { return d.mem_set(memory, offset, value, bytes); });
}

int mem_stats(opennrt_device_t* device, uint32_t core, opennrt_mem_stats_t* stats) {
  return guarded(device, [&](Device& d) { return stats == nullptr ? -EINVAL : d.mem_stats(core, *stats); });
}

int dma_engine_set_state(opennrt_device_t* device, uint32_t engine, opennrt_dma_state_t state) {
  return guarded(device, [&](Device& d) { return d.engine_set_state(engine, state); });
}

int dma_engine_get_state(opennrt_device_t* device, uint32_t engine, opennrt_dma_engine_state_t* state) {
  return guarded(device, [&](Device& d) { return state == nullptr ? -EINVAL : d.engine_get_state(engine, *state); });
}

int dma_queue_init(opennrt_device_t* device, const opennrt_queue_init_t* queues, uint32_t count) {
  return guarded(device, [&](Device& d) {
    if (queues == nullptr && count != 0) return -EINVAL;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (const int error = d.queue_init(queues[i]); error != 0) return error;
    }
    return 0;
  });
}

int dma_write_descriptors(opennrt_device_t* device, opennrt_mem_t ring, uint64_t offset, const void* descriptors,
                          uint32_t count, opennrt_queue_type_t type) {
  return guarded(device, [&](Device& d) {
    if (descriptors == nullptr && count != 0) return -EINVAL;
    const std::span bytes(static_cast<const std::byte*>(descriptors),
                          std::size_t{count} * opennrt::inf1::kDescriptorBytes);
    return d.write_descriptors(ring, offset, bytes, type);
  });
}

int dma_queue_start(opennrt_device_t* device, uint32_t engine, uint32_t queue, uint32_t tx_count, uint32_t rx_count) {
  return guarded(device, [&](Device& d) { return d.queue_start(engine, queue, tx_count, rx_count); });
}

int dma_queue_get_state(opennrt_device_t* device, uint32_t engine, uint32_t queue, opennrt_queue_state_t* tx,
                        opennrt_queue_state_t* rx) {
  return guarded(device, [&](Device& d) {
    return tx == nullptr || rx == nullptr ? -EINVAL : d.queue_get_state(engine, queue, *tx, *rx);
  });
}

int dma_queue_release(opennrt_device_t* device, uint32_t engine, uint32_t queue) {
  return guarded(device, [&](Device& d) { return d.queue_release(engine, queue); });
}

int dma_quiesce(opennrt_device_t* device, uint32_t core) {
  return guarded(device, [&](Device& d) { return d.quiesce(core); });
}

int bar_read(opennrt_device_t* device, uint32_t bar, const uint64_t* offsets, uint32_t* values, uint32_t count) {
  return guarded(device, [&](Device& d) {
    if (count != 0 && (offsets == nullptr || values == nullptr)) return -EINVAL;
    return d.bar_read(bar, {offsets, count}, values);
  });
}

int bar_write(opennrt_device_t* device, uint32_t bar, const uint64_t* offsets, const uint32_t* values, uint32_t count) {
  return guarded(device, [&](Device& d) {
    if (count != 0 && (offsets == nullptr || values == nullptr)) return -EINVAL;
    return d.bar_write(bar, {offsets, count}, values);
  });
}

int semaphore_read(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t* value) {
  return guarded(device,
                 [&](Device& d) { return value == nullptr ? -EINVAL : d.semaphore_read(core, semaphore, *value); });
}

int semaphore_write(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value) {
  return guarded(device, [&](Device& d) { return d.semaphore(opennrt::inf1::kSemaphoreSet, core, semaphore, value); });
}

int semaphore_increment(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value) {
  return guarded(device,
                 [&](Device& d) { return d.semaphore(opennrt::inf1::kSemaphoreIncrement, core, semaphore, value); });
}

int semaphore_decrement(opennrt_device_t* device, uint32_t core, uint32_t semaphore, uint32_t value) {
  return guarded(device,
                 [&](Device& d) { return d.semaphore(opennrt::inf1::kSemaphoreDecrement, core, semaphore, value); });
}

int event_get(opennrt_device_t* device, uint32_t core, uint32_t event, uint32_t* value) {
  return guarded(device, [&](Device& d) { return value == nullptr ? -EINVAL : d.event_get(core, event, *value); });
}

int event_set(opennrt_device_t* device, uint32_t core, uint32_t event, uint32_t value) {
  return guarded(device, [&](Device& d) { return d.event_set(core, event, value); });
}

int nq_init(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint32_t bytes,
            opennrt_nq_t* queue) {
  return guarded(device,
                 [&](Device& d) { return queue == nullptr ? -EINVAL : d.nq_init(core, type, engine, bytes, *queue); });
}

int nq_destroy(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine) {
  return guarded(device, [&](Device& d) { return d.nq_destroy(core, type, engine); });
}

int nq_consume(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint64_t entries) {
  return guarded(device, [&](Device& d) { return d.nq_consume(core, type, engine, entries); });
}

int reset_start(opennrt_device_t* device, uint32_t core_map, uint32_t* request) {
  return guarded(device, [&](Device& d) { return request == nullptr ? -EINVAL : d.reset_start(core_map, *request); });
}

int reset_wait(opennrt_device_t* device, uint32_t request, int32_t* result) {
  return guarded(device, [&](Device& d) { return result == nullptr ? -EINVAL : d.reset_wait(request, *result); });
}

int clock_ns(opennrt_device_t* device, uint64_t* nanoseconds) {
  return guarded(device, [&](Device& d) {
    if (nanoseconds == nullptr) return -EINVAL;
    *nanoseconds = d.clock();
    return 0;
  });
}

int wait_for(opennrt_device_t* device, uint32_t core, uint64_t seen, uint64_t deadline) {
  return guarded(device, [&](Device& d) { return d.wait(core, seen, deadline); });
}

int counters_map(opennrt_device_t* device, int32_t pid, void** address, size_t* bytes) {
  return guarded(device, [&](Device& d) {
    if (address == nullptr || bytes == nullptr) return -EINVAL;
    Backend& driver = device->backend->driver;
    *bytes = opennrt::driver::kCountersBytes;
    return report(driver, "counters_map", driver.counters().map(d.number(), pid, *address));
  });
}

int counters_unmap(opennrt_device_t* device, void* address) {
  return guarded(device, [&](Device&) {
    Backend& driver = device->backend->driver;
    return report(driver, "counters_unmap", driver.counters().unmap(address));
  });
}

int work_started(opennrt_device_t* device, uint32_t core, uint64_t* nanoseconds) {
  return guarded(device,
                 [&](Device& d) { return nanoseconds == nullptr ? -EINVAL : d.work_started(core, *nanoseconds); });
}

int marker(opennrt_backend_t* backend, const char* name) {
  return guarded(backend, [&](Backend& driver) {
    if (name == nullptr) return -EINVAL;
    driver.pass_marker(name);
    return 0;
  });
}

constexpr opennrt_backend_api_t kTable = {
    .abi_major = OPENNRT_BACKEND_ABI_MAJOR,
    .abi_minor = OPENNRT_BACKEND_ABI_MINOR,
    .size = sizeof(opennrt_backend_api_t),
    .name = "sim",
    .description = "Simulated Inferentia devices in this process (SystemC), with the kernel driver's semantics",
    .open = open_backend,
    .close = close_backend,
    .version = version,
    .devices = devices,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .cores_reserve = cores_reserve,
    .cores_release = cores_release,
    .core_holder = core_holder,
    .core_lock = core_lock,
    .core_unlock = core_unlock,
    .mem_alloc = mem_alloc,
    .mem_free = mem_free,
    .mem_info = mem_info,
    .mem_map = mem_map,
    .mem_unmap = mem_unmap,
    .mem_write = mem_write,
    .mem_read = mem_read,
    .mem_copy = mem_copy,
    .mem_set = mem_set,
    .mem_stats = mem_stats,
    .dma_engine_set_state = dma_engine_set_state,
    .dma_engine_get_state = dma_engine_get_state,
    .dma_queue_init = dma_queue_init,
    .dma_write_descriptors = dma_write_descriptors,
    .dma_queue_start = dma_queue_start,
    .dma_queue_get_state = dma_queue_get_state,
    .dma_queue_release = dma_queue_release,
    .dma_quiesce = dma_quiesce,
    .bar_read = bar_read,
    .bar_write = bar_write,
    .semaphore_read = semaphore_read,
    .semaphore_write = semaphore_write,
    .semaphore_increment = semaphore_increment,
    .semaphore_decrement = semaphore_decrement,
    .event_get = event_get,
    .event_set = event_set,
    .nq_init = nq_init,
    .nq_destroy = nq_destroy,
    .nq_consume = nq_consume,
    .reset_start = reset_start,
    .reset_wait = reset_wait,
    .clock = clock_ns,
    .wait = wait_for,
    .counters_map = counters_map,
    .counters_unmap = counters_unmap,
    .work_started = work_started,
    .marker = marker,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const opennrt_backend_api_t* opennrt_backend_entry(
    uint32_t abi_major) {
  return abi_major == OPENNRT_BACKEND_ABI_MAJOR ? &kTable : nullptr;
}
