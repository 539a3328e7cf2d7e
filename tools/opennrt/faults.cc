// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults.h"

#include <fmt/core.h>

#include <cstdlib>
#include <set>
#include <utility>

#include "core/faults/catalogue.h"
#include "core/faults/describe.h"
#include "core/faults/names.h"
#include "core/faults/report.h"
#include "tools/opennrt/faults_child.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

bool can_have(const faults::Kind& kind, const std::string& backend) {
  faults::Rule rule;
  rule.kind = &kind;
  faults::Plan plan;
  plan.rules.push_back(rule);
  return backend.empty() || faults::check_for_backend(plan, backend).has_value();
}

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

/// What struck while the command ran.
Result<faults::Reported> run_under(const std::string& plan, const std::vector<std::string>& command) {
  const auto scratch = Scratch::make();
  if (!scratch) return tl::unexpected<Error>(scratch.error());
  const std::string report = *scratch / "report";
  const auto ended = run_child({.command = command,
                                .environment = {{"OPENNRT_FAULTS", plan}, {"OPENNRT_FAULTS_REPORT", report}},
                                .output = {},
                                .error = {},
                                .folder = {}});
  if (!ended) return tl::unexpected<Error>(ended.error());
  if (ended->signal != 0)
    fmt::print(stderr, "opennrt: the command was ended by signal {}\n", ended->signal);
  else if (ended->exit != 0)
    fmt::print(stderr, "opennrt: the command ended with exit status {}\n", ended->exit);
  return faults::read_report(report);
}

}  // namespace

Status faults_list(const FaultsListOptions& options) {
  if (options.json) {
    fmt::print("{}", faults::list_json([&](const faults::Kind& kind) { return can_have(kind, options.backend); }));
    return {};
  }
  for (const faults::Kind& kind : faults::kinds())
    if (can_have(kind, options.backend))
      fmt::print("{:<28} {:<11} {}\n", kind.name, faults::to_text(kind.level), kind.what);
  return {};
}

Status faults_explain(const std::string& name) {
  const faults::Kind* kind = faults::find_kind(name);
  if (kind == nullptr) {
    std::vector<std::string_view> names;
    for (const faults::Kind& known : faults::kinds()) names.push_back(known.name);
    const std::string_view near = faults::nearest(name, names);
    return make_error(ErrorCode::kInvalidArgument, "there is no fault '{}', {}", name,
                      near.empty() ? "see opennrt faults list" : fmt::format("is {} meant?", near));
  }
  fmt::print("{}", faults::explain(*kind));
  return {};
}

Status faults_schema() {
  fmt::print("{}", faults::schema());
  return {};
}

Status faults_check(const FaultsCheckOptions& options) {
  const auto plan = faults::read_plan(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  if (!options.backend.empty())
    if (const Status possible = faults::check_for_backend(*plan, options.backend); !possible) return possible;
  fmt::print("{}: {} rule{}, seed {}\n", plan->source, plan->rules.size(), plan->rules.size() == 1 ? "" : "s",
             plan->seed);
  return {};
}

Status faults_record(const FaultsRecordOptions& options) {
  const auto plan = faults::read_plan(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  const auto reported = run_under(options.plan, options.command);
  if (!reported) return tl::unexpected<Error>(reported.error());
  const auto recorded = faults::recorded_plan(*reported);
  if (!recorded) return tl::unexpected<Error>(recorded.error());
  const std::string text = faults::to_json(*recorded);
  if (const Status written = client::write_file(options.output, std::as_bytes(std::span(text))); !written)
    return written;
  fmt::print("{}: {} fault{}\n", options.output, reported->strikes.size(), reported->strikes.size() == 1 ? "" : "s");
  return {};
}

Status faults_replay(const FaultsRecordOptions& options) {
  const auto plan = faults::read_plan(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  std::set<std::string> expected, struck;
  for (const faults::Rule& rule : plan->rules) {
    if (rule.when.nth == 0 || rule.when.every != 0 || rule.when.probability < 1)
      return make_error(ErrorCode::kInvalidArgument,
                        "{}: rules[{}] ({}) does not name one event, expected a plan that opennrt faults record wrote",
                        plan->source, rule.position, rule.name);
    expected.insert(rule.name);
  }
  const auto reported = run_under(options.plan, options.command);
  if (!reported) return tl::unexpected<Error>(reported.error());
  for (const auto& strike : reported->strikes) struck.insert(strike.rule.name);
  for (const std::string& name : expected)
    if (!struck.contains(name))
      return make_error(ErrorCode::kState,
                        "{}: {} did not strike again ({} of {} did): the command did something else this time",
                        plan->source, name, struck.size(), expected.size());
  fmt::print("{}: the same {} fault{}\n", plan->source, expected.size(), expected.size() == 1 ? "" : "s");
  return {};
}

}  // namespace opennrt::tool
