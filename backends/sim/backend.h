// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/sim/core_locks.h"
#include "backends/sim/counters.h"
#include "backends/sim/device.h"
#include "backends/sim/platform.h"
#include "core/common/error.h"

namespace opennrt::driver {

/// The variables of this backend, checked: a value that cannot be used is an error that names variable, value and
/// expectation.
struct Config {
  sim::MachineConfig machine;
  bool deterministic = false;
  std::string runtime_dir;
  std::vector<std::uint32_t> visible;  ///< device numbers, ascending
  std::uint32_t devices = 0, cores_per_device = inf1::kCoresPerDevice;

  static Result<Config> read(const opennrt_host_t& host);
};

/// The machine and its opened devices. It is powered on with the first device that is opened: asking how many there are
/// and
/// reserving cores costs nothing, and a process may still fork after it. Thread-safe.
class Backend {
 public:
  /// `memory`: where host memory comes from; it must live longer than this object.
  Backend(const opennrt_host_t* host, Config config, HostMemory& memory = HostMemory::of_process());
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const Log& log() const { return log_; }
  const Config& config() const { return config_; }
  CoreLocks& cores() { return cores_; }
  Counters& counters() { return counters_; }
  /// False in a child of the process that opened it: neither the simulation's thread nor the locks came along.
  bool in_own_process() const { return pid_ == ::getpid(); }

  /// A device that is open already is handed out again; it closes with the last device_close.
  int device_open(std::uint32_t number, Device*& device);
  void device_close(Device* device);
  /// The program has passed a marker of the fault plan.
  void pass_marker(const char* name);

 private:
  struct Opened {
    std::unique_ptr<Device> device;
    unsigned users = 0;
  };

  const Log log_;
  const opennrt_host_t* host_;
  const Config config_;
  HostMemory& memory_;
  const pid_t pid_;
  CoreLocks cores_;
  Counters counters_;
  std::mutex mutex_;
  std::unique_ptr<Platform> platform_;
  std::map<std::uint32_t, Opened> devices_;
};

}  // namespace opennrt::driver
