// SPDX-License-Identifier: Apache-2.0
//
// An emulated machine in a process of its own, and clients that speak its protocol without the preload library.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/emulator/machine/listener.h"
#include "backends/emulator/machine/machine.h"
#include "backends/emulator/machine/server.h"
#include "backends/emulator/protocol.h"
#include "tests/unit/backends/plugin.h"

namespace opennrt::emulator::test {

/// The machine process: forked while this one has no thread, ends with the object.
class MachineProcess {
 public:
  explicit MachineProcess(const std::string& instance = "inf1.xlarge", const std::string& driver = "2.24.7.0",
                          const std::string& devices = "")
      : listener_(*Listener::open(runtime_.path(), "")) {
    if (::pipe2(stop_, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ != 0) {
      ::close(stop_[0]);
      return;
    }
    ::close(stop_[1]);
    opennrt::test::Host host;
    host.set("OPENNRT_SIM_INSTANCE", instance);
    host.set("OPENNRT_SIM_DEVICES", devices);
    {
      auto machine = Machine::make(host.table(), *driver::Config::read(*host.table()), *DriverVersion::parse(driver));
      Server server(**machine, listener_.socket());
      char end = 0;
      while (::read(stop_[0], &end, 1) < 0 && errno == EINTR) continue;
    }
    ::_exit(0);
  }
  ~MachineProcess() {
    ::close(stop_[1]);
    int status = -1;
    ::waitpid(pid_, &status, 0);
    EXPECT_EQ(status, 0) << "the machine has crashed";
  }
  MachineProcess(const MachineProcess&) = delete;
  MachineProcess& operator=(const MachineProcess&) = delete;

  int connect(const std::string& abstract_name = "") const {
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (!abstract_name.empty()) {
      std::memcpy(address.sun_path + 1, abstract_name.data(), abstract_name.size());
      const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract_name.size());
      if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0) return -errno;
      address = {};
      address.sun_family = AF_UNIX;
    }
    std::memcpy(address.sun_path, listener_.path().c_str(), listener_.path().size() + 1);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return -errno;
    return fd;
  }

 private:
  opennrt::test::TempDir runtime_;
  Listener listener_;
  int stop_[2] = {-1, -1};
  pid_t pid_ = -1;
};

inline void send(int socket, const void* data, std::size_t bytes, int descriptor = -1) {
  iovec part{const_cast<void*>(data), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  ASSERT_EQ(::sendmsg(socket, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes)) << errno;
}

/// Nothing: the machine has closed the connection.
inline std::optional<Reply> receive(int socket, int* descriptor = nullptr) {
  Reply reply;
  iovec part{&reply, sizeof(reply)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(sizeof(reply))) return std::nullopt;
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && descriptor != nullptr)
    std::memcpy(descriptor, CMSG_DATA(header), sizeof(int));
  return reply;
}

struct File {
  int fd = -1;
  std::uint64_t number = 0;
  int error = 0;
};

/// Opens /dev/neuron<device>.
inline File open_device(const MachineProcess& machine, std::uint32_t device = 0, std::uint32_t flags = O_RDWR) {
  File file;
  std::random_device random;
  file.number = std::uint64_t{random()} << 32 | random();
  char name[64];
  std::snprintf(name, sizeof(name), "%s%u-%016llx", kFileNamePrefix, device,
                static_cast<unsigned long long>(file.number));
  file.fd = machine.connect(name);
  FileHello hello;
  hello.device = device;
  hello.flags = flags;
  send(file.fd, &hello, sizeof(hello));
  const auto reply = receive(file.fd);
  file.error = reply ? reply->error : -ENODEV;
  return file;
}

/// A channel of the process that makes it.
class Channel {
 public:
  explicit Channel(const MachineProcess& machine, std::size_t bytes = 1 << 16) : socket_(machine.connect()) {
    window_fd_ = ::memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT_EQ(::ftruncate(window_fd_, static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(::fcntl(window_fd_, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, window_fd_, 0);
    window_ = {static_cast<std::byte*>(data), bytes};
    const ChannelHello hello;
    send(socket_, &hello, sizeof(hello), window_fd_);
    const auto answer = receive(socket_, &memory_);
    EXPECT_TRUE(answer && answer->error == 0);
  }
  ~Channel() {
    ::close(socket_);
    ::close(window_fd_);
    ::close(memory_);
    ::munmap(window_.data(), window_.size());
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// The reply's error; `reply` has the rest.
  int call(Op op, const File& file, std::initializer_list<std::uint64_t> arguments = {}, std::size_t in = 0) {
    Request request;
    request.op = op;
    request.file = file.number;
    std::copy(arguments.begin(), arguments.end(), request.a);
    request.bytes = in;
    request.window = window_.size();
    return raw(&request, sizeof(request));
  }
  int raw(const void* data, std::size_t bytes) {
    send(socket_, data, bytes);
    const auto answer = receive(socket_);
    if (!answer) return -ECONNRESET;
    reply = *answer;
    return reply.error;
  }
  std::string text(const std::string& path) {
    std::memcpy(window_.data(), path.data(), path.size());
    const int error = call(Op::kSysfs, {}, {}, path.size());
    if (error != 0 && error != -EISDIR) return "error " + std::to_string(error);
    return {reinterpret_cast<const char*>(window_.data()), reply.bytes};
  }
  /// Maps a range of the host memory.
  std::byte* map(std::uint64_t arena_offset, std::size_t bytes) const {
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_, static_cast<off_t>(arena_offset));
    EXPECT_NE(data, MAP_FAILED);
    return static_cast<std::byte*>(data);
  }

  Reply reply;
  std::span<std::byte> window() const { return window_; }
  int socket() const { return socket_; }

 private:
  int socket_, window_fd_ = -1, memory_ = -1;
  std::span<std::byte> window_;
};

/// A process that does something and then stays until it is killed.
class Child {
 public:
  /// `act` returns what `ready` gives the parent. It must leave gtest alone.
  explicit Child(const std::function<int()>& act) {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      const int result = act();
      if (::write(pipe[1], &result, sizeof(result)) < 0) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(pipe[1]);
    if (::read(pipe[0], &result_, sizeof(result_)) != static_cast<ssize_t>(sizeof(result_))) result_ = -99999;
    ::close(pipe[0]);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int result() const { return result_; }
  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int result_ = 0;
};

}  // namespace opennrt::emulator::test
