// SPDX-License-Identifier: Apache-2.0
//
// Executions that return before they have run: what they keep alive, and the legacy mode, in which nrt_execute does that.
#pragma once

#include <nrt/nrt_experimental.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/common/error.h"
#include "core/runtime/execution_unit.h"
#include "core/runtime/model.h"
#include "core/runtime/tensor.h"

namespace opennrt {

/// Memory that an execution reads or writes.
struct StorageUse {
  std::shared_ptr<Storage> storage;
  bool written = false;
};

/// The tensors of one execution, as the sets had them: neither changing or destroying a set nor freeing a tensor touches it.
struct PinnedSets {
  TensorSet inputs, outputs;
  std::vector<std::shared_ptr<Tensor>> tensors;
  std::vector<StorageUse> storages;  ///< those of `tensors`, as they were

  /// `inputs` and `outputs` must have passed model.check().
  static std::shared_ptr<PinnedSets> take(const Model& model, const TensorSet& inputs, const TensorSet& outputs);
};

/// The legacy asynchronous mode (NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS): executions queue on the compute unit of their
/// core, a callback hears how they ended, and tensors of queued executions are in use until then. Thread-safe.
class AsyncMode {
 public:
  /// `limit`: executions per core that have been submitted and not ended; 0: the mode is off.
  AsyncMode(ExecutionUnits& units, std::uint32_t cores, std::uint32_t limit);

  bool enabled() const { return limit_ > 0; }
  /// nullptr: the default, which leaves it to the log and to drain().
  void set_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params);

  /// Queues `work`, which is given its core and returns an NRT_STATUS, on the core of `vncs` that has the fewest; waits while
  /// each has as many as it may, or while another core has queued work that must come first: it writes what this one uses, or
  /// uses what this one writes. The storages are in use until the work is done, and not any more when the callback is called.
  /// Errors: those of ExecutionUnits::schedule; kQueueFull from within a callback, which cannot wait.
  Status submit(std::span<const std::uint32_t> vncs, std::uint32_t model_id, std::vector<StorageUse> storages,
                std::function<int(std::uint32_t)> work);
  /// Waits until no queued execution uses the storage (nullptr: none does). kState: it is in use, and this is called from
  /// within a callback, which cannot wait.
  Status wait_unused(std::shared_ptr<Storage> storage);
  /// Waits for what is queued on the core, callbacks included. Then, when no callback is registered, the status of the first
  /// execution since the last call that failed, else NRT_SUCCESS. kState: from within a callback of the core.
  Result<int> drain(std::uint32_t vnc);

 private:
  struct Core {
    std::uint32_t inflight = 0;
    std::uint64_t jobs = 0;
    int failed = 0;
  };
  struct Use {
    std::uint32_t vnc = 0;
    bool written = false;
    bool operator==(const Use&) const = default;
  };
  void finish(std::uint32_t vnc, std::uint32_t model_id, std::uint64_t job, std::vector<StorageUse>& storages,
              int status);
  // With the lock:
  std::optional<std::uint32_t> choose(std::span<const std::uint32_t> vncs, std::span<const StorageUse> storages) const;
  bool waits_for_others(std::uint32_t vnc, std::span<const StorageUse> storages) const;
  void release(std::uint32_t vnc, std::span<const StorageUse> storages);

  ExecutionUnits& units_;
  const std::uint32_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Core> cores_;
  std::unordered_map<const Storage*, std::vector<Use>> in_use_;  ///< by whom; who uses it keeps it alive
  NRT_ASYNC_EXEC_STATUS_CALLBACK callback_ = nullptr;
  void* params_ = nullptr;
};

}  // namespace opennrt
