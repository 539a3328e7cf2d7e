// SPDX-License-Identifier: Apache-2.0
//
// A loaded model: its replicas, and how tensors are bound to them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/neff/neff.h"
#include "core/runtime/config.h"
#include "core/runtime/machine.h"
#include "core/runtime/pipeline.h"
#include "core/runtime/plan.h"
#include "core/runtime/tensor.h"
#include "core/umd/umd.h"

namespace opennrt {

/// Thread-safe.
class Model {
 public:
  /// As many replicas as there are placements for all subgraphs; the first ones are the first replica's, in the order of
  /// the subgraphs. `shared`: for replicas that share their constants, or nullptr. On failure nothing stays behind.
  static Result<std::shared_ptr<Model>> load(const neff::Neff& neff, const std::vector<Placement>& placements,
                                             const ModelConfiguration& configuration,
                                             umd::SharedConstants* shared = nullptr);

  const std::string& name() const { return plan_->model; }
  std::uint64_t id() const { return plan_->id; }            ///< unique in the process
  std::uint64_t neff_id() const { return plan_->neff_id; }  ///< the same for every time the file is loaded
  const std::vector<neff::TensorInfo>& tensors() const { return plan_->tensors; }  ///< inputs, then outputs
  std::uint32_t vnc() const { return vncs_.front(); }
  const std::vector<std::uint32_t>& vncs() const { return vncs_; }  ///< of each replica its first core
  std::uint32_t cores_per_replica() const { return cores_per_replica_; }
  const std::vector<std::uint32_t>& cores() const { return cores_; }  ///< all that it is on

  /// `repeat` inferences one after another (see nrt_execute_repeat); stops at the first that does not complete. Errors:
  /// kInvalidArgument, kBadInput, kInvalidHandle name the tensor; nothing has run then.
  /// `vnc`: on the replica that begins on this core; without it, the least busy one.
  Result<umd::ExecutionReport> execute(const TensorSet& inputs, const TensorSet& outputs, int repeat,
                                       std::optional<std::uint32_t> vnc = std::nullopt);
  /// The Error that execute() would give now.
  Status check(const TensorSet& inputs, const TensorSet& outputs, std::optional<std::uint32_t> vnc = std::nullopt);

  /// Waits for executions that are under way and frees everything. Later executions are kInvalidHandle.
  void unload();

 private:
  struct Bound {
    const neff::TensorInfo* info = nullptr;
    std::shared_ptr<Tensor> tensor;
    TensorView view;
    umd::Binding binding;
  };
  Model() = default;
  Result<umd::ExecutionReport> run(const TensorSet& inputs, const TensorSet& outputs, int repeat,
                                   std::optional<std::uint32_t> vnc);
  void count_refused(const Error& error, std::optional<std::uint32_t> vnc) const;
  Result<std::vector<Bound>> bind(const TensorSet& set, neff::TensorKind kind) const;
  Result<Pipeline*> choose(std::span<const Bound> inputs, std::span<const Bound> outputs,
                           std::optional<std::uint32_t> vnc);
  Status feed_back(const std::vector<Bound>& outputs, std::vector<std::vector<std::byte>>& fed,
                   std::vector<umd::Binding>& inputs) const;

  std::shared_ptr<const Plan> plan_;
  std::vector<std::uint32_t> vncs_, cores_;
  std::uint32_t cores_per_replica_ = 1;
  bool feeds_back_ = false;  ///< outputs match inputs one to one
  std::uint64_t timeout_ns_ = 0;
  std::uint32_t dump_inputs_on_ = 0;  ///< see ModelConfiguration
  std::shared_mutex gate_;            ///< executions share it, unload() has it alone
  std::vector<std::unique_ptr<Pipeline>> replicas_;
  std::atomic<std::uint32_t> next_{0};
};

}  // namespace opennrt
