// SPDX-License-Identifier: Apache-2.0
//
// The simulated machine as its PCIe bus shows it: BARs of up to 16 chips, host memory that they reach by DMA, and
// time. This is all that backends/sim (and later the emulated /dev/neuron and the virtual machine's PCI device) may
// use.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/common/error.h"
#include "core/faults/plan.h"
#include "core/isa/isa.h"

namespace opennrt::sim {

struct MachineConfig {
  /// OPENNRT_SIM_INSTANCE: inf1.xlarge, 2xlarge, 6xlarge or 24xlarge, with or without "inf1."
  std::string instance = "inf1.xlarge";
  std::string chips_dir;  ///< folder of inf1.json
  /// PCI revision in place of the chip file's: 0xff and 0xf0 make the public driver more patient.
  std::optional<std::uint8_t> pci_revision;
  std::string trace_file;  ///< OPENNRT_SIM_TRACE: Chrome trace JSON written at power_off; empty: off, at no cost
  std::string vcd_file;    ///< OPENNRT_SIM_VCD: what engines and queues did as a Value Change Dump; likewise
  std::string stats_file;  ///< OPENNRT_SIM_STATS: JSON summary written at power_off; empty: off
  double realtime =
      0;  ///< OPENNRT_SIM_REALTIME: wall seconds that a simulated second takes at least; 0: as fast as it can
  /// OPENNRT_FAULTS: the rules of the chip's level are carried out, the others are not this machine's. Without any of
  /// them nothing is asked and nothing is slower.
  faults::Plan fault_plan;
  std::string fault_report;  ///< OPENNRT_FAULTS_REPORT: each fault that strikes is appended; empty: none
  /// Levels of opennrt_log_level_t; called from the simulation thread.
  std::function<void(int level, const std::string& text)> log;
};

enum class MemoryKind { kSram, kDram };

/// What the chip file says that others need to know.
struct ChipFacts {
  std::string instance;
  std::uint32_t devices = 1;
  std::uint32_t cores_per_device = 4;
  std::uint64_t dram_channel_bytes = 0;
  isa::Limits limits;
  double clock_ghz = 0;
  std::uint8_t pci_revision = 0;
};

/// Why run_until returned.
enum class Ran {
  kConditionMet,
  kDeadline,  ///< simulated time reached the deadline
  kIdle,      ///< nothing can happen any more without the host; simulated time was moved to the deadline
};

/// SystemC's kernel is one per process, so the machine is, too: it is built once and powered on and off again. All
/// functions are thread-safe; they are carried out on the one simulation thread, which they reach through a queue.
class Machine {
 public:
  /// Powers on: registers and memories as after reset, simulated time 0. kState when it is on already;
  /// kInvalidArgument for an instance or a chip file that cannot be used (which field, which value).
  static Result<std::unique_ptr<Machine>> power_on(const MachineConfig& config);
  virtual ~Machine() = default;  ///< powers off: writes trace and stats, drops memories, ends the simulation thread

  virtual const ChipFacts& facts() const = 0;

  /// 32-bit register access in the device's BAR (0: APB registers, 2: core windows, 4: DRAM). Takes no simulated
  /// time. An address nobody answers reads 0xffffffff, as the bus does; writes to it are dropped. Writes are posted:
  /// they return at once and are carried out before anything that is called later.
  virtual std::uint32_t bar_read(std::uint32_t device, std::uint32_t bar, std::uint64_t offset) = 0;
  virtual void bar_write(std::uint32_t device, std::uint32_t bar, std::uint64_t offset, std::uint32_t value) = 0;

  /// PCI configuration space, 256 bytes: `bytes` 1, 2 or 4 at a multiple of itself, else all ones are read and nothing
  /// is written. BARs 0, 2 and 4 are 32-bit memory; what they are set to is for whoever decodes addresses to look up
  /// here.
  virtual std::uint32_t config_read(std::uint32_t device, std::uint32_t offset, std::uint32_t bytes) = 0;
  virtual void config_write(std::uint32_t device, std::uint32_t offset, std::uint32_t value, std::uint32_t bytes) = 0;

  /// Lets every chip reach [memory, memory + bytes) by DMA; returns its bus address (without inf1::kHostBase). The
  /// memory must live until host_unregister. 0 when `bytes` is 0. DMA to host addresses that are not registered
  /// aborts the queue.
  virtual std::uint64_t host_register(void* memory, std::uint64_t bytes) = 0;
  /// The same at a bus address of the caller's choice, as a virtual machine's memory has them. False when `bytes` is 0
  /// or some of the addresses are taken or beyond bit 46.
  virtual bool host_register_at(std::uint64_t bus_address, void* memory, std::uint64_t bytes) = 0;
  virtual void host_unregister(std::uint64_t bus_address) = 0;

  /// Simulated time. While another thread is in run_until it may be that of the last write to host memory.
  virtual std::uint64_t now_ns() = 0;
  /// Posted as a write is: stores the time at which the writes posted before it have been carried out. `to` must live,
  /// and has the value, until something that is called later and not posted returns.
  virtual void post_now(std::atomic<std::uint64_t>& to) = 0;
  /// Simulated time moves only in here. `condition` is evaluated on the simulation thread at the start and whenever a
  /// chip has written to host memory; the simulation stops at the very moment it becomes true. Several threads may be
  /// in here at once; each returns for its own condition. `deadline_ns` is absolute; one beyond 4.6e15 (53 days) is
  /// none, and kIdle then leaves the time as it is. `condition` must be quick and must not call the machine.
  virtual Ran run_until(const std::function<bool()>& condition, std::uint64_t deadline_ns) = 0;

  /// Registers and semaphores of cores (bit per core of the device; 0xffffffff: everything but DRAM) as after
  /// power-on: also their SBUF, PSUM, notification queues and all 48 DMA queues of their 3 engines, the driver's own
  /// ring included. False when the device did not answer and nothing was reset: the fault firmware_silent, or link_down
  /// of the link to the host, which a reset of the whole device ends.
  virtual bool reset_cores(std::uint32_t device, std::uint32_t core_map) = 0;

  /// An ECC error happens: it is counted where the firmware counts them, and one that was not corrected is reported in
  /// the device's error notification queues. `channel` is DRAM's.
  virtual void memory_error(std::uint32_t device, MemoryKind memory, std::uint32_t channel, bool corrected) = 0;

  /// The program has passed a marker of the fault plan: what happens from here on is after it.
  virtual void pass_marker(const std::string& name) = 0;

  /// One sentence on what each engine and queue of a core is doing: for the log when an inference hangs.
  virtual std::string describe_core(std::uint32_t device, std::uint32_t core) = 0;
};

}  // namespace opennrt::sim
