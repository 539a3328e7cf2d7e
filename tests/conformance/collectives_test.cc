// SPDX-License-Identifier: Apache-2.0
// Requirement A2: collectives among ranks that are threads of one process. Ranks of several processes:
// tests/process/collectives_test.cc.
#include <poll.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

/// One thread for each rank; what each of them returned.
std::vector<NRT_STATUS> on_ranks(std::uint32_t ranks, const std::function<NRT_STATUS(std::uint32_t rank)>& body) {
  std::vector<NRT_STATUS> statuses(ranks, NRT_FAILURE);
  std::vector<std::thread> threads;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { statuses[rank] = body(rank); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

std::vector<NRT_STATUS> all(std::uint32_t ranks, NRT_STATUS status) {
  return std::vector<NRT_STATUS>(ranks, status);
}

class Collectives : public Open {
 protected:
  void build(std::uint32_t ranks) {
    ASSERT_EQ(on_ranks(ranks,
                       [&](std::uint32_t rank) {
                         return nrt_build_global_comm(static_cast<std::int32_t>(rank), rank, ranks);
                       }),
              all(ranks, NRT_SUCCESS))
        << logged();
  }
};

/// Waiting for ranks that never come takes a second.
class CollectivesTimeout : public Collectives {
  Env timeout_{"OPENNRT_COLLECTIVES_TIMEOUT", "1"};
};

TEST_F(Collectives, givenAllRanksWhenTheCommunicatorIsBuiltThenAllReturnAndOnceMoreIsNothing) {
  build(4);
  build(4);
  EXPECT_EQ(on_ranks(4, [](std::uint32_t rank) { return nrt_cc_global_comm_init(rank, rank, 4); }),
            all(4, NRT_SUCCESS));
  EXPECT_EQ(nrt_build_global_comm(1, 2, 4), NRT_INVALID);
  EXPECT_TRUE(has_logged("nc1 is rank 1 of 4 already"));
}

TEST_F(Collectives, givenWrongArgumentsWhenTheCommunicatorIsBuiltThenTheyAreNamed) {
  for (const auto& build_one : {std::function<NRT_STATUS(int, std::uint32_t, std::uint32_t)>(
                                    [](int vnc, auto id, auto count) { return nrt_build_global_comm(vnc, id, count); }),
                                {[](int vnc, auto id, auto count) {
                                  return nrt_cc_global_comm_init(static_cast<std::uint32_t>(vnc), id, count);
                                }}}) {
    EXPECT_EQ(build_one(999, 0, 1), NRT_INVALID);
    EXPECT_EQ(build_one(-1, 0, 1), NRT_INVALID);
    EXPECT_EQ(build_one(0, 4, 4), NRT_INVALID);
    EXPECT_EQ(build_one(0, 0, 0), NRT_INVALID);
    EXPECT_EQ(build_one(0, 0, 1025), NRT_INVALID);
  }
  EXPECT_EQ(times_logged("vnc is 999, expected a NeuronCore of this process"), 2);
  EXPECT_EQ(times_logged("g_device_id is 4, expected 0 to 3"), 2);
  EXPECT_EQ(times_logged("g_device_count is 1025, expected 1 to 1024"), 2);
}

TEST_F(Collectives, givenTwoOfOneRankWhenTheyJoinThenOneIsRefusedAndCanBeAnother) {
  std::atomic<int> refused{0};
  EXPECT_EQ(on_ranks(2,
                     [&](std::uint32_t core) {
                       const NRT_STATUS status = nrt_build_global_comm(static_cast<std::int32_t>(core), 0, 2);
                       if (status != NRT_INVALID) return status;
                       ++refused;
                       return nrt_build_global_comm(static_cast<std::int32_t>(core), 1, 2);
                     }),
            all(2, NRT_SUCCESS))
      << logged();
  EXPECT_EQ(refused, 1);
  EXPECT_TRUE(has_logged("has joined already")) << logged();
}

TEST_F(Collectives, givenDifferentNumbersOfRanksWhenTheyJoinThenAllAreRefused) {
  EXPECT_EQ(
      on_ranks(
          2, [](std::uint32_t rank) { return nrt_build_global_comm(static_cast<std::int32_t>(rank), rank, 2 + rank); }),
      all(2, NRT_INVALID));
  EXPECT_TRUE(has_logged("expected the same number")) << logged();
}

TEST_F(CollectivesTimeout, givenRanksThatDoNotComeWhenTheCommunicatorIsBuiltThenItTimesOutAndNamesThem) {
  EXPECT_EQ(nrt_build_global_comm(0, 1, 4), NRT_TIMEOUT);
  EXPECT_TRUE(has_logged("rank 1 of 4 has waited for 1 s: rank 0, 2 and 3 have not joined")) << logged();
}

TEST_F(CollectivesTimeout, givenARankThatDoesNotComeWhenOthersDoThenTheyFailNameItAndCanJoinAgain) {
  build(3);
  const auto statuses =
      on_ranks(2, [](std::uint32_t rank) { return nrt_barrier(static_cast<std::int32_t>(rank), rank, 3); });
  EXPECT_EQ(statuses, all(2, NRT_EXEC_HW_ERR_COLLECTIVES)) << logged();
  EXPECT_TRUE(has_logged("rank 2 has not come")) << logged();
  EXPECT_EQ(on_ranks(2, [](std::uint32_t rank) { return nrt_barrier(static_cast<std::int32_t>(rank), rank, 2); }),
            all(2, NRT_SUCCESS))
      << logged();
}

TEST_F(Collectives, givenABarrierWhenRanksComeThenNobodyLeavesBeforeAllAreThere) {
  constexpr std::uint32_t kRanks = 4;
  constexpr int kRounds = 50;
  std::atomic<int> arrived{0};
  std::atomic<bool> early{false};
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       for (int round = 1; round <= kRounds; ++round) {
                         ++arrived;
                         const NRT_STATUS status = nrt_barrier(static_cast<std::int32_t>(rank), rank, kRanks);
                         if (status != NRT_SUCCESS) return status;
                         if (arrived < round * static_cast<int>(kRanks)) early = true;
                       }
                       return NRT_SUCCESS;
                     }),
            all(kRanks, NRT_SUCCESS))
      << logged();
  EXPECT_FALSE(early);
  EXPECT_EQ(nrt_barrier(0, 5, 5), NRT_INVALID);
  EXPECT_EQ(nrt_barrier(999, 0, kRanks), NRT_INVALID);
}

TEST_F(Collectives, givenDataOfEveryRankWhenGatheredThenEachHasAllInOrder) {
  constexpr std::uint32_t kRanks = 4, kBytes = 1000;
  std::vector<Bytes> outputs(kRanks, Bytes(std::size_t{kRanks} * kBytes));
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       Bytes input = pattern(kBytes, rank);
                       return nrt_all_gather(static_cast<std::int32_t>(rank), rank, kRanks, kBytes, input.data(),
                                             outputs[rank].data());
                     }),
            all(kRanks, NRT_SUCCESS))
      << logged();
  Bytes expected;
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    const Bytes part = pattern(kBytes, rank);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  for (const Bytes& output : outputs) EXPECT_EQ(output, expected);
}

TEST_F(Collectives, givenDifferentSizesOrOperationsWhenRanksMeetThenAllAreRefusedAndCanGoOn) {
  build(2);
  std::byte in[16] = {}, out[64] = {};
  EXPECT_EQ(on_ranks(2,
                     [&](std::uint32_t rank) {
                       std::byte input[16] = {}, output[64] = {};
                       return nrt_all_gather(static_cast<std::int32_t>(rank), rank, 2, 8 + rank, input, output);
                     }),
            all(2, NRT_INVALID));
  EXPECT_TRUE(has_logged("rank 1 calls for an all-gather of 9 bytes, rank 0 for an all-gather of 8 bytes")) << logged();
  EXPECT_EQ(on_ranks(2,
                     [&](std::uint32_t rank) {
                       return rank == 0 ? nrt_barrier(0, 0, 2) : nrt_all_gather(1, 1, 2, 8, in, out);
                     }),
            all(2, NRT_INVALID));
  EXPECT_TRUE(has_logged("rank 1 calls for an all-gather of 8 bytes, rank 0 for a barrier")) << logged();
  EXPECT_EQ(on_ranks(2, [](std::uint32_t rank) { return nrt_barrier(static_cast<std::int32_t>(rank), rank, 2); }),
            all(2, NRT_SUCCESS));
  EXPECT_EQ(nrt_all_gather(0, 0, 2, 0, in, out), NRT_INVALID);
  EXPECT_EQ(nrt_all_gather(0, 0, 2, 8, nullptr, out), NRT_INVALID);
  EXPECT_EQ(nrt_all_gather(0, 0, 2, 8, in, nullptr), NRT_INVALID);
}

TEST_F(Collectives, givenARankThatWaitsWhenTheLibraryIsClosedThenItReturnsAtOnce) {
  std::thread waits([&] { EXPECT_EQ(nrt_barrier(0, 0, 2), NRT_CLOSED); });  // whether it had begun to wait or not
  nrt_close();
  waits.join();
}

TEST_F(Collectives, givenAModelWhenLoadedForCollectivesThenTheCoreHasJoined) {
  const Bytes neff = copy_neff();
  EXPECT_EQ(on_ranks(2,
                     [&](std::uint32_t rank) {
                       nrt_model_t* model = nullptr;
                       const NRT_STATUS status = nrt_load_collectives(
                           neff.data(), neff.size(), static_cast<std::int32_t>(rank), -1, rank, 2, &model);
                       return status == NRT_SUCCESS ? nrt_barrier(static_cast<std::int32_t>(rank), rank, 2) : status;
                     }),
            all(2, NRT_SUCCESS))
      << logged();
  nrt_model_t* model = nullptr;
  EXPECT_EQ(nrt_load_collectives(neff.data(), neff.size(), 0, -1, 0, 1, &model), NRT_SUCCESS) << "a part of the ranks";
  EXPECT_EQ(nrt_load_collectives(neff.data(), neff.size(), 0, -1, 0, 3, &model), NRT_INVALID);
  EXPECT_TRUE(has_logged("ctx_device_count is 3, expected at most the 2"));
  EXPECT_EQ(nrt_load_collectives(neff.data(), neff.size(), 0, -1, 2, 2, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load_collectives(neff.data(), 10, 0, -1, 0, 2, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load_collectives(nullptr, 10, 0, -1, 0, 2, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load_collectives(neff.data(), neff.size(), 0, -1, 0, 2, nullptr), NRT_INVALID);
}

TEST_F(CollectivesTimeout, givenAModelWhoseRanksDoNotComeWhenLoadedThenNothingStaysOnTheCore) {
  const Bytes neff = copy_neff();
  nrt_vnc_memory_stats_t before{}, after{};
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &before, sizeof(before), nullptr), NRT_SUCCESS);
  nrt_model_t* model = nullptr;
  EXPECT_EQ(nrt_load_collectives(neff.data(), neff.size(), 0, -1, 0, 2, &model), NRT_TIMEOUT);
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &after, sizeof(after), nullptr), NRT_SUCCESS);
  EXPECT_EQ(after.bytes_used, before.bytes_used);
}

// ---- Collectives on tensors ----

struct Job {
  nrt_cc_op_type_t type = NRT_CC_ALLREDUCE;
  nrt_dtype_t dtype = NRT_DTYPE_FLOAT32;
  nrt_op_type_t op = NRT_OP_ADD;
  std::vector<std::uint32_t> group;  ///< empty: all
};

class TensorCollectives : public Collectives {
 protected:
  static constexpr std::uint32_t kRanks = 4;
  void SetUp() override {
    Open::SetUp();
    build(kRanks);
  }
  nrt_cc_comm_t comm(std::uint32_t rank, std::vector<std::uint32_t>& group) {
    const auto at = static_cast<std::uint32_t>(std::find(group.begin(), group.end(), rank) - group.begin());
    return {group.data(), at, static_cast<std::uint32_t>(group.size()), rank, kRanks, rank};
  }
  static NRT_STATUS wait(nrta_seq_t seq) {
    int fd = -1;
    if (const NRT_STATUS status = nrta_get_completion_handle(seq, &fd); status != NRT_SUCCESS) return status;
    pollfd ready{fd, POLLIN, 0};
    const int polled = poll(&ready, 1, -1);
    close(fd);
    return polled == 1 ? NRT_SUCCESS : NRT_FAILURE;
  }
  /// Prepares, schedules and waits on one rank. Tensors are in device memory.
  NRT_STATUS run(std::uint32_t rank, Job job, const std::vector<Bytes>& inputs, std::vector<Bytes>& outputs) {
    if (job.group.empty()) job.group = {0, 1, 2, 3};
    nrt_cc_comm_t where = comm(rank, job.group);
    std::vector<nrt_tensor_t*> in, out;
    const auto vnc = static_cast<int>(rank);
    for (const Bytes& data : inputs) {
      in.push_back(allocate(NRT_TENSOR_PLACEMENT_DEVICE, data.size(), vnc, "in"));
      EXPECT_EQ(nrt_tensor_write(in.back(), data.data(), 0, data.size()), NRT_SUCCESS);
    }
    for (const Bytes& data : outputs) out.push_back(allocate(NRT_TENSOR_PLACEMENT_DEVICE, data.size(), vnc, "out"));
    nrt_tensor_list_t in_list{in.data(), in.size()}, out_list{out.data(), out.size()};
    nrt_cc_context_t* context = nullptr;
    nrta_error_tracker_t* errors = nullptr;
    EXPECT_EQ(nrta_error_tracker_create(rank, &errors), NRT_SUCCESS);
    NRT_STATUS status = nrta_cc_prepare(&where, &in_list, &out_list, job.dtype, job.op, job.type, &context);
    nrta_seq_t seq = 0;
    if (status == NRT_SUCCESS) status = nrta_cc_schedule(&context, 0, errors, &seq);
    EXPECT_TRUE(status != NRT_SUCCESS || context == nullptr);
    if (status == NRT_SUCCESS) status = wait(seq);
    const nrta_error_t* list = nullptr;
    std::size_t count = 0;
    EXPECT_EQ(nrta_error_tracker_get_list(errors, &list, &count), NRT_SUCCESS);
    if (status == NRT_SUCCESS && count > 0) status = static_cast<NRT_STATUS>(list[0].error_code);
    for (std::size_t i = 0; status == NRT_SUCCESS && i < out.size(); ++i) outputs[i] = read(out[i]);
    nrta_error_tracker_destroy(errors);
    for (nrt_tensor_t*& tensor : in) nrt_tensor_free(&tensor);
    for (nrt_tensor_t*& tensor : out) nrt_tensor_free(&tensor);
    return status;
  }
  template <typename T>
  void check_reduction(nrt_dtype_t dtype, nrt_op_type_t op, const std::vector<T>& by_rank, T expected) {
    std::vector<std::vector<Bytes>> outputs(kRanks, std::vector<Bytes>(1, Bytes(2 * sizeof(T))));
    EXPECT_EQ(on_ranks(kRanks,
                       [&](std::uint32_t rank) {
                         const T values[2] = {by_rank[rank], by_rank[kRanks - 1 - rank]};
                         Bytes data(sizeof(values));
                         std::memcpy(data.data(), values, sizeof(values));
                         return run(rank, {NRT_CC_ALLREDUCE, dtype, op, {}}, {data}, outputs[rank]);
                       }),
              all(kRanks, NRT_SUCCESS))
        << logged();
    for (const auto& output : outputs) {
      T values[2];
      std::memcpy(values, output[0].data(), sizeof(values));
      EXPECT_EQ(values[0], expected) << "dtype " << dtype << " op " << op;
      EXPECT_EQ(values[1], expected) << "dtype " << dtype << " op " << op;
    }
  }
  template <typename T>
  void check_integers(nrt_dtype_t dtype) {
    constexpr T kMost = std::numeric_limits<T>::max(), kLeast = std::numeric_limits<T>::min();
    check_reduction<T>(dtype, NRT_OP_ADD, {kMost, 1, 2, 3}, static_cast<T>(kLeast + 5));
    check_reduction<T>(dtype, NRT_OP_MAX, {kLeast, 1, kMost, 3}, kMost);
    check_reduction<T>(dtype, NRT_OP_MIN, {7, 1, kLeast, kMost}, kLeast);
  }
};

TEST_F(TensorCollectives, givenIntegersOfEveryTypeWhenReducedThenEveryRankHasTheResult) {
  check_integers<std::int8_t>(NRT_DTYPE_INT8);
  check_integers<std::uint8_t>(NRT_DTYPE_UINT8);
  check_integers<std::int16_t>(NRT_DTYPE_INT16);
  check_integers<std::uint16_t>(NRT_DTYPE_UINT16);
  check_integers<std::int32_t>(NRT_DTYPE_INT32);
  check_integers<std::uint32_t>(NRT_DTYPE_UINT32);
  check_integers<std::int64_t>(NRT_DTYPE_INT64);
  check_integers<std::uint64_t>(NRT_DTYPE_UINT64);
}

TEST_F(TensorCollectives, givenFloatsWhenReducedThenTheOrderIsThatOfTheRanks) {
  check_reduction<float>(NRT_DTYPE_FLOAT32, NRT_OP_MAX, {-1.5F, 2.5F, 0, 1}, 2.5F);
  check_reduction<float>(NRT_DTYPE_FLOAT32, NRT_OP_MIN, {-1.5F, 2.5F, 0, 1}, -1.5F);
  // bf16 and fp16 bits of 1, 2, 3, 4 and of 10.
  check_reduction<std::uint16_t>(NRT_DTYPE_BFLOAT16, NRT_OP_ADD, {0x3f80, 0x4000, 0x4040, 0x4080}, 0x4120);
  check_reduction<std::uint16_t>(NRT_DTYPE_FLOAT16, NRT_OP_ADD, {0x3c00, 0x4000, 0x4200, 0x4400}, 0x4900);
  const float by_rank[kRanks] = {1e8F, 1, -1e8F, 1};  // from the first to the last: 1
  std::vector<std::vector<Bytes>> outputs(kRanks, std::vector<Bytes>(1, Bytes(sizeof(float))));
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       Bytes data(sizeof(float));
                       std::memcpy(data.data(), &by_rank[rank], sizeof(float));
                       return run(rank, {}, {data}, outputs[rank]);
                     }),
            all(kRanks, NRT_SUCCESS));
  for (const auto& output : outputs) {
    float value = 0;
    std::memcpy(&value, output[0].data(), sizeof(value));
    EXPECT_EQ(value, 1);
  }
}

TEST_F(TensorCollectives, givenSeveralTensorsWhenGatheredAndScatteredThenEachGoesToItsOwn) {
  constexpr std::uint32_t kFirst = 8, kSecond = 16;
  std::vector<std::vector<Bytes>> gathered(kRanks, {Bytes(kFirst * kRanks), Bytes(kSecond * kRanks)});
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       return run(rank, {NRT_CC_ALLGATHER, NRT_DTYPE_FP8_E4, NRT_OP_INVALID, {}},
                                  {pattern(kFirst, rank), pattern(kSecond, 10 + rank)}, gathered[rank]);
                     }),
            all(kRanks, NRT_SUCCESS))
      << logged();
  for (const auto& outputs : gathered) {
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
      EXPECT_EQ(Bytes(outputs[0].begin() + rank * kFirst, outputs[0].begin() + (rank + 1) * kFirst),
                pattern(kFirst, rank));
      EXPECT_EQ(Bytes(outputs[1].begin() + rank * kSecond, outputs[1].begin() + (rank + 1) * kSecond),
                pattern(kSecond, 10 + rank));
    }
  }
  // Rank r gives r, r + 1, … to the first tensor and ten times that to the second; part p of the sum goes to rank p.
  std::vector<std::vector<Bytes>> scattered(kRanks, {Bytes(1), Bytes(2)});
  EXPECT_EQ(
      on_ranks(
          kRanks,
          [&](std::uint32_t rank) {
            Bytes first(4), second(8);
            for (std::uint32_t i = 0; i < 8; ++i) {
              second[i] = static_cast<std::byte>(rank + 10 * i);
              if (i < 4) first[i] = static_cast<std::byte>(rank + i);
            }
            return run(rank, {NRT_CC_REDUCESCATTER, NRT_DTYPE_UINT8, NRT_OP_ADD, {}}, {first, second}, scattered[rank]);
          }),
      all(kRanks, NRT_SUCCESS))
      << logged();
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_EQ(scattered[rank][0], Bytes{static_cast<std::byte>(6 + 4 * rank)});
    EXPECT_EQ(scattered[rank][1],
              (Bytes{static_cast<std::byte>(6 + 40 * 2 * rank), static_cast<std::byte>(6 + 40 * (2 * rank + 1))}));
  }
}

TEST_F(TensorCollectives, givenGroupsWhenTheyReduceThenEachIsByItself) {
  std::vector<std::vector<Bytes>> outputs(kRanks, {Bytes(1)});
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       const std::vector<std::uint32_t> group =
                           rank % 2 == 0 ? std::vector<std::uint32_t>{2, 0} : std::vector<std::uint32_t>{1, 3};
                       return run(rank, {NRT_CC_ALLREDUCE, NRT_DTYPE_UINT8, NRT_OP_ADD, group},
                                  {{static_cast<std::byte>(1 << rank)}}, outputs[rank]);
                     }),
            all(kRanks, NRT_SUCCESS))
      << logged();
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_EQ(outputs[rank][0][0], std::byte(rank % 2 == 0 ? 0b0101 : 0b1010));
  }
}

TEST_F(TensorCollectives, givenRanksThatDifferWhenTheyReduceThenTheTrackersOfAllSaySo) {
  std::vector<std::vector<Bytes>> outputs(kRanks, {Bytes(4)});
  EXPECT_EQ(on_ranks(kRanks,
                     [&](std::uint32_t rank) {
                       return run(rank,
                                  {NRT_CC_ALLREDUCE, rank == 2 ? NRT_DTYPE_INT32 : NRT_DTYPE_UINT32, NRT_OP_ADD, {}},
                                  {Bytes(4)}, outputs[rank]);
                     }),
            all(kRanks, NRT_INVALID));
  EXPECT_TRUE(has_logged("rank 2 calls for a reduction of 4 bytes, dtype 0x8")) << logged();
}

TEST_F(TensorCollectives, givenWrongArgumentsWhenPreparedThenTheyAreNamed) {
  std::vector<std::uint32_t> group{0, 1, 2, 3};
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16);
  nrt_tensor_t* larger = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);
  nrt_tensor_list_t one{&tensor, 1}, four{&larger, 1}, none{nullptr, 0}, lost{nullptr, 1};
  nrt_cc_context_t* context = nullptr;
  const auto prepare = [&](nrt_cc_comm_t where, nrt_tensor_list_t& in, nrt_tensor_list_t& out, int dtype, int op,
                           int type) {
    return nrta_cc_prepare(&where, &in, &out, static_cast<nrt_dtype_t>(dtype), static_cast<nrt_op_type_t>(op),
                           static_cast<nrt_cc_op_type_t>(type), &context);
  };
  const nrt_cc_comm_t good = comm(0, group);
  EXPECT_EQ(prepare(good, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), NRT_SUCCESS);
  EXPECT_EQ(prepare(good, one, four, NRT_DTYPE_FLOAT32, NRT_OP_FMA, NRT_CC_ALLGATHER), NRT_SUCCESS);
  const auto refused = [&](NRT_STATUS status, const char* text) {
    EXPECT_EQ(status, NRT_INVALID) << text;
    EXPECT_TRUE(has_logged(text)) << text << "\n" << logged();
  };
  refused(prepare(good, one, one, NRT_DTYPE_FLOAT32, NRT_OP_FMA, NRT_CC_ALLREDUCE), "op is 0x1");
  refused(prepare(good, one, one, NRT_DTYPE_FP8_E3, NRT_OP_ADD, NRT_CC_ALLREDUCE), "dtype is 0xd");
  refused(prepare(good, one, four, NRT_DTYPE_UNKNOWN, NRT_OP_ADD, NRT_CC_ALLGATHER), "dtype is 0x0");
  refused(prepare(good, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, 3), "cc_op is 3");
  refused(prepare(good, one, four, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "has 64 bytes, expected 16");
  refused(prepare(good, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLGATHER), "has 16 bytes, expected 64");
  refused(prepare(good, one, one, NRT_DTYPE_INT64, NRT_OP_ADD, NRT_CC_REDUCESCATTER),
          "a multiple of 4 ranks of 8-byte");
  refused(prepare(good, none, none, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE),
          "there are 0 inputs and 0 outputs");
  refused(prepare(good, one, none, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE),
          "there are 1 inputs and 0 outputs");
  refused(prepare(good, lost, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "input: tensors is NULL");
  nrt_cc_comm_t bad = good;
  bad.vnc = 999;
  refused(prepare(bad, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "comm.vnc is 999");
  bad = good;
  bad.ctx_device_id = 1;
  refused(prepare(bad, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "comm.ctx_device_id is 1 of 4");
  bad = good;
  bad.rank = 4;
  refused(prepare(bad, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "comm.rank is 4");
  bad = good;
  bad.rank = 1;
  refused(prepare(bad, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE),
          "comm.replica_group[1] is 1, expected comm.ctx");
  bad = good;
  bad.replica_group = nullptr;
  refused(prepare(bad, one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE), "comm.replica_group is NULL");
  std::vector<std::uint32_t> twice{0, 2, 2, 3};
  refused(prepare(comm(0, twice), one, one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE),
          "comm.replica_group[2] is 2");
  EXPECT_EQ(nrta_cc_prepare(nullptr, &one, &one, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE, &context),
            NRT_INVALID);
  nrt_tensor_free(&tensor);
  EXPECT_EQ(prepare(good, one, four, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLGATHER), NRT_INVALID) << "NULL tensor";
  nrt_tensor_free(&larger);
}

TEST_F(TensorCollectives, givenWrongArgumentsWhenScheduledThenTheContextStays) {
  std::vector<std::uint32_t> group{0};
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16);
  nrt_tensor_list_t list{&tensor, 1};
  nrt_cc_comm_t where = comm(0, group);
  nrt_cc_context_t* context = nullptr;
  nrta_error_tracker_t *errors = nullptr, *others = nullptr;
  nrta_seq_t seq = 0;
  ASSERT_EQ(nrta_error_tracker_create(0, &errors), NRT_SUCCESS);
  ASSERT_EQ(nrta_error_tracker_create(1, &others), NRT_SUCCESS);
  ASSERT_EQ(nrta_cc_prepare(&where, &list, &list, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE, &context),
            NRT_SUCCESS);
  EXPECT_EQ(nrta_cc_schedule(nullptr, 0, errors, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_cc_schedule(&context, 1, errors, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_cc_schedule(&context, 0, others, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_cc_schedule(&context, 0, nullptr, &seq), NRT_INVALID);
  EXPECT_EQ(nrta_cc_schedule(&context, 0, errors, nullptr), NRT_INVALID);
  nrt_cc_context_t* const stale = context;
  ASSERT_NE(stale, nullptr);
  EXPECT_EQ(nrta_cc_schedule(&context, 0, errors, &seq), NRT_SUCCESS) << logged();
  EXPECT_EQ(context, nullptr);
  context = stale;
  EXPECT_EQ(nrta_cc_schedule(&context, 0, errors, &seq), NRT_INVALID_HANDLE);
  EXPECT_EQ(wait(seq), NRT_SUCCESS);
  nrta_error_tracker_destroy(errors);
  nrta_error_tracker_destroy(others);
  nrt_tensor_free(&tensor);
}

TEST_F(Collectives, givenNoCommunicatorWhenPreparedThenItIsAskedFor) {
  std::uint32_t group = 0;
  nrt_cc_comm_t where{&group, 0, 1, 0, 1, 0};
  nrt_tensor_list_t none{nullptr, 0};
  nrt_cc_context_t* context = nullptr;
  EXPECT_EQ(nrta_cc_prepare(&where, &none, &none, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLREDUCE, &context),
            NRT_FAILURE);
  EXPECT_TRUE(has_logged("expected nrt_cc_global_comm_init first"));
}

TEST(CollectivesClosed, givenNoRuntimeWhenCalledThenItSaysSo) {
  EXPECT_NE(nrt_build_global_comm(0, 0, 1), NRT_SUCCESS);
  EXPECT_NE(nrt_barrier(0, 0, 1), NRT_SUCCESS);
  EXPECT_NE(nrt_async_sendrecv_init(0), NRT_SUCCESS);
}

TEST_F(Logged, givenMalformedVariablesWhenInitializedThenTheyAreNamed) {
  const Env root("NEURON_RT_ROOT_COMM_ID", "nowhere");
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID);
  EXPECT_TRUE(has_logged("NEURON_RT_ROOT_COMM_ID is \"nowhere\", expected <host>:<port>")) << logged();
}

class ForeignRoot : public Collectives {
  Env root_{"NEURON_RT_ROOT_COMM_ID", "192.0.2.1:45000"};  // RFC 5737: nobody's address
};

TEST_F(ForeignRoot, givenARootOnAnotherMachineWhenTheCommunicatorIsBuiltThenItIsRefused) {
  EXPECT_EQ(nrt_build_global_comm(0, 0, 1), NRT_INVALID);
  EXPECT_TRUE(has_logged("NEURON_RT_ROOT_COMM_ID: host \"192.0.2.1\" is another machine")) << logged();
}

}  // namespace
}  // namespace conformance
