// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/api_page.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace conformance {
namespace {

constexpr const char* kHead = R"(# The C API: what is served

<!-- Written by `./dev docs` from a run of tests/conformance on the simulator and tests/conformance/api.txt; the suite fails when
     the page is not what it would write. A test that is named here stays while the run confirms it, and so a better one can be
     put in its place. -->

Every function of the public headers, the version node under which `libnrt.so.1` exports it, its state, the
[requirements](requirements.md) that it serves (`A2`: it is there, and says what it cannot do), and for each side a test of `tests/conformance` in which it succeeds and one
in which it is refused, with the status. Which failure is which status is in [statuses.md](statuses.md). A function that this
hardware does not have logs one warning per process. `tests/unit/api` pins symbols, versions, values and layouts.
)";

/// Lines of a header that begin a declaration name their function in front of a parenthesis.
bool declares(const std::string& line, const std::string& function) {
  if (line.empty() || std::isalpha(static_cast<unsigned char>(line[0])) == 0 || line.starts_with("typedef"))
    return false;
  const std::size_t at = line.find(function + "(");
  return at != std::string::npos && at > 0 && (line[at - 1] == ' ' || line[at - 1] == '*');
}

/// By function, the header that declares it, as a client includes it.
std::map<std::string, std::string> find_headers(const std::string& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/nrt")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      for (const ApiFunction& function : api_functions()) {
        if (declares(line, function.name)) result[function.name] = "nrt/" + entry.path().filename().string();
      }
    }
  }
  return result;
}

const char* version_node(const char* function) {
  for (const char* node : {"NRT_2.0.0", "NRT_3.0.0"}) {
    if (dlvsym(RTLD_DEFAULT, function, node) != nullptr) return node;
  }
  return "none";
}

std::string cell(const Seen* seen) {
  if (seen == nullptr) return "–";
  const bool tell = !seen->answer.empty() && seen->answer != "NRT_SUCCESS";
  return (tell ? "`" + seen->answer + "` in " : "") + "`" + seen->test + "`";
}

/// The test in which a side is shown best: the one that the old row names already, else the one that calls the fewest functions.
const Seen* choose(const std::vector<Seen>& seen, const std::map<std::string, int>& calls, const std::string& row) {
  const Seen* best = nullptr;
  for (const Seen& candidate : seen) {
    if (row.find("| " + cell(&candidate) + " |") != std::string::npos) return &candidate;
    if (best == nullptr || calls.at(candidate.test) < calls.at(best->test)) best = &candidate;
  }
  return best;
}

std::string state_text(const Expectation& expectation, const Coverage& calls) {
  const std::string note = expectation.note.empty() ? "" : ": " + expectation.note;
  if (expectation.state != Expectation::State::kNeverSucceeds) return "served" + note;
  const std::string status = calls.refused.empty() ? "" : calls.refused.front().answer;
  return "refused" + (status.empty() ? "" : " with `" + status + "`") + note;
}

}  // namespace

std::string api_page(const std::vector<Coverage>& found, const std::map<std::string, Expectation>& expected,
                     const std::string& headers, const std::string& before) {
  std::map<std::string, std::string> old_rows;
  std::istringstream lines(before);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| `")) old_rows[line.substr(3, line.find('`', 3) - 3)] = line;
  }
  std::map<std::string, int> calls;
  for (const Coverage& one : found) {
    for (const auto* side : {&one.succeeded, &one.refused, &one.closed}) {
      for (const Seen& seen : *side) ++calls[seen.test];
    }
  }
  const std::map<std::string, std::string> header_of = find_headers(headers);
  std::map<std::string, std::string> sections;
  int served = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const ApiFunction& function = api_functions()[i];
    const Expectation& expectation = expected.at(function.name);
    if (expectation.state != Expectation::State::kNeverSucceeds) ++served;
    const bool only_closed = expectation.state == Expectation::State::kRefusedOnlyWhenClosed;
    const std::vector<Seen>& refusals = only_closed ? found[i].closed : found[i].refused;
    const auto header = header_of.find(function.name);
    const std::string& row = old_rows[function.name];
    // A row names both tests: each side is looked for in its own half of it.
    const std::size_t middle = row.rfind(" | ");
    const std::string success_half = middle == std::string::npos ? "" : row.substr(0, middle) + " |";
    const std::string refusal_half = middle == std::string::npos ? "" : row.substr(middle);
    sections[header == header_of.end() ? "no header" : header->second] +=
        std::string("| `") + function.name + "` | " + version_node(function.name) + " | " +
        state_text(expectation, found[i]) + " | " + expectation.requirements + " | " +
        cell(choose(found[i].succeeded, calls, success_half)) + " | " + cell(choose(refusals, calls, refusal_half)) +
        " |\n";
  }
  std::string page = kHead;
  page += "\n" + std::to_string(found.size()) + " functions, " + std::to_string(served) + " served, " +
          std::to_string(found.size() - static_cast<std::size_t>(served)) +
          " refused because Inferentia or this runtime does not have what they are for.\n";
  for (const auto& [header, rows] : sections) {
    page += "\n## " + header +
            "\n| Function | Node | State | Requirements | Succeeds in | Is refused in |\n|---|---|---|---|---|---|\n" +
            rows;
  }
  return page;
}

}  // namespace conformance
