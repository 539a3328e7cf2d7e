// SPDX-License-Identifier: Apache-2.0
//
// Every kind of hang, through the public C API and with the default limit of 30 s: the documented status, who waits for what in
// the log, and a core that works again. How long it took on the wall is printed, not asserted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace {

using opennrt::isa::Engine;
using opennrt::test::SubgraphBuilder;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint32_t kPartitions = 4, kColumns = 16;
constexpr std::size_t kBytes = std::size_t{kPartitions} * kColumns * sizeof(float);

class Hang : public ::testing::Test {
 protected:
  void SetUp() override {
    log_ = std::filesystem::temp_directory_path() / ("opennrt-hang-" + std::to_string(::getpid()) + ".log");
    std::error_code none;
    const auto size = std::filesystem::file_size(log_, none);  // the library keeps the file open
    begin_ = none ? 0 : size;
    ::setenv("NEURON_RT_LOG_LOCATION", log_.c_str(), 1);
    ::setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    ::unsetenv("NEURON_RT_EXEC_TIMEOUT");
    ::unsetenv("OPENNRT_TEST_FAULT");
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
    works_ = load(opennrt::test::copy_program(kPartitions, kColumns));
  }
  void TearDown() override {
    ::unsetenv("OPENNRT_TEST_FAULT");
    nrt_close();
  }

  static nrt_model_t* load(const SubgraphBuilder& program) {
    const auto neff = opennrt::test::NeffBuilder::of(program.graph).build();
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), 1, -1, &model), NRT_SUCCESS);
    return model;
  }
  /// Copies `in` through the device; what came out.
  NRT_STATUS run(nrt_model_t* model, std::vector<float>& out, float seed) {
    std::vector<float> in(kBytes / sizeof(float));
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = seed + static_cast<float>(i);
    nrt_tensor_set_t *inputs = nullptr, *outputs = nullptr;
    nrt_tensor_t *from = nullptr, *to = nullptr;
    EXPECT_EQ(nrt_allocate_tensor_set(&inputs), NRT_SUCCESS);
    EXPECT_EQ(nrt_allocate_tensor_set(&outputs), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1, kBytes, "in", &from), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1, kBytes, "out", &to), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_write(from, in.data(), 0, kBytes), NRT_SUCCESS);
    EXPECT_EQ(nrt_add_tensor_to_tensor_set(inputs, "in", from), NRT_SUCCESS);
    EXPECT_EQ(nrt_add_tensor_to_tensor_set(outputs, "out", to), NRT_SUCCESS);
    const auto begin = std::chrono::steady_clock::now();
    const NRT_STATUS status = nrt_execute(model, inputs, outputs);
    wall_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    out.resize(in.size());
    EXPECT_EQ(nrt_tensor_read(to, out.data(), 0, kBytes), NRT_SUCCESS);
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    nrt_tensor_free(&from);
    nrt_tensor_free(&to);
    return status;
  }
  /// `model` ends with `expected` while `fault` is on; then the core does what it is told, twice, and so does the model
  /// when the fault was the driver's.
  void expect_hang(nrt_model_t* model, const char* fault, NRT_STATUS expected, bool model_is_good) {
    std::vector<float> out;
    for (int round = 0; round < 2; ++round) {
      ::setenv("OPENNRT_TEST_FAULT", fault, 1);
      EXPECT_EQ(run(model, out, 1.0f), expected) << logged();
      ::unsetenv("OPENNRT_TEST_FAULT");
      std::printf("  %-8s status %d after %.1f ms on the wall\n", fault, static_cast<int>(expected), wall_ms_);
      for (nrt_model_t* after : {works_, model_is_good ? model : works_}) {
        const float seed = 100.0f * static_cast<float>(round + 1);
        ASSERT_EQ(run(after, out, seed), NRT_SUCCESS) << logged();
        for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], seed + static_cast<float>(i)) << i;
      }
    }
  }
  std::string logged() const {
    std::ifstream file(log_);
    file.seekg(static_cast<std::streamoff>(begin_));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::filesystem::path log_;
  std::uintmax_t begin_ = 0;
  nrt_model_t* works_ = nullptr;
  double wall_ms_ = 0;
};

TEST_F(Hang, givenASemaphoreThatIsNeverRaisedThenTimeoutAndTheLogNamesEngineInstructionAndSemaphore) {
  SubgraphBuilder b = opennrt::test::copy_program(kPartitions, kColumns);
  b.add(Engine::kAct, {});
  b.wait(Engine::kAct, 21, 3);
  expect_hang(load(b), "none", NRT_TIMEOUT, false);
  EXPECT_THAT(logged(), HasSubstr("inference timeout (30000 ms) on Neuron Device 0 NC 1"));
  EXPECT_THAT(logged(), ContainsRegex("act waits for semaphore 21 >= 3 \\(now 0\\) at instruction [0-9]+"));
}

TEST_F(Hang, givenAnEventThatIsNeverSetThenTimeoutAndTheLogNamesIt) {
  SubgraphBuilder b = opennrt::test::copy_program(kPartitions, kColumns);
  opennrt::isa::Instruction wait;
  wait.opcode = opennrt::isa::Opcode::kEventWait;
  wait.immediate_u32 = 200;
  b.add(Engine::kPe, wait);
  expect_hang(load(b), "none", NRT_TIMEOUT, false);
  EXPECT_THAT(logged(), ContainsRegex("pe waits for event 200 at instruction [0-9]+"));
}

TEST_F(Hang, givenARingWithoutDestinationsThenTimeoutAndTheLogNamesTheQueueAndTheStarvedEngines) {
  nrt_model_t* model = load(opennrt::test::copy_program(kPartitions, kColumns));
  expect_hang(model, "starve", NRT_TIMEOUT, true);
  EXPECT_THAT(logged(), ContainsRegex("q [0-9]+/[0-9]+ waits for destination descriptors: 0 of [0-9]+ bytes"));
  for (const char* engine : {"pe", "act", "pool"})
    EXPECT_THAT(logged(), HasSubstr(std::string(engine) + " has received no instruction"));
}

TEST_F(Hang, givenANotificationQueueThatNobodyEmptiesThenOverflow) {
  SubgraphBuilder b = opennrt::test::copy_program(kPartitions, kColumns);
  opennrt::isa::Instruction notify;
  notify.opcode = opennrt::isa::Opcode::kNotify;
  notify.immediate_u32 = 77;
  for (int i = 0; i < 5000; ++i) b.add(Engine::kPe, notify);
  expect_hang(load(b), "deaf", NRT_EXEC_SW_NQ_OVERFLOW, true);
  EXPECT_THAT(logged(), HasSubstr("notification queue overflow: an entry was lost"));
  EXPECT_THAT(logged(), Not(HasSubstr("inference timeout")));
}

TEST_F(Hang, givenAnInstructionDamagedInDramThenItIsNamedAndTheEnginesThatWaitedAreFreed) {
  SubgraphBuilder b = opennrt::test::copy_program(kPartitions, kColumns);
  opennrt::isa::Instruction signal;
  signal.signal = {opennrt::isa::SignalMode::kIncrement, 9, 1};
  b.add(Engine::kPe, signal);  // the one that is damaged: act waits for it
  b.wait(Engine::kAct, 9);
  expect_hang(load(b), "damage", NRT_INVALID, false);
  EXPECT_THAT(logged(), HasSubstr("illegal instruction at instruction 0 of pe"));
}

TEST_F(Hang, givenAnEngineThatStopsThenTimeoutAndTheLogNamesTheInstruction) {
  SubgraphBuilder b = opennrt::test::copy_program(kPartitions, kColumns);
  opennrt::isa::Instruction halt;
  halt.opcode = opennrt::isa::Opcode::kHalt;
  b.add(Engine::kAct, halt);
  expect_hang(load(b), "none", NRT_TIMEOUT, false);
  EXPECT_THAT(logged(), ContainsRegex("act stopped at instruction [0-9]+: halt instruction"));
}

}  // namespace
