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

namespace CLI {
class App;
}

namespace opennrt::tool {

/// Adds `faults` and its commands to the command line.
void add_faults(CLI::App& app, std::function<Status()>& action);

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

struct FaultsRecordOptions {
  std::string plan, output;
  std::vector<std::string> command;
};
/// Runs the command under the plan and writes the faults that struck as a plan that makes exactly these again.
Status faults_record(const FaultsRecordOptions& options);
/// Runs the command under a recorded plan; a failure when another fault or none struck. `output` is not used.
Status faults_replay(const FaultsRecordOptions& options);

struct CampaignOptions {
  std::string plan;
  std::uint64_t runs = 100;
  std::uint32_t jobs = 0;  ///< 0: as many as processors
  std::optional<std::uint64_t> seed;
  double timeout_s = 60;
  std::string shard = "1/1";
  bool resume = false, in_scratch = false, shrink = true;
  std::string junit, html, state = "faults-campaign";
  std::string expect_output;      ///< file
  bool same_output = false;       ///< what the command prints without faults is what it must print
  std::optional<int> wrong_exit;  ///< exit status by which the command says that its result is wrong
  std::vector<std::string> merge;
  std::vector<std::string> command;
};
Status faults_campaign(const CampaignOptions& options);

}  // namespace opennrt::tool
