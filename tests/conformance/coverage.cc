// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/coverage.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <sstream>
#include <type_traits>
#include <utility>

#define OPENNRT_NOT_REDIRECTED  // the functions themselves, and their names as text
#include "tests/conformance/covered.h"

namespace conformance {
namespace {

constexpr std::size_t kSides = 3;
// The last test and answer that have been noted for a function and a side: the same again is no news.
std::array<std::array<std::atomic<std::uint64_t>, kSides>, covered::kFunctions> noted{};
std::atomic<std::uint32_t> test_number{1};

std::mutex mutex;  // of what follows
std::string test_name = "(before the first test)";
std::vector<Coverage> found(covered::kFunctions);

}  // namespace

const std::vector<ApiFunction>& api_functions() {
#define SIZE(type, bytes)
#define OFFSET(type, member, bytes)
#define VALUE(name, value)
#define FUNCTION(result, name, arguments) {#name, !std::is_void_v<result>},
  static const std::vector<ApiFunction> functions = {
#include "tests/unit/api/abi_table.inc"
  };
#undef SIZE
#undef OFFSET
#undef VALUE
#undef FUNCTION
  return functions;
}

void begin_test(const std::string& name) {
  const std::lock_guard lock(mutex);
  test_name = name;
  test_number.fetch_add(1, std::memory_order_relaxed);
}

void record(std::size_t function, Side side, int status) {
  const std::uint64_t number = test_number.load(std::memory_order_relaxed);
  const std::uint64_t news = number << 32 | static_cast<std::uint32_t>(status);
  if (noted[function][static_cast<std::size_t>(side)].exchange(news, std::memory_order_relaxed) == news) return;
  const std::lock_guard lock(mutex);
  Seen seen{test_name, status == kNoStatus ? "" : nrt_get_status_as_str(static_cast<NRT_STATUS>(status))};
  Coverage& calls = found[function];
  std::vector<Seen>& all = side == Side::kSucceeded ? calls.succeeded
                           : side == Side::kRefused ? calls.refused
                                                    : calls.closed;
  for (auto last = all.rbegin(); last != all.rend() && last->test == seen.test; ++last) {
    if (last->answer == seen.answer) return;
  }
  all.push_back(std::move(seen));
}

std::vector<Coverage> coverage() {
  const std::lock_guard lock(mutex);
  return found;
}

std::map<std::string, Expectation> read_expectations(const std::string& path) {
  std::map<std::string, Expectation> expected;
  bool right = true;
  const auto complain = [&](const std::string& what) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), what.c_str());
    right = false;
  };
  std::ifstream file(path);
  if (!file) complain("cannot be read");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string function, state;
    Expectation row;
    words >> function >> row.requirements >> state >> std::ws;
    std::getline(words, row.note);
    if (state == "served") {
      row.state = Expectation::State::kServed;
    } else if (state == "never-succeeds") {
      row.state = Expectation::State::kNeverSucceeds;
    } else if (state == "refused-only-when-closed") {
      row.state = Expectation::State::kRefusedOnlyWhenClosed;
    } else {
      complain("\"" + line +
               "\": expected <function> <requirements> served|never-succeeds|refused-only-when-closed [note]");
    }
    if (row.state != Expectation::State::kServed && row.note.empty()) complain(function + " has no reason");
    if (!expected.emplace(function, row).second) complain(function + " is there twice");
  }
  std::size_t known = 0;
  for (const ApiFunction& function : api_functions()) {
    known += expected.count(function.name);
    if (expected.count(function.name) == 0) complain(std::string(function.name) + " is missing");
  }
  if (known != expected.size()) complain("it lists functions that no header declares");
  return right ? expected : std::map<std::string, Expectation>{};
}

std::map<std::string, std::string> uncovered(const std::vector<Coverage>& found_calls,
                                             const std::map<std::string, Expectation>& expected) {
  std::map<std::string, std::string> wrong;
  for (std::size_t i = 0; i < found_calls.size(); ++i) {
    const ApiFunction& function = api_functions()[i];
    const Coverage& calls = found_calls[i];
    const Expectation::State state = expected.at(function.name).state;
    std::string text;
    const auto say = [&](const std::string& sentence) { text += (text.empty() ? "" : "; ") + sentence; };
    if (state == Expectation::State::kNeverSucceeds) {
      if (!calls.succeeded.empty()) say("never succeeds by api.txt, but did in " + calls.succeeded.front().test);
    } else if (calls.succeeded.empty()) {
      say("no test in which it succeeds");
    }
    if (state == Expectation::State::kRefusedOnlyWhenClosed) {
      if (!calls.refused.empty())
        say("is refused only when closed by api.txt, but was in " + calls.refused.front().test);
      if (calls.closed.empty()) say("no test in which it is refused because the library is closed");
    } else if (function.can_refuse && calls.refused.empty()) {
      say("no test in which it is refused");
    }
    if (!text.empty()) wrong.emplace(function.name, text);
  }
  return wrong;
}

}  // namespace conformance
