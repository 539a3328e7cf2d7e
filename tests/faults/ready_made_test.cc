// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md: a ready-made plan goes as its description says; every rule counts its events whatever other rules do;
// what is told of a fault that struck, in the log and in the report.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/faults/driver_fixture.h"

namespace fault_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

NRT_STATUS open_library() {
  return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
}

class DriverTogether : public DriverFaults {
 protected:
  NRT_STATUS open_after(std::string& log) {
    forget_log();
    const NRT_STATUS status = open_library();
    log = logged();
    nrt_close();
    return status;
  }
  /// The strikes in the report, as they are there.
  std::vector<nlohmann::json> strikes() const {
    std::vector<nlohmann::json> all;
    std::ifstream file(folder_ + "/report");
    for (std::string line; std::getline(file, line);)
      if (const auto json = nlohmann::json::parse(line); json.contains("strike")) all.push_back(json["strike"]);
    return all;
  }
};

TEST_F(DriverTogether, givenTheReadyMadeDriverUpgradeThenItGoesAsItsDescriptionSays) {
  const std::string path =
      std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/tools/faults/plans/driver-upgrade-while-running.json";
  std::ifstream file(path);
  EXPECT_EQ(nlohmann::json::parse(file)["description"],
            "The driver is upgraded under a running program: its device goes away in the 20th nrt_execute; the second "
            "nrt_init finds no driver, the third the old one (its reload failed), the fourth works.");
  ::setenv("OPENNRT_FAULTS", path.c_str(), 1);
  Program program;
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  const auto execute = [&] { return nrt_execute(program.model, program.tensors->in, program.tensors->out); };
  for (int i = 1; i < 20; ++i) ASSERT_EQ(execute(), NRT_SUCCESS) << i;
  EXPECT_EQ(execute(), NRT_FAILURE);
  EXPECT_EQ(execute(), NRT_EXEC_UNIT_UNRECOVERABLE) << "it is gone";
  program.close();
  std::string log;
  EXPECT_EQ(open_after(log), NRT_FAILURE);
  EXPECT_THAT(log, HasSubstr("Unable to determine Neuron Driver version"));
  EXPECT_EQ(open_after(log), NRT_FAILURE);
  EXPECT_THAT(log, HasSubstr("This runtime requires Neuron Driver version 2.0 or greater"));
  EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
  EXPECT_TRUE(program.right);
}

TEST_F(DriverTogether, givenAnErrorOfTheSameOperationThenTheOtherRulesHaveCountedItToo) {
  inject(R"({"fault": "drv_error", "where": {"operation": "version"}}, {"fault": "drv_missing", "when": {"nth": 2}},
            {"fault": "drv_old", "when": {"nth": 3}}, {"fault": "drv_probe_fail", "when": {"nth": 1}})");
  std::string log;
  EXPECT_EQ(open_after(log), NRT_FAILURE);
  EXPECT_THAT(log, HasSubstr("(drv_error) strikes at event 1"));
  EXPECT_EQ(open_after(log), NRT_FAILURE);
  EXPECT_THAT(log, HasSubstr("(drv_missing) strikes at event 2"));
  EXPECT_EQ(open_after(log), NRT_FAILURE);
  EXPECT_THAT(log, HasSubstr("(drv_old) strikes at event 3"));
  EXPECT_EQ(open_after(log), NRT_FAILURE) << "this is the first time that devices are listed";
  EXPECT_THAT(log, HasSubstr("(drv_probe_fail) strikes at event 1"));
  EXPECT_EQ(open_after(log), NRT_SUCCESS) << log;
}

TEST_F(DriverTogether, givenStrikesThenTheReportHasOperationAndTime) {
  ::setenv("OPENNRT_FAULTS_REPORT", (folder_ + "/report").c_str(), 1);
  inject(R"({"name": "error", "fault": "drv_error", "where": {"operation": "mem_write", "core": 1}},
            {"name": "slow", "fault": "drv_slow", "where": {"operation": "mem_write", "core": 1}, "when": {"nth": 2},
             "detail": {"us": 1}})");
  Program program;
  ASSERT_EQ(program.go_until(Step::kTensors), NRT_HW_ERROR) << "of the load";
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  ASSERT_EQ(program.go(), NRT_SUCCESS);
  const auto all = strikes();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["rule"]["name"], "error");
  EXPECT_EQ(all[0]["event"], 1);
  EXPECT_EQ(all[1]["rule"]["name"], "slow");
  EXPECT_EQ(all[1]["event"], 2) << "the write that failed counts, too";
  for (const auto& strike : all) EXPECT_EQ(strike["operation"], "mem_write");
  EXPECT_GE(all[1]["now_ns"], all[0]["now_ns"]);
}

TEST_F(DriverTogether, givenAStrikeAfterAnInferenceThenTheReportHasTheDevicesTimeThoughNoRuleAsksForIt) {
  ::setenv("OPENNRT_FAULTS_REPORT", (folder_ + "/report").c_str(), 1);
  inject(R"({"fault": "drv_slow", "where": {"operation": "mem_read", "core": 1}, "detail": {"us": 1}})");
  Program program;
  ASSERT_EQ(program.go(), NRT_SUCCESS);
  const auto all = strikes();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_GT(all[0]["now_ns"], 0);
}

TEST_F(DriverTogether, givenAReportThatCannotBeWrittenThenAnErrorSaysSo) {
  ::setenv("OPENNRT_FAULTS_REPORT", "/dev/full", 1);
  inject(R"({"fault": "drv_slow", "where": {"operation": "mem_write"}, "times": 0, "detail": {"us": 1}})");
  Program program;
  EXPECT_EQ(program.go(), NRT_SUCCESS);
  const std::string log = logged(), said = "OPENNRT_FAULTS_REPORT is \"/dev/full\", and lines of the report are lost";
  EXPECT_THAT(log, HasSubstr(said));
  EXPECT_EQ(log.find(said), log.rfind(said)) << "once";
}

TEST_F(DriverTogether, givenALateNotificationThenNoErrorIsSaidWhereAllEndsWell) {
  inject(R"({"fault": "drv_notification_delayed", "where": {"core": 1}, "times": 0})");
  Program program;
  EXPECT_EQ(program.go(), NRT_SUCCESS);
  EXPECT_TRUE(program.right);
  EXPECT_THAT(logged(), HasSubstr("(drv_notification_delayed) strikes"));
  EXPECT_THAT(logged(), Not(HasSubstr("nothing can happen any more")));
  EXPECT_THAT(logged(), Not(HasSubstr(" ERROR ")));
}

TEST_F(DriverTogether, givenANotificationThatIsLostThenWhatTheDeviceDoesIsSaid) {
  inject(R"({"fault": "drv_notification_lost", "where": {"core": 1}})");
  Program program;
  EXPECT_EQ(program.go(), NRT_TIMEOUT);
  EXPECT_THAT(logged(), HasSubstr("nothing can happen any more"));
}

}  // namespace
}  // namespace fault_test
