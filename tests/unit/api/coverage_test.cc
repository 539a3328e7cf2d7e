// SPDX-License-Identifier: Apache-2.0
// The judge of the conformance suite: that it sees what has not been called, and that docs/api.md changes only with what was found.
#include "tests/conformance/coverage.h"

#include <gtest/gtest.h>
#include <nrt/nrt_status.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/conformance/api_page.h"

namespace conformance {
namespace {

using State = Expectation::State;

std::size_t index_of(const std::string& name) {
  const auto& all = api_functions();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  EXPECT_NE(found, all.end()) << name;
  return static_cast<std::size_t>(found - all.begin());
}

std::map<std::string, Expectation> all_expected(State state) {
  std::map<std::string, Expectation> expected;
  for (const ApiFunction& function : api_functions()) expected[function.name] = {state, "A2", "why"};
  return expected;
}

/// Everything succeeded and was refused in a test of its own function's name.
std::vector<Coverage> all_found() {
  std::vector<Coverage> found;
  for (const ApiFunction& function : api_functions()) {
    const std::string name = function.name;
    found.push_back({{{"S." + name, "NRT_SUCCESS"}}, {{"R." + name, "NRT_INVALID"}}, {}});
  }
  return found;
}

TEST(Coverage, givenACallThatIsMissingWhenJudgedThenTheFunctionAndTheSideAreNamed) {
  auto found = all_found();
  const auto expected = all_expected(State::kServed);
  EXPECT_TRUE(uncovered(found, expected).empty());
  found[index_of("nrt_execute")].refused.clear();
  found[index_of("nrt_load")].succeeded.clear();
  found[index_of("nrt_close")].refused.clear();  // returns nothing: it cannot refuse
  EXPECT_EQ(uncovered(found, expected), (std::map<std::string, std::string>{
                                            {"nrt_execute", "no test in which it is refused"},
                                            {"nrt_load", "no test in which it succeeds"},
                                        }));
}

TEST(Coverage, givenASuccessThatWasNotExpectedWhenJudgedThenItIsWrong) {
  auto found = all_found();
  auto expected = all_expected(State::kServed);
  expected["nrt_get_dmabuf_fd"].state = State::kNeverSucceeds;
  expected["nrt_barrier"].state = State::kRefusedOnlyWhenClosed;
  const auto wrong = uncovered(found, expected);
  EXPECT_EQ(wrong.size(), 2u);
  EXPECT_EQ(wrong.at("nrt_get_dmabuf_fd"), "never succeeds by api.txt, but did in S.nrt_get_dmabuf_fd");
  EXPECT_NE(wrong.at("nrt_barrier").find("but was in R.nrt_barrier"), std::string::npos);
  EXPECT_NE(wrong.at("nrt_barrier").find("no test in which it is refused because the library is closed"),
            std::string::npos);
}

TEST(Coverage, givenCallsWhenRecordedThenEachAnswerIsThereOncePerTest) {
  const std::size_t function = index_of("nrt_unload");
  for (const char* test : {"First.test", "Second.test"}) {
    begin_test(test);
    for (int i = 0; i < 3; ++i) {
      record(function, Side::kSucceeded, NRT_SUCCESS);
      record(function, Side::kRefused, NRT_INVALID);
      record(function, Side::kRefused, NRT_INVALID_HANDLE);
      record(function, Side::kClosed, NRT_CLOSED);
    }
  }
  const Coverage calls = coverage()[function];
  ASSERT_EQ(calls.succeeded.size(), 2u);
  EXPECT_EQ(calls.succeeded[1].test, "Second.test");
  ASSERT_EQ(calls.refused.size(), 4u);
  EXPECT_EQ(calls.refused[2].answer, "NRT_INVALID");
  EXPECT_EQ(calls.refused[3].answer, "NRT_INVALID_HANDLE");
  EXPECT_EQ(calls.closed.size(), 2u);
}

TEST(Coverage, givenTheListOfFunctionsWhenOneIsMissingTwiceOrUnknownThenItIsRefused) {
  const std::string source = std::getenv("OPENNRT_SOURCE_DIR");
  EXPECT_EQ(read_expectations(source + "/tests/conformance/api.txt").size(), api_functions().size());
  const std::string path = std::filesystem::temp_directory_path() / "opennrt-api-txt";
  const auto with = [&](const std::string& change, std::size_t skip) {
    std::ofstream file(path);
    for (std::size_t i = skip; i < api_functions().size(); ++i) file << api_functions()[i].name << " A2 served\n";
    file << change;
    file.close();
    return read_expectations(path);
  };
  EXPECT_EQ(with("", 0).size(), api_functions().size());
  EXPECT_TRUE(with("", 1).empty());
  EXPECT_TRUE(with("nrt_init A2 served\n", 0).empty());
  EXPECT_TRUE(with("nrt_nothing A2 served\n", 0).empty());
  std::filesystem::remove(path);
}

TEST(ApiPage, givenANamedTestWhenTheRunConfirmsItThenItStaysAndElseAnotherTakesItsPlace) {
  const std::string headers = std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/core/include";
  const auto expected = all_expected(State::kServed);
  auto found = all_found();
  const std::size_t execute = index_of("nrt_execute");
  found[execute].refused.push_back({"Broad.test", "NRT_TIMEOUT"});
  found[index_of("nrt_load")].succeeded.push_back({"Broad.test", "NRT_SUCCESS"});
  std::string page = api_page(found, expected, headers, "");
  const std::string narrow =
      "| `nrt_execute` | NRT_2.0.0 | served: why | A2 | `S.nrt_execute` | `NRT_INVALID` in `R.nrt_execute` |\n";
  const std::string broad =
      "| `nrt_execute` | NRT_2.0.0 | served: why | A2 | `S.nrt_execute` | `NRT_TIMEOUT` in `Broad.test` |\n";
  ASSERT_NE(page.find(narrow), std::string::npos) << page;
  EXPECT_LT(page.find("## nrt/nrt.h\n"), page.find(narrow));
  page.replace(page.find(narrow), narrow.size(), broad);
  EXPECT_EQ(api_page(found, expected, headers, page), page) << "confirmed";
  found[execute].refused.pop_back();
  EXPECT_NE(api_page(found, expected, headers, page).find(narrow), std::string::npos) << "not confirmed any more";
  EXPECT_EQ(page.find("no header"), std::string::npos) << "every function has a header";
}

}  // namespace
}  // namespace conformance
