// SPDX-License-Identifier: Apache-2.0
//
// A NeuronCore belongs to one process at a time and is free the moment that process ends in whatever way. Where the
// kernel driver keeps a table of process ids (aws-neuron-driver neuron_crwl.c, ncrwl_nc_range_mark), we let the kernel
// keep it: byte n of one lock file per machine is core n, and whoever has a POSIX record lock on it owns the core.
// Record locks end with their process, are not inherited by fork, and F_GETLK names their holder. A run of cores is
// locked in one step, all or nothing, so nothing else guards the search for one: processes never wait for each other,
// and one that is stopped in the middle holds up nobody.
#pragma once

#include <opennrt/backend.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "core/common/error.h"

namespace opennrt::driver {

/// The folder of this user's lock files: `chosen` (OPENNRT_RUNTIME_DIR) if not empty, else opennrt in $XDG_RUNTIME_DIR
/// or in /run/user/<uid>, the first that this user owns, else /tmp/opennrt-<uid>. It is created with mode 0700. A
/// folder that is a link, not ours, or writable for others is refused with its path.
Result<std::string> runtime_dir(const std::string& chosen);

/// The cores of one machine as far as processes own them. Thread-safe. What was taken through this object is given back
/// when it goes; the file stays open until the process ends, since closing any descriptor of it would drop every lock.
class CoreLocks {
 public:
  /// Touches no file yet. `chosen_dir`: OPENNRT_RUNTIME_DIR or empty. `instance`: e.g. "inf1.6xlarge".
  CoreLocks(std::string chosen_dir, std::string instance, std::uint32_t cores);
  ~CoreLocks();
  CoreLocks(const CoreLocks&) = delete;
  CoreLocks& operator=(const CoreLocks&) = delete;

  /// Why a call below did not succeed: errno for the C table and, where there is more to say, a sentence for the log.
  struct Failure {
    int error = 0;  ///< positive errno; 0: it succeeded
    std::string message;
  };

  /// The first run of `count` free cores in [first, last], as the driver finds it (but no core behind a busy one is
  /// passed over, which the driver's loop does); see cores_reserve in opennrt/backend.h. EINVAL: count 0 or no such
  /// range; EBUSY; EPERM: the folder or file is not safe; EIO.
  Failure reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                  std::uint32_t& available);
  /// Cores that are not ours are left alone, as the driver does.
  Failure release(const opennrt_core_map_t& cores);
  Failure holder(std::uint32_t core, opennrt_core_holder_t& holder);

 private:
  struct File;
  Failure open_file();

  const std::string chosen_dir_, instance_;
  const std::uint32_t cores_;
  std::mutex mutex_;            ///< of what follows; taken before the file's
  std::shared_ptr<File> file_;  ///< null until first used
  opennrt_core_map_t mine_{};
};

}  // namespace opennrt::driver
