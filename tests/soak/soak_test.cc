// SPDX-License-Identifier: Apache-2.0
//
// 32 threads over 4 NeuronCores and 8 models: every output is right, no execution is lost, memory stays flat (requirements G4,
// G5). OPENNRT_SOAK_EXECUTIONS: how many executions in all, 20000 by default.
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_experimental.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace {

using opennrt::test::NeffBuilder;

constexpr std::uint32_t kCores = 4, kModels = 8, kThreads = 32;
constexpr std::uint32_t kPartitions = 4, kColumns = 16;
constexpr std::size_t kCount = kPartitions * kColumns, kBytes = kCount * sizeof(float);
// Requests that a thread which schedules has outstanding.
constexpr std::size_t kOutstanding = 4;
// glibc's arenas and the caches of threads move by some pages; a leak of 16 bytes per execution is 16 MB in a million.
constexpr std::int64_t kRssBound = 4 << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kRssMeans = false;  // what has been freed stays with the sanitizer
#else
constexpr bool kRssMeans = true;
#endif

std::uint64_t executions_wanted() {
  const char* text = std::getenv("OPENNRT_SOAK_EXECUTIONS");
  return text == nullptr || *text == '\0' ? 20'000 : std::strtoull(text, nullptr, 10);
}

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::array<std::size_t, kCores> device_bytes() {
  std::array<std::size_t, kCores> used{};
  for (std::uint32_t vnc = 0; vnc < kCores; ++vnc) {
    nrt_vnc_memory_stats_t stats{};
    EXPECT_EQ(nrt_get_vnc_memory_stats(vnc, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
    used[vnc] = stats.bytes_used;
  }
  return used;
}

/// One execution's tensors: out = a op b (op by the model), with inputs that no other execution has.
class Request {
 public:
  Request(std::uint32_t vnc, nrt_tensor_placement_t placement) {
    EXPECT_EQ(nrt_allocate_tensor_set(&in_), NRT_SUCCESS);
    EXPECT_EQ(nrt_allocate_tensor_set(&out_), NRT_SUCCESS);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(nrt_tensor_allocate(placement, static_cast<int>(vnc), kBytes, kNames[i], &tensors_[i]), NRT_SUCCESS);
      EXPECT_EQ(nrt_add_tensor_to_tensor_set(i < 2 ? in_ : out_, kNames[i], tensors_[i]), NRT_SUCCESS);
    }
  }
  ~Request() {
    for (nrt_tensor_t*& tensor : tensors_) nrt_tensor_free(&tensor);
    nrt_destroy_tensor_set(&in_);
    nrt_destroy_tensor_set(&out_);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  bool fill(std::uint32_t seed) {
    std::uint32_t state = seed * 2654435761u + 1;
    for (std::size_t i = 0; i < kCount; ++i) {
      state = state * 1664525u + 1013904223u;
      a_[i] = static_cast<float>(state >> 20);
      b_[i] = static_cast<float>(state & 0xfff);
    }
    return nrt_tensor_write(tensors_[0], a_.data(), 0, kBytes) == NRT_SUCCESS &&
           nrt_tensor_write(tensors_[1], b_.data(), 0, kBytes) == NRT_SUCCESS;
  }
  bool right(opennrt::isa::Alu op) const {
    std::array<float, kCount> result;
    if (nrt_tensor_read(tensors_[2], result.data(), 0, kBytes) != NRT_SUCCESS) return false;
    for (std::size_t i = 0; i < kCount; ++i) {
      const float expected = op == opennrt::isa::Alu::kAdd        ? a_[i] + b_[i]
                             : op == opennrt::isa::Alu::kSubtract ? a_[i] - b_[i]
                             : op == opennrt::isa::Alu::kMax      ? std::max(a_[i], b_[i])
                                                                  : std::min(a_[i], b_[i]);
      if (result[i] != expected) return false;
    }
    return true;
  }
  nrt_tensor_set_t* in() const { return in_; }
  nrt_tensor_set_t* out() const { return out_; }
  const nrt_tensor_t* output() const { return tensors_[2]; }
  nrta_seq_t seq = 0;
  std::uint64_t runs = 0;

 private:
  static constexpr std::array<const char*, 3> kNames = {"a", "b", "out"};
  nrt_tensor_set_t *in_ = nullptr, *out_ = nullptr;
  std::array<nrt_tensor_t*, 3> tensors_{};
  std::array<float, kCount> a_{}, b_{};
};

struct LoadedModel {
  nrt_model_t* handle = nullptr;
  opennrt::isa::Alu op = opennrt::isa::Alu::kAdd;
  std::uint32_t vnc = 0;
};

struct Tally {
  std::atomic<std::uint64_t> done{0}, failed{0}, wrong{0}, lost{0}, tracked{0};
};

/// One thread's work. Of the four of a model two schedule (nrta_*) and two execute synchronously, with either placement.
class Client {
 public:
  Client(std::uint32_t number, const LoadedModel& model, Tally& tally) : number_(number), model_(model), tally_(tally) {
    const auto placement = number / kModels / 2 == 0 ? NRT_TENSOR_PLACEMENT_VIRTUAL : NRT_TENSOR_PLACEMENT_DEVICE;
    for (std::size_t i = 0; i < (schedules() ? kOutstanding : 1); ++i)
      requests_.push_back(std::make_unique<Request>(model.vnc, placement));
    EXPECT_EQ(nrta_error_tracker_create(model.vnc, &errors_), NRT_SUCCESS);
  }
  ~Client() { nrta_error_tracker_destroy(errors_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void run(std::uint64_t executions) {
    for (std::uint64_t i = 0; i < executions; ++i) {
      Request& request = *requests_[i % requests_.size()];
      if (schedules()) {
        collect(request);
        schedule(request);
      } else {
        execute(request);
      }
    }
    for (const auto& request : requests_) collect(*request);
    const nrta_error_t* list = nullptr;
    std::size_t count = 0;
    EXPECT_EQ(nrta_error_tracker_get_list(errors_, &list, &count), NRT_SUCCESS);
    tally_.tracked += count;
  }

  /// Counted by the library (F3): as many as there were.
  void count() {
    for (const auto& request : requests_) {
      if (nrt_tensor_check_output_completion(request->output(), 0, request->runs) != NRT_SUCCESS) ++tally_.lost;
      if (nrt_tensor_check_output_completion(request->output(), 0, request->runs + 1) != NRT_TIMEOUT) ++tally_.lost;
    }
  }

 private:
  bool schedules() const { return number_ / kModels % 2 == 1; }
  std::uint32_t next_seed() { return number_ + kThreads * ++seed_; }

  void execute(Request& request) {
    if (!request.fill(next_seed()) || nrt_execute(model_.handle, request.in(), request.out()) != NRT_SUCCESS) {
      ++tally_.failed;
      return;
    }
    finish(request);
  }
  void schedule(Request& request) {
    NRT_STATUS status = NRT_QUEUE_FULL;
    if (!request.fill(next_seed())) status = NRT_FAILURE;
    while (status == NRT_QUEUE_FULL)
      status = nrta_execute_schedule(model_.handle, request.in(), request.out(), 0, errors_, &request.seq);
    if (status != NRT_SUCCESS) ++tally_.failed;
  }
  void collect(Request& request) {
    if (request.seq == 0) return;
    bool completed = false;
    while (!completed) {
      if (nrta_is_completed(request.seq, &completed) != NRT_SUCCESS) {
        ++tally_.lost;
        break;
      }
      if (!completed) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    request.seq = 0;
    finish(request);
  }
  void finish(Request& request) {
    ++request.runs;
    ++tally_.done;
    if (!request.right(model_.op)) ++tally_.wrong;
  }

  const std::uint32_t number_;
  const LoadedModel model_;
  Tally& tally_;
  std::vector<std::unique_ptr<Request>> requests_;
  nrta_error_tracker_t* errors_ = nullptr;
  std::uint32_t seed_ = 0;
};

TEST(Soak, givenManyThreadsCoresAndModelsWhenExecutedOftenThenNothingIsWrongNothingIsLostAndMemoryIsFlat) {
  using opennrt::isa::Alu;
  constexpr std::array kOps = {Alu::kAdd, Alu::kSubtract, Alu::kMax, Alu::kMin};
  const std::uint64_t each = std::max<std::uint64_t>(executions_wanted() / kThreads, 10);
  const std::uint64_t warm_up = std::max<std::uint64_t>(each / 10, 5);
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  const auto empty = device_bytes();
  std::array<LoadedModel, kModels> models;
  for (std::uint32_t i = 0; i < kModels; ++i) {
    models[i].op = kOps[i % kOps.size()];
    models[i].vnc = i / (kModels / kCores);
    const auto neff = NeffBuilder::of(opennrt::test::binary_program(models[i].op, kPartitions, kColumns).graph).build();
    ASSERT_EQ(nrt_load(neff.data(), neff.size(), static_cast<int>(models[i].vnc), -1, &models[i].handle), NRT_SUCCESS);
  }

  Tally tally;
  std::int64_t warm_rss = 0, end_rss = 0;
  std::array<std::size_t, kCores> warm_device{}, end_device{};
  std::chrono::steady_clock::time_point begin, end;
  int phase = 0;
  const auto measure = [&]() noexcept {
    (phase == 0 ? warm_rss : end_rss) = resident_bytes();
    (phase == 0 ? warm_device : end_device) = device_bytes();
    (phase == 0 ? begin : end) = std::chrono::steady_clock::now();
    ++phase;
  };
  std::barrier together(kThreads, measure);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Client client(t, models[t % kModels], tally);
      client.run(warm_up);
      together.arrive_and_wait();
      client.run(each);
      together.arrive_and_wait();
      client.count();
    });
  }
  for (std::thread& thread : threads) thread.join();

  const std::uint64_t expected = (each + warm_up) * kThreads;
  EXPECT_EQ(tally.done, expected);
  EXPECT_EQ(tally.failed, 0u);
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_EQ(tally.lost, 0u);
  EXPECT_EQ(tally.tracked, 0u) << "errors in trackers";
  EXPECT_EQ(end_device, warm_device);
  if (kRssMeans) {
    EXPECT_LT(end_rss - warm_rss, kRssBound);
  }
  for (const LoadedModel& model : models) EXPECT_EQ(nrt_unload(model.handle), NRT_SUCCESS);
  EXPECT_EQ(device_bytes(), empty);
  nrt_close();

  const double seconds = std::chrono::duration<double>(end - begin).count();
  std::printf("%llu executions in %.1f s, %.0f per second; resident %.1f MiB after warm-up, %+.2f MiB at the end\n",
              static_cast<unsigned long long>(each * kThreads), seconds, static_cast<double>(each * kThreads) / seconds,
              static_cast<double>(warm_rss) / 1048576.0, static_cast<double>(end_rss - warm_rss) / 1048576.0);
}

}  // namespace
