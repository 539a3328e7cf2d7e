// SPDX-License-Identifier: Apache-2.0
//
// Puts the compiled parts of a model together: steps, the constants of the CPU's nodes, names that hold it all together.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/neff/neff.h"
#include "models/graph/graph.h"

namespace opennrt::compile::pipeline {

class Program {
 public:
  /// `model`: the whole graph, of which the tensors of the model and all values are copied.
  explicit Program(const graph::Graph& model);

  /// Gives every value that passes between two steps a name of its own, that a NEFF can hold, and tells the stages.
  void name_values(std::vector<graph::Graph>& stages, const std::vector<graph::Node>& host);
  // Steps, in the order in which they run.
  void add_host(const graph::Node& node);
  void add_subgraph(neff::Subgraph subgraph);

  /// The graph's name; never empty.
  const std::string& default_name() const { return name_; }
  /// Without a header. The program is empty afterwards.
  neff::Neff take() { return std::move(neff_); }

 private:
  graph::Value& value(graph::ValueId id) { return values_[static_cast<std::size_t>(id)]; }
  void publish(graph::ValueId id);
  neff::TensorInfo info(graph::ValueId id) const;

  std::string name_;
  std::vector<graph::Value> values_;
  std::set<std::string> names_, node_names_;
  std::set<graph::ValueId> published_, constants_;
  neff::Neff neff_;
};

}  // namespace opennrt::compile::pipeline
