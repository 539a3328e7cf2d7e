// SPDX-License-Identifier: Apache-2.0
//
// What the programs of one core share: its notification queues, the order in which inferences run, and the way back after a
// failure. Internal to this library.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/umd/fifo_semaphore.h"
#include "core/umd/umd.h"

namespace opennrt::umd {

/// How the wait for the end of an inference ended.
struct Ending {
  Outcome outcome = Outcome::kCompleted;
  std::string message;
  std::uint64_t last_end_ns = 0;  ///< device clock of the last end notification
  bool needs_recovery = false;    ///< engines or queues may still be busy, or have stopped
};

/// Not thread-safe but for `order`: all else is called by who holds it.
class CoreContext {
 public:
  static Result<std::unique_ptr<CoreContext>> create(Device& device, std::uint32_t core);
  ~CoreContext();
  CoreContext(const CoreContext&) = delete;
  CoreContext& operator=(const CoreContext&) = delete;

  /// Held during an inference; first come, first served.
  FifoSemaphore order{1};

  /// Waits until every engine has sent a notification of `end_value`, an engine or queue has stopped, or clock() has reached
  /// `deadline_ns`. `queue_name`: what a program calls the DMA queue of an engine (0..11) and number, for messages.
  Result<Ending> wait_for_end(std::uint32_t end_value, std::uint64_t timeout_ns, std::uint64_t deadline_ns,
                              const std::function<std::string(std::uint32_t, std::uint32_t)>& queue_name);
  /// Brings the core back to rest after a failure: queues stopped, core reset, notification queues made anew, semaphores and
  /// events 0. When that fails the core is unusable: unrecoverable() says why.
  Status recover();
  const std::string& unrecoverable() const { return unrecoverable_; }
  /// Reads all semaphores; those that are not 0 are cleared and returned as text ("semaphore 3 is 2").
  Result<std::string> clear_semaphores();
  /// Takes what is in the queues and throws it away: between inferences nothing is expected there.
  void drop_notifications();

  /// Trace notifications of the three engines from now on. A failure changes nothing else.
  Status start_trace(std::uint32_t bytes_per_engine = kTraceQueueBytes);
  using Traced = std::array<std::vector<inf1::chosen::Notification>, isa::kEngines>;
  /// Ends it and hands out what came; empty when it was not on. What did not fit the queues is missing.
  Traced stop_trace();
  /// Remembers which model runs now; returns the one before, 0 for none.
  std::uint64_t ran(std::uint64_t model) { return std::exchange(last_model_, model); }

 private:
  // 65536 entries; they are taken out while the inference runs.
  static constexpr std::uint32_t kTraceQueueBytes = 1024 * 1024;
  static constexpr std::size_t kFirstTraceQueue = isa::kEngines + 1;

  struct Queue {
    opennrt_nq_type_t type = OPENNRT_NQ_NOTIFY;
    std::uint32_t engine = 0;
    opennrt_nq_t nq{};
    std::uint64_t consumed = 0;
    bool made = false;
  };
  struct Progress;

  CoreContext(Device& device, std::uint32_t core) : device_(device), core_(core) {}
  Status make_queues();
  void destroy_queues();
  Status wait_for_notification(std::uint64_t deadline_ns, bool& timed_out);
  /// Calls `take` for each new entry; returns how many there were.
  std::uint64_t drain(const std::function<void(const inf1::chosen::Notification&)>& take);
  Status bring_back();

  Device& device_;
  std::uint32_t core_;
  std::array<Queue, kFirstTraceQueue + isa::kEngines> queues_{};  ///< notify, error, and while it is on trace
  Traced traced_;
  std::uint64_t last_model_ = 0;
  std::uint64_t seen_ = 0;  ///< entries of all queues since they were made
  std::string unrecoverable_;
};

}  // namespace opennrt::umd
