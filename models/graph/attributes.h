// SPDX-License-Identifier: Apache-2.0
//
// Reading ONNX attributes with their defaults and the shapes of windows; errors name node, attribute, value, expectation.
#pragma once

#include <array>

#include "models/graph/graph.h"

namespace opennrt::compile::graph {

std::string node_text(const onnx_model::Node& node);
template <typename... Args>
tl::unexpected<Error> invalid(const onnx_model::Node& node, fmt::format_string<Args...> text, Args&&... args) {
  return with_context(Error{ErrorCode::kInvalidFile, fmt::format(text, std::forward<Args>(args)...)}, node_text(node));
}
template <typename... Args>
tl::unexpected<Error> unsupported(const onnx_model::Node& node, fmt::format_string<Args...> text, Args&&... args) {
  return with_context(Error{ErrorCode::kUnsupported, fmt::format(text, std::forward<Args>(args)...)}, node_text(node));
}

Result<std::int64_t> int_attribute(const onnx_model::Node& node, const char* name, std::int64_t fallback);
Result<float> float_attribute(const onnx_model::Node& node, const char* name, float fallback);
Result<std::string> string_attribute(const onnx_model::Node& node, const char* name, const std::string& fallback);
Result<std::vector<std::int64_t>> ints_attribute(const onnx_model::Node& node, const char* name,
                                                 const std::vector<std::int64_t>& fallback);
/// An attribute that is there and not in `known` is an error: what it asks for would be ignored in silence.
Status only_attributes(const onnx_model::Node& node, std::initializer_list<const char*> known);
/// A dimension index, negative from the end, as 0..rank-1.
Result<std::size_t> axis_attribute(const onnx_model::Node& node, std::int64_t axis, std::size_t rank);

/// kernel_shape, strides, dilations, pads and auto_pad of Conv and the pools on an input of h × w.
struct Window {
  std::array<std::int64_t, 2> kernel{}, stride{1, 1}, dilation{1, 1}, output{};
  std::array<std::int64_t, 4> pad{};  ///< top, left, bottom, right
};
Result<Window> read_window(const onnx_model::Node& node, const Dims& input, const std::vector<std::int64_t>& kernel,
                           bool is_pool);

}  // namespace opennrt::compile::graph
