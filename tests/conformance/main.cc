// SPDX-License-Identifier: Apache-2.0
//
// Runs the suite over the backend of OPENNRT_BACKEND and compares the failures with those that the backend has declared
// (OPENNRT_CONFORMANCE_GAPS: lines `pattern  reason`, `#` begins a comment). Failures are: a test that fails and is
// not declared, a
// declared test that passes, a pattern that matches no test.
#include <fnmatch.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

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

  void OnTestStart(const testing::TestInfo&) override { messages_.clear(); }

  void OnTestEnd(const testing::TestInfo& info) override {
    const std::string name = std::string(info.test_suite_name()) + "." + info.name();
    const bool failed = info.result()->Failed();
    Gap* gap = nullptr;
    for (Gap& candidate : gaps_) {
      if (fnmatch(candidate.pattern.c_str(), name.c_str(), 0) == 0) gap = &candidate;
    }
    if (gap != nullptr) ++gap->tests;
    if (failed && gap != nullptr) {
      std::printf("gap    %s: %s\n", name.c_str(), gap->reason.c_str());
    } else if (failed) {
      std::printf("FAILED %s\n%s", name.c_str(), messages_.c_str());
      ++wrong_;
    } else if (gap != nullptr) {
      std::printf("FAILED %s passes, but is declared as a gap (%s): take it off the list\n", name.c_str(),
                  gap->reason.c_str());
      ++wrong_;
    } else {
      std::printf("ok     %s (%lld ms)\n", name.c_str(), static_cast<long long>(info.result()->elapsed_time()));
    }
    std::fflush(stdout);
  }

  int verdict(bool all_ran) {
    for (const Gap& gap : gaps_) {
      if (gap.tests > 0 || !all_ran) continue;
      std::printf("FAILED the declared gap %s matches no test\n", gap.pattern.c_str());
      ++wrong_;
    }
    std::printf("%d wrong\n", wrong_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
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
  return judge->verdict(testing::GTEST_FLAG(filter) == "*");
}
