// SPDX-License-Identifier: Apache-2.0
//
// From the typed graph to a subgraph of a NEFF: where values live, instructions, transfers, synchronisation.
#pragma once

#include "core/neff/neff.h"
#include "models/compiler.h"
#include "models/graph/graph.h"

namespace opennrt::compile::lower {

/// `types`: device data type per value (graph::assign_types). kUnsupported names the node that does not fit the device.
Result<neff::Subgraph> lower_graph(const graph::Graph& graph, const std::vector<isa::DataType>& types,
                                   const Options& options, Report* report);

}  // namespace opennrt::compile::lower
