// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

using nlohmann::ordered_json;

std::string dump(const ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json as_json(const Campaign& campaign) {
  return {{"version", 1},
          {"seed", campaign.seed},
          {"runs", campaign.runs},
          {"command", campaign.command},
          {"plan", campaign.plan}};
}

ordered_json as_json(const RunResult& result) {
  return {{"run", result.run},
          {"seed", result.seed},
          {"outcome", to_text(result.outcome)},
          {"why", result.why},
          {"faults", result.faults},
          {"statuses", result.statuses},
          {"milliseconds", result.milliseconds}};
}

RunResult result_of(const ordered_json& json) {
  RunResult result;
  result.run = json.at("run").get<std::uint64_t>();
  result.seed = json.at("seed").get<std::uint64_t>();
  const std::string outcome = json.at("outcome").get<std::string>();
  const auto known = std::find(kRunOutcomes.begin(), kRunOutcomes.end(), outcome);
  if (known == kRunOutcomes.end()) throw ordered_json::other_error::create(501, "no outcome: " + outcome, nullptr);
  result.outcome = static_cast<RunOutcome>(known - kRunOutcomes.begin());
  result.why = json.at("why").get<std::string>();
  result.faults = json.at("faults").get<decltype(result.faults)>();
  result.statuses = json.at("statuses").get<decltype(result.statuses)>();
  result.milliseconds = json.at("milliseconds").get<double>();
  return result;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

Result<CampaignState> CampaignState::read(const std::filesystem::path& folder) {
  CampaignState state;
  state.folder_ = folder;
  std::size_t number = 0;
  try {
    const ordered_json campaign = ordered_json::parse(text_of(folder / "campaign.json"));
    state.campaign_ = {campaign.at("plan").get<std::string>(), campaign.at("seed").get<std::uint64_t>(),
                       campaign.at("runs").get<std::uint64_t>(),
                       campaign.at("command").get<std::vector<std::string>>()};
    std::ifstream file(folder / "results.jsonl", std::ios::binary);
    for (std::string line; std::getline(file, line) && !file.eof();) {
      ++number;
      state.results_.push_back(result_of(ordered_json::parse(line)));
    }
  } catch (const nlohmann::json::exception& why) {
    return make_error(ErrorCode::kInvalidFile, "{}: not a campaign's: {}",
                      number == 0 ? (folder / "campaign.json").string()
                                  : fmt::format("{}:{}", (folder / "results.jsonl").string(), number),
                      why.what());
  }
  return state;
}

Result<CampaignState> CampaignState::open(const std::filesystem::path& folder, const Campaign& campaign, bool resume) {
  const bool there = std::filesystem::exists(folder / "campaign.json");
  if (there && !resume)
    return make_error(ErrorCode::kInvalidArgument,
                      "{} has a campaign already: --resume goes on with it, --state names another folder",
                      folder.string());
  if (const Status made = client::make_folder(folder); !made) return tl::unexpected<Error>(made.error());
  if (!there) {
    const std::string text = dump(as_json(campaign), 2);
    if (const Status written = client::write_file(folder / "campaign.json", std::as_bytes(std::span(text))); !written)
      return tl::unexpected<Error>(written.error());
  }
  auto state = read(folder);
  if (!state) return state;
  if (!(state->campaign_ == campaign))
    return make_error(ErrorCode::kInvalidArgument,
                      "{} is of another campaign (plan, seed, runs or command differ), expected the same to resume it",
                      folder.string());
  const std::filesystem::path results = folder / "results.jsonl";
  state->descriptor_ = ::open(results.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (state->descriptor_ < 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", results.string(),
                      std::generic_category().message(errno));
  // A line that was cut short would swallow the next one.
  const std::string text = text_of(results);
  const std::size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole != text.size() && ::ftruncate(state->descriptor_, static_cast<off_t>(whole)) != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot shorten {}: {}", results.string(),
                      std::generic_category().message(errno));
  return state;
}

CampaignState::CampaignState(CampaignState&& other) noexcept
    : folder_(std::move(other.folder_)),
      campaign_(std::move(other.campaign_)),
      results_(std::move(other.results_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

CampaignState::~CampaignState() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status CampaignState::add(const RunResult& result) {
  const std::string line = dump(as_json(result));
  if (::write(descriptor_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return make_error(ErrorCode::kResource, "cannot write {}: {}", (folder_ / "results.jsonl").string(),
                      std::generic_category().message(errno));
  results_.push_back(result);
  return {};
}

Status CampaignState::keep_minimal(std::uint64_t run, const std::string& plan) const {
  return client::write_file(folder_ / fmt::format("minimal-{}.json", run), std::as_bytes(std::span(plan)));
}

Result<Minimal> CampaignState::minimal() const {
  Minimal found;
  std::error_code bad;
  for (std::filesystem::directory_iterator entry(folder_, bad), end; !bad && entry != end; entry.increment(bad)) {
    const std::string name = entry->path().filename().string();
    std::uint64_t run = 0;
    if (name.rfind("minimal-", 0) != 0 || entry->path().extension() != ".json") continue;
    const char* begin = name.data() + std::string("minimal-").size();
    if (std::from_chars(begin, name.data() + name.size(), run).ec == std::errc{}) found[run] = text_of(entry->path());
  }
  if (bad) return make_error(ErrorCode::kInvalidArgument, "cannot read {}: {}", folder_.string(), bad.message());
  return found;
}

}  // namespace opennrt::tool
