// SPDX-License-Identifier: Apache-2.0
//
// The machine behind /dev/neuron*: its driver, its devices, and which of its cores this process holds.
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "backends/neuron/device.h"
#include "backends/neuron/driver.h"
#include "backends/neuron/syscalls.h"
#include "backends/sim/log.h"

namespace opennrt::neuron {

using driver::Log;

/// Results are 0 or a negative errno. Thread-safe.
class Backend {
 public:
  /// Opens nothing. `host` outlives it.
  Backend(const opennrt_host_t* host, Syscalls& system);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  /// False in a child of the process that opened it: the driver knows the child as a process that has attached nothing.
  bool in_own_process() const { return pid_ == ::getpid(); }
  const Log& log() const { return log_; }

  /// -EINVAL, and the log says why: the plan of faults (OPENNRT_FAULTS) has some of the chip, and the device will not have
  /// them. Where no device can be asked all is well: what comes next says why.
  int check_plan();
  int version(opennrt_driver_version_t& version);
  int devices(std::vector<std::uint32_t>& numbers);
  /// 0 when there is such a device, else -ENODEV. Opens nothing.
  int find(std::uint32_t number);
  /// What it is. Of a device that is not open all that is known without attaching this process to it (`describe`, device.h).
  int device_info(std::uint32_t number, opennrt_device_info_t& info);
  /// Attaches this process to the device. One that is open already is handed out again; what was allocated through it goes with
  /// the last device_close.
  int device_open(std::uint32_t number, Device*& device);
  void device_close(Device* device);

  int cores_reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                    std::uint32_t& available);
  int cores_release(const opennrt_core_map_t& cores);
  /// Asks devices that are open. Others only where there is something to explain, after cores were refused, and then one at a
  /// time and not for long: whoever asks is attached to them. `for_sure`: a process that can only be guessed at is nobody.
  int core_holder(std::uint32_t core, opennrt_core_holder_t& holder, bool for_sure = false);
  /// Tells the emulator, through one of the open devices; silicon has nobody who wants to know.
  int pass_marker(std::string_view name);

 private:
  /// `users`: device_open minus device_close. `cores`: bits of its cores that this process holds; they keep it open, too.
  struct Opened {
    std::unique_ptr<Device> device;
    unsigned users = 0;
    std::uint32_t cores = 0;
  };

  int control();  ///< opens it at first use
  /// Whether a device can be made use of at an emulator's own time.
  bool waits() const;
  /// Requirement B10: what looks like one device after the other in a container is so on the host, too.
  int check_host_numbers(const std::vector<std::uint32_t>& numbers, std::int64_t& shift) const;
  /// `for_a_look`: a device that cannot be opened is no matter of the log.
  int acquire(std::uint32_t number, Opened*& opened, bool for_a_look = false);
  void close_unused();
  int mark(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
           std::uint32_t& available);
  int unmark(const opennrt_core_map_t& cores);
  int take_over(const opennrt_core_map_t& cores);  ///< reset, if that is wanted, and the sign of the owner
  /// Takes the signs away. Those that this process had; nothing when it had none.
  std::optional<opennrt_core_map_t> forget_cores(const opennrt_core_map_t& cores);
  bool visible(std::uint32_t number) const { return std::binary_search(numbers_.begin(), numbers_.end(), number); }
  std::uint32_t base_core() const { return numbers_.front() * inf1::kCoresPerDevice; }

  const opennrt_host_t* const host_;
  Syscalls& system_;
  const Log log_;
  const pid_t pid_;
  const bool polls_, resets_;
  std::mutex mutex_;
  std::shared_ptr<File> control_;
  Features features_;
  std::vector<std::uint32_t> numbers_;       ///< of the device nodes, since control() was opened
  std::int64_t host_shift_ = 0;              ///< host's number of a device minus ours, likewise
  std::map<std::uint32_t, Opened> devices_;  ///< the elements stay where they are
  std::uint64_t look_until_ = 0;             ///< time, after cores were refused
};

}  // namespace opennrt::neuron
