// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_state.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
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

/// JSON has no texts but UTF-8; an argument may be anything.
ordered_json as_json(const std::string& word) {
  try {
    ordered_json text = word;
    (void)text.dump();
    return text;
  } catch (const nlohmann::json::type_error&) {
    std::string hex;
    for (const char c : word) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return {{"hex", hex}};
  }
}

std::string word_of(const ordered_json& json) {
  if (json.is_string()) return json.get<std::string>();
  const std::string hex = json.at("hex").get<std::string>();
  std::string word;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + at, hex.data() + at + 2, value, 16);
    word += static_cast<char>(value);
  }
  return word;
}

ordered_json as_json(const Campaign& campaign) {
  ordered_json command = ordered_json::array();
  for (const std::string& word : campaign.command) command.push_back(as_json(word));
  return {{"version", 2},
          {"seed", campaign.seed},
          {"runs", campaign.runs},
          {"shard", campaign.shard},
          {"command", std::move(command)},
          {"timeout_s", campaign.timeout_s},
          {"in_scratch", campaign.in_scratch},
          {"same_output", campaign.same_output},
          {"expect_output", campaign.expect_output},
          {"wrong_exit", campaign.wrong_exit ? ordered_json(*campaign.wrong_exit) : ordered_json(nullptr)},
          {"plan", campaign.plan}};
}

Campaign campaign_of(const ordered_json& json) {
  Campaign campaign;
  campaign.seed = json.at("seed").get<std::uint64_t>();
  campaign.runs = json.at("runs").get<std::uint64_t>();
  campaign.shard = json.at("shard").get<std::string>();
  for (const ordered_json& word : json.at("command")) campaign.command.push_back(word_of(word));
  campaign.timeout_s = json.at("timeout_s").get<double>();
  campaign.in_scratch = json.at("in_scratch").get<bool>();
  campaign.same_output = json.at("same_output").get<bool>();
  campaign.expect_output = json.at("expect_output").get<bool>();
  if (const ordered_json& exit = json.at("wrong_exit"); !exit.is_null()) campaign.wrong_exit = exit.get<int>();
  campaign.plan = json.at("plan").get<std::string>();
  return campaign;
}

ordered_json as_json(const RunResult& result) {
  return {{"run", result.run},
          {"seed", result.seed},
          {"outcome", to_text(result.outcome)},
          {"why", result.why},
          {"faults", result.faults},
          {"rules", result.rules},
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
  result.rules = json.at("rules").get<decltype(result.rules)>();
  result.statuses = json.at("statuses").get<decltype(result.statuses)>();
  result.milliseconds = json.at("milliseconds").get<double>();
  return result;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Status write_campaign(const std::filesystem::path& folder, const ordered_json& json) {
  const std::string text = dump(json, 2);
  return client::write_file(folder / "campaign.json", std::as_bytes(std::span(text)));
}

}  // namespace

std::string difference(const Campaign& before, const Campaign& now) {
  const auto differs = [](const char* what, const auto& is, const auto& was) {
    return is == was ? std::string() : fmt::format("{} is {}, there it is {}", what, is, was);
  };
  const auto exit_of = [](const Campaign& campaign) {
    return campaign.wrong_exit ? fmt::format("{}", *campaign.wrong_exit) : std::string("not given");
  };
  const auto given = [](bool is) { return is ? "given" : "not given"; };
  if (now.plan != before.plan) return "the plan is not the same";
  if (now.command != before.command) return "the command is not the same";
  for (std::string text : {differs("--seed", now.seed, before.seed), differs("--runs", now.runs, before.runs),
                           differs("--timeout", now.timeout_s, before.timeout_s),
                           differs("--in-scratch", given(now.in_scratch), given(before.in_scratch)),
                           differs("--same-output", given(now.same_output), given(before.same_output)),
                           differs("--expect-output", given(now.expect_output), given(before.expect_output)),
                           differs("--wrong-exit", exit_of(now), exit_of(before))})
    if (!text.empty()) return text;
  return {};
}

Result<CampaignState> CampaignState::read(const std::filesystem::path& folder) {
  CampaignState state;
  state.folder_ = folder;
  std::error_code bad;
  if (!std::filesystem::is_directory(folder, bad))
    return make_error(ErrorCode::kInvalidArgument, "there is no folder {}", folder.string());
  if (!std::filesystem::exists(folder / "campaign.json", bad))
    return make_error(ErrorCode::kInvalidArgument, "{} is no campaign's folder: it has no campaign.json",
                      folder.string());
  std::size_t number = 0;
  try {
    state.campaign_ = campaign_of(ordered_json::parse(text_of(folder / "campaign.json")));
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
  if (std::filesystem::exists(folder / "expected", bad)) state.expected_ = text_of(folder / "expected");
  return state;
}

Status CampaignState::lock() {
  const std::filesystem::path results = folder_ / "results.jsonl";
  descriptor_ = ::open(results.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", results.string(),
                      std::generic_category().message(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK)
    return make_error(ErrorCode::kState, "another `opennrt faults campaign` is at work in {}", folder_.string());
  // Some file systems of clusters have no locks.
  fmt::print(stderr, "opennrt: {} cannot be locked ({}): see that no other campaign uses this folder\n",
             results.string(), std::generic_category().message(errno));
  return {};
}

Result<CampaignState> CampaignState::open(const std::filesystem::path& folder, const Campaign& campaign, bool resume) {
  if (const Status made = client::make_folder(folder); !made) return tl::unexpected<Error>(made.error());
  CampaignState lock;
  lock.folder_ = folder;
  if (const Status locked = lock.lock(); !locked) return tl::unexpected<Error>(locked.error());
  const std::filesystem::path results = folder / "results.jsonl";
  // A line that was cut short would swallow the next one.
  const std::string text = text_of(results);
  const std::size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole != text.size() && ::ftruncate(lock.descriptor_, static_cast<off_t>(whole)) != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot shorten {}: {}", results.string(),
                      std::generic_category().message(errno));
  if (whole == 0) {
    std::error_code ignored;
    std::filesystem::remove(folder / "expected", ignored);
    if (const Status written = write_campaign(folder, as_json(campaign)); !written)
      return tl::unexpected<Error>(written.error());
  } else if (!resume) {
    return make_error(ErrorCode::kInvalidArgument,
                      "{} has a campaign already: --resume goes on with it, --state names another folder",
                      folder.string());
  }
  auto state = read(folder);
  if (!state) return state;
  std::string other = difference(state->campaign_, campaign);
  if (other.empty() && state->campaign_.shard != campaign.shard)
    other = fmt::format("--shard is {}, there it is {}", campaign.shard, state->campaign_.shard);
  if (!other.empty())
    return make_error(ErrorCode::kInvalidArgument, "{} is of another campaign: {}; expected the same to resume it",
                      folder.string(), other);
  state->descriptor_ = std::exchange(lock.descriptor_, -1);
  return state;
}

CampaignState::CampaignState(CampaignState&& other) noexcept
    : folder_(std::move(other.folder_)),
      campaign_(std::move(other.campaign_)),
      results_(std::move(other.results_)),
      expected_(std::move(other.expected_)),
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

Status CampaignState::expect_output(const std::string& text) {
  expected_ = text;
  return client::write_file(folder_ / "expected", std::as_bytes(std::span(text)));
}

Status CampaignState::keep_counts(const std::vector<RuleCount>& counts) const {
  ordered_json campaign = as_json(campaign_), struck = ordered_json::object();
  for (const RuleCount& rule : counts) struck[rule.name] = rule.struck;
  campaign["struck"] = std::move(struck);
  return write_campaign(folder_, campaign);
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
