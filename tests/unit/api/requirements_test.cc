// SPDX-License-Identifier: Apache-2.0
//
// docs/requirements.md has every id that is cited, and no test cites what only those can look up who have our tickets.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

namespace opennrt::test {
namespace {

const std::filesystem::path kRoot = std::getenv("OPENNRT_SOURCE_DIR");

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// What a file says to people: of a program its comments, of a page or a table everything.
std::string said(const std::filesystem::path& path, const std::string& line) {
  const std::string type = path.extension();
  if (type == ".md" || path.filename() == "api.txt") return line;
  const bool script = path.filename() == "CMakeLists.txt" || type == ".cmake" || type == ".sh";
  const std::size_t at = line.find(script ? "#" : "//");
  if (at != std::string::npos) return line.substr(at);
  const std::size_t first = line.find_first_not_of(' ');
  return first != std::string::npos && (line.compare(first, 2, "/*") == 0 || line.compare(first, 2, "* ") == 0) ? line
                                                                                                                : "";
}

void each_line(const std::vector<std::string>& folders,
               const std::function<void(const std::string& where, const std::string& text)>& look) {
  for (const std::string& folder : folders) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / folder)) {
      const std::filesystem::path path = entry.path();
      const std::string type = path.extension();
      if (!entry.is_regular_file() || (type != ".md" && type != ".cc" && type != ".c" && type != ".h" &&
                                       type != ".txt" && type != ".cmake" && type != ".sh" && type != ".inc"))
        continue;
      int number = 0;
      for (const std::string& line : lines_of(path))
        look(std::filesystem::relative(path, kRoot).string() + ":" + std::to_string(++number), said(path, line));
    }
  }
}

std::map<std::string, int> requirements() {
  std::map<std::string, int> all;
  const std::regex row("^\\| ([A-Z][0-9]+) \\| [^|]{20,} \\|.*\\|$");
  for (const std::string& line : lines_of(kRoot / "docs/requirements.md")) {
    std::smatch found;
    if (std::regex_match(line, found, row)) ++all[found[1]];
  }
  return all;
}

TEST(Requirements, givenTheListThenEachIdIsThereOnceAndNoNumberIsLeftOut) {
  const std::map<std::string, int> all = requirements();
  const std::map<char, int> last{{'A', 4}, {'B', 10}, {'C', 3}, {'D', 5}, {'E', 7},
                                 {'F', 3}, {'G', 6},  {'H', 3}, {'I', 4}};
  std::size_t count = 0;
  for (const auto& [section, numbers] : last) {
    for (int number = 1; number <= numbers; ++number, ++count) {
      const auto at = all.find(section + std::to_string(number));
      ASSERT_NE(at, all.end()) << section << number;
      EXPECT_EQ(at->second, 1) << section << number;
    }
  }
  EXPECT_EQ(all.size(), count);
}

TEST(Requirements, givenACitationThenTheIdExists) {
  const std::map<std::string, int> all = requirements();
  const std::regex citation("\\b[A-I][1-9][0-9]?\\b");
  std::map<std::string, int> cited;
  each_line({"tests", "docs", "core", "backends"}, [&](const std::string& where, const std::string& text) {
    if (where.starts_with("docs/requirements.md:")) return;
    for (auto at = std::sregex_iterator(text.begin(), text.end(), citation); at != std::sregex_iterator(); ++at) {
      const std::string id = at->str();
      if (id == "C11") continue;  // the language
      ++cited[id];
      EXPECT_TRUE(all.contains(id)) << where << " cites " << id
                                    << ", which docs/requirements.md does not have: " << text;
    }
  });
  EXPECT_GT(cited.size(), 30u) << "the search finds nothing";
}

TEST(Requirements, givenACommentThenItCitesPagesThatAreHereAndNoTicket) {
  const std::regex ticket("\\b[Ii]ssue ([0-9]|\"/)|\\b[Dd]eliver [0-9]|\\b[Mm]ust show\\b"),
      page("\\bdocs/[a-z-]+\\.md\\b");
  int pages = 0;
  each_line({"tests", "docs", "core", "backends"}, [&](const std::string& where, const std::string& text) {
    if (where.starts_with("tests/unit/api/requirements_test.cc:")) return;
    EXPECT_FALSE(std::regex_search(text, ticket)) << where << ": " << text;
    for (auto at = std::sregex_iterator(text.begin(), text.end(), page); at != std::sregex_iterator(); ++at, ++pages)
      EXPECT_TRUE(std::filesystem::exists(kRoot / at->str())) << where << " names " << at->str();
  });
  EXPECT_GT(pages, 20) << "the search finds nothing";
}

}  // namespace
}  // namespace opennrt::test
