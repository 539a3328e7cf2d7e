// SPDX-License-Identifier: Apache-2.0
//
// Pipelines on the simulated machine, below the C API: what only the device's clock shows, and debug tensors (requirements E4, G2,
// G4, H3).
#include "core/runtime/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/observe/debug_stream.h"
#include "core/runtime/model.h"
#include "tests/support/model_builder.h"
#include "tests/support/umd_fixture.h"

namespace opennrt {
namespace {

using test::ModelBuilder;
using ::testing::HasSubstr;
namespace stream = observe::debug_stream;

constexpr std::uint64_t kSecond = 1'000'000'000;

std::vector<float> ramp(std::size_t count, int start) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(start + static_cast<int>(i % 100));
  return values;
}

class OnMachine : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = umd::Backend::open("sim", host_.backend_dir(), host_.host);
    ASSERT_TRUE(backend) << backend.error().message;
    auto device = umd::Device::open(*backend, 0);
    ASSERT_TRUE(device) << device.error().message;
    for (std::uint32_t i = 0; i < 4; ++i) cores_.push_back({*device, i, i});
  }
  std::shared_ptr<Model> load(const ModelBuilder& builder, std::uint64_t timeout_ns = 30 * kSecond) {
    auto neff = neff::parse(builder.build());
    EXPECT_TRUE(neff) << neff.error().message;
    if (!neff) return nullptr;
    std::vector<Placement> placements;
    for (std::uint32_t i = 0; i < neff->subgraphs.size(); ++i) placements.push_back({i, cores_[i]});
    ModelConfiguration configuration;
    configuration.timeout_ns = timeout_ns;
    auto model = Model::load(*neff, placements, configuration);
    EXPECT_TRUE(model) << model.error().message;
    return model ? *model : nullptr;
  }
  std::uint64_t now() const { return cores_[0].device->clock_ns(); }

  test::Host host_;
  std::vector<Core> cores_;
};

/// One input "in", one output "out", in memory of the process.
struct InOut {
  std::shared_ptr<Tensor> in, out;
  TensorSet inputs, outputs;
  explicit InOut(const std::vector<float>& data) {
    const std::uint64_t bytes = data.size() * sizeof(float);
    in = std::make_shared<Tensor>("in", TensorView{*Storage::allocate_virtual(0, bytes), 0, bytes});
    out = std::make_shared<Tensor>("out", TensorView{*Storage::allocate_virtual(0, bytes), 0, bytes});
    EXPECT_TRUE(in->write(data.data(), 0, bytes));
    inputs.put("in", in.get(), in);
    outputs.put("out", out.get(), out);
  }
  std::vector<float> result() const {
    std::vector<float> values(out->view().size / sizeof(float));
    EXPECT_TRUE(out->read(values.data(), 0, out->view().size));
    return values;
  }
};

constexpr std::uint32_t kRows = 64, kWide = 1024;
constexpr std::size_t kCount = std::size_t{kRows} * kWide;

ModelBuilder four_stages() {
  return test::sum_pipeline({ramp(kCount, 1), ramp(kCount, 2), ramp(kCount, 3), ramp(kCount, 4)}, kRows, kWide);
}

TEST_F(OnMachine, givenSeveralThreadsWhenAPipelineRunsThenItsCoresWorkSideBySide) {
  const auto model = load(four_stages());
  ASSERT_NE(model, nullptr);
  // The device's clock stands still while nothing is done; so time that passes twice is work side by side.
  const auto work_and_time = [&](unsigned threads, int inferences) {
    std::atomic<std::uint64_t> work{0};
    const std::uint64_t begin = now();
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&] {
        InOut tensors(ramp(kCount, 0));
        for (int i = 0; i < inferences; ++i) {
          const auto report = model->execute(tensors.inputs, tensors.outputs, 1);
          ASSERT_TRUE(report) << report.error().message;
          ASSERT_EQ(report->outcome, umd::Outcome::kCompleted) << report->message;
          work += report->device_ns;
          EXPECT_EQ(tensors.result()[1], 4 + 10 + 1) << "0+1, then +1 each and 1+2+3+4";
        }
      });
    for (std::thread& thread : all) thread.join();
    return std::pair(work.load(), now() - begin);
  };
  const auto [alone, alone_time] = work_and_time(1, 4);
  EXPECT_LE(alone, alone_time);
  const auto [together, together_time] = work_and_time(6, 8);
  EXPECT_GT(together, together_time + together_time / 4) << "threads overlap only in the queue";
  RecordProperty("overlap_percent", static_cast<int>(100 * together / together_time));
}

TEST_F(OnMachine, givenATimeoutWhenTheStepsTakeLongerTogetherThenTheInferenceTimesOut) {
  const auto unlimited = load(four_stages());
  ASSERT_NE(unlimited, nullptr);
  InOut tensors(ramp(kCount, 0));
  auto report = unlimited->execute(tensors.inputs, tensors.outputs, 1);
  ASSERT_TRUE(report);
  const std::uint64_t whole = report->device_ns;
  ASSERT_GT(whole, 0u);
  const auto generous = load(four_stages(), 2 * whole), tight = load(four_stages(), whole / 2);
  report = tight->execute(tensors.inputs, tensors.outputs, 1);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->outcome, umd::Outcome::kTimeout) << "each step alone would have had the time";
  EXPECT_THAT(report->message, testing::AnyOf(HasSubstr("step 2 of 4"), HasSubstr("step 3 of 4")));
  EXPECT_THAT(report->message, HasSubstr("inference timeout"));
  report = generous->execute(tensors.inputs, tensors.outputs, 1);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->outcome, umd::Outcome::kCompleted) << report->message;
}

/// Adds ramp(64, 1); the sum is kept in a tmp-buf, too.
test::SubgraphBuilder with_debug_tensors() {
  using B = test::SubgraphBuilder;
  auto b = test::with_constant(test::binary_program(isa::Alu::kAdd, 4, 16), "b", test::bytes_of(ramp(64, 1)));
  const auto kept = b.variable("kept", neff::VariableType::kTmpBuf, 256);
  constexpr std::int64_t kStride = inf1::chosen::kSbufPartitionStride;
  std::size_t sbuf = 0, out = 0;
  for (std::size_t i = 0; i < b.graph.variables.size(); ++i) {
    if (b.graph.variables[i].type == neff::VariableType::kStateBuffer) sbuf = i;
    if (b.graph.variables[i].name == "out") out = i;
  }
  const auto keep = b.queue("keep", neff::QueueType::kData, isa::Engine::kPe);
  b.dma(keep, 2, B::rows(sbuf, 64, 4, kStride, 128), B::flat(kept, 256)).semaphore = 3;
  b.trigger(isa::Engine::kPe, 2);
  b.wait(isa::Engine::kPe, 3);
  b.graph.debug_tensors.push_back({"in the middle", "float32", {4, 16}, 256, kept});
  b.graph.debug_tensors.push_back({"half of the output", "float32", {2, 16}, 128, out});
  return b;
}

TEST_F(OnMachine, givenDebugTensorsWhenSomebodyListensThenEachInferenceReportsItsOwn) {
  // The second of two stages has them: they come under its core.
  const auto model = load(ModelBuilder()
                              .input("in", {4, 16})
                              .output("out", {4, 16})
                              .subgraph(test::renamed(test::copy_program(4, 16), "sg00", {{"out", "x"}}))
                              .subgraph(test::renamed(with_debug_tensors(), "sg01", {{"a", "x"}})));
  ASSERT_NE(model, nullptr);
  InOut tensors(ramp(64, 5));
  ASSERT_TRUE(model->execute(tensors.inputs, tensors.outputs, 1)) << "nobody listens";
  const auto listener = stream::connect(1, 16);
  ASSERT_TRUE(listener) << listener.error().message;
  std::vector<stream::Event> events;
  const auto take_all = [&] {
    events.clear();
    for (;;) {
      const auto there = stream::read(*listener, [&](const stream::Event& event) -> Status {
        events.push_back(event);
        return {};
      });
      ASSERT_TRUE(there) << there.error().message;
      if (!*there) return;
    }
  };
  take_all();
  EXPECT_TRUE(events.empty()) << "what was before the connection";
  for (int start : {5, 30}) {
    InOut next(ramp(64, start));
    const auto report = model->execute(next.inputs, next.outputs, 1);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->outcome, umd::Outcome::kCompleted) << report->message;
    std::vector<float> sum(64);
    for (std::size_t i = 0; i < 64; ++i) sum[i] = static_cast<float>(start + 1 + 2 * static_cast<int>(i));
    EXPECT_EQ(next.result(), sum);
    take_all();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].name, "in the middle");
    EXPECT_EQ(events[0].dtype, "float32");
    EXPECT_EQ(events[0].vnc, 1u);
    EXPECT_EQ(events[0].shape[0], 4u);
    EXPECT_EQ(events[0].shape[1], 16u);
    EXPECT_EQ(events[0].data, test::bytes_of(sum));
    EXPECT_EQ(events[1].name, "half of the output");
    EXPECT_EQ(events[1].data, test::bytes_of(std::vector<float>(sum.begin(), sum.begin() + 32)));
  }
  EXPECT_TRUE(stream::close(*listener));
}

TEST_F(OnMachine, givenADebugTensorOfADeviceOutputWhenReportedThenItIsReadFromTheDevice) {
  const auto model = load(ModelBuilder().input("a", {4, 16}).output("out", {4, 16}).subgraph(with_debug_tensors()));
  ASSERT_NE(model, nullptr);
  const auto data = ramp(64, 7);
  TensorSet inputs, outputs;
  auto in = std::make_shared<Tensor>("a", TensorView{*Storage::allocate_device(cores_[0], 0, 256), 0, 256});
  auto out = std::make_shared<Tensor>("out", TensorView{*Storage::allocate_device(cores_[0], 0, 512), 256, 256});
  ASSERT_TRUE(in->write(data.data(), 0, 256));
  inputs.put("a", in.get(), in);
  outputs.put("out", out.get(), out);
  const auto listener = stream::connect(0, 16);
  ASSERT_TRUE(listener) << listener.error().message;
  ASSERT_TRUE(model->execute(inputs, outputs, 1));
  std::vector<std::byte> reported;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(stream::read(*listener, [&](const stream::Event& event) -> Status {
      reported = event.data;
      return {};
    }));
  std::vector<float> sum(32);
  for (std::size_t i = 0; i < 32; ++i) sum[i] = static_cast<float>(8 + 2 * static_cast<int>(i));
  EXPECT_EQ(reported, test::bytes_of(sum));
  EXPECT_TRUE(stream::close(*listener));
}

TEST_F(OnMachine, givenAVariableWhenReadOutsideOfAnInferenceThenItIsRefused) {
  auto program = umd::Program::load(cores_[0].device, cores_[0].device_core, with_debug_tensors().graph);
  ASSERT_TRUE(program) << program.error().message;
  std::vector<std::byte> data(256);
  const Status early = (*program)->read_variable("kept", data);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::kInvalidArgument);
  std::vector<float> in = ramp(64, 0), out(64);
  int called = 0;
  umd::Run run{kSecond, 0, [&] {
                 ++called;
                 EXPECT_TRUE((*program)->read_variable("kept", data));
                 std::vector<std::byte> more(257);
                 EXPECT_THAT((*program)->read_variable("kept", more).error().message,
                             HasSubstr("257 bytes of variable 'kept' are asked for, expected at most 256"));
                 EXPECT_FALSE((*program)->read_variable("sbuf", data));
               }};
  const umd::Binding input{"a", nullptr, 0, std::as_writable_bytes(std::span(in))},
      output{"out", nullptr, 0, std::as_writable_bytes(std::span(out))};
  const auto report = (*program)->execute({&input, 1}, {&output, 1}, run);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(called, 1);
  EXPECT_EQ(data, test::bytes_of(out));
}

}  // namespace
}  // namespace opennrt
