// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/node.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace opennrt::emulator {
namespace {

// share/neuron_driver_shared.h, NEURON_CINIT_STATE_…
constexpr std::uint32_t kInitStarted = 1, kInitCompleted = 2, kInitInvalid = 3;
constexpr auto kInitPatience = std::chrono::seconds(5);  // neuron_cinit.c, NCI_RETRY_…

// neuron_ioctl.h, APP_INFO_…
constexpr std::uint64_t kAppLocks = 1, kAppMemory = 2;

}  // namespace

Node::Node(driver::Device& device, HostArena& arena) : device_(device), arena_(arena) {
  init_states_.fill(kInitInvalid);
}

int Node::attach(pid_t pid) {
  const std::lock_guard guard(mutex_);
  if (attached_.size() >= kMaxProcesses && !attached_.contains(pid)) return -EBUSY;
  ++attached_[pid].open;
  return 0;
}

bool Node::attached(pid_t pid) const {
  const std::lock_guard guard(mutex_);
  return attached_.contains(pid);
}

void Node::flush(pid_t pid) {
  {
    const std::lock_guard guard(mutex_);
    const auto at = attached_.find(pid);
    if (at == attached_.end()) return;
    if (at->second.open > 1) {
      --at->second.open;
      return;
    }
  }
  clean_up(pid);
}

void Node::end(pid_t pid) {
  if (attached(pid)) clean_up(pid);
}

/// In the driver's order (ncdev_flush): resets, queues, models, datastore, memory.
void Node::clean_up(pid_t pid) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> queues;
  {
    const std::lock_guard guard(mutex_);
    resets_.erase(static_cast<std::uint32_t>(pid));
    for (std::uint32_t engine = 0; engine < queue_owners_.size(); ++engine) {
      for (std::uint32_t queue = 0; queue < inf1::kQueuesPerDmaEngine; ++queue) {
        if (queue_owners_[engine][queue] != pid) continue;
        queue_owners_[engine][queue] = 0;
        queues.emplace_back(engine, queue);
      }
    }
  }
  for (const auto& [engine, queue] : queues) device_.queue_abandon(engine, queue);
  device_.release_core_locks(pid);
  ds_release(pid, pid);
  std::vector<opennrt_mem_t> handles;
  {
    const std::lock_guard guard(mutex_);
    for (auto at = memory_.begin(); at != memory_.end();) {
      if (at->second.pid != pid || at->second.of_device) {
        ++at;
        continue;
      }
      handles.push_back(at->first);
      drop(pid, at->second);
      at = memory_.erase(at);
    }
    attached_.erase(pid);
  }
  for (const opennrt_mem_t handle : handles) device_.mem_free(handle);
}

void Node::release() {
  // Memory of processes went with them. A datastore may also belong to a process that never opened the device.
  const std::lock_guard guard(mutex_);
  for (Datastore& store : datastores_) {
    if (store.memory) ds_clear(store);
  }
}

std::vector<AppInfo> Node::apps(std::uint64_t flags) {
  std::vector<AppInfo> list;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& [pid, attachment] : attached_) {
      AppInfo info;
      info.pid = pid;
      if ((flags & kAppMemory) != 0) {
        info.host_bytes = attachment.host_bytes;
        info.device_bytes = attachment.device_bytes;
      }
      list.push_back(info);
    }
  }
  if ((flags & kAppLocks) == 0) return list;
  for (AppInfo& info : list) {
    for (std::uint32_t core = 0; core < kCores; ++core) {
      if (device_.core_locked_by(core, info.pid, info.uuid[core]))
        info.core_lock_map = static_cast<std::uint8_t>(info.core_lock_map | 1u << core);
    }
  }
  return list;
}

Allocation Node::describe(opennrt_mem_t handle) {
  opennrt_mem_info_t info{};
  device_.mem_info(handle, info);
  Allocation allocation;
  allocation.address = info.device_address;
  allocation.bytes = driver::DramPool::rounded(info.bytes);
  allocation.host = info.host_memory;
  void* data = nullptr;
  if (info.host_memory && device_.mem_map(handle, data) == 0) {
    allocation.arena_offset = arena_.offset_of(static_cast<const std::byte*>(data));
    device_.mem_unmap(handle);
  }
  return allocation;
}

void Node::account(const Allocation& allocation, bool taken) {
  const auto book = [&](Book& to) { taken ? to.add(allocation.bytes) : to.take(allocation.bytes); };
  book((allocation.host ? host_use_ : device_use_)[allocation.core]);
  book(allocation.host ? host_categories_[allocation.category]
                       : device_categories_[{allocation.core, allocation.category}]);
}

void Node::enter(pid_t pid, opennrt_mem_t handle, const Allocation& allocation) {
  memory_[handle] = allocation;
  by_address_[allocation.address] = handle;
  account(allocation, true);
  if (const auto at = attached_.find(pid); at != attached_.end())
    (allocation.host ? at->second.host_bytes : at->second.device_bytes) += allocation.bytes;
}

/// The driver takes it off the account of the process that frees it, whoever allocated it (npid_dec_allocated_memory).
void Node::drop(pid_t pid, const Allocation& allocation) {
  by_address_.erase(allocation.address);
  account(allocation, false);
  const auto at = attached_.find(pid);
  if (at == attached_.end()) return;
  std::uint64_t& used = allocation.host ? at->second.host_bytes : at->second.device_bytes;
  used -= std::min(used, allocation.bytes);
}

int Node::mem_alloc(pid_t pid, const Wish& wish, opennrt_mem_t& handle, Allocation& allocation) {
  handle = 0;
  // mc_alloc_internal: sizes are whole pages, channel and core are looked at for host memory, too, host memory is not
  // aligned.
  if (wish.bytes > INT64_MAX || wish.channel >= inf1::kDramChannels || wish.region >= inf1::kDramRegions ||
      wish.core >= kCores || (wish.host && wish.alignment != 0))
    return -EINVAL;
  if (wish.bytes == 0) return -ENOMEM;  // no pool finds room for nothing
  opennrt_mem_params_t params{};
  params.bytes = driver::DramPool::rounded(wish.bytes);
  params.alignment = wish.alignment;
  params.host_memory = wish.host;
  params.dram_channel = wish.channel;
  params.dram_region = wish.region;
  params.core = wish.core;
  params.category = wish.host ? OPENNRT_MEM_MISC_HOST : OPENNRT_MEM_MISC_DEVICE;
  if (params.host_memory && params.bytes > HostArena::kBytes) return -ENOMEM;
  if (const int error = device_.mem_alloc(params, handle); error != 0) return error;
  allocation = describe(handle);
  allocation.pid = pid;
  allocation.core = wish.core;
  allocation.category = wish.category;
  {
    const std::lock_guard guard(mutex_);
    if (attached_.contains(pid)) {
      enter(pid, handle, allocation);
      return 0;
    }
  }
  device_.mem_free(handle);  // another thread of it has closed the device meanwhile
  return -EACCES;
}

int Node::mem_free(pid_t pid, opennrt_mem_t handle) {
  {
    const std::lock_guard guard(mutex_);
    const auto at = memory_.find(handle);
    if (at == memory_.end() || at->second.of_device) return -EINVAL;
    drop(pid, at->second);
    memory_.erase(at);
  }
  return device_.mem_free(handle);
}

std::optional<Allocation> Node::find(opennrt_mem_t handle) const {
  const std::lock_guard guard(mutex_);
  const auto at = memory_.find(handle);
  return at == memory_.end() ? std::nullopt : std::optional(at->second);
}

std::optional<std::pair<opennrt_mem_t, Allocation>> Node::find_address(std::uint64_t address) const {
  const std::lock_guard guard(mutex_);
  auto at = by_address_.upper_bound(address);
  if (at == by_address_.begin()) return std::nullopt;
  --at;
  if (at->second == 0) {
    for (const Datastore& store : datastores_) {
      if (store.memory && address - store.memory->address < store.memory->bytes) return std::pair(0, *store.memory);
    }
    return std::nullopt;
  }
  const Allocation& allocation = memory_.at(at->second);
  if (address - allocation.address >= allocation.bytes) return std::nullopt;
  return std::pair(at->second, allocation);
}

int Node::map(pid_t pid, std::uint64_t offset, std::uint64_t bytes, std::uint64_t& arena_offset, bool& writable) const {
  // What is no allocation of just this size may only be mapped with CAP_SYS_RAWIO (neuron_mmap.c, nmmap_dm_root), and
  // what would be mapped then is BAR 4, which this device does not show to processes.
  const auto found = find_address(offset);
  if (!found || found->second.bytes != bytes) return -EPERM;
  const Allocation& allocation = found->second;
  if (!allocation.host) return -EINVAL;  // nmmap_dm: no BAR 4
  arena_offset = allocation.arena_offset;
  writable = allocation.pid == pid || allocation.of_device;
  return 0;
}

int Node::mem_stats(pid_t pid, std::uint32_t core, opennrt_mem_stats_t& stats) const {
  if (const int error = device_.mem_stats(core, stats); error != 0) return error;
  const std::lock_guard guard(mutex_);
  stats.used_by_process = 0;
  for (const auto& [handle, allocation] : memory_) {
    if (!allocation.host && allocation.core == core && allocation.pid == pid) stats.used_by_process += allocation.bytes;
  }
  return 0;
}

int Node::queue_init(pid_t pid, const opennrt_queue_init_t& init, opennrt_mem_t completion_ring) {
  if (init.engine >= inf1::kDmaEnginesPerDevice || init.queue >= inf1::kQueuesPerDmaEngine) return -EINVAL;
  if (completion_ring != 0) return -EOPNOTSUPP;
  {
    const std::lock_guard guard(mutex_);
    queue_owners_[init.engine][init.queue] = pid;  // also when what follows fails (ndmar_queue_init)
  }
  return device_.queue_init(init);
}

int Node::nq_init(pid_t pid, std::uint32_t core, std::uint32_t type, std::uint32_t engine, std::uint32_t bytes,
                  bool reallocate, opennrt_mem_t& handle, Allocation& allocation) {
  if (type > OPENNRT_NQ_ERROR) return -EINVAL;
  if (bytes == 0) return -ENOMEM;  // a power of two to the driver, but of nothing there is no memory (nnq_init)
  const auto kind = static_cast<opennrt_nq_type_t>(type);
  opennrt_nq_t queue{};
  if (reallocate && device_.nq_init(core, kind, engine, bytes, queue) == 0) {
    {
      const std::lock_guard guard(mutex_);
      if (const auto at = memory_.find(queue.memory); at != memory_.end()) {
        drop(pid, at->second);
        memory_.erase(at);
      }
    }
    device_.nq_destroy(core, kind, engine);
  }
  if (const int error = device_.nq_init(core, kind, engine, bytes, queue); error != 0) return error;
  handle = queue.memory;
  const std::lock_guard guard(mutex_);
  if (const auto at = memory_.find(handle); at != memory_.end()) {
    allocation = at->second;
    return 0;
  }
  allocation = describe(handle);
  allocation.pid = pid;
  allocation.of_device = true;
  allocation.core = core;
  allocation.category = OPENNRT_MEM_NOTIFICATION_HOST;
  enter(pid, handle, allocation);
  return 0;
}

int Node::reset_start(pid_t pid, std::uint32_t core_map, std::uint32_t& request) {
  request = static_cast<std::uint32_t>(pid);
  {
    const std::lock_guard guard(mutex_);
    if (resets_.contains(request)) return 1;
    for (std::uint32_t core = 0; core < kCores; ++core) {
      if ((core_map >> core & 1) == 0) continue;
      init_states_[core] = kInitInvalid;
      reset_count_[core].add(1);
    }
  }
  std::uint32_t of_device = 0;
  if (const int error = device_.reset_start(core_map, of_device); error != 0) return error;
  std::int32_t result = 0;
  const bool answered = device_.reset_wait(of_device, result) == 0 && result == 0;
  const std::lock_guard guard(mutex_);
  resets_[request] = answered ? 0 : 1;
  return 0;
}

std::int32_t Node::reset_wait(std::uint32_t request) {
  const std::lock_guard guard(mutex_);
  const auto found = resets_.find(request);
  if (found == resets_.end()) return 1;  // nobody has asked for it (nr_wait)
  const std::int32_t result = found->second;
  resets_.erase(found);
  return result;
}

std::int32_t Node::own_reset_wait(pid_t pid) {
  const auto request = static_cast<std::uint32_t>(pid);
  {
    const std::lock_guard guard(mutex_);
    if (!resets_.contains(request)) return 0;  // nr_wait with `check`
  }
  return reset_wait(request);
}

int Node::init_state(std::uint32_t core, std::uint32_t state, std::uint32_t& now, const std::atomic<bool>& gone) {
  if (core >= kCores) return -EINVAL;
  std::unique_lock guard(mutex_);
  std::uint32_t& present = init_states_[core];
  if (state == kInitStarted) {
    if (present == kInitInvalid) {
      present = kInitStarted;
    } else if (present == kInitStarted) {
      const auto end = std::chrono::steady_clock::now() + kInitPatience;
      while (present != kInitCompleted && !gone && std::chrono::steady_clock::now() < end)
        initialised_.wait_for(guard, std::chrono::milliseconds(50));
    }
  } else if (state == kInitCompleted && present == kInitStarted) {
    present = kInitCompleted;
    initialised_.notify_all();
  }
  now = present;
  return 0;
}

int Node::ds_acquire(pid_t pid, pid_t owner, Allocation& allocation) {
  const std::lock_guard guard(mutex_);
  const pid_t wanted = owner == 0 ? pid : owner;
  const auto own = std::find_if(datastores_.begin(), datastores_.end(),
                                [wanted](const Datastore& store) { return store.pid == wanted; });
  if (own != datastores_.end()) {
    allocation = *own->memory;
    return 0;
  }
  if (owner != 0) return -ENOENT;
  // Of the free ones the one that was given back first, so that a monitor can still read the counters of others for a
  // while.
  Datastore* store = nullptr;
  for (Datastore& candidate : datastores_) {
    if (candidate.pid == 0 && (store == nullptr || candidate.cleared < store->cleared)) store = &candidate;
  }
  if (store == nullptr) return -ENOMEM;
  if (!store->memory) {
    opennrt_mem_params_t params{};
    params.bytes = observe::kCounterStoreBytes;
    params.host_memory = true;
    params.category = OPENNRT_MEM_MISC_HOST;
    opennrt_mem_t handle = 0;
    if (device_.mem_alloc(params, handle) != 0) return -ENOMEM;
    void* data = nullptr;
    device_.mem_map(handle, data);
    store->memory = describe(handle);
    store->memory->of_device = true;
    store->data = static_cast<std::byte*>(data);
    by_address_[store->memory->address] = 0;
  }
  store->pid = pid;
  store->memory->pid = pid;
  allocation = *store->memory;
  return 0;
}

void Node::ds_release(pid_t pid, pid_t owner) {
  if (owner != 0 && owner != pid) return;  // only its owner gives it back
  const std::lock_guard guard(mutex_);
  for (Datastore& store : datastores_) {
    if (store.pid != pid) continue;
    const observe::CounterStore counted(store.data, observe::kCounterStoreBytes);
    const auto keep = [&](observe::CoreCounter counter) {
      for (std::uint32_t core = 0; core < kCores; ++core) {
        if (const std::uint64_t value = counted.get(core, counter); value != 0) counters_[{core, counter}].add(value);
      }
    };
    for (const observe::NamedCounter& ending : observe::kEndings) keep(ending.counter);
    for (const observe::NamedCounter& error : observe::kErrorKinds) keep(error.counter);
    keep(observe::CoreCounter::kModelLoads);
    keep(observe::CoreCounter::kInferences);
    keep(observe::CoreCounter::kTimeInUse);
    ds_clear(store);
  }
}

void Node::ds_clear(Datastore& store) {
  std::memset(store.data, 0, observe::kCounterStoreBytes);
  store.pid = 0;
  store.cleared = ++cleared_;
}

void Node::Book::add(std::uint64_t amount) {
  usage.total += amount;
  usage.last = amount;
  usage.peak = std::max(usage.peak, usage.total);
}

void Node::Book::take(std::uint64_t amount) {
  usage.total -= amount;
  usage.last = amount;
}

Node::Usage Node::host_memory(std::uint32_t core) const {
  const std::lock_guard guard(mutex_);
  return host_use_[core].usage;
}

Node::Usage Node::device_memory(std::uint32_t core) const {
  const std::lock_guard guard(mutex_);
  return device_use_[core].usage;
}

Node::Usage Node::host_category(std::uint32_t category) const {
  const std::lock_guard guard(mutex_);
  const auto at = host_categories_.find(category);
  return at == host_categories_.end() ? Usage{} : at->second.usage;
}

Node::Usage Node::device_category(std::uint32_t core, std::uint32_t category) const {
  const std::lock_guard guard(mutex_);
  const auto at = device_categories_.find({core, category});
  return at == device_categories_.end() ? Usage{} : at->second.usage;
}

Node::Usage Node::counter(std::uint32_t core, observe::CoreCounter counter) const {
  const std::lock_guard guard(mutex_);
  const auto at = counters_.find({core, counter});
  return at == counters_.end() ? Usage{} : at->second.usage;
}

Node::Usage Node::resets(std::uint32_t core) const {
  const std::lock_guard guard(mutex_);
  return reset_count_[core].usage;
}

}  // namespace opennrt::emulator
