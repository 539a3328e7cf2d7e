// SPDX-License-Identifier: Apache-2.0
//
// What this backend asks of the operating system. The seam behind which tests put drivers of other generations.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace opennrt::neuron {

/// Owner and permissions of a device node.
struct NodeAccess {
  mode_t mode = 0;           ///< permission bits
  std::string owner, group;  ///< names, or numbers where there is no name
  uid_t uid = 0;             ///< effective, of this process
};

/// Thread-safe. Results are 0 or more, or a negative errno.
class Syscalls {
 public:
  virtual ~Syscalls() = default;
  virtual int open(const std::string& path, int flags) = 0;
  virtual void close(int fd) = 0;
  virtual int ioctl(int fd, unsigned long request, void* argument) = 0;
  /// Shared with the driver.
  virtual int mmap(int fd, std::uint64_t offset, std::size_t bytes, bool writable, void*& address) = 0;
  virtual void munmap(void* address, std::size_t bytes) = 0;
  /// Contents of a small file, or nothing if it cannot be read.
  virtual std::optional<std::string> read_file(const std::string& path) = 0;
  virtual std::vector<std::string> list(const std::string& folder) = 0;  ///< names; none if it cannot be read
  virtual std::optional<NodeAccess> access(const std::string& path) = 0;
  /// Minor number of a device node; nothing where there is none.
  virtual std::optional<std::uint32_t> minor_number(const std::string& path) = 0;
  virtual std::uint64_t now_ns() = 0;                 ///< monotonic
  virtual void sleep(std::uint64_t nanoseconds) = 0;  ///< 0: only lets others go first
};

/// The real ones.
Syscalls& system_calls();

/// An opened device node; closed with this object.
class File {
 public:
  File() = default;
  File(Syscalls& system, int fd) : system_(&system), fd_(fd) {}
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File() { reset(); }

  explicit operator bool() const { return fd_ >= 0; }
  Syscalls& system() const { return *system_; }
  int fd() const { return fd_; }
  void reset();

  /// 0, or a negative errno as the driver returns it.
  int request(unsigned long number, void* argument) const;

 private:
  Syscalls* system_ = nullptr;
  int fd_ = -1;
};

/// What a driver answers to a request that it does not have.
inline bool is_unknown_request(int error) {
  return error == -22 /* EINVAL: neuron_cdev.c, ncdev_misc_ioctl */ || error == -25 /* ENOTTY */;
}

}  // namespace opennrt::neuron
