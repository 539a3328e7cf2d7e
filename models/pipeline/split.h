// SPDX-License-Identifier: Apache-2.0
//
// A network in two: what NeuronCores do, and what the CPU does before, between and after.
#pragma once

#include <vector>

#include "models/graph/graph.h"

namespace opennrt::compile::pipeline {

/// Nodes carry their phase: host nodes of phase -1 come first, then device nodes of phase 0, host nodes of phase 0, and so on.
/// There are as few phases as the network allows. Inside a phase nodes are in execution order.
struct Split {
  graph::Graph device;            ///< inputs and outputs: the model's and what host nodes compute and read
  std::vector<graph::Node> host;  ///< their values are device.values
};

/// kUnsupported when nothing is left for a NeuronCore.
Result<Split> split(graph::Graph graph);

}  // namespace opennrt::compile::pipeline
