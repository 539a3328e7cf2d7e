// SPDX-License-Identifier: Apache-2.0
//
// Networks over several NeuronCores, with nodes for the CPU between them (E4): compiled, loaded and executed through the C API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nrt/ndebug_stream.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "models/compiler.h"
#include "models/onnx/builder.h"
#include "models/onnx/model.h"
#include "tests/unit/models/reference.h"
#include "tools/support/client.h"

namespace opennrt::compile {
namespace {

using A = OnnxBuilder::Attributes;
using Bytes = std::vector<std::byte>;
using Element = onnx_model::Element;
using Values = std::map<std::string, Bytes>;

A ints(std::map<std::string, std::int64_t> values) {
  A a;
  a.ints = std::move(values);
  return a;
}

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}
template <typename T>
std::vector<double> numbers(const Bytes& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return {values.begin(), values.end()};
}
std::vector<double> numbers(nrt_dtype_t dtype, const Bytes& bytes) {
  return dtype == NRT_DTYPE_INT64   ? numbers<std::int64_t>(bytes)
         : dtype == NRT_DTYPE_INT32 ? numbers<std::int32_t>(bytes)
                                    : numbers<float>(bytes);
}

/// Random inputs: floats in [0, 1), integers below `largest`.
Values random_inputs(const Bytes& model, unsigned seed, std::int64_t largest) {
  const auto imported = onnx_model::import_model(model);
  EXPECT_TRUE(imported);
  std::mt19937 random(seed);
  Values inputs;
  for (const auto& i : imported->inputs) {
    std::vector<double> values(1);
    for (const auto d : i.shape) values.resize(values.size() * static_cast<std::size_t>(d));
    for (double& v : values)
      v = i.element == Element::kFloat32 ? static_cast<double>(random()) / 4294967296.0
                                         : static_cast<double>(random() % static_cast<unsigned>(largest));
    inputs[i.name] = i.element == Element::kFloat32 ? bytes_of(std::vector<float>(values.begin(), values.end()))
                     : i.element == Element::kInt32 ? bytes_of(std::vector<std::int32_t>(values.begin(), values.end()))
                                                    : bytes_of(std::vector<std::int64_t>(values.begin(), values.end()));
  }
  return inputs;
}

class Pipeline : public ::testing::Test {
 protected:
  void SetUp() override {
    auto session = client::Session::open();
    ASSERT_TRUE(session) << session.error().message;
    session_.emplace(std::move(*session));
  }

  static Bytes compiled(const Bytes& model, std::size_t cores, Options options = {}) {
    options.cores = cores;
    auto file = compile_onnx(model, options);
    EXPECT_TRUE(file) << file.error().message;
    return file ? *file : Bytes{};
  }

  static client::Model load(const Bytes& neff, int core = -1) {
    auto model = client::Model::load(neff, core, "test");
    if (!model) throw std::runtime_error(model.error().message);
    return std::move(*model);
  }

  /// One inference in tensors of its own.
  static Values execute(const client::Model& model, const Values& inputs) {
    auto binding = client::Binding::make(model, NRT_TENSOR_PLACEMENT_VIRTUAL, -1);
    if (!binding) throw std::runtime_error(binding.error().message);
    const auto& tensors = model.tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!tensors[i].input) continue;
      EXPECT_TRUE(binding->tensor(i).write(inputs.at(tensors[i].name)));
    }
    EXPECT_EQ(nrt_execute(model.handle(), binding->inputs(), binding->outputs()), NRT_SUCCESS);
    Values outputs;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].input) continue;
      auto& bytes = outputs[tensors[i].name];
      bytes.resize(tensors[i].bytes);
      EXPECT_TRUE(binding->tensor(i).read(bytes));
    }
    return outputs;
  }

  /// Every output equals what plain loops compute; integers exactly.
  static void expect_equals_reference(const Bytes& onnx, std::size_t cores, std::int64_t largest) {
    const auto imported = onnx_model::import_model(onnx);
    ASSERT_TRUE(imported) << imported.error().message;
    const client::Model model = load(compiled(onnx, cores));
    for (unsigned seed = 0; seed < 5; ++seed) {
      const Values inputs = random_inputs(onnx, seed, largest);
      std::map<std::string, test::Tensor> given;
      for (const auto& i : imported->inputs) {
        const Bytes& bytes = inputs.at(i.name);
        given[i.name] = {i.shape, i.element == Element::kInt64   ? numbers<std::int64_t>(bytes)
                                  : i.element == Element::kInt32 ? numbers<std::int32_t>(bytes)
                                                                 : numbers<float>(bytes)};
      }
      const auto expected = test::evaluate(*imported, given);
      const Values results = execute(model, inputs);
      for (const auto& info : model.tensors()) {
        if (info.input) continue;
        const auto got = numbers(info.dtype, results.at(info.name));
        const auto& want = expected.at(info.name).data;
        ASSERT_EQ(got.size(), want.size()) << info.name;
        const double tolerance = info.dtype == NRT_DTYPE_FLOAT32 ? 1e-4 : 0;
        for (std::size_t k = 0; k < got.size(); ++k)
          EXPECT_NEAR(got[k], want[k], tolerance * std::max(1.0, std::abs(want[k]))) << info.name << "[" << k << "]";
      }
    }
  }

 private:
  std::optional<client::Session> session_;
};

// E4: on how many cores a network runs changes nothing in what it computes.
TEST_F(Pipeline, GivenLenetAndResnetOnOneToFourCoresWhenExecutedThenResultsAreTheSameBitForBit) {
  for (const Bytes& onnx : {make_lenet(), make_resnet_small(1)}) {
    const Values inputs = random_inputs(onnx, 1, 1);
    const Values one = execute(load(compiled(onnx, 1)), inputs);
    for (const std::size_t cores : {2, 3, 4}) EXPECT_EQ(execute(load(compiled(onnx, cores)), inputs), one) << cores;
  }
}

// E4, G4
TEST_F(Pipeline, GivenFourThreadsWhenTheyExecuteOneModelOfFourStagesThenEachGetsItsOwnResult) {
  const Bytes onnx = make_lenet();
  constexpr unsigned kThreads = 4, kEach = 20;
  std::vector<Values> inputs, expected;
  {
    const client::Model model = load(compiled(onnx, 1));
    for (unsigned i = 0; i < kThreads * kEach; ++i) {
      inputs.push_back(random_inputs(onnx, i, 1));
      expected.push_back(execute(model, inputs.back()));
    }
  }
  const client::Model model = load(compiled(onnx, 4));
  std::vector<Values> results(inputs.size());
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned i = t; i < kThreads * kEach; i += kThreads) results[i] = execute(model, inputs[i]);
      });
    }
  }
  EXPECT_EQ(results, expected);
}

TEST_F(Pipeline, GivenAModelOfTwoStagesWhenAskedThenItHasTwoNeuronCores) {
  const client::Model model = load(compiled(make_lenet(), 2));
  std::uint32_t cores = 0;
  EXPECT_EQ(nrt_get_model_nc_count(model.handle(), &cores), NRT_SUCCESS);
  EXPECT_EQ(cores, 2u);
}

// E4: CPU nodes before, between and after.
TEST_F(Pipeline, GivenAnEmbeddingAndAnArgMaxWhenExecutedThenTheyEqualPlainLoops) {
  expect_equals_reference(make_classifier(), 0, 100);
  expect_equals_reference(make_classifier(16, 30), 2, 100);
}

Bytes back_and_forth() {
  OnnxBuilder b("back_and_forth", 3);
  b.input("tokens", {2, 3}, Element::kInt32);
  b.input("gain", {2, 1});
  auto x = b.node("Flatten", {b.node("Gather", {b.random("words", {50, 4}, 1), "tokens"})});
  x = b.node("Relu", {b.node("Gemm", {x, b.random("w1", {12, 9}, 1)})});
  const auto best = b.node("ArgMax", {x}, ints({{"axis", -1}, {"keepdims", 0}}));
  x = b.node("Mul", {b.node("Gather", {b.random("moods", {9, 5}, 1), best}), "gain"});
  x = b.node("Gemm", {x, b.random("w2", {5, 8}, 1)}, {}, "scores");
  const auto top = b.node("TopK", {x, b.constant_ints("k", {3})}, {}, "values", {"places"});
  b.node("Cast", {"places"}, ints({{"to", 6}}), "places32");
  x = b.node("Cast", {"places"}, ints({{"to", 1}}));
  b.node("Add", {b.node("Mul", {x, b.constant("half", {1}, {0.5f})}), top}, {}, "mixed");
  b.output("scores", {2, 8});
  b.output("values", {2, 3});
  b.output("places", {2, 3}, Element::kInt64);
  b.output("places32", {2, 3}, Element::kInt32);
  b.output("mixed", {2, 3});
  return b.serialise();
}

TEST_F(Pipeline, GivenThreeDevicePartsWithTheCpuBetweenThemWhenExecutedThenTheyEqualPlainLoops) {
  expect_equals_reference(back_and_forth(), 0, 50);
  expect_equals_reference(back_and_forth(), 4, 50);
}

TEST_F(Pipeline, GivenValuesOfBf16BetweenStagesWhenExecutedThenResultsAreThoseOfOneCore) {
  Options options;
  options.auto_cast = Options::AutoCast::kAll;
  const Bytes onnx = make_resnet_small(1);
  const Values inputs = random_inputs(onnx, 2, 1);
  EXPECT_EQ(execute(load(compiled(onnx, 3, options)), inputs), execute(load(compiled(onnx, 1, options)), inputs));
}

// H3: what a debug stream reports is the value that the graph has under that name, on the core where its stage runs.
TEST_F(Pipeline, GivenDebugValuesWhenExecutedThenTheDebugStreamReportsThem) {
  Options options;
  options.debug = {"Conv_0_out", "MaxPool_5_out"};
  const Bytes onnx = make_lenet();
  const Values inputs = random_inputs(onnx, 4, 1);
  const auto expected = test::evaluate(*onnx_model::import_model(onnx),
                                       {{"image", {{1, 1, 28, 28}, numbers<float>(inputs.at("image"))}}});
  const client::Model model = load(compiled(onnx, 3, options), 0);
  int streams[3] = {-1, -1, -1};
  for (int core = 0; core < 3; ++core) ASSERT_EQ(nrt_debug_client_connect(core, &streams[core]), NRT_SUCCESS);
  execute(model, inputs);
  std::map<std::string, std::uint32_t> reported;
  for (const int stream : streams) {
    ndebug_stream_event_header_t header{};
    void* payload = nullptr;
    while (nrt_debug_client_read_one_event(stream, &header, &payload) == NRT_SUCCESS) {
      const auto* event = static_cast<const ndebug_stream_payload_debug_tensor_read_t*>(payload);
      reported[event->prefix] = event->logical_nc_id;
      const auto& want = expected.at(event->prefix).data;
      std::vector<float> got(event->tensor_data_size / sizeof(float));
      std::memcpy(got.data(), event->tensor_data, event->tensor_data_size);
      std::free(payload);
      ASSERT_EQ(got.size(), want.size());
      double largest = 0;
      for (std::size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(want[i]));
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-5 * largest) << i;
    }
    nrt_debug_client_connect_close(stream);
  }
  EXPECT_THAT(reported,
              ::testing::ElementsAre(::testing::Pair("Conv_0_out", 0u), ::testing::Pair("MaxPool_5_out", 1u)));
}

TEST_F(Pipeline, GivenDebugValuesWhenExecutedThenResultsAreTheSame) {
  Options options;
  options.debug = {"Conv_0_out", "Relu_1_out", "Flatten_6_out", "probabilities"};
  const Values inputs = random_inputs(make_lenet(), 3, 1);
  const Values plain = execute(load(compiled(make_lenet(), 1)), inputs);
  EXPECT_EQ(execute(load(compiled(make_lenet(), 1, options)), inputs), plain);
  EXPECT_EQ(execute(load(compiled(make_lenet(), 3, options)), inputs), plain);
}

}  // namespace
}  // namespace opennrt::compile
