// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "models/graph/typer.h"

namespace opennrt::compile::graph {

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const auto d : shape) count *= d;
  return count;
}

std::string shape_text(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string text;
  for (const auto d : shape) text += (text.empty() ? "" : "x") + std::to_string(d);
  return text;
}

const char* element_name(Element element) {
  return element == Element::kFloat32 ? "float32" : element == Element::kInt32 ? "int32" : "int64";
}

Dims dims_of(const Shape& s) {
  switch (s.size()) {
    case 0:
      return {};
    case 1:
      return {1, s[0], 1, 1};
    case 2:
      return {s[0], s[1], 1, 1};
    case 3:
      return {s[0], s[1], 1, s[2]};
    default: {
      Dims d{s[0], s[1], s[2], 1};
      for (std::size_t i = 3; i < s.size(); ++i) d.w *= s[i];
      return d;
    }
  }
}

std::optional<Axis> axis_of(std::size_t rank, std::size_t dimension) {
  if (rank == 1) return Axis::kC;
  if (dimension == 0) return Axis::kN;
  if (dimension == 1) return Axis::kC;
  if (rank == 3) return Axis::kW;
  if (dimension == 2) return Axis::kH;
  if (rank == 4) return Axis::kW;
  return std::nullopt;
}

ValueId Graph::add_value(std::string value_name, Shape shape) {
  Value v;
  v.name = std::move(value_name);
  v.shape = std::move(shape);
  values.push_back(std::move(v));
  return static_cast<ValueId>(values.size()) - 1;
}

std::vector<int> Graph::use_counts() const {
  std::vector<int> counts(values.size());
  for (const Node& n : nodes) {
    if (n.dead) continue;
    for (const ValueId i : n.inputs) ++counts[static_cast<std::size_t>(i)];
  }
  for (const ValueId o : outputs) ++counts[static_cast<std::size_t>(o)];
  for (std::size_t i = 0; i < values.size(); ++i) counts[i] += values[i].is_debug;
  return counts;
}
int Graph::uses(ValueId value) const {
  return use_counts()[static_cast<std::size_t>(value)];
}

Result<ValueId> Typer::lookup(const onnx_model::Node& node, std::size_t index) {
  const std::string& name = node.inputs[index];
  if (const auto it = names_.find(name); it != names_.end()) return it->second;
  const auto c = model_.constants.find(name);
  if (c == model_.constants.end())
    return invalid(node, "input {} is '{}', which no earlier node, graph input or initializer defines", index, name);
  const ValueId id = graph_.add_value(name, c->second.shape);
  value(id).element = c->second.element;
  if (c->second.is_float()) {
    value(id).constant = std::make_shared<std::vector<float>>(std::move(c->second.floats));
  } else {
    value(id).ints = std::make_shared<std::vector<std::int64_t>>(std::move(c->second.ints));
  }
  names_[name] = id;
  return id;
}

Result<ValueId> Typer::any(const onnx_model::Node& node, std::size_t index) {
  if (index >= node.inputs.size() || node.inputs[index].empty()) return invalid(node, "input {} is missing", index);
  return lookup(node, index);
}

Result<ValueId> Typer::optional_tensor(const onnx_model::Node& node, std::size_t index) {
  if (index >= node.inputs.size() || node.inputs[index].empty()) return kNoValue;
  auto id = lookup(node, index);
  if (!id) return id;
  if (value(*id).element != Element::kFloat32)
    return unsupported(node, "input {} ('{}') holds integers, expected floating point", index, node.inputs[index]);
  if (element_count(value(*id).shape) < 1)
    return unsupported(node, "input {} ('{}') is empty ({})", index, node.inputs[index], shape_text(value(*id).shape));
  return id;
}
Result<ValueId> Typer::tensor(const onnx_model::Node& node, std::size_t index) {
  auto id = optional_tensor(node, index);
  if (id && *id == kNoValue) return invalid(node, "input {} is missing", index);
  return id;
}

Result<const std::vector<float>*> Typer::constant(const onnx_model::Node& node, std::size_t index, const char* what) {
  auto id = tensor(node, index);
  if (!id) return tl::unexpected(id.error());
  if (!is_constant(*id))
    return unsupported(node, "{} ('{}') is computed, expected a constant", what, node.inputs[index]);
  return value(*id).constant.get();
}

Result<const std::vector<std::int64_t>*> Typer::ints(const onnx_model::Node& node, std::size_t index,
                                                     const char* what) {
  if (index >= node.inputs.size() || node.inputs[index].empty()) return nullptr;
  auto id = lookup(node, index);
  if (!id) return tl::unexpected(id.error());
  if (!value(*id).ints) return unsupported(node, "{} ('{}') is not an integer constant", what, node.inputs[index]);
  return value(*id).ints.get();
}

Result<ValueId> Typer::new_value(const onnx_model::Node& node, std::string name, Shape shape) {
  std::int64_t count = 1;
  for (const auto d : shape) {
    if (d < 1) return unsupported(node, "the result has the shape {}, expected sizes of at least 1", shape_text(shape));
    if (count > onnx_model::kMaxElements / d)
      return unsupported(node, "the result has more than {} elements", onnx_model::kMaxElements);
    count *= d;
  }
  return graph_.add_value(std::move(name), std::move(shape));
}

Status Typer::define(const onnx_model::Node& node, ValueId id, std::size_t output) {
  const std::string& name = node.outputs[output];
  if (model_.constants.count(name) || !names_.emplace(name, id).second)
    return invalid(node, "output '{}' is defined a second time", name);
  return {};
}
Status Typer::define_alias(const onnx_model::Node& node, ValueId id) {
  // The last inner value of a node is its output.
  if (value(id).name.rfind(node.outputs[0] + "/", 0) == 0) value(id).name = node.outputs[0];
  return define(node, id);
}

Result<ValueId> Typer::add_inner(const onnx_model::Node& node, Operator op, std::vector<ValueId> inputs, Shape shape) {
  auto id = new_value(node, node.outputs[0] + "/" + std::to_string(graph_.values.size()), std::move(shape));
  if (!id) return id;
  value(*id).producer = static_cast<int>(graph_.nodes.size());
  graph_.nodes.push_back(Node{std::move(op), node.name, node.op, std::move(inputs), *id});
  return id;
}

Status Typer::add(const onnx_model::Node& node, Operator op, std::vector<ValueId> inputs, Shape shape) {
  auto id = add_inner(node, std::move(op), std::move(inputs), std::move(shape));
  if (!id) return tl::unexpected(id.error());
  value(*id).name = node.outputs[0];
  return define(node, *id);
}

Status Typer::add_host(const onnx_model::Node& node, Host op, std::vector<ValueId> inputs,
                       const std::vector<std::pair<Shape, Element>>& outputs) {
  Node host{std::move(op), node.name, node.op, std::move(inputs)};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const bool named = i < node.outputs.size() && !node.outputs[i].empty();
    auto id = new_value(node, named ? node.outputs[i] : fmt::format("{}/{}", node.outputs[0], graph_.values.size()),
                        outputs[i].first);
    if (!id) return tl::unexpected(id.error());
    value(*id).element = outputs[i].second;
    value(*id).producer = static_cast<int>(graph_.nodes.size());
    if (named) {
      if (auto s = define(node, *id, i); !s) return s;
    }
    if (i == 0)
      host.output = *id;
    else
      host.more_outputs.push_back(*id);
  }
  graph_.nodes.push_back(std::move(host));
  return {};
}

Status Typer::define_constant(const onnx_model::Node& node, Shape shape, std::vector<float> values) {
  const ValueId id = graph_.add_value(node.outputs[0], std::move(shape));
  value(id).constant = std::make_shared<std::vector<float>>(std::move(values));
  return define(node, id);
}
Status Typer::define_ints(const onnx_model::Node& node, Shape shape, std::vector<std::int64_t> values,
                          Element element) {
  const ValueId id = graph_.add_value(node.outputs[0], std::move(shape));
  value(id).element = element;
  value(id).ints = std::make_shared<std::vector<std::int64_t>>(std::move(values));
  return define(node, id);
}

Result<ValueId> Typer::reshaped(const onnx_model::Node& node, ValueId id, const Shape& shape) {
  if (value(id).shape == shape) return id;
  if (is_constant(id)) {
    const ValueId out = graph_.add_value(value(id).name, shape);
    value(out).constant = value(id).constant;
    return out;
  }
  return add_inner(node, Reshape{}, {id}, shape);
}

Result<ValueId> Typer::transposed(const onnx_model::Node& node, ValueId id,
                                  const std::vector<std::int64_t>& permutation) {
  const Shape in = value(id).shape;
  Shape out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[static_cast<std::size_t>(permutation[i])];
  if (!is_constant(id)) return add_inner(node, Transpose{permutation}, {id}, out);
  std::vector<std::int64_t> strides(in.size(), 1), index(in.size());
  for (std::size_t i = in.size(); i-- > 1;) strides[i - 1] = strides[i] * in[i];
  const auto& source = *value(id).constant;
  auto data = std::make_shared<std::vector<float>>(source.size());
  for (float& v : *data) {
    std::int64_t at = 0;
    for (std::size_t i = 0; i < in.size(); ++i) at += index[i] * strides[static_cast<std::size_t>(permutation[i])];
    v = source[static_cast<std::size_t>(at)];
    for (std::size_t i = in.size(); i-- > 0;) {
      if (++index[i] < out[i]) break;
      index[i] = 0;
    }
  }
  const ValueId result = graph_.add_value(value(id).name, out);
  value(result).constant = std::move(data);
  return result;
}

Result<Graph> Typer::type() {
  graph_.name = model_.name;
  for (const auto& input : model_.inputs) {
    const ValueId id = graph_.add_value(input.name, input.shape);
    value(id).is_input = true;
    value(id).element = input.element.value_or(Element::kFloat32);
    graph_.inputs.push_back(id);
    names_[input.name] = id;
  }
  for (const onnx_model::Node& node : model_.nodes) {
    const Handler handler = find_handler(node.op);
    if (!handler) return unsupported(node, "the operator {} is not supported", node.op);
    if (auto s = handler(*this, node); !s) return tl::unexpected(s.error());
  }
  for (const auto& output : model_.outputs) {
    const auto it = names_.find(output.name);
    if (it == names_.end())
      return make_error(ErrorCode::kInvalidFile, "graph output '{}' is not defined by any node", output.name);
    if (value(it->second).ints)
      return make_error(ErrorCode::kUnsupported, "graph output '{}' is an integer constant, expected a computed value",
                        output.name);
    Value& v = value(it->second);
    if (output.element && *output.element != v.element)
      return make_error(ErrorCode::kInvalidFile, "graph output '{}' is declared as {}, but it is {}", output.name,
                        element_name(*output.element), element_name(v.element));
    if (!output.shape.empty() && output.shape != v.shape)
      return make_error(ErrorCode::kInvalidFile, "graph output '{}' is declared as {}, but it is {}", output.name,
                        shape_text(output.shape), shape_text(v.shape));
    ValueId id = it->second;
    v.name = v.is_output || v.is_input || v.constant ? v.name : output.name;
    if (v.is_output || v.is_input || v.constant) {
      // Nothing computes this output for itself (Identity of an input, a constant, two names for one value): a copy does.
      onnx_model::Node copy{"Identity", output.name, {v.name}, {output.name + "/output"}, {}};
      const Element element = v.element;
      auto copied = element == Element::kFloat32 ? add_inner(copy, Copy{}, {id}, v.shape)
                                                 : add_inner(copy, Host{"opennrt.cast", {}}, {id}, v.shape);
      if (!copied) return tl::unexpected(copied.error());
      id = *copied;
      value(id).element = element;
      value(id).name = output.name;
    }
    for (const ValueId input : graph_.inputs) {
      if (value(input).name == output.name)
        return make_error(ErrorCode::kUnsupported,
                          "'{}' is both an input and an output of the graph, expected different names", output.name);
    }
    value(id).is_output = true;
    graph_.outputs.push_back(id);
  }
  return std::move(graph_);
}

Result<Graph> Typer::run(const std::vector<std::string>& debug) {
  auto graph = type();
  for (const std::string& name : debug) {
    if (!graph) break;
    const auto it = names_.find(name);
    Value* v = it == names_.end() ? nullptr : &graph->values[static_cast<std::size_t>(it->second)];
    const char* problem = !v                                        ? "not in the graph"
                          : v->is_input                             ? "an input"
                          : v->is_constant()                        ? "a constant"
                          : name.size() > onnx_model::kMaxNameBytes ? "a name of more than 255 bytes"
                          : graph->nodes[static_cast<std::size_t>(v->producer)].as<Host>() ? "computed on the CPU"
                                                                                           : nullptr;
    if (problem)
      return make_error(ErrorCode::kInvalidArgument,
                        "debug value '{}' is {}, expected a value that a NeuronCore computes", name, problem);
    const std::pair entry{name, it->second};
    if (std::find(graph->debug.begin(), graph->debug.end(), entry) != graph->debug.end()) continue;
    v->is_debug = true;
    graph->debug.push_back(entry);
  }
  return graph;
}

Result<Graph> type_model(onnx_model::Model model, const std::vector<std::string>& debug) {
  return Typer(std::move(model)).run(debug);
}

}  // namespace opennrt::compile::graph
