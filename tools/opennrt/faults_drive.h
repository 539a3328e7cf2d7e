// SPDX-License-Identifier: Apache-2.0
//
// The runs of a campaign: those that are still to do, and those by which failing plans are made small.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tools/opennrt/faults_campaign.h"
#include "tools/opennrt/faults_state.h"

namespace opennrt::tool {

class CampaignDrive {
 public:
  /// All live longer than this. `plan`: its seed is not used.
  CampaignDrive(const RunSetup& setup, const faults::Plan& plan, CampaignState& state)
      : setup_(setup), plan_(plan), state_(state) {}

  /// Does the runs of a shard that are not done, `jobs` at a time. kInvalidArgument: nrt_init refuses the plan; kState: interrupted.
  Status runs(std::uint64_t shard, std::uint64_t shards, std::size_t jobs);
  /// For the first failing run of each outcome: a plan as small as possible. kState: interrupted.
  Status shrink_failures();
  /// One run under a plan. kState: interrupted.
  Result<RunResult> once(const faults::Plan& plan, const std::filesystem::path& folder);
  /// The signal that interrupted us, or 0.
  int interrupted() const { return children_.interrupted(); }

 private:
  Status finished(const Ended& ended);

  const RunSetup& setup_;
  const faults::Plan& plan_;
  CampaignState& state_;
  Children children_;
  std::size_t kept_ = 0;  ///< folders of failing runs
};

}  // namespace opennrt::tool
