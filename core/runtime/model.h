// SPDX-License-Identifier: Apache-2.0
//
// A loaded model: one program per replica, and how tensors are bound to it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/neff/neff.h"
#include "core/runtime/config.h"
#include "core/runtime/machine.h"
#include "core/runtime/tensor.h"
#include "core/umd/umd.h"

namespace opennrt {

/// Where a replica goes.
struct Placement {
  std::uint32_t vnc = 0;
  Core core;
};

/// Thread-safe.
class Model {
 public:
  /// One replica of `neff` per placement. On failure nothing stays behind.
  static Result<std::shared_ptr<Model>> load(const neff::Neff& neff, const std::vector<Placement>& placements,
                                             const ModelConfiguration& configuration);

  const std::string& name() const { return name_; }
  const std::vector<neff::TensorInfo>& tensors() const { return tensors_; }  ///< inputs, then outputs
  std::uint32_t vnc() const { return vncs_.front(); }
  const std::vector<std::uint32_t>& vncs() const { return vncs_; }

  /// `repeat` inferences one after another (see nrt_execute_repeat); stops at the first that does not complete. Errors:
  /// kInvalidArgument, kBadInput, kInvalidHandle name the tensor; nothing has run then.
  Result<umd::ExecutionReport> execute(const TensorSet& inputs, const TensorSet& outputs, int repeat);

  /// Waits for executions that are under way and frees everything. Later executions are kInvalidHandle.
  void unload();

 private:
  struct Replica {
    std::unique_ptr<umd::Program> program;
    std::atomic<std::uint32_t> busy{0};
  };
  struct Bound {
    const neff::TensorInfo* info = nullptr;
    std::shared_ptr<Tensor> tensor;
    TensorView view;
    umd::Binding binding;
  };
  Model() = default;
  Result<std::vector<Bound>> bind(const TensorSet& set, neff::TensorKind kind) const;
  Result<Replica*> choose(std::span<const Bound> inputs, std::span<const Bound> outputs);
  Status feed_back(const std::vector<Bound>& outputs, std::vector<std::vector<std::byte>>& fed,
                   std::vector<umd::Binding>& inputs) const;
  void report_failure(const Replica& replica, const umd::ExecutionReport& report) const;

  std::string name_;
  std::vector<neff::TensorInfo> tensors_;
  std::vector<std::uint32_t> vncs_;
  bool feeds_back_ = false;  ///< outputs match inputs one to one
  std::uint64_t timeout_ns_ = 0;
  std::shared_mutex gate_;  ///< executions share it, unload() has it alone
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::atomic<std::uint32_t> next_{0};
};

}  // namespace opennrt
