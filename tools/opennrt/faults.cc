// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults.h"

#include <fmt/core.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/faults/catalogue.h"
#include "core/faults/describe.h"
#include "core/faults/doubts.h"
#include "core/faults/names.h"

namespace opennrt::tool {
namespace {

constexpr std::size_t kMaxPlanBytes = 64u << 20;

bool can_have(const faults::Kind& kind, const std::string& backend) {
  faults::Rule rule;
  rule.kind = &kind;
  faults::Plan plan;
  plan.rules.push_back(rule);
  return backend.empty() || faults::check_for_backend(plan, backend).has_value();
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

Result<faults::Plan> read_plan_argument(const std::string& argument) {
  const std::size_t begin = argument.find_first_not_of(" \t\r\n");
  if (begin != std::string::npos && argument[begin] == '{') return faults::parse_plan(argument, "the plan");
  const auto refuse = [&](const std::string& why) {
    return make_error(ErrorCode::kInvalidArgument, "cannot read the plan {}: {}", argument, why);
  };
  std::error_code bad;
  if (std::filesystem::is_directory(argument, bad)) return refuse("it is a folder, expected a file");
  std::ifstream file(argument, std::ios::binary);  // a pipe, too
  if (!file) return refuse(std::generic_category().message(errno));
  std::string text;
  for (char part[65536]; file.read(part, sizeof(part)) || file.gcount() > 0;) {
    text.append(part, static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMaxPlanBytes) return refuse(fmt::format("it has more than {} bytes", kMaxPlanBytes));
  }
  if (file.bad()) return refuse(std::generic_category().message(errno));
  return faults::parse_plan(text, argument);
}

void print_doubts(const faults::Plan& plan) {
  for (const std::string& doubt : faults::doubts(plan)) fmt::print(stderr, "opennrt: warning: {}\n", doubt);
}

Status faults_check(const FaultsCheckOptions& options) {
  const auto plan = read_plan_argument(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  if (!options.backend.empty())
    if (const Status possible = faults::check_for_backend(*plan, options.backend); !possible) return possible;
  print_doubts(*plan);
  fmt::print("{}: {} rule{}, seed {}\n", plan->source, plan->rules.size(), plan->rules.size() == 1 ? "" : "s",
             plan->seed);
  return {};
}

}  // namespace opennrt::tool
