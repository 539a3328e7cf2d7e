// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the emulated device's ioctls share. They run as `opennrt emulate -- <test>`, and the requests are the
// system call itself, as any program makes it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backends/neuron/abi.h"

namespace opennrt::test {

namespace abi = neuron::abi;

/// An opened device; what a call returns is 0 or more, or a negative errno.
class Node {
 public:
  explicit Node(int device = 0, int flags = O_RDWR | O_CLOEXEC)
      : fd_(::open(("/dev/neuron" + std::to_string(device)).c_str(), flags)) {}
  ~Node() {
    if (fd_ >= 0) ::close(fd_);
  }
  Node(Node&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Node& operator=(Node&&) = delete;

  int fd() const { return fd_; }
  int raw(unsigned long request, std::uint64_t argument) const {
    return ::ioctl(fd_, request, argument) < 0 ? -errno : 0;
  }
  template <class T>
  int ask(unsigned long request, T&& argument) const {
    return raw(request, reinterpret_cast<std::uint64_t>(&argument));
  }

  /// Memory of the host (or of the device), by the request of today. 0: refused.
  std::uint64_t allocate(std::uint64_t bytes, bool host, std::uint64_t align = 0) const {
    std::uint64_t handle = 0;
    abi::MemAllocV2Mt64 arg{};
    arg.size = bytes;
    arg.align = align;
    arg.host_memory = host;
    arg.mem_type = host ? 2 : 9;  // tensors
    arg.mem_handle = address(&handle);
    EXPECT_EQ(ask(abi::kMemAllocV2Mt64, arg), 0);
    return handle;
  }
  int release(std::uint64_t handle) const { return ask(abi::kMemFree, abi::MemFree{handle}); }
  abi::MemGetExtendedInfo info(std::uint64_t handle) const {
    abi::MemGetExtendedInfo arg{};
    arg.mem_handle = handle;
    arg.version = abi::kExtendedInfoVersion;
    EXPECT_EQ(ask(abi::kMemGetExtendedInfo, arg), 0);
    return arg;
  }
  int copy(std::uint64_t handle, void* buffer, std::uint64_t bytes, std::uint64_t offset, bool to_device) const {
    abi::MemBufCopy64 arg{};
    arg.mem_handle = handle;
    arg.buffer = address(buffer);
    arg.size = bytes;
    arg.offset = offset;
    arg.copy_to_mem_handle = to_device;
    return ask(abi::kMemBufCopy64, arg);
  }
  std::vector<std::uint8_t> read(std::uint64_t handle, std::uint64_t bytes, std::uint64_t offset = 0) const {
    std::vector<std::uint8_t> out(bytes);
    EXPECT_EQ(copy(handle, out.data(), bytes, offset, false), 0);
    return out;
  }
  int write(std::uint64_t handle, std::vector<std::uint8_t> bytes, std::uint64_t offset = 0) const {
    return copy(handle, bytes.data(), bytes.size(), offset, true);
  }

  template <class T>
  static std::uint64_t address(T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  }

 private:
  int fd_;
};

/// Two pages of which the second is not mapped: what lies across the border can only be read in part.
class Border {
 public:
  Border()
      : pages_(static_cast<std::uint8_t*>(
            ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    ::munmap(pages_ + kPage, kPage);
  }
  ~Border() { ::munmap(pages_, kPage); }
  Border(const Border&) = delete;
  Border& operator=(const Border&) = delete;
  /// An address of which `bytes` bytes are mapped.
  std::uint64_t address(std::size_t bytes) const { return Node::address(pages_ + kPage - bytes); }
  std::uint64_t unmapped() const { return address(0); }

 private:
  static constexpr std::size_t kPage = 4096;
  std::uint8_t* pages_;
};

/// Runs `body` in a child and returns its exit status: 0 when it returned true; 128 + signal.
template <class F>
int in_child(F&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // also in a program with a sanitizer
    ::_exit(body() ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

constexpr std::uint64_t kBadHandle = 0x7fff'0000;

}  // namespace opennrt::test
