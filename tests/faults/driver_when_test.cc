// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md, "A plan": when and how often a rule between runtime and driver strikes, with markers, time, and many
// threads.
#include <gmock/gmock.h>
#include <opennrt/marker.h>

#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/faults/report.h"
#include "tests/faults/driver_fixture.h"

namespace fault_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DriverWhen : public DriverFaults {
 protected:
  void SetUp() override {
    DriverFaults::SetUp();
    ::setenv("OPENNRT_FAULTS_REPORT", (folder_ + "/report").c_str(), 1);
  }
  void open(const std::string& rules) {
    inject(rules);
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  }
  static nrt_tensor_t* tensor(int core) {
    nrt_tensor_t* made = nullptr;
    EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, core, 64, "t", &made), NRT_SUCCESS);
    return made;
  }
  /// The numbers, from 1, of the writes that fail.
  static std::vector<int> failing(nrt_tensor_t* tensor, int writes) {
    std::vector<int> failed;
    const char data[64] = {};
    for (int i = 1; i <= writes; ++i) {
      const NRT_STATUS status = nrt_tensor_write(tensor, data, 0, sizeof(data));
      if (status == NRT_SUCCESS) continue;
      EXPECT_EQ(status, NRT_HW_ERROR);
      failed.push_back(i);
    }
    return failed;
  }
  /// Of each strike so far, the event's number and the device's time.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> strikes() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    std::ifstream file(folder_ + "/report");
    for (std::string line; std::getline(file, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("strike")) all.emplace_back(json["strike"]["event"], json["strike"]["now_ns"]);
    }
    return all;
  }
};

constexpr const char* kWrites = R"("fault": "drv_error", "where": {"operation": "mem_write", "core": 1})";
std::string on_writes(const std::string& when) {
  return std::string("{") + kWrites + ", " + when + "}";
}

TEST_F(DriverWhen, givenNthEveryAndTimesThenExactlyThoseEventsAreStruck) {
  const struct {
    const char* when;
    std::vector<int> failing;
  } cases[] = {
      {R"("when": {"nth": 3})", {3}},
      {R"("when": {"every": 4})", {4}},
      {R"("when": {"every": 4}, "times": 0)", {4, 8, 12}},
      {R"("when": {"nth": 2, "every": 5}, "times": 0)", {2, 7, 12}},
      {R"("when": {"nth": 2, "every": 5}, "times": 2)", {2, 7}},
      {R"("times": 3)", {1, 2, 3}},
      {R"("when": {"nth": 5}, "times": 0)", {5}},
  };
  for (const auto& c : cases) {
    open(on_writes(c.when));
    nrt_tensor_t *there = tensor(1), *beside = tensor(0);
    EXPECT_EQ(failing(there, 14), c.failing) << c.when;
    EXPECT_EQ(failing(beside, 14), std::vector<int>()) << "another core";
    nrt_tensor_free(&there);
    nrt_tensor_free(&beside);
    nrt_close();
  }
}

// What has struck has struck: a runtime that is opened anew under the same plan goes on counting.
TEST_F(DriverWhen, givenTheRuntimeIsOpenedAnewUnderTheSamePlanThenEventsAreCountedOn) {
  open(on_writes(R"("when": {"nth": 5})"));
  for (const std::vector<int>& expected : {std::vector<int>{}, {2}, {}}) {
    nrt_tensor_t* there = tensor(1);
    EXPECT_EQ(failing(there, 3), expected);
    nrt_tensor_free(&there);
    nrt_close();
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  }
}

TEST_F(DriverWhen, givenMarkersOfTheProgramThenOnlyEventsBetweenThemAreStruckAndAllAreCounted) {
  open(on_writes(R"("when": {"between": ["warm:2", "done"]}, "times": 0)"));
  nrt_tensor_t* there = tensor(1);
  EXPECT_THAT(failing(there, 2), ElementsAre());
  opennrt_marker("warm");
  opennrt_marker("other");
  EXPECT_THAT(failing(there, 2), ElementsAre());
  opennrt_marker("warm");
  EXPECT_THAT(failing(there, 2), ElementsAre(1, 2));
  opennrt_marker("warm");
  EXPECT_THAT(failing(there, 2), ElementsAre(1, 2));
  opennrt_marker("done");
  EXPECT_THAT(failing(there, 2), ElementsAre());
  opennrt_marker("warm");
  EXPECT_THAT(failing(there, 2), ElementsAre()) << "once it is over it is over";
  nrt_tensor_free(&there);
  nrt_close();
  std::vector<std::uint64_t> events;
  for (const auto& [event, now] : strikes()) events.push_back(event);
  EXPECT_THAT(events, ElementsAre(5, 6, 7, 8));
}

TEST_F(DriverWhen, givenReturnsOfFunctionsAsMarkersThenTheSecondLoadBeginsAndTheUnloadEndsIt) {
  open(on_writes(R"("when": {"between": ["nrt_load:2", "nrt_unload"]}, "times": 0)"));
  nrt_tensor_t* there = tensor(1);
  nrt_model_t* first = load(1);
  EXPECT_THAT(failing(there, 1), ElementsAre());
  nrt_model_t* second = load(1);
  EXPECT_THAT(failing(there, 1), ElementsAre(1));
  EXPECT_EQ(nrt_unload(first), NRT_SUCCESS);
  EXPECT_THAT(failing(there, 1), ElementsAre());
  EXPECT_EQ(nrt_unload(second), NRT_SUCCESS);
  nrt_tensor_free(&there);
}

TEST_F(DriverWhen, givenATimeOfTheDeviceThenNothingIsStruckBeforeIt) {
  const auto reads = [](int microseconds) {
    return R"({"fault": "drv_error", "where": {"operation": "mem_read", "core": 1}, "when": {"after_us": )" +
           std::to_string(microseconds) + "}}";
  };
  // The machine of this process may have run before: what its clock says now.
  open(R"({"fault": "drv_slow", "where": {"operation": "mem_read", "core": 1}, "when": {"after_us": 1}})");
  Program before;
  ASSERT_EQ(before.go(), NRT_SUCCESS) << logged();
  before.close();
  ASSERT_EQ(strikes().size(), 1u);
  const std::uint64_t now_us = strikes().front().second / 1000;
  EXPECT_GT(now_us, 0u);
  const std::uint64_t due_us = now_us + 60;
  open(reads(static_cast<int>(due_us)));
  Program program;
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  int well = 0;
  NRT_STATUS status = NRT_SUCCESS;
  for (; well < 1000; ++well) {  // an inference takes some microseconds, and nothing else takes any
    program.at = Step::kExecute;
    if ((status = program.go_until(Step::kUnload)) != NRT_SUCCESS) break;
    EXPECT_TRUE(program.right);
  }
  EXPECT_GT(well, 1);
  EXPECT_EQ(status, NRT_HW_ERROR);
  EXPECT_STREQ(name_of(program.at), "nrt_tensor_read");
  EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
  ASSERT_EQ(strikes().size(), 2u);
  EXPECT_EQ(strikes().back().first, static_cast<std::uint64_t>(well) + 1) << "all reads are counted";
  EXPECT_GE(strikes().back().second, due_us * 1000);
}

// Faults that happen before a device is open go by what its clock said last.
TEST_F(DriverWhen, givenATimeOfTheDeviceForItsOpeningThenOnlyALaterOneIsStruck) {
  open(R"({"fault": "drv_open_fail", "when": {"after_us": 1}})");
  Program program;
  ASSERT_EQ(program.go(), NRT_SUCCESS) << logged();
  program.close();
  EXPECT_EQ(program.go(), NRT_FAILURE);
  EXPECT_THAT(logged(), HasSubstr("Neuron Device 0 cannot be opened: No such device"));
  EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
}

// Which thread makes a call is up to the machine, which calls are struck is not.
TEST_F(DriverWhen, givenProbabilitiesAndEightThreadsThenTwoRunsAreStruckAtTheSamePlaces) {
  const auto run = [&](unsigned seed, bool again) {
    std::filesystem::remove(folder_ + "/report");
    if (again) {  // another plan in between: the same one would go on counting
      inject(R"({"fault": "drv_slow", "when": {"nth": 1000000}})");
      EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
      nrt_close();
    }
    const std::string rules =
        R"({"name": "reads", "fault": "drv_error", "where": {"operation": "mem_read"},
            "when": {"probability": 0.1}, "times": 0, "detail": {"errno": "EINTR"}},
           {"name": "writes", "fault": "drv_error", "where": {"operation": "mem_write"},
            "when": {"probability": 0.2}, "times": 0},
           {"name": "few", "fault": "drv_error", "where": {"operation": "mem_write", "core": 0},
            "when": {"probability": 0.3}, "times": 9},
           {"name": "slow", "fault": "drv_slow", "when": {"probability": 0.2}, "times": 0, "detail": {"us": 20}})";
    ::setenv("OPENNRT_FAULTS", plan(rules, seed).c_str(), 1);
    EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
    nrt_tensor_t* tensors[8] = {};
    for (int t = 0; t < 8; ++t) tensors[t] = tensor(t % 2);
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (nrt_tensor_t* mine : tensors)
      threads.emplace_back([&failures, mine] {
        char data[64] = {};
        for (int i = 0; i < 40; ++i) {
          failures += nrt_tensor_write(mine, data, 0, sizeof(data)) != NRT_SUCCESS ? 1 : 0;
          failures += nrt_tensor_read(mine, data, 0, sizeof(data)) != NRT_SUCCESS ? 1 : 0;
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (nrt_tensor_t*& mine : tensors) nrt_tensor_free(&mine);
    nrt_close();
    const auto reported = opennrt::faults::read_report(folder_ + "/report");
    EXPECT_TRUE(reported.has_value());
    std::map<std::string, int> struck;
    for (const auto& strike : reported->strikes) ++struck[strike.rule.name];
    EXPECT_EQ(struck["reads"] + struck["writes"] + struck["few"], failures);
    EXPECT_GT(struck["reads"], 10);
    EXPECT_GT(struck["writes"], 20);
    EXPECT_EQ(struck["few"], 9);
    EXPECT_GT(struck["slow"], 50);
    return strike_lines(*reported);
  };
  const std::vector<std::string> first = run(11, false), second = run(11, true), other = run(12, true);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

}  // namespace
}  // namespace fault_test
