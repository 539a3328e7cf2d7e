// SPDX-License-Identifier: Apache-2.0
//
// Campaigns over shell scripts that stand for a user's program.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/unit/tools/fixture.h"

namespace opennrt::test {

inline constexpr const char* kPlan = R"({"version": 1, "seed": 10, "rules": [
  {"name": "slow", "fault": "fd_latency", "when": {"probability": 0.5}, "times": 0},
  {"name": "busy", "fault": "drv_error", "where": {"operation": "mem_alloc"}, "when": {"probability": 0.5}, "detail": {"errno": "EBUSY"}},
  {"name": "abort", "fault": "dma_abort", "when": {"probability": 0.5, "after_us": 2}},
  {"name": "hang", "fault": "engine_hang", "where": {"engine": "pe"}}]})";

/// What every script begins with: the seed that it was given, and words to report as libnrt does.
inline constexpr const char* kPrelude = R"(seed=$(sed -n 's/^ *"seed": \([0-9]*\),$/\1/p' "$OPENNRT_FAULTS")
say() { printf '{"pid":%d,"process":"client",%s}\n' $$ "$1" >> "$OPENNRT_FAULTS_REPORT"; }
strike() { say "\"strike\":{\"rule\":{\"name\":\"$1\",\"fault\":\"$1\"},\"event\":1,\"device\":0,\"core\":0,\"function\":\"\",\"now_ns\":0}"; }
status() { say "\"status\":{\"function\":\"nrt_execute\",\"status\":\"$1\"}"; }
closed() { say "\"closed\":{\"models\":$1,\"tensors\":$2,\"tensor_sets\":0}"; }
has() { grep -q "\"fault\": \"$1\"" "$OPENNRT_FAULTS"; }
)";

class CampaignTest : public Tool {
 protected:
  std::string script(const std::string& body) const {
    write_text(folder_ / "client.sh", kPrelude + body);
    return (folder_ / "client.sh").string();
  }

  /// Runs a campaign with its state in `state`.
  Outcome campaign(const std::string& state, std::vector<std::string> options, const std::string& client,
                   const std::string& jobs = "4") const {
    write_text(folder_ / "plan.json", kPlan);
    std::vector<std::string> all{
        "faults", "campaign", "--plan", (folder_ / "plan.json").string(), "--state", (folder_ / state).string(),
        "--jobs", jobs};
    all.insert(all.end(), options.begin(), options.end());
    for (const std::string& word : {std::string("--"), std::string("sh"), client}) all.push_back(word);
    return opennrt(all);
  }

  /// Outcomes by run, as the state has them.
  std::map<std::uint64_t, std::string> outcomes(const std::string& state) const {
    std::map<std::uint64_t, std::string> found;
    std::istringstream lines(read_text(folder_ / state / "results.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json result = nlohmann::json::parse(line);
      EXPECT_TRUE(found.emplace(result.at("run"), result.at("outcome")).second) << "run twice: " << line;
    }
    return found;
  }
};

}  // namespace opennrt::test
