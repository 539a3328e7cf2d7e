// SPDX-License-Identifier: Apache-2.0
//
// One /dev/neuron<N>: what the kernel driver keeps about the processes of a device around the device itself
// (backends/sim/device.h): who has opened it, whose is which memory, queue, datastore, reset. Functions return 0 or a
// negative errno; `pid` is the process that asks.
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/emulator/machine/host_arena.h"
#include "backends/emulator/protocol.h"
#include "backends/sim/device.h"
#include "core/isa/inf1.h"
#include "core/observe/counters.h"

namespace opennrt::emulator {

inline constexpr std::size_t kMaxProcesses = 16;  ///< neuron_pid.h, NEURON_MAX_PROCESS_PER_DEVICE

/// Memory that a process got from the driver (struct mem_chunk of neuron_mempool.h).
struct Allocation {
  std::uint64_t address = 0, bytes = 0;  ///< whole pages
  bool host = false;
  std::uint64_t arena_offset = 0;  ///< host memory: where in the memfd
  pid_t pid = 0;                   ///< who allocated it
  bool of_device = false;          ///< lives as long as the device: notification queues, datastores
  std::uint32_t core = 0, category = 0;
};

/// Thread-safe. Locks: what is taken here is never held while the device copies or waits.
class Node {
 public:
  Node(driver::Device& device, HostArena& arena);

  driver::Device& device() { return device_; }

  // ---- processes (neuron_pid.c, ncdev_open, ncdev_flush, ncdev_release) ----
  /// -EBUSY: as many processes as the driver has room for.
  int attach(pid_t pid);
  bool attached(pid_t pid) const;
  /// A descriptor is closed. With the process's last one all that it had of the device goes.
  void flush(pid_t pid);
  /// The process has ended: all its descriptors are closed.
  void end(pid_t pid);
  /// The last file of the device is closed.
  void release();
  std::vector<AppInfo> apps(std::uint64_t flags);

  // ---- memory ----
  struct Wish {
    std::uint64_t bytes = 0, alignment = 0;
    bool host = false;
    std::uint32_t channel = 0, region = 0, core = 0, category = 0;
  };
  int mem_alloc(pid_t pid, const Wish& wish, opennrt_mem_t& handle, Allocation& allocation);
  int mem_free(pid_t pid, opennrt_mem_t handle);
  std::optional<Allocation> find(opennrt_mem_t handle) const;
  /// What contains a device address; handle 0: it has none (datastores).
  std::optional<std::pair<opennrt_mem_t, Allocation>> find_address(std::uint64_t address) const;
  int map(pid_t pid, std::uint64_t offset, std::uint64_t bytes, std::uint64_t& arena_offset, bool& writable) const;
  int mem_stats(pid_t pid, std::uint32_t core, opennrt_mem_stats_t& stats) const;

  // ---- queues, notifications, reset, initialisation ----
  int queue_init(pid_t pid, const opennrt_queue_init_t& init, opennrt_mem_t completion_ring);
  int nq_init(pid_t pid, std::uint32_t core, std::uint32_t type, std::uint32_t engine, std::uint32_t bytes,
              bool reallocate, opennrt_mem_t& handle, Allocation& allocation);
  /// One reset per process at a time; it is known by the process's number. A second one: 1, as the driver answers.
  int reset_start(pid_t pid, std::uint32_t core_map, std::uint32_t& request);
  std::int32_t reset_wait(std::uint32_t request);
  std::int32_t own_reset_wait(pid_t pid);  ///< the same; 0 when the process has asked for none
  /// neuron_cinit.c: waits up to 5 s for another process that is initialising the core.
  int init_state(std::uint32_t core, std::uint32_t state, std::uint32_t& now, const std::atomic<bool>& gone);

  // ---- datastores (neuron_ds.c) ----
  /// `owner` 0: the caller's, made when there is none. -ENOENT: that process has none; -ENOMEM: 16 processes have one.
  int ds_acquire(pid_t pid, pid_t owner, Allocation& allocation);
  void ds_release(pid_t pid, pid_t owner);

  // ---- what sysfs shows (neuron_sysfs_metrics.c): present, peak; counters of datastores that were given back ----
  struct Usage {
    std::uint64_t total = 0, last = 0, peak = 0;
  };
  Usage host_memory(std::uint32_t core) const, device_memory(std::uint32_t core) const;
  Usage host_category(std::uint32_t category) const, device_category(std::uint32_t core, std::uint32_t category) const;
  Usage counter(std::uint32_t core, observe::CoreCounter counter) const;
  Usage resets(std::uint32_t core) const;

 private:
  static constexpr std::uint32_t kCores = inf1::kCoresPerDevice;

  struct Attachment {
    unsigned open = 0;
    std::uint64_t host_bytes = 0, device_bytes = 0;
  };
  struct Datastore {
    pid_t pid = 0;
    std::uint64_t cleared = 0;  ///< order in which they were given back
    std::optional<Allocation> memory;
    std::byte* data = nullptr;
  };
  struct Book {  ///< a Usage that is written
    Usage usage;
    void add(std::uint64_t bytes);
    void take(std::uint64_t bytes);
  };

  void clean_up(pid_t pid);                                                   ///< mutex_ not held
  void enter(pid_t pid, opennrt_mem_t handle, const Allocation& allocation);  ///< mutex_ held
  void account(const Allocation& allocation, bool taken);                     ///< mutex_ held
  void drop(pid_t pid, const Allocation& allocation);                         ///< mutex_ held
  void ds_clear(Datastore& store);                                            ///< mutex_ held
  Allocation describe(opennrt_mem_t handle);

  driver::Device& device_;
  HostArena& arena_;
  mutable std::mutex mutex_;
  std::map<pid_t, Attachment> attached_;
  std::map<opennrt_mem_t, Allocation> memory_;
  std::map<std::uint64_t, opennrt_mem_t> by_address_;
  std::array<std::array<pid_t, inf1::kQueuesPerDmaEngine>, inf1::kDmaEnginesPerDevice> queue_owners_{};
  std::array<Datastore, kMaxProcesses> datastores_;
  std::uint64_t cleared_ = 0;
  std::map<std::uint32_t, std::int32_t> resets_;  ///< by request: 0, or 1 for one that failed
  std::array<std::uint32_t, kCores> init_states_;
  std::condition_variable initialised_;

  std::array<Book, kCores> host_use_, device_use_, reset_count_;
  std::map<std::uint32_t, Book> host_categories_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Book> device_categories_;
  std::map<std::pair<std::uint32_t, observe::CoreCounter>, Book> counters_;
};

}  // namespace opennrt::emulator
