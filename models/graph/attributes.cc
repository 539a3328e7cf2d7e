// SPDX-License-Identifier: Apache-2.0
#include "models/graph/attributes.h"

#include <algorithm>

namespace opennrt::compile::graph {

using onnx_model::Attribute;

std::string node_text(const onnx_model::Node& node) {
  return "node '" + node.name + "' (" + node.op + ")";
}

namespace {
constexpr std::int64_t kMaxWindow = 1 << 14;  // kernel, stride, dilation, pad: what the access patterns can express

Result<const Attribute*> find(const onnx_model::Node& node, const char* name, Attribute::Kind kind,
                              const char* expected) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) return nullptr;
  // An empty list has no type of its own in files without attribute types.
  if (it->second.kind != kind) return invalid(node, "attribute '{}' has the wrong type, expected {}", name, expected);
  return &it->second;
}
}  // namespace

Result<std::int64_t> int_attribute(const onnx_model::Node& node, const char* name, std::int64_t fallback) {
  auto a = find(node, name, Attribute::Kind::kInt, "an integer");
  if (!a) return tl::unexpected(a.error());
  return *a ? (*a)->i : fallback;
}
Result<float> float_attribute(const onnx_model::Node& node, const char* name, float fallback) {
  auto a = find(node, name, Attribute::Kind::kFloat, "a float");
  if (!a) return tl::unexpected(a.error());
  return *a ? (*a)->f : fallback;
}
Result<std::string> string_attribute(const onnx_model::Node& node, const char* name, const std::string& fallback) {
  auto a = find(node, name, Attribute::Kind::kString, "a string");
  if (!a) return tl::unexpected(a.error());
  return *a ? (*a)->s : fallback;
}
Result<std::vector<std::int64_t>> ints_attribute(const onnx_model::Node& node, const char* name,
                                                 const std::vector<std::int64_t>& fallback) {
  auto a = find(node, name, Attribute::Kind::kInts, "a list of integers");
  if (!a) return tl::unexpected(a.error());
  return *a ? (*a)->ints : fallback;
}

Status only_attributes(const onnx_model::Node& node, std::initializer_list<const char*> known) {
  for (const auto& [name, attribute] : node.attributes) {
    if (std::none_of(known.begin(), known.end(), [&n = name](const char* k) { return n == k; }))
      return unsupported(node, "attribute '{}' is not supported", name);
  }
  return {};
}

Result<std::size_t> axis_attribute(const onnx_model::Node& node, std::int64_t axis, std::size_t rank) {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r) return invalid(node, "axis is {}, expected {} to {}", axis, -r, r - 1);
  return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

Result<Window> read_window(const onnx_model::Node& node, const Dims& input, const std::vector<std::int64_t>& kernel,
                           bool is_pool) {
  Window w;
  const auto pair = [&](const char* name, std::array<std::int64_t, 2>& out) -> Status {
    auto list = ints_attribute(node, name, {1, 1});
    if (!list) return tl::unexpected(list.error());
    if (list->size() != 2)
      return unsupported(node, "attribute '{}' has {} values, expected 2 (two-dimensional)", name, list->size());
    for (int i = 0; i < 2; ++i) {
      if ((*list)[i] < 1 || (*list)[i] > kMaxWindow)
        return invalid(node, "attribute '{}' has the value {}, expected 1 to {}", name, (*list)[i], kMaxWindow);
      out[i] = (*list)[i];
    }
    return {};
  };
  if (kernel.size() != 2)
    return unsupported(node, "kernel_shape has {} values, expected 2 (two-dimensional)", kernel.size());
  for (int i = 0; i < 2; ++i) {
    if (kernel[i] < 1 || kernel[i] > kMaxWindow)
      return invalid(node, "kernel_shape has the value {}, expected 1 to {}", kernel[i], kMaxWindow);
    w.kernel[i] = kernel[i];
  }
  if (auto s = pair("strides", w.stride); !s) return tl::unexpected(s.error());
  if (auto s = pair("dilations", w.dilation); !s) return tl::unexpected(s.error());
  auto pads = ints_attribute(node, "pads", {0, 0, 0, 0});
  if (!pads) return tl::unexpected(pads.error());
  if (pads->size() != 4) return invalid(node, "attribute 'pads' has {} values, expected 4", pads->size());
  for (int i = 0; i < 4; ++i) {
    if ((*pads)[i] < 0 || (*pads)[i] > kMaxWindow)
      return unsupported(node, "attribute 'pads' has the value {}, expected 0 to {}", (*pads)[i], kMaxWindow);
    w.pad[i] = (*pads)[i];
  }
  auto auto_pad = string_attribute(node, "auto_pad", "NOTSET");
  if (!auto_pad) return tl::unexpected(auto_pad.error());
  auto ceil_mode = int_attribute(node, "ceil_mode", 0);
  if (!ceil_mode) return tl::unexpected(ceil_mode.error());
  const std::int64_t size[2] = {input.h, input.w};
  for (int i = 0; i < 2; ++i) {
    const std::int64_t extent = (w.kernel[i] - 1) * w.dilation[i] + 1;
    if (*auto_pad == "SAME_UPPER" || *auto_pad == "SAME_LOWER") {
      w.output[i] = (size[i] + w.stride[i] - 1) / w.stride[i];
      const std::int64_t total = std::max<std::int64_t>(0, (w.output[i] - 1) * w.stride[i] + extent - size[i]);
      const std::int64_t small = total / 2, large = total - small;
      w.pad[i] = *auto_pad == "SAME_UPPER" ? small : large;
      w.pad[i + 2] = total - w.pad[i];
      continue;
    }
    if (*auto_pad == "VALID") {
      w.pad[i] = w.pad[i + 2] = 0;
    } else if (*auto_pad != "NOTSET" && !auto_pad->empty()) {
      return invalid(node, "attribute 'auto_pad' is '{}', expected NOTSET, VALID, SAME_UPPER or SAME_LOWER", *auto_pad);
    }
    const std::int64_t room = size[i] + w.pad[i] + w.pad[i + 2] - extent;
    if (room < 0)
      return invalid(node, "the window covers {} elements of dimension {}, which has {} with its pads", extent, i + 2,
                     size[i] + w.pad[i] + w.pad[i + 2]);
    if (*ceil_mode != 0 && room % w.stride[i] != 0)
      return unsupported(node, "ceil_mode with a window that does not fit evenly (dimension {}) is not supported",
                         i + 2);
    w.output[i] = room / w.stride[i] + 1;
  }
  if (is_pool) {
    for (int i = 0; i < 2; ++i) {
      const std::int64_t extent = (w.kernel[i] - 1) * w.dilation[i] + 1;
      if (w.pad[i] >= extent || w.pad[i + 2] >= extent)
        return unsupported(node, "pads {} and {} of dimension {} leave windows without an element (window {})",
                           w.pad[i], w.pad[i + 2], i + 2, extent);
    }
  }
  return w;
}

}  // namespace opennrt::compile::graph
