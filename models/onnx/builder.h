// SPDX-License-Identifier: Apache-2.0
//
// Builds ONNX models in memory, for tests and benchmarks: nodes, constants, weights from a seeded generator that gives the same
// bytes on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/onnx/model.h"

namespace opennrt::compile {

class OnnxBuilder {
 public:
  explicit OnnxBuilder(const std::string& graph_name, std::uint64_t seed = 1, std::int64_t opset = 13);
  ~OnnxBuilder();
  OnnxBuilder(const OnnxBuilder&) = delete;
  OnnxBuilder& operator=(const OnnxBuilder&) = delete;

  struct Attributes {
    std::map<std::string, std::int64_t> ints;
    std::map<std::string, float> floats;
    std::map<std::string, std::string> strings;
    std::map<std::string, std::vector<std::int64_t>> lists;
  };

  using Element = onnx_model::Element;
  void input(const std::string& name, const std::vector<std::int64_t>& shape, Element element = Element::kFloat32);
  void output(const std::string& name, const std::vector<std::int64_t>& shape, Element element = Element::kFloat32);
  std::string constant(const std::string& name, const std::vector<std::int64_t>& shape,
                       const std::vector<float>& values);
  std::string constant_ints(const std::string& name, const std::vector<std::int64_t>& values);
  /// Uniform in [-scale, scale].
  std::string random(const std::string& name, const std::vector<std::int64_t>& shape, float scale);
  /// Adds a node and returns its output's name; an empty `output` makes one up from the operator.
  std::string node(const std::string& op, const std::vector<std::string>& inputs, const Attributes& attributes = {},
                   const std::string& output = {}, const std::vector<std::string>& more_outputs = {});
  /// Conv with random weights and bias; `inputs` channels in, `outputs` out, square kernel.
  std::string conv(const std::string& x, std::int64_t inputs, std::int64_t outputs, std::int64_t kernel,
                   std::int64_t stride, std::int64_t pad, std::int64_t groups = 1);
  std::vector<std::byte> serialise() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// LeNet-5-like on 1×28×28: input "image" [batch,1,28,28], output "probabilities" [batch,10].
std::vector<std::byte> make_lenet(std::int64_t batch = 1, std::uint64_t seed = 1);
/// CIFAR-size residual network, 3 stages of `blocks` blocks (1: ResNet-8, 3: ResNet-20): "image" [batch,3,32,32] → "logits"
/// [batch,10]. With BatchNormalization nodes.
std::vector<std::byte> make_resnet_small(std::int64_t blocks = 1, std::int64_t batch = 1, std::uint64_t seed = 1);
/// The 53 convolutions of ResNet-50 with their shapes, random weights: "image" [batch,3,size,size] → "logits" [batch,1000].
std::vector<std::byte> make_resnet50_shape(std::int64_t batch = 1, std::uint64_t seed = 1, std::int64_t size = 224);
/// Words to classes: "tokens" [1,words] int64 → embedding (CPU) → two dense layers → "class" [1,1] int64 by ArgMax (CPU) and
/// "scores" [1,classes].
std::vector<std::byte> make_classifier(std::int64_t words = 8, std::int64_t classes = 10, std::uint64_t seed = 1);
/// One Identity node on [1,4]: what is left is the cost of running at all.
std::vector<std::byte> make_identity();

}  // namespace opennrt::compile
