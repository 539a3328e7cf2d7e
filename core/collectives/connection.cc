// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/connection.h"

#include <array>
#include <asio/buffer.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <new>

namespace opennrt::collectives {
namespace {

// What a process had sent before it ended is read first. The end of its socket follows at once, unless a child that it had forked
// still holds it; then this decides.
constexpr std::chrono::milliseconds kLastWords{200};

}  // namespace

Connection::Connection(asio::io_context& context, pid_t pid, std::uint64_t limit)
    : socket_(context), process_(context), last_words_(context), pid_(pid), limit_(limit) {}

Result<std::shared_ptr<Connection>> Connection::adopt(asio::io_context& context, Descriptor socket,
                                                      std::uint64_t limit) {
  const Result<pid_t> pid = peer_of(socket.get());
  if (!pid) return tl::unexpected(pid.error());
  Result<Descriptor> process = watch_process(*pid);
  if (!process && process.error().code == ErrorCode::kState) return tl::unexpected(process.error());
  std::shared_ptr<Connection> connection(new Connection(context, *pid, limit));
  asio::error_code error;
  connection->socket_.assign(asio::local::stream_protocol(), socket.get(), error);
  if (error) return make_error(ErrorCode::kResource, "socket: {}", error.message());
  socket.release();
  if (process) {  // without it, the end of the socket is what is seen of the end of the process
    connection->process_.assign(process->get(), error);
    if (error) return make_error(ErrorCode::kResource, "pidfd: {}", error.message());
    process->release();
  }
  return connection;
}

void Connection::start(Events events) {
  events_ = std::move(events);
  if (process_.is_open()) {
    process_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](asio::error_code error) {
      if (error) return;
      self->last_words_.expires_after(kLastWords);
      self->last_words_.async_wait([self](asio::error_code cancelled) {
        if (!cancelled) self->end("has died");
      });
    });
  }
  read();
}

void Connection::read() {
  asio::async_read(socket_, asio::buffer(&read_head_, sizeof(read_head_)),
                   [self = shared_from_this()](asio::error_code error, std::size_t) {
                     if (error) return self->end("has died");
                     if (const auto wrong = check(self->read_head_, self->limit_)) {
                       return self->end(fmt::format("has sent what is no message: {}", *wrong));
                     }
                     self->read_body();
                   });
}

void Connection::read_body() {
  try {
    read_meta_.resize(read_head_.meta_bytes);
    read_data_ = Bytes(read_head_.data_bytes);
  } catch (const std::bad_alloc&) {
    return end(fmt::format("has sent {} bytes, for which there is no host memory", read_head_.data_bytes));
  }
  const std::array<asio::mutable_buffer, 2> body{asio::buffer(read_meta_), asio::buffer(read_data_)};
  asio::async_read(socket_, body, [self = shared_from_this()](asio::error_code error, std::size_t) {
    if (error) return self->end("has died");
    Frame frame{std::move(self->read_meta_), std::make_shared<const Bytes>(std::move(self->read_data_))};
    if (is_goodbye(frame)) return self->end("has closed");
    if (const auto deliver = self->events_.frame)
      deliver(std::move(frame));  // which may close, and so drop, the original
    if (self->socket_.is_open()) self->read();
  });
}

void Connection::send(Frame frame) {
  if (!socket_.is_open() || goodbye_) return;
  queue_.push_back(std::move(frame));
  if (queue_.size() == 1) write();
}

void Connection::write() {
  const Frame& frame = queue_.front();
  write_head_ = head_of(frame);
  std::array<asio::const_buffer, 3> parts{
      asio::buffer(&write_head_, sizeof(write_head_)), asio::buffer(frame.meta), {}};
  if (frame.data != nullptr) parts[2] = asio::buffer(*frame.data);
  asio::async_write(socket_, parts, [self = shared_from_this()](asio::error_code error, std::size_t) {
    if (error || !self->socket_.is_open()) return;  // reading finds the end, too, and tells it
    self->queue_.pop_front();
    if (!self->queue_.empty()) {
      self->write();
    } else if (self->goodbye_) {
      self->close();
    }
  });
}

void Connection::finish(std::function<void()> closed) {
  events_ = {};
  closed_ = std::move(closed);
  if (!socket_.is_open()) return close();
  send(goodbye());
  goodbye_ = true;
}

void Connection::end(const std::string& how) {
  if (!socket_.is_open()) return;
  const auto ended = std::move(events_.ended);
  close();
  if (ended) ended(how);
}

void Connection::close() {
  asio::error_code ignored;
  socket_.close(ignored);
  process_.close(ignored);
  last_words_.cancel();
  events_ = {};
  if (const auto closed = std::exchange(closed_, nullptr)) closed();
}

}  // namespace opennrt::collectives
