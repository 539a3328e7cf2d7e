// SPDX-License-Identifier: Apache-2.0
//
// A campaign: a user's program many times under a plan with another seed each time. What one run needs, how it ended and what is
// kept of it. faults_campaign.cc is the command, faults_drive.cc does the runs, faults_shrink.cc makes failing plans small and
// faults_pages.cc writes the reports.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/faults/plan.h"
#include "core/faults/report.h"
#include "tools/opennrt/faults_child.h"

namespace opennrt::tool {

/// How a run ended; docs/fault-injection.md says when it is which. The first two are as they should be.
enum class RunOutcome { kPassed, kDocumented, kUndocumented, kWrongResult, kCrash, kHang, kLeak };
inline constexpr std::array kRunOutcomes = {
    "passed", "documented error", "undocumented error", "wrong result", "crash", "hang", "leak"};
constexpr bool is_failure(RunOutcome outcome) {
  return outcome != RunOutcome::kPassed && outcome != RunOutcome::kDocumented;
}
inline const char* to_text(RunOutcome outcome) {
  return kRunOutcomes[static_cast<std::size_t>(outcome)];
}

struct RunResult {
  std::uint64_t run = 0, seed = 0;
  RunOutcome outcome = RunOutcome::kPassed;
  std::string why;                                ///< a sentence
  std::map<std::string, std::uint64_t> faults;    ///< how often each kind struck
  std::map<std::string, std::uint64_t> rules;     ///< how often each rule struck
  std::map<std::string, std::uint64_t> statuses;  ///< what functions of the C API returned, beside NRT_SUCCESS
  double milliseconds = 0;
  std::string refused;  ///< the message, when nrt_init refused the plan and nothing was tried; not kept
};

/// What all runs of a campaign have in common.
struct RunSetup {
  std::vector<std::string> command;
  std::chrono::nanoseconds limit{};
  bool in_scratch = false;
  std::optional<std::string> expected_output;
  std::optional<int> wrong_exit;
};

/// Starts the command under a plan, with `folder` (made anew) for its output, its runtime folder and its report.
Status start_run(Children& children, std::uint64_t key, const RunSetup& setup, const faults::Plan& plan,
                 const std::filesystem::path& folder);
/// What such a run was, from how it ended and what it left in its folder.
Result<RunResult> judge_run(const RunSetup& setup, const Ended& ended, const std::filesystem::path& folder);

/// Leaves the beginning and the end of what such a run printed, 1 MiB of each stream.
void shorten_output(const std::filesystem::path& folder);

/// The plan with each rule's name written out, so that what is drawn for a rule stays when others go.
void name_rules(faults::Plan& plan);

/// A plan as small as possible under which `fails` still holds, which it does for `plan`; at most `attempts` tries.
Result<faults::Plan> shrink(faults::Plan plan, const std::function<Result<bool>(const faults::Plan&)>& fails,
                            std::uint32_t attempts);

/// A campaign's description: what it does and when a run of it fails.
struct Campaign {
  std::string plan;  ///< as JSON
  std::uint64_t seed = 0, runs = 0;
  std::vector<std::string> command;
  double timeout_s = 60;
  bool in_scratch = false, same_output = false, expect_output = false;
  std::optional<int> wrong_exit;
  std::string shard = "1/1";
};

/// A failing plan made small: the run it came from and the plan's JSON.
using Minimal = std::map<std::uint64_t, std::string>;

/// How often each rule of the campaign's plan struck, in the plan's order.
struct RuleCount {
  std::string name, kind;
  std::uint64_t struck = 0;
};
std::vector<RuleCount> rule_counts(const Campaign& campaign, const std::vector<RunResult>& results);

/// `results` in the order of their runs.
std::string junit_page(const Campaign& campaign, const std::vector<RunResult>& results, const Minimal& minimal);
std::string html_page(const Campaign& campaign, const std::vector<RunResult>& results, const Minimal& minimal);

/// "9 passed, 1 crash".
std::string summary(const std::vector<RunResult>& results);

/// Whether a plan in JSON has no rules: what it made small from happens without any fault.
bool is_empty_plan(const std::string& plan);

}  // namespace opennrt::tool
