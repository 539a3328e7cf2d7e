// SPDX-License-Identifier: Apache-2.0
//
// One function per ONNX operator: checks what the operator's specification asks for, and says what we do not support.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "models/graph/typer.h"

namespace opennrt::compile::graph {
namespace {

using OnnxNode = onnx_model::Node;
using Ints = std::vector<std::int64_t>;

Status conv(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"kernel_shape", "strides", "dilations", "pads", "auto_pad", "group"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  OPENNRT_TRY(weights, t.constant(n, 1, "the weights"));
  const Shape xs = t.value(x).shape;
  OPENNRT_TRY(w, t.tensor(n, 1));
  const Shape ws = t.value(w).shape;
  if (xs.size() != 4)
    return unsupported(n, "the input is {}, expected 4 dimensions (two-dimensional convolution)", shape_text(xs));
  if (ws.size() != 4) return invalid(n, "the weights are {}, expected 4 dimensions", shape_text(ws));
  OPENNRT_TRY(group, int_attribute(n, "group", 1));
  if (group < 1 || xs[1] % group != 0 || ws[0] % group != 0 || ws[1] != xs[1] / group)
    return invalid(n, "group {} does not go with an input of {} and weights of {}", group, shape_text(xs),
                   shape_text(ws));
  OPENNRT_TRY(kernel, ints_attribute(n, "kernel_shape", {ws[2], ws[3]}));
  if (kernel != Ints{ws[2], ws[3]})
    return invalid(n, "kernel_shape differs from the weights, which are {}", shape_text(ws));
  OPENNRT_TRY(window, read_window(n, dims_of(xs), kernel, false));
  Conv c;
  c.outputs = ws[0];
  c.groups = group;
  c.kernel = window.kernel, c.stride = window.stride, c.dilation = window.dilation, c.pad = window.pad;
  c.weights = *weights;
  c.bias.assign(static_cast<std::size_t>(ws[0]), 0.0f);
  OPENNRT_TRY(b, t.optional_tensor(n, 2));
  if (b != kNoValue) {
    OPENNRT_TRY(bias, t.constant(n, 2, "the bias"));
    if (bias->size() != c.bias.size())
      return invalid(n, "the bias has {} elements, expected {}", bias->size(), c.bias.size());
    c.bias = *bias;
  }
  return t.add(n, std::move(c), {x}, {xs[0], ws[0], window.output[0], window.output[1]});
}

/// y[M,N] = alpha * a[M,K] * b[K,N]; b constant: a dense layer, otherwise a matrix product of two computed operands.
Result<ValueId> product(Typer& t, const OnnxNode& n, ValueId a, ValueId b, bool transpose_b, float alpha) {
  const Shape as = t.value(a).shape, bs = t.value(b).shape;
  const std::int64_t k = as[1], columns = transpose_b ? bs[0] : bs[1];
  if ((transpose_b ? bs[1] : bs[0]) != k)
    return invalid(n, "the operands {} and {}{} cannot be multiplied", shape_text(as), shape_text(bs),
                   transpose_b ? " (transposed)" : "");
  if (!t.is_constant(b)) {
    OPENNRT_TRY(right, transpose_b ? Result<ValueId>(b) : t.transposed(n, b, {1, 0}));
    return t.add_inner(n, MatMul{alpha}, {a, right}, {as[0], columns});
  }
  OPENNRT_TRY(right, transpose_b ? Result<ValueId>(b) : t.transposed(n, b, {1, 0}));
  Conv c;
  c.outputs = columns;
  c.weights = *t.value(right).constant;
  for (float& v : c.weights) v *= alpha;
  c.bias.assign(static_cast<std::size_t>(columns), 0.0f);
  return t.add_inner(n, std::move(c), {a}, {as[0], columns});
}

Status gemm(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"alpha", "beta", "transA", "transB"}));
  OPENNRT_TRY(a, t.tensor(n, 0));
  OPENNRT_TRY(b, t.tensor(n, 1));
  OPENNRT_TRY(c, t.optional_tensor(n, 2));
  OPENNRT_TRY(alpha, float_attribute(n, "alpha", 1));
  OPENNRT_TRY(beta, float_attribute(n, "beta", 1));
  OPENNRT_TRY(trans_a, int_attribute(n, "transA", 0));
  OPENNRT_TRY(trans_b, int_attribute(n, "transB", 0));
  for (const ValueId v : {a, b}) {
    if (t.value(v).shape.size() != 2)
      return invalid(n, "an operand is {}, expected 2 dimensions", shape_text(t.value(v).shape));
  }
  if (trans_a) {
    OPENNRT_TRY(turned, t.transposed(n, a, {1, 0}));
    a = turned;
  }
  OPENNRT_TRY(y, product(t, n, a, b, trans_b != 0, alpha));
  const Shape shape = t.value(y).shape;
  if (c == kNoValue || beta == 0) return t.define_alias(n, y);
  const Shape cs = t.value(c).shape;
  const std::int64_t columns = shape[1];
  if (cs.size() > 2 || (cs.size() == 2 && cs[0] != 1 && cs[0] != shape[0]) ||
      (!cs.empty() && cs.back() != 1 && cs.back() != columns))
    return invalid(n, "C is {}, which does not broadcast to {}", shape_text(cs), shape_text(shape));
  const bool per_column = element_count(cs) == 1 || (cs.back() == columns && element_count(cs) == columns);
  // A constant of one value per column is the bias of the dense layer, and the layer's output the node's.
  if (t.is_constant(c) && per_column && t.is_constant(b)) {
    const auto& values = *t.value(c).constant;
    Conv* dense = t.producer(y).as<Conv>();
    for (std::size_t i = 0; i < dense->bias.size(); ++i) dense->bias[i] = beta * values[values.size() == 1 ? 0 : i];
    return t.define_alias(n, y);
  }
  if (beta != 1) {
    OPENNRT_TRY(scaled, t.add_inner(n, Unary{isa::Activation::kCopy, beta}, {c}, cs));
    c = scaled;
  }
  Shape two = cs;
  while (two.size() < 2) two.insert(two.begin(), 1);
  OPENNRT_TRY(addend, t.reshaped(n, c, two));
  return t.add(n, Binary{isa::Alu::kAdd}, {y, addend}, shape);
}

Status matmul(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {}));
  OPENNRT_TRY(a, t.tensor(n, 0));
  OPENNRT_TRY(b, t.tensor(n, 1));
  const Shape as = t.value(a).shape, bs = t.value(b).shape;
  if (as.size() < 2 || bs.size() != 2)
    return unsupported(n, "operands of {} and {}: the left one needs 2 or more dimensions and the right one 2",
                       shape_text(as), shape_text(bs));
  const std::int64_t k = as.back();
  OPENNRT_TRY(left, t.reshaped(n, a, {element_count(as) / k, k}));
  OPENNRT_TRY(y, product(t, n, left, b, false, 1));
  Shape shape = as;
  shape.back() = bs[1];
  OPENNRT_TRY(result, t.reshaped(n, y, shape));
  return t.define_alias(n, result);
}

/// Both operands with the rank of the result, which is returned.
Result<Shape> align(Typer& t, const OnnxNode& n, ValueId& a, ValueId& b) {
  const std::size_t rank = std::max(t.value(a).shape.size(), t.value(b).shape.size());
  Shape out(rank, 1);
  for (ValueId* v : {&a, &b}) {
    Shape s = t.value(*v).shape;
    s.insert(s.begin(), rank - s.size(), 1);
    for (std::size_t i = 0; i < rank; ++i) {
      if (s[i] != 1 && out[i] != 1 && s[i] != out[i])
        return invalid(n, "the shapes {} and {} do not broadcast", shape_text(t.value(a).shape),
                       shape_text(t.value(b).shape));
      out[i] = std::max(out[i], s[i]);
    }
    OPENNRT_TRY(aligned, t.reshaped(n, *v, s));
    *v = aligned;
  }
  if (rank > 4 && t.value(a).shape != t.value(b).shape)
    return unsupported(n, "broadcasting with {} dimensions, expected at most 4", rank);
  return out;
}

float evaluate(isa::Alu op, float a, float b) {
  switch (op) {
    case isa::Alu::kAdd:
      return a + b;
    case isa::Alu::kSubtract:
      return a - b;
    case isa::Alu::kMult:
      return a * b;
    case isa::Alu::kDivide:
      return a / b;
    case isa::Alu::kMax:
      return std::max(a, b);
    default:
      return std::min(a, b);
  }
}

Status binary(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {}));
  static const std::unordered_map<std::string, isa::Alu> kOps{{"Add", isa::Alu::kAdd},  {"Sub", isa::Alu::kSubtract},
                                                              {"Mul", isa::Alu::kMult}, {"Div", isa::Alu::kDivide},
                                                              {"Max", isa::Alu::kMax},  {"Min", isa::Alu::kMin}};
  const isa::Alu op = kOps.at(n.op);
  if (n.inputs.size() != 2) return unsupported(n, "{} inputs, expected 2", n.inputs.size());
  OPENNRT_TRY(a, t.tensor(n, 0));
  OPENNRT_TRY(b, t.tensor(n, 1));
  OPENNRT_TRY(shape, align(t, n, a, b));
  if (t.is_constant(a) && t.is_constant(b) &&
      (t.value(a).shape == t.value(b).shape || t.value(b).constant->size() == 1)) {
    std::vector<float> values = *t.value(a).constant;
    const auto& right = *t.value(b).constant;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = evaluate(op, values[i], right[right.size() == 1 ? 0 : i]);
    return t.define_constant(n, shape, std::move(values));
  }
  return t.add(n, Binary{op}, {a, b}, shape);
}

Status unary(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {}));
  using A = isa::Activation;
  static const std::unordered_map<std::string, Unary> kOps{
      {"Relu", {A::kRelu}}, {"Sigmoid", {A::kSigmoid}},   {"Tanh", {A::kTanh}}, {"Exp", {A::kExp}},
      {"Sqrt", {A::kSqrt}}, {"Abs", {A::kAbs}},           {"Log", {A::kLog}},   {"Neg", {A::kCopy, -1}},
      {"Erf", {A::kErf}},   {"Softplus", {A::kSoftplus}}, {"Sign", {A::kSign}}, {"Reciprocal", {A::kReciprocal}}};
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape shape = t.value(x).shape;
  return t.add(n, kOps.at(n.op), {x}, shape);
}

Status leaky_relu(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"alpha"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  OPENNRT_TRY(alpha, float_attribute(n, "alpha", 0.01f));
  const Shape shape = t.value(x).shape;
  if (!(alpha >= 0 && alpha <= 1)) return unsupported(n, "alpha is {}, expected 0 to 1", alpha);
  return t.add(n, LeakyRelu{alpha}, {x}, shape);
}

Status clip(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"min", "max"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  Clip c;
  OPENNRT_TRY(low, float_attribute(n, "min", -3.4028234e38f));
  OPENNRT_TRY(high, float_attribute(n, "max", 3.4028234e38f));
  float* bounds[2] = {&low, &high};
  for (std::size_t i = 0; i < 2; ++i) {
    OPENNRT_TRY(v, t.optional_tensor(n, i + 1));
    if (v == kNoValue) continue;
    OPENNRT_TRY(data, t.constant(n, i + 1, i == 0 ? "min" : "max"));
    if (data->size() != 1) return invalid(n, "{} has {} elements, expected 1", i == 0 ? "min" : "max", data->size());
    *bounds[i] = (*data)[0];
  }
  c.low = low, c.high = high;
  const Shape shape = t.value(x).shape;
  return t.add(n, c, {x}, shape);
}

Status pool(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode",
                                    "count_include_pad", "storage_order"}));
  const bool average = n.op == "AveragePool";
  if (n.outputs.size() > 1 && !n.outputs[1].empty())
    return unsupported(n, "the second output (indices) is not supported");
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape xs = t.value(x).shape;
  if (xs.size() != 4) return unsupported(n, "the input is {}, expected 4 dimensions", shape_text(xs));
  if (!n.attributes.count("kernel_shape")) return invalid(n, "attribute 'kernel_shape' is missing");
  OPENNRT_TRY(kernel, ints_attribute(n, "kernel_shape", {}));
  OPENNRT_TRY(window, read_window(n, dims_of(xs), kernel, true));
  OPENNRT_TRY(include, int_attribute(n, "count_include_pad", 0));
  Pool p;
  p.average = average;
  p.count_include_pad = include != 0;
  p.kernel = window.kernel, p.stride = window.stride, p.dilation = window.dilation, p.pad = window.pad;
  return t.add(n, p, {x}, {xs[0], xs[1], window.output[0], window.output[1]});
}

Status global_average_pool(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape xs = t.value(x).shape;
  if (xs.size() != 4) return unsupported(n, "the input is {}, expected 4 dimensions", shape_text(xs));
  Pool p;
  p.average = n.op == "GlobalAveragePool";
  p.kernel = {xs[2], xs[3]};
  return t.add(n, p, {x}, {xs[0], xs[1], 1, 1});
}

Status batch_norm(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"epsilon", "momentum", "training_mode", "spatial"}));
  OPENNRT_TRY(training, int_attribute(n, "training_mode", 0));
  if (training) return unsupported(n, "training_mode is {}, expected 0", training);
  OPENNRT_TRY(spatial, int_attribute(n, "spatial", 1));
  if (spatial != 1) return unsupported(n, "spatial is {}, expected 1", spatial);
  OPENNRT_TRY(epsilon, float_attribute(n, "epsilon", 1e-5f));
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape xs = t.value(x).shape;
  const auto channels = static_cast<std::size_t>(dims_of(xs).c);
  const std::vector<float>* parameters[4];
  constexpr const char* kNames[4] = {"scale", "B", "mean", "var"};
  for (std::size_t i = 0; i < 4; ++i) {
    OPENNRT_TRY(p, t.constant(n, i + 1, kNames[i]));
    if (p->size() != channels)
      return invalid(n, "{} has {} elements, expected {} (channels)", kNames[i], p->size(), channels);
    parameters[i] = p;
  }
  ScaleShift s;
  for (std::size_t c = 0; c < channels; ++c) {
    const double factor = (*parameters[0])[c] / std::sqrt(static_cast<double>((*parameters[3])[c]) + epsilon);
    s.scale.push_back(static_cast<float>(factor));
    s.shift.push_back(static_cast<float>((*parameters[1])[c] - factor * (*parameters[2])[c]));
  }
  return t.add(n, std::move(s), {x}, xs);
}

Status finish_reshape(Typer& t, const OnnxNode& n, ValueId x, const Shape& shape) {
  const Shape xs = t.value(x).shape;
  std::int64_t count = 1;
  for (const auto d : shape) {
    if (d < 1 || count > onnx_model::kMaxElements / d) return invalid(n, "the shape {} cannot be", shape_text(shape));
    count *= d;
  }
  if (count != element_count(xs))
    return invalid(n, "the shape {} has {} elements, expected {} (the input is {})", shape_text(shape), count,
                   element_count(xs), shape_text(xs));
  OPENNRT_TRY(y, t.reshaped(n, x, shape));
  return t.define_alias(n, y);
}

Status flatten(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  OPENNRT_TRY(axis, int_attribute(n, "axis", 1));
  const Shape xs = t.value(x).shape;
  const auto rank = static_cast<std::int64_t>(xs.size());
  if (axis < -rank || axis > rank) return invalid(n, "axis is {}, expected {} to {}", axis, -rank, rank);
  if (axis < 0) axis += rank;
  std::int64_t outer = 1;
  for (std::int64_t i = 0; i < axis; ++i) outer *= xs[static_cast<std::size_t>(i)];
  return finish_reshape(t, n, x, {outer, element_count(xs) / outer});
}

Status reshape(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"allowzero"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  OPENNRT_TRY(target, t.ints(n, 1, "the shape"));
  if (!target) return invalid(n, "input 1 (the shape) is missing");
  OPENNRT_TRY(allow_zero, int_attribute(n, "allowzero", 0));
  const Shape xs = t.value(x).shape;
  Shape shape = *target;
  if (shape.size() > onnx_model::kMaxRank)
    return unsupported(n, "the shape has {} dimensions, expected at most {}", shape.size(), onnx_model::kMaxRank);
  std::int64_t known = 1;
  int open = -1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !allow_zero) {
      if (i >= xs.size())
        return invalid(n, "dimension {} of the shape is 0, but the input has {} dimensions", i, xs.size());
      shape[i] = xs[i];
    }
    if (shape[i] == -1) {
      if (open >= 0) return invalid(n, "the shape has more than one -1");
      open = static_cast<int>(i);
      continue;
    }
    if (shape[i] < 1 || known > onnx_model::kMaxElements / shape[i])
      return invalid(n, "dimension {} of the shape is {}", i, shape[i]);
    known *= shape[i];
  }
  if (open >= 0) {
    if (element_count(xs) % known != 0)
      return invalid(n, "{} elements do not divide by {} for the -1 of the shape", element_count(xs), known);
    shape[static_cast<std::size_t>(open)] = element_count(xs) / known;
  }
  return finish_reshape(t, n, x, shape);
}

Status squeeze(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axes"}));
  OPENNRT_TRY(listed, ints_attribute(n, "axes", {}));
  OPENNRT_TRY(given, t.ints(n, 1, "axes"));
  const Ints axes = given ? *given : listed;
  const bool add = n.op == "Unsqueeze";
  OPENNRT_TRY(x, t.any(n, 0));
  const auto known = t.value(x).ints;
  if (!known) {
    OPENNRT_CHECK(t.tensor(n, 0));
  }
  const Shape xs = t.value(x).shape;
  const std::size_t rank = xs.size() + (add ? axes.size() : 0);
  if (rank > onnx_model::kMaxRank)
    return unsupported(n, "the result has {} dimensions, expected at most {}", rank, onnx_model::kMaxRank);
  std::vector<bool> marked(rank);
  for (const auto a : axes) {
    OPENNRT_TRY(axis, axis_attribute(n, a, rank));
    if (marked[axis]) return invalid(n, "axis {} is there twice", a);
    marked[axis] = true;
  }
  Shape shape;
  if (add) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < rank; ++i) shape.push_back(marked[i] ? 1 : xs[next++]);
  } else {
    for (std::size_t i = 0; i < rank; ++i) {
      const bool drop = axes.empty() ? xs[i] == 1 : marked[i];
      if (drop && xs[i] != 1) return invalid(n, "axis {} has the size {}, expected 1", i, xs[i]);
      if (!drop) shape.push_back(xs[i]);
    }
  }
  if (known) return t.define_ints(n, shape, *known, t.value(x).element);
  return finish_reshape(t, n, x, shape);
}

Status transpose(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"perm"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape xs = t.value(x).shape;
  Ints reversed;
  for (std::size_t i = xs.size(); i-- > 0;) reversed.push_back(static_cast<std::int64_t>(i));
  OPENNRT_TRY(permutation, ints_attribute(n, "perm", reversed));
  Ints sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  std::reverse(reversed.begin(), reversed.end());
  if (sorted != reversed)
    return invalid(n, "perm is not a permutation of 0 to {}", static_cast<std::int64_t>(xs.size()) - 1);
  OPENNRT_TRY(y, t.transposed(n, x, permutation));
  return t.define_alias(n, y);
}

Status concat(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis"}));
  if (n.inputs.empty()) return invalid(n, "no inputs");
  if (auto first = t.ints(n, 0, "input"); first && *first) {  // shapes put together
    Ints all;
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      OPENNRT_TRY(part, t.ints(n, i, "an input"));
      if (part) all.insert(all.end(), part->begin(), part->end());
    }
    const auto count = static_cast<std::int64_t>(all.size());
    return t.define_ints(n, {count}, std::move(all));
  }
  OPENNRT_TRY(axis, int_attribute(n, "axis", 1));
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    OPENNRT_TRY(x, t.tensor(n, i));
    inputs.push_back(x);
  }
  Shape shape = t.value(inputs[0]).shape;
  OPENNRT_TRY(at, axis_attribute(n, axis, shape.size()));
  std::int64_t total = 0;
  for (const ValueId v : inputs) {
    Shape s = t.value(v).shape;
    if (s.size() != shape.size())
      return invalid(n, "inputs of {} and {} cannot be joined", shape_text(shape), shape_text(s));
    total += s[at];
    s[at] = shape[at];
    if (s != shape)
      return invalid(n, "inputs of {} and {} cannot be joined along axis {}", shape_text(shape),
                     shape_text(t.value(v).shape), axis);
  }
  if (!axis_of(shape.size(), at)) return unsupported(n, "axis {} of a tensor of {} dimensions", axis, shape.size());
  shape[at] = total;
  if (inputs.size() == 1) return t.define_alias(n, inputs[0]);
  return t.add(n, Concat{at}, inputs, shape);
}

Status softmax(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis"}));
  OPENNRT_TRY(x, t.tensor(n, 0));
  const Shape xs = t.value(x).shape;
  // Until opset 12 the default is 1 and everything from the axis on is one vector.
  OPENNRT_TRY(axis, int_attribute(n, "axis", t.opset() >= 13 ? -1 : 1));
  OPENNRT_TRY(at, axis_attribute(n, axis, xs.size()));
  const Softmax s{at, t.opset() >= 13 ? at : xs.size() - 1};
  if (xs.size() > 4) return unsupported(n, "the input is {}, expected at most 4 dimensions", shape_text(xs));
  return t.add(n, s, {x}, xs);
}

Status identity(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"ratio", "seed"}));
  if (n.op == "Dropout" && n.inputs.size() > 2 && !n.inputs[2].empty()) {
    OPENNRT_TRY(training, t.ints(n, 2, "training_mode"));
    if (training && !training->empty() && (*training)[0] != 0)
      return unsupported(n, "training_mode is set, expected inference");
  }
  OPENNRT_TRY(x, t.any(n, 0));
  return t.define_alias(n, x);
}

Status constant(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"value", "value_float", "value_floats", "value_int", "value_ints"}));
  if (n.attributes.size() != 1) return invalid(n, "{} attributes, expected exactly one value", n.attributes.size());
  const auto& [key, a] = *n.attributes.begin();
  using Kind = onnx_model::Attribute::Kind;
  switch (a.kind) {
    case Kind::kTensor:
      return a.tensor.is_float() ? t.define_constant(n, a.tensor.shape, a.tensor.floats)
                                 : t.define_ints(n, a.tensor.shape, a.tensor.ints, a.tensor.element);
    case Kind::kFloat:
      return t.define_constant(n, {}, {a.f});
    case Kind::kFloats:
      return t.define_constant(n, {static_cast<std::int64_t>(a.floats.size())}, a.floats);
    case Kind::kInt:
      return t.define_ints(n, {}, {a.i});
    case Kind::kInts:
      return t.define_ints(n, {static_cast<std::int64_t>(a.ints.size())}, a.ints);
    default:
      return invalid(n, "attribute '{}' has a type that is not supported", key);
  }
}

Status shape_of(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {}));
  OPENNRT_TRY(x, t.any(n, 0));
  const Shape xs = t.value(x).shape;
  return t.define_ints(n, {static_cast<std::int64_t>(xs.size())}, xs);
}

}  // namespace

Handler find_handler(const std::string& op) {
  static const std::unordered_map<std::string, Handler> kHandlers{{"Conv", conv},
                                                                  {"Gemm", gemm},
                                                                  {"MatMul", matmul},
                                                                  {"Add", binary},
                                                                  {"Sub", binary},
                                                                  {"Mul", binary},
                                                                  {"Div", binary},
                                                                  {"Max", binary},
                                                                  {"Min", binary},
                                                                  {"Relu", unary},
                                                                  {"Sigmoid", unary},
                                                                  {"Tanh", unary},
                                                                  {"Exp", unary},
                                                                  {"Sqrt", unary},
                                                                  {"Abs", unary},
                                                                  {"Log", unary},
                                                                  {"Neg", unary},
                                                                  {"Erf", unary},
                                                                  {"Softplus", unary},
                                                                  {"Sign", unary},
                                                                  {"Reciprocal", unary},
                                                                  {"LeakyRelu", leaky_relu},
                                                                  {"Clip", clip},
                                                                  {"MaxPool", pool},
                                                                  {"AveragePool", pool},
                                                                  {"GlobalAveragePool", global_average_pool},
                                                                  {"GlobalMaxPool", global_average_pool},
                                                                  {"BatchNormalization", batch_norm},
                                                                  {"Flatten", flatten},
                                                                  {"Reshape", reshape},
                                                                  {"Squeeze", squeeze},
                                                                  {"Unsqueeze", squeeze},
                                                                  {"Transpose", transpose},
                                                                  {"Concat", concat},
                                                                  {"Softmax", softmax},
                                                                  {"Identity", identity},
                                                                  {"Dropout", identity},
                                                                  {"Cast", type_cast},
                                                                  {"Constant", constant},
                                                                  {"Shape", shape_of},
                                                                  {"Gather", type_gather},
                                                                  {"ArgMax", type_arg_max},
                                                                  {"TopK", type_top_k}};
  const auto it = kHandlers.find(op);
  return it == kHandlers.end() ? nullptr : it->second;
}

}  // namespace opennrt::compile::graph
