// SPDX-License-Identifier: Apache-2.0
//
// `opennrt faults campaign` (docs/fault-injection.md, "Campaigns") over shell scripts that stand for a user's program: what each end is called, what
// the reports say, that shards make a whole, and that a failing plan becomes small. campaign_state_test.cc: interruptions.
#include "tests/campaign/fixture.h"

#include <set>

namespace opennrt::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// Of the rules of kPlan, none strikes in a script that does not say so.
constexpr const char* kNever =
    "rule 'slow' (fd_latency) struck 0 times\nrule 'busy' (drv_error) struck 0 times\n"
    "rule 'abort' (dma_abort) struck 0 times\nrule 'hang' (engine_hang) struck 0 times\n";

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
  EXPECT_EQ(run.out, std::string("20 runs: 20 passed\n") + kNever);
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
                 HasSubstr("--same-output: without any fault the command's end is: undocumented error (exit status 1"));
}

TEST_F(CampaignTest, GivenACommandThatPrintsSomethingElseEachTimeThenSameOutputIsRefused) {
  expect_failure(campaign("state", {"--runs", "1", "--same-output"},
                          script("echo x >> '" + (folder_ / "count").string() + "'; wc -l < '" +
                                 (folder_ / "count").string() + "'")),
                 1, HasSubstr("--same-output: without any fault the command prints something else each time, see "));
  expect_failure(campaign("late", {"--runs", "1", "--same-output", "--timeout", "0.2"}, script("sleep 1000")), 1,
                 HasSubstr("end is: hang (it did not end in time)"));
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
  expect_failure(opennrt({"faults", "campaign", "--merge", part("nodir")}), 1, HasSubstr("there is no folder "));
  campaign("longer", {"--runs", "21", "--no-shrink"}, client);
  expect_failure(opennrt({"faults", "campaign", "--merge", part("part1"), part("longer")}), 1,
                 HasSubstr("is of another campaign than " + part("part1") + ": --runs is 21, there it is 20"));
  expect_failure(opennrt({"faults", "campaign", "--merge", part("part1"), "--runs", "4"}), 2,
                 HasSubstr("not with --runs"));
  expect_failure(campaign("other", {"--shard", "4/3"}, client), 2,
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
  const Outcome run = campaign("state", {"--runs", "2"}, script("exit 5"));
  EXPECT_EQ(json::parse(read_text(folder_ / "state" / "minimal-0.json")).at("rules"), json::array());
  EXPECT_THAT(run.err, HasSubstr("minimal plan with 0 rules: "));
  EXPECT_THAT(run.err, HasSubstr("minimal-0.json: it ends so without any fault\n"));
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
  EXPECT_EQ(merged.out, std::string("5 runs: 5 passed\n") + kNever);
  EXPECT_EQ(run_program({"/bin/sh", array, "plan.json", "5"}, environment).exit, 2);
}

TEST_F(CampaignTest, GivenNoPlanOrNoCommandOrAWrongOneThenItSaysWhatIsExpected) {
  expect_failure(opennrt({"faults", "campaign", "--state", (folder_ / "s").string()}), 2,
                 HasSubstr("expected --plan PLAN and, after --, a command"));
  write_text(folder_ / "plan.json", kPlan);
  expect_failure(opennrt({"faults", "campaign", "--plan", (folder_ / "plan.json").string(), "--state",
                          (folder_ / "s").string(), "--", "/nowhere/x"}),
                 1, HasSubstr("cannot start /nowhere/x"));
  for (const std::string seed : {"-1", "2x", "18446744073709551616"})
    expect_failure(campaign("s", {"--seed", seed}, script("exit 0")), 2, HasSubstr("'" + seed + "' is no seed"));
  EXPECT_THAT(opennrt({"faults", "campaign", "--help"}).out,
              AllOf(HasSubstr("--no-shrink"), Not(HasSubstr("{false}"))));
}

// A report that cannot be written is known before the runs, and not after them.
TEST_F(CampaignTest, GivenAReportThatCannotBeWrittenThenNothingIsRun) {
  const std::string client = script("touch '" + (folder_ / "ran").string() + "'");
  expect_failure(campaign("s", {"--html", folder_.path().string()}, client), 1, HasSubstr("which is a folder"));
  expect_failure(campaign("s", {"--junit", (folder_ / "no" / "j.xml").string()}, client), 1,
                 HasSubstr("there is no folder"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ran"));
}

TEST_F(CampaignTest, GivenBytesThatAreNotTextThenTheReportsAreUtf8AndXml) {
  const std::string junit = (folder_ / "junit.xml").string(), html = (folder_ / "report.html").string();
  const std::string bytes = R"(a\377b\355\240\200c\300\200d\357\277\277e\001f\303\244)";
  campaign("state", {"--runs", "1", "--junit", junit, "--html", html, "--no-shrink"},
           script("printf '" + bytes + "\n' >&2; exit 5"));
  for (const std::string& page : {junit, html}) {
    const std::string text = read_text(page);
    EXPECT_NO_THROW((void)json(text).dump()) << page << " is not UTF-8";
    EXPECT_THAT(text, AllOf(HasSubstr("a\uFFFDb"), HasSubstr("\uFFFDe f\u00e4"), Not(HasSubstr("\uFFFF"))));
  }
}

TEST_F(CampaignTest, GivenRulesThatStruckThenEachIsCountedAndOneThatNeverDidIsNamed) {
  const std::string junit = (folder_ / "junit.xml").string(), html = (folder_ / "report.html").string();
  const Outcome run =
      campaign("state", {"--runs", "3", "--junit", junit, "--html", html}, script(R"(for name in slow slow busy; do
      say "\"strike\":{\"rule\":{\"name\":\"$name\",\"fault\":\"fd_latency\"},\"event\":1,\"device\":0,\"core\":0,\"function\":\"\",\"now_ns\":0}"
    done)"));
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.out,
            "3 runs: 3 passed\nrule 'abort' (dma_abort) struck 0 times\nrule 'hang' (engine_hang) struck 0 times\n");
  EXPECT_THAT(read_text(junit),
              AllOf(HasSubstr("<property name=\"rule slow (fd_latency)\" value=\"struck 6 times\"/>"),
                    HasSubstr("<property name=\"rule hang (engine_hang)\" value=\"struck 0 times\"/>")));
  EXPECT_THAT(read_text(html),
              HasSubstr("<tr><td>hang</td><td><code>engine_hang</code></td><td class=\"n bad\">0</td>"));
  EXPECT_EQ(json::parse(read_text(folder_ / "state" / "campaign.json")).at("struck"),
            json::parse(R"({"slow": 6, "busy": 3, "abort": 0, "hang": 0})"));
}

// What nrt_init says of a plan that it refuses stops the campaign: nothing can be learnt from its runs.
TEST_F(CampaignTest, GivenAPlanThatIsRefusedThenTheCampaignStopsWithTheMessage) {
  const std::string refuse =
      "echo \"2026-Nov-23 07:00:00.0 1:1 ERROR  NRT:nrt_init  $OPENNRT_FAULTS: rules[2] (abort): "
      "backend null cannot have dma_abort\" >&2; exit 1";
  expect_failure(campaign("state", {"--runs", "50"}, script(refuse), "1"), 1,
                 AllOf(HasSubstr("run 0: the plan was refused, no run can tell anything: "),
                       HasSubstr("plan.json: rules[2] (abort): backend null cannot have dma_abort")));
  EXPECT_EQ(outcomes("state").size(), 0u);
  // Nothing is lost: the folder may be used again.
  EXPECT_EQ(campaign("state", {"--runs", "1"}, script("exit 0")).exit, 0);
}

TEST_F(CampaignTest, GivenMuchOutputThenBeginningAndEndAreKept) {
  campaign("state", {"--runs", "1", "--no-shrink"},
           script("echo first; yes | head -c 3000000; echo 'ERROR: AddressSanitizer: x' >&2; exit 1"));
  const std::string kept = read_text(folder_ / "state" / "run-0" / "stdout");
  EXPECT_LT(kept.size(), 1100000u);
  EXPECT_THAT(kept.substr(0, 6), "first\n");
  EXPECT_THAT(kept, HasSubstr("bytes left out by opennrt]"));
}

TEST_F(CampaignTest, GivenARelativeProgramInAScratchFolderThenItIsFoundFromHere) {
  write_text(folder_ / "program", "#!/bin/sh\nexit 0\n");
  std::filesystem::permissions(folder_ / "program", std::filesystem::perms::owner_all);
  write_text(folder_ / "plan.json", kPlan);
  const Outcome run = run_program({"/bin/sh", "-c",
                                   "cd '" + folder_.path().string() + "' && exec '" + bin("opennrt").string() +
                                       "' faults campaign -p plan.json -n 2 --in-scratch -- ./program"});
  EXPECT_EQ(run.exit, 0) << run.err;
}

}  // namespace
}  // namespace opennrt::test
