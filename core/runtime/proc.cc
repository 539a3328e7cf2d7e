// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/proc.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace opennrt {
namespace {

/// /proc/<pid>/stat begins with "pid (name) state"; the name may hold anything, brackets and spaces, too.
bool runs_as(const std::filesystem::path& folder, std::string_view name) {
  std::ifstream file(folder / "stat");
  std::string line;
  if (!std::getline(file, line)) return false;
  const std::size_t open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open || close + 2 >= line.size()) return false;
  return std::string_view(line).substr(open + 1, close - open - 1) == name && line[close + 2] != 'Z';
}

}  // namespace

std::vector<int> processes_named(std::string_view name) {
  std::vector<int> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string folder = it->path().filename().string();
    int pid = 0;
    const auto [rest, wrong] = std::from_chars(folder.data(), folder.data() + folder.size(), pid);
    if (wrong != std::errc{} || rest != folder.data() + folder.size() || pid == ::getpid()) continue;
    if (runs_as(it->path(), name)) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

}  // namespace opennrt
