// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/remote.h"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

#include "core/collectives/connection.h"
#include "core/collectives/io_thread.h"

namespace opennrt::collectives {
namespace {

constexpr std::chrono::milliseconds kLookAgain{20};
constexpr std::chrono::seconds kLeavePatience{2};

}  // namespace

class Remote::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& context, std::string name, std::string id)
      : context_(context), name_(std::move(name)), id_(std::move(id)), look_(context) {}

  void begin() {
    asio::post(context_, [self = shared_from_this()] { self->look(); });
  }

  void send(Request request, Done done) {
    asio::post(context_, [self = shared_from_this(), moved = std::make_shared<Request>(std::move(request)),
                          done = std::move(done)]() mutable { self->submit(std::move(*moved), std::move(done)); });
  }

  bool usable() const { return usable_.load(); }

  void leave() {
    asio::post(context_, [self = shared_from_this()] {
      self->look_.cancel();
      self->usable_ = false;
      if (self->connection_ == nullptr) return self->left();
      std::exchange(self->connection_, nullptr)->finish([self] { self->left(); });
    });
    std::unique_lock lock(mutex_);
    left_changed_.wait_for(lock, kLeavePatience, [&] { return left_; });
  }

 private:
  void look() {
    if (!usable_) return;
    Result<Descriptor> socket = connect_to(name_);
    if (!socket && socket.error().code == ErrorCode::kState) {
      look_.expires_after(kLookAgain);
      return look_.async_wait([self = shared_from_this()](asio::error_code cancelled) {
        if (!cancelled) self->look();
      });
    }
    if (!socket) return end(fmt::format("the root of \"{}\" cannot be reached: {}", id_, socket.error().message));
    auto connection = Connection::adopt(context_, std::move(*socket), kMaxBytes * kMaxRanks);
    if (!connection) {
      const bool left_over = connection.error().code == ErrorCode::kState;
      return end(
          fmt::format("the root of \"{}\" cannot be used: {}{}", id_, connection.error().message,
                      left_over ? ", but a process that it forked still holds its socket; choose another port" : ""));
    }
    connection_ = *connection;
    connection_->start({[self = shared_from_this()](Frame frame) { self->answered(frame); },
                        [self = shared_from_this(), pid = connection_->pid()](const std::string& how) {
                          self->connection_ = nullptr;
                          self->end(fmt::format("rank 0's process {}, the root of \"{}\", {}", pid, self->id_, how));
                        }});
    for (Request& request : std::exchange(early_, {})) connection_->send(encode(std::move(request)));
  }

  void submit(Request request, Done done) {
    if (request.type == Request::Type::kGiveUp) {
      if (connection_ != nullptr) return connection_->send(encode(std::move(request)));
      std::erase_if(early_, [&](const Request& early) { return early.id == request.id; });
      return answer(request.id,
                    make_error(ErrorCode::kTimeout, "has waited for {} s: rank 0, the root of \"{}\", has not joined",
                               request.waited_s, id_));
    }
    if (!usable_) return done(make_error(ErrorCode::kPeerLost, "{}", ended_));
    pending_.emplace(request.id, std::move(done));
    if (connection_ != nullptr) {
      connection_->send(encode(std::move(request)));
    } else {
      early_.push_back(std::move(request));
    }
  }

  void answered(const Frame& frame) {
    Result<Answer> decoded = decode_answer(frame);
    if (!decoded) {
      std::exchange(connection_, nullptr)->close();
      return end(fmt::format("the root of \"{}\" has sent what is no answer: {}", id_, decoded.error().message));
    }
    answer(decoded->id, std::move(decoded->result));
  }

  void answer(std::uint64_t id, Result<SharedBytes> result) {
    const auto found = pending_.find(id);
    if (found == pending_.end()) return;
    const Done done = std::move(found->second);
    pending_.erase(found);
    done(std::move(result));
  }

  void end(std::string reason) {
    usable_ = false;
    ended_ = std::move(reason);
    early_.clear();
    for (auto& [id, done] : std::exchange(pending_, {})) done(make_error(ErrorCode::kPeerLost, "{}", ended_));
  }

  void left() {
    const std::lock_guard lock(mutex_);
    left_ = true;
    left_changed_.notify_all();
  }

  asio::io_context& context_;
  const std::string name_, id_;
  std::atomic<bool> usable_{true};
  // On the I/O thread only:
  asio::steady_timer look_;
  std::shared_ptr<Connection> connection_;
  std::deque<Request> early_;  ///< asked before the root was there
  std::map<std::uint64_t, Done> pending_;
  std::string ended_ = "the communicator has been closed";

  std::mutex mutex_;
  std::condition_variable left_changed_;
  bool left_ = false;
};

Remote::Remote(IoThread& thread, std::string name, std::string id)
    : impl_(std::make_shared<Impl>(thread.context(), std::move(name), std::move(id))) {
  impl_->begin();
}

Remote::~Remote() {
  impl_->leave();
}

void Remote::send(Request request, Done done) {
  impl_->send(std::move(request), std::move(done));
}

bool Remote::usable() const {
  return impl_->usable();
}

}  // namespace opennrt::collectives
