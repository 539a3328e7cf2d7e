// SPDX-License-Identifier: Apache-2.0
//
// An ONNX model as plain structures: checked once, here, so that nothing behind it knows protobuf. Names, types and sizes are
// consistent; what the operators mean is the graph layer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::compile::onnx_model {

// Bounds for hostile files.
inline constexpr std::size_t kMaxNodes = 100'000;
inline constexpr std::size_t kMaxRank = 8;
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 28;  ///< of one tensor
inline constexpr std::size_t kMaxNameBytes = 255;  ///< of an input or output; NEFF names are no longer

/// What a value's elements are, in the graph and at its inputs and outputs.
enum class Element : std::uint8_t { kFloat32, kInt32, kInt64 };

/// A constant. Floating-point types (float, double, float16, bfloat16) arrive as `floats`, integer types and bool as `ints`.
struct Tensor {
  std::vector<std::int64_t> shape;
  Element element = Element::kFloat32;  ///< integers but int32 are kInt64
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  bool is_float() const { return element == Element::kFloat32; }
};

struct Attribute {
  enum class Kind { kFloat, kInt, kString, kFloats, kInts, kTensor };
  Kind kind = Kind::kInt;
  float f = 0;
  std::int64_t i = 0;
  std::string s;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  Tensor tensor;
};

struct Node {
  std::string op, name;  ///< a node without a name gets `<op>_<index>`
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;
};

struct ValueInfo {
  std::string name;
  std::vector<std::int64_t> shape;
  std::optional<Element> element;  ///< always there for inputs
};

struct Model {
  std::string name;
  std::int64_t opset = 0;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> constants;
  std::vector<ValueInfo> inputs, outputs;  ///< inputs without initialisers. Shapes of outputs may be empty.
};

/// Parses a serialised ModelProto. kInvalidFile: it breaks the format (which node, initializer or field); kUnsupported: sparse or
/// external data, element types, symbolic input dimensions. Thread-safe.
Result<Model> import_model(std::span<const std::byte> bytes);

}  // namespace opennrt::compile::onnx_model
