// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace opennrt::umd {

/// A semaphore that serves its waiters in the order in which they came (std::mutex and std::counting_semaphore do not). What is
/// released goes to the first one, and only that one is woken.
class FifoSemaphore {
 public:
  explicit FifoSemaphore(std::uint64_t count) : free_(count) {}
  FifoSemaphore(const FifoSemaphore&) = delete;
  FifoSemaphore& operator=(const FifoSemaphore&) = delete;

  void acquire() {
    std::unique_lock lock(mutex_);
    if (free_ > 0) {
      --free_;
      return;
    }
    Waiter self;
    (last_ == nullptr ? first_ : last_->next) = &self;
    last_ = &self;
    self.served.wait(lock, [&] { return self.has; });
  }
  void release() {
    const std::lock_guard lock(mutex_);
    if (first_ == nullptr) {
      ++free_;
      return;
    }
    Waiter& waiter = *first_;
    first_ = waiter.next;
    if (first_ == nullptr) last_ = nullptr;
    waiter.has = true;
    waiter.served.notify_one();  // under the lock: the waiter is gone as soon as its thread wakes
  }

  /// Holds one unit for a scope.
  class Hold {
   public:
    explicit Hold(FifoSemaphore& semaphore) : semaphore_(semaphore) { semaphore_.acquire(); }
    ~Hold() { semaphore_.release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    FifoSemaphore& semaphore_;
  };

 private:
  struct Waiter {  ///< on the stack of its thread
    std::condition_variable served;
    bool has = false;
    Waiter* next = nullptr;
  };
  std::mutex mutex_;
  std::uint64_t free_;  ///< 0 while somebody waits
  Waiter *first_ = nullptr, *last_ = nullptr;
};

}  // namespace opennrt::umd
