// SPDX-License-Identifier: Apache-2.0
//
// One run of a campaign, and what it was.
#include <fmt/core.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/faults/catalogue.h"
#include "core/faults/injector.h"
#include "tools/opennrt/faults_campaign.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

constexpr int kLeakSanitizerExit = 23;          // LeakSanitizer's default `exitcode`
constexpr std::size_t kMostOutput = 16u << 20;  // looked at
constexpr std::size_t kKeptOutput = 1u << 20;   // of a failing run

/// `most` bytes of a file, the first or the last.
std::string text_of(const std::filesystem::path& path, std::size_t most = kMostOutput, bool last = false) {
  std::ifstream file(path, std::ios::binary);
  std::error_code bad;
  const std::uintmax_t bytes = std::filesystem::file_size(path, bad);
  std::string text(bad ? 0 : std::min<std::uintmax_t>(bytes, most), '\0');
  if (last) file.seekg(static_cast<std::streamoff>(bytes - text.size()));
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

/// The signals of a program's own mistake; a shell says them as 128 + number.
bool is_crash(int exit) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGKILL})
    if (exit == 128 + signal) return true;
  return false;
}

bool is_documented(const faults::Reported::Struck& struck, const std::string& status) {
  if (struck.rule.kind->name == "fd_status") return faults::text(struck.rule, "status") == status;
  std::istringstream words{std::string(struck.rule.kind->status)};
  return std::find(std::istream_iterator<std::string>(words), {}, status) != std::istream_iterator<std::string>();
}

/// A name of a status as a word of its own in what the program printed.
bool names(const std::string& output, const std::string& status) {
  const auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (std::size_t at = output.find(status); at != std::string::npos; at = output.find(status, at + 1)) {
    const std::size_t end = at + status.size();
    if ((at == 0 || !part(output[at - 1])) && (end == output.size() || !part(output[end]))) return true;
  }
  return false;
}

/// Which status of a fault that struck the program failed with; empty: none.
std::string documented_status(const faults::Reported& reported, const std::string& output) {
  for (const auto& struck : reported.strikes) {
    for (const auto& returned : reported.statuses)
      if (is_documented(struck, returned.status)) return returned.status;
    std::istringstream words(struck.rule.kind->name == "fd_status" ? faults::text(struck.rule, "status")
                                                                   : std::string(struck.rule.kind->status));
    for (std::string status; words >> status;)
      if (status != "NRT_SUCCESS" && names(output, status)) return status;
  }
  return {};
}

std::string last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of("\r\n ");
  if (end == std::string::npos) return {};
  const std::size_t begin = text.rfind('\n', end);
  return text.substr(begin + 1, std::min<std::size_t>(end - begin, 300));
}

/// The line by which a sanitizer says that memory or a race is at fault; empty: none.
std::string sanitizer_alarm(const std::string& error) {
  for (std::size_t begin = 0; begin < error.size();) {
    const std::size_t end = std::min(error.find('\n', begin), error.size());
    const std::string line = error.substr(begin, end - begin);
    begin = end + 1;
    // UndefinedBehaviorSanitizer: <file>:<line>:<column>: runtime error: …
    const std::size_t undefined = line.find(": runtime error: ");
    if (line.find("ERROR: AddressSanitizer") != std::string::npos ||
        line.find("WARNING: ThreadSanitizer") != std::string::npos ||
        (undefined != std::string::npos && undefined > 0 &&
         std::isdigit(static_cast<unsigned char>(line[undefined - 1])) != 0))
      return line.substr(0, 300);
  }
  return {};
}

/// The line of libnrt's log by which nrt_init refused the plan; empty: it did not.
std::string refusal(const std::filesystem::path& folder) {
  const std::string begin = (folder / "plan.json").string() + ":";
  for (const char* name : {"stdout", "stderr"}) {
    const std::string text = text_of(folder / name, kKeptOutput);
    for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
      const std::size_t line = text.rfind('\n', at) + 1, error = text.find(" ERROR ", line);
      if (error < at) return text.substr(at, text.find('\n', at) - at);
    }
  }
  return {};
}

void judge(const RunSetup& setup, const Ended& ended, const std::filesystem::path& folder,
           const faults::Reported& reported, RunResult& result) {
  const auto is = [&](RunOutcome outcome, std::string why) {
    result.outcome = outcome;
    result.why = std::move(why);
  };
  if (ended.late) return is(RunOutcome::kHang, "it did not end in time");
  if (ended.signal != 0)
    return is(RunOutcome::kCrash, fmt::format("signal {} ({})", ended.signal, ::strsignal(ended.signal)));
  if (is_crash(ended.exit))
    return is(RunOutcome::kCrash, fmt::format("exit status {}: a child was ended by signal {} ({})", ended.exit,
                                              ended.exit - 128, ::strsignal(ended.exit - 128)));
  const std::string output = text_of(folder / "stdout"), error = text_of(folder / "stderr", kMostOutput, true);
  if (const std::string alarm = sanitizer_alarm(error); !alarm.empty()) return is(RunOutcome::kCrash, alarm);
  if (setup.wrong_exit && ended.exit == *setup.wrong_exit)
    return is(RunOutcome::kWrongResult, fmt::format("exit status {}", ended.exit));
  if (ended.exit == 0 && setup.expected_output && output != *setup.expected_output)
    return is(RunOutcome::kWrongResult, "exit status 0, but the output is not what was expected");
  if (ended.exit == kLeakSanitizerExit || error.find("ERROR: LeakSanitizer") != std::string::npos)
    return is(RunOutcome::kLeak, fmt::format("LeakSanitizer (exit status {})", ended.exit));
  for (const faults::Alive& alive : reported.closed)
    if (!alive.none())
      return is(RunOutcome::kLeak, fmt::format("at nrt_close {} models, {} tensors and {} tensor sets were not freed",
                                               alive.models, alive.tensors, alive.tensor_sets));
  if (ended.exit == 0) return is(RunOutcome::kPassed, "");
  const std::string status = documented_status(reported, output + "\n" + error);
  if (!status.empty()) return is(RunOutcome::kDocumented, fmt::format("{}, exit status {}", status, ended.exit));
  is(RunOutcome::kUndocumented,
     fmt::format("exit status {}, but no function returned a status that is documented for {}: {}", ended.exit,
                 reported.strikes.empty() ? "a run without a fault" : "the faults that struck", last_line(error)));
}

}  // namespace

void shorten_output(const std::filesystem::path& folder) {
  for (const char* name : {"stdout", "stderr"}) {
    const std::filesystem::path path = folder / name;
    std::error_code bad;
    const std::uintmax_t bytes = std::filesystem::file_size(path, bad);
    if (bad || bytes <= kKeptOutput) continue;
    const std::string text = fmt::format("{}\n[{} bytes left out by opennrt]\n{}", text_of(path, kKeptOutput / 2),
                                         bytes - kKeptOutput, text_of(path, kKeptOutput / 2, true));
    (void)client::write_file(path, std::as_bytes(std::span(text)));
  }
}

Status start_run(Children& children, std::uint64_t key, const RunSetup& setup, const faults::Plan& plan,
                 const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  for (const char* inside : {"runtime", "work"})
    if (const Status made = client::make_folder(folder / inside); !made) return made;
  const std::string json = faults::to_json(plan);
  if (const Status written = client::write_file(folder / "plan.json", std::as_bytes(std::span(json))); !written)
    return written;
  return children.start(key, {.command = setup.command,
                              .environment = {{"OPENNRT_FAULTS", (folder / "plan.json").string()},
                                              {"OPENNRT_FAULTS_REPORT", (folder / "report").string()},
                                              {"OPENNRT_RUNTIME_DIR", (folder / "runtime").string()}},
                              .output = folder / "stdout",
                              .error = folder / "stderr",
                              .folder = setup.in_scratch ? folder / "work" : std::filesystem::path(),
                              .limit = setup.limit});
}

Result<RunResult> judge_run(const RunSetup& setup, const Ended& ended, const std::filesystem::path& folder) {
  const auto reported = faults::read_report((folder / "report").string());
  if (!reported) return tl::unexpected<Error>(reported.error());
  RunResult result;
  result.milliseconds = ended.milliseconds;
  for (const auto& struck : reported->strikes) {
    ++result.faults[std::string(struck.rule.kind->name)];
    ++result.rules[struck.rule.name];
  }
  if (reported->strikes.empty()) result.refused = refusal(folder);
  for (const auto& returned : reported->statuses) ++result.statuses[returned.status];
  judge(setup, ended, folder, *reported, result);
  return result;
}

}  // namespace opennrt::tool
