// SPDX-License-Identifier: Apache-2.0
//
// Cuts what NeuronCores do into stages, one per core, so that the slowest stage is as fast as can be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/graph/graph.h"

namespace opennrt::compile::pipeline {

/// More values than this may not cross a cut: each is an output of one core and an input of another.
inline constexpr std::size_t kMaxCrossing = 4;
inline constexpr std::size_t kMaxStages = 64;  ///< tpb_per_node[64] of a NEFF's header

/// Nodes [begin, end) of the graph.
struct Stage {
  std::size_t begin = 0, end = 0;
  int phase = 0;
  std::uint64_t cycles = 0;  ///< estimate: its nodes, and moving what goes in and out
};

/// `cycles` of each node; empty when all are alike. `stages` 0: as few as possible, one per phase. kInvalidArgument says how many
/// stages there can be. Deterministic.
Result<std::vector<Stage>> cut(const graph::Graph& device, const std::vector<isa::DataType>& types,
                               const std::vector<std::uint64_t>& cycles, std::size_t stages);

/// The stages' graphs, with all values and their ids; nodes are moved out of `device`.
std::vector<graph::Graph> stage_graphs(graph::Graph& device, const std::vector<Stage>& stages);

}  // namespace opennrt::compile::pipeline
