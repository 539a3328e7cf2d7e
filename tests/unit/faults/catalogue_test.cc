// SPDX-License-Identifier: Apache-2.0
//
// The catalogue and what is made from it: schema, documentation, ready-made plans.
#include "core/faults/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt_status.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "core/faults/describe.h"
#include "core/faults/names.h"
#include "tests/unit/tools/process.h"

namespace opennrt::faults {
namespace {

using ::testing::HasSubstr;

std::filesystem::path source(const std::string& name) {
  return std::filesystem::path(std::getenv("OPENNRT_SOURCE_DIR")) / name;
}

std::set<std::string> words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(FaultCatalogue, givenAKindThenEveryColumnIsThereAndItsExampleIsAPlan) {
  const std::set<std::string> fields{"device",    "core",   "engine", "queue",  "function",
                                     "operation", "tensor", "model",  "process"};
  const std::set<std::string> recoveries{"retry", "reset", "reload", "reinit", "none needed"};
  std::set<std::string_view> names;
  for (const Kind& kind : kinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    for (const std::string_view column :
         {kind.what, kind.backends, kind.where, kind.event, kind.status, kind.recovery, kind.source})
      EXPECT_FALSE(column.empty()) << kind.name;
    EXPECT_TRUE(recoveries.contains(std::string(kind.recovery))) << kind.name;
    for (const std::string& field : words(kind.where)) EXPECT_TRUE(fields.contains(field)) << kind.name << " " << field;
    const std::string told = explain(kind);
    const std::size_t example = told.find("example   ");
    ASSERT_NE(example, std::string::npos);
    const auto plan = parse_plan(told.substr(example + 10), "example");
    EXPECT_TRUE(plan) << kind.name << ": " << (plan ? "" : plan.error().message);
  }
  EXPECT_EQ(kinds().size(), 33u);
}

// Every status that the runtime can return on Inf1 is reachable by a plan (docs/fault-injection.md).
TEST(FaultCatalogue, givenTheStatusesOfTheHeaderThenEachIsReachableOrDoesNotExistOnInferentia) {
  const std::string header = test::read_text(source("core/include/nrt/nrt_status.h"));
  const std::regex row("\n  (NRT_[A-Z_]+) = [0-9]+");
  std::set<std::string> all;
  for (std::sregex_iterator it(header.begin(), header.end(), row), end; it != end; ++it) all.insert((*it)[1]);
  ASSERT_GE(all.size(), 27u);
  std::set<std::string> reachable;
  for (const Kind& kind : kinds())
    for (const std::string& status : words(kind.status)) {
      EXPECT_TRUE(all.contains(status)) << kind.name << " " << status;
      reachable.insert(status);
    }
  // docs/statuses.md: never returned; pending collectives, repairable HBM and the network proxy are of later generations.
  for (const char* other : {"NRT_FAIL_HOST_MEM_ALLOC", "NRT_COLL_PENDING", "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE",
                            "NRT_NETWORK_PROXY_FAILURE"})
    EXPECT_EQ(all.erase(other), 1u) << other;
  EXPECT_EQ(reachable, all);
}

TEST(FaultCatalogue, givenTheBackendTableThenItsOperationsAreThoseThatARuleMayName) {
  const std::string header = test::read_text(source("backends/include/opennrt/backend.h"));
  const std::string table = header.substr(header.find("typedef struct opennrt_backend_api {"));
  const std::regex member("\\n  (?:int|void) \\(\\*([a-z_]+)\\)");
  std::set<std::string> there, known(operations().begin(), operations().end());
  for (std::sregex_iterator it(table.begin(), table.end(), member), end; it != end; ++it) there.insert((*it)[1]);
  there.erase("marker");  // nothing of the driver's: the plan itself is told
  EXPECT_EQ(known, there);
  EXPECT_EQ(functions().size(), std::set<std::string_view>(functions().begin(), functions().end()).size());
  for (const char* function : {"nrt_init", "nrt_execute", "nrta_execute_schedule"})
    EXPECT_NE(std::find(functions().begin(), functions().end(), function), functions().end()) << function;
}

/// Compares a generated text with the file's part; OPENNRT_FAULTS_DOCS_WRITE=1 writes it instead.
void expect_in_file(const std::filesystem::path& path, const std::string& text, const std::string& begin,
                    const std::string& end) {
  const std::string file = test::read_text(path);
  const std::size_t from = begin.empty() ? 0 : file.find(begin) + begin.size();
  const std::size_t to = end.empty() ? file.size() : file.find(end);
  ASSERT_TRUE(from <= to && to <= file.size()) << path << " has no " << begin;
  if (std::getenv("OPENNRT_FAULTS_DOCS_WRITE") != nullptr)
    test::write_text(path, file.substr(0, from) + text + file.substr(to));
  else
    EXPECT_EQ(file.substr(from, to - from), text)
        << path << " is not what the catalogue says; OPENNRT_FAULTS_DOCS_WRITE=1 writes it";
}

TEST(FaultCatalogue, givenThePublishedSchemaThenItIsTheCatalogue) {
  expect_in_file(source("docs/faults.schema.json"), schema(), "", "");
  const auto json = nlohmann::json::parse(schema());
  EXPECT_EQ(json.at("$schema"), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(json.at("$defs").at("rule").at("allOf").size(), kinds().size() + 1);
}

// What the parser refuses, an editor that knows the schema refuses as well, as far as a schema can say it.
TEST(FaultCatalogue, givenTheSchemaThenNamesNumbersAndMarkersAreLimitedAsByTheParser) {
  const auto root = nlohmann::json::parse(schema());
  const auto& rule = root.at("$defs").at("rule");
  const auto& when = rule.at("properties").at("when").at("properties");
  for (const auto& number : {root.at("properties").at("seed"), when.at("nth"), when.at("every")})
    EXPECT_EQ(number.at("maximum"), UINT64_MAX);
  EXPECT_EQ(root.at("properties").at("rules").at("maxItems"), kMaxRules);
  EXPECT_EQ(when.at("between").at("uniqueItems"), true);
  const std::regex marker(when.at("between").at("items").at("pattern").get<std::string>());
  for (const std::string text : {"", "warm", "nrt_load:2", "a:b:10"}) {
    EXPECT_TRUE(std::regex_search(text, marker)) << text;
    EXPECT_TRUE(parse_plan(
        R"({"version": 1, "rules": [{"fault": "dma_abort", "when": {"between": [")" + text + R"(", "end"]}}]})", "p"))
        << text;
  }
  for (const std::string text : {"warm:0", ":1", "a:", "a:b", "a:-1"}) {
    EXPECT_FALSE(std::regex_search(text, marker)) << text;
    EXPECT_FALSE(parse_plan(
        R"({"version": 1, "rules": [{"fault": "dma_abort", "when": {"between": [")" + text + R"(", "end"]}}]})", "p"))
        << text;
  }
  const auto accepts = [&](const char* definition, const std::string& name) {
    const auto& any = root.at("$defs").at(definition).at("anyOf");
    const auto& names = any.at(0).at("enum");
    return std::find(names.begin(), names.end(), name) != names.end() ||
           std::regex_search(name, std::regex(any.at(1).at("pattern").get<std::string>()));
  };
  EXPECT_TRUE(accepts("engine", "dma11"));
  EXPECT_FALSE(accepts("engine", "dma12"));
  EXPECT_TRUE(accepts("operation", "mem_*"));
  EXPECT_FALSE(accepts("operation", "mem_aloc"));
  EXPECT_TRUE(accepts("function", "nrt_close"));
  EXPECT_FALSE(accepts("function_with_status", "nrt_close"));
  const auto& one_event = rule.at("allOf").back();
  EXPECT_EQ(one_event.at("if").at("properties").at("when").at("required"), nlohmann::json::array({"nth"}));
  EXPECT_EQ(one_event.at("then").at("properties").at("times").at("maximum"), 1);
}

TEST(FaultCatalogue, givenAStatusOfChoiceWhenExplainedThenNoListOfStatusesIsClaimed) {
  EXPECT_THAT(explain(*find_kind("fd_status")), HasSubstr("statuses  the one asked for\n"));
}

TEST(FaultCatalogue, givenTheGuideThenItsTablesAreTheCatalogue) {
  expect_in_file(source("docs/fault-injection.md"), "\n" + tables(), "<!-- kinds: made from the catalogue -->\n",
                 "<!-- kinds: end -->");
}

TEST(FaultCatalogue, givenTheReadyMadePlansThenEachIsValidForTheSimulator) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(source("tools/faults/plans"))) {
    const auto plan = read_plan(entry.path().string());
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_FALSE(plan->rules.empty()) << entry.path();
    EXPECT_TRUE(check_for_backend(*plan, "sim")) << entry.path();
    EXPECT_THAT(test::read_text(entry.path()), HasSubstr("\"description\": "));
    found.insert(entry.path().stem());
  }
  EXPECT_EQ(found, (std::set<std::string>{"core-held-by-dead-pod", "timeout-under-load", "ecc-storm",
                                          "driver-upgrade-while-running", "out-of-device-memory", "everything"}));
}

}  // namespace
}  // namespace opennrt::faults
