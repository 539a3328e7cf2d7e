// SPDX-License-Identifier: Apache-2.0
//
// The folder of a campaign: campaign.json says what it is, results.jsonl has a line for each run that is done. Lines are
// appended one write(2) each, so that an interrupted campaign loses at most the runs that were under way.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/opennrt/faults_campaign.h"

namespace opennrt::tool {

class CampaignState {
 public:
  /// A folder for a campaign that begins (`resume` false: kInvalidArgument when one is there already) or goes on (kInvalidArgument
  /// when it was another campaign).
  static Result<CampaignState> open(const std::filesystem::path& folder, const Campaign& campaign, bool resume);
  /// A folder to read only. kInvalidFile when it is none.
  static Result<CampaignState> read(const std::filesystem::path& folder);
  CampaignState(CampaignState&& other) noexcept;
  CampaignState& operator=(CampaignState&&) = delete;
  ~CampaignState();

  const Campaign& campaign() const { return campaign_; }
  const std::vector<RunResult>& results() const { return results_; }
  Status add(const RunResult& result);
  /// Minimal plans: minimal-<run>.json.
  Status keep_minimal(std::uint64_t run, const std::string& plan) const;
  Result<Minimal> minimal() const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  CampaignState() = default;
  std::filesystem::path folder_;
  Campaign campaign_;
  std::vector<RunResult> results_;
  int descriptor_ = -1;
};

}  // namespace opennrt::tool
