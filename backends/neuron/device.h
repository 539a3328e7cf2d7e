// SPDX-License-Identifier: Apache-2.0
//
// One opened /dev/neuron<N>: the operations of opennrt/backend.h as requests of the kernel driver.
#pragma once

#include <opennrt/backend.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/neuron/abi.h"
#include "backends/neuron/driver.h"
#include "backends/neuron/paravirtual.h"
#include "backends/neuron/syscalls.h"
#include "backends/sim/log.h"
#include "core/isa/inf1.h"

namespace opennrt::neuron {

/// What is known of device `number` without a file that attaches this process to it: all but its neighbours, and, where the
/// result is false, its place on the bus. `control`: any file of device `first`. `emulator`: what an emulated device says of
/// itself; nullptr on silicon.
bool describe(const File& control, std::uint32_t first, std::uint32_t number, const Features& features,
              const paravirtual::Hello* emulator, opennrt_device_info_t& info);

/// Results are 0 or a negative errno. Thread-safe. What is still mapped or allocated goes with this object.
class Device {
 public:
  /// `file`: opened for reading and writing. `host_shift`: the host's number of a device minus ours. `waits`: an emulator's
  /// own clock and waiting are made use of.
  Device(File file, std::uint32_t number, std::int64_t host_shift, const Features& features, const driver::Log& log,
         bool waits);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  std::uint32_t number() const { return number_; }
  int info(opennrt_device_info_t& info);
  /// Frees, unmaps and switches off what was made through this object; the file stays open.
  void forget();

  // cores.cc
  int core_lock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32]);
  int core_unlock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32]);
  void sign_core(std::uint32_t core);  ///< makes this process visible to others as the core's owner
  void unsign_core(std::uint32_t core);
  /// pid 0: nobody that could be told. Unless `for_sure`, the only other process of a device without any sign counts as well.
  int owner(std::uint32_t core, std::int32_t& pid, bool for_sure);

  // memory.cc
  int mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t& handle);
  int mem_free(opennrt_mem_t handle);
  int mem_info(opennrt_mem_t handle, opennrt_mem_info_t& info);
  int mem_map(opennrt_mem_t handle, void*& address);
  int mem_unmap(opennrt_mem_t handle);
  int mem_write(opennrt_mem_t handle, std::uint64_t offset, const void* buffer, std::uint64_t bytes);
  int mem_read(opennrt_mem_t handle, std::uint64_t offset, void* buffer, std::uint64_t bytes);
  int mem_copy(opennrt_mem_t from, std::uint64_t from_offset, opennrt_mem_t to, std::uint64_t to_offset,
               std::uint64_t bytes);
  int mem_set(opennrt_mem_t handle, std::uint64_t offset, std::uint32_t value, std::uint64_t bytes);
  int mem_stats(std::uint32_t core, opennrt_mem_stats_t& stats);

  // dma.cc
  int engine_set_state(std::uint32_t engine, opennrt_dma_state_t state);
  int engine_get_state(std::uint32_t engine, opennrt_dma_engine_state_t& state);
  int queue_init(std::span<const opennrt_queue_init_t> queues);
  int write_descriptors(opennrt_mem_t ring, std::uint64_t offset, const void* descriptors, std::uint32_t count,
                        opennrt_queue_type_t type);
  int queue_start(std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count, std::uint32_t rx_count);
  int queue_get_state(std::uint32_t engine, std::uint32_t queue, opennrt_queue_state_t& tx, opennrt_queue_state_t& rx);
  int queue_release(std::uint32_t engine, std::uint32_t queue);
  int quiesce(std::uint32_t core);

  // control.cc
  int bar_read(std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values);
  int bar_write(std::uint32_t bar, std::span<const std::uint64_t> offsets, const std::uint32_t* values);
  /// `request`: one of the four of semaphores.
  int semaphore(unsigned long request, std::uint32_t core, std::uint32_t index, std::uint32_t& value);
  int event_get(std::uint32_t core, std::uint32_t index, std::uint32_t& value);
  int event_set(std::uint32_t core, std::uint32_t index, std::uint32_t value);
  /// Sets its semaphores and events to 0.
  int clear_core(std::uint32_t core);
  /// -ENOTSUP: a driver that resets whole devices only, and other cores than all of it.
  int reset_start(std::uint32_t core_map, std::uint32_t& request);
  int reset_wait(std::uint32_t request, std::int32_t& result);

  // notify.cc
  int nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
              opennrt_nq_t& queue);
  int nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  int nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries);

  // wait.cc
  int clock(std::uint64_t& nanoseconds);
  int wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline);
  int work_started(std::uint32_t core, std::uint64_t& nanoseconds);
  int pass_marker(std::string_view name);  ///< to an emulator; silicon has nobody who wants to know

  // counters.cc
  int counters_map(std::int32_t pid, void*& address, std::size_t& bytes);
  int counters_unmap(void* address);

 private:
  static constexpr std::uint32_t kCores = inf1::kCoresPerDevice;
  static constexpr std::size_t kQueuesPerCore = inf1::kNotificationTypes * inf1::kNotificationEngines;

  /// Memory that was allocated here.
  struct Memory {
    std::uint64_t bytes = 0;         ///< asked for
    std::uint64_t driver_bytes = 0;  ///< given: whole pages of the host, or it could not be mapped
    std::uint32_t core = 0;
    bool host = false;
    void* mapped = nullptr;
    unsigned maps = 0;
    std::optional<abi::MemGetExtendedInfo> info;  ///< asked at first use
  };
  /// A notification queue, by core, type and engine.
  struct Queue {
    opennrt_mem_t memory = 0;
    std::byte* entries = nullptr;  ///< mapped; null: not there for the caller
    std::uint32_t bytes = 0, mapped_bytes = 0;
    std::uint64_t written = 0;  ///< entries that were found in it
    bool armed = false;         ///< the device writes to it
    /// Entries that an emulator has counted for a queue of the driver's that the caller has destroyed. The driver keeps
    /// such a queue until it is initialised again or its core is reset.
    std::uint64_t left_over = 0;
  };
  struct CoreQueues {
    std::mutex mutex;
    std::array<Queue, kQueuesPerCore> queues;
  };
  struct Start {  // of a core's work
    std::atomic<bool> open{false};
    std::atomic<std::uint64_t> ns{0};
  };
  struct Counters {
    std::int32_t pid = 0;
    std::size_t bytes = 0;
  };
  enum class AllocForm { kUnknown, kV1, kV2, kV2Mt, kV2Mt64 };

  int check_access(opennrt_mem_t handle, std::uint64_t offset, std::uint64_t bytes);
  int extended_info(opennrt_mem_t handle, abi::MemGetExtendedInfo& info) const;
  int allocate(const opennrt_mem_params_t& params, std::uint64_t bytes, std::uint64_t& handle);
  int copy_buffer(opennrt_mem_t handle, std::uint64_t offset, std::uint64_t buffer, std::uint64_t bytes,
                  bool to_memory);
  std::byte* mapped_at(opennrt_mem_t handle);
  int apps(std::vector<abi::AppInfo>& found, std::uint16_t flags) const;
  int ask_info();  ///< fills info_ at first use
  int reset_device(std::int32_t& result);
  int reset_cores(std::uint32_t core_map, std::int32_t& result);
  std::uint64_t bar_address(std::uint32_t bar) const;
  int bar_run(bool write, std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values);

  static int check_notifications(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  static std::uint64_t notification_register(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  Queue& queue_of(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  int program_queue(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t address,
                    std::uint32_t bytes);
  int make_queue(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes, Queue& queue);
  void unmap_queue(Queue& queue);
  static std::uint64_t scan(Queue& queue);
  std::uint64_t written(std::uint32_t core, std::uint64_t& left_over);
  int poll(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline);

  const File file_;
  const std::uint32_t number_;
  const std::int64_t host_shift_;
  const Features features_;
  const driver::Log log_;
  /// What an emulated device says of itself; nothing on silicon.
  std::optional<paravirtual::Hello> emulator_;
  bool paravirtual_ = false;  ///< time is the emulator's: it waits for us

  std::mutex info_mutex_;
  std::optional<abi::DeviceInfo> info_;
  std::atomic<AllocForm> alloc_form_{AllocForm::kUnknown};
  std::atomic<bool> nq_without_realloc_{false};
  std::mutex memory_mutex_;
  std::map<opennrt_mem_t, Memory> memories_;
  std::array<CoreQueues, kCores> queues_;
  std::array<Start, kCores> starts_;
  std::mutex reset_mutex_;
  std::map<std::uint32_t, std::int32_t> resets_;  ///< results that nobody has asked for yet
  std::uint32_t last_reset_ = 0;
  std::mutex lock_mutex_;
  std::array<bool, kCores> signed_{};
  std::mutex counters_mutex_;
  std::map<void*, Counters> counters_;
};

}  // namespace opennrt::neuron
