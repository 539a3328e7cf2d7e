// SPDX-License-Identifier: Apache-2.0
//
// Programs that use many parts of the C API, step by step: what fails can be made again.
#pragma once

#include <nrt/nrt_async.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>
#include <poll.h>

#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/faults/driver_fixture.h"
#include "tests/support/model_builder.h"
#include "tests/unit/tools/process.h"

namespace fault_test {

using Floats = std::vector<float>;

inline Floats counting(float first) {
  Floats values(kCount);
  for (std::size_t i = 0; i < kCount; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

/// A program in steps, of which each can be repeated when it fails.
class Client {
 public:
  virtual ~Client() = default;
  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  NRT_STATUS go() {
    for (; at_ < steps_.size(); ++at_)
      if (const NRT_STATUS status = steps_[at_].act(); status != NRT_SUCCESS) return status;
    return NRT_SUCCESS;
  }
  const char* at() const { return at_ < steps_.size() ? steps_[at_].name : "the end"; }
  /// Frees all it has.
  void free_all() {
    for (nrt_tensor_set_t** set : {&in_, &out_}) {
      nrt_destroy_tensor_set(set);
      *set = nullptr;
    }
    for (auto tensor = tensors_.rbegin(); tensor != tensors_.rend(); ++tensor) nrt_tensor_free(&*tensor);
    tensors_.clear();
    if (model_ != nullptr) nrt_unload(std::exchange(model_, nullptr));
    more_to_free();
  }
  void close() {
    free_all();
    nrt_close();
    at_ = 0;
    right = false;
  }
  bool right = false;

 protected:
  struct Step {
    const char* name;
    std::function<NRT_STATUS()> act;
  };
  virtual void more_to_free() {}
  void step(const char* name, std::function<NRT_STATUS()> act) { steps_.push_back({name, std::move(act)}); }
  void step_init() {
    step("nrt_init", [] { return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""); });
  }
  void step_load(std::vector<std::byte> neff, int vnc, int count) {
    step("nrt_load", [this, neff = std::move(neff), vnc, count] {
      return nrt_load(neff.data(), neff.size(), vnc, count, &model_);
    });
  }
  /// The next tensor.
  void step_tensor(const char* name, int vnc, nrt_tensor_placement_t placement = NRT_TENSOR_PLACEMENT_DEVICE) {
    step("nrt_tensor_allocate", [this, name, vnc, placement] {
      nrt_tensor_t* made = nullptr;
      const NRT_STATUS status = nrt_tensor_allocate(placement, vnc, kBytes, name, &made);
      EXPECT_EQ(made == nullptr, status != NRT_SUCCESS);
      if (made != nullptr) tensors_.push_back(made);
      return status;
    });
  }
  /// Sets of the first `inputs` tensors, and of the one behind them.
  void step_sets(std::vector<const char*> names) {
    step("nrt_allocate_tensor_set", [this, names = std::move(names)] {
      for (nrt_tensor_set_t** set : {&in_, &out_})
        if (*set == nullptr)
          if (const NRT_STATUS status = nrt_allocate_tensor_set(set); status != NRT_SUCCESS) return status;
      for (std::size_t i = 0; i < names.size(); ++i)
        if (const NRT_STATUS status =
                nrt_add_tensor_to_tensor_set(i + 1 < names.size() ? in_ : out_, names[i], tensors_[i]);
            status != NRT_SUCCESS)
          return status;
      return NRT_SUCCESS;
    });
  }
  void step_write(std::size_t tensor, Floats values) {
    step("nrt_tensor_write", [this, tensor, values = std::move(values)] {
      return nrt_tensor_write(tensors_[tensor], values.data(), 0, kBytes);
    });
  }
  void step_execute(int times = 1) {
    step("nrt_execute", [this, times] {
      for (int i = 0; i < times; ++i)
        if (const NRT_STATUS status = nrt_execute(model_, in_, out_); status != NRT_SUCCESS) return status;
      return NRT_SUCCESS;
    });
  }
  void step_read(std::size_t tensor, Floats expected) {
    step("nrt_tensor_read", [this, tensor, expected = std::move(expected)] {
      Floats values(kCount);
      const NRT_STATUS status = nrt_tensor_read(tensors_[tensor], values.data(), 0, kBytes);
      if (status == NRT_SUCCESS) right = values == expected;
      return status;
    });
  }
  void step_end() {
    step("nrt_unload", [this] {
      free_all();
      return NRT_SUCCESS;
    });
  }

  nrt_model_t* model_ = nullptr;
  nrt_tensor_set_t *in_ = nullptr, *out_ = nullptr;
  std::vector<nrt_tensor_t*> tensors_;

 private:
  std::vector<Step> steps_;
  std::size_t at_ = 0;
};

/// Two replicas of a pipeline of two cores; what is fed back is the output.
class PipelineClient : public Client {
 public:
  PipelineClient() {
    const std::vector<Floats> addends{counting(3), counting(-70)};
    Floats expected(kCount);
    for (std::size_t i = 0; i < kCount; ++i) expected[i] = 5 + static_cast<float>(i) + addends[0][i] + addends[1][i];
    step_init();
    step_load(opennrt::test::sum_pipeline(addends, kPartitions, kColumns).build(), 0, 4);
    step_tensor("in", 0);
    step_tensor("out", 0);
    step_sets({"in", "out"});
    step_write(0, counting(5));
    step_execute(2);  // one on each replica
    step_read(1, expected);
    for (std::size_t i = 0; i < kCount; ++i) expected[i] += addends[0][i] + addends[1][i];
    step("nrt_execute_repeat", [this] { return nrt_execute_repeat(model_, in_, out_, 2); });
    step_read(1, expected);
    step_end();
  }
};

/// A CPU node before two subgraphs, and another one behind them; tensors of the process.
class MixedClient : public Client {
 public:
  MixedClient() {
    std::vector<float> table(160);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
    step_init();
    step_load(opennrt::test::every_step(opennrt::test::bytes_of(table)).build(), 0, -1);
    step("nrt_tensor_allocate", [this] {
      constexpr std::size_t kSizes[] = {32, 32, kBytes};  // ids, best, y
      while (tensors_.size() < 3) {
        nrt_tensor_t* made = nullptr;
        const auto placement = tensors_.size() == 2 ? NRT_TENSOR_PLACEMENT_DEVICE : NRT_TENSOR_PLACEMENT_HOST;
        const NRT_STATUS status = nrt_tensor_allocate(placement, 1, kSizes[tensors_.size()], "t", &made);
        if (status != NRT_SUCCESS) return status;
        tensors_.push_back(made);
      }
      return NRT_SUCCESS;
    });
    step("nrt_add_tensor_to_tensor_set", [this] {
      if (in_ == nullptr && nrt_allocate_tensor_set(&in_) != NRT_SUCCESS) return NRT_FAILURE;
      if (out_ == nullptr && nrt_allocate_tensor_set(&out_) != NRT_SUCCESS) return NRT_FAILURE;
      nrt_add_tensor_to_tensor_set(in_, "ids", tensors_[0]);
      nrt_add_tensor_to_tensor_set(out_, "best", tensors_[1]);
      return nrt_add_tensor_to_tensor_set(out_, "y", tensors_[2]);
    });
    step("nrt_tensor_write", [this] {
      const std::int64_t ids[] = {7, 0, 9, 2};
      return nrt_tensor_write(tensors_[0], ids, 0, sizeof(ids));
    });
    step_execute();
    Floats rows;
    for (const int row : {7, 0, 9, 2}) rows.insert(rows.end(), table.begin() + row * 16, table.begin() + row * 16 + 16);
    step_read(2, rows);
    step_end();
  }
};

/// The explicit asynchronous calls.
class AsyncClient : public Client {
 public:
  AsyncClient() {
    step_init();
    step_load(add_neff(), kVictim, 1);
    for (const char* name : {"a", "b", "out", "copy"}) step_tensor(name, kVictim);
    step_sets({"a", "b", "out"});
    step("nrta_error_tracker_create", [this] { return nrta_error_tracker_create(kVictim, &tracker_); });
    step("nrta_tensor_write", [this] {
      nrta_seq_t seqs[2] = {};
      for (int i = 0; i < 2; ++i)
        if (const NRT_STATUS status =
                nrta_tensor_write(tensors_[i], values_[i].data(), 0, kBytes, i, tracker_, &seqs[i]);
            status != NRT_SUCCESS)
          return status;
      const NRT_STATUS first = wait(seqs[0]), second = wait(seqs[1]);
      return first != NRT_SUCCESS ? first : second;
    });
    step("nrta_execute_schedule", [this] {
      nrta_seq_t seq = 0;
      for (int i = 0; i < 3; ++i)
        if (const NRT_STATUS status = nrta_execute_schedule(model_, in_, out_, 0, tracker_, &seq);
            status != NRT_SUCCESS)
          return status;
      return wait(seq);
    });
    step("nrta_tensor_copy", [this] {
      nrta_seq_t seq = 0;
      const NRT_STATUS status = nrta_tensor_copy(tensors_[2], 0, tensors_[3], 0, kBytes, 0, tracker_, &seq);
      return status == NRT_SUCCESS ? wait(seq) : status;
    });
    step("nrta_tensor_read", [this] {
      nrta_seq_t seq = 0;
      Floats read(kCount);
      NRT_STATUS status = nrta_tensor_read(read.data(), tensors_[3], 0, kBytes, 0, tracker_, &seq);
      if (status == NRT_SUCCESS) status = wait(seq);
      Floats sum(kCount);
      for (std::size_t i = 0; i < kCount; ++i) sum[i] = values_[0][i] + values_[1][i];
      right = status == NRT_SUCCESS && read == sum;
      return status;
    });
    step_end();
  }

 private:
  void more_to_free() override { nrta_error_tracker_destroy(std::exchange(tracker_, nullptr)); }
  /// Until the request has ended; then the first error of all that the tracker has got.
  NRT_STATUS wait(nrta_seq_t seq) {
    int fd = -1;
    EXPECT_EQ(nrta_get_completion_handle(seq, &fd), NRT_SUCCESS);
    pollfd entry{fd, POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, -1), 1);
    ::close(fd);
    const nrta_error_t* errors = nullptr;
    std::size_t count = 0;
    EXPECT_EQ(nrta_error_tracker_get_list(tracker_, &errors, &count), NRT_SUCCESS);
    return count == 0 ? NRT_SUCCESS : static_cast<NRT_STATUS>(errors[0].error_code);
  }
  nrta_error_tracker_t* tracker_ = nullptr;
  const Floats values_[2] = {counting(1), counting(20)};
};

/// The legacy asynchronous mode, with a callback.
class InflightClient : public Client {
 public:
  InflightClient() {
    static constexpr std::size_t kTimes = 4;
    Floats sum(kCount);
    for (std::size_t i = 0; i < kCount; ++i) sum[i] = 21 + 2 * static_cast<float>(i);
    step_init();
    step("nrt_register_async_exec_callback", [this] { return nrt_register_async_exec_callback(&ended, this); });
    step_load(add_neff(), kVictim, 1);
    for (const char* name : {"a", "b", "out"}) step_tensor(name, kVictim);
    step_sets({"a", "b", "out"});
    step_write(0, counting(1));
    step_write(1, counting(20));
    step("nrt_execute", [this] {
      statuses_.clear();
      for (std::size_t i = 0; i < kTimes; ++i)
        if (const NRT_STATUS status = nrt_execute(model_, in_, out_); status != NRT_SUCCESS) return status;
      EXPECT_EQ(nrt_async_drain_queued_execs(kVictim), NRT_SUCCESS);
      const std::lock_guard lock(mutex_);
      EXPECT_EQ(statuses_.size(), kTimes) << "each is heard of";
      for (const NRT_STATUS status : statuses_)
        if (status != NRT_SUCCESS) return status;
      return NRT_SUCCESS;
    });
    step_read(2, sum);
    step_end();
  }

 private:
  static void ended(void* self, std::uint32_t, std::uint32_t, std::uint64_t, NRT_STATUS status) {
    auto* client = static_cast<InflightClient*>(self);
    const std::lock_guard lock(client->mutex_);
    client->statuses_.push_back(status);
  }
  std::mutex mutex_;
  std::vector<NRT_STATUS> statuses_;
};

/// A profile of two inferences.
class ProfileClient : public Client {
 public:
  ProfileClient() {
    Floats sum(kCount);
    for (std::size_t i = 0; i < kCount; ++i) sum[i] = 21 + 2 * static_cast<float>(i);
    step_init();
    step_load(add_neff(), kVictim, 1);
    for (const char* name : {"a", "b", "out"}) step_tensor(name, kVictim);
    step_sets({"a", "b", "out"});
    step_write(0, counting(1));
    step_write(1, counting(20));
    step("nrt_profile_start", [this] { return nrt_profile_start(model_, file().c_str()); });
    step_execute(2);
    step("nrt_profile_stop", [this] {
      const NRT_STATUS status = nrt_profile_stop(file().c_str());
      const std::string text = opennrt::test::read_text(file());
      EXPECT_NE(text.find("nc_exec_running"), std::string::npos);
      return status;
    });
    step_read(2, sum);
    step_end();
  }

 private:
  void more_to_free() override { (void)nrt_profile_stop(file().c_str()); }
  std::string file() const { return folder_ / "profile.json"; }
  const opennrt::test::TemporaryFolder folder_;
};

/// What can be done with tensors.
class TensorClient : public Client {
 public:
  TensorClient() {
    step_init();
    step_tensor("device", kVictim);
    step_tensor("host", kVictim, NRT_TENSOR_PLACEMENT_HOST);
    step_tensor("virtual", kVictim, NRT_TENSOR_PLACEMENT_VIRTUAL);
    step_tensor("other", kVictim);
    step("nrt_tensor_allocate_slice", [this] {
      nrt_tensor_t* slice = nullptr;
      const NRT_STATUS status = nrt_tensor_allocate_slice(tensors_[3], kBytes / 2, kBytes / 2, "half", &slice);
      if (slice != nullptr) tensors_.push_back(slice);
      return status;
    });
    step_write(1, counting(30));
    step("nrt_tensor_copy", [this] { return nrt_tensor_copy(tensors_[1], 0, tensors_[0], 0, kBytes); });
    step("nrt_tensor_memset", [this] { return nrt_tensor_memset(tensors_[3], 0, 0, kBytes); });
    step("nrt_tensor_copy", [this] { return nrt_tensor_copy(tensors_[0], 0, tensors_[4], 0, kBytes / 2); });
    step("nrt_tensor_copy", [this] { return nrt_tensor_copy(tensors_[3], 0, tensors_[2], 0, kBytes); });
    step("nrt_tensor_write_batch", [this] {
      float values[2] = {-1, -2};
      nrt_tensor_batch_op_t ops[2] = {{0, 4, &values[0]}, {8, 4, &values[1]}};
      const nrt_tensor_batch_t batch{tensors_[3], ops, 2};
      return nrt_tensor_write_batch(&batch, 1, false);
    });
    step("nrt_tensor_read_batch", [this] {
      Floats halves(kCount);
      nrt_tensor_batch_op_t ops[2] = {{0, kBytes / 2, halves.data()}, {kBytes / 2, kBytes / 2, &halves[kCount / 2]}};
      const nrt_tensor_batch_t batch{tensors_[3], ops, 2};
      const NRT_STATUS status = nrt_tensor_read_batch(&batch, 1, false);
      Floats expected(kCount), before;
      for (std::size_t i = 0; i < kCount / 2; ++i) expected[kCount / 2 + i] = 30 + static_cast<float>(i);
      before = expected;
      expected[0] = -1, expected[2] = -2;
      Floats copied(kCount);
      EXPECT_EQ(nrt_tensor_read(tensors_[2], copied.data(), 0, kBytes), NRT_SUCCESS);
      right = status == NRT_SUCCESS && halves == expected && copied == before;
      return status;
    });
    step("nrt_get_vnc_memory_stats", [] {
      nrt_vnc_memory_stats_t stats{};
      return nrt_get_vnc_memory_stats(kVictim, &stats, sizeof(stats), nullptr);
    });
    step_end();
  }
};

/// Two ranks, each a thread and a core, that reduce tensors and meet at barriers.
class RanksClient : public Client {
 public:
  static constexpr std::uint32_t kRanks = 2;
  RanksClient() {
    step_init();
    for (const int core : {0, 1}) {
      step_tensor("mine", core);
      step_tensor("sum", core);
    }
    step_write(0, counting(1));
    step_write(2, counting(20));
    step("nrt_build_global_comm", [this] { return on_ranks(join); });
    step("nrta_cc_schedule", [this] { return on_ranks([this](std::uint32_t rank) { return reduce_together(rank); }); });
    step("nrt_barrier", [this] {
      return on_ranks([](std::uint32_t rank) { return nrt_barrier(static_cast<int>(rank), rank, kRanks); });
    });
    step("nrt_all_gather", [this] {
      return on_ranks([](std::uint32_t rank) {
        std::uint32_t mine = rank + 5, all[kRanks] = {};
        const NRT_STATUS status = nrt_all_gather(static_cast<int>(rank), rank, kRanks, sizeof(mine), &mine, all);
        EXPECT_TRUE(status != NRT_SUCCESS || (all[0] == 5 && all[1] == 6));
        return status;
      });
    });
    Floats sum(kCount);
    for (std::size_t i = 0; i < kCount; ++i) sum[i] = 21 + 2 * static_cast<float>(i);
    step_read(1, sum);
    step_read(3, sum);
    step_end();
  }

 private:
  /// What the first rank that did not succeed got.
  static NRT_STATUS on_ranks(const std::function<NRT_STATUS(std::uint32_t)>& body) {
    NRT_STATUS statuses[kRanks] = {};
    std::thread second([&] { statuses[1] = body(1); });
    statuses[0] = body(0);
    second.join();
    return statuses[0] != NRT_SUCCESS ? statuses[0] : statuses[1];
  }
  static NRT_STATUS join(std::uint32_t rank) { return nrt_build_global_comm(static_cast<int>(rank), rank, kRanks); }
  /// Until all ranks have succeeded; what this rank got first. A rank that a fault keeps away is missed by the others: all
  /// join again, and repeat what not all have done.
  NRT_STATUS reduce_together(std::uint32_t rank) {
    NRT_STATUS first = NRT_SUCCESS;
    for (int tries = 0; tries < 4; ++tries) {
      std::int32_t all[kRanks] = {}, mine = reduce(rank);
      if (mine != NRT_SUCCESS && mine != NRT_EXEC_HW_ERR_COLLECTIVES && first == NRT_SUCCESS)
        first = static_cast<NRT_STATUS>(mine);
      NRT_STATUS together = static_cast<NRT_STATUS>(mine);
      if (mine != NRT_EXEC_HW_ERR_COLLECTIVES)
        together = nrt_all_gather(static_cast<int>(rank), rank, kRanks, sizeof(mine), &mine, all);
      if (together == NRT_SUCCESS && all[0] == NRT_SUCCESS && all[1] == NRT_SUCCESS) return first;
      if (together == NRT_SUCCESS) continue;
      EXPECT_EQ(together, NRT_EXEC_HW_ERR_COLLECTIVES);
      EXPECT_EQ(join(rank), NRT_SUCCESS);
    }
    ADD_FAILURE() << "the ranks do not come together again";
    return NRT_FAILURE;
  }
  NRT_STATUS reduce(std::uint32_t rank) {
    std::uint32_t group[kRanks] = {0, 1};
    nrt_cc_comm_t comm{group, rank, kRanks, rank, kRanks, rank};
    nrt_tensor_list_t in{&tensors_[2 * rank], 1}, out{&tensors_[2 * rank + 1], 1};
    nrt_cc_context_t* context = nullptr;
    nrta_error_tracker_t* tracker = nullptr;
    EXPECT_EQ(nrta_error_tracker_create(rank, &tracker), NRT_SUCCESS);
    NRT_STATUS status = nrta_cc_prepare(&comm, &in, &out, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE, &context);
    nrta_seq_t seq = 0;
    if (status == NRT_SUCCESS) status = nrta_cc_schedule(&context, 0, tracker, &seq);
    int fd = -1;
    if (status == NRT_SUCCESS) status = nrta_get_completion_handle(seq, &fd);
    if (status == NRT_SUCCESS) {
      pollfd entry{fd, POLLIN, 0};
      EXPECT_EQ(poll(&entry, 1, -1), 1);
      ::close(fd);
      const nrta_error_t* errors = nullptr;
      std::size_t count = 0;
      EXPECT_EQ(nrta_error_tracker_get_list(tracker, &errors, &count), NRT_SUCCESS);
      if (count > 0) status = static_cast<NRT_STATUS>(errors[0].error_code);
    }
    nrta_error_tracker_destroy(tracker);
    return status;
  }
};

}  // namespace fault_test
