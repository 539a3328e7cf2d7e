// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md, "A plan": a plan and processes that fork, as launchers do that start a process for each rank. Each
// process counts for itself, and no lock of the plan's is left behind in a child. This program opens the library in children
// only.
#include <gtest/gtest.h>
#include <nrt/nrt.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "core/faults/report.h"
#include "tests/faults/chip_tensors.h"
#include "tests/process/helpers.h"
#include "tests/unit/tools/process.h"

/// Asked by LeakSanitizer's runtime, where there is one, before it looks for leaks.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace {

using fault_test::Tensors;
using opennrt::faults::Reported;
using process_test::Ended;
using process_test::in_child;

constexpr int kRanks = 3;

/// What a rank does; 0, or which step was wrong. The plan fails the third allocation on the core, once.
int work_as_rank() {
  if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 10;
  const auto neff = fault_test::add_neff();
  nrt_model_t* model = nullptr;
  if (nrt_load(neff.data(), neff.size(), 0, 1, &model) != NRT_HW_ERROR) return 11;
  if (nrt_load(neff.data(), neff.size(), 0, 1, &model) != NRT_SUCCESS) return 12;
  {
    Tensors tensors(0, NRT_TENSOR_PLACEMENT_DEVICE);
    if (!tensors.good()) return 13;
    const bool executes = std::getenv("OPENNRT_BACKEND") != std::string("null");
    if (tensors.write(7) != NRT_SUCCESS) return 14;
    if (executes && nrt_execute(model, tensors.in, tensors.out) != NRT_SUCCESS) return 15;
    if (executes && tensors.result() != tensors.expected()) return 16;
  }
  if (nrt_unload(model) != NRT_SUCCESS) return 17;
  nrt_close();
  return 0;
}

pid_t fork_rank(int core) {
  const pid_t rank = fork();
  if (rank == 0) {
    setenv("NEURON_RT_VISIBLE_CORES", std::to_string(core).c_str(), 1);
    _exit(work_as_rank());
  }
  return rank;
}

int exit_of(pid_t child) {
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

class DriverFork : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("OPENNRT_FAULTS_REPORT", (folder_ / "report").c_str(), 1);
    setenv("NEURON_RT_LOG_LOCATION", (folder_ / "log").c_str(), 1);
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    unsetenv("NEURON_RT_VISIBLE_CORES");
  }
  void TearDown() override {
    for (const char* name :
         {"OPENNRT_FAULTS", "OPENNRT_FAULTS_REPORT", "NEURON_RT_LOG_LOCATION", "NEURON_RT_LOG_LEVEL"})
      unsetenv(name);
  }
  static void set_plan(const std::string& rules) {
    setenv("OPENNRT_FAULTS", (R"({"version": 1, "rules": [)" + rules + "]}").c_str(), 1);
  }
  Reported reported() const {
    auto read = opennrt::faults::read_report(folder_ / "report");
    EXPECT_TRUE(read.has_value()) << read.error().message;
    return read ? std::move(*read) : Reported{};
  }
  std::string log() const { return opennrt::test::read_text(folder_ / "log"); }

  const opennrt::test::TemporaryFolder folder_;
};

constexpr const char* kThirdAllocation =
    R"({"fault": "drv_error", "where": {"operation": "mem_alloc", "device": 0}, "when": {"nth": 3}})";

TEST_F(DriverFork, givenALauncherThatAsksForTheCountsThenEachRankAndItselfAreStruckAlike) {
  set_plan(std::string(kThirdAllocation) +
           R"(, {"name": "versions", "fault": "drv_slow", "where": {"operation": "version"}, "detail": {"us": 1}})");
  const Ended ended = in_child([] {
    std::uint32_t total = 0;
    if (nrt_get_total_nc_count(&total) != NRT_SUCCESS || total < kRanks) return 1;
    pid_t ranks[kRanks];
    for (int rank = 0; rank < kRanks; ++rank) ranks[rank] = fork_rank(rank);
    for (const pid_t rank : ranks)
      if (const int wrong = exit_of(rank)) return wrong;
    setenv("NEURON_RT_VISIBLE_CORES", "1", 1);
    return work_as_rank();
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err << log();
  const Reported all = reported();
  std::map<std::int64_t, int> allocations, versions;
  for (const auto& strike : all.strikes) {
    ++(strike.rule.name == "versions" ? versions : allocations)[strike.pid];
    EXPECT_EQ(strike.event, strike.rule.name == "versions" ? 1u : 3u);
  }
  EXPECT_EQ(allocations.size(), kRanks + 1u);
  EXPECT_EQ(versions.size(), kRanks + 1u);
  for (const auto& [pid, strikes] : allocations) EXPECT_EQ(strikes, 1) << pid;
  for (const auto& [pid, strikes] : versions) EXPECT_EQ(strikes, 1) << pid << ": the launcher's were before the fork";
  ASSERT_EQ(all.statuses.size(), kRanks + 1u) << log();
  for (const auto& status : all.statuses) {
    EXPECT_EQ(status.function, "nrt_load");
    EXPECT_EQ(status.status, "NRT_HW_ERROR");
  }
  ASSERT_EQ(all.closed.size(), kRanks + 1u);
  for (const auto& closed : all.closed) EXPECT_TRUE(closed.none());
}

TEST_F(DriverFork, givenARuntimeThatIsOpenWhenForkedThenParentAndChildCountApart) {
  set_plan(kThirdAllocation);
  const Ended ended = in_child([] {
    const bool sim = std::getenv("OPENNRT_BACKEND") == std::string("sim");
    setenv("NEURON_RT_VISIBLE_CORES", "0", 1);
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 20;
    nrt_tensor_t* tensors[4] = {};
    const auto allocate = [&](int i) {
      return nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &tensors[i]);
    };
    if (allocate(0) != NRT_SUCCESS || allocate(1) != NRT_SUCCESS) return 21;
    const pid_t child = fork();
    if (child == 0) {
      nrt_tensor_t* other = nullptr;
      if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &other) != NRT_UNINITIALIZED) _exit(30);
      nrt_tensor_free(&tensors[0]);  // its parent's: nothing happens to it
      setenv("NEURON_RT_VISIBLE_CORES", "1", 1);
      if (!sim) exit(work_as_rank());
      const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
      nrt_close();
      exit(status == NRT_SUCCESS ? 31 : 0);
    }
    if (const int wrong = exit_of(child)) return wrong;
    if (allocate(2) != NRT_HW_ERROR || tensors[2] != nullptr) return 22;
    if (allocate(2) != NRT_SUCCESS || allocate(3) != NRT_SUCCESS) return 23;
    for (nrt_tensor_t*& tensor : tensors) nrt_tensor_free(&tensor);
    nrt_close();
    return 0;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err << log();
  const Reported all = reported();
  std::set<std::int64_t> pids;
  for (const auto& strike : all.strikes) {
    EXPECT_EQ(strike.event, 3u);
    EXPECT_TRUE(pids.insert(strike.pid).second);
  }
  EXPECT_EQ(pids.size(), std::getenv("OPENNRT_BACKEND") == std::string("sim") ? 1u : 2u);
  for (const auto& closed : all.closed) EXPECT_TRUE(closed.none());
}

// Threads of the parent are inside the decorator at the moment of each fork; its locks are theirs for ever in the child.
// AddressSanitizer's allocator (g++ 12) keeps its own locks over a fork, so that there a child may wait for those.
#ifndef __SANITIZE_ADDRESS__
TEST_F(DriverFork, givenThreadsInsideTheDriverWhenForkedThenNoChildWaitsForThem) {
  setenv("NEURON_RT_LOG_LEVEL", "ERROR", 1);
  unsetenv("OPENNRT_FAULTS_REPORT");
  set_plan(R"({"fault": "drv_slow", "times": 0, "detail": {"us": 1}},
              {"fault": "drv_error", "where": {"operation": "mem_write"}, "when": {"probability": 0.0001}})");
  const Ended ended = in_child([] {
    setenv("NEURON_RT_VISIBLE_CORES", "0", 1);
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 40;
    nrt_tensor_t* tensor = nullptr;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &tensor) != NRT_SUCCESS) return 41;
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        char data[64] = {};
        while (!stop) (void)nrt_tensor_write(tensor, data, 0, sizeof(data));
      });
    int wrong = 0;
    for (int round = 0; round < 10 && wrong == 0; ++round) {
      const pid_t child = fork();
      if (child == 0) {
        std::uint32_t visible = 0;
        setenv("NEURON_RT_VISIBLE_CORES", "1", 1);
        (void)nrt_get_visible_nc_count(&visible);  // opens a backend, and the plan
        if (std::getenv("OPENNRT_BACKEND") != std::string("sim")) {
          if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) _exit(42);
          nrt_tensor_t* own = nullptr;
          if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &own) != NRT_SUCCESS) _exit(43);
          nrt_tensor_free(&own);
          nrt_close();
        }
        _exit(0);
      }
      wrong = exit_of(child);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    nrt_tensor_free(&tensor);
    nrt_close();
    return wrong;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err << log();
}
#endif

}  // namespace
