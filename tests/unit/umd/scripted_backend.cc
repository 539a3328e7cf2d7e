// SPDX-License-Identifier: Apache-2.0
//
// A backend for tests of the user-mode driver: memory is heap, and when the third instruction queue of a core is started the
// notifications that the test has scripted are written, as a device would. Scripts come through OPENNRT_SCRIPT (see play()).
#include <opennrt/backend.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/isa/inf1.h"

using opennrt::inf1::chosen::Notification;

struct opennrt_backend {
  const opennrt_host_t* host;
};

namespace {

struct Block {
  std::vector<unsigned char> bytes;
  bool host = false;
  std::uint64_t address = 0;
};

struct Nq {
  opennrt_mem_t memory = 0;
  std::uint64_t written = 0;
};

constexpr std::uint64_t kCapacity = 8u << 20;

}  // namespace

struct opennrt_device {
  opennrt_backend_t* backend = nullptr;
  std::mutex mutex;
  std::map<opennrt_mem_t, Block> memory;
  opennrt_mem_t next = 1;
  std::uint64_t used = 0, now = 1000;
  std::map<std::pair<std::uint32_t, std::uint32_t>, opennrt_queue_init_t> queues;  // by engine, queue
  std::array<std::array<Nq, 7>, 4> nq{};  // by core; notify 0..2, error 3, trace 4..6
  std::array<std::uint64_t, 4> entries{};
  std::array<int, 4> started{};
  std::array<std::array<std::uint32_t, 32>, 4> semaphores{};
  std::string script() const {
    const char* text = backend->host->config(backend->host->context, "OPENNRT_SCRIPT");
    return text != nullptr ? text : "";
  }
};

namespace {

int dev_open(const opennrt_host_t* host, opennrt_backend_t** backend) {
  const char* refuse = host->config(host->context, "OPENNRT_SCRIPT_REFUSE");
  if (refuse != nullptr) {
    host->log(host->context, OPENNRT_LOG_ERROR, "open", "OPENNRT_SCRIPT_REFUSE is set, expected it not to be");
    return -EINVAL;
  }
  *backend = new opennrt_backend{host};
  return 0;
}
void dev_close(opennrt_backend_t* backend) {
  delete backend;
}
int version(opennrt_backend_t*, opennrt_driver_version_t* v) {
  *v = {2, 24, "2.24", 2, 7};
  return 0;
}
int devices(opennrt_backend_t*, std::uint32_t* numbers, std::uint32_t* count) {
  if (*count > 0) numbers[0] = 0;
  *count = 1;
  return 0;
}
int device_open(opennrt_backend_t* backend, std::uint32_t number, opennrt_device_t** device) {
  if (number != 0) return -ENODEV;
  *device = new opennrt_device;
  (*device)->backend = backend;
  return 0;
}
void device_close(opennrt_device_t* device) {
  delete device;
}
int device_info(opennrt_device_t* device, opennrt_device_info_t* info) {
  *info = {};
  info->architecture = device->script() == "trn" ? 2 : 1;
  info->core_count = 4;
  info->dram_channels = 2;
  info->dram_channel_bytes = kCapacity / 2;
  info->dma_engines_per_core = 3;
  info->queues_per_dma_engine = 16;
  info->open_isa_version = device->script() == "silicon" ? 0 : 1;
  info->sbuf_bytes_per_partition = 80 * 1024;
  info->psum_bytes_per_partition = 16 * 1024;
  return 0;
}

int mem_alloc(opennrt_device_t* d, const opennrt_mem_params_t* params, opennrt_mem_t* memory) {
  std::lock_guard lock(d->mutex);
  if (!params->host_memory && d->used + params->bytes > kCapacity) return -ENOMEM;
  Block block;
  block.bytes.resize(params->bytes);
  block.host = params->host_memory;
  block.address = (params->host_memory ? opennrt::inf1::kHostBase : 0) + d->next * 0x1000'0000ull;
  if (!params->host_memory) d->used += params->bytes;
  *memory = d->next++;
  d->memory.emplace(*memory, std::move(block));
  return 0;
}
int mem_free(opennrt_device_t* d, opennrt_mem_t memory) {
  std::lock_guard lock(d->mutex);
  auto found = d->memory.find(memory);
  if (found == d->memory.end()) return -EINVAL;
  if (!found->second.host) d->used -= found->second.bytes.size();
  d->memory.erase(found);
  return 0;
}
int mem_info(opennrt_device_t* d, opennrt_mem_t memory, opennrt_mem_info_t* info) {
  std::lock_guard lock(d->mutex);
  const Block& block = d->memory.at(memory);
  *info = {block.address, block.bytes.size(), block.host, 1};
  return 0;
}
int mem_map(opennrt_device_t* d, opennrt_mem_t memory, void** address) {
  std::lock_guard lock(d->mutex);
  *address = d->memory.at(memory).bytes.data();
  return 0;
}
int mem_unmap(opennrt_device_t*, opennrt_mem_t) {
  return 0;
}
int mem_write(opennrt_device_t* d, opennrt_mem_t memory, std::uint64_t offset, const void* buffer,
              std::uint64_t bytes) {
  std::lock_guard lock(d->mutex);
  std::memcpy(d->memory.at(memory).bytes.data() + offset, buffer, bytes);
  return 0;
}
int mem_read(opennrt_device_t* d, opennrt_mem_t memory, std::uint64_t offset, void* buffer, std::uint64_t bytes) {
  std::lock_guard lock(d->mutex);
  std::memcpy(buffer, d->memory.at(memory).bytes.data() + offset, bytes);
  return 0;
}
int mem_copy(opennrt_device_t* d, opennrt_mem_t from, std::uint64_t from_offset, opennrt_mem_t to,
             std::uint64_t to_offset, std::uint64_t bytes) {
  std::lock_guard lock(d->mutex);
  std::memmove(d->memory.at(to).bytes.data() + to_offset, d->memory.at(from).bytes.data() + from_offset, bytes);
  return 0;
}
int mem_set(opennrt_device_t* d, opennrt_mem_t memory, std::uint64_t offset, std::uint32_t value, std::uint64_t bytes) {
  std::lock_guard lock(d->mutex);
  std::memset(d->memory.at(memory).bytes.data() + offset, static_cast<int>(value), bytes);
  return 0;
}
int mem_stats(opennrt_device_t* d, std::uint32_t, opennrt_mem_stats_t* stats) {
  std::lock_guard lock(d->mutex);
  *stats = {d->used, d->used, kCapacity};
  return 0;
}

int queue_init(opennrt_device_t* d, const opennrt_queue_init_t* queues, std::uint32_t count) {
  std::lock_guard lock(d->mutex);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (queues[i].tx_count % 16 != 0 || queues[i].tx_count < 32 || !d->memory.contains(queues[i].tx_ring))
      return -EINVAL;
    d->queues[{queues[i].engine, queues[i].queue}] = queues[i];
  }
  return 0;
}
int write_descriptors(opennrt_device_t* d, opennrt_mem_t ring, std::uint64_t offset, const void* descriptors,
                      std::uint32_t count, opennrt_queue_type_t) {
  std::lock_guard lock(d->mutex);
  Block& block = d->memory.at(ring);
  if (offset + 16ull * count > block.bytes.size()) return -EINVAL;
  std::memcpy(block.bytes.data() + offset, descriptors, 16ull * count);
  return 0;
}

void notify(opennrt_device_t* d, std::uint32_t core, std::size_t slot, Notification entry) {
  Nq& nq = d->nq[core][slot];
  auto& bytes = d->memory.at(nq.memory).bytes;
  std::uint64_t room = bytes.size() / sizeof(Notification);
  entry.phase = (nq.written / room) % 2 == 0 ? 1 : 0;
  entry.time_ns = d->now += 10;
  unsigned char* at = bytes.data() + (nq.written % room) * sizeof(Notification);
  std::memcpy(at + 1, reinterpret_cast<unsigned char*>(&entry) + 1, sizeof(entry) - 1);
  __atomic_store_n(at, entry.phase, __ATOMIC_RELEASE);
  ++nq.written;
  ++d->entries[core];
}

std::uint32_t word(const std::vector<unsigned char>& bytes, std::size_t at) {
  std::uint32_t value;
  std::memcpy(&value, bytes.data() + at, 4);
  return value;
}

/// The end value of an engine: in the last instruction that its feeding ring points to.
std::uint32_t end_value(opennrt_device_t* d, std::uint32_t core, std::uint32_t engine) {
  const auto& init = d->queues.at({core * 3 + engine, 0});
  const auto& ring = d->memory.at(init.tx_ring).bytes;
  std::size_t last = 0;
  while (last + 32 <= ring.size() && word(ring, last + 16) != 0) last += 16;
  std::uint64_t address;
  std::memcpy(&address, ring.data() + last + 8, 8);
  std::uint64_t end = address + (word(ring, last) & 0xffff);
  for (const auto& [handle, block] : d->memory)
    if (address >= block.address && end <= block.address + block.bytes.size())
      return word(block.bytes, end - block.address - 4);
  return 0;
}

/// Letters of the script: e = all engines end; 0 1 2 = that engine ends; n i o s d a q v = the error notification of that kind
/// from ACT's instruction 7 (a: from DMA engine 1 queue 2); x = 6000 foreign notifications; S = semaphore 3 becomes 2.
void play(opennrt_device_t* d, std::uint32_t core) {
  std::string script = d->script();
  if (script == "silicon" || script == "trn") script = "e";
  for (char c : script) {
    auto end = [&](std::uint32_t engine) {
      notify(d, core, engine, {0, 1, static_cast<std::uint8_t>(engine), 0, end_value(d, core, engine), 0});
    };
    static const std::map<char, std::uint8_t> kErrors{{'n', 1}, {'i', 2}, {'o', 3}, {'s', 4}, {'d', 5},
                                                      {'a', 6}, {'c', 7}, {'v', 8}, {'q', 9}, {'u', 77}};
    if (c == 'e')
      end(0), end(1), end(2);
    else if (c >= '0' && c <= '2')
      end(static_cast<std::uint32_t>(c - '0'));
    else if (c == 'x')
      for (int i = 0; i < 3000; ++i) notify(d, core, 0, {0, 1, 0, 0, 5, 0});
    else if (c == 'S')
      d->semaphores[core][3] = 2;
    else if (kErrors.contains(c))
      notify(d, core, 3,
             {0, 3, static_cast<std::uint8_t>(c == 'a' ? 3 : 1), kErrors.at(c), c == 'a' ? 1u << 8 | 2u : 7u, 0});
  }
}

int queue_start(opennrt_device_t* d, std::uint32_t engine, std::uint32_t queue, std::uint32_t, std::uint32_t) {
  std::lock_guard lock(d->mutex);
  if (!d->queues.contains({engine, queue})) return -EINVAL;
  if (++d->started[engine / 3] % 3 == 0) play(d, engine / 3);
  return 0;
}

int semaphore_read(opennrt_device_t* d, std::uint32_t core, std::uint32_t s, std::uint32_t* value) {
  std::lock_guard lock(d->mutex);
  *value = d->semaphores[core][s];
  return 0;
}
int semaphore_write(opennrt_device_t* d, std::uint32_t core, std::uint32_t s, std::uint32_t value) {
  std::lock_guard lock(d->mutex);
  d->semaphores[core][s] = value;
  return 0;
}
int event_get(opennrt_device_t*, std::uint32_t, std::uint32_t, std::uint32_t* value) {
  *value = 0;
  return 0;
}

std::size_t nq_index(opennrt_nq_type_t type, std::uint32_t engine) {
  return type == OPENNRT_NQ_ERROR ? 3 : type == OPENNRT_NQ_TRACE ? 4 + engine : engine;
}
int nq_init(opennrt_device_t* d, std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
            opennrt_nq_t* queue) {
  opennrt_mem_params_t params{bytes, 4096, true, 0, 0, core, OPENNRT_MEM_NOTIFICATION_HOST};
  Nq& nq = d->nq[core][nq_index(type, engine)];
  if (int result = mem_alloc(d, &params, &nq.memory); result != 0) return result;
  nq.written = 0;
  if (type != OPENNRT_NQ_TRACE) d->entries[core] = 0;
  void* address = nullptr;
  mem_map(d, nq.memory, &address);
  *queue = {nq.memory, address, bytes};
  return 0;
}
int nq_destroy(opennrt_device_t* d, std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  return mem_free(d, d->nq[core][nq_index(type, engine)].memory);
}
int nq_consume(opennrt_device_t*, std::uint32_t, opennrt_nq_type_t, std::uint32_t, std::uint64_t) {
  return 0;
}

int reset_start(opennrt_device_t* d, std::uint32_t, std::uint32_t* request) {
  *request = 5;
  return d->script().find('!') != std::string::npos ? -EIO : 0;
}
int reset_wait(opennrt_device_t*, std::uint32_t request, std::int32_t* result) {
  *result = 0;
  return request == 5 ? 0 : -EINVAL;
}
int read_clock(opennrt_device_t* d, std::uint64_t* now) {
  std::lock_guard lock(d->mutex);
  *now = d->now += OPENNRT_SCRIPTED_CLOCK_STEP;
  return 0;
}
int wait_entries(opennrt_device_t* d, std::uint32_t core, std::uint64_t seen, std::uint64_t deadline) {
  std::lock_guard lock(d->mutex);
  if (d->entries[core] > seen) return 0;
  d->now = deadline;
  d->backend->host->log(d->backend->host->context, OPENNRT_LOG_ERROR, "wait", "pe waits for semaphore 3 >= 1");
  return -ETIMEDOUT;
}

const opennrt_backend_api_t kTable = [] {
  opennrt_backend_api_t t{};
  t.abi_major = OPENNRT_BACKEND_ABI_MAJOR;
  t.size = sizeof(t);
  t.name = "scripted";
  t.description = "notifications as a test scripts them";
  t.open = dev_open, t.close = dev_close, t.version = version, t.devices = devices;
  t.device_open = device_open, t.device_close = device_close, t.device_info = device_info;
  t.mem_alloc = mem_alloc, t.mem_free = mem_free, t.mem_info = mem_info, t.mem_map = mem_map, t.mem_unmap = mem_unmap;
  t.mem_write = mem_write, t.mem_read = mem_read, t.mem_copy = mem_copy, t.mem_set = mem_set, t.mem_stats = mem_stats;
  t.dma_queue_init = queue_init, t.dma_write_descriptors = write_descriptors, t.dma_queue_start = queue_start;
  t.semaphore_read = semaphore_read, t.semaphore_write = semaphore_write, t.event_get = event_get;
  t.nq_init = nq_init, t.nq_destroy = nq_destroy, t.nq_consume = nq_consume;
  t.reset_start = reset_start, t.reset_wait = reset_wait, t.clock = read_clock;
#if OPENNRT_SCRIPTED_WAIT
  t.wait = wait_entries;
#else
  (void)wait_entries;  // this build polls
#endif
  return t;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) const opennrt_backend_api_t* opennrt_backend_entry(
    std::uint32_t abi_major) {
  return abi_major == OPENNRT_BACKEND_ABI_MAJOR ? &kTable : nullptr;
}
