// SPDX-License-Identifier: Apache-2.0
//
// neff.json: which kelfs there are, and how the steps of an inference hang together. Internal to this library.
#pragma once

#include <string>
#include <vector>

#include "core/neff/json.h"
#include "core/neff/subgraph.h"

namespace opennrt::neff {

/// A node whose work is that of a kelf.
struct KelfNode {
  std::size_t node = 0;  ///< index in the graph's nodes
  std::string file;
  std::size_t first = 0, count = 0;  ///< its graphs in Neff::subgraphs, known once the kelf has been read
};

struct GraphFile {
  Json json;
  std::vector<KelfNode> kelfs;  ///< in the order of the nodes
};

/// The file with its kelf nodes; nothing else of it is looked at.
Result<GraphFile> read_graph(const Files& files);

/// Fills steps, cpu_nodes, constants and tensors of `neff`, whose subgraphs have been read, and checks every reference.
/// `constant_bytes_left`: what constants may still take.
Status resolve_graph(const GraphFile& graph, const Files& files, std::uint64_t constant_bytes_left, Neff& neff);

}  // namespace opennrt::neff
