// SPDX-License-Identifier: Apache-2.0
//
// The state of typing a model, shared by typing.cc (the walk) and typing_ops.cc (one function per ONNX operator).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/graph/attributes.h"

namespace opennrt::compile::graph {

class Typer {
 public:
  explicit Typer(onnx_model::Model model) : model_(std::move(model)) {}
  Result<Graph> run();

  std::int64_t opset() const { return model_.opset; }
  Value& value(ValueId id) { return graph_.values[static_cast<std::size_t>(id)]; }
  Node& producer(ValueId id) { return graph_.nodes[static_cast<std::size_t>(value(id).producer)]; }
  bool is_constant(ValueId id) { return value(id).constant != nullptr; }

  /// Input `index` of `node`: a float tensor with at least one element. A missing one is an error.
  Result<ValueId> tensor(const onnx_model::Node& node, std::size_t index);
  /// The same, or kNoValue when it is left out.
  Result<ValueId> optional_tensor(const onnx_model::Node& node, std::size_t index);
  /// Input `index` as float constant.
  Result<const std::vector<float>*> constant(const onnx_model::Node& node, std::size_t index, const char* what);
  /// Input `index` as integer constant; nullptr when it is left out.
  Result<const std::vector<std::int64_t>*> ints(const onnx_model::Node& node, std::size_t index, const char* what);

  /// Adds a node whose result is `node`'s output, or a value in between (`add_inner`).
  Status add(const onnx_model::Node& node, Operator op, std::vector<ValueId> inputs, Shape shape);
  Result<ValueId> add_inner(const onnx_model::Node& node, Operator op, std::vector<ValueId> inputs, Shape shape);
  Status define_constant(const onnx_model::Node& node, Shape shape, std::vector<float> values);
  Status define_ints(const onnx_model::Node& node, Shape shape, std::vector<std::int64_t> values);
  /// The node's output is `id` under another name.
  Status define_alias(const onnx_model::Node& node, ValueId id);

  /// `id` with `shape` (same elements): a Reshape, folded when it is constant.
  Result<ValueId> reshaped(const onnx_model::Node& node, ValueId id, const Shape& shape);
  Result<ValueId> transposed(const onnx_model::Node& node, ValueId id, const std::vector<std::int64_t>& permutation);

 private:
  Result<ValueId> lookup(const onnx_model::Node& node, std::size_t index);
  Status define(const onnx_model::Node& node, ValueId id);
  Result<ValueId> new_value(const onnx_model::Node& node, std::string name, Shape shape);

  onnx_model::Model model_;
  Graph graph_;
  std::map<std::string, ValueId> names_;
};

using Handler = Status (*)(Typer&, const onnx_model::Node&);
/// The function for an ONNX operator, nullptr when it is not supported.
Handler find_handler(const std::string& op);

}  // namespace opennrt::compile::graph
