// SPDX-License-Identifier: Apache-2.0
//
// The client's end of protocol.h. A thread that makes requests has a channel of its own, opened at the first one,
// closed at the thread's end; a child after fork closes those of its parent and opens new ones. A request in a signal handler that interrupted another
// one of the same thread gets a channel for itself. Nothing here allocates from the heap, throws, or is a cancellation
// point.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "backends/emulator/protocol.h"

namespace opennrt::emulator {

/// Where the machine is: the path of its socket. Before anything else.
void use_machine(const char* path);
/// Connects to the machine's socket. `abstract` (may be empty): bytes of the abstract name to bind to before. A
/// descriptor or a negative errno; ENODEV: there is no machine (any more).
int connect_machine(const char* abstract_name, std::size_t abstract_bytes, bool close_on_exec);
/// In a child after fork: closes its copies of its parent's channels, which would keep the machine's ends of them.
void close_parents_channels();
/// Moves a descriptor of the library's out of the way of programs that count theirs (shells). The new number.
int move_away(int fd);
/// Sends a packet / receives one, whole. 0, -ENODEV (nobody there), or another negative errno.
int send_packet(int socket, const void* data, std::size_t bytes, int descriptor = -1);
int receive_packet(int socket, void* data, std::size_t bytes, int* descriptor = nullptr);

/// One connection and its window.
struct Channel {
  int socket;  ///< -1: closed
  int window_fd;
  pid_t pid;  ///< who opened it
  bool busy;  ///< a request is under way
  std::uint64_t socket_inode, window_inode;
  std::byte* window;
  std::size_t window_bytes;
  int slot;  ///< among those that a child after fork closes; -1: in none

  int open(
      int* host_memory = nullptr);  ///< 0 or a negative errno. `host_memory`: the machine's, to be closed by the caller
  void close();
  bool usable() const;  ///< opened by this process, and the program has not closed or replaced its descriptors
};

/// Use of the machine by one call of one thread: the thread's channel, or a temporary one.
class Session {
 public:
  /// With `host_memory` on a channel of its own, which receives the descriptor of the machine's memory.
  explicit Session(bool host_memory = false);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// 0, or why there is no connection (negative errno); every call then answers with it.
  int error() const { return error_; }
  int host_memory() const { return host_memory_; }
  /// The window with room for `bytes` at least; null: there is no memory. Contents are kept.
  std::byte* room(std::size_t bytes);
  const std::byte* window() const { return channel_->window; }

  /// Asks. `bytes` of input are at the start of the window. 0 or the machine's negative errno; what came back is in
  /// `reply()` and at the start of the window.
  int call(Op op, std::uint64_t file, std::initializer_list<std::uint64_t> a = {}, std::size_t bytes = 0);
  const Reply& reply() const { return reply_; }
  std::uint64_t v(unsigned i) const { return reply_.v[i]; }

 private:
  Channel own_{};
  Channel* channel_;
  int error_ = 0;
  int host_memory_ = -1;
  Reply reply_;
};

}  // namespace opennrt::emulator
