// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/builder.h"

#include <onnx/onnx_pb.h>

#include <cmath>

namespace opennrt::compile {

struct OnnxBuilder::Impl {
  using Element = onnx_model::Element;
  onnx::ModelProto model;
  std::uint64_t state = 0;
  int counter = 0;

  /// splitmix64: the same numbers with every standard library.
  float uniform() {
    state += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return static_cast<float>(z >> 40) * 0x1p-23f - 1.0f;
  }
  static void shape(onnx::ValueInfoProto* info, const std::string& name, const std::vector<std::int64_t>& dims,
                    Element element) {
    info->set_name(name);
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(element == Element::kFloat32 ? onnx::TensorProto::FLOAT
                        : element == Element::kInt32 ? onnx::TensorProto::INT32
                                                     : onnx::TensorProto::INT64);
    auto* target = type->mutable_shape();
    for (const auto d : dims) target->add_dim()->set_dim_value(d);
  }
};

OnnxBuilder::OnnxBuilder(const std::string& graph_name, std::uint64_t seed, std::int64_t opset) : impl_(new Impl) {
  impl_->state = seed;
  impl_->model.set_ir_version(8);
  impl_->model.set_producer_name("opennrt-builder");
  auto* set = impl_->model.add_opset_import();
  set->set_domain("");
  set->set_version(opset);
  impl_->model.mutable_graph()->set_name(graph_name);
}
OnnxBuilder::~OnnxBuilder() = default;

void OnnxBuilder::input(const std::string& name, const std::vector<std::int64_t>& shape, Element element) {
  Impl::shape(impl_->model.mutable_graph()->add_input(), name, shape, element);
}
void OnnxBuilder::output(const std::string& name, const std::vector<std::int64_t>& shape, Element element) {
  Impl::shape(impl_->model.mutable_graph()->add_output(), name, shape, element);
}

std::string OnnxBuilder::constant(const std::string& name, const std::vector<std::int64_t>& shape,
                                  const std::vector<float>& values) {
  auto* t = impl_->model.mutable_graph()->add_initializer();
  t->set_name(name);
  t->set_data_type(onnx::TensorProto::FLOAT);
  for (const auto d : shape) t->add_dims(d);
  t->set_raw_data(values.data(), values.size() * sizeof(float));
  return name;
}
std::string OnnxBuilder::constant_ints(const std::string& name, const std::vector<std::int64_t>& values) {
  auto* t = impl_->model.mutable_graph()->add_initializer();
  t->set_name(name);
  t->set_data_type(onnx::TensorProto::INT64);
  t->add_dims(static_cast<std::int64_t>(values.size()));
  for (const auto v : values) t->add_int64_data(v);
  return name;
}
std::string OnnxBuilder::random(const std::string& name, const std::vector<std::int64_t>& shape, float scale) {
  std::int64_t count = 1;
  for (const auto d : shape) count *= d;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = impl_->uniform() * scale;
  return constant(name, shape, values);
}

std::string OnnxBuilder::node(const std::string& op, const std::vector<std::string>& inputs,
                              const Attributes& attributes, const std::string& output,
                              const std::vector<std::string>& more_outputs) {
  auto* n = impl_->model.mutable_graph()->add_node();
  const int index = impl_->counter++;
  n->set_op_type(op);
  n->set_name(op + "_" + std::to_string(index));
  for (const auto& i : inputs) n->add_input(i);
  const std::string name = output.empty() ? op + "_" + std::to_string(index) + "_out" : output;
  n->add_output(name);
  for (const auto& more : more_outputs) n->add_output(more);
  const auto add = [n](const std::string& key, onnx::AttributeProto::AttributeType type) {
    auto* a = n->add_attribute();
    a->set_name(key);
    a->set_type(type);
    return a;
  };
  for (const auto& [key, v] : attributes.ints) add(key, onnx::AttributeProto::INT)->set_i(v);
  for (const auto& [key, v] : attributes.floats) add(key, onnx::AttributeProto::FLOAT)->set_f(v);
  for (const auto& [key, v] : attributes.strings) add(key, onnx::AttributeProto::STRING)->set_s(v);
  for (const auto& [key, list] : attributes.lists) {
    auto* a = add(key, onnx::AttributeProto::INTS);
    for (const auto v : list) a->add_ints(v);
  }
  return name;
}

std::string OnnxBuilder::conv(const std::string& x, std::int64_t inputs, std::int64_t outputs, std::int64_t kernel,
                              std::int64_t stride, std::int64_t pad, std::int64_t groups) {
  const std::string base = "conv" + std::to_string(impl_->counter);
  const std::int64_t fan_in = inputs / groups * kernel * kernel;
  const float scale = std::sqrt(3.0f / static_cast<float>(fan_in));  // keeps the variance
  const auto w = random(base + "_w", {outputs, inputs / groups, kernel, kernel}, scale);
  const auto b = random(base + "_b", {outputs}, 0.1f);
  Attributes a;
  a.ints["group"] = groups;
  a.lists["kernel_shape"] = {kernel, kernel};
  a.lists["strides"] = {stride, stride};
  a.lists["pads"] = {pad, pad, pad, pad};
  return node("Conv", {x, w, b}, a);
}

std::vector<std::byte> OnnxBuilder::serialise() const {
  const std::string text = impl_->model.SerializeAsString();
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

namespace {
OnnxBuilder::Attributes pool(std::int64_t kernel, std::int64_t stride, std::int64_t pad = 0) {
  OnnxBuilder::Attributes a;
  a.lists["kernel_shape"] = {kernel, kernel};
  a.lists["strides"] = {stride, stride};
  a.lists["pads"] = {pad, pad, pad, pad};
  return a;
}
std::string dense(OnnxBuilder& b, const std::string& x, const std::string& name, std::int64_t in, std::int64_t out,
                  const std::string& output = {}) {
  const auto w = b.random(name + "_w", {out, in}, std::sqrt(3.0f / static_cast<float>(in)));
  const auto bias = b.random(name + "_b", {out}, 0.1f);
  OnnxBuilder::Attributes a;
  a.ints["transB"] = 1;
  return b.node("Gemm", {x, w, bias}, a, output);
}
std::string batch_norm(OnnxBuilder& b, const std::string& x, std::int64_t channels, int index) {
  const std::string base = "bn" + std::to_string(index);
  const std::vector<float> ones(static_cast<std::size_t>(channels), 1.0f);
  const auto scale = b.constant(base + "_scale", {channels}, ones);
  const auto shift = b.random(base + "_shift", {channels}, 0.2f);
  const auto mean = b.random(base + "_mean", {channels}, 0.1f);
  const auto variance = b.constant(base + "_var", {channels}, ones);
  return b.node("BatchNormalization", {x, scale, shift, mean, variance});
}
}  // namespace

std::vector<std::byte> make_lenet(std::int64_t batch, std::uint64_t seed) {
  OnnxBuilder b("lenet", seed);
  b.input("image", {batch, 1, 28, 28});
  auto x = b.node("Relu", {b.conv("image", 1, 6, 5, 1, 2)});
  x = b.node("MaxPool", {x}, pool(2, 2));
  x = b.node("Relu", {b.conv(x, 6, 16, 5, 1, 0)});
  x = b.node("MaxPool", {x}, pool(2, 2));
  x = b.node("Flatten", {x});
  x = b.node("Relu", {dense(b, x, "fc1", 400, 120)});
  x = b.node("Relu", {dense(b, x, "fc2", 120, 84)});
  x = dense(b, x, "fc3", 84, 10);
  b.node("Softmax", {x}, {}, "probabilities");
  b.output("probabilities", {batch, 10});
  return b.serialise();
}

std::vector<std::byte> make_resnet_small(std::int64_t blocks, std::int64_t batch, std::uint64_t seed) {
  OnnxBuilder b("resnet_small", seed);
  b.input("image", {batch, 3, 32, 32});
  int bn = 0;
  std::int64_t channels = 16;
  auto x = b.node("Relu", {batch_norm(b, b.conv("image", 3, channels, 3, 1, 1), channels, bn++)});
  for (int stage = 0; stage < 3; ++stage) {
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1, out = std::int64_t{16} << stage;
      auto y = b.node("Relu", {batch_norm(b, b.conv(x, channels, out, 3, stride, 1), out, bn++)});
      y = batch_norm(b, b.conv(y, out, out, 3, 1, 1), out, bn++);
      const auto shortcut = stride == 1 && out == channels ? x : b.conv(x, channels, out, 1, stride, 0);
      x = b.node("Relu", {b.node("Add", {y, shortcut})});
      channels = out;
    }
  }
  x = b.node("Flatten", {b.node("GlobalAveragePool", {x})});
  dense(b, x, "fc", channels, 10, "logits");
  b.output("logits", {batch, 10});
  return b.serialise();
}

std::vector<std::byte> make_resnet50_shape(std::int64_t batch, std::uint64_t seed, std::int64_t size) {
  OnnxBuilder b("resnet50_shape", seed);
  b.input("image", {batch, 3, size, size});
  auto x = b.node("Relu", {b.conv("image", 3, 64, 7, 2, 3)});
  x = b.node("MaxPool", {x}, pool(3, 2, 1));
  std::int64_t channels = 64;
  const std::int64_t depth[4] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const std::int64_t mid = std::int64_t{64} << stage, out = mid * 4;
    for (std::int64_t block = 0; block < depth[stage]; ++block) {
      const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      auto y = b.node("Relu", {b.conv(x, channels, mid, 1, 1, 0)});
      y = b.node("Relu", {b.conv(y, mid, mid, 3, stride, 1)});
      y = b.conv(y, mid, out, 1, 1, 0);
      const auto shortcut = block == 0 ? b.conv(x, channels, out, 1, stride, 0) : x;
      x = b.node("Relu", {b.node("Add", {y, shortcut})});
      channels = out;
    }
  }
  x = b.node("Flatten", {b.node("GlobalAveragePool", {x})});
  dense(b, x, "fc", channels, 1000, "logits");
  b.output("logits", {batch, 1000});
  return b.serialise();
}

std::vector<std::byte> make_classifier(std::int64_t words, std::int64_t classes, std::uint64_t seed) {
  constexpr std::int64_t kVocabulary = 100, kWidth = 16;
  OnnxBuilder b("classifier", seed);
  b.input("tokens", {1, words}, OnnxBuilder::Element::kInt64);
  auto x = b.node("Gather", {b.random("embedding", {kVocabulary, kWidth}, 1), "tokens"});
  x = b.node("Flatten", {x});
  x = b.node("Relu", {dense(b, x, "fc1", words * kWidth, 64)});
  x = dense(b, x, "fc2", 64, classes, "scores");
  OnnxBuilder::Attributes a;
  a.ints["axis"] = 1;
  b.node("ArgMax", {x}, a, "class");
  b.output("scores", {1, classes});
  b.output("class", {1, 1}, OnnxBuilder::Element::kInt64);
  return b.serialise();
}

std::vector<std::byte> make_identity() {
  OnnxBuilder b("identity");
  b.input("x", {1, 4});
  b.node("Identity", {"x"}, {}, "y");
  b.output("y", {1, 4});
  return b.serialise();
}

}  // namespace opennrt::compile
