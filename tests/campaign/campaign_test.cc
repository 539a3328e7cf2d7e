// SPDX-License-Identifier: Apache-2.0
//
// `opennrt faults campaign` (issue 6, deliver 4) over shell scripts that stand for a user's program: what each end is called, what
// an interruption loses, that shards make a whole, and that a failing plan becomes small.
#include <signal.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/unit/tools/fixture.h"

namespace opennrt::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kPlan = R"({"version": 1, "seed": 10, "rules": [
  {"name": "slow", "fault": "fd_latency", "when": {"probability": 0.5}, "times": 0},
  {"name": "busy", "fault": "drv_error", "where": {"operation": "mem_alloc"}, "when": {"probability": 0.5}, "detail": {"errno": "EBUSY"}},
  {"name": "abort", "fault": "dma_abort", "when": {"probability": 0.5, "after_us": 2}},
  {"name": "hang", "fault": "engine_hang", "where": {"engine": "pe"}}]})";

/// What every script begins with: the seed that it was given, and words to report as libnrt does.
constexpr const char* kPrelude = R"(seed=$(sed -n 's/^ *"seed": \([0-9]*\),$/\1/p' "$OPENNRT_FAULTS")
say() { printf '{"pid":%d,"process":"client",%s}\n' $$ "$1" >> "$OPENNRT_FAULTS_REPORT"; }
strike() { say "\"strike\":{\"rule\":{\"name\":\"$1\",\"fault\":\"$1\"},\"event\":1,\"device\":0,\"core\":0,\"function\":\"\",\"now_ns\":0}"; }
status() { say "\"status\":{\"function\":\"nrt_execute\",\"status\":\"$1\"}"; }
closed() { say "\"closed\":{\"models\":$1,\"tensors\":$2,\"tensor_sets\":0}"; }
has() { grep -q "\"fault\": \"$1\"" "$OPENNRT_FAULTS"; }
)";

class CampaignTest : public Tool {
 protected:
  std::string script(const std::string& body) const {
    write_text(folder_ / "client.sh", kPrelude + body);
    return (folder_ / "client.sh").string();
  }

  /// Runs a campaign with its state in `state`.
  Outcome campaign(const std::string& state, std::vector<std::string> options, const std::string& client,
                   const std::string& jobs = "4") const {
    write_text(folder_ / "plan.json", kPlan);
    std::vector<std::string> all{
        "faults", "campaign", "--plan", (folder_ / "plan.json").string(), "--state", (folder_ / state).string(),
        "--jobs", jobs};
    all.insert(all.end(), options.begin(), options.end());
    for (const std::string& word : {std::string("--"), std::string("sh"), client}) all.push_back(word);
    return opennrt(all);
  }

  /// Outcomes by run, as the state has them.
  std::map<std::uint64_t, std::string> outcomes(const std::string& state) const {
    std::map<std::uint64_t, std::string> found;
    std::istringstream lines(read_text(folder_ / state / "results.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const json result = json::parse(line);
      EXPECT_TRUE(found.emplace(result.at("run"), result.at("outcome")).second) << "run twice: " << line;
    }
    return found;
  }
};

TEST_F(CampaignTest, GivenEachWayToEndThenItIsClassified) {
  const std::string client = script(R"(case $seed in
  10) closed 0 0; exit 0 ;;
  11) strike dma_abort; status NRT_EXEC_HW_ERR_DMA_ABORT; exit 1 ;;
  12) strike dma_abort; status NRT_INVALID; exit 1 ;;
  13) exit 42 ;;
  14) kill -SEGV $$ ;;
  15) sleep 1000 & sleep 1000 ;;
  16) strike dma_abort; status NRT_EXEC_HW_ERR_DMA_ABORT; closed 0 2; exit 1 ;;
  17) exit 23 ;;
  18) echo "1: ERROR: AddressSanitizer: heap-use-after-free" >&2; exit 1 ;;
  19) strike engine_hang; echo "error: nrt_execute: NRT_TIMEOUT" >&2; exit 1 ;;
  20) echo "x.c:3:4: runtime error: signed integer overflow" >&2; exit 0 ;;
  21) exit 139 ;;
  22) strike engine_hang; echo "NRT_TIMEOUT_X" >&2; exit 1 ;;
esac)");
  const Outcome run =
      campaign("state", {"--runs", "13", "--timeout", "2", "--wrong-exit", "42", "--no-shrink"}, client);
  EXPECT_EQ(outcomes("state"), (std::map<std::uint64_t, std::string>{{0, "passed"},
                                                                     {1, "documented error"},
                                                                     {2, "undocumented error"},
                                                                     {3, "wrong result"},
                                                                     {4, "crash"},
                                                                     {5, "hang"},
                                                                     {6, "leak"},
                                                                     {7, "leak"},
                                                                     {8, "crash"},
                                                                     {9, "documented error"},
                                                                     {10, "crash"},
                                                                     {11, "crash"},
                                                                     {12, "undocumented error"}}));
  expect_failure(run, 1,
                 HasSubstr("run 2 (seed 12): undocumented error: exit status 1, but no function returned a status"));
  EXPECT_THAT(
      run.out,
      HasSubstr(
          "13 runs: 1 passed, 2 documented error, 2 undocumented error, 1 wrong result, 4 crash, 1 hang, 2 leak\n"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "state" / "run-0"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "state" / "run-4" / "plan.json"));
}

TEST_F(CampaignTest, GivenRunsThatPassThenTheReportsSayThatAndItSucceeds) {
  const std::string junit = (folder_ / "junit.xml").string(), html = (folder_ / "report.html").string();
  const Outcome run = campaign("state", {"--runs", "20", "--junit", junit, "--html", html, "--seed", "3"},
                               script("strike dma_abort; exit 0"));
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.out, "20 runs: 20 passed\n");
  EXPECT_THAT(run.err, HasSubstr("20/20: 20 passed\n"));  // no terminal: plain lines
  EXPECT_THAT(run.err, Not(HasSubstr("\r")));
  EXPECT_THAT(read_text(junit), AllOf(HasSubstr("tests=\"20\" failures=\"0\""), HasSubstr("name=\"run 19 seed 22\"")));
  EXPECT_THAT(read_text(html),
              AllOf(HasSubstr("<td><code>dma_abort</code></td><td class=\"n\">20</td><td class=\"n\">20</td>"),
                    HasSubstr("None.")));
  EXPECT_THAT(read_text(html), Not(HasSubstr("http")));  // self-contained
}

TEST_F(CampaignTest, GivenTextOfAProgramInTheReportsThenItIsEscaped) {
  const std::string junit = (folder_ / "junit.xml").string(), html = (folder_ / "report.html").string();
  campaign("state", {"--runs", "1", "--junit", junit, "--html", html, "--no-shrink"},
           script("echo '<script>&\"' >&2; exit 3"));
  for (const std::string& page : {junit, html})
    EXPECT_THAT(read_text(page), AllOf(HasSubstr("&lt;script&gt;&amp;&quot;"), Not(HasSubstr("<script>"))));
}

TEST_F(CampaignTest, GivenOutputThatMustBeTheSameThenAnotherOneIsAWrongResult) {
  const std::string client = script("[ \"$seed\" = 12 ] && echo 8 || echo 7");
  campaign("same", {"--runs", "4", "--same-output", "--no-shrink"}, client);
  write_text(folder_ / "expected", "7\n");
  campaign("file", {"--runs", "4", "--expect-output", (folder_ / "expected").string(), "--no-shrink"}, client);
  const std::map<std::uint64_t, std::string> wanted{{0, "passed"}, {1, "passed"}, {2, "wrong result"}, {3, "passed"}};
  EXPECT_EQ(outcomes("same"), wanted);
  EXPECT_EQ(outcomes("file"), wanted);
  expect_failure(campaign("bad", {"--runs", "1", "--same-output"}, script("exit 1")), 1,
                 HasSubstr("--same-output: the command fails without any fault"));
}

TEST_F(CampaignTest, GivenRunsThenEachHasAFolderAndARuntimeOfItsOwn) {
  const std::string client = script("echo \"$OPENNRT_RUNTIME_DIR $PWD\" >> '" + (folder_ / "seen").string() +
                                    "'; [ -d \"$OPENNRT_RUNTIME_DIR\" ]");
  const Outcome run = campaign("state", {"--runs", "6", "--in-scratch"}, client);
  EXPECT_EQ(run.exit, 0) << run.err << run.out;
  std::istringstream words(read_text(folder_ / "seen"));
  const std::set<std::string> different{std::istream_iterator<std::string>(words), {}};
  EXPECT_EQ(different.size(), 12u);
}

// "resumes after interruption": every run is done once, and what was done is not done again.
TEST_F(CampaignTest, GivenAnInterruptionWhenResumedThenEachRunIsDoneOnce) {
  const std::string log = (folder_ / "log").string();
  // The sixth run interrupts the campaign, once.
  const std::string client = script("echo $seed >> '" + log + "'; if [ $seed = 15 ] && [ ! -e '" + log +
                                    ".once' ]; then touch '" + log + ".once'; kill -INT $PPID; sleep 100; fi");
  const std::vector<std::string> options{"--runs", "12"};
  expect_failure(campaign("state", options, client, "1"), 1,
                 HasSubstr("interrupted after 5 of 12 runs; --resume goes on"));
  EXPECT_EQ(outcomes("state").size(), 5u);
  expect_failure(campaign("state", options, client, "1"), 1,
                 HasSubstr("has a campaign already: --resume goes on with it"));
  // As after a machine that went down: the last line is not whole.
  write_text(folder_ / "state" / "results.jsonl", read_text(folder_ / "state" / "results.jsonl") + "{\"run\":5,\"se");
  const Outcome resumed = campaign("state", {"--runs", "12", "--resume"}, client, "1");
  EXPECT_EQ(resumed.exit, 0) << resumed.err;
  EXPECT_EQ(resumed.out, "12 runs: 12 passed\n");
  EXPECT_EQ(outcomes("state").size(), 12u);
  EXPECT_EQ(read_text(log), "10\n11\n12\n13\n14\n15\n15\n16\n17\n18\n19\n20\n21\n");
  expect_failure(campaign("state", {"--runs", "13", "--resume"}, client), 1, HasSubstr("is of another campaign"));
}

TEST_F(CampaignTest, GivenShardsThenMergedTheyAreTheWhole) {
  const std::string client = script(
      "strike dma_abort; [ $((seed % 5)) = 0 ] && status NRT_EXEC_HW_ERR_DMA_ABORT && exit 1; [ $seed = 17 ] && exit "
      "9; exit 0");
  campaign("whole", {"--runs", "20", "--no-shrink", "--junit", (folder_ / "whole.xml").string()}, client);
  for (const char* shard : {"1/3", "2/3", "3/3"})
    campaign(std::string("part") + shard[0], {"--runs", "20", "--no-shrink", "--shard", shard}, client);
  EXPECT_EQ(outcomes("part1").size(), 7u);
  EXPECT_EQ(outcomes("part3").size(), 6u);
  const auto part = [&](const char* name) { return (folder_ / name).string(); };
  const Outcome merged = opennrt(
      {"faults", "campaign", "--merge", part("part1"), part("part2"), part("part3"), "--junit", part("merged.xml")});
  expect_failure(merged, 1, HasSubstr("run 7 (seed 17): undocumented error: exit status 9"));
  EXPECT_THAT(merged.out, HasSubstr("20 runs: 15 passed, 4 documented error, 1 undocumented error\n"));
  const auto without_times = [](std::string text) {
    for (std::size_t at; (at = text.find(" time=\"")) != std::string::npos;)
      text.erase(at, text.find('"', at + 7) - at + 1);
    return text;
  };
  EXPECT_EQ(without_times(read_text(part("merged.xml"))), without_times(read_text(part("whole.xml"))));
  expect_failure(opennrt({"faults", "campaign", "--merge", part("part1"), part("part3")}), 1,
                 HasSubstr("13 of 20 runs are there, run 1 is the first that is missing"));
  expect_failure(campaign("other", {"--shard", "4/3"}, client), 1,
                 HasSubstr("--shard is '4/3', expected i/n with i from 1 to n"));
}

TEST_F(CampaignTest, GivenAClientThatCrashesUnderOneRuleThenThePlanShrinksToThatRule) {
  // It strikes nothing by itself: the rules are what is left to make fewer.
  const Outcome run = campaign("state", {"--runs", "3"}, script("has dma_abort && kill -SEGV $$; exit 0"));
  expect_failure(run, 1, HasSubstr("run 0 (seed 10): crash: signal 11"));
  EXPECT_THAT(run.err, HasSubstr("run 0 (seed 10): crash, minimal plan with 1 rule: "));
  const json plan = json::parse(read_text(folder_ / "state" / "minimal-0.json"));
  EXPECT_EQ(plan.at("rules"), json::parse(R"([{"name": "abort", "fault": "dma_abort"}])"));
}

TEST_F(CampaignTest, GivenARecordedRunThatLeaksThenThePlanShrinksToTheFaultThatDidIt) {
  const std::string junit = (folder_ / "junit.xml").string();
  const Outcome run =
      campaign("state", {"--runs", "1", "--junit", junit},
               script("for f in fd_latency drv_error dma_abort engine_hang; do has $f && strike $f; done; "
                      "has drv_error && closed 1 0 || closed 0 0; exit 0"));
  expect_failure(run, 1,
                 HasSubstr("run 0 (seed 10): leak: at nrt_close 1 models, 0 tensors and 0 tensor sets were not freed"));
  const json plan = json::parse(read_text(folder_ / "state" / "minimal-0.json"));
  ASSERT_EQ(plan.at("rules").size(), 1u);
  EXPECT_EQ(plan.at("rules")[0].at("fault"), "drv_error");
  EXPECT_THAT(read_text(junit), HasSubstr("minimal plan:"));
}

TEST_F(CampaignTest, GivenAFailureWithoutAnyFaultThenTheMinimalPlanIsEmpty) {
  campaign("state", {"--runs", "2"}, script("exit 5"));
  EXPECT_EQ(json::parse(read_text(folder_ / "state" / "minimal-0.json")).at("rules"), json::array());
}

TEST_F(CampaignTest, GivenTheSlurmScriptThenEachTaskDoesItsShardAndTheyMerge) {
  const std::string array =
      (std::filesystem::path(required_variable("OPENNRT_SOURCE_DIR")) / "tools/faults/slurm-campaign.sh").string();
  write_text(folder_ / "plan.json", kPlan);
  const std::string shared = (folder_ / "shared").string(), client = script("exit 0");
  std::map<std::string, std::string> environment{{"PATH", bin("").string() + ":" + required_variable("PATH")},
                                                 {"SLURM_ARRAY_TASK_MAX", "2"}};
  const auto task = [&](const std::string& id) {
    environment["SLURM_ARRAY_TASK_ID"] = id;
    return run_program({"/bin/sh", array, (folder_ / "plan.json").string(), "5", shared, "--", "sh", client},
                       environment);
  };
  for (const char* id : {"1", "2", "2"})
    EXPECT_EQ(task(id).exit, 0) << id;  // the last one was there already and goes on
  EXPECT_EQ(outcomes("shared/shard-1").size(), 3u);
  EXPECT_EQ(outcomes("shared/shard-2").size(), 2u);
  const Outcome merged = opennrt({"faults", "campaign", "--merge", shared + "/shard-1", shared + "/shard-2"});
  EXPECT_EQ(merged.exit, 0) << merged.err;
  EXPECT_EQ(merged.out, "5 runs: 5 passed\n");
  EXPECT_EQ(run_program({"/bin/sh", array, "plan.json", "5"}, environment).exit, 2);
}

TEST_F(CampaignTest, GivenNoPlanOrNoCommandOrAWrongOneThenItSaysWhatIsExpected) {
  expect_failure(opennrt({"faults", "campaign", "--state", (folder_ / "s").string()}), 1,
                 HasSubstr("expected --plan PLAN and, after --, a command"));
  write_text(folder_ / "plan.json", kPlan);
  expect_failure(opennrt({"faults", "campaign", "--plan", (folder_ / "plan.json").string(), "--state",
                          (folder_ / "s").string(), "--", "/nowhere/x"}),
                 1, HasSubstr("cannot start /nowhere/x"));
}

}  // namespace
}  // namespace opennrt::test
