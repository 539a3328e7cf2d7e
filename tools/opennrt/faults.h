// SPDX-License-Identifier: Apache-2.0
//
// The commands of `opennrt faults`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/faults/plan.h"

namespace CLI {
class App;
}

namespace opennrt::tool {

/// Adds `faults` and its commands to the command line. `exit_status` is set when one fails with another exit status than 1.
void add_faults(CLI::App& app, std::function<Status()>& action, int& exit_status);

struct FaultsListOptions {
  std::string backend;  ///< empty: every kind
  bool json = false;
};
Status faults_list(const FaultsListOptions& options);
Status faults_explain(const std::string& kind);
Status faults_schema();

struct FaultsCheckOptions {
  std::string plan, backend;  ///< backend empty: only the plan itself
};
Status faults_check(const FaultsCheckOptions& options);

/// The plan of a command line: a file, a pipe, or the JSON itself.
Result<faults::Plan> read_plan_argument(const std::string& argument);

/// On standard error: what is strange about a plan that is valid.
void print_doubts(const faults::Plan& plan);

struct FaultsRecordOptions {
  std::string plan, output;
  std::optional<double> timeout_s;
  std::vector<std::string> command;
};
/// Runs the command under the plan and writes the faults that struck as a plan that makes exactly these again. A command that was
/// interrupted or had no time left is recorded as far as it came. `exit_status`: 128 + the signal that interrupted it.
Status faults_record(const FaultsRecordOptions& options, int& exit_status);
/// Runs the command under a recorded plan; a failure unless each of its faults strikes. `output` is not used.
Status faults_replay(const FaultsRecordOptions& options, int& exit_status);

struct CampaignOptions {
  std::string plan;
  std::uint64_t runs = 100;
  std::uint32_t jobs = 0;  ///< 0: as many as processors
  std::optional<std::uint64_t> seed;
  double timeout_s = 60;
  std::uint64_t shard = 1, shards = 1;  ///< this one, from 1, of so many
  bool resume = false, in_scratch = false, no_shrink = false;
  std::string junit, html, state = "faults-campaign";
  std::string expect_output;      ///< file
  bool same_output = false;       ///< what the command prints without faults is what it must print
  std::optional<int> wrong_exit;  ///< exit status by which the command says that its result is wrong
  std::vector<std::string> merge;
  std::vector<std::string> command;
};
/// `exit_status`: 128 + the signal that interrupted it.
Status faults_campaign(const CampaignOptions& options, int& exit_status);

}  // namespace opennrt::tool
