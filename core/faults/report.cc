// SPDX-License-Identifier: Apache-2.0
#include "core/faults/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "core/faults/catalogue.h"

namespace opennrt::faults {
namespace {

using nlohmann::ordered_json;

ordered_json number_or_null(std::int64_t value) {
  return value < 0 ? ordered_json(nullptr) : ordered_json(value);
}

std::string line_with(const char* what, ordered_json content) {
  std::ifstream comm("/proc/self/comm");
  std::string process;
  std::getline(comm, process);
  ordered_json line = {{"pid", ::getpid()}, {"process", process}};
  line[what] = std::move(content);
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

/// A process that is to be told from others by its name and by nothing else.
Rule exact(const Reported::Struck& struck, std::size_t position) {
  Rule rule = struck.rule;
  rule.position = static_cast<std::uint32_t>(position);
  rule.name = fmt::format("{} #{}", struck.rule.name, position);
  rule.when = {};
  rule.when.nth = struck.event;
  rule.times = 1;
  const auto narrow = [](std::int64_t at, std::optional<std::uint32_t>& wanted, bool& none) {
    none = at < 0;
    wanted = at < 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(at));
  };
  // Only what has devices and cores can be limited to "none".
  const std::string_view where = rule.kind->where;
  if (where.find("device") != std::string_view::npos) narrow(struck.device, rule.where.device, rule.where.no_device);
  if (where.find("core") != std::string_view::npos) narrow(struck.core, rule.where.core, rule.where.no_core);
  if (!struck.function.empty()) rule.where.function = struck.function;
  if (where.find("process") != std::string_view::npos) rule.where.process = struck.process;
  return rule;
}

std::string line_of(const Reported::Struck& struck) {
  return fmt::format("{} {} device {} core {} {} event {}", struck.process, struck.rule.kind->name, struck.device,
                     struck.core, struck.function.empty() ? "-" : struck.function, struck.event);
}

Result<Reported::Struck> struck_of(const ordered_json& strike, const std::string& at) {
  Reported::Struck struck;
  const ordered_json plan = {{"version", 1}, {"rules", {strike.at("rule")}}};
  Result<Plan> parsed = parse_plan(plan.dump(), at);
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  struck.rule = std::move(parsed->rules.front());
  struck.event = strike.at("event").get<std::uint64_t>();
  struck.device = strike.at("device").is_null() ? -1 : strike.at("device").get<std::int64_t>();
  struck.core = strike.at("core").is_null() ? -1 : strike.at("core").get<std::int64_t>();
  struck.function = strike.at("function").get<std::string>();
  struck.operation = strike.value("operation", "");
  struck.now_ns = strike.value("now_ns", std::uint64_t{0});
  return struck;
}

Status take_line(const std::string& text, const std::string& at, Reported& reported) {
  try {
    const ordered_json line = ordered_json::parse(text);
    const std::int64_t pid = line.at("pid").get<std::int64_t>();
    if (line.contains("strike")) {
      auto struck = struck_of(line.at("strike"), at);
      if (!struck) return tl::unexpected<Error>(struck.error());
      struck->pid = pid;
      struck->process = line.at("process").get<std::string>();
      reported.strikes.push_back(std::move(*struck));
    } else if (line.contains("status")) {
      reported.statuses.push_back({pid, line.at("status").at("function").get<std::string>(),
                                   line.at("status").at("status").get<std::string>()});
    } else {
      const ordered_json& closed = line.at("closed");
      reported.closed.push_back({closed.at("models").get<std::uint64_t>(), closed.at("tensors").get<std::uint64_t>(),
                                 closed.at("tensor_sets").get<std::uint64_t>()});
    }
  } catch (const nlohmann::json::exception& why) {
    return make_error(ErrorCode::kInvalidFile, "{}: not a line of a fault report: {}", at, why.what());
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Report>> Report::open(const std::string& path, std::function<void(const std::string&)> lost) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
  if (descriptor < 0)
    return make_error(ErrorCode::kInvalidArgument, "OPENNRT_FAULTS_REPORT is \"{}\", expected a file to append to: {}",
                      path, std::generic_category().message(errno));
  return std::unique_ptr<Report>(new Report(descriptor, path, std::move(lost)));
}

Report::~Report() {
  ::close(descriptor_);
}

void Report::append(const std::string& line) const {
  ssize_t written = 0;
  do {
    written = ::write(descriptor_, line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(line.size())) return;
  const std::string why = written < 0 ? std::generic_category().message(errno) : "it is full";
  if (lost_ && !told_.exchange(true))
    lost_(fmt::format("OPENNRT_FAULTS_REPORT is \"{}\", and lines of the report are lost: {}", path_, why));
}

void Report::strike(const Strike& strike) const {
  append(line_with("strike", {{"rule", ordered_json::parse(to_json(*strike.rule))},
                              {"event", strike.event},
                              {"device", number_or_null(strike.device)},
                              {"core", number_or_null(strike.core)},
                              {"function", strike.function},
                              {"operation", strike.operation},
                              {"now_ns", strike.now_ns}}));
}

void Report::status(std::string_view function, std::string_view name) const {
  append(line_with("status", {{"function", function}, {"status", name}}));
}

void Report::closed(const Alive& alive) const {
  append(
      line_with("closed", {{"models", alive.models}, {"tensors", alive.tensors}, {"tensor_sets", alive.tensor_sets}}));
}

Result<Reported> read_report(const std::string& path) {
  Reported reported;
  std::ifstream file(path, std::ios::binary);
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (file.eof()) break;  // no line break: not whole
    if (const Status taken = take_line(line, fmt::format("{}:{}", path, number), reported); !taken)
      return tl::unexpected<Error>(taken.error());
  }
  return reported;
}

Result<Plan> recorded_plan(const Reported& reported) {
  std::map<std::string, std::map<std::int64_t, std::multiset<std::string>>> by_process;
  for (const Reported::Struck& struck : reported.strikes)
    by_process[struck.process][struck.pid].insert(line_of(struck));
  std::map<std::string, std::int64_t> chosen;
  for (const auto& [process, pids] : by_process) {
    chosen[process] = pids.begin()->first;
    for (const auto& [pid, lines] : pids)
      if (lines != pids.begin()->second)
        return make_error(ErrorCode::kUnsupported,
                          "processes {} and {} are both called {} and were struck differently, expected a name of its "
                          "own for each",
                          pids.begin()->first, pid, process);
  }
  Plan plan;
  for (const Reported::Struck& struck : reported.strikes)
    if (chosen.at(struck.process) == struck.pid) plan.rules.push_back(exact(struck, plan.rules.size()));
  return plan;
}

std::vector<std::string> strike_lines(const Reported& reported) {
  std::vector<std::string> lines;
  for (const Reported::Struck& struck : reported.strikes) lines.push_back(line_of(struck));
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace opennrt::faults
