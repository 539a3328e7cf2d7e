// SPDX-License-Identifier: Apache-2.0
//
// Frames over a socket to another process of the machine, and the end of that process.
#pragma once

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "core/collectives/rendezvous.h"
#include "core/collectives/wire.h"

namespace opennrt::collectives {

/// Used on the I/O thread only. Lives until it has ended or close() was called.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Events {
    std::function<void(Frame)> frame;
    /// Once, and never after close(); `how` fits behind a name: "has died".
    std::function<void(const std::string& how)> ended;
  };
  /// `limit`: bytes of data of one frame. kInvalidArgument: a process of another user. kState: one that has ended.
  static Result<std::shared_ptr<Connection>> adopt(asio::io_context& context, Descriptor socket, std::uint64_t limit);

  pid_t pid() const { return pid_; }
  /// Begins to read.
  void start(Events events);
  /// From the next frame on.
  void redirect(Events events) { events_ = std::move(events); }
  void send(Frame frame);
  /// Closes when everything has been sent; `closed` is called then, or when the peer ends before.
  void finish(std::function<void()> closed);
  void close();

 private:
  Connection(asio::io_context& context, pid_t pid, std::uint64_t limit);
  void read();
  void read_body();
  void write();
  void end(const std::string& how);

  asio::local::stream_protocol::socket socket_;
  asio::posix::stream_descriptor process_;  ///< readable when the peer has ended
  asio::steady_timer last_words_;
  const pid_t pid_;
  const std::uint64_t limit_;
  Events events_;
  FrameHead read_head_, write_head_;
  std::string read_meta_;
  Bytes read_data_;
  std::deque<Frame> queue_;
  bool goodbye_ = false;
  std::function<void()> closed_;
};

}  // namespace opennrt::collectives
