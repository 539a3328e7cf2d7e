// SPDX-License-Identifier: Apache-2.0
//
// The state of typing a model, shared by typing.cc (the walk), typing_ops.cc and typing_host.cc (one function per ONNX operator).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/graph/attributes.h"

// The value of an expression of type Result, or its error returned; the same for a Status.
// NOLINTBEGIN(bugprone-macro-parentheses): names are declared
#define OPENNRT_TRY(name, expression)                               \
  auto name##_result = (expression);                                \
  if (!name##_result) return tl::unexpected(name##_result.error()); \
  auto name = std::move(*name##_result)
#define OPENNRT_CHECK(expression) \
  if (auto status_ = (expression); !status_) return tl::unexpected(status_.error())
// NOLINTEND(bugprone-macro-parentheses)

namespace opennrt::compile::graph {

class Typer {
 public:
  explicit Typer(onnx_model::Model model) : model_(std::move(model)) {}
  /// Once. `debug`: names of values to keep.
  Result<Graph> run(const std::vector<std::string>& debug);

  std::int64_t opset() const { return model_.opset; }
  Value& value(ValueId id) { return graph_.values[static_cast<std::size_t>(id)]; }
  Node& producer(ValueId id) { return graph_.nodes[static_cast<std::size_t>(value(id).producer)]; }
  bool is_constant(ValueId id) { return value(id).constant != nullptr; }

  /// Input `index` of `node`, whatever its elements are.
  Result<ValueId> any(const onnx_model::Node& node, std::size_t index);
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
  /// The same for the CPU: shape and elements of each output that the function has.
  Status add_host(const onnx_model::Node& node, Host op, std::vector<ValueId> inputs,
                  const std::vector<std::pair<Shape, Element>>& outputs);
  Status define_constant(const onnx_model::Node& node, Shape shape, std::vector<float> values);
  Status define_ints(const onnx_model::Node& node, Shape shape, std::vector<std::int64_t> values,
                     Element element = Element::kInt64);
  /// The node's output is `id` under another name.
  Status define_alias(const onnx_model::Node& node, ValueId id);

  /// `id` with `shape` (same elements): a Reshape, folded when it is constant.
  Result<ValueId> reshaped(const onnx_model::Node& node, ValueId id, const Shape& shape);
  Result<ValueId> transposed(const onnx_model::Node& node, ValueId id, const std::vector<std::int64_t>& permutation);

 private:
  Result<ValueId> lookup(const onnx_model::Node& node, std::size_t index);
  Result<Graph> type();
  Status define(const onnx_model::Node& node, ValueId id, std::size_t output = 0);
  Result<ValueId> new_value(const onnx_model::Node& node, std::string name, Shape shape);

  onnx_model::Model model_;
  Graph graph_;
  std::map<std::string, ValueId> names_;
};

using Handler = Status (*)(Typer&, const onnx_model::Node&);
// typing_host.cc: what the CPU does unless it is known when compiling
Status type_gather(Typer& t, const onnx_model::Node& node);
Status type_arg_max(Typer& t, const onnx_model::Node& node);
Status type_top_k(Typer& t, const onnx_model::Node& node);
Status type_cast(Typer& t, const onnx_model::Node& node);
/// The function for an ONNX operator, nullptr when it is not supported.
Handler find_handler(const std::string& op);

}  // namespace opennrt::compile::graph
