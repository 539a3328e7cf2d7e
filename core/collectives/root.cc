// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/root.h"

#include <asio/dispatch.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "core/collectives/connection.h"
#include "core/collectives/io_thread.h"
#include "core/observe/log.h"

namespace opennrt::collectives {
namespace {

using observe::Component;
using observe::Level;

constexpr std::chrono::seconds kLeavePatience{2};
// How long the listener rests when the process has no descriptor left for another connection.
constexpr std::chrono::milliseconds kAcceptAgain{100};

}  // namespace

class Root::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& context, Hub& hub) : context_(context), hub_(hub), listener_(context), again_(context) {}

  Status listen(Descriptor listener) {
    asio::error_code error;
    listener_.assign(listener.get(), error);
    if (error) return make_error(ErrorCode::kResource, "listener: {}", error.message());
    listener.release();
    asio::post(context_, [self = shared_from_this()] { self->accept(); });
    return {};
  }

  void leave() {
    asio::post(context_, [self = shared_from_this()] {
      asio::error_code ignored;
      self->listener_.close(ignored);
      self->again_.cancel();
      self->leaving_ = true;
      const auto sessions = self->sessions_;
      for (const auto& [owner, connection] : sessions) {
        connection->finish([self, gone = owner] { self->forget(gone); });
      }
      self->check_left();
    });
    std::unique_lock lock(mutex_);
    left_changed_.wait_for(lock, kLeavePatience, [&] { return left_; });
  }

 private:
  void accept() {
    listener_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](asio::error_code error) {
                           if (error) return;
                           self->accept_all();
                         });
  }

  void accept_all() {
    for (;;) {
      Result<Descriptor> socket = accept_from(listener_.native_handle());
      if (socket) {
        admit(std::move(*socket));
      } else if (socket.error().code == ErrorCode::kState) {
        return accept();
      } else {
        observe::log(Component::kNrt, Level::kError, "collectives", "a rank cannot be let in: {}",
                     socket.error().message);
        again_.expires_after(kAcceptAgain);
        return again_.async_wait([self = shared_from_this()](asio::error_code cancelled) {
          if (!cancelled) self->accept_all();
        });
      }
    }
  }

  void admit(Descriptor socket) {
    auto adopted = Connection::adopt(context_, std::move(socket), kMaxBytes);
    if (!adopted) {
      observe::log(Component::kNrt, Level::kWarn, "collectives", "a process is not let in: {}",
                   adopted.error().message);
      return;
    }
    const std::shared_ptr<Connection> connection = *adopted;
    const Hub::Owner owner = hub_.enter(connection->pid());
    sessions_.emplace(owner, connection);
    connection->start({[self = shared_from_this(), owner, peer = std::weak_ptr(connection)](Frame frame) {
                         self->serve(owner, peer, frame);
                       },
                       [self = shared_from_this(), owner](const std::string& how) {
                         self->forget(owner);
                         self->hub_.leave(owner, how);
                       }});
  }

  void serve(Hub::Owner owner, const std::weak_ptr<Connection>& peer, const Frame& frame) {
    Result<Request> request = decode_request(frame);
    if (!request) {
      observe::log(Component::kNrt, Level::kError, "collectives", "a message is dropped: {}", request.error().message);
      return;
    }
    const std::uint64_t id = request->id;
    hub_.handle(owner, std::move(*request), [self = weak_from_this(), peer, id](Result<SharedBytes> result) {
      const auto root = self.lock();
      if (root == nullptr) return;
      // At once on the I/O thread: there an answer must not come to stand behind a farewell that the answer to the root's own
      // request has let it say.
      asio::dispatch(root->context_, [peer, answer = Answer{id, std::move(result)}] {
        if (const auto connection = peer.lock()) connection->send(encode(answer));
      });
    });
  }

  void forget(Hub::Owner owner) {
    sessions_.erase(owner);
    check_left();
  }

  void check_left() {
    if (!leaving_ || !sessions_.empty()) return;
    const std::lock_guard lock(mutex_);
    left_ = true;
    left_changed_.notify_all();
  }

  asio::io_context& context_;
  Hub& hub_;
  // On the I/O thread only:
  asio::posix::stream_descriptor listener_;
  asio::steady_timer again_;
  std::map<Hub::Owner, std::shared_ptr<Connection>> sessions_;
  bool leaving_ = false;

  std::mutex mutex_;
  std::condition_variable left_changed_;
  bool left_ = false;
};

Root::Root(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Root>> Root::open(IoThread& thread, Hub& hub, const std::string& name) {
  Result<Descriptor> listener = listen_at(name);
  if (!listener) return tl::unexpected(listener.error());
  auto impl = std::make_shared<Impl>(thread.context(), hub);
  if (const Status listening = impl->listen(std::move(*listener)); !listening) return tl::unexpected(listening.error());
  return std::unique_ptr<Root>(new Root(std::move(impl)));
}

Root::~Root() {
  impl_->leave();
}

}  // namespace opennrt::collectives
