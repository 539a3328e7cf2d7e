// SPDX-License-Identifier: Apache-2.0
//
// CPU nodes: operators of a model's graph that run on the host between subgraphs (core/neff/README.md, "CPU functions").
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "core/common/error.h"
#include "core/neff/neff.h"

namespace opennrt::cpu {

/// An operator with its attributes, for inputs and outputs of known types. Immutable, and so thread-safe.
class Function {
 public:
  virtual ~Function() = default;
  /// Buffers are in the order of the node, of exactly the sizes that `make` was told, aligned to 8 bytes, and do not
  /// overlap. kBadInput names the node when the data asks for what is not there (an index out of range); then outputs
  /// are not specified.
  virtual Status run(std::span<const std::span<const std::byte>> inputs,
                     std::span<const std::span<std::byte>> outputs) const = 0;
};

/// `inputs`: what the node's inputs are, in its order. kUnsupported: a function, an attribute or a type that is not
/// served. kInvalidFile: counts, attributes and shapes that do not fit together. Messages name the node.
Result<std::unique_ptr<Function>> make(const neff::CpuNode& node, std::span<const neff::TensorInfo> inputs);

}  // namespace opennrt::cpu
