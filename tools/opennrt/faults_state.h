// SPDX-License-Identifier: Apache-2.0
//
// The folder of a campaign: campaign.json says what it is, results.jsonl has a line for each run that is done, `expected` is the
// output that it expects. Lines are appended one write(2) each, so that an interrupted campaign loses at most the runs that were
// under way. Whoever appends holds a lock (flock(2)) on results.jsonl.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/opennrt/faults_campaign.h"

namespace opennrt::tool {

/// What makes `now` another campaign than `before`, for a message: "--runs is 5, there it was 3"; empty: nothing but the shard.
std::string difference(const Campaign& before, const Campaign& now);

class CampaignState {
 public:
  /// A folder for a campaign that begins (`resume` false: kInvalidArgument when one is there already) or goes on (kInvalidArgument
  /// when it was another campaign or shard). One without any results is replaced. kState: somebody else is at work in it.
  static Result<CampaignState> open(const std::filesystem::path& folder, const Campaign& campaign, bool resume);
  /// A folder to read only. kInvalidFile when it is none.
  static Result<CampaignState> read(const std::filesystem::path& folder);
  CampaignState(CampaignState&& other) noexcept;
  CampaignState& operator=(CampaignState&&) = delete;
  ~CampaignState();

  const Campaign& campaign() const { return campaign_; }
  const std::vector<RunResult>& results() const { return results_; }
  const std::optional<std::string>& expected_output() const { return expected_; }
  Status add(const RunResult& result);
  Status expect_output(const std::string& text);
  /// For readers of campaign.json.
  Status keep_counts(const std::vector<RuleCount>& counts) const;
  /// Minimal plans: minimal-<run>.json.
  Status keep_minimal(std::uint64_t run, const std::string& plan) const;
  Result<Minimal> minimal() const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  CampaignState() = default;
  Status lock();
  std::filesystem::path folder_;
  Campaign campaign_;
  std::vector<RunResult> results_;
  std::optional<std::string> expected_;
  int descriptor_ = -1;
};

}  // namespace opennrt::tool
