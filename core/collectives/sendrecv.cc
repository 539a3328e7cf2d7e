// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/sendrecv.h"

#include "core/collectives/channel_wire.h"
#include "core/collectives/io_thread.h"

namespace opennrt::collectives {

using Clock = std::chrono::steady_clock;

std::optional<Result<std::uint64_t>> Transfer::result() const {
  const std::lock_guard lock(mutex_);
  return result_;
}

void Transfer::complete(Result<std::uint64_t> result) {
  const std::lock_guard lock(mutex_);
  if (result_) return;
  result_ = std::move(result);
  read_ = nullptr;
  write_ = nullptr;
}

std::string Channel::name() const {
  return fmt::format("lnc {} {} lnc {}", lnc_, sends_ ? "to" : "from", peer_);
}

Clock::time_point Channel::deadline() const {
  return Clock::now() + std::chrono::seconds(timeout_s_);
}

Result<bool> Channel::test() {
  std::unique_lock lock(mutex_);
  switch (state_) {
    case State::kConnected:
      return true;
    case State::kFailed:
      return tl::unexpected(error_);
    case State::kClosed:
      return make_error(ErrorCode::kInvalidHandle, "{} has been closed", name());
    case State::kConnecting:
      break;
  }
  if (Clock::now() < created_ + std::chrono::seconds(timeout_s_)) return false;
  lock.unlock();
  const Error late{ErrorCode::kTimeout, fmt::format("{}: the other end has not come within {} s", name(), timeout_s_)};
  fail(late);
  return tl::unexpected(late);
}

Result<std::shared_ptr<Transfer>> Channel::post(std::shared_ptr<Transfer> transfer, bool sends) {
  const std::lock_guard lock(mutex_);
  if (sends != sends_) {
    return make_error(ErrorCode::kInvalidArgument, "{} {}, expected a communicator that {}", name(),
                      sends_ ? "sends" : "receives", sends ? "sends" : "receives");
  }
  if (state_ == State::kFailed) return tl::unexpected(error_);
  if (state_ == State::kClosed) return make_error(ErrorCode::kInvalidHandle, "{} has been closed", name());
  if (state_ == State::kConnecting) {
    return make_error(ErrorCode::kState, "{} is not connected, expected nrt_async_sendrecv_test_comm to say so first",
                      name());
  }
  if (transfers_.size() >= static_cast<std::size_t>(kMaxPendingRequests)) {
    return make_error(ErrorCode::kResource, "{} has {} pending requests, expected at most that many", name(),
                      kMaxPendingRequests);
  }
  transfer->channel_ = weak_from_this();
  transfers_.insert(transfer);
  wire_->post(transfer);
  return transfer;
}

Result<std::shared_ptr<Transfer>> Channel::send(Transfer::Read read) {
  return post(std::make_shared<Transfer>(std::move(read), deadline()), true);
}

Result<std::shared_ptr<Transfer>> Channel::receive(Transfer::Write write, std::uint64_t room) {
  return post(std::make_shared<Transfer>(std::move(write), room, deadline()), false);
}

Result<std::optional<std::uint64_t>> Channel::test(const std::shared_ptr<Transfer>& transfer) {
  const std::shared_ptr<Channel> channel = transfer->channel_.lock();
  if (channel == nullptr)
    return make_error(ErrorCode::kInvalidHandle, "the communicator of the request has been closed");
  std::optional<Result<std::uint64_t>> result = transfer->result();
  if (!result && Clock::now() < transfer->deadline_) return std::nullopt;
  if (!result) {
    channel->fail({ErrorCode::kTimeout,
                   fmt::format("{}: nothing has been transferred within {} s", channel->name(), channel->timeout_s_)});
    result = transfer->result();
  }
  const std::lock_guard lock(channel->mutex_);
  channel->transfers_.erase(transfer);
  if (!result) return make_error(ErrorCode::kInternal, "{}: a request has no result", channel->name());
  if (!*result) return tl::unexpected(result->error());
  return std::optional<std::uint64_t>(**result);
}

void Channel::connected() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kConnecting) state_ = State::kConnected;
}

void Channel::fail(Error error) {
  std::set<std::shared_ptr<Transfer>> transfers;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kFailed || state_ == State::kClosed) return;
    state_ = State::kFailed;
    error_ = error;
    transfers = transfers_;
    wire_->close();
  }
  for (const auto& transfer : transfers) transfer->complete(tl::unexpected(error));
}

SendRecv::SendRecv(std::uint16_t port, std::uint32_t timeout_s) : port_(port), timeout_s_(timeout_s) {}

SendRecv::~SendRecv() {
  std::vector<std::uint32_t> open;
  for (const auto& [lnc, endpoint] : endpoints_) open.push_back(lnc);
  for (const std::uint32_t lnc : open) close(lnc);
  if (thread_ != nullptr) thread_->stop();
}

Status SendRecv::check_open(std::uint32_t lnc) const {
  const std::lock_guard lock(mutex_);
  if (endpoints_.contains(lnc)) return {};
  return make_error(ErrorCode::kState, "lnc {} is not initialized, expected nrt_async_sendrecv_init first", lnc);
}

Status SendRecv::open(std::uint32_t lnc) {
  const std::lock_guard lock(mutex_);
  if (endpoints_.contains(lnc)) return make_error(ErrorCode::kState, "lnc {} is initialized already", lnc);
  if (spoilt_.contains(lnc)) {
    return make_error(ErrorCode::kState,
                      "lnc {} was closed with errors, expected nrt_close and nrt_init before it is used again", lnc);
  }
  if (thread_ == nullptr) {
    auto thread = IoThread::start();
    if (!thread) return tl::unexpected(thread.error());
    thread_ = std::move(*thread);
  }
  auto endpoint = Endpoint::open(thread_->context(), port_, lnc);
  if (!endpoint) {
    if (endpoint.error().code != ErrorCode::kState) return tl::unexpected(endpoint.error());
    return make_error(ErrorCode::kState,
                      "lnc {} with port {} is initialized by another process; expected "
                      "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT to differ for what is not to meet",
                      lnc, port_);
  }
  endpoints_.emplace(lnc, std::move(*endpoint));
  return {};
}

Result<std::shared_ptr<Channel>> SendRecv::connect(std::uint32_t peer, std::uint32_t lnc, bool sends) {
  const std::lock_guard lock(mutex_);
  const auto found = endpoints_.find(lnc);
  if (found == endpoints_.end()) {
    return make_error(ErrorCode::kState, "lnc {} is not initialized, expected nrt_async_sendrecv_init first", lnc);
  }
  Endpoint& endpoint = *found->second;
  if (endpoint.channels.size() >= static_cast<std::size_t>(kMaxCommunicatorsPerCore)) {
    return make_error(ErrorCode::kResource, "lnc {} has {} communicators, expected at most that many", lnc,
                      kMaxCommunicatorsPerCore);
  }
  const std::shared_ptr<Channel> channel(new Channel(lnc, peer, sends, timeout_s_));
  channel->wire_ = std::make_shared<Channel::Wire>(thread_->context(), channel);
  endpoint.channels.push_back(channel);
  if (sends) {
    channel->wire_->look_for(port_, peer);
  } else {
    endpoint.expect(channel->wire_, peer);
  }
  return channel;
}

SendRecv::Closed SendRecv::close(std::uint32_t lnc) {
  std::shared_ptr<Endpoint> endpoint;
  {
    const std::lock_guard lock(mutex_);
    const auto found = endpoints_.find(lnc);
    if (found == endpoints_.end()) {
      return {make_error(ErrorCode::kState, "lnc {} is not initialized, expected nrt_async_sendrecv_init first", lnc),
              {}};
    }
    endpoint = std::move(found->second);
    endpoints_.erase(found);
  }
  Closed closed;
  for (const std::shared_ptr<Channel>& channel : endpoint->channels) {
    const std::lock_guard lock(channel->mutex_);
    std::size_t under_way = 0;
    for (const std::shared_ptr<Transfer>& transfer : channel->transfers_) {
      if (!transfer->result()) ++under_way;
      transfer->complete(make_error(ErrorCode::kState, "{} has been closed", channel->name()));
      closed.handles.push_back(transfer->handle);
    }
    if (channel->state_ == Channel::State::kConnecting) {
      closed.status =
          make_error(ErrorCode::kState, "{} was not connected when lnc {} was closed", channel->name(), lnc);
    } else if (under_way > 0) {
      closed.status = make_error(ErrorCode::kState, "{} had {} requests under way when lnc {} was closed",
                                 channel->name(), under_way, lnc);
    }
    channel->transfers_.clear();
    channel->state_ = Channel::State::kClosed;
    closed.handles.push_back(channel->handle);
  }
  endpoint->close();
  if (!closed.status) {
    const std::lock_guard lock(mutex_);
    spoilt_.insert(lnc);
  }
  return closed;
}

}  // namespace opennrt::collectives
