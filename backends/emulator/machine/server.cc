// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace opennrt::emulator {
namespace {

constexpr unsigned kMaxChannels = 4096;
constexpr int kBlindMs = 100;

struct Name {
  std::uint32_t device = 0;
  std::uint64_t number = 0;
};

/// From the abstract name that the client has bound its end to.
std::optional<Name> name_of(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  constexpr std::size_t kStart = offsetof(sockaddr_un, sun_path) + 1;
  if (size <= kStart || address.sun_path[0] != 0) return std::nullopt;
  std::string_view text(address.sun_path + 1, size - kStart);
  const std::string_view prefix(kFileNamePrefix);
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  Name name;
  const char* end = text.data() + text.size();
  const auto device = std::from_chars(text.data(), end, name.device);
  if (device.ec != std::errc{} || device.ptr == end || *device.ptr != '-' || end - device.ptr != 17)
    return std::nullopt;
  const auto number = std::from_chars(device.ptr + 1, end, name.number, 16);
  if (number.ec != std::errc{} || number.ptr != end) return std::nullopt;
  return name;
}

pid_t peer_of(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

/// What a client says first. The descriptor that came along, or -1.
ssize_t receive_hello(int fd, std::array<std::byte, sizeof(FileHello)>& bytes, int& descriptor) {
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  descriptor = -1;
  const ssize_t size = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0) return size;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
      int received = -1;
      std::memcpy(&received, reinterpret_cast<const char*>(header) + at, sizeof(int));
      if (descriptor < 0) {
        descriptor = received;
      } else {
        ::close(received);
      }
    }
  }
  return (message.msg_flags & MSG_TRUNC) != 0 ? 0 : size;
}

void poll_add(int poll, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

Server::Server(Machine& machine, int listener)
    : machine_(machine),
      listener_(listener),
      poll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  poll_add(poll_, listener_, EPOLLIN);
  poll_add(poll_, wake_, EPOLLIN);
  look_thread_ = std::thread([this] { look(); });
  control_thread_ = std::thread([this] { control(); });
}

Server::~Server() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
  changed_.notify_all();
  look_thread_.join();
  control_thread_.join();
  machine_.processes().dismiss();
  std::unique_lock guard(mutex_);
  for (const int fd : channels_) ::shutdown(fd, SHUT_RDWR);
  changed_.wait(guard, [this] { return channel_threads_ == 0; });
  for (const auto& [fd, connection] : connections_) ::close(fd);
  for (const int fd : watched_) ::close(fd);
  ::close(wake_);
  ::close(poll_);
}

bool Server::idle() const {
  return connections_.empty() && channel_threads_ == 0 && tasks_.empty() && !busy_;
}

void Server::wait_until_idle() {
  std::unique_lock guard(mutex_);
  do {  // who has connected and was not accepted yet is a client, too
    changed_.wait(guard, [this] { return idle(); });
    guard.unlock();
    accept_all();
    guard.lock();
  } while (!idle());
  ending_ = true;
}

void Server::later(std::function<void()> task) {
  {
    const std::lock_guard guard(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Server::control() {
  std::unique_lock guard(mutex_);
  for (;;) {
    changed_.wait(guard, [this] { return stop_ || !tasks_.empty(); });
    if (stop_) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    busy_ = true;
    guard.unlock();
    task();
    guard.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void Server::look() {
  for (;;) {
    bool blind = false;
    {
      const std::lock_guard guard(mutex_);
      if (stop_) return;
      blind = blind_;
    }
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), blind ? kBlindMs : -1);
    if (blind && count == 0) later([this] { machine_.processes().sweep(); });
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == wake_) {
        std::uint64_t drained = 0;
        [[maybe_unused]] const ssize_t size = ::read(wake_, &drained, sizeof(drained));
        continue;
      }
      if (fd == listener_) {
        accept_all();
        continue;
      }
      bool process = false;
      {
        const std::lock_guard guard(mutex_);
        process = watched_.erase(fd) != 0;
      }
      if (process) {
        // Closing alone would not end it: the process has the same open file, and the number is the next connection's.
        ::epoll_ctl(poll_, EPOLL_CTL_DEL, fd, nullptr);
        ::close(fd);
        later([this] { machine_.processes().sweep(); });
      } else {
        hear(fd);
      }
    }
  }
}

void Server::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) ::usleep(10'000);
      return;
    }
    {
      const std::lock_guard guard(mutex_);
      Connection connection;
      connection.pid = peer_of(fd);
      connection.serial = ++serial_;
      connections_.emplace(fd, connection);
    }
    poll_add(poll_, fd, EPOLLIN | EPOLLRDHUP);
  }
}

void Server::forget(int fd) {
  {
    const std::lock_guard guard(mutex_);
    connections_.erase(fd);
  }
  ::epoll_ctl(poll_, EPOLL_CTL_DEL, fd, nullptr);
  ::close(fd);
  changed_.notify_all();
}

void Server::refuse(int fd, int error) {
  Reply reply;
  reply.error = error;
  send_reply(fd, reply);
  forget(fd);
}

/// The first packet of a connection, or the end of a file.
void Server::hear(int fd) {
  Connection connection;
  {
    const std::lock_guard guard(mutex_);
    const auto at = connections_.find(fd);
    if (at == connections_.end()) return;
    connection = at->second;
  }
  if (connection.file) {
    hang_up(fd, connection);
    return;
  }
  if (connection.guest) {  // it has left
    forget(fd);
    return;
  }
  std::array<std::byte, sizeof(FileHello)> bytes{};
  int descriptor = -1;
  const ssize_t size = receive_hello(fd, bytes, descriptor);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  FileHello hello;
  std::memcpy(&hello, bytes.data(), sizeof(hello));
  const bool known = size >= static_cast<ssize_t>(sizeof(ChannelHello)) && hello.protocol == kProtocolVersion;
  if (connection.pid > 0 && known && hello.kind == Hello::kChannel && size == sizeof(ChannelHello)) {
    greet_channel(fd, connection.pid, descriptor);
    return;
  }
  if (descriptor >= 0) ::close(descriptor);
  if (known && connection.pid <= 0 && hello.kind != Hello::kGuest) {
    refuse(fd, -ESRCH);  // of a pid namespace that is not within ours: it cannot be told from others
  } else if (known && hello.kind == Hello::kFile && size == sizeof(FileHello)) {
    greet_file(fd, connection, hello);
  } else if (known && hello.kind == Hello::kGuest && size == sizeof(GuestHello)) {
    greet_guest(fd);
  } else if (size <= 0) {
    forget(fd);
  } else {
    refuse(fd, hello.protocol != kProtocolVersion ? -EPROTONOSUPPORT : -EINVAL);
  }
}

void Server::greet_file(int fd, const Connection& greeted, const FileHello& hello) {
  const auto name = name_of(fd);
  const pid_t pid = greeted.pid;
  if (!name || name->device != hello.device) {
    refuse(fd, -EINVAL);
    return;
  }
  {
    const std::lock_guard guard(mutex_);
    Connection& connection = connections_[fd];
    connection.file = true;
    connection.number = name->number;
  }
  epoll_event event{};
  event.events = EPOLLRDHUP;  // whatever else it sends is nobody's
  event.data.fd = fd;
  ::epoll_ctl(poll_, EPOLL_CTL_MOD, fd, &event);
  later([this, fd, pid, device = name->device, number = name->number, flags = hello.flags] {
    // A process that is dead has left its place before somebody else asks for one.
    machine_.processes().sweep();
    const auto process = machine_.processes().meet(pid);
    watch(*process);
    Reply reply;
    reply.error = machine_.open_file(number, device, flags, pid);
    if (reply.error != 0) {
      refuse(fd, reply.error);
    } else {
      send_reply(fd, reply);  // a client that is not there any more has hung up, too
    }
  });
}

void Server::greet_guest(int fd) {
  bool welcome = false;
  {
    const std::lock_guard guard(mutex_);
    welcome = !ending_;
    connections_[fd].guest = welcome;
  }
  if (welcome) {
    send_reply(fd, Reply{});
  } else {
    refuse(fd, -ESHUTDOWN);
  }
}

void Server::hang_up(int fd, const Connection& connection) {
  ::epoll_ctl(poll_, EPOLL_CTL_DEL, fd, nullptr);
  later([this, fd, connection] {
    {
      const std::lock_guard guard(mutex_);
      const auto at = connections_.find(fd);
      if (at == connections_.end() || at->second.serial != connection.serial) return;  // it was refused
    }
    machine_.close_file(connection.number);
    forget(fd);
  });
}

void Server::greet_channel(int fd, pid_t pid, int window) {
  bool full = false;
  {
    const std::lock_guard guard(mutex_);
    full = channel_threads_ >= kMaxChannels;
    if (!full) {
      connections_.erase(fd);
      channels_.insert(fd);
      ++channel_threads_;
    }
  }
  if (full) {
    if (window >= 0) ::close(window);
    refuse(fd, -EMFILE);
    return;
  }
  ::epoll_ctl(poll_, EPOLL_CTL_DEL, fd, nullptr);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  try {
    std::thread([this, fd, pid, window] { run_channel(fd, pid, window); }).detach();
  } catch (const std::system_error&) {
    if (window >= 0) ::close(window);
    Reply reply;
    reply.error = -EAGAIN;
    send_reply(fd, reply);
    const std::lock_guard guard(mutex_);
    channels_.erase(fd);
    ::close(fd);
    --channel_threads_;
    changed_.notify_all();
  }
}

void Server::run_channel(int fd, pid_t pid, int descriptor) {
  {
    ClientWindow window;
    if (window.take(descriptor)) {
      const auto process = machine_.processes().meet(pid);
      watch(*process);
      serve_channel(machine_, fd, process, window);
    } else {
      Reply reply;
      reply.error = -EINVAL;
      send_reply(fd, reply);
    }
  }
  const std::lock_guard guard(mutex_);
  channels_.erase(fd);
  ::close(fd);
  --channel_threads_;
  changed_.notify_all();
}

void Server::watch(Process& process) {
  if (process.watched.exchange(true)) return;
  if (process.ended()) {
    later([this] { machine_.processes().sweep(); });
    return;
  }
  const int fd = process.pidfd() >= 0 ? ::fcntl(process.pidfd(), F_DUPFD_CLOEXEC, 0) : -1;
  {
    const std::lock_guard guard(mutex_);
    if (fd >= 0) {
      watched_.insert(fd);
    } else {
      blind_ = true;
    }
  }
  if (fd >= 0) {
    poll_add(poll_, fd, EPOLLIN);
    return;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

}  // namespace opennrt::emulator
