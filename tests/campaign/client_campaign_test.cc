// SPDX-License-Identifier: Apache-2.0
//
// Campaigns over a real client of the C API on the simulator (docs/fault-injection.md, "Campaigns"): one that does everything right has documented
// ends only, and each mistake is caught and its plan shrunk to one rule.
#include <nlohmann/json.hpp>

#include "tests/unit/tools/fixture.h"

namespace opennrt::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ClientCampaign : public Tool {
 protected:
  /// 40 runs; about half of them meet a fault.
  Outcome campaign(const std::string& mistake, const std::vector<std::string>& more = {},
                   const std::string& backend = "sim") {
    write_text(folder_ / "plan.json", R"({"version": 1, "seed": 5, "rules": [
      {"name": "corrected", "fault": "sram_correctable", "when": {"probability": 0.05}, "times": 0},
      {"name": "slow", "fault": "engine_slow", "when": {"probability": 0.02}, "times": 0, "detail": {"factor": 3}},
      {"name": "abort", "fault": "dma_abort", "when": {"probability": 0.0003}},
      {"name": "lost", "fault": "sram_uncorrectable", "when": {"probability": 0.0005}}]})");
    std::vector<std::string> all{"faults",    "campaign",
                                 "--plan",    (folder_ / "plan.json").string(),
                                 "--state",   (folder_ / mistake).string(),
                                 "--runs",    "40",
                                 "--jobs",    "2",
                                 "--timeout", "20"};
    all.insert(all.end(), more.begin(), more.end());
    const std::string client =
        (std::filesystem::path(required_variable("OPENNRT_BUILD_DIR")) / "tests" / "buggy_client").string();
    for (const std::string& word : {std::string("--"), client, compiled_digits(), mistake}) all.push_back(word);
    return opennrt(all, {{"OPENNRT_BACKEND", backend}});
  }

  void expect_caught(const std::string& mistake, const std::string& outcome,
                     const std::vector<std::string>& more = {}) {
    const Outcome run = campaign(mistake, more);
    EXPECT_EQ(run.exit, 1);
    EXPECT_THAT(run.err, HasSubstr("): " + outcome + ", minimal plan with 1 rule: ")) << run.err;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / mistake)) {
      if (entry.path().filename().string().rfind("minimal-", 0) != 0) continue;
      const json plan = json::parse(read_text(entry.path()));
      ASSERT_EQ(plan.at("rules").size(), 1u) << plan;
      const std::string kind = plan.at("rules")[0].at("fault");
      EXPECT_TRUE(kind == "dma_abort" || kind == "sram_uncorrectable") << plan;
    }
  }
};

TEST_F(ClientCampaign, GivenAClientWithoutMistakesThenEveryEndIsDocumented) {
  const Outcome run = campaign("good", {"--same-output"});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("40 runs: "), HasSubstr(" passed, "), HasSubstr(" documented error\n")));
  EXPECT_THAT(run.out, Not(HasSubstr("undocumented")));
}

// A plan that nrt_init refuses says nothing about a client.
TEST_F(ClientCampaign, GivenABackendThatCannotHaveAFaultThenTheCampaignStopsAndSaysWhy) {
  expect_failure(campaign("good", {}, "null"), 1,
                 AllOf(HasSubstr("the plan was refused, no run can tell anything: "),
                       HasSubstr("rules[0] (corrected): backend null cannot have sram_correctable")));
}

TEST_F(ClientCampaign, GivenAClientThatIgnoresAStatusThenItsWrongResultIsCaughtAndThePlanIsOneRule) {
  expect_caught("ignore", "wrong result", {"--same-output"});
}

TEST_F(ClientCampaign, GivenAClientThatLeaksOnErrorThenItIsCaughtAndThePlanIsOneRule) {
  expect_caught("leak", "leak");
}

TEST_F(ClientCampaign, GivenAClientThatCrashesOnErrorThenItIsCaughtAndThePlanIsOneRule) {
  expect_caught("crash", "crash");
}

}  // namespace
}  // namespace opennrt::test
