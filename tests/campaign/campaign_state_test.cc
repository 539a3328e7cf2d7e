// SPDX-License-Identifier: Apache-2.0
//
// The folder of a campaign (docs/fault-injection.md, "Campaigns"): what an interruption loses, what must be the same to go
// on, and that two campaigns do not share one.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/campaign/fixture.h"

namespace opennrt::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// "resumes after interruption": every run is done once, and what was done is not done again.
TEST_F(CampaignTest, GivenAnInterruptionWhenResumedThenEachRunIsDoneOnce) {
  const std::string log = (folder_ / "log").string();
  // The sixth run interrupts the campaign, once.
  const std::string client = script("echo $seed >> '" + log + "'; if [ $seed = 15 ] && [ ! -e '" + log +
                                    ".once' ]; then touch '" + log + ".once'; kill -INT $PPID; sleep 100; fi");
  const std::vector<std::string> options{"--runs", "12"};
  const std::string junit = (folder_ / "junit.xml").string(), html = (folder_ / "report.html").string();
  const Outcome interrupted = campaign("state", {"--runs", "12", "--junit", junit, "--html", html}, client, "1");
  // As a shell says it, and with reports of what there is.
  expect_failure(interrupted, 128 + SIGINT, HasSubstr("interrupted after 5 of 12 runs; --resume goes on"));
  EXPECT_THAT(interrupted.out, HasSubstr("5 runs: 5 passed\n"));
  EXPECT_THAT(read_text(junit), HasSubstr("tests=\"5\""));
  EXPECT_THAT(read_text(html), HasSubstr("5 of 12 runs"));
  EXPECT_EQ(outcomes("state").size(), 5u);
  expect_failure(campaign("state", options, client, "1"), 1,
                 HasSubstr("has a campaign already: --resume goes on with it"));
  // As after a machine that went down: the last line is not whole.
  write_text(folder_ / "state" / "results.jsonl", read_text(folder_ / "state" / "results.jsonl") + "{\"run\":5,\"se");
  const Outcome resumed = campaign("state", {"--runs", "12", "--resume"}, client, "1");
  EXPECT_EQ(resumed.exit, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("12 runs: 12 passed\n"));
  EXPECT_EQ(outcomes("state").size(), 12u);
  EXPECT_EQ(read_text(log), "10\n11\n12\n13\n14\n15\n15\n16\n17\n18\n19\n20\n21\n");
  expect_failure(campaign("state", {"--runs", "13", "--resume"}, client), 1,
                 HasSubstr("is of another campaign: --runs is 13, there it is 12; expected the same"));
}

// What counts as a failure belongs to the campaign: resumed with another criterion it would be two halves of two campaigns.
TEST_F(CampaignTest, GivenAnotherCriterionThenItIsNotResumed) {
  const std::string client = script("echo 7");
  write_text(folder_ / "expected.txt", "7\n");
  const std::string expected = (folder_ / "expected.txt").string();
  const std::vector<std::string> options{"--runs", "3", "--shard", "1/3", "--expect-output", expected};
  EXPECT_EQ(campaign("state", options, client).exit, 0);
  const auto resumed = [&](std::vector<std::string> given) {
    given.insert(given.end(), {"--resume", "--runs", "3"});
    return campaign("state", given, client);
  };
  const auto differs = [](const std::string& what) {
    return HasSubstr("is of another campaign: " + what + "; expected the same to resume it");
  };
  expect_failure(resumed({"--shard", "1/3"}), 1, differs("--expect-output is not given, there it is given"));
  expect_failure(resumed({"--shard", "2/3", "--expect-output", expected}), 1,
                 differs("--shard is 2/3, there it is 1/3"));
  expect_failure(resumed({"--shard", "1/3", "--expect-output", expected, "--timeout", "9"}), 1,
                 differs("--timeout is 9, there it is 60"));
  expect_failure(resumed({"--shard", "1/3", "--expect-output", expected, "--wrong-exit", "9"}), 1,
                 differs("--wrong-exit is 9, there it is not given"));
  expect_failure(resumed({"--shard", "1/3", "--expect-output", expected, "--in-scratch"}), 1,
                 differs("--in-scratch is given, there it is not given"));
  EXPECT_EQ(resumed({"--shard", "1/3", "--expect-output", expected}).exit, 0);
  write_text(expected, "8\n");
  expect_failure(resumed({"--shard", "1/3", "--expect-output", expected}), 1,
                 AllOf(HasSubstr("is of another campaign: --expect-output "), HasSubstr(" has changed since")));
}

// What the command printed without faults when the campaign began is what counts to its end.
TEST_F(CampaignTest, GivenSameOutputWhenResumedThenTheFirstCleanOutputCounts) {
  write_text(folder_ / "answer", "7\n");
  const std::string client = script("cat '" + (folder_ / "answer").string() + "'; [ \"$seed\" = 11 ] && [ ! -e '" +
                                    (folder_ / "once").string() + "' ] && touch '" + (folder_ / "once").string() +
                                    "' && kill -TERM $PPID && sleep 100; exit 0");
  expect_failure(campaign("state", {"--runs", "3", "--same-output", "--no-shrink"}, client, "1"), 128 + SIGTERM,
                 HasSubstr("interrupted after 1 of 3 runs"));
  write_text(folder_ / "answer", "8\n");
  const Outcome resumed = campaign("state", {"--runs", "3", "--same-output", "--no-shrink", "--resume"}, client, "1");
  EXPECT_THAT(resumed.out, HasSubstr("3 runs: 1 passed, 2 wrong result\n"));
}

TEST_F(CampaignTest, GivenACampaignAtWorkThenASecondOneInItsFolderIsRefused) {
  // The second one is started by a run of the first.
  write_text(folder_ / "second.sh", "exit 0");
  const std::string said = (folder_ / "said").string();
  const std::string client = script("[ $seed = 11 ] && { '" + bin("opennrt").string() + "' faults campaign --plan '" +
                                    (folder_ / "plan.json").string() + "' --state '" + (folder_ / "state").string() +
                                    "' --resume --runs 3 -- sh '" + (folder_ / "client.sh").string() + "' 2> '" + said +
                                    "'; echo $? >> '" + said + "'; }; exit 0");
  const Outcome first = campaign("state", {"--runs", "3"}, client, "1");
  EXPECT_EQ(first.exit, 0) << first.err;
  EXPECT_THAT(read_text(said),
              AllOf(HasSubstr("another `opennrt faults campaign` is at work in "), HasSubstr("\n1\n")));
  EXPECT_EQ(outcomes("state").size(), 3u);
}

TEST_F(CampaignTest, GivenAnArgumentThatIsNotTextThenItsCampaignIsResumed) {
  write_text(folder_ / "plan.json", kPlan);
  const auto run = [&](const char* argument) {
    return opennrt({"faults", "campaign", "-p", (folder_ / "plan.json").string(), "--state", (folder_ / "s").string(),
                    "-n", "1", "--resume", "--", "/bin/true", argument});
  };
  EXPECT_EQ(run("a\xff").exit, 0);
  EXPECT_EQ(run("a\xff").exit, 0);
  expect_failure(run("a\xfe"), 1, HasSubstr("is of another campaign: the command is not the same"));
}

TEST_F(CampaignTest, GivenACampaignThatIsKilledThenItsRunsEnd) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // what it leaves behind becomes ours
  const std::string pid = (folder_ / "pid").string();
  const Outcome killed =
      campaign("state", {"--runs", "1"}, script("echo $$ > '" + pid + "'; kill -KILL $PPID; exec sleep 100000"));
  EXPECT_EQ(killed.exit, 128 + SIGKILL);
  int status = 0;
  const pid_t left = std::stoi(read_text(pid));
  ASSERT_EQ(::waitpid(left, &status, 0), left);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

}  // namespace
}  // namespace opennrt::test
