// SPDX-License-Identifier: Apache-2.0
//
// Execution units: queues of work per NeuronCore, each with a thread of its own, and how far they have come.
#pragma once

#include <nrt/nrt_async.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/common/error.h"

namespace opennrt {

/// Values as nrta_xu_t has them.
enum class Unit { kTensorRead, kTensorWrite, kTensorOp, kCompute, kCollectives };
inline constexpr std::size_t kUnits = NRTA_XU_TYPE_NUM;

/// Queues of a unit. Two for tensors and one for compute are aws-neuron-sdk
/// neuron-runtime/api/nrt-async-api-overview.rst; nrt_async.h there says of collectives that the queue must be 0.
constexpr int queues_of(Unit unit) {
  return unit == Unit::kCompute || unit == Unit::kCollectives ? 1 : 2;
}

/// Requests of one queue that are not completed.
inline constexpr std::size_t kQueueDepth = 1024;

/// What failed among the requests that were scheduled with it. Thread-safe.
class ErrorTracker {
 public:
  explicit ErrorTracker(std::uint32_t vnc) : vnc_(vnc) {}
  std::uint32_t vnc() const { return vnc_; }  ///< the core it is for
  void add(std::uint64_t seq, int status);
  /// Takes what has come since the last call; valid until the next one.
  const std::vector<nrta_error_t>& take();

 private:
  const std::uint32_t vnc_;
  std::mutex mutex_;
  std::vector<nrta_error_t> errors_, taken_;
};

/// The execution units of a process's NeuronCores. Thread-safe. Threads are made when a queue is first used, block all signals,
/// and end in close(). A sequence is a queue's id << 48 | number from 1, as nrt_async.h has it.
class ExecutionUnits {
 public:
  /// Returns an NRT_STATUS. Runs on the queue's thread, not inside a Process::Call: nrt_close waits for it.
  using Work = std::function<int()>;

  explicit ExecutionUnits(std::uint32_t cores);
  ~ExecutionUnits();
  ExecutionUnits(const ExecutionUnits&) = delete;
  ExecutionUnits& operator=(const ExecutionUnits&) = delete;

  /// Queues `work` behind what the queue has. When it returns other than NRT_SUCCESS, that goes to `errors` (may be nullptr)
  /// before the request counts as completed; what `work` holds is released before that, too. A queue whose work returned
  /// NRT_EXEC_UNIT_UNRECOVERABLE takes nothing any more. Errors: kInvalidArgument (no such core or queue, tracker of another
  /// core), kQueueFull, kUnrecoverable, kClosed.
  Result<std::uint64_t> schedule(std::uint32_t vnc, Unit unit, int queue, Work work,
                                 std::shared_ptr<ErrorTracker> errors);

  /// kInvalidArgument: no such request.
  Result<bool> is_completed(std::uint64_t seq) const;
  /// The sequence that was completed last; number 0 before the first. kInvalidArgument: no such queue.
  Result<std::uint64_t> last_completed(std::uint32_t vnc, Unit unit, int queue) const;
  /// An eventfd that is readable once `seq` is completed; the caller closes it. kInvalidArgument: no such request. kResource.
  Result<int> completion_fd(std::uint64_t seq);
  /// Waits until everything that is in the queue now has been completed. kInvalidArgument: no such queue. kState: called by
  /// work of that queue, which would wait for itself.
  Status drain(std::uint32_t vnc, Unit unit, int queue);

  /// Whether the calling thread is one of an execution unit of this process.
  static bool on_worker();

  /// Takes no more work, runs what there is and ends the threads. Not to be called by work.
  void close();
  /// For a process that exits: takes no more work and does not run what has not begun (its status is NRT_CLOSED). Whether what
  /// had begun ended by then; if not, its threads are left alone and this object must not be destroyed.
  bool close_until(std::chrono::steady_clock::time_point deadline);

 private:
  class Queue;
  static constexpr std::uint32_t kMaxQueues = 2;  ///< of any unit
  Result<Queue*> find(std::uint32_t vnc, Unit unit, int queue) const;
  Result<Queue*> find(std::uint64_t seq) const;

  const std::uint32_t cores_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace opennrt
