// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md: faults of notifications where the driver cannot block and the runtime looks at the queues itself. The
// entries then pass through queues of the decorator, which are filled at each look at the clock.
#include <gmock/gmock.h>
#include <nrt/nrt_profile.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/faults/driver_fixture.h"
#include "tests/unit/tools/process.h"

namespace fault_test {
namespace {

using ::testing::ContainsRegex;

class PolledFaults : public DriverFaults {
 protected:
  void SetUp() override {
    DriverFaults::SetUp();
    const std::string build = std::getenv("OPENNRT_BUILD_DIR");
    ::setenv("OPENNRT_BACKEND", (build + "/tests/libtest_backend_polled.so").c_str(), 1);
  }
};

constexpr const char* kTimeout =
    "\\(FATAL-RT-UNDEFINED-STATE\\) inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1";

struct Case {
  const char* kind;
  const char* rule;
  NRT_STATUS status;  ///< of nrt_execute
  const char* console;
};

const Case kCases[] = {
    {"drv_notification_lost", R"("where": {"core": 1, "queue": 1})", NRT_TIMEOUT, kTimeout},
    {"drv_notification_lost", R"("where": {"core": 1}, "when": {"nth": 3})", NRT_TIMEOUT, kTimeout},
    {"drv_notification_delayed", R"("where": {"core": 1}, "times": 0)", NRT_SUCCESS, "strikes at event 3 of device 0"},
    {"drv_notification_delayed", R"("where": {"core": 1}, "detail": {"ns": 60000000000})", NRT_TIMEOUT, kTimeout},
    {"drv_notification_duplicated", R"("where": {"core": 1}, "times": 0)", NRT_SUCCESS,
     "strikes at event 3 of device 0"},
    // Phase 1 becomes 254: nobody ever sees it, nor what is behind it.
    {"drv_notification_corrupted", R"("where": {"core": 1})", NRT_TIMEOUT, kTimeout},
    // The end of another program.
    {"drv_notification_corrupted", R"("where": {"core": 1}, "detail": {"word": 1})", NRT_TIMEOUT, kTimeout},
    // The time is wrong, nothing else.
    {"drv_notification_corrupted", R"("where": {"core": 1}, "detail": {"word": 2, "mask": 1})", NRT_SUCCESS,
     "strikes at event 1 of device 0 core 1"},
    // NotificationType 1 becomes 3, an error, and its code 4.
    {"drv_notification_corrupted", R"("where": {"core": 1}, "detail": {"mask": 67109376})", NRT_EXEC_HW_ERR_NC_UE,
     "\\[ND 0\\]\\[NC 1\\] Uncorrectable memory error is detected"},
};

class EachNotificationFault : public PolledFaults, public ::testing::WithParamInterface<Case> {};

TEST_P(EachNotificationFault, givenTheRuntimePollsThenStatusAndTextAreTheSameAndTheNextInferencesAreRight) {
  const Case& c = GetParam();
  inject(std::string(R"({"fault": ")") + c.kind + "\", " + c.rule + "}");
  Program program;
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  nrt_model_t* beside = load(kNeighbour);
  {
    Tensors own(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
    EXPECT_EQ(program.go_until(Step::kRead), c.status) << logged();
    EXPECT_THAT(logged(), ContainsRegex(c.console));
    expect_well(beside, own, 3);
    for (int again = 0; again < 3; ++again) {
      program.at = Step::kWrite;
      EXPECT_EQ(program.go_until(Step::kUnload), NRT_SUCCESS) << logged();
      EXPECT_TRUE(program.right) << again;
      expect_well(beside, own, static_cast<float>(again));
    }
  }
  EXPECT_EQ(nrt_unload(beside), NRT_SUCCESS);
  EXPECT_EQ(program.go(), NRT_SUCCESS);
}

INSTANTIATE_TEST_SUITE_P(, EachNotificationFault, ::testing::ValuesIn(kCases),
                         [](const auto& one) { return std::string(one.param.kind) + "_" + std::to_string(one.index); });

// A queue that the driver does not take back goes on to be read: its entries go on to be there.
TEST_F(PolledFaults, givenTraceQueuesThatCannotBeGivenBackThenTheyAreReadOn) {
  inject(R"({"fault": "drv_notification_delayed", "where": {"core": 1}, "times": 0, "detail": {"ns": 10}})");
  Program program;
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  for (const char* keep : {"1", "1", ""}) {
    if (*keep != '\0')
      ::setenv("OPENNRT_TEST_KEEP_TRACE", keep, 1);
    else
      ::unsetenv("OPENNRT_TEST_KEEP_TRACE");
    const std::string file = folder_ + "/profile.json";
    ASSERT_EQ(nrt_profile_start(program.model, file.c_str()), NRT_SUCCESS);
    for (int i = 0; i < 3; ++i) {
      program.at = Step::kWrite;
      ASSERT_EQ(program.go_until(Step::kUnload), NRT_SUCCESS) << logged();
      EXPECT_TRUE(program.right);
    }
    ASSERT_EQ(nrt_profile_stop(file.c_str()), NRT_SUCCESS);
    const auto profile = nlohmann::json::parse(opennrt::test::read_text(file));
    std::map<std::string, int> instructions;
    for (const auto& event : profile.at("traceEvents"))
      if (event.at("ph") == "X") ++instructions[event.at("cat").get<std::string>()];
    EXPECT_EQ(instructions["nc_exec_running"], 3);
    for (const char* engine : {"pe", "act", "pool"}) {
      EXPECT_GT(instructions[engine], 3) << engine;
      EXPECT_EQ(instructions[engine] % 3, 0) << engine << ": as many in each inference";
    }
  }
  EXPECT_EQ(program.go(), NRT_SUCCESS);
}

// Without a clock there is no time limit: that is said, and no inference waits for ever.
TEST_F(PolledFaults, givenAClockThatCannotBeReadThenTheCallSaysSoAndCanBeRepeated) {
  int strikes = 0;
  for (int n = 1; n <= 40; ++n) {
    SCOPED_TRACE("look " + std::to_string(n));
    forget_log();
    inject(R"({"fault": "drv_error", "where": {"operation": "clock"}, "when": {"nth": )" + std::to_string(n) + "}}");
    Program program;
    const NRT_STATUS status = program.go();
    const bool struck = logged().find("(drv_error) strikes at event") != std::string::npos;
    if (n == 1) {
      EXPECT_EQ(status, NRT_HW_ERROR) << "the look that the time limit is counted from";
    }
    if (status != NRT_SUCCESS) {
      EXPECT_STREQ(name_of(program.at), "nrt_execute") << logged();
      EXPECT_EQ(status, NRT_HW_ERROR) << logged();
      EXPECT_THAT(logged(), ContainsRegex("clock on Neuron Device 0: Input/output error"));
      EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
    }
    EXPECT_TRUE(program.right) << logged();
    if (!struck) break;
    strikes += status == NRT_HW_ERROR ? 1 : 0;
  }
  EXPECT_GT(strikes, 1);
}

}  // namespace
}  // namespace fault_test
