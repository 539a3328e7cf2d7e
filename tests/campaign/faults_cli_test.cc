// SPDX-License-Identifier: Apache-2.0
//
// `opennrt faults` list, explain, schema, check, record and replay (docs/fault-injection.md).
#include "core/faults/catalogue.h"
#include "tests/unit/tools/fixture.h"

namespace opennrt::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class FaultsCli : public Tool {
 protected:
  std::string file(const std::string& name, const std::string& text) const {
    write_text(folder_ / name, text);
    return (folder_ / name).string();
  }

  /// A program that reports faults as libnrt does: the third and the fifth event of the plan's only rule, whatever it is, and every
  /// event that a recorded plan names.
  std::string program() const {
    return file("program.sh", R"(plan=$(cat "$OPENNRT_FAULTS")
strike() {
  printf '{"pid":%d,"process":"program","strike":{"rule":{"name":"%s","fault":"fd_latency","where":{"function":"nrt_execute"}},"event":%d,"device":null,"core":null,"function":"nrt_execute","now_ns":0}}\n' $$ "$1" "$2" >> "$OPENNRT_FAULTS_REPORT"
}
case $plan in
  *quiet*) ;;
  *'"nth": 3'*) strike "slow #0" 3; [ "${FORGET:-0}" = 1 ] || strike "slow #1" 5 ;;
  *) strike slow 3; strike slow 5 ;;
esac
echo "worked"
[ "${HANG:-0}" = 1 ] && exec sleep 100000
[ "${STOP:-0}" = 1 ] && kill -INT $PPID && exec sleep 100000
exit ${EXIT:-0}
)");
  }
};

TEST_F(FaultsCli, ListNamesEveryKindOrThoseThatABackendCanHave) {
  const Outcome all = opennrt({"faults", "list"});
  EXPECT_EQ(all.exit, 0) << all.err;
  for (const faults::Kind& kind : faults::kinds())
    EXPECT_THAT(all.out, AllOf(HasSubstr(std::string(kind.name) + " "), HasSubstr(std::string(kind.what))));
  const Outcome neuron = opennrt({"faults", "list", "--backend", "neuron"});
  EXPECT_THAT(neuron.out, AllOf(HasSubstr("drv_error"), HasSubstr("fd_status"), Not(HasSubstr("dma_abort"))));
  const Outcome vendor = opennrt({"faults", "list", "--backend", "vendor", "--json"});
  EXPECT_THAT(vendor.out, AllOf(HasSubstr("\"fault\": \"fd_status\""), Not(HasSubstr("drv_error"))));
}

TEST_F(FaultsCli, ExplainTellsWhatFollowsAndWhatHelps) {
  const Outcome told = opennrt({"faults", "explain", "dma_stall"});
  EXPECT_EQ(told.exit, 0) << told.err;
  EXPECT_THAT(told.out, AllOf(HasSubstr("NRT_TIMEOUT"), HasSubstr("recovery  retry"), HasSubstr("detail.ns"),
                              HasSubstr("example")));
  expect_failure(opennrt({"faults", "explain", "dma_stal"}), 1,
                 HasSubstr("there is no fault 'dma_stal', is dma_stall meant?"));
  expect_failure(opennrt({"faults", "explain", "rain"}), 1, HasSubstr("see opennrt faults list"));
}

TEST_F(FaultsCli, SchemaIsThePublishedOne) {
  const Outcome schema = opennrt({"faults", "schema"});
  EXPECT_EQ(schema.out,
            read_text(std::filesystem::path(required_variable("OPENNRT_SOURCE_DIR")) / "docs" / "faults.schema.json"));
}

// Refused with line, field and what was expected; an impossible rule says so (docs/fault-injection.md).
TEST_F(FaultsCli, CheckRefusesWithLineAndFieldAndImpossibleRules) {
  const std::string good = file("good.json", "{\"version\": 1, \"seed\": 4, \"rules\": [{\"fault\": \"dma_abort\"}]}");
  const Outcome fine = opennrt({"faults", "check", good, "--backend", "sim"});
  EXPECT_EQ(fine.exit, 0) << fine.err;
  EXPECT_EQ(fine.out, good + ": 1 rule, seed 4\n");
  expect_failure(opennrt({"faults", "check", good, "--backend", "neuron"}), 1,
                 HasSubstr("rules[0] (rule 0): backend neuron cannot have dma_abort: silicon cannot be told to fail"));
  const std::string bad =
      file("bad.json", "{\"version\": 1,\n\"rules\": [{\"fault\": \"dma_abort\",\n\"when\": {\"every\": -3}}]}");
  expect_failure(opennrt({"faults", "check", bad}), 1,
                 HasSubstr("bad.json:3: rules[0].when.every is -3, expected an integer from 1"));
  expect_failure(
      opennrt({"faults", "check", (folder_ / "none").string()}), 1,
      AllOf(HasSubstr("cannot read the plan "), HasSubstr("No such file"), Not(HasSubstr("OPENNRT_FAULTS"))));
  expect_failure(opennrt({"faults", "check", folder_.path().string()}), 1,
                 HasSubstr("it is a folder, expected a file"));
  expect_failure(opennrt({"faults", "check", good, "--backend", "emulatd"}), 2,
                 HasSubstr("'emulatd' is no backend, expected sim, null, neuron, emulated, vendor or the path"));
  EXPECT_EQ(opennrt({"faults", "check", good, "--backend", "neuron"}, {{"OPENNRT_EMULATED_MACHINE", "/nowhere"}}).exit,
            0);
  const Outcome piped =
      run_program({"/bin/sh", "-c", "cat '" + good + "' | '" + bin("opennrt").string() + "' faults check /dev/stdin"});
  EXPECT_EQ(piped.out, "/dev/stdin: 1 rule, seed 4\n") << piped.err;
  expect_failure(opennrt({"faults"}), 2, HasSubstr("--help"));
}

TEST_F(FaultsCli, CheckAndCampaignWarnOfRulesThatCanHardlyStrike) {
  const std::string plan =
      file("odd.json",
           R"({"version": 1, "rules": [{"fault": "dma_abort", "when": {"between": ["nrt_laod:2", "nrt_close"]}}]})");
  const Outcome checked = opennrt({"faults", "check", plan});
  EXPECT_EQ(checked.exit, 0);
  EXPECT_THAT(checked.err, AllOf(HasSubstr("opennrt: warning: " + plan + ":1: rules[0] (rule 0): "),
                                 HasSubstr("is nrt_load meant?")));
  const Outcome run = opennrt(
      {"faults", "campaign", "-p", plan, "-n", "1", "--state", (folder_ / "state").string(), "--", "/bin/true"});
  EXPECT_THAT(run.err, HasSubstr("opennrt: warning: " + plan));
}

TEST_F(FaultsCli, RecordOfNothingAndReplayOfNothingFail) {
  const std::string plan = file(
      "quiet.json", R"({"version": 1, "description": "quiet", "rules": [{"name": "quiet", "fault": "fd_latency"}]})");
  const std::string recorded = (folder_ / "recorded.json").string(), script = program();
  expect_failure(opennrt({"faults", "record", "-p", plan, "-o", recorded, "--", "sh", script}), 1,
                 HasSubstr("quiet.json: no fault struck while the command ran, nothing is recorded"));
  EXPECT_FALSE(std::filesystem::exists(recorded));
  expect_failure(opennrt({"faults", "replay", file("empty.json", R"({"version": 1, "rules": []})"), "--", "true"}), 1,
                 HasSubstr("empty.json: it has no rules, expected a plan that opennrt faults record wrote"));
  expect_failure(opennrt({"faults", "record", "-p", plan, "-o", plan, "--", "true"}), 2,
                 HasSubstr("--output is the plan itself"));
}

TEST_F(FaultsCli, RecordOfACommandThatHangsHasWhatStruckUntilThen) {
  const std::string plan = file("plan.json", R"({"version": 1, "rules": [{"name": "slow", "fault": "fd_latency"}]})");
  const std::string recorded = (folder_ / "recorded.json").string(), script = program();
  const Outcome late =
      opennrt({"faults", "record", "-p", plan, "-o", recorded, "--timeout", "2", "--", "sh", script}, {{"HANG", "1"}});
  EXPECT_EQ(late.exit, 0) << late.err;
  EXPECT_THAT(late.err, HasSubstr("the command was not done within 2 s and was ended"));
  EXPECT_THAT(late.out, HasSubstr(recorded + ": 2 faults\n"));
  std::filesystem::remove(recorded);
  expect_failure(opennrt({"faults", "record", "-p", plan, "-o", recorded, "--", "sh", script}, {{"STOP", "1"}}), 130,
                 HasSubstr("interrupted; " + recorded + " has the 2 faults until then"));
  EXPECT_THAT(read_text(recorded), AllOf(HasSubstr("\"nth\": 3"), HasSubstr("\"nth\": 5")));
}

TEST_F(FaultsCli, RecordWritesWhatStruckAndReplayConfirmsIt) {
  const std::string plan = file(
      "plan.json",
      R"({"version": 1, "rules": [{"name": "slow", "fault": "fd_latency", "when": {"probability": 0.5}, "times": 0}]})");
  const std::string recorded = (folder_ / "recorded.json").string(), script = program();
  const Outcome record = opennrt({"faults", "record", "--plan", plan, "-o", recorded, "--", "sh", script});
  ASSERT_EQ(record.exit, 0) << record.err;
  EXPECT_THAT(record.out, AllOf(HasSubstr("worked\n"), HasSubstr(recorded + ": 2 faults\n")));
  EXPECT_THAT(read_text(recorded),
              AllOf(HasSubstr("\"nth\": 3"), HasSubstr("\"nth\": 5"), HasSubstr("\"process\": \"program\""),
                    HasSubstr("\"function\": \"nrt_execute\"")));
  const Outcome replay = opennrt({"faults", "replay", recorded, "--", "sh", script}, {{"EXIT", "7"}});
  EXPECT_EQ(replay.exit, 0) << replay.err;
  EXPECT_THAT(replay.out, HasSubstr(recorded + ": the same 2 faults\n"));
  EXPECT_THAT(replay.err, HasSubstr("the command ended with exit status 7"));
  expect_failure(opennrt({"faults", "replay", recorded, "--", "sh", script}, {{"FORGET", "1"}}), 1,
                 HasSubstr("slow #1 did not strike again (1 of 2 did)"));
  expect_failure(
      opennrt({"faults", "replay", plan, "--", "sh", script}), 1,
      HasSubstr("rules[0] (slow) does not name one event, expected a plan that opennrt faults record wrote"));
  expect_failure(opennrt({"faults", "replay", recorded, "--", "/nowhere/program"}), 1,
                 HasSubstr("cannot start /nowhere/program"));
}

}  // namespace
}  // namespace opennrt::test
