// SPDX-License-Identifier: Apache-2.0
//
// `opennrt faults record` and `replay`.
#include <fmt/core.h>
#include <stdlib.h>

#include <filesystem>
#include <set>
#include <span>
#include <utility>

#include "core/faults/catalogue.h"
#include "core/faults/report.h"
#include "tools/opennrt/faults.h"
#include "tools/opennrt/faults_child.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

/// A folder that goes away with its owner.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code bad;
    const std::filesystem::path base = std::filesystem::temp_directory_path(bad);
    std::string pattern = (base / "opennrt-faults-XXXXXX").string();
    if (bad || ::mkdtemp(pattern.data()) == nullptr)
      return make_error(ErrorCode::kResource, "cannot make a folder in {}", bad ? "TMPDIR" : base.string());
    return Scratch(pattern);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

struct Recorded {
  faults::Reported reported;
  int interrupted = 0;  ///< by this signal, or 0
};

/// What struck while the command ran, as far as it came.
Result<Recorded> run_under(const faults::Plan& plan, const FaultsRecordOptions& options) {
  const auto scratch = Scratch::make();
  if (!scratch) return tl::unexpected<Error>(scratch.error());
  const std::string report = *scratch / "report";
  std::string path = options.plan;
  std::error_code bad;
  if (!std::filesystem::is_regular_file(path, bad)) {  // a pipe is read only once
    path = *scratch / "plan.json";
    const std::string text = faults::to_json(plan);
    if (const Status written = client::write_file(path, std::as_bytes(std::span(text))); !written)
      return tl::unexpected<Error>(written.error());
  }
  Children children;
  ChildOptions child{.command = options.command,
                     .environment = {{"OPENNRT_FAULTS", path}, {"OPENNRT_FAULTS_REPORT", report}},
                     .output = {},
                     .error = {},
                     .folder = {}};
  if (options.timeout_s) child.limit = std::chrono::nanoseconds(static_cast<std::int64_t>(*options.timeout_s * 1e9));
  if (const Status started = children.start(0, child); !started) return tl::unexpected<Error>(started.error());
  std::vector<Ended> ended;
  while (ended.empty() && children.interrupted() == 0) ended = children.wait();
  if (ended.empty())
    fmt::print(stderr, "opennrt: interrupted: the command was ended\n");
  else if (ended.front().late)
    fmt::print(stderr, "opennrt: the command was not done within {} s and was ended\n", *options.timeout_s);
  else if (ended.front().signal != 0)
    fmt::print(stderr, "opennrt: the command was ended by signal {}\n", ended.front().signal);
  else if (ended.front().exit != 0)
    fmt::print(stderr, "opennrt: the command ended with exit status {}\n", ended.front().exit);
  auto reported = faults::read_report(report);
  if (!reported) return tl::unexpected<Error>(reported.error());
  return Recorded{std::move(*reported), children.interrupted()};
}

const char* plural(std::size_t count) {
  return count == 1 ? "" : "s";
}

}  // namespace

Status faults_record(const FaultsRecordOptions& options, int& exit_status) {
  const auto plan = read_plan_argument(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  const auto run = run_under(*plan, options);
  if (!run) return tl::unexpected<Error>(run.error());
  if (run->interrupted != 0) exit_status = 128 + run->interrupted;
  const std::size_t strikes = run->reported.strikes.size();
  if (strikes == 0)
    return make_error(ErrorCode::kState,
                      "{}: no fault struck while the command ran, nothing is recorded (a plan that nrt_init refuses is "
                      "named in the command's log)",
                      plan->source);
  const auto recorded = faults::recorded_plan(run->reported);
  if (!recorded) return tl::unexpected<Error>(recorded.error());
  const std::string text = faults::to_json(*recorded);
  if (const Status written = client::write_file(options.output, std::as_bytes(std::span(text))); !written)
    return written;
  if (run->interrupted != 0)
    return make_error(ErrorCode::kState, "interrupted; {} has the {} fault{} until then", options.output, strikes,
                      plural(strikes));
  fmt::print("{}: {} fault{}\n", options.output, strikes, plural(strikes));
  return {};
}

Status faults_replay(const FaultsRecordOptions& options, int& exit_status) {
  const auto plan = read_plan_argument(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  std::set<std::string> expected, struck;
  if (plan->rules.empty())
    return make_error(ErrorCode::kInvalidArgument,
                      "{}: it has no rules, expected a plan that opennrt faults record wrote", plan->source);
  for (const faults::Rule& rule : plan->rules) {
    if (rule.when.nth == 0 || rule.when.every != 0 || rule.when.probability < 1)
      return make_error(ErrorCode::kInvalidArgument,
                        "{}: rules[{}] ({}) does not name one event, expected a plan that opennrt faults record wrote",
                        plan->source, rule.position, rule.name);
    expected.insert(rule.name);
  }
  const auto run = run_under(*plan, options);
  if (!run) return tl::unexpected<Error>(run.error());
  if (run->interrupted != 0) {
    exit_status = 128 + run->interrupted;
    return make_error(ErrorCode::kState, "interrupted");
  }
  for (const auto& strike : run->reported.strikes) struck.insert(strike.rule.name);
  for (const std::string& name : expected)
    if (!struck.contains(name))
      return make_error(ErrorCode::kState,
                        "{}: {} did not strike again ({} of {} did): the command did something else this time",
                        plan->source, name, struck.size(), expected.size());
  fmt::print("{}: the same {} fault{}\n", plan->source, expected.size(), plural(expected.size()));
  return {};
}

}  // namespace opennrt::tool
