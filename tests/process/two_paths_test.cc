// SPDX-License-Identifier: Apache-2.0
// A program computes the same, to the last bit, whether the runtime drives the simulated chip itself (backend `sim`) or
// through the requests of the kernel driver (backend `neuron` on an emulated device; docs/fidelity.md, "The emulated
// /dev/neuron"). That it takes the same cycles: tests/golden, cycles_neuron, and here the time that `opennrt bench` shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/neff/neff.h"
#include "core/neff/npy.h"
#include "models/compiler.h"
#include "models/onnx/builder.h"
#include "tests/unit/tools/process.h"

namespace opennrt {
namespace {

using compile::Options;
using test::Outcome;
using test::read_text;
using test::run_program;
using test::TemporaryFolder;
using test::write_text;

struct Case {
  const char* name;
  std::vector<std::byte> (*onnx)();
  std::size_t cores;
};

std::vector<std::byte> digits() {
  const std::string text = read_text(std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/models/zoo/digits/digits.onnx");
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

class TwoPaths : public testing::TestWithParam<Case> {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  /// The tool with these arguments, on a machine of this test's own.
  Outcome opennrt(bool through_driver, const std::vector<std::string>& arguments) const {
    std::vector<std::string> words{std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/bin/opennrt"};
    const std::string tool = words.front();
    if (through_driver) words.insert(words.end(), {"emulate", "--instance", "inf1.2xlarge", "--", tool});
    words.insert(words.end(), arguments.begin(), arguments.end());
    return run_program(words, {{"OPENNRT_BACKEND", through_driver ? "neuron" : "sim"},
                               {"OPENNRT_SIM_INSTANCE", "inf1.2xlarge"},
                               {"OPENNRT_RUNTIME_DIR", runtime_.path().string()},
                               {"NEURON_RT_LOG_LEVEL", "ERROR"}});
  }
  TemporaryFolder folder_, runtime_;
};

TEST_P(TwoPaths, givenAModelWhenItRunsThroughTheDriverThenEveryByteIsTheSimulators) {
  Options compiler;
  compiler.cores = GetParam().cores;
  const auto neff = compile::compile_onnx(GetParam().onnx(), compiler);
  ASSERT_TRUE(neff) << neff.error().message;
  write_text(path("model.neff"), text_of(*neff));
  const auto model = neff::parse(*neff);
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_EQ(model->subgraphs.size(), GetParam().cores);

  // Inputs that are all different, so that nothing can be exchanged without being seen.
  std::vector<std::string> inputs;
  double value = 0.25;
  const Outcome asked = opennrt(false, {"run", path("model.neff"), "--zero-inputs", "-d", path("zero")});
  ASSERT_EQ(asked.exit, 0) << asked.err;
  for (const auto& tensor : model->subgraphs.front().tensors) {
    if (tensor.kind != neff::TensorKind::kInput) continue;
    neff::NpyArray array{
        tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}, std::vector<std::byte>(tensor.bytes)};
    ASSERT_EQ(array.dtype, "float32");
    for (std::size_t at = 0; at < array.data.size(); at += sizeof(float)) {
      value = std::fmod(value * 1.37 + 0.011, 1.0);
      const auto element = static_cast<float>(value);
      std::memcpy(&array.data[at], &element, sizeof(element));
    }
    const auto file = neff::write_npy(array);
    ASSERT_TRUE(file) << file.error().message;
    write_text(path(tensor.name + ".npy"), text_of(*file));
    inputs.insert(inputs.end(), {"-i", tensor.name + "=" + path(tensor.name + ".npy")});
  }

  for (const bool through_driver : {false, true}) {
    std::vector<std::string> arguments{"run", path("model.neff"), "-d", path(through_driver ? "driver" : "direct")};
    arguments.insert(arguments.end(), inputs.begin(), inputs.end());
    const Outcome ran = opennrt(through_driver, arguments);
    ASSERT_EQ(ran.exit, 0) << ran.err;
  }
  std::size_t outputs = 0;
  bool depends = false;
  for (const auto& entry : std::filesystem::directory_iterator(path("direct"))) {
    const std::string name = entry.path().filename().string(), direct = read_text(entry.path());
    EXPECT_GT(direct.size(), 128u) << name;
    EXPECT_TRUE(direct == read_text(path("driver") + "/" + name)) << name << " differs";
    depends |= direct != read_text(path("zero") + "/" + name);
    ++outputs;
  }
  EXPECT_GT(outputs, 0u);
  EXPECT_TRUE(depends) << "the outputs do not depend on the inputs";
}

INSTANTIATE_TEST_SUITE_P(Models, TwoPaths,
                         testing::Values(Case{"digits", digits, 1},
                                         Case{"resnet_small", [] { return compile::make_resnet_small(1); }, 1},
                                         Case{"pipeline_of_4", [] { return compile::make_resnet_small(1); }, 4}),
                         [](const auto& which) { return std::string(which.param.name); });

using Tools = TwoPaths;

TEST_P(Tools, givenAnEmulatedDeviceWhenTheToolsAreAskedThenTheySayTheSimulatedTime) {
  const auto neff = compile::compile_onnx(GetParam().onnx(), {});
  ASSERT_TRUE(neff) << neff.error().message;
  write_text(path("model.neff"), text_of(*neff));
  const auto time_in = [](const std::string& text, const std::string& before) {
    const std::size_t at = text.find(before);
    return at == std::string::npos ? std::string("no time: " + text) : text.substr(at, text.find(" us", at) - at);
  };
  const Outcome bench = opennrt(true, {"bench", path("model.neff"), "--iterations", "3"});
  ASSERT_EQ(bench.exit, 0) << bench.err;
  EXPECT_THAT(bench.out, testing::HasSubstr(": 3 inferences"));
  EXPECT_THAT(bench.out, testing::HasSubstr(" us per inference, from the first doorbell to the last notification\n"));
  EXPECT_THAT(time_in(bench.out, "simulated time  "), testing::MatchesRegex("simulated time +[1-9][0-9]+\\.[0-9]{3}"));
  const Outcome again = opennrt(true, {"bench", path("model.neff"), "--iterations", "3"});
  EXPECT_EQ(time_in(again.out, "simulated time  "), time_in(bench.out, "simulated time  ")) << "to the nanosecond";
  const Outcome run = opennrt(true, {"run", path("model.neff"), "--zero-inputs", "--stats"});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_THAT(run.out, testing::HasSubstr(" us per execution, from the first doorbell to the last notification"));
}

INSTANTIATE_TEST_SUITE_P(OnOneCore, Tools, testing::Values(Case{"digits", digits, 1}),
                         [](const auto& which) { return std::string(which.param.name); });

}  // namespace
}  // namespace opennrt
