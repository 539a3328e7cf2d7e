// SPDX-License-Identifier: Apache-2.0
//
// An emulated machine: simulated devices as the kernel driver would serve them to many processes at once. It knows
// files and processes, not sockets (server.h).
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "backends/emulator/machine/core_marks.h"
#include "backends/emulator/machine/host_arena.h"
#include "backends/emulator/machine/node.h"
#include "backends/emulator/machine/process.h"
#include "backends/emulator/machine/pump.h"
#include "backends/emulator/protocol.h"
#include "backends/sim/backend.h"
#include "core/common/error.h"

namespace opennrt::emulator {

/// The driver that is presented.
struct DriverVersion {
  bool present = true;
  std::uint32_t major = 2, minor = 24;
  std::string text = "2.24.7.0";
  std::uint32_t compatible_min = 2, compatible_max = 7;  ///< v1/neuron_dhal_v1.c, V1_RT_…_COMPATIBLE_VERSION

  /// "none", or a version such as "2.10" or "2.24.7.0". kInvalidArgument.
  static Result<DriverVersion> parse(const std::string& text);
};

/// A request's bytes: `data` is as much of the client's window as it said it has.
struct Window {
  std::span<std::byte> data;
};

/// Thread-safe.
class Machine {
 public:
  static Result<std::unique_ptr<Machine>> make(const opennrt_host_t* host, driver::Config config,
                                               DriverVersion version);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const HostArena& arena() const { return *arena_; }
  const DriverVersion& version() const { return version_; }
  const driver::Config& config() const { return backend_.config(); }
  const driver::Log& log() const { return backend_.log(); }
  CoreMarks& marks() { return marks_; }
  Processes& processes() { return processes_; }

  /// A file is opened, with a number of its own. 0; -ENODEV: no such device; -EBUSY; -EEXIST.
  int open_file(std::uint64_t number, std::uint32_t device, std::uint32_t flags, pid_t pid);
  /// Its last descriptor is gone.
  void close_file(std::uint64_t number);

  /// Carries out one request of a process; the reply's error is 0 or a negative errno. `process` must have been
  /// entered.
  Reply serve(Process& process, const Request& request, Window window);
  /// True: before this request the dead must be buried.
  static bool looks_at_others(Op op);

  /// The device's node, powered on; null: no such device, or it cannot be powered on (which is logged).
  Node* node(std::uint32_t device);
  /// The same, if it has been needed before.
  Node* peek(std::uint32_t device);
  std::uint64_t visible_mask() const;
  void pass_marker(const std::string& name) { backend_.pass_marker(name.c_str()); }

 private:
  struct File {
    std::uint32_t device = 0;
    bool free_access = false;
    pid_t opener = 0;
    bool flushed = false;   ///< by its opener
    std::set<pid_t> users;  ///< processes that have used it
  };

  Machine(const opennrt_host_t* host, driver::Config config, DriverVersion version, std::unique_ptr<HostArena> arena);
  void bury(Process& process);
  void flush(std::uint64_t number, pid_t pid);

  const DriverVersion version_;
  const std::unique_ptr<HostArena> arena_;
  driver::Backend backend_;
  CoreMarks marks_;
  std::mutex nodes_mutex_;
  std::map<std::uint32_t, std::unique_ptr<Node>> nodes_;
  std::mutex files_mutex_;
  std::map<std::uint64_t, File> files_;
  Processes processes_;
  Pump pump_;
};

}  // namespace opennrt::emulator
