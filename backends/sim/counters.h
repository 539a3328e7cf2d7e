// SPDX-License-Identifier: Apache-2.0
//
// Counters that other processes of this user read: the driver's datastores (aws-neuron-driver neuron_ds.c) as files of the
// runtime folder, <instance>.<device>.<pid>.counters. A file belongs to the process that has a record lock on it, which the
// kernel drops when that process ends in whatever way; a file without one is what such a process left, and whoever makes the
// next one removes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/sim/core_locks.h"

namespace opennrt::driver {

inline constexpr std::size_t kCountersBytes = 256 * 1024;  ///< NEURON_DATASTORE_SIZE of neuron_ds.h

/// The datastores of one machine. Thread-safe. What is still mapped goes with this object.
class Counters {
 public:
  /// Touches no file yet. `chosen_dir`: OPENNRT_RUNTIME_DIR or empty. `instance`: e.g. "inf1.6xlarge".
  Counters(std::string chosen_dir, std::string instance);
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  /// Maps kCountersBytes. `pid` 0: this process's, writable, made when it is not there, gone with its last mapping; else that
  /// process's, to be read. ENOENT: that process has none. EPERM: the folder or file is not safe. EBUSY: a process of another
  /// container has this process's number, or something else is in the file's place. ENOSPC, ENOMEM, EIO.
  CoreLocks::Failure map(std::uint32_t device, std::int32_t pid, void*& address);
  /// EINVAL: not mapped.
  CoreLocks::Failure unmap(const void* address);
  void unmap_device(std::uint32_t device);

 private:
  struct Store;
  struct Mapping;
  struct Stores;
  Result<int> open_dir() const;
  std::string name_of(std::uint32_t device, std::int32_t pid) const;
  CoreLocks::Failure own(int dir, std::uint32_t device, std::shared_ptr<Store>& store) const;
  CoreLocks::Failure other(int dir, std::uint32_t device, std::int32_t pid, void*& address) const;

  const std::string chosen_dir_, instance_;
  std::mutex mutex_;
  std::map<const void*, Mapping> mappings_;
};

/// The kinds of instance whose cores processes of this user have taken at some time, by name. Empty: none.
Result<std::vector<std::string>> known_instances(const std::string& chosen_dir);

}  // namespace opennrt::driver
