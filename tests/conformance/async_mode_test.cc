// SPDX-License-Identifier: Apache-2.0
//
// The legacy asynchronous mode, NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS (requirement G5).
#include <array>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <mutex>

#include "tests/conformance/fixture.h"

using namespace conformance;

namespace {

constexpr std::size_t kCount = 64;  // floats of a tensor of the small models
constexpr const char* kVariable = "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS";
constexpr std::uint64_t kInflight = 3;

struct Call {
  std::uint32_t model_id, vnc;
  std::uint64_t job_id;
  NRT_STATUS status;
};

/// What the callback has heard; it can be held up.
class Calls {
 public:
  static void callback(void* params, std::uint32_t model_id, std::uint32_t vnc, std::uint64_t job_id,
                       NRT_STATUS status) {
    static_cast<Calls*>(params)->add({model_id, vnc, job_id, status});
  }
  std::vector<Call> all() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void wait_for(std::size_t calls) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return calls_.size() >= calls; });
  }

 private:
  void add(const Call& call) {
    std::unique_lock lock(mutex_);
    calls_.push_back(call);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;
  bool held_ = false;
};

class AsyncMode : public Open {
 protected:
  AsyncMode() : mode_(kVariable, std::to_string(kInflight)) {}

  /// Inputs whose sum is a NaN at one place.
  static void add_nan_inputs(Set& in) {
    auto a = numbers(kCount, 1), b = numbers(kCount, 2);
    a[7] = std::numeric_limits<float>::infinity();
    b[7] = -std::numeric_limits<float>::infinity();
    in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
    in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  }

  Env mode_;
};

TEST_F(AsyncMode, givenManyExecutionsWhenDrainedThenTheCallbackHeardEachInOrder) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* first = load(copy_neff(), 0);
  nrt_model_t* second = load(copy_neff(), 0);
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, numbers(kCount));
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount));
  constexpr std::size_t kRequests = 40;
  for (std::size_t i = 0; i < kRequests; ++i) {
    ASSERT_EQ(nrt_execute(i % 2 == 0 ? first : second, in.get(), out.get()), NRT_SUCCESS) << logged();
    // At most three are in flight: a limit that is not kept runs ahead of the callbacks.
    EXPECT_GE(calls.all().size() + kInflight + 1, i + 1);
  }
  ASSERT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  const std::vector<Call> all = calls.all();
  ASSERT_EQ(all.size(), kRequests);
  for (std::size_t i = 0; i < kRequests; ++i) {
    EXPECT_EQ(all[i].vnc, 0u);
    EXPECT_EQ(all[i].job_id, i + 1);
    EXPECT_EQ(all[i].status, NRT_SUCCESS);
    EXPECT_EQ(all[i].model_id, all[i % 2].model_id);
  }
  EXPECT_NE(all[0].model_id, all[1].model_id);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, kRequests), NRT_SUCCESS) << "F3";
  EXPECT_EQ(values_of<float>(result), numbers(kCount));
}

TEST_F(AsyncMode, givenQueuedExecutionsWhenTheirTensorsAreReadAndWrittenThenTheyWaitForThem) {
  nrt_model_t* model = load(copy_neff(), 0);
  for (const auto placement : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
    Set in, owner;
    nrt_tensor_t* source = in.add("in", placement, numbers(kCount, 1));
    nrt_tensor_t* whole = owner.add("whole", placement, std::vector<float>(2 * kCount));
    std::array<nrt_tensor_t*, 2> halves{};
    std::array<Set, 2> out;
    for (std::size_t i = 0; i < 2; ++i) {
      ASSERT_EQ(nrt_tensor_allocate_slice(whole, i * kCount * 4, kCount * 4, "out", &halves[i]), NRT_SUCCESS);
      out[i].add("out", halves[i]);
    }
    for (unsigned round = 0; round < 10; ++round) {
      const auto data = numbers(kCount, round), next = numbers(kCount, round + 100);
      ASSERT_EQ(nrt_tensor_write(source, data.data(), 0, kCount * 4), NRT_SUCCESS);
      ASSERT_EQ(nrt_execute(model, in.get(), out[0].get()), NRT_SUCCESS) << logged();
      ASSERT_EQ(nrt_tensor_write(source, next.data(), 0, kCount * 4), NRT_SUCCESS) << "waits: it is an input";
      ASSERT_EQ(nrt_execute(model, in.get(), out[1].get()), NRT_SUCCESS) << logged();
      const auto both = values_of<float>(whole);  // waits: slices of it are outputs
      EXPECT_EQ(std::vector<float>(both.begin(), both.begin() + kCount), data);
      EXPECT_EQ(std::vector<float>(both.begin() + kCount, both.end()), next);
      ASSERT_EQ(nrt_execute(model, in.get(), out[0].get()), NRT_SUCCESS);
      ASSERT_EQ(nrt_tensor_memset(whole, 0, 0, 8 * kCount), NRT_SUCCESS) << "waits";
      EXPECT_EQ(values_of<float>(whole), std::vector<float>(2 * kCount));
      ASSERT_EQ(nrt_execute(model, in.get(), out[0].get()), NRT_SUCCESS);
      ASSERT_EQ(nrt_tensor_copy(halves[0], 0, halves[1], 0, kCount * 4), NRT_SUCCESS) << "waits";
      Bytes read(kCount * 4);
      nrt_tensor_batch_op_t op{0, kCount * 4, read.data()};
      const nrt_tensor_batch_t batch{halves[1], &op, 1};
      ASSERT_EQ(nrt_execute(model, in.get(), out[1].get()), NRT_SUCCESS);
      ASSERT_EQ(nrt_tensor_read_batch(&batch, 1, false), NRT_SUCCESS) << "waits";
      EXPECT_EQ(std::memcmp(read.data(), next.data(), read.size()), 0);
    }
    for (nrt_tensor_t*& half : halves) nrt_tensor_free(&half);
  }
}

TEST_F(AsyncMode, givenAnExecutionIsHeldUpWhenItsTensorIsReadUnsafelyThenItDoesNotWait) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out, later;
  in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount));
  const std::vector<float> before(kCount, 5.0f);
  nrt_tensor_t* result = later.add("out", NRT_TENSOR_PLACEMENT_DEVICE, before);
  calls.hold();
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
  calls.wait_for(1);
  ASSERT_EQ(nrt_execute(model, in.get(), later.get()), NRT_SUCCESS);  // behind the callback that is held
  std::vector<float> seen(kCount);
  nrt_tensor_batch_op_t op{0, kCount * 4, seen.data()};
  const nrt_tensor_batch_t batch{result, &op, 1};
  EXPECT_EQ(nrt_tensor_read_batch(&batch, 1, true), NRT_SUCCESS);
  EXPECT_EQ(seen, before);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 1), NRT_TIMEOUT) << "F3";
  calls.let_go();
  ASSERT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 1), NRT_SUCCESS) << "F3";
  EXPECT_EQ(values_of<float>(result), numbers(kCount));
}

/// Calls back into the library from the callback.
struct Reentrant {
  nrt_model_t* model = nullptr;
  Set *in = nullptr, *out = nullptr;
  nrt_tensor_t *own = nullptr, *used = nullptr;
  Calls started, heard;
  int left = 0;
  std::vector<NRT_STATUS> chained;
  NRT_STATUS drained = NRT_SUCCESS, read_own = NRT_FAILURE, read_used = NRT_SUCCESS;

  static void callback(void* params, std::uint32_t model_id, std::uint32_t vnc, std::uint64_t job, NRT_STATUS status) {
    auto& self = *static_cast<Reentrant*>(params);
    self.call_back(job);
    Calls::callback(&self.heard, model_id, vnc, job, status);
  }

 private:
  void call_back(std::uint64_t job) {
    float value = 0;
    if (job == 1) {
      started.wait_for(1);
      read_own = nrt_tensor_read(own, &value, 0, 4);
      read_used = nrt_tensor_read(used, &value, 0, 4);
      drained = nrt_async_drain_queued_execs(0);
      nrt_close();  // does nothing
      chained.push_back(nrt_execute(model, in->get(), out->get()));
    } else if (left-- > 0) {
      chained.push_back(nrt_execute(model, in->get(), out->get()));
    }
  }
};

TEST_F(AsyncMode, givenACallbackWhenItCallsTheLibraryThenWhatWouldWaitForItselfIsRefused) {
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, first, second;
  in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, numbers(kCount));
  Reentrant reentrant;
  reentrant.model = model;
  reentrant.in = &in;
  reentrant.out = &second;
  reentrant.own = first.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount));
  reentrant.used = second.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount));
  ASSERT_EQ(nrt_register_async_exec_callback(&Reentrant::callback, &reentrant), NRT_SUCCESS);
  reentrant.left = 5;
  ASSERT_EQ(nrt_execute(model, in.get(), first.get()), NRT_SUCCESS);
  for (std::uint64_t i = 0; i < kInflight; ++i) ASSERT_EQ(nrt_execute(model, in.get(), second.get()), NRT_SUCCESS);
  Calls::callback(&reentrant.started, 0, 0, 0, NRT_SUCCESS);  // three are queued behind the first callback
  reentrant.heard.wait_for(1 + kInflight +
                           5);  // the callbacks chain five more: a drain may end before the last is queued
  ASSERT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  EXPECT_EQ(reentrant.read_own, NRT_SUCCESS) << "its own tensors are not in use any more\n" << logged();
  EXPECT_EQ(reentrant.read_used, NRT_FAILURE);
  EXPECT_TRUE(has_logged("in use by a queued execution, and a callback cannot wait")) << logged();
  EXPECT_EQ(reentrant.drained, NRT_FAILURE);
  EXPECT_TRUE(has_logged("nothing is closed")) << logged();
  ASSERT_EQ(reentrant.chained.size(), 6u);
  EXPECT_EQ(reentrant.chained[0], NRT_QUEUE_FULL);
  for (std::size_t i = 1; i < 6; ++i) EXPECT_EQ(reentrant.chained[i], NRT_SUCCESS) << i;
}

TEST_F(AsyncMode, givenAFailureWhenACallbackIsRegisteredThenItHearsTheStatus) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(add_neff(), 0);
  Set in, out;
  add_nan_inputs(in);
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << "it is queued";
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS) << "the callback has been told";
  ASSERT_EQ(calls.all().size(), 1u);
  EXPECT_EQ(calls.all()[0].status, NRT_EXEC_COMPLETED_WITH_NUM_ERR);
}

TEST_F(AsyncMode, givenAFailureWhenNoCallbackIsRegisteredThenDrainReturnsItOnceAndTheLogHasIt) {
  nrt_model_t* model = load(add_neff(), 0);
  Set in, out;
  add_nan_inputs(in);
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  EXPECT_TRUE(has_logged("Failed to execute model")) << logged();
  EXPECT_EQ(nrt_async_drain_queued_execs(4096), NRT_INVALID);
  EXPECT_EQ(nrt_async_drain_queued_execs(-1), NRT_INVALID);
}

TEST_F(AsyncMode, givenWrongSetsWhenExecutedThenRefusedAtOnceAndNotQueued) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out, empty;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount + 1));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("Unexpected input size, for in, expected: 256, received: 260")) << logged();
  EXPECT_EQ(nrt_execute(model, empty.get(), out.get()), NRT_INVALID);
  EXPECT_EQ(nrt_execute_repeat(model, in.get(), out.get(), 0), NRT_INVALID);
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  EXPECT_TRUE(calls.all().empty());
}

TEST_F(AsyncMode, givenEverythingIsFreedWhenExecutionsAreQueuedThenTheyRunToTheirEnd) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(copy_neff(), 0);
  constexpr std::size_t kRequests = 12;
  std::vector<std::vector<float>> results(kRequests, std::vector<float>(kCount)), data;
  for (std::size_t i = 0; i < kRequests; ++i) {
    data.push_back(numbers(kCount, static_cast<unsigned>(i)));
    Set in, out;
    in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data.back());
    nrt_tensor_t* target = nullptr;
    ASSERT_EQ(nrt_tensor_allocate_empty("out", &target), NRT_SUCCESS);
    ASSERT_EQ(nrt_tensor_attach_buffer(target, results[i].data(), kCount * 4), NRT_SUCCESS);
    out.add("out", target);
    ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
    nrt_tensor_free(&target);
  }
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS) << "waits for what is queued";
  ASSERT_EQ(calls.all().size(), kRequests);
  for (std::size_t i = 0; i < kRequests; ++i) {
    EXPECT_EQ(calls.all()[i].status, NRT_SUCCESS);
    EXPECT_EQ(results[i], data[i]) << i;
  }
}

TEST_F(AsyncMode, givenExecutionsAreQueuedWhenClosedThenTheyHaveRun) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  for (std::uint64_t i = 0; i < kInflight; ++i) ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
  nrt_close();
  ASSERT_EQ(calls.all().size(), kInflight);
  for (const Call& call : calls.all()) EXPECT_EQ(call.status, NRT_SUCCESS);
  const auto* values = static_cast<const float*>(nrt_tensor_get_va(result));
  EXPECT_EQ(std::vector<float>(values, values + kCount), numbers(kCount));
}

TEST_F(AsyncMode, givenReplicasWhenExecutedThenTheyShareTheWorkAndEachCoreCountsItsOwn) {
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  nrt_model_t* model = load(copy_neff(), 0, 2);
  Set in, out[2];
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  calls.hold();
  for (Set& each : out) {
    each.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
    ASSERT_EQ(nrt_execute(model, in.get(), each.get()), NRT_SUCCESS);
  }
  calls.let_go();
  for (const int vnc : {0, 1}) ASSERT_EQ(nrt_async_drain_queued_execs(vnc), NRT_SUCCESS);
  std::map<std::uint32_t, std::uint64_t> jobs;
  for (const Call& call : calls.all()) {
    EXPECT_EQ(call.status, NRT_SUCCESS);
    EXPECT_EQ(call.job_id, ++jobs[call.vnc]);
  }
  EXPECT_EQ(calls.all().size(), 2u);
}

TEST_F(AsyncMode, givenModelsOnTwoCoresWhenOneTakesWhatTheOtherMakesThenTheyRunInTheOrderOfTheCalls) {
  nrt_model_t* models[] = {load(copy_neff(), 0), load(copy_neff(), 1)};
  Set in, between_out, between_in, out;
  nrt_tensor_t* first = in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  nrt_tensor_t* middle = between_out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_add_tensor_to_tensor_set(between_in.get(), "in", middle), NRT_SUCCESS);
  nrt_tensor_t* last = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  for (int round = 1; round <= 20; ++round) {
    const std::vector<float> sent(kCount, static_cast<float>(round));
    ASSERT_EQ(nrt_tensor_write(first, sent.data(), 0, kCount * 4), NRT_SUCCESS);
    ASSERT_EQ(nrt_execute(models[0], in.get(), between_out.get()), NRT_SUCCESS);
    ASSERT_EQ(nrt_execute(models[1], between_in.get(), out.get()), NRT_SUCCESS);
    std::vector<float> got(kCount);
    ASSERT_EQ(nrt_tensor_read(last, got.data(), 0, kCount * 4), NRT_SUCCESS);
    ASSERT_EQ(got, sent) << round;
  }
}

using AsyncModeState = Logged;

TEST_F(AsyncModeState, givenAMalformedLimitWhenInitialisedThenItIsRefusedByNameAndValue) {
  for (const char* value : {"three", "-1", "3x", "99999999999"}) {
    const Env mode(kVariable, value);
    EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID) << value;
    EXPECT_TRUE(has_logged(std::string(kVariable) + " is \"" + value + "\"")) << logged();
  }
}

TEST_F(AsyncModeState, givenMoreThanTheHardLimitWhenInitialisedThenItIsCutWithAWarning) {
  const Env mode(kVariable, "64");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  EXPECT_TRUE(has_logged(std::string(kVariable) + " is 64, 63 are used")) << logged();
  nrt_close();
}

TEST_F(AsyncModeState, givenTheModeIsOffWhenACallbackIsRegisteredThenItIsNeverCalled) {
  const Env mode(kVariable, "0");
  EXPECT_NE(nrt_register_async_exec_callback(nullptr, nullptr), NRT_SUCCESS) << "closed, or not yet open";
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  Calls calls;
  ASSERT_EQ(nrt_register_async_exec_callback(&Calls::callback, &calls), NRT_SUCCESS);
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  const Bytes neff = copy_neff();
  nrt_model_t* model = nullptr;
  ASSERT_EQ(nrt_load(neff.data(), neff.size(), 0, -1, &model), NRT_SUCCESS);
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  nrt_close();
  EXPECT_TRUE(calls.all().empty());
}

}  // namespace
