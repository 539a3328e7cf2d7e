// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/client.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

constexpr int kAwayFrom = 500;                  ///< first number of the library's descriptors, where the limit allows
constexpr std::size_t kFirstWindow = 64 << 10;  ///< bytes
constexpr std::size_t kKeptWindow = 4 << 20;    ///< what a thread may keep filled between two requests

char machine_path[sizeof(sockaddr_un::sun_path)];  ///< written once, before the provider is known to anybody

thread_local constinit Channel this_thread{.socket = -1,
                                           .window_fd = -1,
                                           .pid = 0,
                                           .busy = false,
                                           .socket_inode = 0,
                                           .window_inode = 0,
                                           .window = nullptr,
                                           .window_bytes = 0,
                                           .slot = -1};

void at_thread_end(void* channel) {
  static_cast<Channel*>(channel)->close();
}

/// The key whose destructor closes a thread's channel.
pthread_key_t end_key() {
  static constinit std::atomic<std::uint64_t> made{0};
  std::uint64_t key = made.load(std::memory_order_acquire);
  if (key == 0) {
    pthread_key_t fresh;
    if (pthread_key_create(&fresh, at_thread_end) != 0) return PTHREAD_KEYS_MAX;
    if (made.compare_exchange_strong(key, std::uint64_t{fresh} + 1)) return fresh;
    pthread_key_delete(fresh);
  }
  return static_cast<pthread_key_t>(key - 1);
}

pid_t own_pid() {
  return static_cast<pid_t>(system_call(SYS_getpid));
}

std::uint64_t inode(int fd) {
  struct stat s;
  return system_call(SYS_fstat, fd, &s) < 0 ? 0 : s.st_ino;
}

/// Descriptors of the channels of this process, for its children. Slots are claimed without a lock, so that no fork can
/// leave one behind; what finds no slot is kept by a child until it executes a program or ends.
struct Slot {
  enum State : int { kFree, kChanging, kKnown };
  std::atomic<int> state{kFree};
  int socket = -1, window_fd = -1;
  std::uint64_t socket_inode = 0, window_inode = 0;
};
constinit std::array<Slot, 1024> slots;

int take_slot(const Channel& channel) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    int free = Slot::kFree;
    if (!slot.state.compare_exchange_strong(free, Slot::kChanging)) continue;
    slot.socket = channel.socket;
    slot.window_fd = channel.window_fd;
    slot.socket_inode = channel.socket_inode;
    slot.window_inode = channel.window_inode;
    slot.state.store(Slot::kKnown, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

/// Says once why programs see no devices although they should: what follows looks to them like a machine without any.
void say_unreachable(const char* what, long error) {
  static constinit std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  const int number = static_cast<int>(-error);
  const char* why =
      number == ESRCH ? "it cannot see this process, whose pid namespace is another one" : strerrordesc_np(number);
  char line[512];
  const int length = std::snprintf(line, sizeof(line), "opennrt: the emulated machine at %s (%s) %s: %s\n",
                                   machine_path, kMachineVariable, what, why != nullptr ? why : "unknown error");
  system_call(SYS_write, STDERR_FILENO, line, static_cast<std::size_t>(length));
}

int gone(long error) {
  switch (error) {
    case -ECONNRESET:
    case -EPIPE:
    case -ECONNREFUSED:
    case -ENOENT:
    case -ENOTCONN:
      return -ENODEV;
    default:
      return static_cast<int>(error);
  }
}

}  // namespace

void close_parents_channels() {
  for (Slot& slot : slots) {
    if (slot.state.load(std::memory_order_acquire) == Slot::kKnown) {
      if (inode(slot.socket) == slot.socket_inode) system_call(SYS_close, slot.socket);
      if (inode(slot.window_fd) == slot.window_inode) system_call(SYS_close, slot.window_fd);
    }
    if (slot.state.load(std::memory_order_relaxed) != Slot::kFree) slot.state.store(Slot::kFree);
  }
  this_thread.slot = -1;
  if (!this_thread.busy) this_thread.close();
}

int move_away(int fd) {
  const long moved = system_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kAwayFrom);
  if (moved < 0) return fd;
  system_call(SYS_close, fd);
  return static_cast<int>(moved);
}

void use_machine(const char* path) {
  machine_path[sizeof(machine_path) - 1] = 0;
  std::strncpy(machine_path, std::strlen(path) < sizeof(machine_path) ? path : "", sizeof(machine_path) - 1);
}

int connect_machine(const char* abstract_name, std::size_t abstract_bytes, bool close_on_exec) {
  sockaddr_un machine{};
  machine.sun_family = AF_UNIX;
  if (machine_path[0] == 0) {
    say_unreachable("has too long a path", -ENAMETOOLONG);
    return -ENODEV;
  }
  std::memcpy(machine.sun_path, machine_path, sizeof(machine_path));
  const long s = system_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | (close_on_exec ? SOCK_CLOEXEC : 0), 0);
  if (s < 0) return static_cast<int>(s);
  long r = 0;
  if (abstract_bytes > 0) {
    sockaddr_un self{};
    self.sun_family = AF_UNIX;
    std::memcpy(self.sun_path, abstract_name, abstract_bytes);
    r = system_call(SYS_bind, s, &self, offsetof(sockaddr_un, sun_path) + abstract_bytes);
  }
  while (r == 0) {
    r = system_call(SYS_connect, s, &machine, sizeof(machine));
    if (r != -EINTR) break;
    r = 0;
  }
  if (r < 0) {
    system_call(SYS_close, s);
    say_unreachable("is not there", r);
    return gone(r);
  }
  return static_cast<int>(s);
}

int send_packet(int socket, const void* data, std::size_t bytes, int descriptor) {
  iovec part{const_cast<void*>(data), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof(int));
  }
  for (;;) {
    const long n = system_call(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
    if (n >= 0) return 0;
    if (n != -EINTR) return gone(n);
  }
}

int receive_packet(int socket, void* data, std::size_t bytes, int* descriptor) {
  iovec part{data, bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  long n;
  do {
    message.msg_controllen = sizeof(control);
    n = system_call(SYS_recvmsg, socket, &message, MSG_CMSG_CLOEXEC);
  } while (n == -EINTR);
  if (n < 0) return gone(n);
  int received = -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) std::memcpy(&received, CMSG_DATA(c), sizeof(int));
  }
  if (descriptor != nullptr) {
    *descriptor = received;
  } else if (received >= 0) {
    system_call(SYS_close, received);
  }
  return static_cast<std::size_t>(n) == bytes ? 0 : -ENODEV;  // an end of the connection is a packet of 0 bytes
}

int Channel::open(int* host_memory) {
  socket = window_fd = slot = -1;
  socket_inode = window_inode = 0;
  pid = own_pid();
  long r = system_call(SYS_memfd_create, "opennrt-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (r < 0) return static_cast<int>(r);
  window_fd = move_away(static_cast<int>(r));
  r = system_call(SYS_ftruncate, window_fd, kFirstWindow);
  if (r == 0) r = system_call(SYS_fcntl, window_fd, F_ADD_SEALS, F_SEAL_SHRINK);
  if (r == 0) {
    r = system_call(SYS_mmap, nullptr, kFirstWindow, PROT_READ | PROT_WRITE, MAP_SHARED, window_fd, 0ul);
    if (r > 0) {
      window = reinterpret_cast<std::byte*>(r);
      window_bytes = kFirstWindow;
      system_call(SYS_madvise, window, window_bytes, MADV_DONTFORK);
      r = connect_machine(nullptr, 0, true);
    }
  }
  if (r >= 0) {
    socket = move_away(static_cast<int>(r));
    const ChannelHello hello;
    Reply reply;
    int memory = -1;
    r = send_packet(socket, &hello, sizeof(hello), window_fd);
    if (r == 0) r = receive_packet(socket, &reply, sizeof(reply), &memory);
    if (r == 0 && (r = reply.error) != 0) say_unreachable("refuses this process", r);
    if (memory >= 0 && (host_memory == nullptr || r != 0)) system_call(SYS_close, memory);
    if (host_memory != nullptr && r == 0) *host_memory = memory;
  }
  if (r < 0) {
    close();
    return static_cast<int>(r);
  }
  socket_inode = inode(socket);
  window_inode = inode(window_fd);
  slot = take_slot(*this);
  return 0;
}

void Channel::close() {
  // A number that means something else by now is the program's.
  if (socket >= 0 && (socket_inode == 0 || inode(socket) == socket_inode)) system_call(SYS_close, socket);
  if (window_fd >= 0 && (window_inode == 0 || inode(window_fd) == window_inode)) system_call(SYS_close, window_fd);
  if (window != nullptr && pid == own_pid()) system_call(SYS_munmap, window, window_bytes);
  if (slot >= 0) slots[static_cast<std::size_t>(slot)].state.store(Slot::kFree, std::memory_order_release);
  socket = window_fd = slot = -1;
  window = nullptr;
  window_bytes = 0;
}

bool Channel::usable() const {
  return socket >= 0 && pid == own_pid() && inode(socket) == socket_inode;
}

Session::Session(bool host_memory) : channel_(&own_) {
  own_.socket = own_.window_fd = own_.slot = -1;
  if (!host_memory && !this_thread.busy) {
    this_thread.busy = true;
    channel_ = &this_thread;
    if (channel_->usable()) return;
    channel_->close();
    error_ = channel_->open();
    if (const pthread_key_t key = end_key(); key < PTHREAD_KEYS_MAX) pthread_setspecific(key, &this_thread);
    return;
  }
  error_ = channel_->open(host_memory ? &host_memory_ : nullptr);
}

Session::~Session() {
  if (host_memory_ >= 0) system_call(SYS_close, host_memory_);
  if (channel_ == &own_) {
    own_.close();
    return;
  }
  if (channel_->window_bytes > kKeptWindow) {
    system_call(SYS_madvise, channel_->window, channel_->window_bytes, MADV_REMOVE);
  }
  this_thread.busy = false;
}

std::byte* Session::room(std::size_t bytes) {
  if (error_ != 0) return nullptr;
  if (bytes <= channel_->window_bytes) return channel_->window;
  const std::size_t page = 4096;
  if (bytes > SIZE_MAX / 4) return nullptr;
  const std::size_t larger = std::max((bytes + page - 1) / page * page, channel_->window_bytes * 2);
  if (inode(channel_->window_fd) != channel_->window_inode) return nullptr;
  if (system_call(SYS_ftruncate, channel_->window_fd, larger) < 0) return nullptr;
  const long moved = system_call(SYS_mremap, channel_->window, channel_->window_bytes, larger, MREMAP_MAYMOVE, nullptr);
  if (moved < 0) return nullptr;
  channel_->window = reinterpret_cast<std::byte*>(moved);
  channel_->window_bytes = larger;
  system_call(SYS_madvise, channel_->window, larger, MADV_DONTFORK);
  return channel_->window;
}

int Session::call(Op op, std::uint64_t file, std::initializer_list<std::uint64_t> a, std::size_t bytes) {
  if (error_ != 0) return error_;
  Request request;
  request.op = op;
  request.file = file;
  std::copy(a.begin(), a.end(), request.a);
  request.bytes = bytes;
  for (;;) {
    request.window = channel_->window_bytes;
    int r = send_packet(channel_->socket, &request, sizeof(request));
    if (r == 0) r = receive_packet(channel_->socket, &reply_, sizeof(reply_));
    if (r != 0) {
      error_ = r;
      channel_->close();
      return r;
    }
    if (reply_.bytes > channel_->window_bytes) {
      if (reply_.error != -ENOBUFS) return error_ = -EPROTO;
      if (room(reply_.bytes) == nullptr) return -ENOMEM;
      continue;
    }
    return reply_.error;
  }
}

}  // namespace opennrt::emulator
