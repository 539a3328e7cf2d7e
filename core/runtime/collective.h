// SPDX-License-Identifier: Apache-2.0
//
// A collective operation on tensors (nrta_cc_*): host memory is the way between the ranks, and the host computes.
#pragma once

#include <nrt/nrt.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/collectives/communicator.h"
#include "core/common/error.h"
#include "core/runtime/tensor.h"

namespace opennrt {

/// What has been prepared. Keeps its tensors alive.
class Collective {
 public:
  using Tensors = std::vector<std::shared_ptr<Tensor>>;

  /// `group` of ranks, in the order in which their data is taken; `type` is an nrt_cc_op_type_t. Input i and output i belong
  /// together: an all-gather's output is as large as all inputs, a reduce-scatter's is this rank's part of the input, an
  /// all-reduce's is as large as the input. kInvalidArgument names what does not fit.
  static Result<std::shared_ptr<Collective>> prepare(std::uint32_t vnc, std::uint32_t rank_in_group,
                                                     std::vector<std::uint32_t> group, Tensors inputs, Tensors outputs,
                                                     int dtype, int op, int type);

  std::uint32_t vnc() const { return vnc_; }
  /// Whether the caller is the one who may run it: it runs once. `unclaim` gives that back.
  bool claim() { return !claimed_.exchange(true); }
  void unclaim() { claimed_ = false; }
  /// Waits for the other ranks. On failure no output has been written, unless writing is what failed. Errors as
  /// collectives::Communicator::run.
  Status run(collectives::Communicator& communicator);

 private:
  Collective() = default;
  std::atomic<bool> claimed_{false};
  std::uint32_t vnc_ = 0, rank_in_group_ = 0;
  int type_ = 0;
  collectives::Operation operation_;
  Tensors inputs_, outputs_;
  std::vector<std::uint64_t> sizes_;  ///< of the inputs
};

}  // namespace opennrt
