// SPDX-License-Identifier: Apache-2.0
//
// One Inferentia device as the kernel driver serves it to a process (aws-neuron-driver neuron_cdev.c and what it
// calls), in
// user space and over the registers of the simulated chip. Functions return 0 or a negative errno and carry the names
// and the
// contracts of opennrt/backend.h. Thread-safe.
//
// Locks, in the order in which they may be taken: a core's copy lock, a DMA engine's lock, then one of the leaf locks
// (memory
// table, notification queues), under which nothing else is called: the simulation thread takes the latter in
// conditions.
#pragma once

#include <opennrt/backend.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <unordered_map>

#include "backends/sim/copy_ring.h"
#include "backends/sim/dram_pool.h"
#include "backends/sim/platform.h"
#include "core/isa/inf1.h"

namespace opennrt::driver {

class Device {
 public:
  Device(Platform& platform, std::uint32_t number);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  std::uint32_t number() const { return number_; }
  void info(opennrt_device_info_t& info) const;

  // device_memory.cc
  int mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t& handle);
  int mem_free(opennrt_mem_t handle);
  int mem_info(opennrt_mem_t handle, opennrt_mem_info_t& info) const;
  int mem_map(opennrt_mem_t handle, void*& address);
  int mem_unmap(opennrt_mem_t handle);
  int mem_write(opennrt_mem_t handle, std::uint64_t offset, const void* buffer, std::uint64_t bytes);
  int mem_read(opennrt_mem_t handle, std::uint64_t offset, void* buffer, std::uint64_t bytes);
  int mem_copy(opennrt_mem_t from, std::uint64_t from_offset, opennrt_mem_t to, std::uint64_t to_offset,
               std::uint64_t bytes);
  int mem_set(opennrt_mem_t handle, std::uint64_t offset, std::uint32_t value, std::uint64_t bytes);
  int mem_stats(std::uint32_t core, opennrt_mem_stats_t& stats) const;

  // device_dma.cc
  int engine_set_state(std::uint32_t engine, opennrt_dma_state_t state);
  int engine_get_state(std::uint32_t engine, opennrt_dma_engine_state_t& state);
  int queue_init(const opennrt_queue_init_t& init);
  int write_descriptors(opennrt_mem_t ring, std::uint64_t offset, std::span<const std::byte> descriptors,
                        opennrt_queue_type_t type);
  int queue_start(std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count, std::uint32_t rx_count);
  int queue_get_state(std::uint32_t engine, std::uint32_t queue, opennrt_queue_state_t& tx, opennrt_queue_state_t& rx);
  int queue_release(std::uint32_t engine, std::uint32_t queue);
  int quiesce(std::uint32_t core);
  /// What the driver does to a queue of a process that has ended: it is pointed at an empty ring of the driver's own
  /// (neuron_ring.c, ndmar_handle_process_exit). The driver's own queues are left alone.
  int queue_abandon(std::uint32_t engine, std::uint32_t queue);
  /// Descriptors [first, first + count) of the ring that the chip has for a queue (NEURON_IOCTL_DMA_DESCRIPTOR_COPYOUT).
  /// -EFBIG: the ring has fewer; -EINVAL: there is no such queue, or its ring is not memory that was allocated here.
  int read_descriptors(std::uint32_t engine, std::uint32_t queue, opennrt_queue_type_t type, std::uint32_t first,
                       std::uint32_t count, std::byte* to);
  /// Writes into a core's window (NEURON_IOCTL_PROGRAM_ENGINE_NC). -ENOMEM: it is not in one of them, as the driver says.
  int program_engine(std::uint32_t core, std::uint64_t address, const void* buffer, std::uint64_t bytes);
  /// How often instructions have been started on the core since its last reset (NEURON_IOCTL_NC_MODEL_STARTED_COUNT).
  int model_started_count(std::uint32_t core, std::uint64_t& count) const;

  // device_control.cc
  int bar_read(std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values);
  int bar_write(std::uint32_t bar, std::span<const std::uint64_t> offsets, const std::uint32_t* values);
  int semaphore(std::uint64_t operation, std::uint32_t core, std::uint32_t index, std::uint32_t value);
  int semaphore_read(std::uint32_t core, std::uint32_t index, std::uint32_t& value);
  int event_get(std::uint32_t core, std::uint32_t event, std::uint32_t& value);
  int event_set(std::uint32_t core, std::uint32_t event, std::uint32_t value);
  int reset_start(std::uint32_t core_map, std::uint32_t& request);
  int reset_wait(std::uint32_t request, std::int32_t& result);
  /// `owner`: the process that asks, where several use the device; another one's model is not its own.
  int core_lock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32], std::int32_t owner = 0);
  int core_unlock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32], std::int32_t owner = 0);
  /// Takes the cores' models from a process that has ended (neuron_crwl.c, ncrwl_release_current_process).
  void release_core_locks(std::int32_t owner);
  /// Whether that process has locked the core, and which model it has put there (ncdev_device_get_all_apps_info).
  bool core_locked_by(std::uint32_t core, std::int32_t owner, std::uint8_t uuid[32]);
  /// 32-bit registers by device address, as the firmware reads them (NEURON_IOCTL_READ_HW_COUNTERS). -EINVAL: an address
  /// is none of a register.
  int read_counters(std::span<const std::uint64_t> addresses, std::uint32_t* values);

  // device_notify.cc
  int nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
              opennrt_nq_t& queue);
  int nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  int nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries);
  /// `reason`: gets the sentence that is otherwise logged when nothing can happen any more. -EINTR: `cancelled` has become true.
  int wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline, std::string* reason = nullptr,
           const std::atomic<bool>* cancelled = nullptr);
  /// For programs that do not wait: lets the core's doorbells in and the machine run until nothing can happen any more.
  void run(std::uint32_t core, const std::atomic<bool>& cancelled);
  int work_started(std::uint32_t core, std::uint64_t& nanoseconds) const;
  std::uint64_t clock() const { return platform_.machine->now_ns(); }

 private:
  static constexpr std::uint32_t kCores = inf1::kCoresPerDevice;

  /// Memory that was handed out. Shared by the table and by whoever is copying to or from it.
  struct Memory {
    std::uint64_t address = 0;  ///< as a descriptor takes it
    std::uint64_t bytes = 0;    ///< as asked for
    std::uint32_t core = 0, channel = 0, region = 0;
    opennrt_mem_category_t category = OPENNRT_MEM_MISC_DEVICE;
    std::unique_ptr<HostPages> pages;  ///< host memory; null: DRAM
    unsigned maps = 0;
    int starts_model_of = -1;  ///< descriptors in it lead into the PE's instruction FIFO of this core
    std::byte* host() const { return pages ? pages->data() : nullptr; }
  };
  using MemoryRef = std::shared_ptr<Memory>;

  struct Queue {
    bool initialised = false;
    std::uint32_t tx_count = 0, rx_count = 0;
    opennrt_mem_t tx_ring = 0, rx_ring = 0;
  };
  struct Engine {
    std::mutex mutex;
    std::array<Queue, inf1::kQueuesPerDmaEngine> queues;
  };

  /// A notification queue. `armed`: the chip has its address (not so after a reset, until nq_init).
  struct Notifications {
    opennrt_mem_t memory = 0;
    MemoryRef ref;
    std::uint32_t bytes = 0;
    bool armed = false;
    std::uint64_t written = 0, consumed = 0;  ///< entries since nq_init
  };
  struct CoreNotifications {
    std::mutex mutex;
    std::array<Notifications, inf1::kNotificationTypes * inf1::kNotificationEngines> queues;
    std::uint64_t scan();  ///< mutex held; entries written to the core's queues
  };

  /// aws-neuron-driver neuron_crwl.c: which model has the core, and who reads it.
  struct ModelLock {
    std::mutex mutex;
    std::condition_variable changed;
    std::array<std::uint8_t, 32> uuid{};
    bool owned = false, writer = false;
    std::int32_t owner = 0;
    std::uint64_t readers = 0;
  };

  MemoryRef find(opennrt_mem_t handle) const;
  static bool fits(const Memory& memory, std::uint64_t offset, std::uint64_t bytes);
  int device_copy(std::uint32_t core, std::uint64_t from, std::uint64_t to, std::uint64_t bytes,
                  bool from_moves = true);
  static int core_of_instruction_fifo(std::uint64_t address);
  int valid_descriptor_address(std::uint64_t address, std::uint64_t bytes, std::size_t index) const;

  void ring(const Doorbell& doorbell);
  void write0(std::uint64_t offset, std::uint32_t value) const {
    platform_.machine->bar_write(number_, 0, offset, value);
  }
  static bool own_queue_of_driver(std::uint32_t engine, std::uint32_t queue);
  int check_queue(std::uint32_t engine, std::uint32_t queue) const;
  std::uint32_t machine_core(std::uint32_t core) const { return number_ * kCores + core; }

  std::uint64_t notification_register(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) const;
  void program_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t address,
                             std::uint32_t bytes) const;
  static int check_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  static std::size_t notification_index(opennrt_nq_type_t type, std::uint32_t engine);

  Platform& platform_;
  const std::uint32_t number_;

  mutable std::mutex memory_mutex_;
  std::unordered_map<opennrt_mem_t, MemoryRef> memories_;
  std::uint64_t next_memory_ = 1;
  std::array<std::array<DramPool, inf1::kDramRegions>, inf1::kDramChannels> pools_;
  std::array<std::uint64_t, kCores> models_started_{};
  std::array<std::uint64_t, kCores> used_{};  ///< DRAM accounted to each core

  std::array<CopyRing, kCores> copies_;
  std::unique_ptr<HostPages> empty_ring_;  ///< of abandoned queues; made with the first
  std::mutex empty_ring_mutex_;
  std::array<Engine, inf1::kDmaEnginesPerDevice> engines_;
  std::array<CoreNotifications, kCores> notifications_;
  /// As many as the driver has, whatever the chip (neuron_device.h, MAX_NC_PER_DEVICE).
  static constexpr std::uint32_t kModelLocks = 8;
  std::array<ModelLock, kModelLocks> model_locks_;

  /// When a core's present work began: the first doorbell since a wait for the core returned.
  struct Start {
    std::atomic<bool> open = false;
    std::atomic<std::uint64_t> ns = 0;
  };
  std::array<Start, kCores> starts_;

  std::mutex nq_setup_mutex_;  ///< queues come and go one at a time; taken before the leaf locks
  std::mutex reset_mutex_;
  std::uint32_t last_reset_ = 0;
  std::set<std::uint32_t> unanswered_resets_;
};

}  // namespace opennrt::driver
