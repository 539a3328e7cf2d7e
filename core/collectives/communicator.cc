// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/communicator.h"

#include <unistd.h>

#include <chrono>
#include <cstring>
#include <numeric>

#include "core/collectives/io_thread.h"
#include "core/collectives/remote.h"
#include "core/collectives/rendezvous.h"
#include "core/collectives/root.h"

namespace opennrt::collectives {
namespace {

// How long a hub may take to answer that a request has been given up: it is there, but its process may be stopped.
constexpr std::chrono::seconds kGrace{5};

}  // namespace

Communicator::Communicator(Settings settings) : settings_(std::move(settings)), self_(hub_.enter(getpid())) {}

Communicator::~Communicator() {
  interrupt();
  hub_.leave(self_, "has closed");
  root_.reset();
  members_.clear();
  remote_.reset();
  if (thread_ != nullptr) thread_->stop();
}

void Communicator::interrupt() {
  const std::lock_guard lock(inbox_->mutex);
  inbox_->interrupted = true;
  inbox_->changed.notify_all();
}

std::optional<Communicator::Membership> Communicator::membership(std::uint32_t vnc) const {
  const std::lock_guard lock(mutex_);
  const auto found = members_.find(vnc);
  if (found == members_.end() || !found->second.joined) return std::nullopt;
  return found->second.membership;
}

Status Communicator::connect(std::uint32_t rank, std::shared_ptr<Remote>& remote) {
  if (!settings_.root || root_ != nullptr) return {};
  if (thread_ == nullptr) {
    auto thread = IoThread::start();
    if (!thread) return tl::unexpected(thread.error());
    thread_ = std::move(*thread);
  }
  const std::string name = fmt::format("comm-{}", settings_.root->port);
  if (rank == 0) {
    auto root = Root::open(*thread_, hub_, name);
    if (root) {
      root_ = std::move(*root);
      return {};
    }
    // Somebody else is the root, and will say that there is a rank 0.
    if (root.error().code != ErrorCode::kState) return tl::unexpected(root.error());
  }
  if (remote_ == nullptr || !remote_->usable()) {
    remote_ =
        std::make_shared<Remote>(*thread_, name, fmt::format("{}:{}", settings_.root->host, settings_.root->port));
  }
  remote = remote_;
  return {};
}

Status Communicator::join(std::uint32_t vnc, std::uint32_t rank, std::uint32_t count) {
  if (count == 0 || count > kMaxRanks) {
    return make_error(ErrorCode::kInvalidArgument, "the number of ranks is {}, expected 1 to {}", count, kMaxRanks);
  }
  if (rank >= count) {
    return make_error(ErrorCode::kInvalidArgument, "the rank is {}, expected 0 to {}", rank, count - 1);
  }
  if (settings_.root) {
    if (const Status local = check_local(settings_.root->host); !local)
      return with_context(local.error(), "NEURON_RT_ROOT_COMM_ID");
  }
  Request request;
  request.type = Request::Type::kJoin;
  request.rank = rank;
  request.count = count;
  std::shared_ptr<Remote> remote;
  {
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto found = members_.find(vnc);
      if (found == members_.end()) break;
      const Membership& has = found->second.membership;
      if (has.rank != rank || has.count != count) {
        return make_error(ErrorCode::kInvalidArgument,
                          "nc{} is rank {} of {} already, expected the same and not rank {} of {}", vnc, has.rank,
                          has.count, rank, count);
      }
      if (found->second.joined) return {};
      joined_.wait(lock);  // another thread joins for the core; that ends within the time limit
    }
    if (const Status connected = connect(rank, remote); !connected) return connected;
    members_.emplace(vnc, Member{{rank, count}, false, 0, remote});
  }
  const Result<SharedBytes> world = ask(remote, std::move(request));
  const std::lock_guard lock(mutex_);
  joined_.notify_all();
  if (!world || (*world)->size() != sizeof(std::uint64_t)) {
    members_.erase(vnc);
    if (!world) return tl::unexpected(world.error());
    return make_error(ErrorCode::kInternal, "the root's answer has {} bytes, expected 8", (*world)->size());
  }
  Member& member = members_.at(vnc);
  member.joined = true;
  std::memcpy(&member.world, (*world)->data(), sizeof(member.world));
  return {};
}

Result<SharedBytes> Communicator::run(std::uint32_t vnc, Operation operation, Bytes data) {
  if (data.size() > kMaxBytes) {
    return make_error(ErrorCode::kResource, "{} bytes are given to a collective operation, expected up to {}",
                      data.size(), kMaxBytes);
  }
  Request request;
  request.type = Request::Type::kOperation;
  std::shared_ptr<Remote> remote;
  {
    const std::lock_guard lock(mutex_);
    const auto found = members_.find(vnc);
    if (found == members_.end() || !found->second.joined) {
      return make_error(ErrorCode::kState, "nc{} has no communicator, expected nrt_build_global_comm first", vnc);
    }
    request.rank = found->second.membership.rank;
    request.world = found->second.world;
    remote = found->second.remote;
    if (operation.group.empty()) {
      operation.group.resize(found->second.membership.count);
      std::iota(operation.group.begin(), operation.group.end(), 0U);
    }
  }
  const std::uint64_t world = request.world;
  request.operation = std::move(operation);
  request.data = std::move(data);
  Result<SharedBytes> result = ask(remote, std::move(request));
  if (!result && result.error().code == ErrorCode::kPeerLost) {
    const std::lock_guard lock(mutex_);
    const auto found = members_.find(vnc);
    if (found != members_.end() && found->second.joined && found->second.world == world) members_.erase(found);
  }
  return result;
}

void Communicator::send(const std::shared_ptr<Remote>& remote, Request request, Done done) {
  if (remote != nullptr) {
    remote->send(std::move(request), std::move(done));
  } else {
    hub_.handle(self_, std::move(request), std::move(done));
  }
}

Result<SharedBytes> Communicator::ask(const std::shared_ptr<Remote>& remote, Request request) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(inbox_->mutex);
    id = next_request_++;
    inbox_->answers.emplace(id, std::nullopt);
  }
  request.id = id;
  send(remote, std::move(request), [inbox = inbox_, id](Result<SharedBytes> result) {
    const std::lock_guard lock(inbox->mutex);
    const auto found = inbox->answers.find(id);
    if (found == inbox->answers.end()) return;  // nobody waits any more
    found->second = std::move(result);
    inbox->changed.notify_all();
  });
  std::unique_lock lock(inbox_->mutex);
  const auto answered = [&] { return inbox_->interrupted || inbox_->answers.at(id).has_value(); };
  if (!inbox_->changed.wait_for(lock, std::chrono::seconds(settings_.timeout_s), answered)) {
    lock.unlock();
    Request give_up;
    give_up.type = Request::Type::kGiveUp;
    give_up.id = id;
    give_up.waited_s = settings_.timeout_s;
    send(remote, std::move(give_up), {});
    lock.lock();
    inbox_->changed.wait_for(lock, kGrace, answered);
  }
  std::optional<Result<SharedBytes>> answer = std::move(inbox_->answers.at(id));
  inbox_->answers.erase(id);
  if (answer) return std::move(*answer);
  if (inbox_->interrupted) return make_error(ErrorCode::kClosed, "nrt_close was called while the ranks waited");
  return make_error(ErrorCode::kPeerLost, "has waited for {} s: rank 0, the root, does not answer",
                    settings_.timeout_s);
}

}  // namespace opennrt::collectives
