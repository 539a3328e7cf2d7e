// SPDX-License-Identifier: Apache-2.0
//
// The typed graph: every value has a fixed shape, every node one of a few operators that the lowering knows. ONNX's many
// operators and versions end in graph/typing*.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/common/error.h"
#include "core/isa/isa.h"
#include "models/compiler.h"
#include "models/onnx/model.h"

namespace opennrt::compile::graph {

using Shape = std::vector<std::int64_t>;
using onnx_model::Element;
using ValueId = int;
inline constexpr ValueId kNoValue = -1;

std::int64_t element_count(const Shape& shape);
std::string shape_text(const Shape& shape);  ///< "1x3x32x32"
const char* element_name(Element element);   ///< "float32", as a NEFF has it

/// Where a tensor's dimensions go on the device: C over the partitions, N, H, W along them. Ranks 0 to 4 are [], [C], [N,C],
/// [N,C,W], [N,C,H,W]; a higher rank folds its last dimensions into W. Row-major order is the same in both forms.
struct Dims {
  std::int64_t n = 1, c = 1, h = 1, w = 1;
  bool operator==(const Dims&) const = default;
  std::int64_t elements() const { return n * c * h * w; }
};
Dims dims_of(const Shape& shape);
enum class Axis { kN, kC, kH, kW };
/// The device axis of dimension `dimension` of a tensor of rank `rank`; nothing when it was folded with others (rank > 4).
std::optional<Axis> axis_of(std::size_t rank, std::size_t dimension);

struct Value {
  std::string name;
  Shape shape;
  std::shared_ptr<const std::vector<float>> constant;     ///< set: known at compile time
  std::shared_ptr<const std::vector<std::int64_t>> ints;  ///< integer constants (shapes, axes); never on the device
  Element element = Element::kFloat32;                    ///< only floats go to the device
  int producer = -1;                                      ///< index in Graph::nodes
  bool is_input = false, is_output = false;
  bool is_debug = false;  ///< kept for the debug stream: nothing may be fused over it
  bool is_constant() const { return constant || ints; }
};

/// 2D convolution: weights [out][in / groups][kernel h][kernel w], bias [out]. A dense layer is one with a kernel as large as its
/// input. `activation(x * 1 + bias)` is applied to the sum.
struct Conv {
  std::int64_t outputs = 0, groups = 1;
  std::array<std::int64_t, 2> kernel{1, 1}, stride{1, 1}, dilation{1, 1};
  std::array<std::int64_t, 4> pad{};  ///< top, left, bottom, right
  std::vector<float> weights, bias;
  isa::Activation activation = isa::Activation::kCopy;
};
/// inputs: a [M,K], b transposed [N,K]; result [M,N] = activation(scale * a b^T)
struct MatMul {
  float scale = 1;
  isa::Activation activation = isa::Activation::kCopy;
};
/// inputs a, b of the same rank, each dimension equal or 1
struct Binary {
  isa::Alu op = isa::Alu::kAdd;
};
/// activation(scale * x + bias)
struct Unary {
  isa::Activation function = isa::Activation::kCopy;
  float scale = 1;
};
/// min(max(x, low), high)
struct Clip {
  float low = 0, high = 0;
};
/// x < 0 ? slope * x : x
struct LeakyRelu {
  float slope = 0;
};
/// activation(x * scale[c] + shift[c])
struct ScaleShift {
  std::vector<float> scale, shift;
  isa::Activation activation = isa::Activation::kCopy;
};
struct Pool {
  bool average = false, count_include_pad = false;
  std::array<std::int64_t, 2> kernel{1, 1}, stride{1, 1}, dilation{1, 1};
  std::array<std::int64_t, 4> pad{};
};
struct Reshape {};  ///< same row-major elements, other shape
struct Transpose {
  std::vector<std::int64_t> permutation;
};
struct Concat {
  std::size_t dimension = 0;
};
struct Softmax {
  std::size_t first = 0, last = 0;
};               ///< over the dimensions first..last together
struct Copy {};  ///< the same values, possibly in another data type
/// For the host's CPU, between subgraphs: a function of core/neff/README.md. Operands may be integers and constants.
struct Host {
  std::string function;
  std::map<std::string, std::string> attributes;
};

using Operator = std::variant<Conv, MatMul, Binary, Unary, Clip, LeakyRelu, ScaleShift, Pool, Reshape, Transpose,
                              Concat, Softmax, Copy, Host>;

struct Node {
  Operator op;
  std::string name, onnx_op;
  std::vector<ValueId> inputs;
  ValueId output = kNoValue;
  std::vector<ValueId> more_outputs = {};  ///< of a Host node
  int phase = 0;  ///< device: how often the CPU had its turn before; Host: of the device part before
  bool dead = false;

  std::string text() const { return "node '" + name + "' (" + onnx_op + ")"; }
  template <typename T>
  T* as() {
    return std::get_if<T>(&op);
  }
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&op);
  }
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;  ///< in execution order
  std::vector<ValueId> inputs, outputs;
  std::vector<std::pair<std::string, ValueId>> debug;  ///< names as the user gave them

  ValueId add_value(std::string name, Shape shape);
  /// How many nodes (not dead) read `value`; being a graph output and a debug value count as one more each.
  int uses(ValueId value) const;
  std::vector<int> use_counts() const;  ///< the same for all values
};

/// Types an imported model. Errors name the node: kInvalidFile (a reference, an attribute, a shape that cannot be) or kUnsupported.
/// `debug`: values to keep; kInvalidArgument names one that is not computed.
Result<Graph> type_model(onnx_model::Model model, const std::vector<std::string>& debug = {});

// ---- passes (passes.cc), in the order of simplify() ----
void remove_dead(Graph& graph);
void fold_batch_norm(Graph& graph);  ///< ScaleShift after a Conv nobody else reads goes into its weights
void fold_reshape_into_dense(
    Graph& graph);                    ///< a dense layer on a flattened [N,C,H,W] becomes a convolution of kernel H×W
void fuse_activations(Graph& graph);  ///< Relu, Sigmoid, … after Conv or MatMul
void simplify(Graph& graph);

/// The device data type of every value under `cast`, with Copy nodes inserted where a node needs another type than its operand has.
std::vector<isa::DataType> assign_types(Graph& graph, Options::AutoCast cast);

}  // namespace opennrt::compile::graph
