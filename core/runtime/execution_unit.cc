// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/execution_unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "core/observe/log.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;

constexpr unsigned kNumberBits = 48;  // NRTA_SEQ_NUM_MAX
constexpr const char* kUnitNames[kUnits] = {"TENSOR_READ", "TENSOR_WRITE", "TENSOR_OP", "COMPUTE", "COLLECTIVES"};
// What fits the 15 characters that the kernel keeps of a thread's name.
constexpr const char* kThreadNames[kUnits] = {"read", "write", "copy", "exec", "coll"};

/// The process that the calling thread works for as an execution unit; 0: for none. A child of fork(2) inherits the number of
/// its parent, and so is not taken for a worker.
thread_local pid_t worker_of = 0;

/// A thread that takes none of the application's signals.
std::thread start_thread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct Restore {
    const sigset_t& mask;
    ~Restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } const restore{before};
  return std::thread(std::move(body));
}

int run_guarded(const ExecutionUnits::Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return NRT_RESOURCE;
  } catch (const std::exception& unexpected) {
    observe::write(Component::kNrt, Level::kError, "nrta_worker", std::string("internal error: ") + unexpected.what());
    return NRT_FAILURE;
  }
}

}  // namespace

void ErrorTracker::add(std::uint64_t seq, int status) {
  const std::lock_guard lock(mutex_);
  errors_.push_back({seq, static_cast<std::uint64_t>(status)});
}

const std::vector<nrta_error_t>& ErrorTracker::take() {
  const std::lock_guard lock(mutex_);
  taken_.clear();
  taken_.swap(errors_);
  return taken_;
}

/// One queue: requests in order, its thread, and who waits for what.
class ExecutionUnits::Queue {
 public:
  Queue(std::uint32_t vnc, Unit unit, int queue, std::uint64_t id)
      : vnc_(vnc), unit_(static_cast<std::size_t>(unit)), queue_(queue), id_(id << kNumberBits) {}

  ~Queue() {
    if (thread_.joinable()) thread_.join();
    for (const auto& [number, fd] : handles_) ::close(fd);
  }

  std::string name() const { return fmt::format("queue {} of {} of nc{}", queue_, kUnitNames[unit_], vnc_); }

  Result<std::uint64_t> schedule(Work work, std::shared_ptr<ErrorTracker> errors) {
    const std::lock_guard lock(mutex_);
    if (closed_) return make_error(ErrorCode::kClosed, "{}: the runtime is being closed", name());
    if (unrecoverable_) {
      return make_error(ErrorCode::kUnrecoverable,
                        "{} is out of order since an execution found the core unrecoverable; expected nrt_close and "
                        "nrt_init first",
                        name());
    }
    const std::uint64_t number = scheduled_.load(std::memory_order_relaxed) + 1;
    if (number - completed_.load(std::memory_order_relaxed) > kQueueDepth) {
      return make_error(ErrorCode::kQueueFull, "{} holds {} requests that are not completed, expected fewer", name(),
                        kQueueDepth);
    }
    if (!thread_.joinable()) {
      try {
        thread_ = start_thread([this] { run(); });
        worker_ = thread_.get_id();
      } catch (const std::system_error& failed) {
        return make_error(ErrorCode::kResource, "{}: no thread can be started: {}", name(), failed.what());
      }
    }
    requests_.push_back({std::move(work), std::move(errors)});
    scheduled_.store(number, std::memory_order_release);
    arrived_.notify_one();
    return id_ | number;
  }

  Result<bool> is_completed(std::uint64_t number) const {
    if (number == 0 || number > scheduled_.load(std::memory_order_acquire)) return no_such(number);
    return number <= completed_.load(std::memory_order_acquire);
  }

  std::uint64_t last_completed() const { return id_ | completed_.load(std::memory_order_acquire); }

  Result<int> completion_fd(std::uint64_t number) {
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return no_descriptor();
    const std::lock_guard lock(mutex_);
    if (number == 0 || number > scheduled_.load(std::memory_order_relaxed)) {
      ::close(fd);
      return no_such(number);
    }
    if (number <= completed_.load(std::memory_order_relaxed)) {
      make_readable(fd);
      return fd;
    }
    // The caller may close its descriptor before the end: this one is ours.
    const int ours = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (ours < 0) {
      auto error = no_descriptor();
      ::close(fd);
      return error;
    }
    try {
      handles_.emplace(number, ours);
    } catch (const std::bad_alloc&) {
      ::close(ours);
      ::close(fd);
      return make_error(ErrorCode::kResource, "{}: host memory for a completion handle is not available", name());
    }
    return fd;
  }

  Status drain() {
    std::unique_lock lock(mutex_);
    if (worker_ == std::this_thread::get_id())
      return make_error(ErrorCode::kState, "{}: called by what runs in it, which would wait for itself", name());
    const std::uint64_t last = scheduled_.load(std::memory_order_relaxed);
    advanced_.wait(lock, [&] { return completed_.load(std::memory_order_relaxed) >= last; });
    return {};
  }

  /// `run_all` false: what has not begun is not run.
  void shut(bool run_all) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    run_all_ = run_all_ && run_all;
    arrived_.notify_all();
  }

  void join() {
    if (thread_.joinable()) thread_.join();
  }

  bool ended_by(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return !thread_.joinable() || advanced_.wait_until(lock, deadline, [&] { return ended_; });
  }

 private:
  struct Request {
    Work work;
    std::shared_ptr<ErrorTracker> errors;
  };

  void run() {
    worker_of = getpid();
    pthread_setname_np(pthread_self(), fmt::format("nrt-nc{}-{}{}", vnc_, kThreadNames[unit_], queue_).c_str());
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [&] { return !requests_.empty() || closed_; });
      if (requests_.empty()) break;
      Request request = std::move(requests_.front());
      requests_.pop_front();
      const bool wanted = run_all_;
      const std::uint64_t number = completed_.load(std::memory_order_relaxed) + 1;
      lock.unlock();
      const int status = wanted ? run_guarded(request.work) : NRT_CLOSED;
      request.work = nullptr;
      if (status != NRT_SUCCESS) report(request, id_ | number, status);
      request.errors.reset();
      lock.lock();
      unrecoverable_ = unrecoverable_ || status == NRT_EXEC_UNIT_UNRECOVERABLE;
      completed_.store(number, std::memory_order_release);
      while (!handles_.empty() && handles_.begin()->first <= number) {
        make_readable(handles_.begin()->second);
        ::close(handles_.begin()->second);
        handles_.erase(handles_.begin());
      }
      advanced_.notify_all();
    }
    ended_ = true;
    advanced_.notify_all();
  }

  static void report(const Request& request, std::uint64_t seq, int status) {
    if (request.errors == nullptr) return;
    try {
      request.errors->add(seq, status);
    } catch (const std::bad_alloc&) {
      observe::write(Component::kNrt, Level::kError, "nrta_worker",
                     "an error is not in its tracker: host memory is used up");
    }
  }

  static void make_readable(int fd) {
    const std::uint64_t one = 1;
    while (::write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

  tl::unexpected<Error> no_such(std::uint64_t number) const {
    return make_error(ErrorCode::kInvalidArgument, "seq {:#x} is number {} of {}, expected 1 to {}", id_ | number,
                      number, name(), scheduled_.load(std::memory_order_relaxed));
  }

  tl::unexpected<Error> no_descriptor() const {
    return make_error(ErrorCode::kResource, "{}: no file descriptor for a completion handle: {}", name(),
                      std::strerror(errno));
  }

  const std::uint32_t vnc_;
  const std::size_t unit_;
  const int queue_;
  const std::uint64_t id_;  ///< of the queue, in its place within a sequence
  std::mutex mutex_;
  std::condition_variable arrived_;   ///< for the worker
  std::condition_variable advanced_;  ///< for those who wait for it
  std::deque<Request> requests_;
  std::atomic<std::uint64_t> scheduled_{0}, completed_{0};  ///< numbers; changed with the lock
  std::multimap<std::uint64_t, int> handles_;               ///< by number, what to make readable
  bool closed_ = false, run_all_ = true, unrecoverable_ = false, ended_ = false;
  std::thread thread_;
  std::thread::id worker_;  ///< of thread_, to be read while that is joined
};

ExecutionUnits::ExecutionUnits(std::uint32_t cores) : cores_(cores), queues_(cores * kUnits * kMaxQueues) {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const auto unit = static_cast<Unit>(i / kMaxQueues % kUnits);
    const int queue = static_cast<int>(i % kMaxQueues);
    if (queue >= queues_of(unit)) continue;
    queues_[i] = std::make_unique<Queue>(static_cast<std::uint32_t>(i / kMaxQueues / kUnits), unit, queue, i);
  }
}

ExecutionUnits::~ExecutionUnits() {
  close();
}

Result<ExecutionUnits::Queue*> ExecutionUnits::find(std::uint32_t vnc, Unit unit, int queue) const {
  const auto kind = static_cast<std::size_t>(unit);
  if (vnc >= cores_) {
    return make_error(ErrorCode::kInvalidArgument, "lnc is {}, expected a NeuronCore of this process, 0 to {}", vnc,
                      cores_ - 1);
  }
  if (kind >= kUnits)
    return make_error(ErrorCode::kInvalidArgument, "xu is {}, expected an execution unit, 0 to {}",
                      static_cast<int>(unit), kUnits - 1);
  if (queue < 0 || queue >= queues_of(unit)) {
    return make_error(ErrorCode::kInvalidArgument, "queue is {}, expected {} for {}", queue,
                      queues_of(unit) == 1 ? "0" : fmt::format("0 to {}", queues_of(unit) - 1), kUnitNames[kind]);
  }
  return queues_[(vnc * kUnits + kind) * kMaxQueues + static_cast<std::size_t>(queue)].get();
}

Result<ExecutionUnits::Queue*> ExecutionUnits::find(std::uint64_t seq) const {
  const std::size_t id = seq >> kNumberBits;
  if (id >= queues_.size() || queues_[id] == nullptr)
    return make_error(ErrorCode::kInvalidArgument, "seq {:#x} is of no execution unit of this process", seq);
  return queues_[id].get();
}

Result<std::uint64_t> ExecutionUnits::schedule(std::uint32_t vnc, Unit unit, int queue, Work work,
                                               std::shared_ptr<ErrorTracker> errors) {
  const Result<Queue*> found = find(vnc, unit, queue);
  if (!found) return tl::unexpected(found.error());
  if (errors != nullptr && errors->vnc() != vnc) {
    return make_error(ErrorCode::kInvalidArgument,
                      "err is a tracker for nc{}, expected one for nc{}, where the request runs", errors->vnc(), vnc);
  }
  return (*found)->schedule(std::move(work), std::move(errors));
}

Result<bool> ExecutionUnits::is_completed(std::uint64_t seq) const {
  const Result<Queue*> found = find(seq);
  if (!found) return tl::unexpected(found.error());
  return (*found)->is_completed(seq & NRTA_SEQ_NUM_MASK);
}

Result<std::uint64_t> ExecutionUnits::last_completed(std::uint32_t vnc, Unit unit, int queue) const {
  const Result<Queue*> found = find(vnc, unit, queue);
  if (!found) return tl::unexpected(found.error());
  return (*found)->last_completed();
}

Result<int> ExecutionUnits::completion_fd(std::uint64_t seq) {
  const Result<Queue*> found = find(seq);
  if (!found) return tl::unexpected(found.error());
  return (*found)->completion_fd(seq & NRTA_SEQ_NUM_MASK);
}

Status ExecutionUnits::drain(std::uint32_t vnc, Unit unit, int queue) {
  const Result<Queue*> found = find(vnc, unit, queue);
  if (!found) return tl::unexpected(found.error());
  return (*found)->drain();
}

bool ExecutionUnits::on_worker() {
  return worker_of != 0 && worker_of == getpid();
}

void ExecutionUnits::close() {
  for (const auto& queue : queues_)
    if (queue != nullptr) queue->shut(true);
  for (const auto& queue : queues_)
    if (queue != nullptr) queue->join();
}

bool ExecutionUnits::close_until(std::chrono::steady_clock::time_point deadline) {
  for (const auto& queue : queues_)
    if (queue != nullptr) queue->shut(false);
  for (const auto& queue : queues_)
    if (queue != nullptr && !queue->ended_by(deadline)) return false;
  for (const auto& queue : queues_)
    if (queue != nullptr) queue->join();
  return true;
}

}  // namespace opennrt
