// SPDX-License-Identifier: Apache-2.0
// Requirements A3, B9, F2, F3, G1, G2, G4: executions.
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

using Execute = Open;
constexpr std::size_t kCount = 64;  // floats of a tensor of the small models

TEST_F(Execute, givenEveryPlacementOfInputAndOutputWhenExecutedThenTheResultIsRight) {
  nrt_model_t* model = load(add_neff());
  for (const auto from : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
    for (const auto to : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
      Set in, out;
      const auto a = numbers(kCount, 1), b = numbers(kCount, 2);
      in.add("a", from, a);
      in.add("b", from, b);
      nrt_tensor_t* result = out.add("out", to, std::vector<float>(kCount, -1.0f));
      ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << from << " " << to << "\n" << logged();
      const auto sum = values_of<float>(result);
      for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(sum[i], a[i] + b[i]) << i;
    }
  }
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
}

TEST_F(Execute, givenTheFirstTensorsOnTheDeviceWhenExecutedThenEveryRowIsRead) {
  // Device memory begins at address 0; on one of the cores the first tensor is there.
  for (int vnc = 0; vnc < 4; ++vnc) {
    Set in, out;
    const auto data = numbers(kCount, 1);
    in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data, vnc);
    nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount), vnc);
    nrt_model_t* model = load(copy_neff(), vnc);
    ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
    EXPECT_EQ(values_of<float>(result), data) << vnc;
    EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  }
}

TEST_F(Execute, givenAttachedBuffersAndSlicesWhenExecutedThenTheyAreReadAndWritten) {
  nrt_model_t* model = load(add_neff());
  auto a = numbers(kCount, 3), b = numbers(3 * kCount, 4);
  std::vector<float> result(kCount);
  Set in, out;
  nrt_tensor_t *attached = nullptr, *slice = nullptr, *target = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_empty("a", &attached), NRT_SUCCESS);
  ASSERT_EQ(nrt_tensor_attach_buffer(attached, a.data(), kCount * 4), NRT_SUCCESS);
  in.add("a", attached);
  Set owner;
  nrt_tensor_t* whole = owner.add("whole", NRT_TENSOR_PLACEMENT_DEVICE, b);
  ASSERT_EQ(nrt_tensor_allocate_slice(whole, kCount * 4, kCount * 4, "b", &slice), NRT_SUCCESS);
  in.add("b", slice);
  ASSERT_EQ(nrt_tensor_allocate_empty("out", &target), NRT_SUCCESS);
  ASSERT_EQ(nrt_tensor_attach_buffer(target, result.data(), kCount * 4), NRT_SUCCESS);
  out.add("out", target);
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
  for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(result[i], a[i] + b[kCount + i]) << i;
  nrt_tensor_t* part = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_slice(whole, 2 * kCount * 4, kCount * 4, "out", &part), NRT_SUCCESS);
  Set into;
  into.add("out", part);
  ASSERT_EQ(nrt_execute(model, in.get(), into.get()), NRT_SUCCESS) << logged();
  const auto after = values_of<float>(whole);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(after[i], b[i]) << "in front of the slice";
    EXPECT_EQ(after[kCount + i], b[kCount + i]) << "the input";
    EXPECT_EQ(after[2 * kCount + i], a[i] + b[kCount + i]) << "the slice";
  }
  for (nrt_tensor_t** tensor : {&attached, &slice, &target, &part}) nrt_tensor_free(tensor);
}

TEST_F(Execute, givenTwoModelsWhenTheyPlayPingPongWithDeviceTensorsThenNothingIsLost) {
  nrt_model_t* first = load(copy_neff(), 0);
  nrt_model_t* second = load(copy_neff(), 0);
  Set ping_in, ping_out, pong_in, pong_out;
  const auto data = numbers(kCount, 5);
  nrt_tensor_t* left = ping_in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data);
  nrt_tensor_t* right = ping_out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount));
  pong_in.add("in", right);
  pong_out.add("out", left);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(nrt_execute(first, ping_in.get(), ping_out.get()), NRT_SUCCESS) << logged();
    ASSERT_EQ(nrt_execute(second, pong_in.get(), pong_out.get()), NRT_SUCCESS) << logged();
  }
  EXPECT_EQ(values_of<float>(left), data);
  EXPECT_EQ(values_of<float>(right), data);
}

TEST_F(Execute, givenACompletedExecutionWhenItsOutputIsAskedForThenItCounts) {
  nrt_model_t* model = load(copy_neff());
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 3), NRT_SUCCESS);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 1000, 4), NRT_TIMEOUT);
  EXPECT_EQ(nrt_tensor_reset_output_completion(result), NRT_SUCCESS);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 1000, 1), NRT_TIMEOUT);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
  });
  EXPECT_EQ(nrt_tensor_check_output_completion(result, -1, 1), NRT_SUCCESS);
  later.join();
}

TEST_F(Execute, givenAModelWhoseOutputsMatchItsInputsWhenRepeatedThenOutputsAreFedBack) {
  // out = in + in, so that n repetitions multiply by 2^n.
  auto program = opennrt::test::copy_program(4, 16);
  opennrt::isa::Instruction twice;
  twice.opcode = opennrt::isa::Opcode::kTensorTensor;
  twice.wait = {opennrt::isa::WaitMode::kConsume, 0, 1};
  twice.signal = {opennrt::isa::SignalMode::kIncrement, 0, 1};
  twice.partitions = 4;
  twice.counts = {16, 1, 1, 1};
  twice.op0 = static_cast<std::uint8_t>(opennrt::isa::Alu::kAdd);
  twice.src0.steps = twice.src1.steps = twice.dst.steps = {1, 0, 0, 0};
  Bytes& stream = program.engine(opennrt::isa::Engine::kPool).instructions;
  const auto encoded = opennrt::isa::encode(twice);
  ASSERT_TRUE(encoded) << encoded.error().message;
  stream.insert(stream.begin() + 64, encoded->begin(), encoded->end());
  nrt_model_t* model = load(neff_of(program));
  for (const auto placement : {NRT_TENSOR_PLACEMENT_VIRTUAL, NRT_TENSOR_PLACEMENT_DEVICE}) {
    Set in, out;
    const auto data = numbers(kCount);
    nrt_tensor_t* source = in.add("in", placement, data);
    nrt_tensor_t* result = out.add("out", placement, std::vector<float>(kCount));
    ASSERT_EQ(nrt_execute_repeat(model, in.get(), out.get(), 5), NRT_SUCCESS) << logged();
    const auto values = values_of<float>(result);
    for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(values[i], 32.0f * data[i]) << i;
    EXPECT_EQ(values_of<float>(source), data) << "the input tensor keeps its content";
    EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 5), NRT_SUCCESS);
  }
}

TEST_F(Execute, givenAModelWithOtherInputsThanOutputsWhenRepeatedThenTheInputsStay) {
  nrt_model_t* model = load(add_neff());
  Set in, out;
  const auto a = numbers(kCount, 1), b = numbers(kCount, 2);
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute_repeat(model, in.get(), out.get(), 3), NRT_SUCCESS) << logged();
  const auto sum = values_of<float>(result);
  for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(sum[i], a[i] + b[i]) << i;
}

TEST_F(Execute, givenANanWhenExecutedThenItIsANumericalErrorAndTheOutputIsThere) {
  nrt_model_t* model = load(add_neff());
  Set in, out;
  auto a = numbers(kCount, 1);
  a[7] = std::numeric_limits<float>::infinity();
  auto b = numbers(kCount, 2);
  b[7] = -std::numeric_limits<float>::infinity();
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_EXEC_COMPLETED_WITH_NUM_ERR) << logged();
  EXPECT_TRUE(has_logged("INFER_ERROR_SUBTYPE_NUMERICAL")) << logged();
  const auto sum = values_of<float>(result);
  EXPECT_TRUE(std::isnan(sum[7]));
  EXPECT_EQ(sum[8], a[8] + b[8]);
}

TEST_F(Execute, givenAModelThatHangsWhenExecutedThenItTimesOut) {
  const Env env("NEURON_RT_EXEC_TIMEOUT", "2");
  nrt_model_t* model = load(hang_neff());
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_TIMEOUT) << logged();
  EXPECT_TRUE(has_logged("inference timeout (2000 ms) on Neuron Device 0 NC 0")) << logged();
  EXPECT_TRUE(has_logged("with status 5 (NRT_TIMEOUT)"));
}

TEST_F(Execute, givenATimeoutWhenAnotherModelRunsOnTheCoreThenItIsAsGoodAsNew) {
  nrt_model_t* hangs = load(hang_neff(), 0);
  nrt_model_t* works = load(copy_neff(), 0);
  Set in, out;
  const auto data = numbers(kCount);
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(nrt_execute(hangs, in.get(), out.get()), NRT_TIMEOUT);
    ASSERT_EQ(nrt_tensor_memset(result, 0, 0, kCount * 4), NRT_SUCCESS);
    ASSERT_EQ(nrt_execute(works, in.get(), out.get()), NRT_SUCCESS) << logged();
    EXPECT_EQ(values_of<float>(result), data);
  }
}

TEST_F(Execute, givenSetsThatDoNotFitWhenExecutedThenTheTensorIsNamed) {
  nrt_model_t* model = load(add_neff());
  Set in, out, none;
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("input tensor \"b\" is missing in the input set; the set has \"a\"")) << logged();
  nrt_tensor_t* b = in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount + 1));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("Unexpected input size, for b, expected: 256, received: 260")) << logged();
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount - 1));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("Unexpected input size, for b, expected: 256, received: 252"));
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  EXPECT_EQ(nrt_execute(model, in.get(), none.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("output tensor \"out\" is missing in the output set; the set has nothing"));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(1));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("Unexpected output size, for out, expected: 256, received: 4"));
  (void)b;
}

TEST_F(Execute, givenTensorsThatCannotBeUsedWhenExecutedThenTheyAreNamed) {
  nrt_model_t* model = load(copy_neff());
  Set in, out;
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  nrt_tensor_t* empty = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_empty("in", &empty), NRT_SUCCESS);
  in.add("in", empty);
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_EXEC_BAD_INPUT);
  EXPECT_TRUE(has_logged("input tensor \"in\" is empty")) << logged();
  nrt_tensor_free(&empty);
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID_HANDLE);
  EXPECT_TRUE(has_logged("input tensor \"in\" has been freed"));
}

TEST_F(Execute, givenHandlesThatAreNoneWhenExecutedThenTheyAreRefused) {
  nrt_model_t* model = load(copy_neff());
  Set in, out;
  int local = 0;
  EXPECT_EQ(nrt_execute(nullptr, in.get(), out.get()), NRT_INVALID);
  EXPECT_EQ(nrt_execute(reinterpret_cast<nrt_model_t*>(&local), in.get(), out.get()), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_execute(model, nullptr, out.get()), NRT_INVALID);
  EXPECT_EQ(nrt_execute(model, in.get(), nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_execute(model, &local, out.get()), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_execute(model, in.get(), &local), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_execute(model, model, out.get()), NRT_INVALID_HANDLE);
  for (const int count : {0, -1, std::numeric_limits<int>::min()}) {
    EXPECT_EQ(nrt_execute_repeat(model, in.get(), out.get(), count), NRT_INVALID) << count;
  }
  EXPECT_TRUE(has_logged("repeat_count is 0, expected at least 1"));
}

TEST_F(Execute, givenFurtherTensorsInTheSetsWhenExecutedThenTheyDoNotMatter) {
  nrt_model_t* model = load(copy_neff());
  Set in, out;
  const auto data = numbers(kCount);
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  in.add("more", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(3));
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
  EXPECT_EQ(values_of<float>(result), data);
}

TEST_F(Execute, givenReplicasWhenManyThreadsExecuteThenEveryResultIsRight) {
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_nc_count(&cores), NRT_SUCCESS);
  nrt_model_t* replicated = load(add_neff(), 0, static_cast<int>(cores < 4 ? cores : 4));
  nrt_model_t* other = load(copy_neff(), 0);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Set in, out, copy_in, copy_out;
      const auto a = numbers(kCount, t), b = numbers(kCount, t + 100);
      in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
      in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
      nrt_tensor_t* sum = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
      copy_in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
      nrt_tensor_t* copied = copy_out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
      for (int i = 0; i < 25; ++i) {
        if (nrt_execute(replicated, in.get(), out.get()) != NRT_SUCCESS) ++wrong;
        const auto values = values_of<float>(sum);
        for (std::size_t k = 0; k < kCount; ++k) wrong += values[k] != a[k] + b[k];
        if (nrt_execute(other, copy_in.get(), copy_out.get()) != NRT_SUCCESS) ++wrong;
        if (values_of<float>(copied) != b) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0) << logged();
}

/// Four threads execute `model` until they get `last`; `stop` is called once every one of them is executing. Returns how many
/// got anything but success before it.
int executions_while(nrt_model_t* model, NRT_STATUS last, const std::function<void()>& stop) {
  constexpr int kThreads = 4;
  std::atomic<int> wrong{0}, inside{0}, begun{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Set in, out;
      in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
      out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
      for (bool first = true;; first = false) {
        const NRT_STATUS status = nrt_execute(model, in.get(), out.get());
        ++begun;
        if (status != NRT_SUCCESS && status != last) ++wrong;
        if (first) ++inside;
        if (status != NRT_SUCCESS) return;
      }
    });
  }
  while (inside < kThreads || (begun < 20 && wrong == 0)) std::this_thread::yield();
  stop();
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

TEST_F(Execute, givenExecutionsUnderWayWhenTheModelIsUnloadedThenEachEndsWellOrIsRefused) {
  nrt_model_t* model = load(copy_neff());
  EXPECT_EQ(executions_while(model, NRT_INVALID_HANDLE, [&] { EXPECT_EQ(nrt_unload(model), NRT_SUCCESS); }), 0);
}

TEST_F(Execute, givenExecutionsUnderWayWhenTheLibraryIsClosedThenEachEndsWellOrSaysClosed) {
  nrt_model_t* model = load(copy_neff());
  EXPECT_EQ(executions_while(model, NRT_CLOSED, [] { nrt_close(); }), 0);
}

}  // namespace
}  // namespace conformance
