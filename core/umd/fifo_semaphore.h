// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace opennrt::umd {

/// A semaphore that serves its waiters in the order in which they came (std::mutex and std::counting_semaphore do not).
class FifoSemaphore {
 public:
  explicit FifoSemaphore(std::uint64_t count) : open_(count) {}

  void acquire() {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_++;
    changed_.wait(lock, [&] { return ticket < open_; });
  }
  void release() {
    {
      std::lock_guard lock(mutex_);
      ++open_;
    }
    changed_.notify_all();
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
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0;  ///< ticket of the next to come
  std::uint64_t open_;      ///< tickets below may pass
};

}  // namespace opennrt::umd
