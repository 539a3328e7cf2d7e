// SPDX-License-Identifier: Apache-2.0
//
// What the suite has called: for each function of the C API the tests in which it succeeded and in which it was refused. Filled by
// covered.h, judged at the end of a whole run against api.txt, the list of what each function is expected to do.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace conformance {

/// One function of tests/unit/api/abi_table.inc.
struct ApiFunction {
  const char* name;
  bool can_refuse;  ///< false: it returns nothing
};
const std::vector<ApiFunction>& api_functions();

/// A test and what the function returned in it.
struct Seen {
  std::string test;
  std::string answer;  ///< name of the status; "NULL", "0" where there is none
};
struct Coverage {
  std::vector<Seen> succeeded, refused, closed;  ///< in the order of the tests; each answer once per test
};
enum class Side { kSucceeded, kRefused, kClosed };

/// Calls recorded from now on belong to this test.
void begin_test(const std::string& name);
/// Notes one call; `function` is an index into api_functions(). Thread-safe; costs one atomic exchange when it is as the call before.
void record(std::size_t function, Side side, int status);
inline constexpr int kNoStatus = -1;  ///< for `status` of a function that returns none
/// What has been recorded, by index.
std::vector<Coverage> coverage();

/// A row of api.txt.
struct Expectation {
  enum class State { kServed, kNeverSucceeds, kRefusedOnlyWhenClosed } state = State::kServed;
  std::string requirements;
  std::string note;  ///< why one side is missing, or what is worth knowing
};
/// By function. Empty, and the reason on stderr, when the file is not right: it has to list every function once.
std::map<std::string, Expectation> read_expectations(const std::string& path);

/// What is wrong with the coverage: function and sentence.
std::map<std::string, std::string> uncovered(const std::vector<Coverage>& found,
                                             const std::map<std::string, Expectation>& expected);

}  // namespace conformance
