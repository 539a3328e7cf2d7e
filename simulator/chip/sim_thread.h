// SPDX-License-Identifier: Apache-2.0
//
// The one thread on which the SystemC kernel runs, and the queue through which everybody else enters it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "simulator/chip/system.h"
#include "simulator/machine.h"

namespace opennrt::sim {

/// A deadline that is never reached.
inline constexpr std::uint64_t kNoDeadlinePs = 4'600'000'000'000'000'000;

/// Commands are carried out in the order in which they arrive. While a simulation runs, a new command interrupts it
/// between two delta cycles. Thread-safe but for start() and stop().
class SimThread {
 public:
  SimThread() = default;
  ~SimThread() { stop(); }
  SimThread(const SimThread&) = delete;
  SimThread& operator=(const SimThread&) = delete;

  Status start();  ///< kResource when the system has no thread left
  /// Carries out what is queued and ends the thread. Nobody may be in call() or run_until().
  void stop();

  /// Which system the other functions drive; on the simulation thread (in a call()), before any of them but call().
  void attach(System* system) {
    system_ = system;
    publish();
  }

  /// On the simulation thread: a simulated second takes at least `wall_seconds`; 0: as little as it can.
  void pace(double wall_seconds) { wall_per_simulated_ = wall_seconds; }

  /// Runs `function` on the simulation thread and waits for it.
  void call(const std::function<void()>& function);
  /// A posted register write, as on the bus: returns at once; whatever is called later sees it done.
  void post_write(std::uint32_t device, std::uint32_t bar, std::uint64_t offset, std::uint32_t value);
  /// Posted, too: see Machine::post_now.
  void post_now(std::atomic<std::uint64_t>& to);
  /// See Machine::now_ns. From any thread, without waiting for this one.
  std::uint64_t now_ps() const { return now_ps_.load(std::memory_order_acquire); }
  /// See Machine::run_until.
  Ran run_until(const std::function<bool()>& condition, std::uint64_t deadline_ps);

  /// Called on the simulation thread after a chip has written to host memory.
  void host_written();

 private:
  struct Write {
    std::uint32_t device, bar;
    std::uint64_t offset;
    std::uint32_t value;
  };
  struct Stamp {
    std::atomic<std::uint64_t>* to;
  };
  struct Call {
    const std::function<void()>* function;
    bool done = false;
    std::condition_variable answered;
  };
  struct Waiter {
    const std::function<bool()>* condition;
    std::uint64_t deadline_ps;
    bool met = false;
    bool done = false;
    Ran result = Ran::kDeadline;
    std::condition_variable answered;
  };
  using Command = std::variant<Write, Stamp, Call*, Waiter*>;

  void loop();
  void enqueue(std::unique_lock<std::mutex>& lock, Command command, bool waits);
  void carry_out(std::vector<Command>& commands);
  void simulate();
  /// Sleeps until what has been simulated since then has taken as long as pace() asks for.
  void keep_pace(std::uint64_t since_ps, std::chrono::steady_clock::time_point since) const;
  void check(Waiter& waiter);
  void publish() { now_ps_.store(system_->context().now_ps(), std::memory_order_release); }
  /// Lets those go whose condition is met or whose deadline is reached.
  void release_finished();
  void release(Waiter& waiter, Ran result);

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Command> queue_;     // mutex_
  bool urgent_ = false;           // mutex_: somebody waits for what is queued
  bool running_ = false;          // mutex_: the kernel runs, and the doorbell must be rung
  bool stopping_ = false;         // mutex_
  std::vector<Waiter*> waiters_;  // simulation thread
  std::atomic<std::uint64_t> now_ps_{0};
  System* system_ = nullptr;       // set once on the simulation thread, before running_ can be true
  bool in_kernel_ = false;         // simulation thread
  double wall_per_simulated_ = 0;  // simulation thread
  std::thread thread_;
};

}  // namespace opennrt::sim
