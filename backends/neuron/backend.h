// SPDX-License-Identifier: Apache-2.0
//
// The machine behind /dev/neuron*: its driver, its devices, and which of its cores this process holds.
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>
#include <unistd.h>

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
  /// OPENNRT_NEURON_POLL: even an emulated device is used as if it were silicon.
  bool polls() const { return polls_; }
  const Log& log() const { return log_; }

  int version(opennrt_driver_version_t& version);
  int devices(std::vector<std::uint32_t>& numbers);
  /// A device that is open already is handed out again; what was allocated through it goes with the last device_close.
  int device_open(std::uint32_t number, Device*& device);
  void device_close(Device* device);

  int cores_reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                    std::uint32_t& available);
  int cores_release(const opennrt_core_map_t& cores);
  /// `for_sure`: a process that can only be guessed at is nobody.
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
  /// `for_a_look`: a device that cannot be opened is no matter of the log.
  int acquire(std::uint32_t number, Opened*& opened, bool for_a_look = false);
  void let_go(std::map<std::uint32_t, Opened>::iterator opened);
  int mark(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
           std::uint32_t& available);
  int unmark(const opennrt_core_map_t& cores);
  int take_over(const opennrt_core_map_t& cores);  ///< reset, if that is wanted, and the sign of the owner
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
  std::optional<std::int64_t> host_offset_;  ///< host's number of a device minus ours
  std::map<std::uint32_t, Opened> devices_;  ///< the elements stay where they are
};

}  // namespace opennrt::neuron
