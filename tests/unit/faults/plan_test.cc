// SPDX-License-Identifier: Apache-2.0
//
// What a fault plan may say, and what is said about one that is wrong.
#include "core/faults/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/faults/catalogue.h"
#include "core/faults/doubts.h"
#include "core/faults/injector.h"
#include "core/faults/json.h"
#include "tests/unit/tools/process.h"

namespace opennrt::faults {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Plan accept(const std::string& json) {
  Result<Plan> plan = parse_plan(json, "plan.json");
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  return plan ? *plan : Plan{};
}

TEST(FaultPlan, givenAFullRuleWhenReadThenEveryFieldIsThere) {
  const Plan plan = accept(R"({
    "$schema": "faults.schema.json", "description": "a test", "version": 1, "seed": 18446744073709551615,
    "rules": [
      {"name": "first", "fault": "dma_stall", "where": {"device": 1, "core": 2, "engine": "dma1?", "queue": 3},
       "when": {"nth": 4, "every": 5, "probability": 0.25, "after_us": 1.5, "between": ["nrt_load:2", "end"]},
       "times": 0, "detail": {"ns": 7}},
      {"fault": "fd_status", "where": {"function": "nrt_exec*", "process": "digits", "tensor": "x", "model": "m?"},
       "detail": {"status": "NRT_TIMEOUT"}}]})");
  ASSERT_EQ(plan.rules.size(), 2u);
  EXPECT_EQ(plan.seed, UINT64_MAX);
  const Rule& first = plan.rules[0];
  EXPECT_EQ(first.name, "first");
  EXPECT_EQ(first.kind, find_kind("dma_stall"));
  EXPECT_EQ(first.where.device, 1u);
  EXPECT_EQ(first.where.core, 2u);
  EXPECT_EQ(first.where.engine, "dma1?");
  EXPECT_EQ(first.where.queue, 3u);
  EXPECT_EQ(first.when.nth, 4u);
  EXPECT_EQ(first.when.every, 5u);
  EXPECT_EQ(first.when.probability, 0.25);
  EXPECT_EQ(first.when.after_ns, 1500u);
  EXPECT_EQ(first.when.from, "nrt_load:2");
  EXPECT_EQ(first.when.to, "end");
  EXPECT_EQ(first.times, 0u);
  EXPECT_EQ(integer(first, "ns"), 7);
  const Rule& second = plan.rules[1];
  EXPECT_EQ(second.name, "rule 1");
  EXPECT_EQ(second.times, 1u);
  EXPECT_EQ(second.where.function, "nrt_exec*");
  EXPECT_EQ(second.where.process, "digits");
  EXPECT_EQ(text(second, "status"), "NRT_TIMEOUT");
  EXPECT_EQ(text(second, "moment"), "instead");
  EXPECT_TRUE(plan.has(Level::kChip));
  EXPECT_TRUE(plan.has(Level::kFrontDoor));
  EXPECT_FALSE(plan.has(Level::kDriver));
}

TEST(FaultPlan, givenAPlanWhenWrittenAndReadAgainThenNothingHasChanged) {
  const Plan plan = accept(R"({"version": 1, "seed": 3, "rules": [
    {"name": "a", "fault": "engine_slow", "where": {"engine": "pe", "device": null, "core": 1}, "detail": {"factor": 2.5}},
    {"fault": "drv_error", "where": {"operation": "mem_*"}, "when": {"every": 2, "after_us": 0.5}, "times": 9, "detail": {"errno": "ENODEV"}},
    {"fault": "drv_old", "when": {"between": ["", "nrt_close"]}, "detail": {"version": "1.5"}}]})");
  const std::string text = to_json(plan);
  const Plan again = accept(text);
  EXPECT_EQ(to_json(again), text);
  ASSERT_EQ(again.rules.size(), 3u);
  EXPECT_TRUE(again.rules[0].where.no_device);
  EXPECT_EQ(again.rules[0].detail, plan.rules[0].detail);
  EXPECT_EQ(again.rules[1].detail, plan.rules[1].detail);
  EXPECT_EQ(again.rules[1].when.after_ns, 500u);
  EXPECT_EQ(again.rules[2].when.to, "nrt_close");
  EXPECT_EQ(again.rules[2].name, "rule 2");
}

struct Refusal {
  const char* json;
  const char* message;  ///< with line and field, and what was expected
};

class RefusedPlan : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedPlan, isRefusedWithLineFieldAndWhatWasExpected) {
  const Result<Plan> plan = parse_plan(GetParam().json, "plan.json");
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kInvalidFile);
  EXPECT_THAT(plan.error().message, StartsWith(GetParam().message));
}

// A malformed plan is refused with line, field and what was expected (docs/fault-injection.md).
INSTANTIATE_TEST_SUITE_P(
    All, RefusedPlan,
    ::testing::Values(
        Refusal{"", "plan.json:1: not JSON near"}, Refusal{"{\n\n\"version\": 1,, }", "plan.json:3: not JSON near"},
        Refusal{"{\"version\": 1}\n{", "plan.json:2: not JSON near"},
        Refusal{"[]", "plan.json:1: the plan is a list of 0, expected an object"},
        Refusal{"{\"rules\": []}", "plan.json:1: version is missing, expected 1"},
        Refusal{"{\"version\": 2,\n\"rules\": []}", "plan.json:1: version is 2, expected 1"},
        Refusal{"{\"version\": 1}", "plan.json:1: rules is missing, expected a list of rules"},
        Refusal{"{\"version\": 1,\n\"rules\": 7\n}", "plan.json:2: rules is 7, expected a list of"},
        Refusal{"{\"version\": 1,\n\"seed\": -1, \"rules\": []}",
                "plan.json:2: seed is -1, expected an integer from 0"},
        Refusal{"{\"version\": 1,\n\"rules\": [],\n\"speed\": 1}",
                "plan.json:3: speed is not known, expected $schema, description, version, seed, rules"},
        Refusal{"{\"version\": 1,\n\"Rules\": []}",
                "plan.json:2: Rules is not known, expected $schema, description, "
                "version, seed, rules (is rules meant?)"},
        Refusal{"{\"version\": 1.5, \"rules\": []}", "plan.json:1: version is 1.5, expected 1"},
        Refusal{
            "{\"version\": 1, \"seed\": 18446744073709551616, \"rules\": []}",
            "plan.json:1: seed is 1.8446744073709552e+19, expected an integer from 0 to 18446744073709551615, a number "
            "without fraction or exponent"},
        Refusal{R"({"version": 1, "rules": [{"fault": "dma_abort", "when": {"nth": 1e17}}]})",
                "plan.json:1: rules[0].when.nth is 1e+17, expected an integer from 1 to 18446744073709551615, a number "
                "without fraction or exponent"},
        Refusal{R"({"version": 1, "rules": [{"fault": "descriptor_corrupt", "detail": {"mask": 0}}]})",
                "plan.json:1: rules[0].detail.mask is 0, expected an integer from 1 to 18446744073709551615"},
        Refusal{"{\"version\": 1, \"rules\": [{\"fault\": \"fd_status\", \"where\": {\n\"function\": \"nrt_close\"}, "
                "\"detail\": {\"status\": \"NRT_FAILURE\"}}]}",
                "plan.json:2: rules[0].where.function is \"nrt_close\", which returns no NRT_STATUS, expected one that "
                "does"},
        Refusal{"{\"version\": 1,\n\"version\": 1}", "plan.json:2: \"version\" is there twice in one object"},
        Refusal{"{\"version\": 1, \"rules\": [\n3]}", "plan.json:2: rules[0] is 3, expected an object"},
        Refusal{"{\"version\": 1, \"rules\": [\n{}]}",
                "plan.json:2: rules[0].fault is missing, expected the name of a fault"},
        Refusal{"{\"version\": 1, \"rules\": [\n{\"fault\":\n\"engine_hung\"}]}",
                "plan.json:3: rules[0].fault is \"engine_hung\", expected the name of a fault (is engine_hang meant?"},
        Refusal{"{\"version\": 1, \"rules\": [\n{\"fault\":\n4}]}",
                "plan.json:3: rules[0].fault is 4, expected the name of a fault"},
        Refusal{R"({"version": 1, "rules": [{"fault": "dma_abort", "wen": {}}]})",
                "plan.json:1: rules[0].wen is not known, expected name, fault, where, when, times, detail"},
        Refusal{"{\"version\": 1, \"rules\": [{\"fault\": \"dma_abort\"},\n{\"fault\": \"dma_abort\", \"name\": \"rule "
                "0\"}]}",
                "plan.json:2: rules[1].name is \"rule 0\", which another rule has, too"},
        Refusal{R"({"version": 1, "rules": [{"fault": "dma_abort", "name": ""}]})",
                "plan.json:1: rules[0].name is \"\", expected a text that is not empty"},
        Refusal{"{\"version\": 1, \"rules\": [{\"fault\": \"engine_hang\", \"when\": {\n\n\"every\": -3\n}}]}",
                "plan.json:3: rules[0].when.every is -3, expected an integer from 1"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"nth": 0}}]})",
                "plan.json:1: rules[0].when.nth is 0, expected an integer from 1"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"nth": 1.5}}]})",
                "plan.json:1: rules[0].when.nth is 1.5, expected an integer from 1"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"probability": 0}}]})",
                "plan.json:1: rules[0].when.probability is 0, expected a number above 0, up to 1"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"probability": 1.1}}]})",
                "plan.json:1: rules[0].when.probability is 1.1, expected a number above 0, up to 1"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"after_us": "1"}}]})",
                "plan.json:1: rules[0].when.after_us is \"1\", expected microseconds from 0 to"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"between": ["a"]}}]})",
                "plan.json:1: rules[0].when.between is a list of 1, expected two markers, [from, to]"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"between": ["a", "a:0"]}}]})",
                "plan.json:1: rules[0].when.between[1] is \"a:0\", expected the name of a marker"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "when": {"between": ["a", "a"]}}]})",
                "plan.json:1: rules[0].when.between is from \"a\" to the same, expected two markers that differ"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "times": 2, "when": {"nth": 2}}]})",
                "plan.json:1: rules[0].times is 2, expected 1, since when.nth without when.every is one event"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "times": true}]})",
                "plan.json:1: rules[0].times is true, expected an integer from 0"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "where": {"function": "nrt_init"}}]})",
                "plan.json:1: rules[0].where.function means nothing to engine_hang, expected device, core, engine"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "where": {"card": 1}}]})",
                "plan.json:1: rules[0].where.card is not known, expected device, core, engine"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_hang", "where": {"device": 64}}]})",
                "plan.json:1: rules[0].where.device is 64, expected an integer from 0 to 63"},
        Refusal{
            R"({"version": 1, "rules": [{"fault": "engine_hang", "where": {"engine": "pol"}}]})",
            "plan.json:1: rules[0].where.engine is \"pol\", expected pe, act, pool or dma0 to dma11, * and ? allowed "
            "(is pool meant?)"},
        Refusal{
            R"({"version": 1, "rules": [{"fault": "drv_error", "where": {"operation": "mem_aloc"}}]})",
            "plan.json:1: rules[0].where.operation is \"mem_aloc\", expected a function of opennrt/backend.h, * and ? "
            "allowed (is mem_alloc meant?)"},
        Refusal{R"({"version": 1, "rules": [{"fault": "drv_notification_lost", "where": {"queue": 4}}]})",
                "plan.json:1: rules[0].where.queue is 4, expected an integer from 0 to 3"},
        Refusal{R"({"version": 1, "rules": [{"fault": "fd_latency", "where": {"function": "nrt_exekute"}}]})",
                "plan.json:1: rules[0].where.function is \"nrt_exekute\", expected a function of the C API, * and ? "
                "allowed "
                "(is nrt_execute meant?)"},
        Refusal{R"({"version": 1, "rules": [{"fault": "fd_latency", "where": {"process": ""}}]})",
                "plan.json:1: rules[0].where.process is \"\", expected a name"},
        Refusal{"{\"version\": 1, \"rules\": [\n{\"fault\": \"fd_status\"}]}",
                "plan.json:2: rules[0].detail.status is missing, expected NRT_FAILURE, NRT_INVALID"},
        Refusal{R"({"version": 1, "rules": [{"fault": "fd_status", "detail": {"status": "NRT_SUCCESS"}}]})",
                "plan.json:1: rules[0].detail.status is \"NRT_SUCCESS\", expected NRT_FAILURE"},
        Refusal{R"({"version": 1, "rules": [{"fault": "fd_status", "detail": {"status": "NRT_FAILURE|NRT_INVALID"}}]})",
                "plan.json:1: rules[0].detail.status is \"NRT_FAILURE|NRT_INVALID\", expected NRT_FAILURE"},
        Refusal{R"({"version": 1, "rules": [{"fault": "drv_error", "detail": {"errno": "EPERM"}}]})",
                "plan.json:1: rules[0].detail.errno is \"EPERM\", expected EBUSY, ENOMEM, EINTR, EIO, ENODEV"},
        Refusal{R"({"version": 1, "rules": [{"fault": "fd_latency", "detail": {"us": 0}}]})",
                "plan.json:1: rules[0].detail.us is 0, expected an integer from 1 to 3600000000"},
        Refusal{R"({"version": 1, "rules": [{"fault": "engine_slow", "detail": {"factor": "2"}}]})",
                "plan.json:1: rules[0].detail.factor is \"2\", expected a number from 1 to"},
        Refusal{R"({"version": 1, "rules": [{"fault": "dma_abort", "detail": {"ns": 2}}]})",
                "plan.json:1: rules[0].detail.ns is not known, expected nothing"},
        Refusal{"[[[[[[[[[[[[[[[[[", "plan.json:1: nested deeper than 16"}));

TEST(FaultPlan, givenTheVariableWhenItIsAPlanThenItIsReadAndWhenItIsAPathTheFileIs) {
  const test::TemporaryFolder folder;
  const std::string plan = R"({"version": 1, "rules": [{"fault": "dma_abort"}]})";
  test::write_text(folder / "p.json", plan);
  const auto direct = read_plan(" \n" + plan);
  ASSERT_TRUE(direct) << direct.error().message;
  EXPECT_EQ(direct->source, "OPENNRT_FAULTS");
  EXPECT_EQ(direct->rules.size(), 1u);
  const auto file = read_plan((folder / "p.json").string());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->source, (folder / "p.json").string());
  EXPECT_EQ(file->rules.size(), 1u);
  EXPECT_TRUE(read_plan("")->rules.empty());
  for (const std::string& bad : {(folder / "none").string(), folder.path().string()}) {
    const auto refused = read_plan(bad);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(refused.error().message,
                StartsWith("OPENNRT_FAULTS is \"" + bad + "\", expected the path of a fault plan"));
  }
  const auto broken = read_plan("{");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(broken.error().message, StartsWith("OPENNRT_FAULTS:1: not JSON"));
}

// An impossible rule, whose fault this backend cannot have, says so (docs/fault-injection.md).
TEST(FaultPlan, givenAFaultThatABackendCannotHaveThenTheRefusalSaysWhy) {
  const Plan chip = accept(R"({"version": 1, "rules": [{"fault": "fd_latency"},
    {"fault": "dma_abort"}]})");
  EXPECT_TRUE(check_for_backend(chip, "sim"));
  EXPECT_TRUE(check_for_backend(chip, "emulated"));
  const auto silicon = check_for_backend(chip, "neuron");
  ASSERT_FALSE(silicon);
  EXPECT_EQ(silicon.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(silicon.error().message,
            "plan.json:2: rules[1] (rule 1): backend neuron cannot have dma_abort: silicon cannot be told to fail; "
            "expected one "
            "of: sim emulated");
  EXPECT_THAT(check_for_backend(chip, "null").error().message, HasSubstr("it has no simulated chip"));
  EXPECT_THAT(check_for_backend(chip, "/x/y.so").error().message, HasSubstr("it has no simulated chip"));

  const Plan driver = accept(R"({"version": 1, "rules": [{"fault": "drv_error"}]})");
  for (const char* backend : {"sim", "null", "neuron", "emulated", "/x/y.so"})
    EXPECT_TRUE(check_for_backend(driver, backend));
  EXPECT_THAT(check_for_backend(driver, "vendor").error().message, HasSubstr("only faults of the front door reach it"));

  const Plan lost = accept(R"({"version": 1, "rules": [{"fault": "drv_notification_lost"}]})");
  EXPECT_TRUE(check_for_backend(lost, "neuron"));
  EXPECT_TRUE(check_for_backend(lost, "/x/y.so"));
  EXPECT_THAT(check_for_backend(lost, "null").error().message, HasSubstr("it executes nothing"));

  const Plan door = accept(R"({"version": 1, "rules": [{"fault": "fd_allocation_limit"}]})");
  for (const char* backend : {"sim", "null", "neuron", "emulated", "vendor", "/x/y.so"})
    EXPECT_TRUE(check_for_backend(door, backend));
}

TEST(FaultPlan, givenIntegersWithFractionOrExponentThenTheyAreIntegers) {
  const Plan plan = accept(R"({"version": 1.0, "seed": 1e3, "rules": [
    {"fault": "dma_stall", "when": {"nth": 2.0, "probability": 1.0}, "detail": {"ns": 5e2}}]})");
  ASSERT_EQ(plan.rules.size(), 1u);
  EXPECT_EQ(plan.seed, 1000u);
  EXPECT_EQ(plan.rules[0].when.nth, 2u);
  EXPECT_EQ(integer(plan.rules[0], "ns"), 500);
}

TEST(FaultPlan, givenAMaskOf64BitsThenEachCanBeSetAndIsWrittenAgain) {
  const Plan plan = accept(R"({"version": 1, "rules": [
    {"fault": "descriptor_corrupt", "detail": {"mask": 18446744073709551615}}]})");
  ASSERT_EQ(plan.rules.size(), 1u);
  EXPECT_EQ(bits(plan.rules[0], "mask"), UINT64_MAX);
  EXPECT_EQ(bits(accept(to_json(plan)).rules[0], "mask"), UINT64_MAX);
}

TEST(FaultPlan, givenPlansThatDoTheSameInTheChipThenTheirIdentityIsTheSameAndNoOthers) {
  const auto identity = [](const std::string& seed, const std::string& rules) {
    return chip_identity(accept("{\"version\": 1, \"seed\": " + seed + ", \"rules\": [" + rules + "]}"));
  };
  const std::string abort = R"({"name": "a", "fault": "dma_abort"})", error = R"({"fault": "drv_error"})";
  const std::string maybe = R"({"name": "a", "fault": "dma_abort", "when": {"probability": 0.5}})";
  EXPECT_EQ(identity("0", error), 0u);
  EXPECT_NE(identity("0", abort), 0u);
  EXPECT_EQ(identity("0", abort), identity("1", abort + "," + error)) << "a seed that nothing is drawn from";
  EXPECT_NE(identity("0", maybe), identity("1", maybe));
  EXPECT_NE(identity("0", maybe), identity("0", abort));
  EXPECT_NE(identity("0", abort), identity("0", R"({"name": "b", "fault": "dma_abort"})"));
}

TEST(FaultPlan, givenRulesThatCanNeverStrikeThenEachIsDoubted) {
  const auto doubt = [](const std::string& rule) {
    const auto said = doubts(accept("{\"version\": 1, \"rules\": [\n" + rule + "]}"));
    return said.size() == 1 ? said[0] : "doubts: " + std::to_string(said.size());
  };
  EXPECT_EQ(
      doubt(R"({"name": "m", "fault": "dma_abort", "when": {"between": ["nrt_laod:2", ""]}})"),
      "plan.json:2: rules[0] (m): \"nrt_laod\" is no function of the C API (is nrt_load meant?): only opennrt_marker "
      "passes it");
  EXPECT_THAT(doubt(R"({"fault": "dma_abort", "when": {"between": ["nrt_execute:5", "nrt_execute:2"]}})"),
              HasSubstr("it holds from \"nrt_execute:5\" to \"nrt_execute:2\", which comes before that: never"));
  EXPECT_THAT(doubt(R"({"fault": "dma_abort", "where": {"engine": "pe"}})"),
              HasSubstr("where.engine is \"pe\", and dma_abort is of dma0 to dma11"));
  EXPECT_THAT(doubt(R"({"fault": "engine_hang", "where": {"engine": "dma*"}})"), HasSubstr("is of pe, act and pool"));
  EXPECT_THAT(doubt(R"({"fault": "data_bit_flip", "where": {"queue": 1}, "detail": {"memory": "sbuf"}})"),
              HasSubstr("where.queue is 1"));
  EXPECT_THAT(doubt(R"({"fault": "dma_abort", "where": {"device": 63}})"), HasSubstr("where.device is 63"));
  EXPECT_THAT(doubt(R"({"fault": "dma_abort", "where": {"core": 200}})"), HasSubstr("where.core is 200"));
  EXPECT_THAT(doubt(R"({"fault": "drv_error", "where": {"process": "a-program-of-a-long-name"}})"),
              HasSubstr("cuts the name of a command to 15 characters (\"a-program-of-a-\")"));
  EXPECT_THAT(doubt(R"({"fault": "fd_latency", "where": {"function": "nrt_execute", "tensor": "x"}})"),
              HasSubstr("where.tensor is \"x\", and nrt_execute is told no tensor's name"));
  EXPECT_THAT(doubt(R"({"fault": "fd_latency", "where": {"function": "nrt_tensor_*", "model": "x"}})"),
              HasSubstr("where.model is \"x\""));
  EXPECT_THAT(doubt(R"({"fault": "drv_error", "where": {"operation": "version", "device": 0}})"),
              HasSubstr("where.operation is \"version\", which is about no device"));
  EXPECT_THAT(doubt(R"({"fault": "drv_error", "where": {"operation": "bar_*", "core": 0}})"),
              HasSubstr("which is about no core"));
}

TEST(FaultPlan, givenRulesThatCanStrikeThenNothingIsDoubted) {
  const Plan plan = accept(R"({"version": 1, "rules": [
    {"fault": "dma_abort", "where": {"engine": "dma4", "queue": 1, "device": 15, "core": 3}},
    {"fault": "data_bit_flip", "where": {"engine": "p*"}, "detail": {"memory": "psum"}},
    {"fault": "drv_error", "where": {"operation": "*", "core": 1, "process": "a-program-of-a-*"}},
    {"fault": "fd_latency", "where": {"tensor": "x", "model": "m"}, "when": {"between": ["warm", "nrt_close"]}},
    {"fault": "fd_latency", "where": {"function": "nrt_tensor_free", "tensor": "x"}},
    {"fault": "fd_latency", "where": {"function": "nrt_load", "model": "x"}},
    {"fault": "engine_hang", "when": {"between": ["nrt_load:2", "nrt_load:3"]}}]})");
  EXPECT_THAT(doubts(plan), ::testing::IsEmpty());
}

TEST(FaultPlan, givenPatternsThenStarsAndQuestionMarksMatch) {
  EXPECT_TRUE(matches("nrt_*", "nrt_load"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(matches("dma?", "dma1"));
  EXPECT_FALSE(matches("dma?", "dma11"));
  EXPECT_FALSE(matches("a*b", "ac"));
  EXPECT_FALSE(matches("", "x"));
}

}  // namespace
}  // namespace opennrt::faults
