// SPDX-License-Identifier: Apache-2.0
//
// The explicit asynchronous API (requirement G5).
#include <nrt/nrt_async.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include "tests/conformance/fixture.h"

using namespace conformance;

namespace {

constexpr std::size_t kCount = 64;  // floats of a tensor of the small models

bool readable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, timeout_ms) == 1 && (entry.revents & POLLIN) != 0;
}

class Async : public Open {
 protected:
  void SetUp() override {
    Open::SetUp();
    ASSERT_EQ(nrta_error_tracker_create(0, &tracker_), NRT_SUCCESS) << logged();
  }
  void TearDown() override {
    nrta_error_tracker_destroy(tracker_);
    Open::TearDown();
  }

  static void wait(nrta_seq_t seq) {
    int fd = -1;
    ASSERT_EQ(nrta_get_completion_handle(seq, &fd), NRT_SUCCESS);
    ASSERT_TRUE(readable(fd, -1));
    close(fd);
    bool completed = false;
    ASSERT_EQ(nrta_is_completed(seq, &completed), NRT_SUCCESS);
    EXPECT_TRUE(completed);
  }
  std::vector<nrta_error_t> errors() {
    const nrta_error_t* list = nullptr;
    std::size_t count = 0;
    EXPECT_EQ(nrta_error_tracker_get_list(tracker_, &list, &count), NRT_SUCCESS);
    return {list, list + count};
  }
  nrta_seq_t write(nrt_tensor_t* tensor, const std::vector<float>& data, int queue = 0) {
    nrta_seq_t seq = 0;
    EXPECT_EQ(nrta_tensor_write(tensor, data.data(), 0, data.size() * 4, queue, tracker_, &seq), NRT_SUCCESS)
        << logged();
    return seq;
  }

  nrta_error_tracker_t* tracker_ = nullptr;
};

TEST_F(Async, givenTensorsOfEveryPlacementWhenWrittenCopiedAndReadThenTheBytesArrive) {
  for (const auto placement : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
    nrt_tensor_t* from = allocate(placement, 1024);
    nrt_tensor_t* to = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1024);
    const Bytes data = pattern(1000, placement + 1);
    Bytes back(500);
    nrta_seq_t seq = 0;
    ASSERT_EQ(nrta_tensor_write(from, data.data(), 24, data.size(), 0, tracker_, &seq), NRT_SUCCESS) << logged();
    wait(seq);
    ASSERT_EQ(nrta_tensor_copy(from, 124, to, 7, 600, 1, tracker_, &seq), NRT_SUCCESS) << logged();
    wait(seq);
    ASSERT_EQ(nrta_tensor_read(back.data(), to, 7, back.size(), 1, tracker_, &seq), NRT_SUCCESS) << logged();
    wait(seq);
    EXPECT_EQ(back, Bytes(data.begin() + 100, data.begin() + 600));
    nrt_tensor_free(&from);
    nrt_tensor_free(&to);
  }
  EXPECT_TRUE(errors().empty());
}

TEST_F(Async, givenManyRequestsOfOneQueueWhenScheduledThenTheirNumbersCountFromOneAndTheyRunInOrder) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 4);
  std::array<std::uint32_t, 200> values{};
  nrta_seq_t before = 0, last = 0;
  ASSERT_EQ(nrta_get_sequence(0, NRTA_XU_TENSOR_WRITE, 0, &before), NRT_SUCCESS);
  EXPECT_EQ(NRTA_SEQ_GET_SEQ_NUM(before), 0u);
  for (std::uint32_t i = 0; i < values.size(); ++i) {
    values[i] = i;
    ASSERT_EQ(nrta_tensor_write(tensor, &values[i], 0, 4, 0, tracker_, &last), NRT_SUCCESS);
    EXPECT_EQ(last, before + i + 1);
  }
  nrta_seq_t other = 0, seen = 0;
  ASSERT_EQ(nrta_tensor_write(tensor, &values[0], 0, 0, 1, tracker_, &other), NRT_SUCCESS);
  EXPECT_NE(NRTA_SEQ_GET_XU_ID(other), NRTA_SEQ_GET_XU_ID(last)) << "another queue";
  EXPECT_EQ(NRTA_SEQ_GET_SEQ_NUM(other), 1u);
  for (nrta_seq_t now = before; now < last; seen = now) {
    ASSERT_EQ(nrta_get_sequence(0, NRTA_XU_TENSOR_WRITE, 0, &now), NRT_SUCCESS);
    EXPECT_GE(now, seen);
    EXPECT_LE(now, last);
  }
  EXPECT_EQ(values_of<std::uint32_t>(tensor).front(), values.back());
  EXPECT_TRUE(errors().empty());
  nrt_tensor_free(&tensor);
}

TEST_F(Async, givenAModelWhenScheduledOftenThenEveryOutputIsRightAndCounted) {
  nrt_model_t* model = load(add_neff(), 0);
  constexpr unsigned kRequests = 20;
  struct Request {
    Set in, out;
    std::vector<float> a, b;
    nrt_tensor_t* result = nullptr;
    nrta_seq_t seq = 0;
  };
  std::array<Request, kRequests> requests;
  for (unsigned i = 0; i < kRequests; ++i) {
    Request& request = requests[i];
    request.a = numbers(kCount, 2 * i);
    request.b = numbers(kCount, 2 * i + 1);
    request.in.add("a", NRT_TENSOR_PLACEMENT_DEVICE, request.a);
    request.in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, request.b);
    request.result = request.out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount, -1.0f));
    ASSERT_EQ(nrta_execute_schedule(model, request.in.get(), request.out.get(), 0, tracker_, &request.seq), NRT_SUCCESS)
        << logged();
    EXPECT_EQ(NRTA_SEQ_GET_SEQ_NUM(request.seq), i + 1);
  }
  wait(requests.back().seq);
  EXPECT_TRUE(errors().empty()) << logged();
  for (Request& request : requests) {
    bool completed = false;
    EXPECT_EQ(nrta_is_completed(request.seq, &completed), NRT_SUCCESS);
    EXPECT_TRUE(completed) << "a queue completes in order";
    EXPECT_EQ(nrt_tensor_check_output_completion(request.result, 0, 1), NRT_SUCCESS) << "F3";
    const auto sum = values_of<float>(request.result);
    for (std::size_t i = 0; i < kCount; ++i) ASSERT_EQ(sum[i], request.a[i] + request.b[i]) << i;
  }
}

TEST_F(Async, givenReplicasWhenScheduledThenTheTrackerSaysOnWhichCore) {
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_vnc_count(&cores), NRT_SUCCESS);
  ASSERT_GE(cores, 3u);
  nrt_model_t* model = load(copy_neff(), 0, 2);
  nrta_error_tracker_t *second = nullptr, *third = nullptr;
  ASSERT_EQ(nrta_error_tracker_create(1, &second), NRT_SUCCESS);
  ASSERT_EQ(nrta_error_tracker_create(2, &third), NRT_SUCCESS);
  Set in, out;
  const auto data = numbers(kCount, 9);
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  nrta_seq_t seq = 0, last = 0;
  ASSERT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, second, &seq), NRT_SUCCESS) << logged();
  wait(seq);
  ASSERT_EQ(nrta_get_sequence(1, NRTA_XU_COMPUTE, 0, &last), NRT_SUCCESS);
  EXPECT_EQ(last, seq);
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, third, &seq), NRT_INVALID);
  EXPECT_TRUE(has_logged("is not loaded on nc2")) << logged();
  nrta_error_tracker_destroy(second);
  nrta_error_tracker_destroy(third);
  EXPECT_EQ(values_of<float>(result), data);
}

TEST_F(Async, givenAFailingRequestWhenCompletedThenTheTrackerHasItOnce) {
  nrt_model_t* model = load(add_neff(), 0);
  Set good, bad, out;
  auto a = numbers(kCount, 1), b = numbers(kCount, 2);
  good.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  good.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  a[7] = std::numeric_limits<float>::infinity();
  b[7] = -std::numeric_limits<float>::infinity();
  bad.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  bad.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  std::array<nrta_seq_t, 5> seqs{};
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    const Set& in = i % 2 == 1 ? bad : good;
    ASSERT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &seqs[i]), NRT_SUCCESS) << logged();
  }
  wait(seqs.back());
  const std::vector<nrta_error_t> list = errors();
  ASSERT_EQ(list.size(), 2u) << logged();
  EXPECT_EQ(list[0].seq_id, seqs[1]);
  EXPECT_EQ(list[1].seq_id, seqs[3]);
  EXPECT_EQ(list[0].error_code, static_cast<std::uint64_t>(NRT_EXEC_COMPLETED_WITH_NUM_ERR));
  EXPECT_EQ(list[1].error_code, static_cast<std::uint64_t>(NRT_EXEC_COMPLETED_WITH_NUM_ERR));
  EXPECT_TRUE(errors().empty()) << "they were taken";
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 5), NRT_SUCCESS)
      << "outputs of numerical errors are there (F3)";
}

TEST_F(Async, givenATimeoutWhenCompletedThenTheTrackerHasItAndTheCoreGoesOn) {
  const Env timeout("NEURON_RT_EXEC_TIMEOUT", "1");
  nrt_model_t* hang = load(hang_neff(), 0);
  nrt_model_t* copy = load(copy_neff(), 0);
  Set in, out;
  const auto data = numbers(kCount);
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  nrta_seq_t first = 0, second = 0;
  ASSERT_EQ(nrta_execute_schedule(hang, in.get(), out.get(), 0, tracker_, &first), NRT_SUCCESS);
  ASSERT_EQ(nrta_execute_schedule(copy, in.get(), out.get(), 0, tracker_, &second), NRT_SUCCESS);
  wait(second);
  const auto list = errors();
  ASSERT_EQ(list.size(), 1u) << logged();
  EXPECT_EQ(list[0].seq_id, first);
  EXPECT_EQ(list[0].error_code, static_cast<std::uint64_t>(NRT_TIMEOUT));
  EXPECT_EQ(values_of<float>(result), data);
}

TEST_F(Async, givenEverythingIsFreedWhenRequestsAreOutstandingThenTheyRunToTheirEnd) {
  nrt_model_t* model = load(copy_neff(), 0);
  constexpr std::size_t kRequests = 16;
  std::vector<std::vector<float>> results(kRequests, std::vector<float>(kCount));
  std::vector<std::vector<float>> data;
  nrta_seq_t last = 0;
  for (std::size_t i = 0; i < kRequests; ++i) {
    data.push_back(numbers(kCount, static_cast<unsigned>(i)));
    Set in, out;
    in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data.back());
    nrt_tensor_t* target = nullptr;
    ASSERT_EQ(nrt_tensor_allocate_empty("out", &target), NRT_SUCCESS);
    ASSERT_EQ(nrt_tensor_attach_buffer(target, results[i].data(), kCount * 4), NRT_SUCCESS);
    out.add("out", target);
    ASSERT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &last), NRT_SUCCESS);
    nrt_tensor_free(&target);
  }
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS) << "waits for what is scheduled";
  bool completed = false;
  ASSERT_EQ(nrta_is_completed(last, &completed), NRT_SUCCESS);
  EXPECT_TRUE(completed);
  EXPECT_TRUE(errors().empty()) << logged();
  for (std::size_t i = 0; i < kRequests; ++i) EXPECT_EQ(results[i], data[i]) << i;
}

TEST_F(Async, givenRequestsAreCompletedWhenMemoryIsAskedForThenNothingHoldsIt) {
  nrt_vnc_memory_stats_t before{}, after{};
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &before, sizeof(before), nullptr), NRT_SUCCESS);
  const Bytes data = pattern(1 << 16);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, data.size());
  nrta_seq_t seq = 0;
  ASSERT_EQ(nrta_tensor_write(tensor, data.data(), 0, data.size(), 0, tracker_, &seq), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
  wait(seq);
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &after, sizeof(after), nullptr), NRT_SUCCESS);
  EXPECT_EQ(after.bytes_used, before.bytes_used);
  EXPECT_TRUE(errors().empty());
}

TEST_F(Async, givenRequestsAreOutstandingWhenClosedThenTheyHaveRunAndTheirHandlesAreReadable) {
  nrt_model_t* model = load(add_neff(), 0);
  Set good, bad, out;
  auto a = numbers(kCount, 1), b = numbers(kCount, 2);
  good.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  good.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  a[0] = std::numeric_limits<float>::infinity();
  b[0] = -std::numeric_limits<float>::infinity();
  bad.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  bad.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b);
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  std::vector<int> handles;
  nrta_seq_t seq = 0;
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(nrta_execute_schedule(model, (i == 29 ? bad : good).get(), out.get(), 0, tracker_, &seq), NRT_SUCCESS);
    ASSERT_EQ(nrta_get_completion_handle(seq, &handles.emplace_back(-1)), NRT_SUCCESS);
  }
  nrt_close();
  for (const int fd : handles) {
    EXPECT_TRUE(readable(fd, 0));
    close(fd);
  }
  const auto list = errors();  // any time
  ASSERT_EQ(list.size(), 1u) << logged();
  EXPECT_EQ(list[0].seq_id, seq);
  EXPECT_EQ(list[0].error_code, static_cast<std::uint64_t>(NRT_EXEC_COMPLETED_WITH_NUM_ERR));
}

TEST_F(Async, givenThreadsThatScheduleWhenClosedThenWhatWasTakenHasCompletedAndTheRestIsRefused) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 4 * 1024);
  const Bytes data = pattern(1024);
  std::atomic<int> taken{0}, odd{0}, unreadable{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      NRT_STATUS status = NRT_SUCCESS;
      std::vector<int> handles;
      while (status == NRT_SUCCESS || status == NRT_QUEUE_FULL) {
        nrta_seq_t seq = 0;
        status = nrta_tensor_write(tensor, data.data(), t * 1024, 1024, static_cast<int>(t % 2), tracker_, &seq);
        if (status != NRT_SUCCESS) continue;
        ++taken;
        int fd = -1;
        if (handles.size() < 50 && nrta_get_completion_handle(seq, &fd) == NRT_SUCCESS) handles.push_back(fd);
      }
      if (status != NRT_CLOSED) ++odd;
      for (const int fd : handles) {
        if (!readable(fd, -1)) ++unreadable;
        close(fd);
      }
    });
  }
  while (taken < 100) std::this_thread::yield();
  nrt_close();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(odd, 0);
  EXPECT_EQ(unreadable, 0);
  EXPECT_TRUE(errors().empty());
  nrt_tensor_free(&tensor);
}

TEST_F(Async, givenAHandleIsClosedEarlyWhenTheRequestCompletesThenNobodyElsesDescriptorIsTouched) {
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  nrta_seq_t seq = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &seq), NRT_SUCCESS);
    int fd = -1;
    ASSERT_EQ(nrta_get_completion_handle(seq, &fd), NRT_SUCCESS);
    close(fd);
    int ends[2] = {-1, -1};  // takes the number
    ASSERT_EQ(pipe(ends), 0);
    wait(seq);
    EXPECT_FALSE(readable(ends[0], 0));
    close(ends[0]);
    close(ends[1]);
  }
}

TEST_F(Async, givenAQueueIsFullWhenScheduledThenItIsQueueFullUntilOneCompletes) {
  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  // The device is slower than scheduling: the queue fills before this ends.
  constexpr int kMany = 200'000;
  nrta_seq_t last = 0, untouched = 77;
  NRT_STATUS status = NRT_SUCCESS;
  for (int i = 0; i < kMany && status == NRT_SUCCESS; ++i) {
    untouched = 77;
    status = nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &untouched);
    if (status == NRT_SUCCESS) last = untouched;
  }
  ASSERT_EQ(status, NRT_QUEUE_FULL);
  EXPECT_EQ(untouched, 77u);
  EXPECT_FALSE(has_logged("ERROR")) << "it is how a caller is told to wait\n" << logged();
  wait(last);
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &last), NRT_SUCCESS);
  wait(last);
  EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, NRTA_SEQ_GET_SEQ_NUM(last)), NRT_SUCCESS) << "F3";
  EXPECT_TRUE(errors().empty());
}

TEST_F(Async, givenSequencesThatAreNoneWhenAskedForThenInvalid) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);
  const std::vector<float> zeros(16);  // alive until they have been written
  const nrta_seq_t seq = write(tensor, zeros);
  wait(seq);
  bool completed = false;
  int fd = -1;
  for (const nrta_seq_t wrong : {nrta_seq_t{0}, seq - 1, seq + 1, seq | (nrta_seq_t{0xffff} << 48)}) {
    EXPECT_EQ(nrta_is_completed(wrong, &completed), NRT_INVALID) << wrong;
    EXPECT_EQ(nrta_get_completion_handle(wrong, &fd), NRT_INVALID) << wrong;
  }
  EXPECT_EQ(fd, -1);
  EXPECT_TRUE(has_logged("of queue 0 of TENSOR_WRITE of nc0, expected 1 to 1")) << logged();
  EXPECT_EQ(nrta_is_completed(seq, nullptr), NRT_INVALID);
  EXPECT_EQ(nrta_get_completion_handle(seq, nullptr), NRT_INVALID);
  nrta_seq_t last = 0;
  EXPECT_EQ(nrta_get_sequence(4096, NRTA_XU_COMPUTE, 0, &last), NRT_INVALID);
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_TYPE_NUM, 0, &last), NRT_INVALID);
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_COMPUTE, 1, &last), NRT_INVALID);
  EXPECT_TRUE(has_logged("queue is 1, expected 0 for COMPUTE")) << logged();
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_TENSOR_OP, 2, &last), NRT_INVALID);
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_TENSOR_OP, -1, &last), NRT_INVALID);
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, nullptr), NRT_INVALID);
  nrt_tensor_free(&tensor);
}

TEST_F(Async, givenWrongArgumentsWhenScheduledThenRefusedAtOnceAndNothingIsQueued) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64);
  nrt_tensor_t* elsewhere = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64, 1);
  Bytes data(128);
  nrta_seq_t seq = 0;
  EXPECT_EQ(nrta_tensor_write(tensor, data.data(), 32, 33, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(tensor, nullptr, 0, 4, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(tensor, data.data(), 0, 4, 2, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(tensor, data.data(), 0, 4, 0, nullptr, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(tensor, data.data(), 0, 4, 0, tracker_, nullptr), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(nullptr, data.data(), 0, 4, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_write(elsewhere, data.data(), 0, 4, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_TRUE(has_logged("err is a tracker for nc0, expected one for nc1")) << logged();
  EXPECT_EQ(nrta_tensor_read(data.data(), tensor, 64, 1, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_read(nullptr, tensor, 0, 1, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_read(data.data(), tensor, 0, 1, -1, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_tensor_copy(tensor, 0, elsewhere, 0, 4, 0, tracker_, &seq), NRT_INVALID);
  EXPECT_TRUE(has_logged("expected both on the same NeuronCore")) << logged();
  EXPECT_EQ(nrta_tensor_copy(tensor, 0, tensor, 4, 32, 0, tracker_, &seq), NRT_INVALID) << "they overlap";
  EXPECT_EQ(nrta_tensor_copy(tensor, 0, nullptr, 4, 32, 0, tracker_, &seq), NRT_INVALID);
  nrt_tensor_t* gone = tensor;
  nrt_tensor_free(&tensor);
  EXPECT_EQ(nrta_tensor_read(data.data(), gone, 0, 1, 0, tracker_, &seq), NRT_INVALID_HANDLE);

  nrt_model_t* model = load(copy_neff(), 0);
  Set in, out, empty;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(kCount));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 1, tracker_, &seq), NRT_INVALID) << "queue must be 0";
  EXPECT_EQ(nrta_execute_schedule(model, empty.get(), out.get(), 0, tracker_, &seq), NRT_INVALID);
  EXPECT_TRUE(has_logged("input tensor \"in\" is missing")) << logged();
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), empty.get(), 0, tracker_, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_execute_schedule(nullptr, in.get(), out.get(), 0, tracker_, &seq), NRT_INVALID);
  nrta_error_tracker_t* stale = nullptr;
  ASSERT_EQ(nrta_error_tracker_create(0, &stale), NRT_SUCCESS);
  nrta_error_tracker_destroy(stale);
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, stale, &seq), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  EXPECT_EQ(nrta_execute_schedule(model, in.get(), out.get(), 0, tracker_, &seq), NRT_INVALID_HANDLE);

  EXPECT_EQ(seq, 0u);
  for (int unit = 0; unit < NRTA_XU_TYPE_NUM; ++unit) {
    ASSERT_EQ(nrta_get_sequence(0, static_cast<nrta_xu_t>(unit), 0, &seq), NRT_SUCCESS);
    EXPECT_EQ(NRTA_SEQ_GET_SEQ_NUM(seq), 0u) << unit;
  }
  EXPECT_TRUE(errors().empty()) << "what is refused is not tracked";
  nrt_tensor_free(&elsewhere);
}

TEST_F(Async, givenTrackersWhenMisusedThenRefused) {
  nrta_error_tracker_t* tracker = nullptr;
  EXPECT_EQ(nrta_error_tracker_create(4096, &tracker), NRT_INVALID);
  EXPECT_EQ(nrta_error_tracker_create(0, nullptr), NRT_INVALID);
  const nrta_error_t* list = nullptr;
  std::size_t count = 0;
  EXPECT_EQ(nrta_error_tracker_get_list(nullptr, &list, &count), NRT_INVALID);
  EXPECT_EQ(nrta_error_tracker_get_list(tracker_, nullptr, &count), NRT_INVALID);
  EXPECT_EQ(nrta_error_tracker_get_list(tracker_, &list, nullptr), NRT_INVALID);
  nrta_error_tracker_destroy(nullptr);
  ASSERT_EQ(nrta_error_tracker_create(0, &tracker), NRT_SUCCESS);
  nrta_error_tracker_destroy(tracker);
  nrta_error_tracker_destroy(tracker);
  EXPECT_EQ(nrta_error_tracker_get_list(tracker, &list, &count), NRT_INVALID_HANDLE);
}

using AsyncState = Logged;

TEST_F(AsyncState, givenTheRuntimeIsClosedWhenCalledThenTheStatusSaysSo) {
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  nrta_error_tracker_t* tracker = nullptr;
  ASSERT_EQ(nrta_error_tracker_create(0, &tracker), NRT_SUCCESS);
  nrt_tensor_t* tensor = nullptr;
  ASSERT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, 64, "t", &tensor), NRT_SUCCESS);
  nrt_close();
  char byte = 0;
  bool completed = false;
  int fd = -1;
  nrta_seq_t seq = 1;
  EXPECT_EQ(nrta_tensor_write(tensor, &byte, 0, 1, 0, tracker, &seq), NRT_CLOSED);
  EXPECT_EQ(nrta_tensor_read(&byte, tensor, 0, 1, 0, tracker, &seq), NRT_CLOSED);
  EXPECT_EQ(nrta_tensor_copy(tensor, 0, tensor, 1, 1, 0, tracker, &seq), NRT_CLOSED);
  EXPECT_EQ(nrta_execute_schedule(nullptr, nullptr, nullptr, 0, tracker, &seq), NRT_CLOSED);
  EXPECT_EQ(nrta_is_completed(seq, &completed), NRT_CLOSED);
  EXPECT_EQ(nrta_get_completion_handle(seq, &fd), NRT_CLOSED);
  EXPECT_EQ(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, &seq), NRT_CLOSED);
  nrta_error_tracker_t* another = nullptr;
  EXPECT_EQ(nrta_error_tracker_create(0, &another), NRT_CLOSED);
  nrta_error_tracker_destroy(tracker);
  nrt_tensor_free(&tensor);
}

}  // namespace
