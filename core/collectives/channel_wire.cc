// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/channel_wire.h"

#include <algorithm>
#include <asio/post.hpp>
#include <condition_variable>
#include <nlohmann/json.hpp>

#include "core/observe/log.h"

namespace opennrt::collectives {
namespace {

using nlohmann::json;
using observe::Component;
using observe::Level;

constexpr std::chrono::milliseconds kLookAgain{20}, kAcceptAgain{100};
constexpr std::chrono::seconds kLeavePatience{2};

std::string endpoint_name(std::uint16_t port, std::uint32_t lnc) {
  return fmt::format("sendrecv-{}-{}", port, lnc);
}

Frame message(json object, SharedBytes data = nullptr) {
  return {object.dump(), std::move(data)};
}

std::string type_of(const std::optional<json>& object) {
  return object ? object->value("type", std::string()) : std::string();
}

}  // namespace

Channel::Wire::Wire(asio::io_context& context, const std::shared_ptr<Channel>& channel)
    : context_(context),
      channel_(channel),
      lnc_(channel->lnc_),
      peer_(channel->peer_),
      sends_(channel->sends_),
      look_(context) {}

void Channel::Wire::look_for(std::uint16_t port, std::uint32_t peer) {
  asio::post(context_, [self = shared_from_this(), name = endpoint_name(port, peer)] { self->look(name); });
}

void Channel::Wire::look(const std::string& name) {
  if (closed_) return;
  Result<Descriptor> socket = connect_to(name);
  if (!socket && socket.error().code == ErrorCode::kState) {
    look_.expires_after(kLookAgain);
    return look_.async_wait([self = shared_from_this(), name](asio::error_code cancelled) {
      if (!cancelled) self->look(name);
    });
  }
  if (!socket) return fail(socket.error().code, socket.error().message);
  auto connection = Connection::adopt(context_, std::move(*socket), kMaxBytes);
  if (!connection) return fail(connection.error().code, connection.error().message);
  connection_ = std::move(*connection);
  connection_->start(events());
  connection_->send(message({{"type", "hello"}, {"from", lnc_}, {"to", peer_}}));
}

void Channel::Wire::attach(std::shared_ptr<Connection> connection) {
  connection_ = std::move(connection);
  connection_->redirect(events());
  connection_->send(message({{"type", "welcome"}}));
  if (const auto channel = channel_.lock()) channel->connected();
}

Connection::Events Channel::Wire::events() {
  return {[self = shared_from_this()](const Frame& frame) { self->received(frame); },
          [self = shared_from_this(), pid = connection_->pid()](const std::string& how) {
            self->connection_ = nullptr;
            self->fail(ErrorCode::kPeerLost, fmt::format("process {} {}", pid, how));
          }};
}

void Channel::Wire::fail(ErrorCode code, const std::string& what) {
  if (const auto channel = channel_.lock()) channel->fail({code, channel->name() + ": " + what});
}

void Channel::Wire::post(std::shared_ptr<Transfer> transfer) {
  asio::post(context_, [self = shared_from_this(), transfer = std::move(transfer)] {
    if (self->closed_ || self->connection_ == nullptr) return;  // the channel has failed, and with it the transfer
    self->waiting_.push_back(transfer);
    if (self->sends_) return self->advance();
    self->connection_->send(message({{"type", "ready"}}));
  });
}

void Channel::Wire::close() {
  asio::post(context_, [self = shared_from_this()] {
    self->closed_ = true;
    self->look_.cancel();
    self->waiting_.clear();
    self->sent_.clear();
    if (const auto connection = std::exchange(self->connection_, nullptr)) connection->finish({});
  });
}

void Channel::Wire::advance() {
  while (ready_ > 0 && !waiting_.empty()) {
    const std::shared_ptr<Transfer> transfer = waiting_.front();
    waiting_.pop_front();
    Transfer::Read read;
    {
      const std::lock_guard lock(transfer->mutex_);
      read = transfer->read_;
    }
    if (read == nullptr) return;  // it has failed with its channel
    Result<Bytes> data = read();
    if (!data) {  // its receiver goes on to wait for the next one
      transfer->complete(tl::unexpected(data.error()));
      continue;
    }
    --ready_;
    sent_.push_back(transfer);
    connection_->send(message({{"type", "data"}}, std::make_shared<const Bytes>(std::move(*data))));
  }
}

void Channel::Wire::received(const Frame& frame) {
  const std::optional<json> object = object_of(frame);
  const std::string type = type_of(object);
  if (sends_ && type == "welcome") {
    if (const auto channel = channel_.lock()) channel->connected();
  } else if (sends_ && type == "ready") {
    ++ready_;
    advance();
  } else if (sends_ && type == "ack" && !sent_.empty()) {
    const std::shared_ptr<Transfer> transfer = sent_.front();
    sent_.pop_front();
    const std::string refused = object->value("error", std::string());
    if (refused.empty()) {
      transfer->complete(object->value("bytes", std::uint64_t{0}));
    } else {
      transfer->complete(make_error(ErrorCode::kInvalidArgument, "lnc {} has refused: {}", peer_, refused));
    }
  } else if (!sends_ && type == "data" && !waiting_.empty()) {
    const std::shared_ptr<Transfer> transfer = waiting_.front();
    waiting_.pop_front();
    Transfer::Write write;
    {
      const std::lock_guard lock(transfer->mutex_);
      write = transfer->write_;
    }
    if (write == nullptr) return;
    const std::uint64_t bytes = frame.data->size();
    const Status written =
        bytes > transfer->room_
            ? make_error(ErrorCode::kInvalidArgument, "{} bytes have come, expected at most {}", bytes, transfer->room_)
            : write(*frame.data);
    if (written) {
      transfer->complete(bytes);
      connection_->send(message({{"type", "ack"}, {"bytes", bytes}}));
    } else {
      transfer->complete(tl::unexpected(written.error()));
      connection_->send(message({{"type", "ack"}, {"error", written.error().message}}));
    }
  } else {
    fail(ErrorCode::kPeerLost, fmt::format("lnc {} has sent \"{}\", which nobody expects", peer_, type));
  }
}

Result<std::shared_ptr<SendRecv::Endpoint>> SendRecv::Endpoint::open(asio::io_context& context, std::uint16_t port,
                                                                     std::uint32_t lnc) {
  Result<Descriptor> listener = listen_at(endpoint_name(port, lnc));
  if (!listener) return tl::unexpected(listener.error());
  std::shared_ptr<Endpoint> endpoint(new Endpoint(context, lnc));
  asio::error_code error;
  endpoint->listener_.assign(listener->get(), error);
  if (error) return make_error(ErrorCode::kResource, "listener: {}", error.message());
  listener->release();
  asio::post(context, [endpoint] { endpoint->accept(); });
  return endpoint;
}

void SendRecv::Endpoint::accept() {
  for (;;) {
    Result<Descriptor> socket = accept_from(listener_.native_handle());
    if (socket) {
      admit(std::move(*socket));
      continue;
    }
    const auto next = [self = shared_from_this()](asio::error_code cancelled) {
      if (!cancelled && self->listener_.is_open()) self->accept();
    };
    if (socket.error().code == ErrorCode::kState)
      return listener_.async_wait(asio::posix::stream_descriptor::wait_read, next);
    observe::log(Component::kNrt, Level::kError, "sendrecv", "nobody can be let in: {}", socket.error().message);
    again_.expires_after(kAcceptAgain);
    return again_.async_wait(next);
  }
}

void SendRecv::Endpoint::admit(Descriptor socket) {
  auto adopted = Connection::adopt(context_, std::move(socket), kMaxBytes);
  if (!adopted) {
    observe::log(Component::kNrt, Level::kWarn, "sendrecv", "a process is not let in: {}", adopted.error().message);
    return;
  }
  const std::shared_ptr<Connection> connection = *adopted;
  strangers_.push_back(connection);
  const auto forget = [self = shared_from_this(), stranger = connection.get()] {
    std::erase_if(self->strangers_, [&](const auto& other) { return other.get() == stranger; });
    for (auto& [peer, queue] : self->arrived_)
      std::erase_if(queue, [&](const auto& other) { return other.get() == stranger; });
  };
  connection->start({[self = shared_from_this(), weak = std::weak_ptr(connection)](const Frame& frame) {
                       if (const auto alive = weak.lock()) self->greeted(alive, frame);
                     },
                     [forget](const std::string&) { forget(); }});
}

void SendRecv::Endpoint::greeted(const std::shared_ptr<Connection>& connection, const Frame& frame) {
  const std::optional<json> object = object_of(frame);
  std::erase(strangers_, connection);
  if (type_of(object) != "hello" || !object->contains("from") || !(*object)["from"].is_number_unsigned()) {
    observe::log(Component::kNrt, Level::kWarn, "sendrecv",
                 "process {} does not say which lnc it is, and is not let in", connection->pid());
    return connection->close();
  }
  const auto peer = (*object)["from"].get<std::uint32_t>();
  arrived_[peer].push_back(connection);
  match(peer);
}

void SendRecv::Endpoint::expect(std::shared_ptr<Channel::Wire> wire, std::uint32_t peer) {
  asio::post(context_, [self = shared_from_this(), wire = std::move(wire), peer] {
    self->expected_[peer].push_back(wire);
    self->match(peer);
  });
}

void SendRecv::Endpoint::match(std::uint32_t peer) {
  auto& arrived = arrived_[peer];
  auto& expected = expected_[peer];
  while (!arrived.empty() && !expected.empty()) {
    const std::shared_ptr<Channel::Wire> wire = expected.front();
    expected.pop_front();
    if (wire->closed_) continue;  // it has waited for too long
    const std::shared_ptr<Connection> connection = arrived.front();
    arrived.pop_front();
    wire->attach(connection);
  }
}

void SendRecv::Endpoint::close() {
  struct Left {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t open = 1;
  };
  const auto left = std::make_shared<Left>();
  const auto one_less = [left] {
    const std::lock_guard lock(left->mutex);
    --left->open;
    left->changed.notify_all();
  };
  asio::post(context_, [self = shared_from_this(), left, one_less] {
    asio::error_code ignored;
    self->listener_.close(ignored);
    self->again_.cancel();
    for (const auto& stranger : std::exchange(self->strangers_, {})) stranger->close();
    for (auto& [peer, queue] : std::exchange(self->arrived_, {})) {
      for (const auto& connection : queue) connection->close();
    }
    self->expected_.clear();
    for (const std::shared_ptr<Channel>& channel : self->channels) {
      Channel::Wire& wire = *channel->wire_;
      wire.closed_ = true;
      wire.look_.cancel();
      wire.waiting_.clear();
      wire.sent_.clear();
      if (const auto connection = std::exchange(wire.connection_, nullptr)) {
        {
          const std::lock_guard lock(left->mutex);
          ++left->open;
        }
        connection->finish(one_less);
      }
    }
    one_less();
  });
  std::unique_lock lock(left->mutex);
  left->changed.wait_for(lock, kLeavePatience, [&] { return left->open == 0; });
}

}  // namespace opennrt::collectives
