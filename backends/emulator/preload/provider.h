// SPDX-License-Identifier: Apache-2.0
//
// The seam of the preload library: the interposed functions of libc (interpose_*.cc) know paths and file descriptors, a
// provider knows what stands behind them: an emulated machine, or a recorded conversation.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace opennrt::emulator {

/// Thread-safe. Everything may be called in a child after fork, too. Results are 0 or more, or a negative errno.
class Provider {
 public:
  virtual ~Provider() = default;

  /// Opens /dev/neuron<device>; `flags` as open(2) has them. A file descriptor that fork, dup, exec and exit treat as
  /// any.
  virtual int open(int device, int flags) = 0;
  /// Which device a descriptor was opened for, whoever opened, duplicated or inherited it; -1: none of ours. Cheap.
  virtual int device_of(int fd) = 0;
  virtual int ioctl(int fd, unsigned long request, void* argument) = 0;
  /// MAP_FAILED with errno set, as mmap(2).
  virtual void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) = 0;
  /// This process is about to close a descriptor of ours (flush of the driver's file operations).
  virtual void closing(int fd) = 0;
  /// This process is about to unmap a range of its memory, whoever mapped it: called for every munmap(2). Cheap.
  virtual void unmapping([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes) {}

  /// Contents of a file that the driver would show (/sys/module/neuron/version, /sys/class/neuron_device/…,
  /// /sys/devices/virtual/neuron_device/…, /proc/devices' line is not among them), or nothing if there is none. May
  /// depend on the moment (counters).
  virtual std::optional<std::string> file(const std::string& path) = 0;
  /// Names in a folder of such files or of device nodes ("/dev": "neuron0" …), or nothing if the provider has none
  /// there.
  virtual std::optional<std::vector<std::string>> folder(const std::string& path) = 0;
};

/// The one of this process, from the environment; null: the library was loaded for nothing and stays out of the way.
Provider* provider();

}  // namespace opennrt::emulator
