// SPDX-License-Identifier: Apache-2.0
//
// The smallest backend, a template to copy: one device of 4 cores whose 64 MiB of DRAM are plain heap. Memory is real,
// queues
// and notifications are accepted and checked, and nothing ever executes: every wait ends at its deadline, at once.
// docs/backend.md
// walks through this file from top to bottom.
#include <opennrt/backend.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

// ---- 1. What the device is ----
namespace {
constexpr std::uint32_t kCores = 4, kEngines = 12, kQueues = 16, kSemaphores = 32, kEvents = 256;
constexpr std::uint64_t kDramBytes = 64 << 20, kPage = 4096, kHostBit = std::uint64_t{1} << 46;
constexpr std::uint32_t kDescriptorBytes = 16, kNotificationEngines = 4;

struct Memory {
  std::uint64_t address = 0, bytes = 0;
  bool host = false;
  std::uint32_t core = 0;
  std::byte* data = nullptr;         // where the bytes are
  std::unique_ptr<std::byte[]> own;  // host memory; DRAM is part of the device's
};
struct Queue {
  bool initialised = false;
  std::uint32_t tx_count = 0, rx_count = 0;
};
std::uint64_t rounded(std::uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}
bool power_of_two(std::uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}
}  // namespace

// ---- 2. The two opaque types: whatever the backend needs. One lock for everything is enough here. ----
struct opennrt_device {
  opennrt_backend* backend = nullptr;
  std::vector<std::byte> dram = std::vector<std::byte>(kDramBytes);
  std::map<opennrt_mem_t, Memory> memories;
  std::map<std::uint64_t, std::uint64_t> dram_used;  // address → rounded bytes
  opennrt_mem_t last_handle = 0;
  std::uint64_t next_host = kPage, now_ns = 0;
  std::array<std::array<Queue, kQueues>, kEngines> queues{};
  std::array<std::array<std::uint32_t, kSemaphores>, kCores> semaphores{};
  std::array<std::array<std::uint32_t, kEvents>, kCores> events{};
  std::map<std::uint32_t, opennrt_nq_t> notifications;  // core, type, engine packed
  std::uint32_t resets = 0;
};
struct opennrt_backend {
  const opennrt_host_t* host = nullptr;
  std::mutex mutex;
  std::uint64_t taken =
      0;  // bit per core; a device that several processes share needs a lock that outlives none of them
  std::unique_ptr<opennrt_device> device;
};

namespace {

// ---- 3. No exception crosses the table: each function runs in one of these. ----
template <typename Call>
int with(opennrt_backend_t* backend, Call&& call) {
  if (backend == nullptr) return -EINVAL;
  try {
    const std::lock_guard guard(backend->mutex);
    return call(*backend);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}
template <typename Call>
int with(opennrt_device_t* device, Call&& call) {
  if (device == nullptr) return -EINVAL;
  return with(device->backend, [&](opennrt_backend_t&) { return call(*device); });
}

// ---- 4. The backend: open, what there is, close ----
int open_backend(const opennrt_host_t* host, opennrt_backend_t** backend) {
  if (host == nullptr || backend == nullptr || host->size < sizeof(opennrt_host_t)) return -EINVAL;
  *backend = new (std::nothrow) opennrt_backend{host, {}, 0, nullptr};
  return *backend != nullptr ? 0 : -ENOMEM;
}
void close_backend(opennrt_backend_t* backend) {
  delete backend;
}

int version(opennrt_backend_t* backend, opennrt_driver_version_t* version) {
  if (backend == nullptr || version == nullptr) return -EINVAL;
  *version = {2, 24, "2.24", 2, 7};
  return 0;
}
int devices(opennrt_backend_t* backend, uint32_t* numbers, uint32_t* count) {
  if (backend == nullptr || count == nullptr || (numbers == nullptr && *count != 0)) return -EINVAL;
  if (*count > 0) numbers[0] = 0;
  *count = 1;
  return 0;
}
int device_open(opennrt_backend_t* backend, uint32_t number, opennrt_device_t** device) {
  return with(backend, [&](opennrt_backend_t& b) {
    if (device == nullptr) return -EINVAL;
    if (number != 0) return -ENODEV;
    if (b.device) return -EBUSY;
    b.device = std::make_unique<opennrt_device>();
    b.device->backend = &b;
    *device = b.device.get();
    return 0;
  });
}
void device_close(opennrt_device_t* device) {
  if (device == nullptr) return;
  with(device->backend, [](opennrt_backend_t& b) {
    b.device.reset();  // and with it everything that the caller forgot
    return 0;
  });
}
int device_info(opennrt_device_t* device, opennrt_device_info_t* info) {
  if (device == nullptr || info == nullptr) return -EINVAL;
  *info = {};
  info->architecture = 1;
  info->core_count = kCores;
  info->dram_channels = 1;
  info->dram_channel_bytes = kDramBytes;
  info->dma_engines_per_core = kEngines / kCores;
  info->queues_per_dma_engine = kQueues;
  std::memcpy(info->instance_type, "null", 5);
  info->open_isa_version = 1;  // so that programs load; they never end
  info->sbuf_bytes_per_partition = 80 * 1024;
  info->psum_bytes_per_partition = 16 * 1024;
  info->virtual_time = true;
  return 0;
}

// ---- 5. Cores ----
int cores_reserve(opennrt_backend_t* backend, uint32_t count, uint32_t first, uint32_t last, opennrt_core_map_t* taken,
                  uint32_t* available) {
  return with(backend, [&](opennrt_backend_t& b) {
    if (taken == nullptr || available == nullptr || count == 0 || first > last || last >= kCores) return -EINVAL;
    *taken = {};
    *available = 0;
    std::uint64_t found = 0;
    std::uint32_t run = 0;
    for (std::uint32_t core = first; core <= last && run < count; ++core) {
      const bool busy = (b.taken >> core & 1) != 0;
      found = busy ? 0 : found | std::uint64_t{1} << core;
      run = busy ? 0 : run + 1;
      *available = std::max(*available, run);
    }
    if (run < count) return -EBUSY;
    b.taken |= found;
    taken->bits[0] = found;
    return 0;
  });
}
int cores_release(opennrt_backend_t* backend, const opennrt_core_map_t* cores) {
  return with(backend, [&](opennrt_backend_t& b) {
    if (cores == nullptr) return -EINVAL;
    b.taken &= ~cores->bits[0];
    return 0;
  });
}
int core_holder(opennrt_backend_t* backend, uint32_t core, opennrt_core_holder_t* holder) {
  return with(backend, [&](opennrt_backend_t& b) {
    if (holder == nullptr || core >= kCores) return -EINVAL;
    *holder = {};
    if ((b.taken >> core & 1) != 0) *holder = {static_cast<int32_t>(::getpid()), "this process"};
    return 0;
  });
}

// ---- 6. Memory ----
int allocate(opennrt_device_t& d, const opennrt_mem_params_t& p, opennrt_mem_t* memory) {
  if (p.bytes == 0 || (p.alignment != 0 && !power_of_two(p.alignment)) || p.core >= kCores) return -EINVAL;
  if (p.bytes > kDramBytes) return -ENOMEM;  // host memory of this device is not endless, either
  Memory made{0, p.bytes, p.host_memory, p.core, nullptr, nullptr};
  if (p.host_memory) {
    if (p.alignment > kPage) return -EINVAL;
    made.own = std::make_unique<std::byte[]>(p.bytes);
    made.data = made.own.get();
    made.address = kHostBit | d.next_host;
    d.next_host += rounded(p.bytes) + kPage;
  } else {
    if (p.dram_channel != 0 || p.dram_region != 0) return -EINVAL;
    const std::uint64_t step = std::max(p.alignment, kPage);
    std::uint64_t at = 0;  // first fit
    for (const auto& [start, bytes] : d.dram_used) {
      if (at + rounded(p.bytes) <= start) break;
      at = (start + bytes + step - 1) / step * step;
    }
    if (at + rounded(p.bytes) > kDramBytes) return -ENOMEM;
    d.dram_used.emplace(at, rounded(p.bytes));
    made.address = at;
    made.data = d.dram.data() + at;
  }
  *memory = ++d.last_handle;  // never used twice: a stale handle is found out
  d.memories.emplace(*memory, std::move(made));
  return 0;
}
int mem_alloc(opennrt_device_t* device, const opennrt_mem_params_t* params, opennrt_mem_t* memory) {
  if (params == nullptr || memory == nullptr) return -EINVAL;
  return with(device, [&](opennrt_device_t& d) { return allocate(d, *params, memory); });
}
/// Runs `call` on a memory of the device after checking handle and bounds: -EINVAL, and nothing moves. Lock held.
template <typename Call>
int on(opennrt_device_t& d, opennrt_mem_t handle, std::uint64_t offset, std::uint64_t bytes, Call&& call) {
  const auto it = d.memories.find(handle);
  if (it == d.memories.end() || offset > it->second.bytes || bytes > it->second.bytes - offset) return -EINVAL;
  return call(it->second);
}
template <typename Call>
int with(opennrt_device_t* device, opennrt_mem_t memory, std::uint64_t offset, std::uint64_t bytes, Call&& call) {
  return with(device, [&](opennrt_device_t& d) { return on(d, memory, offset, bytes, call); });
}
int mem_free(opennrt_device_t* device, opennrt_mem_t memory) {
  return with(device, memory, 0, 0, [&](Memory& m) {
    if (!m.host) device->dram_used.erase(m.address);
    device->memories.erase(memory);
    return 0;
  });
}
int mem_info(opennrt_device_t* device, opennrt_mem_t memory, opennrt_mem_info_t* info) {
  return with(device, memory, 0, 0, [&](Memory& m) {
    if (info == nullptr) return -EINVAL;
    *info = {m.address, m.bytes, m.host, static_cast<int32_t>(::getpid())};
    return 0;
  });
}
int mem_map(opennrt_device_t* device, opennrt_mem_t memory, void** address) {
  return with(device, memory, 0, 0, [&](Memory& m) {
    if (address == nullptr) return -EINVAL;
    *address = m.data;
    return m.host ? 0 : -ENOTSUP;
  });
}
int mem_unmap(opennrt_device_t* device, opennrt_mem_t memory) {
  return with(device, memory, 0, 0, [](Memory& m) { return m.host ? 0 : -EINVAL; });
}
int mem_write(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, const void* buffer, uint64_t bytes) {
  return with(device, memory, offset, bytes, [&](Memory& m) {
    if (buffer == nullptr) return bytes == 0 ? 0 : -EINVAL;
    std::memcpy(m.data + offset, buffer, bytes);
    return 0;
  });
}
int mem_read(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, void* buffer, uint64_t bytes) {
  return with(device, memory, offset, bytes, [&](Memory& m) {
    if (buffer == nullptr) return bytes == 0 ? 0 : -EINVAL;
    std::memcpy(buffer, m.data + offset, bytes);
    return 0;
  });
}
int mem_copy(opennrt_device_t* device, opennrt_mem_t from, uint64_t from_offset, opennrt_mem_t to, uint64_t to_offset,
             uint64_t bytes) {
  return with(device, from, from_offset, bytes, [&](Memory& source) {
    return on(*device, to, to_offset, bytes, [&](Memory& target) {
      std::memmove(target.data + to_offset, source.data + from_offset, bytes);
      return 0;
    });
  });
}
int mem_set(opennrt_device_t* device, opennrt_mem_t memory, uint64_t offset, uint32_t value, uint64_t bytes) {
  return with(device, memory, offset, bytes, [&](Memory& m) {
    std::memset(m.data + offset, static_cast<int>(value & 0xff), bytes);
    return 0;
  });
}
int mem_stats(opennrt_device_t* device, uint32_t core, opennrt_mem_stats_t* stats) {
  return with(device, [&](opennrt_device_t& d) {
    if (stats == nullptr || core >= kCores) return -EINVAL;
    std::uint64_t mine = 0, all = 0;
    for (const auto& [handle, m] : d.memories) {
      if (!m.host) all += rounded(m.bytes);
      if (!m.host && m.core == core) mine += rounded(m.bytes);
    }
    *stats = {mine, mine, mine + kDramBytes - all};
    return 0;
  });
}

// ---- 7. DMA: checked and remembered; nobody fetches the descriptors ----
int dma_queue_init(opennrt_device_t* device, const opennrt_queue_init_t* queues, uint32_t count) {
  return with(device, [&](opennrt_device_t& d) {
    if (queues == nullptr && count != 0) return -EINVAL;
    for (const opennrt_queue_init_t* q = queues; q != queues + count; ++q) {
      const auto ring_ok = [&](std::uint32_t descriptors, opennrt_mem_t ring) {
        return descriptors >= 32 && descriptors % 16 == 0 &&
               on(d, ring, 0, std::uint64_t{descriptors} * kDescriptorBytes, [](Memory&) { return 0; }) == 0;
      };
      if (q->engine >= kEngines || q->queue >= kQueues || !ring_ok(q->tx_count, q->tx_ring) ||
          !ring_ok(q->rx_count, q->rx_ring)) {
        return -EINVAL;
      }
      d.queues[q->engine][q->queue] = {true, q->tx_count, q->rx_count};
    }
    return 0;
  });
}
int dma_write_descriptors(opennrt_device_t* device, opennrt_mem_t ring, uint64_t offset, const void* descriptors,
                          uint32_t count, opennrt_queue_type_t type) {
  const std::uint64_t bytes = std::uint64_t{count} * kDescriptorBytes;
  return with(device, ring, offset, bytes, [&](Memory& m) {
    if ((descriptors == nullptr && count != 0) || (type != OPENNRT_QUEUE_TX && type != OPENNRT_QUEUE_RX))
      return -EINVAL;
    for (std::uint64_t at = 8; at < bytes;
         at += kDescriptorBytes) {  // a host address must be that of memory allocated here
      std::uint64_t address = 0;
      std::memcpy(&address, static_cast<const std::byte*>(descriptors) + at, sizeof(address));
      const auto has = [address](const auto& entry) { return address - entry.second.address < entry.second.bytes; };
      if ((address & kHostBit) != 0 && std::none_of(device->memories.begin(), device->memories.end(), has))
        return -EINVAL;
    }
    if (bytes != 0) std::memcpy(m.data + offset, descriptors, bytes);
    return 0;
  });
}
int dma_queue_start(opennrt_device_t* device, uint32_t engine, uint32_t queue, uint32_t tx_count, uint32_t rx_count) {
  return with(device, [&](opennrt_device_t& d) {
    if (engine >= kEngines || queue >= kQueues || !d.queues[engine][queue].initialised) return -EINVAL;
    const Queue& q = d.queues[engine][queue];
    return tx_count > q.tx_count || rx_count > q.rx_count ? -EINVAL : 0;
  });
}
int dma_queue_release(opennrt_device_t* device, uint32_t engine, uint32_t queue) {
  return device == nullptr || engine >= kEngines || queue >= kQueues ? -EINVAL : 0;
}
int dma_quiesce(opennrt_device_t* device, uint32_t core) {
  return device == nullptr || core >= kCores ? -EINVAL : 0;
}

// ---- 8. Semaphores and events ----
/// `change` gets the semaphore or event of the core.
template <std::size_t kCount, typename Change>
int on_cell(opennrt_device_t* device, std::array<std::array<std::uint32_t, kCount>, kCores> opennrt_device::*table,
            std::uint32_t core, std::uint32_t index, Change&& change) {
  return with(device, [&](opennrt_device_t& d) {
    if (core >= kCores || index >= kCount) return -EINVAL;
    change((d.*table)[core][index]);
    return 0;
  });
}
int semaphore_read(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t* value) {
  if (value == nullptr) return -EINVAL;
  return on_cell(d, &opennrt_device::semaphores, core, index, [=](std::uint32_t& now) { *value = now; });
}
int semaphore_write(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t value) {
  return on_cell(d, &opennrt_device::semaphores, core, index, [=](std::uint32_t& now) { now = value; });
}
int semaphore_increment(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t value) {
  return on_cell(d, &opennrt_device::semaphores, core, index, [=](std::uint32_t& now) { now += value; });
}
int semaphore_decrement(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t value) {
  return on_cell(d, &opennrt_device::semaphores, core, index, [=](std::uint32_t& now) { now -= std::min(now, value); });
}
int event_get(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t* value) {
  if (value == nullptr) return -EINVAL;
  return on_cell(d, &opennrt_device::events, core, index, [=](std::uint32_t& now) { *value = now; });
}
int event_set(opennrt_device_t* d, uint32_t core, uint32_t index, uint32_t value) {
  return on_cell(d, &opennrt_device::events, core, index, [=](std::uint32_t& now) { now = value; });
}

// ---- 9. Notification queues: host memory that nobody writes to ----
bool valid_notifications(uint32_t core, opennrt_nq_type_t type, uint32_t engine) {
  const bool one_per_core = type == OPENNRT_NQ_ERROR || type == OPENNRT_NQ_EVENT;
  return core < kCores && type <= OPENNRT_NQ_ERROR && engine < (one_per_core ? 1 : kNotificationEngines);
}
std::uint32_t key(uint32_t core, opennrt_nq_type_t type, uint32_t engine) {
  return core << 8 | type << 4 | engine;
}

int nq_init(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint32_t bytes,
            opennrt_nq_t* queue) {
  return with(device, [&](opennrt_device_t& d) {
    if (queue == nullptr || !valid_notifications(core, type, engine) || bytes < 32 || !power_of_two(bytes))
      return -EINVAL;
    opennrt_nq_t& known = d.notifications[key(core, type, engine)];
    if (known.memory == 0) {
      const opennrt_mem_params_t params{bytes, 0, true, 0, 0, core, OPENNRT_MEM_NOTIFICATION_HOST};
      opennrt_mem_t memory = 0;
      if (const int error = allocate(d, params, &memory); error != 0) return error;
      known = {memory, d.memories[memory].data, bytes};
    }
    *queue = known;
    return 0;
  });
}
int nq_destroy(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine) {
  return with(device, [&](opennrt_device_t& d) {
    if (!valid_notifications(core, type, engine)) return -EINVAL;
    const auto known = d.notifications.find(key(core, type, engine));
    if (known == d.notifications.end()) return 0;
    d.memories.erase(known->second.memory);
    d.notifications.erase(known);
    return 0;
  });
}
int nq_consume(opennrt_device_t* device, uint32_t core, opennrt_nq_type_t type, uint32_t engine, uint64_t entries) {
  return with(device, [&](opennrt_device_t& d) {
    if (!valid_notifications(core, type, engine) || d.notifications.count(key(core, type, engine)) == 0) return -EINVAL;
    return entries == 0 ? 0 : -EINVAL;  // more than were ever written
  });
}

// ---- 10. Reset and time ----
int reset_start(opennrt_device_t* device, uint32_t core_map, uint32_t* request) {
  return with(device, [&](opennrt_device_t& d) {
    if (request == nullptr || core_map == 0 || (core_map != 0xffffffff && core_map >> kCores != 0)) return -EINVAL;
    for (std::uint32_t core = 0; core < kCores; ++core) {
      if ((core_map >> core & 1) == 0) continue;
      d.semaphores[core] = {};
      d.events[core] = {};
      for (std::uint32_t engine = 0; engine < kEngines / kCores; ++engine)
        d.queues[core * kEngines / kCores + engine] = {};
    }
    *request = ++d.resets;
    return 0;
  });
}
int reset_wait(opennrt_device_t* device, uint32_t request, int32_t* result) {
  return with(device, [&](opennrt_device_t& d) {
    if (result == nullptr || request == 0 || request > d.resets) return -EINVAL;
    *result = 0;
    return 0;
  });
}
int clock_ns(opennrt_device_t* device, uint64_t* nanoseconds) {
  return with(device, [&](opennrt_device_t& d) {
    if (nanoseconds == nullptr) return -EINVAL;
    *nanoseconds = d.now_ns;
    return 0;
  });
}
int wait_for(opennrt_device_t* device, uint32_t core, uint64_t, uint64_t deadline) {
  return with(device, [&](opennrt_device_t& d) {
    if (core >= kCores) return -EINVAL;
    d.now_ns = std::max(d.now_ns, deadline);  // nothing can happen before it
    return -ETIMEDOUT;
  });
}

// ---- 11. The table. What is left out is NULL: "not supported". ----
constexpr opennrt_backend_api_t make_table() {
  opennrt_backend_api_t t{};
  t.abi_major = OPENNRT_BACKEND_ABI_MAJOR, t.abi_minor = OPENNRT_BACKEND_ABI_MINOR, t.size = sizeof(t);
  t.name = "null", t.description = "One device that keeps memory and never executes: a template for backends";
  t.open = open_backend, t.close = close_backend, t.version = version, t.devices = devices;
  t.device_open = device_open, t.device_close = device_close, t.device_info = device_info;
  t.cores_reserve = cores_reserve, t.cores_release = cores_release, t.core_holder = core_holder;
  t.mem_alloc = mem_alloc, t.mem_free = mem_free, t.mem_info = mem_info, t.mem_map = mem_map, t.mem_unmap = mem_unmap;
  t.mem_write = mem_write, t.mem_read = mem_read, t.mem_copy = mem_copy, t.mem_set = mem_set, t.mem_stats = mem_stats;
  t.dma_queue_init = dma_queue_init, t.dma_write_descriptors = dma_write_descriptors,
  t.dma_queue_start = dma_queue_start;
  t.dma_queue_release = dma_queue_release, t.dma_quiesce = dma_quiesce;
  t.semaphore_read = semaphore_read, t.semaphore_write = semaphore_write;
  t.semaphore_increment = semaphore_increment, t.semaphore_decrement = semaphore_decrement;
  t.event_get = event_get, t.event_set = event_set;
  t.nq_init = nq_init, t.nq_destroy = nq_destroy, t.nq_consume = nq_consume;
  t.reset_start = reset_start, t.reset_wait = reset_wait, t.clock = clock_ns, t.wait = wait_for;
  return t;
}
constexpr opennrt_backend_api_t kTable = make_table();

}  // namespace

// ---- 12. The one symbol ----
extern "C" __attribute__((visibility("default"))) const opennrt_backend_api_t* opennrt_backend_entry(
    uint32_t abi_major) {
  return abi_major == OPENNRT_BACKEND_ABI_MAJOR ? &kTable : nullptr;
}
