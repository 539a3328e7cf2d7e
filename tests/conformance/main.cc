// SPDX-License-Identifier: Apache-2.0
//
// Runs the suite over the backend of OPENNRT_BACKEND and compares the failures with those that the backend has declared
// (OPENNRT_CONFORMANCE_GAPS: lines `pattern  reason`, `#` begins a comment). Failures are: a test that fails and is not declared, a
// declared test that passes, a pattern that matches no test.
// A whole run is also judged by what it called: every function must have succeeded and been refused as api.txt says
// (OPENNRT_CONFORMANCE_API). A function that is not covered counts as a failed test "Coverage.<function>", and can be declared as one.
// With OPENNRT_API_PAGE, docs/api.md must be what the run would write; with OPENNRT_API_PAGE_WRITE, too, it is written.
#include <fnmatch.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/api_page.h"
#include "tests/conformance/coverage.h"
#include "tests/conformance/fixture.h"

namespace {

struct Gap {
  std::string pattern, reason;
  int tests = 0;
};

class Judge : public testing::EmptyTestEventListener {
 public:
  explicit Judge(std::vector<Gap> gaps) : gaps_(std::move(gaps)) {}

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    messages_ += std::string("    ") + (result.file_name() == nullptr ? "?" : result.file_name()) + ":" +
                 std::to_string(result.line_number()) + ": " + result.message() + "\n";
  }

  void OnTestStart(const testing::TestInfo& info) override {
    messages_.clear();
    conformance::begin_test(name_of(info));
  }

  void OnTestEnd(const testing::TestInfo& info) override {
    const std::string time = " (" + std::to_string(info.result()->elapsed_time()) + " ms)";
    judge(name_of(info), info.result()->Failed(), messages_, time);
  }

  /// After a whole run.
  void judge_coverage(const std::map<std::string, std::string>& wrong) {
    for (const conformance::ApiFunction& function : conformance::api_functions()) {
      const auto found = wrong.find(function.name);
      const bool failed = found != wrong.end();
      judge(std::string("Coverage.") + function.name, failed, failed ? "    " + found->second + "\n" : "", "");
    }
  }

  void add_failure(const std::string& text) {
    std::printf("FAILED %s\n", text.c_str());
    ++wrong_;
  }

  int wrong() const { return wrong_; }

  int verdict(bool all_ran) {
    for (const Gap& gap : gaps_) {
      if (gap.tests > 0 || !all_ran) continue;
      add_failure("the declared gap " + gap.pattern + " matches no test");
    }
    std::printf("%d wrong\n", wrong_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  static std::string name_of(const testing::TestInfo& info) {
    return std::string(info.test_suite_name()) + "." + info.name();
  }

  void judge(const std::string& name, bool failed, const std::string& messages, const std::string& remark) {
    Gap* gap = nullptr;
    for (Gap& candidate : gaps_) {
      if (fnmatch(candidate.pattern.c_str(), name.c_str(), 0) == 0) gap = &candidate;
    }
    if (gap != nullptr) ++gap->tests;
    if (failed && gap != nullptr) {
      std::printf("gap    %s: %s\n", name.c_str(), gap->reason.c_str());
    } else if (failed) {
      std::printf("FAILED %s\n%s", name.c_str(), messages.c_str());
      ++wrong_;
    } else if (gap != nullptr) {
      add_failure(name + " passes, but is declared as a gap (" + gap->reason + "): take it off the list");
    } else if (!remark.empty()) {
      std::printf("ok     %s%s\n", name.c_str(), remark.c_str());
    }
    std::fflush(stdout);
  }

  std::vector<Gap> gaps_;
  std::string messages_;
  int wrong_ = 0;
};

std::vector<Gap> read_gaps(const char* path) {
  std::vector<Gap> gaps;
  if (path == nullptr) return gaps;
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path);
    std::exit(2);
  }
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t space = line.find(' ');
    const std::size_t reason = space == std::string::npos ? space : line.find_first_not_of(' ', space);
    if (reason == std::string::npos) {
      std::fprintf(stderr, "%s: \"%s\" has no reason\n", path, line.c_str());
      std::exit(2);
    }
    gaps.push_back({line.substr(0, space), line.substr(reason)});
  }
  return gaps;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Compares docs/api.md with the run, or writes it.
void judge_page(Judge& judge, const std::string& path,
                const std::map<std::string, conformance::Expectation>& expected) {
  const std::string before = text_of(path);
  const std::string headers = std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/core/include";
  const std::string page = conformance::api_page(conformance::coverage(), expected, headers, before);
  if (page == before) return;
  if (std::getenv("OPENNRT_API_PAGE_WRITE") == nullptr) {
    judge.add_failure(path + " is not what this run would write; run ./dev docs and look at the difference");
    return;
  }
  if (!(std::ofstream(path) << page)) return judge.add_failure(path + " cannot be written");
  std::printf("wrote  %s\n", path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  auto* judge = new Judge(read_gaps(std::getenv("OPENNRT_CONFORMANCE_GAPS")));
  listeners.Append(judge);
  const int failed = RUN_ALL_TESTS();  // the verdict is the judge's: a declared gap fails here
  static_cast<void>(failed);
  std::filesystem::remove(conformance::log_path());
  const bool all_ran = testing::GTEST_FLAG(filter) == "*" && testing::UnitTest::GetInstance()->test_to_run_count() > 0;
  const char* api = std::getenv("OPENNRT_CONFORMANCE_API");
  if (all_ran && api != nullptr) {
    const auto expected = conformance::read_expectations(api);
    if (expected.empty()) return 2;
    judge->judge_coverage(conformance::uncovered(conformance::coverage(), expected));
    const char* page = std::getenv("OPENNRT_API_PAGE");
    if (page != nullptr && judge->wrong() == 0) judge_page(*judge, page, expected);
  }
  return judge->verdict(all_ran);
}
