// SPDX-License-Identifier: Apache-2.0
#include "models/pipeline/split.h"

#include <algorithm>

namespace opennrt::compile::pipeline {
namespace {

using graph::Graph;
using graph::Host;
using graph::Node;
using graph::ValueId;

/// As early as what a node reads allows. A model's inputs and constants are there from the start.
void assign_phases(Graph& g) {
  const auto outputs = [](const Node& n, auto&& visit) {
    visit(n.output);
    for (const ValueId v : n.more_outputs) visit(v);
  };
  struct Made {
    int phase = -1;
    bool by_host = true;
  };
  std::vector<Made> made(g.values.size());
  for (Node& n : g.nodes) {
    if (n.dead) continue;
    const bool host = n.as<Host>() != nullptr;
    n.phase = host ? -1 : 0;
    for (const ValueId v : n.inputs) {
      const Made& from = made[static_cast<std::size_t>(v)];
      n.phase = std::max(n.phase, from.phase + (from.by_host && !host ? 1 : 0));
    }
    outputs(n, [&](ValueId v) { made[static_cast<std::size_t>(v)] = {n.phase, host}; });
  }
}

}  // namespace

Result<Split> split(Graph g) {
  assign_phases(g);
  Split out;
  std::vector<bool> read_by_device(g.values.size()), read_by_host(g.values.size()), made_by_device(g.values.size());
  std::vector<Node> nodes;
  for (Node& n : g.nodes) {
    if (n.dead) continue;
    const bool host = n.as<Host>() != nullptr;
    for (const ValueId v : n.inputs) (host ? read_by_host : read_by_device)[static_cast<std::size_t>(v)] = true;
    if (!host) made_by_device[static_cast<std::size_t>(n.output)] = true;
    (host ? out.host : nodes).push_back(std::move(n));
  }
  if (nodes.empty())
    return make_error(ErrorCode::kUnsupported, "nothing is left for a NeuronCore: all {} nodes run on the CPU",
                      out.host.size());
  const auto by_phase = [](const Node& a, const Node& b) { return a.phase < b.phase; };
  std::stable_sort(nodes.begin(), nodes.end(), by_phase);
  std::stable_sort(out.host.begin(), out.host.end(), by_phase);

  // The model's own inputs and outputs come first, in its order; an input that nobody reads is the device's.
  std::vector<ValueId> inputs, outputs;
  for (const ValueId v : g.inputs) {
    const auto i = static_cast<std::size_t>(v);
    if (read_by_device[i] || (!read_by_host[i] && g.values[i].element == graph::Element::kFloat32)) inputs.push_back(v);
  }
  for (const ValueId v : g.outputs) {
    if (made_by_device[static_cast<std::size_t>(v)]) outputs.push_back(v);
  }
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    graph::Value& v = g.values[i];
    const auto id = static_cast<ValueId>(i);
    if (read_by_device[i] && !made_by_device[i] && !v.is_input && !v.is_constant()) inputs.push_back(id);
    if (read_by_host[i] && made_by_device[i] && !v.is_output) {
      outputs.push_back(id);
      v.is_output = true;
    }
  }
  out.device = std::move(g);
  out.device.nodes = std::move(nodes);
  out.device.inputs = std::move(inputs);
  out.device.outputs = std::move(outputs);
  return out;
}

}  // namespace opennrt::compile::pipeline
