// SPDX-License-Identifier: Apache-2.0
//
// What an inference of a model consists of: values, and the steps that make them. The same for every replica.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/cpu/function.h"
#include "core/neff/neff.h"

namespace opennrt {

struct Plan {
  /// `input`, `output`: index among the model's inputs or outputs. Neither, and no constant: passed between steps only.
  struct Value {
    neff::TensorInfo info;
    std::optional<std::size_t> input, output, constant, made_by;
    std::vector<std::size_t> used_by;  ///< steps
  };
  struct DebugTensor {
    neff::DebugTensor info;
    std::string variable;
  };
  struct Step {
    neff::Step what;
    std::string name;                          ///< of the subgraph or CPU node
    std::vector<std::size_t> inputs, outputs;  ///< in values
    std::unique_ptr<cpu::Function> function;   ///< of a CPU node
    std::vector<DebugTensor> debug;            ///< of a subgraph
  };

  /// kUnsupported, kInvalidFile: a CPU node that cannot be served; the message names it.
  static Result<std::shared_ptr<const Plan>> make(const neff::Neff& neff);
  /// How many inferences can be at work at a time: CPU nodes that follow each other count as one.
  std::size_t stages() const;
  /// One subgraph and nothing else: its tensors are those of the model.
  bool direct() const { return steps.size() == 1 && steps.front().function == nullptr; }

  std::uint64_t id = 0;                   ///< of the loaded model, unique in the process
  std::uint64_t neff_id = 0;              ///< the same for every time the file is loaded
  std::string model;                      ///< name, for messages
  std::vector<neff::TensorInfo> tensors;  ///< of the model: inputs, then outputs
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<std::vector<std::byte>> constants;
};

}  // namespace opennrt
