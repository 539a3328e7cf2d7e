// SPDX-License-Identifier: Apache-2.0
//
// The runtime between nrt_init and nrt_close: the process's NeuronCores and what is loaded on them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/collectives/communicator.h"
#include "core/collectives/sendrecv.h"
#include "core/common/error.h"
#include "core/runtime/async.h"
#include "core/runtime/config.h"
#include "core/runtime/execution_unit.h"
#include "core/runtime/machine.h"
#include "core/runtime/model.h"
#include "core/runtime/tensor.h"

namespace opennrt {

/// Thread-safe. Models and storage on devices must be gone before it is destroyed.
class Runtime {
 public:
  /// Reserves the cores and logs the information block. Errors as nrt_init documents them.
  static Result<std::unique_ptr<Runtime>> open(Configuration configuration);

  const Machine& machine() const { return *machine_; }
  const std::vector<Core>& cores() const { return cores_; }  ///< index = vnc
  ExecutionUnits& units() const { return *units_; }
  AsyncMode& async() const { return *async_; }
  collectives::Communicator& communicator() const { return *communicator_; }
  collectives::SendRecv& sendrecv() const { return *sendrecv_; }
  /// kInvalidArgument with the range when there is no such core.
  Result<Core> core(std::int64_t vnc, const char* what) const;

  /// See nrt_load. `neff` is not needed afterwards.
  Result<std::shared_ptr<Model>> load(std::span<const std::byte> neff, std::int32_t vnc, std::int32_t vnc_count);
  /// Waits for the model's executions and frees it.
  void unload(Model& model);

  Result<opennrt_mem_stats_t> memory_stats(std::uint32_t vnc) const;

  /// For those who read counters of this process: the versions as observe::packed_version() has them.
  void announce(std::uint64_t runtime, std::uint64_t framework, std::uint64_t fal) const;
  /// Counts an execution that did not get as far as its model.
  void count_refused(std::uint32_t vnc, ErrorCode code) const;

 private:
  Runtime() = default;
  Result<std::vector<Placement>> place(std::int32_t vnc, std::uint32_t replicas, std::uint32_t cores_per_replica);
  Result<std::shared_ptr<Model>> load_neff(std::span<const std::byte> neff, std::int32_t vnc, std::int32_t vnc_count);
  void forget(std::span<const std::uint32_t> vncs);
  void log_information() const;

  std::unique_ptr<Machine> machine_;
  std::vector<Core> cores_;
  std::mutex mutex_;
  std::vector<std::uint32_t> loads_;  ///< models per core
  umd::SharedConstants shared_constants_;
  std::unique_ptr<ExecutionUnits> units_;
  std::unique_ptr<AsyncMode> async_;
  std::unique_ptr<collectives::Communicator> communicator_;
  std::unique_ptr<collectives::SendRecv> sendrecv_;
};

}  // namespace opennrt
