// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/attributes.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace opennrt::cpu {
namespace {

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

}  // namespace

void Checker::expect(std::size_t inputs, std::size_t outputs, std::initializer_list<std::string_view> attributes) {
  if (inputs_.size() != inputs) fail(ErrorCode::kInvalidFile, "it has {} inputs, expected {}", inputs_.size(), inputs);
  if (node_.outputs.size() != outputs)
    fail(ErrorCode::kInvalidFile, "it has {} outputs, expected {}", node_.outputs.size(), outputs);
  for (const auto& [name, value] : node_.attributes)
    if (std::find(attributes.begin(), attributes.end(), name) == attributes.end())
      fail(ErrorCode::kUnsupported, "attribute {} is \"{}\", expected only {}", name, value,
           attributes.size() == 0 ? "none" : fmt::format("{}", fmt::join(attributes, ", ")));
}

std::int64_t Checker::number(std::string_view attribute, std::int64_t least, std::int64_t most) {
  const auto found = node_.attributes.find(std::string(attribute));
  if (found == node_.attributes.end()) {
    fail(ErrorCode::kInvalidFile, "attribute {} is missing", attribute);
    return least;
  }
  const auto value = parse_number(found->second);
  if (!value || *value < least || *value > most) {
    fail(ErrorCode::kInvalidFile, "attribute {} is \"{}\", expected a whole number from {} to {}", attribute,
         found->second, least, most);
    return least;
  }
  return *value;
}

std::int64_t Checker::number(std::string_view attribute, std::int64_t fallback, std::int64_t least, std::int64_t most) {
  return node_.attributes.contains(std::string(attribute)) ? number(attribute, least, most) : fallback;
}

Type Checker::type(const neff::TensorInfo& info) {
  if (info.dtype == "float32") return Type::kFloat32;
  if (info.dtype == "int32") return Type::kInt32;
  if (info.dtype != "int64")
    fail(ErrorCode::kUnsupported, "'{}' is of type {}, expected float32, int32 or int64", info.name, info.dtype);
  return Type::kInt64;
}

Type Checker::input_type(std::size_t i) {
  return i < inputs_.size() ? type(inputs_[i]) : Type::kFloat32;
}

Type Checker::output_type(std::size_t i) {
  return i < node_.outputs.size() ? type(node_.outputs[i]) : Type::kFloat32;
}

Type Checker::index_type(const neff::TensorInfo& info) {
  if (info.dtype == "int32") return Type::kInt32;
  if (info.dtype != "int64")
    fail(ErrorCode::kUnsupported, "'{}' is of type {}, expected int32 or int64", info.name, info.dtype);
  return Type::kInt64;
}

std::size_t Checker::axis(std::size_t rank, std::int64_t fallback) {
  const auto dims = static_cast<std::int64_t>(rank);
  if (dims == 0) {
    fail(ErrorCode::kInvalidFile, "its first input has no dimension, expected one at least");
    return 0;
  }
  const std::int64_t value = number("axis", fallback, -dims, dims - 1);
  return static_cast<std::size_t>(value < 0 ? value + dims : value);
}

Axis Checker::along(const std::vector<std::uint32_t>& shape, std::size_t axis) {
  Axis result;
  for (std::size_t i = 0; i < shape.size(); ++i)
    (i < axis ? result.outer : i == axis ? result.length : result.inner) *= shape[i];
  return result;
}

void Checker::expect_shape(std::size_t output, const std::vector<std::uint32_t>& shape) {
  const neff::TensorInfo& info = node_.outputs[output];
  if (info.shape != shape)
    fail(ErrorCode::kInvalidFile, "output '{}' has the shape [{}], expected [{}]", info.name,
         fmt::join(info.shape, ","), fmt::join(shape, ","));
}

}  // namespace opennrt::cpu
