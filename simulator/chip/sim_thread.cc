// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/sim_thread.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace opennrt::sim {

Status SimThread::start() {
  stopping_ = false;
  // Signals are the application's: none is delivered to this thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status status;
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& error) {
    status = make_error(ErrorCode::kResource, "cannot start the simulation thread: {}", error.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

void SimThread::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_one();
  }
  thread_.join();
}

void SimThread::enqueue(std::unique_lock<std::mutex>&, Command command, bool waits) {
  queue_.push_back(command);
  if (running_) {
    system_->request_pause();
    running_ = false;  // one ring is enough for everything that is queued until the thread looks
  }
  if (!waits || urgent_) return;
  urgent_ = true;
  work_.notify_one();
}

void SimThread::call(const std::function<void()>& function) {
  Call call{&function, false, {}};
  std::unique_lock lock(mutex_);
  enqueue(lock, &call, true);
  call.answered.wait(lock, [&] { return call.done; });
}

void SimThread::post_write(std::uint32_t device, std::uint32_t bar, std::uint64_t offset, std::uint32_t value) {
  std::unique_lock lock(mutex_);
  enqueue(lock, Write{device, bar, offset, value}, false);
}

void SimThread::post_now(std::atomic<std::uint64_t>& to) {
  std::unique_lock lock(mutex_);
  enqueue(lock, Stamp{&to}, false);
}

Ran SimThread::run_until(const std::function<bool()>& condition, std::uint64_t deadline_ps) {
  Waiter waiter{&condition, deadline_ps, false, false, Ran::kDeadline, {}};
  std::unique_lock lock(mutex_);
  enqueue(lock, &waiter, true);
  waiter.answered.wait(lock, [&] { return waiter.done; });
  return waiter.result;
}

void SimThread::check(Waiter& waiter) {
  if (!waiter.met && (*waiter.condition)()) waiter.met = true;
}

void SimThread::host_written() {
  publish();
  bool any = false;
  for (Waiter* waiter : waiters_) {
    check(*waiter);
    any = any || waiter->met;
  }
  if (any && in_kernel_) system_->pause();
}

void SimThread::carry_out(std::vector<Command>& commands) {
  for (Command& command : commands) {
    if (const Write* write = std::get_if<Write>(&command)) {
      system_->device(write->device).host_write(write->bar, write->offset, write->value);
    } else if (const Stamp* stamp = std::get_if<Stamp>(&command)) {
      stamp->to->store(system_->context().now_ns());
    } else if (Call** call = std::get_if<Call*>(&command)) {
      (*(*call)->function)();
      const std::lock_guard lock(mutex_);
      (*call)->done = true;
      (*call)->answered.notify_one();
    } else {
      waiters_.push_back(std::get<Waiter*>(command));
      check(*waiters_.back());
    }
  }
}

void SimThread::release(Waiter& waiter, Ran result) {
  const std::lock_guard lock(mutex_);
  waiter.result = result;
  waiter.done = true;
  waiter.answered.notify_one();  // under the lock: the waiter is gone as soon as its thread wakes
}

void SimThread::release_finished() {
  const std::uint64_t now = system_->context().now_ps();
  std::erase_if(waiters_, [&](Waiter* waiter) {
    if (!waiter->met && waiter->deadline_ps > now) return false;
    release(*waiter, waiter->met ? Ran::kConditionMet : Ran::kDeadline);
    return true;
  });
}

void SimThread::keep_pace(std::uint64_t since_ps, std::chrono::steady_clock::time_point since) const {
  if (wall_per_simulated_ <= 0) return;
  const std::chrono::duration<double, std::pico> simulated(system_->context().now_ps() - since_ps);
  std::this_thread::sleep_until(
      since + std::chrono::ceil<std::chrono::steady_clock::duration>(simulated * wall_per_simulated_));
}

void SimThread::simulate() {
  const std::uint64_t begin_ps = system_->context().now_ps();
  const auto begin = std::chrono::steady_clock::now();
  const std::uint64_t next = (*std::min_element(waiters_.begin(), waiters_.end(), [](const Waiter* a, const Waiter* b) {
                               return a->deadline_ps < b->deadline_ps;
                             }))->deadline_ps;
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty()) return;  // what has been asked earlier comes first
    running_ = system_->due(next);
  }
  Status status;
  if (system_->due(next)) {
    in_kernel_ = true;
    status = system_->run(next);
    in_kernel_ = false;
    keep_pace(begin_ps, begin);
    publish();
    const std::lock_guard lock(mutex_);
    running_ = false;
  } else {
    // Nothing happens before the next deadline: time jumps. Without any event at all only the host could make one.
    const bool idle = !system_->due(kNoDeadlinePs);
    if (next < kNoDeadlinePs) status = system_->advance(next);
    keep_pace(begin_ps, begin);
    publish();
    std::erase_if(waiters_, [&](Waiter* waiter) {
      if (waiter->deadline_ps > next) return false;
      release(*waiter, idle ? Ran::kIdle : Ran::kDeadline);
      return true;
    });
  }
  if (status) return;
  // The kernel has failed, which is our bug: everybody is let go, so that nobody hangs on it.
  system_->context().log(LogLevel::kError, status.error().message);
  for (Waiter* waiter : std::exchange(waiters_, {})) release(*waiter, Ran::kIdle);
}

void SimThread::loop() {
  std::vector<Command> commands;
  for (;;) {
    commands.clear();
    {
      std::unique_lock lock(mutex_);
      if (waiters_.empty()) work_.wait(lock, [&] { return urgent_ || stopping_; });
      commands.assign(queue_.begin(), queue_.end());
      queue_.clear();
      urgent_ = false;
      if (stopping_ && commands.empty() && waiters_.empty()) return;
    }
    carry_out(commands);
    release_finished();
    if (!waiters_.empty()) simulate();
  }
}

}  // namespace opennrt::sim
