// SPDX-License-Identifier: Apache-2.0
#include <onnx/onnx_pb.h>

#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include "models/onnx/model.h"

namespace opennrt::compile::onnx_model {
namespace {

using onnx::TensorProto;

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

template <typename... Args>
tl::unexpected<Error> broken(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(ErrorCode::kInvalidFile, text, std::forward<Args>(args)...);
}
template <typename... Args>
tl::unexpected<Error> unsupported(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(ErrorCode::kUnsupported, text, std::forward<Args>(args)...);
}

/// Names of inputs and outputs go into JSON, which is UTF-8. Control characters are in nobody's interest.
bool is_plain_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t more = c < 0x80                          ? 0
                             : (c & 0xe0) == 0xc0 && c >= 0xc2 ? 1
                             : (c & 0xf0) == 0xe0              ? 2
                             : (c & 0xf8) == 0xf0 && c <= 0xf4 ? 3
                                                               : 9;
    if (c < 0x20 || c == 0x7f || more == 9 || i + more >= text.size()) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = more ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
        (c == 0xf4 && second > 0x8f))
      return false;
    i += more + 1;
  }
  return true;
}

/// Names come from the file: what is not printable must not reach a terminal.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 120)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  return out;
}

float from_half(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t bits =
      exponent == 31 ? sign | 0x7f800000u | mantissa << 13 : sign | (exponent + 112) << 23 | mantissa << 13;
  return std::bit_cast<float>(bits);
}
float from_bfloat(std::uint16_t b) {
  return std::bit_cast<float>(std::uint32_t{b} << 16);
}

template <typename T, typename Out, typename Convert>
void copy_raw(const std::string& raw, std::vector<Out>& out, Convert convert) {
  out.resize(raw.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

Result<std::int64_t> element_count(const std::vector<std::int64_t>& shape, const std::string& what) {
  if (shape.size() > kMaxRank)
    return unsupported("{} has {} dimensions, expected at most {}", what, shape.size(), kMaxRank);
  std::int64_t count = 1;
  for (const std::int64_t d : shape) {
    if (d < 0) return broken("{} has dimension {}, expected 0 or more", what, d);
    if (d != 0 && count > kMaxElements / d) return unsupported("{} has more than {} elements", what, kMaxElements);
    count *= d;
  }
  return count;
}

Result<Tensor> read_tensor(const TensorProto& proto, const std::string& what) {
  if (proto.data_location() == TensorProto::EXTERNAL || proto.external_data_size() > 0)
    return unsupported("{} keeps its data in an external file, which is not supported", what);
  if (proto.has_segment()) return unsupported("{} is a segment of a tensor, which is not supported", what);
  Tensor t;
  t.shape.assign(proto.dims().begin(), proto.dims().end());
  const auto count = element_count(t.shape, what);
  if (!count) return tl::unexpected(count.error());
  const bool raw = proto.has_raw_data();
  const std::string& bytes = proto.raw_data();
  std::size_t size = 0;
  switch (proto.data_type()) {
    case TensorProto::FLOAT:
      size = 4;
      break;
    case TensorProto::DOUBLE:
      size = 8;
      break;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
      size = 2;
      break;
    case TensorProto::INT64:
      size = 8;
      break;
    case TensorProto::INT32:
      size = 4;
      break;
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      size = 1;
      break;
    default:
      return unsupported("{} has element type {}, which is not supported", what, proto.data_type());
  }
  if (raw && bytes.size() != static_cast<std::size_t>(*count) * size)
    return broken("{}: raw_data has {} bytes, expected {}", what, bytes.size(),
                  static_cast<std::size_t>(*count) * size);
  const auto same = [](auto v) { return v; };
  const auto to_float = [](auto v) { return static_cast<float>(v); };
  const auto to_int = [](auto v) { return static_cast<std::int64_t>(v); };
  switch (proto.data_type()) {
    case TensorProto::FLOAT:
      if (raw)
        copy_raw<float>(bytes, t.floats, same);
      else
        t.floats.assign(proto.float_data().begin(), proto.float_data().end());
      break;
    case TensorProto::DOUBLE:
      if (raw)
        copy_raw<double>(bytes, t.floats, to_float);
      else
        for (const double v : proto.double_data()) t.floats.push_back(static_cast<float>(v));
      break;
    case TensorProto::FLOAT16:
      if (raw)
        copy_raw<std::uint16_t>(bytes, t.floats, from_half);
      else
        for (const int v : proto.int32_data()) t.floats.push_back(from_half(static_cast<std::uint16_t>(v)));
      break;
    case TensorProto::BFLOAT16:
      if (raw)
        copy_raw<std::uint16_t>(bytes, t.floats, from_bfloat);
      else
        for (const int v : proto.int32_data()) t.floats.push_back(from_bfloat(static_cast<std::uint16_t>(v)));
      break;
    case TensorProto::INT64:
      if (raw)
        copy_raw<std::int64_t>(bytes, t.ints, same);
      else
        t.ints.assign(proto.int64_data().begin(), proto.int64_data().end());
      break;
    case TensorProto::INT32:
      if (raw)
        copy_raw<std::int32_t>(bytes, t.ints, to_int);
      else
        t.ints.assign(proto.int32_data().begin(), proto.int32_data().end());
      break;
    case TensorProto::INT8:
      if (raw)
        copy_raw<std::int8_t>(bytes, t.ints, to_int);
      else
        t.ints.assign(proto.int32_data().begin(), proto.int32_data().end());
      break;
    default:
      if (raw)
        copy_raw<std::uint8_t>(bytes, t.ints, to_int);
      else
        t.ints.assign(proto.int32_data().begin(), proto.int32_data().end());
      break;
  }
  switch (proto.data_type()) {
    case TensorProto::FLOAT:
    case TensorProto::DOUBLE:
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
      break;
    default:
      t.element = proto.data_type() == TensorProto::INT32 ? Element::kInt32 : Element::kInt64;
  }
  const std::size_t have = t.is_float() ? t.floats.size() : t.ints.size();
  if (have != static_cast<std::size_t>(*count)) return broken("{} holds {} elements, expected {}", what, have, *count);
  return t;
}

Result<Attribute> read_attribute(const onnx::AttributeProto& proto, const std::string& what) {
  Attribute a;
  // Files of the first IR versions carry no type: it is what the fields say.
  auto type = proto.type();
  if (type == onnx::AttributeProto::UNDEFINED) {
    type = proto.has_t()         ? onnx::AttributeProto::TENSOR
           : proto.has_s()       ? onnx::AttributeProto::STRING
           : proto.ints_size()   ? onnx::AttributeProto::INTS
           : proto.floats_size() ? onnx::AttributeProto::FLOATS
           : proto.has_f()       ? onnx::AttributeProto::FLOAT
                                 : onnx::AttributeProto::INT;
  }
  switch (type) {
    case onnx::AttributeProto::FLOAT:
      a.kind = Attribute::Kind::kFloat;
      a.f = proto.f();
      return a;
    case onnx::AttributeProto::INT:
      a.kind = Attribute::Kind::kInt;
      a.i = proto.i();
      return a;
    case onnx::AttributeProto::STRING:
      a.kind = Attribute::Kind::kString;
      a.s = proto.s();
      return a;
    case onnx::AttributeProto::FLOATS:
      a.kind = Attribute::Kind::kFloats;
      a.floats.assign(proto.floats().begin(), proto.floats().end());
      return a;
    case onnx::AttributeProto::INTS:
      a.kind = Attribute::Kind::kInts;
      a.ints.assign(proto.ints().begin(), proto.ints().end());
      return a;
    case onnx::AttributeProto::TENSOR: {
      auto t = read_tensor(proto.t(), what);
      if (!t) return tl::unexpected(t.error());
      a.kind = Attribute::Kind::kTensor;
      a.tensor = std::move(*t);
      return a;
    }
    default:
      return unsupported("{} has type {}, which is not supported", what, static_cast<int>(type));
  }
}

Result<ValueInfo> read_value_info(const onnx::ValueInfoProto& proto, const std::string& kind, bool need_shape) {
  ValueInfo v;
  v.name = proto.name();
  if (v.name.empty() || v.name.size() > kMaxNameBytes || !is_plain_utf8(v.name))
    return broken("graph {} '{}' has a name of {} bytes, expected 1 to {} of UTF-8 without control characters", kind,
                  printable(v.name), v.name.size(), kMaxNameBytes);
  const std::string what = fmt::format("graph {} '{}'", kind, printable(v.name));
  if (!proto.type().has_tensor_type()) {
    if (!need_shape) return v;
    return unsupported("{} is not a tensor", what);
  }
  const auto& type = proto.type().tensor_type();
  switch (type.elem_type()) {
    case TensorProto::FLOAT:
      v.element = Element::kFloat32;
      break;
    case TensorProto::INT32:
      v.element = Element::kInt32;
      break;
    case TensorProto::INT64:
      v.element = Element::kInt64;
      break;
    default:
      if (need_shape || type.elem_type() != TensorProto::UNDEFINED)
        return unsupported("{} has element type {}, expected float32, int32 or int64", what, type.elem_type());
  }
  if (need_shape && !type.has_shape()) return unsupported("{} has no shape, expected fixed sizes", what);
  for (int i = 0; i < type.shape().dim_size(); ++i) {
    const auto& d = type.shape().dim(i);
    if (!d.has_dim_value()) {
      if (!need_shape) {
        v.shape.clear();
        return v;
      }
      return unsupported("{}: dimension {} is symbolic ('{}'), expected a fixed size", what, i,
                         printable(d.dim_param()));
    }
    if (need_shape && d.dim_value() < 1)
      return unsupported("{}: dimension {} is {}, expected at least 1", what, i, d.dim_value());
    v.shape.push_back(d.dim_value());
  }
  if (auto n = element_count(v.shape, what); !n) return tl::unexpected(n.error());
  return v;
}

Status check_text(const std::string& text, const std::string& what) {
  if (text.size() > 4096 || text.find('\0') != std::string::npos)
    return broken("{} is a name of {} bytes or with NUL, expected at most 4096", what, text.size());
  return {};
}

Result<Model> read_model(const onnx::ModelProto& proto) {
  Model m;
  if (!proto.has_graph()) return broken("the file has no graph: not an ONNX model");
  if (proto.functions_size() > 0) return unsupported("the model has local functions, which are not supported");
  for (const auto& set : proto.opset_import()) {
    if (set.domain().empty() || set.domain() == "ai.onnx") m.opset = set.version();
  }
  if (m.opset < 7 || m.opset > 1000)
    return make_error(m.opset < 1 ? ErrorCode::kInvalidFile : ErrorCode::kUnsupported,
                      "opset_import of the default domain is {}, expected 7 or later", m.opset);
  const auto& graph = proto.graph();
  m.name = printable(graph.name());
  if (graph.sparse_initializer_size() > 0)
    return unsupported("the graph has sparse initializers, which are not supported");
  if (static_cast<std::size_t>(graph.node_size()) > kMaxNodes)
    return unsupported("the graph has {} nodes, expected at most {}", graph.node_size(), kMaxNodes);
  for (const auto& t : graph.initializer()) {
    if (t.name().empty()) return broken("an initializer has no name");
    auto tensor = read_tensor(t, fmt::format("initializer '{}'", printable(t.name())));
    if (!tensor) return tl::unexpected(tensor.error());
    if (!m.constants.emplace(t.name(), std::move(*tensor)).second)
      return broken("initializer '{}' is there twice", printable(t.name()));
  }
  std::set<std::string> seen;
  for (const auto& p : graph.input()) {
    if (m.constants.count(p.name())) continue;  // before IR version 4 initializers are listed as inputs, too
    auto v = read_value_info(p, "input", true);
    if (!v) return tl::unexpected(v.error());
    if (!seen.insert(v->name).second) return broken("graph input '{}' is there twice", printable(v->name));
    m.inputs.push_back(std::move(*v));
  }
  seen.clear();
  for (const auto& p : graph.output()) {
    auto v = read_value_info(p, "output", false);
    if (!v) return tl::unexpected(v.error());
    if (!seen.insert(v->name).second) return broken("graph output '{}' is there twice", printable(v->name));
    m.outputs.push_back(std::move(*v));
  }
  if (m.outputs.empty()) return broken("the graph has no outputs");
  for (int i = 0; i < graph.node_size(); ++i) {
    const auto& p = graph.node(i);
    Node n;
    n.op = printable(p.op_type());
    n.name = p.name().empty() ? fmt::format("{}_{}", n.op, i) : printable(p.name());
    const std::string what = fmt::format("node '{}' ({})", n.name, n.op);
    if (!p.domain().empty() && p.domain() != "ai.onnx")
      return unsupported("{}: operators of domain '{}' are not supported", what, printable(p.domain()));
    for (const auto& s : p.input()) {
      if (auto ok = check_text(s, what + ": input"); !ok) return tl::unexpected(ok.error());
      n.inputs.push_back(s);
    }
    for (const auto& s : p.output()) {
      if (auto ok = check_text(s, what + ": output"); !ok) return tl::unexpected(ok.error());
      n.outputs.push_back(s);
    }
    if (n.outputs.empty() || n.outputs[0].empty()) return broken("{} has no output", what);
    for (const auto& a : p.attribute()) {
      auto attribute = read_attribute(a, fmt::format("{}: attribute '{}'", what, printable(a.name())));
      if (!attribute) return tl::unexpected(attribute.error());
      if (!n.attributes.emplace(a.name(), std::move(*attribute)).second)
        return broken("{}: attribute '{}' is there twice", what, printable(a.name()));
    }
    m.nodes.push_back(std::move(n));
  }
  return m;
}

}  // namespace

Result<Model> import_model(std::span<const std::byte> bytes) {
  if (bytes.empty()) return broken("the file is empty: not an ONNX model");
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    return unsupported("the file has {} bytes, expected less than 2 GiB (the limit of protobuf)", bytes.size());
  try {
    onnx::ModelProto proto;
    if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return broken("the {} bytes do not parse as an ONNX ModelProto (truncated or damaged)", bytes.size());
    return read_model(proto);
  } catch (const std::exception& e) {  // protobuf's own checks and memory that is not there
    return broken("reading the ONNX file failed: {}", e.what());
  }
}

}  // namespace opennrt::compile::onnx_model
