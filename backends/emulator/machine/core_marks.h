// SPDX-License-Identifier: Apache-2.0
//
// Which process has marked which NeuronCore as its own (aws-neuron-driver neuron_crwl.c, ncrwl_nc_range_mark).
#pragma once

#include <opennrt/backend.h>

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <mutex>

namespace opennrt::emulator {

/// Machine-wide core numbers. Thread-safe.
class CoreMarks {
 public:
  /// The driver's search, with its peculiarity that a free core right behind a busy one is no start of a run. 0 and the
  /// cores in `taken`; -EBUSY and the longest run that it met in `longest`; -EINVAL: no such range. Nothing asks
  /// whether the cores exist.
  int mark(pid_t pid, std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
           std::uint32_t& longest);
  /// Those of `cores` that the process has; how many they were.
  std::uint32_t unmark(pid_t pid, const opennrt_core_map_t& cores);
  void unmark_all(pid_t pid);
  pid_t holder(std::uint32_t core) const;  ///< 0: nobody

 private:
  mutable std::mutex mutex_;
  std::array<pid_t, OPENNRT_MAX_CORES> holders_{};
};

}  // namespace opennrt::emulator
