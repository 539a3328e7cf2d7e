// SPDX-License-Identifier: Apache-2.0
//
// What is told about faults that struck, and the plan that makes them again.
#include "core/faults/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/faults/catalogue.h"
#include "tests/unit/tools/process.h"

namespace opennrt::faults {
namespace {

using ::testing::HasSubstr;

TEST(FaultReport, givenStrikesByChanceWhenRecordedThenTheExactPlanStrikesTheSameEvents) {
  const test::TemporaryFolder folder;
  const auto plan = parse_plan(R"({"version": 1, "seed": 9, "rules": [
      {"name": "d", "fault": "drv_error", "where": {"operation": "*"}, "times": 0, "when": {"probability": 0.3}, "detail": {"errno": "EBUSY"}}]})",
                               "test");
  ASSERT_TRUE(plan) << plan.error().message;
  const Kind& error = *find_kind("drv_error");
  const auto drive = [&](const Plan& with, const std::string& path) {
    auto report = Report::open(path);
    ASSERT_TRUE(report) << report.error().message;
    Injector injector(with, Level::kDriver);
    injector.on_strike([&](const Strike& strike) { (*report)->strike(strike); });
    for (int i = 0; i < 30; ++i) {
      injector.strike(error, {.operation = "devices"});
      injector.strike(error, {.device = 0, .operation = "mem_alloc", .now_ns = 7});
      injector.strike(error, {.device = 0, .core = 1, .operation = "wait", .now_ns = 7});
    }
    (*report)->status("nrt_execute", "NRT_RESOURCE");
    (*report)->closed({1, 2, 3});
  };
  const std::string first = (folder / "first").string(), second = (folder / "second").string();
  drive(*plan, first);
  const auto reported = read_report(first);
  ASSERT_TRUE(reported) << reported.error().message;
  EXPECT_GT(reported->strikes.size(), 10u);
  for (const Reported::Struck& struck : reported->strikes) {
    EXPECT_EQ(struck.operation, struck.device < 0 ? "devices" : struck.core < 0 ? "mem_alloc" : "wait");
    EXPECT_EQ(struck.now_ns, struck.device < 0 ? 0u : 7u);
  }
  ASSERT_EQ(reported->statuses.size(), 1u);
  EXPECT_EQ(reported->statuses[0].function, "nrt_execute");
  EXPECT_EQ(reported->statuses[0].status, "NRT_RESOURCE");
  ASSERT_EQ(reported->closed.size(), 1u);
  EXPECT_EQ(reported->closed[0].tensor_sets, 3u);

  const auto exact = recorded_plan(*reported);
  ASSERT_TRUE(exact) << exact.error().message;
  EXPECT_EQ(exact->rules.size(), reported->strikes.size());
  const auto reread = parse_plan(to_json(*exact), "recorded");
  ASSERT_TRUE(reread) << reread.error().message;
  drive(*reread, second);
  EXPECT_EQ(strike_lines(*read_report(second)), strike_lines(*reported));
}

TEST(FaultReport, givenALineCutShortThenItIsLeftOutAndABrokenOneIsRefused) {
  const test::TemporaryFolder folder;
  EXPECT_TRUE(read_report((folder / "none").string())->strikes.empty());
  const std::string whole = R"({"pid":1,"process":"a","status":{"function":"nrt_load","status":"NRT_FAILURE"}})";
  test::write_text(folder / "r", whole + "\n" + whole.substr(0, 20));
  EXPECT_EQ(read_report((folder / "r").string())->statuses.size(), 1u);
  test::write_text(folder / "r", whole + "\n{\"pid\":1}\n");
  const auto refused = read_report((folder / "r").string());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidFile);
  EXPECT_THAT(refused.error().message, HasSubstr("r:2: not a line of a fault report"));
}

TEST(FaultReport, givenTwoProcessesOfOneNameStruckDifferentlyThenNoPlanCanTellThemApart) {
  const test::TemporaryFolder folder;
  const std::string rule = R"("strike":{"rule":{"name":"x","fault":"fd_latency"},"event":)";
  const std::string end = R"(,"device":null,"core":null,"function":"nrt_load","now_ns":0}})";
  test::write_text(folder / "r", R"({"pid":1,"process":"a",)" + rule + "1" + end + "\n" + R"({"pid":2,"process":"a",)" +
                                     rule + "2" + end + "\n");
  const auto refused = recorded_plan(*read_report((folder / "r").string()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("both called a and were struck differently"));
  test::write_text(folder / "r", R"({"pid":1,"process":"a",)" + rule + "1" + end + "\n" + R"({"pid":2,"process":"a",)" +
                                     rule + "1" + end + "\n");
  const auto same = recorded_plan(*read_report((folder / "r").string()));
  ASSERT_TRUE(same);
  ASSERT_EQ(same->rules.size(), 1u);
  EXPECT_EQ(same->rules[0].when.nth, 1u);
  EXPECT_EQ(same->rules[0].where.function, "nrt_load");
  EXPECT_EQ(same->rules[0].where.process, "a");
}

TEST(FaultReport, givenAFullDiskThenLinesAreLostAndThatIsToldOnce) {
  std::vector<std::string> told;
  const auto report = Report::open("/dev/full", [&](const std::string& why) { told.push_back(why); });
  ASSERT_TRUE(report) << report.error().message;
  (*report)->closed({});
  (*report)->status("nrt_execute", "NRT_TIMEOUT");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0],
            "OPENNRT_FAULTS_REPORT is \"/dev/full\", and lines of the report are lost: No space left on device");
}

TEST(FaultReport, givenAFolderAsFileThenTheVariableIsRefused) {
  const test::TemporaryFolder folder;
  const auto refused = Report::open(folder.path().string());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("OPENNRT_FAULTS_REPORT is"));
}

}  // namespace
}  // namespace opennrt::faults
