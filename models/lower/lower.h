// SPDX-License-Identifier: Apache-2.0
//
// From the typed graph to a subgraph of a NEFF: where values live, instructions, transfers, synchronisation.
#pragma once

#include "core/neff/neff.h"
#include "models/compiler.h"
#include "models/graph/graph.h"

namespace opennrt::compile::lower {

/// `types`: device data type per value (graph::assign_types); `name`: of the subgraph. What was made is added to `report`.
/// kUnsupported names the node that does not fit the device.
Result<neff::Subgraph> lower_graph(const graph::Graph& graph, const std::vector<isa::DataType>& types,
                                   const std::string& name, const Options& options, Report& report);

/// How many of the core's cycles each node takes, roughly: those of the engine or the DMA queue that works longest for it. Moving
/// the graph's inputs and outputs is not in it. Errors as lower_graph.
Result<std::vector<std::uint64_t>> estimate_cycles(const graph::Graph& graph, const std::vector<isa::DataType>& types,
                                                   const Options& options);

}  // namespace opennrt::compile::lower
