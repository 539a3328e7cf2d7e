// SPDX-License-Identifier: Apache-2.0
//
// The I/O side of sendrecv.h. A receiver says `ready` for every receive; a sender sends its data for every `ready`; the
// receiver answers `ack` once the data is in its tensor. So nothing is ever stored on the way, and either side always reads and
// sees the other one's end.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/collectives/connection.h"
#include "core/collectives/sendrecv.h"

namespace opennrt::collectives {

/// Public functions: from any thread, and after the channel has gone.
class Channel::Wire : public std::enable_shared_from_this<Channel::Wire> {
 public:
  Wire(asio::io_context& context, const std::shared_ptr<Channel>& channel);
  /// Sender: until the peer's endpoint is there.
  void look_for(std::uint16_t port, std::uint32_t peer);
  void post(std::shared_ptr<Transfer> transfer);
  /// What has been sent still arrives.
  void close();

 private:
  friend class SendRecv::Endpoint;
  // On the I/O thread:
  void look(const std::string& name);
  void attach(std::shared_ptr<Connection> connection);  ///< receiver: the sender has come
  Connection::Events events();
  void received(const Frame& frame);
  void advance();
  void fail(ErrorCode code, const std::string& what);

  asio::io_context& context_;
  const std::weak_ptr<Channel> channel_;
  const std::uint32_t lnc_, peer_;
  const bool sends_;
  asio::steady_timer look_;
  std::shared_ptr<Connection> connection_;
  bool closed_ = false;
  std::deque<std::shared_ptr<Transfer>> waiting_;  ///< sender: not yet sent; receiver: not yet arrived
  std::deque<std::shared_ptr<Transfer>> sent_;     ///< not yet acknowledged
  std::size_t ready_ = 0;                          ///< receives of the peer that nothing has been sent for
};

/// A core that others may connect to. Public functions: from any thread.
class SendRecv::Endpoint : public std::enable_shared_from_this<SendRecv::Endpoint> {
 public:
  /// kState: the name is taken.
  static Result<std::shared_ptr<Endpoint>> open(asio::io_context& context, std::uint16_t port, std::uint32_t lnc);
  void expect(std::shared_ptr<Channel::Wire> wire, std::uint32_t peer);
  /// Returns when nobody can connect any more, and the channels have taken leave or 2 s have passed.
  void close();

  std::vector<std::shared_ptr<Channel>> channels;  ///< with the lock of SendRecv

 private:
  Endpoint(asio::io_context& context, std::uint32_t lnc)
      : context_(context), lnc_(lnc), listener_(context), again_(context) {}
  void accept();
  void admit(Descriptor socket);
  void greeted(const std::shared_ptr<Connection>& connection, const Frame& frame);
  void match(std::uint32_t peer);

  asio::io_context& context_;
  const std::uint32_t lnc_;
  asio::posix::stream_descriptor listener_;
  asio::steady_timer again_;
  std::map<std::uint32_t, std::deque<std::shared_ptr<Connection>>> arrived_;  ///< by the sender's core
  std::map<std::uint32_t, std::deque<std::shared_ptr<Channel::Wire>>> expected_;
  std::vector<std::shared_ptr<Connection>> strangers_;  ///< have not said who they are
};

}  // namespace opennrt::collectives
