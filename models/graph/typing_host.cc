// SPDX-License-Identifier: Apache-2.0
//
// ONNX operators that the device has no instructions for. What is known when compiling is folded; the rest becomes a Host node,
// which the runtime's CPU functions do (core/neff/README.md).
#include <algorithm>
#include <string>

#include "models/graph/typer.h"

namespace opennrt::compile::graph {
namespace {

using OnnxNode = onnx_model::Node;

/// Rows of `inner` elements of `data` ([outer][size][inner]), by `indices` that are in range.
template <typename T>
std::vector<T> pick(const std::vector<T>& data, std::int64_t outer, std::int64_t size, std::int64_t inner,
                    const std::vector<std::int64_t>& indices) {
  std::vector<T> out;
  out.reserve(static_cast<std::size_t>(outer * inner) * indices.size());
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const std::int64_t i : indices) {
      const auto begin = data.begin() + (o * size + (i < 0 ? i + size : i)) * inner;
      out.insert(out.end(), begin, begin + inner);
    }
  }
  return out;
}

Status check_size(const OnnxNode& n, const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t d : shape) {
    if (d < 1 || count > onnx_model::kMaxElements / d)
      return unsupported(n, "the result is {}, expected 1 to {} elements", shape_text(shape), onnx_model::kMaxElements);
    count *= d;
  }
  return {};
}

}  // namespace

Status type_gather(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis"}));
  OPENNRT_TRY(data, t.any(n, 0));
  OPENNRT_TRY(indices, t.any(n, 1));
  const Value from = t.value(data), by = t.value(indices);
  OPENNRT_TRY(listed, int_attribute(n, "axis", 0));
  OPENNRT_TRY(axis, axis_attribute(n, listed, from.shape.size()));
  if (by.element == Element::kFloat32)
    return invalid(n, "the indices ('{}') are float32, expected int32 or int64", n.inputs[1]);
  const std::int64_t size = from.shape[axis];
  if (by.ints) {
    for (const std::int64_t i : *by.ints) {
      if (i < -size || i >= size) return invalid(n, "an index is {}, expected {} to {}", i, -size, size - 1);
    }
  }
  const auto at = from.shape.begin() + static_cast<std::ptrdiff_t>(axis);
  const Shape before(from.shape.begin(), at), after(at + 1, from.shape.end());
  Shape shape = before;
  shape.insert(shape.end(), by.shape.begin(), by.shape.end());
  shape.insert(shape.end(), after.begin(), after.end());
  if (shape.size() > onnx_model::kMaxRank)
    return unsupported(n, "the result has {} dimensions, expected at most {}", shape.size(), onnx_model::kMaxRank);
  if (by.ints && from.is_constant()) {
    OPENNRT_CHECK(check_size(n, shape));
    const std::int64_t outer = element_count(before), inner = element_count(after);
    if (from.constant) return t.define_constant(n, shape, pick(*from.constant, outer, size, inner, *by.ints));
    return t.define_ints(n, shape, pick(*from.ints, outer, size, inner, *by.ints), from.element);
  }
  return t.add_host(n, {"opennrt.gather", {{"axis", std::to_string(axis)}}}, {data, indices}, {{shape, from.element}});
}

Status type_arg_max(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis", "keepdims", "select_last_index"}));
  OPENNRT_TRY(x, t.any(n, 0));
  OPENNRT_TRY(listed, int_attribute(n, "axis", 0));
  OPENNRT_TRY(keep, int_attribute(n, "keepdims", 1));
  OPENNRT_TRY(last, int_attribute(n, "select_last_index", 0));
  if (last != 0) return unsupported(n, "select_last_index is {}, expected 0", last);
  Shape shape = t.value(x).shape;
  OPENNRT_TRY(axis, axis_attribute(n, listed, shape.size()));
  if (keep != 0)
    shape[axis] = 1;
  else
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  return t.add_host(n, {"opennrt.argmax", {{"axis", std::to_string(axis)}, {"keepdims", keep != 0 ? "1" : "0"}}}, {x},
                    {{shape, Element::kInt64}});
}

Status type_top_k(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"axis", "k", "largest", "sorted"}));  // sorted 0 asks for no order: any will do
  OPENNRT_TRY(x, t.any(n, 0));
  OPENNRT_TRY(listed, int_attribute(n, "axis", -1));
  OPENNRT_TRY(largest, int_attribute(n, "largest", 1));
  OPENNRT_TRY(k, int_attribute(n, "k", 0));
  if (t.opset() >= 10) {  // an input since then
    OPENNRT_TRY(given, t.ints(n, 1, "k"));
    if (!given || given->size() != 1) return invalid(n, "input 1 (k) is not one integer");
    k = (*given)[0];
  }
  Shape shape = t.value(x).shape;
  OPENNRT_TRY(axis, axis_attribute(n, listed, shape.size()));
  if (k < 1 || k > shape[axis]) return invalid(n, "k is {}, expected 1 to {}", k, shape[axis]);
  shape[axis] = k;
  return t.add_host(n,
                    {"opennrt.topk",
                     {{"axis", std::to_string(axis)}, {"k", std::to_string(k)}, {"largest", largest != 0 ? "1" : "0"}}},
                    {x}, {{shape, t.value(x).element}, {shape, Element::kInt64}});
}

Status type_cast(Typer& t, const OnnxNode& n) {
  OPENNRT_CHECK(only_attributes(n, {"to"}));
  OPENNRT_TRY(to, int_attribute(n, "to", 0));
  if (to != 1 && to != 6 && to != 7)  // onnx.proto, TensorProto.DataType
    return unsupported(n, "the target type is {}, expected 1 (float32), 6 (int32) or 7 (int64)", to);
  const Element element = to == 1 ? Element::kFloat32 : to == 6 ? Element::kInt32 : Element::kInt64;
  OPENNRT_TRY(x, t.any(n, 0));
  const Value from = t.value(x);
  if (from.element == element) return t.define_alias(n, x);
  if (from.ints && to == 1) return t.define_constant(n, from.shape, {from.ints->begin(), from.ints->end()});
  const auto fits = [](std::int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; };
  if (from.ints && (to == 7 || std::all_of(from.ints->begin(), from.ints->end(), fits)))
    return t.define_ints(n, from.shape, *from.ints, element);
  return t.add_host(n, {"opennrt.cast", {}}, {x}, {{from.shape, element}});
}

}  // namespace opennrt::compile::graph
