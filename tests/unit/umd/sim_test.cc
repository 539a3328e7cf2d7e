// SPDX-License-Identifier: Apache-2.0
//
// The user-mode driver on the simulated chip: programs put together by hand, results against plain loops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "core/umd/program.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/support/umd_fixture.h"

namespace opennrt::umd {
namespace {

using test::device_binding;
using test::host_binding;
using test::SubgraphBuilder;
using ::testing::HasSubstr;

constexpr std::uint64_t kTimeout = 30'000'000'000;

class UmdSim : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = Backend::open("sim", host_.backend_dir(), host_.host);
    ASSERT_TRUE(backend) << backend.error().message;
    auto device = Device::open(*backend, 0);
    ASSERT_TRUE(device) << device.error().message;
    device_ = *device;
  }
  std::unique_ptr<Program> load(const neff::Subgraph& g, std::uint32_t core = 0) {
    auto program = Program::load(device_, core, g);
    EXPECT_TRUE(program) << program.error().message;
    return program ? std::move(*program) : nullptr;
  }
  static ExecutionReport execute(Program& program, std::vector<Binding> in, std::vector<Binding> out,
                                 std::uint64_t timeout = kTimeout) {
    auto report = program.execute(in, out, timeout);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : ExecutionReport{Outcome::kUnrecoverable, "", 0};
  }
  static std::vector<float> random_values(std::size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> values(-10, 10);
    std::vector<float> out(n);
    for (float& v : out) v = values(random);
    return out;
  }
  /// One inference of copy_program with `n` floats; true when the output is the input.
  static void expect_copies(Program& program, std::size_t n, unsigned seed) {
    auto in = random_values(n, seed);
    std::vector<float> out(n, -1.0f);
    auto report = execute(program, {host_binding("in", in)}, {host_binding("out", out)});
    ASSERT_EQ(report.outcome, Outcome::kCompleted) << report.message;
    ASSERT_EQ(out, in);
  }

  test::Host host_;
  std::shared_ptr<Device> device_;
};

TEST_F(UmdSim, givenACopyProgramWhenExecutedThenTheOutputIsTheInput) {
  for (auto [partitions, n] : {std::pair{1u, 1u}, {2u, 4u}, {128u, 64u}, {128u, 16384u}, {3u, 20000u}}) {
    auto program = load(test::copy_program(partitions, n).graph);
    ASSERT_TRUE(program);
    expect_copies(*program, std::size_t{partitions} * n, partitions);
  }
}

TEST_F(UmdSim, givenThreeEnginesWhenExecutedThenTheSumIsThatOfAPlainLoop) {
  auto program = load(test::binary_program(isa::Alu::kAdd, 64, 200).graph, 3);
  ASSERT_TRUE(program);
  for (unsigned round = 0; round < 3; ++round) {
    auto a = random_values(64 * 200, round), b = random_values(64 * 200, round + 100);
    std::vector<float> out(a.size());
    auto report = execute(*program, {host_binding("a", a), host_binding("b", b)}, {host_binding("out", out)});
    ASSERT_EQ(report.outcome, Outcome::kCompleted) << report.message;
    EXPECT_GT(report.device_ns, 1000u);
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], a[i] + b[i]) << i;  // one IEEE addition: exact
  }
}

TEST_F(UmdSim, givenANeffInMemoryWhenParsedAndExecutedThenItComputes) {
  SubgraphBuilder b = test::binary_program(isa::Alu::kMult, 4, 8);
  auto neff = neff::parse(test::NeffBuilder::of(b.graph).build(), {.validate_hash = true});
  ASSERT_TRUE(neff) << neff.error().message;
  auto program = load(neff->subgraphs[0]);
  ASSERT_TRUE(program);
  auto x = random_values(32, 1), y = random_values(32, 2);
  std::vector<float> out(32);
  ASSERT_EQ(execute(*program, {host_binding("a", x), host_binding("b", y)}, {host_binding("out", out)}).outcome,
            Outcome::kCompleted);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], x[i] * y[i]);
}

TEST_F(UmdSim, givenAConstantAndAScratchpadWhenExecutedThenDataGoesThroughThem) {
  SubgraphBuilder b;
  auto weights = random_values(100, 9);
  auto bytes = std::as_bytes(std::span(weights));
  auto w = b.constant("w", {bytes.begin(), bytes.end()}, "w.bin"),
       scratch = b.variable("scratch", neff::VariableType::kTmpBuf, 400);
  auto out = b.output("out", {100});
  auto one = b.queue("one", neff::QueueType::kData, isa::Engine::kAct),
       two = b.queue("two", neff::QueueType::kOut, isa::Engine::kAct);
  b.dma(one, 5, SubgraphBuilder::flat(w, 400), SubgraphBuilder::flat(scratch, 400)).semaphore = 4;
  // Backwards, 4 bytes at a time.
  b.dma(two, 6, {scratch, 396, {4, 100}, {1, -4}}, SubgraphBuilder::flat(out, 400)).event = 17;
  b.trigger(isa::Engine::kAct, 5);
  b.trigger(isa::Engine::kAct, 6, {isa::WaitMode::kConsume, 4, 1});
  isa::Instruction wait, clear;
  wait.opcode = isa::Opcode::kEventWait;
  clear.opcode = isa::Opcode::kEventClear;
  wait.immediate_u32 = clear.immediate_u32 = 17;
  b.add(isa::Engine::kAct, wait);
  b.add(isa::Engine::kAct, clear);
  auto program = load(b.graph, 2);
  ASSERT_TRUE(program);
  for (int i = 0; i < 3; ++i) {
    std::vector<float> got(100);
    auto report = execute(*program, {}, {host_binding("out", got)});
    ASSERT_EQ(report.outcome, Outcome::kCompleted) << report.message;
    std::reverse(got.begin(), got.end());
    EXPECT_EQ(got, weights);
  }
  auto use = program->memory_use();
  EXPECT_EQ(use.constants, 400u);
  EXPECT_EQ(use.scratchpad, 400u);
  EXPECT_GT(use.code, 0u);
  EXPECT_GT(use.rings, 0u);
}

TEST_F(UmdSim, givenDeviceAndHostBindingsInTurnWhenExecutedThenBothWork) {
  auto program = load(test::copy_program(8, 16).graph, 1);
  ASSERT_TRUE(program);
  auto in_memory = *device_->allocate_device(4096, 1, OPENNRT_MEM_TENSORS_DEVICE),
       out_memory = *device_->allocate_device(4096, 1, OPENNRT_MEM_TENSORS_DEVICE);
  for (unsigned i = 0; i < 8; ++i) {
    auto in = random_values(128, i);
    std::vector<float> out(128);
    std::uint64_t offset = 64 * i;
    ASSERT_TRUE(in_memory->write(offset, std::as_bytes(std::span(in))));
    std::vector<Binding> from{i & 1 ? device_binding("in", in_memory, offset) : host_binding("in", in)};
    std::vector<Binding> to{i & 2 ? device_binding("out", out_memory, offset) : host_binding("out", out)};
    ASSERT_EQ(execute(*program, from, to).outcome, Outcome::kCompleted);
    if (i & 2) {
      ASSERT_TRUE(out_memory->read(offset, std::as_writable_bytes(std::span(out))));
    }
    EXPECT_EQ(out, in) << i;
  }
}

TEST_F(UmdSim, givenANaNWhenExecutedThenOutputsAreThereAndTheOutcomeSaysIt) {
  auto program = load(test::binary_program(isa::Alu::kSubtract, 2, 2).graph);
  ASSERT_TRUE(program);
  const float inf = INFINITY;
  std::vector<float> a{inf, 1, 2, 3}, b{inf, 1, 1, 1}, out(4);
  auto report = execute(*program, {host_binding("a", a), host_binding("b", b)}, {host_binding("out", out)});
  EXPECT_EQ(report.outcome, Outcome::kCompletedWithNumericalError);
  EXPECT_THAT(report.message, HasSubstr("of pool"));
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[3], 2.0f);
  a[0] = 5, b[0] = 3;
  EXPECT_EQ(execute(*program, {host_binding("a", a), host_binding("b", b)}, {host_binding("out", out)}).outcome,
            Outcome::kCompleted);
  EXPECT_EQ(out[0], 2.0f);
}

TEST_F(UmdSim, givenAHangWhenExecutedThenTheTimeoutComesAtOnceAndTheCoreIsUsableAgain) {
  SubgraphBuilder b = test::copy_program(2, 4);
  b.wait(isa::Engine::kPe, 21);  // nobody signals it
  auto hangs = load(b.graph, 1), works = load(test::copy_program(2, 4).graph, 1);
  ASSERT_TRUE(hangs && works);
  expect_copies(*works, 8, 1);
  for (int i = 0; i < 3; ++i) {
    std::vector<float> in(8), out(8);
    auto begin = std::chrono::steady_clock::now();
    auto report = execute(*hangs, {host_binding("in", in)}, {host_binding("out", out)});
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_EQ(report.outcome, Outcome::kTimeout) << report.message;
    EXPECT_EQ(report.device_ns, kTimeout) << "it lasted to its deadline";
    EXPECT_THAT(report.message, HasSubstr("inference timeout (30000 ms) on Neuron Device 0 NC 1"));
    EXPECT_THAT(report.message, HasSubstr("(end:0) of pe"));
    EXPECT_THAT(report.message, HasSubstr("21"));  // what the backend says names the semaphore
    EXPECT_LT(ms, 5000);
    expect_copies(*works, 8, 10u + static_cast<unsigned>(i));
  }
}

TEST_F(UmdSim, givenAHaltWhenExecutedThenTheNextInferenceWorks) {
  SubgraphBuilder b = test::copy_program(2, 4);
  isa::Instruction halt;
  halt.opcode = isa::Opcode::kHalt;
  b.add(isa::Engine::kAct, halt);
  auto halts = load(b.graph, 2), works = load(test::copy_program(2, 4).graph, 2);
  ASSERT_TRUE(halts && works);
  std::vector<float> in(8), out(8);
  EXPECT_EQ(execute(*halts, {host_binding("in", in)}, {host_binding("out", out)}).outcome, Outcome::kTimeout);
  expect_copies(*works, 8, 3);
}

TEST_F(UmdSim, givenInstructionsDamagedInDeviceMemoryWhenExecutedThenTheyAreIllegalAndTheCoreIsUsableAgain) {
  // The loader's checks are passed; then one byte of DRAM changes, as a fault of the memory would change it.
  auto program = load(test::copy_program(2, 4).graph), works = load(test::copy_program(2, 4).graph);
  ASSERT_TRUE(program && works);
  auto& code = static_cast<LoadedProgram&>(*program).code();
  const std::byte illegal{0xee};
  ASSERT_TRUE(code.write(64, {&illegal, 1}));  // opcode of the first instruction of pe: behind a block of 64 bytes
  std::vector<float> in(8), out(8);
  auto report = execute(*program, {host_binding("in", in)}, {host_binding("out", out)});
  EXPECT_EQ(report.outcome, Outcome::kIllegalInstruction) << report.message;
  EXPECT_THAT(report.message, HasSubstr("illegal instruction at instruction 0 of pe"));
  expect_copies(*works, 8, 5);
}

TEST_F(UmdSim, givenTwoProgramsOnOneCoreWhenExecutedInTurnThenNeitherDisturbsTheOther) {
  auto copy = load(test::copy_program(16, 32).graph), add = load(test::binary_program(isa::Alu::kAdd, 16, 32).graph);
  ASSERT_TRUE(copy && add);
  for (unsigned i = 0; i < 20; ++i) {
    expect_copies(*copy, 512, i);
    auto a = random_values(512, i), b = random_values(512, i + 50);
    std::vector<float> out(512);
    ASSERT_EQ(execute(*add, {host_binding("a", a), host_binding("b", b)}, {host_binding("out", out)}).outcome,
              Outcome::kCompleted);
    for (std::size_t k = 0; k < out.size(); ++k) ASSERT_EQ(out[k], a[k] + b[k]);
  }
}

TEST_F(UmdSim, givenAThousandExecutionsWhenDoneThenEachIsRightAndTakesTheSameDeviceTime) {
  auto program = load(test::copy_program(4, 8).graph);
  ASSERT_TRUE(program);
  std::uint64_t device_ns = 0;
  for (unsigned i = 0; i < 1000; ++i) {
    auto in = random_values(32, i);
    std::vector<float> out(32);
    auto report = execute(*program, {host_binding("in", in)}, {host_binding("out", out)});
    ASSERT_EQ(report.outcome, Outcome::kCompleted) << report.message;
    ASSERT_EQ(out, in);
    // Both ends of the interval are rounded to whole nanoseconds of a clock that ticks in picoseconds.
    if (i == 1) device_ns = report.device_ns;
    if (i > 1) {
      ASSERT_NEAR(static_cast<double>(report.device_ns), static_cast<double>(device_ns), 1) << i;
    }
  }
}

TEST_F(UmdSim, givenFourThreadsOnFourCoresWhenExecutingThenAllAreRight) {
  std::vector<std::thread> threads;
  for (std::uint32_t core = 0; core < 4; ++core)
    threads.emplace_back([this, core] {
      auto program = load(test::copy_program(8, 32).graph, core);
      ASSERT_TRUE(program);
      for (unsigned i = 0; i < 60; ++i) expect_copies(*program, 256, core * 1000 + i);
    });
  for (auto& thread : threads) thread.join();
}

TEST_F(UmdSim, givenFourThreadsOnOneProgramWhenExecutingThenAllAreRight) {
  auto program = load(test::copy_program(8, 32).graph);
  ASSERT_TRUE(program);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 60; ++i) expect_copies(*program, 256, t * 1000 + i);
    });
  for (auto& thread : threads) thread.join();
}

TEST_F(UmdSim, givenLoadingAndUnloadingWhenRepeatedThenNoMemoryIsLost) {
  opennrt_mem_stats_t before{}, after{};
  load(test::copy_program(8, 32).graph).reset();
  ASSERT_EQ(device_->api().mem_stats(device_->handle(), 0, &before), 0);
  for (unsigned i = 0; i < 20; ++i) {
    auto program = load(test::copy_program(8, 32).graph);
    ASSERT_TRUE(program);
    expect_copies(*program, 256, i);
  }
  ASSERT_EQ(device_->api().mem_stats(device_->handle(), 0, &after), 0);
  EXPECT_EQ(before.used_by_process, after.used_by_process);
}

TEST_F(UmdSim, givenAnInstructionStreamLongerThanTheFifoWhenExecutedThenAllOfItRuns) {
  SubgraphBuilder b = test::copy_program(2, 4);
  isa::Instruction signal;  // 5000 × 64 bytes: 20 times the FIFO
  signal.signal = {isa::SignalMode::kIncrement, 9, 1};
  for (int i = 0; i < 5000; ++i) b.add(isa::Engine::kPe, signal);
  b.wait(isa::Engine::kAct, 9, 5000);
  auto program = load(b.graph);
  ASSERT_TRUE(program);
  expect_copies(*program, 8, 1);
}

}  // namespace
}  // namespace opennrt::umd
