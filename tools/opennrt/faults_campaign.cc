// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_campaign.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tools/opennrt/faults.h"
#include "tools/opennrt/faults_drive.h"
#include "tools/opennrt/faults_state.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

constexpr std::size_t kMaxNeverStruck = 20;  // lines about rules

/// A file that is written when all is done: what is in its way is better known before.
Status check_writable(const char* option, const std::string& path) {
  if (path.empty()) return {};
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return make_error(ErrorCode::kInvalidArgument, "{} is '{}', which is a folder, expected a file", option, path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder, ignored))
    return make_error(ErrorCode::kInvalidArgument, "{} is '{}', but there is no folder {}", option, path,
                      folder.string());
  // What is no regular file is written to, and any other is replaced by a new one in its folder.
  const bool there = std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
  const std::string changed = there ? path : folder.empty() ? "." : folder.string();
  if (::access(changed.c_str(), W_OK) != 0)
    return make_error(ErrorCode::kInvalidArgument, "{} is '{}', but {} cannot be written to", option, path, changed);
  return {};
}

Status check_reports(const CampaignOptions& options) {
  if (const Status writable = check_writable("--junit", options.junit); !writable) return writable;
  return check_writable("--html", options.html);
}

Status write_text(const std::string& path, const std::string& text) {
  return path.empty() ? Status{} : client::write_file(path, std::as_bytes(std::span(text)));
}

void print_never_struck(const Campaign& campaign, const std::vector<RunResult>& results) {
  std::size_t never = 0;
  if (results.empty()) return;
  for (const RuleCount& rule : rule_counts(campaign, results))
    if (rule.struck == 0 && ++never <= kMaxNeverStruck)
      fmt::print("rule '{}' ({}) struck 0 times\n", rule.name, rule.kind);
  if (never > kMaxNeverStruck) fmt::print("and {} more rules\n", never - kMaxNeverStruck);
}

/// The reports, and the campaign's verdict.
Status conclude(const CampaignOptions& options, const Campaign& campaign, std::vector<RunResult> results,
                const Minimal& minimal) {
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  fmt::print("{} runs: {}\n", results.size(), summary(results));
  print_never_struck(campaign, results);
  if (const Status written = write_text(options.junit, junit_page(campaign, results, minimal)); !written)
    return written;
  if (const Status written = write_text(options.html, html_page(campaign, results, minimal)); !written) return written;
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const RunResult& result) { return is_failure(result.outcome); });
  if (failed == results.end()) return {};
  return make_error(ErrorCode::kState, "run {} (seed {}): {}: {}", failed->run, failed->seed, to_text(failed->outcome),
                    failed->why);
}

Status merge(const CampaignOptions& options) {
  std::optional<CampaignState> first;
  std::map<std::uint64_t, RunResult> results;
  Minimal minimal;
  for (const std::string& folder : options.merge) {
    auto state = CampaignState::read(folder);
    if (!state) return tl::unexpected<Error>(state.error());
    if (first)
      if (const std::string other = difference(first->campaign(), state->campaign()); !other.empty())
        return make_error(ErrorCode::kInvalidArgument, "{} is of another campaign than {}: {}", folder,
                          options.merge.front(), other);
    if (first && first->expected_output() != state->expected_output())
      return make_error(ErrorCode::kInvalidArgument, "{} and {} differ: two shards expected different output",
                        (state->folder() / "expected").string(), (first->folder() / "expected").string());
    for (const RunResult& result : state->results()) results.emplace(result.run, result);
    auto small = state->minimal();
    if (!small) return tl::unexpected<Error>(small.error());
    minimal.merge(*small);
    if (!first) first.emplace(std::move(*state));
  }
  const Campaign& campaign = first->campaign();
  for (std::uint64_t run = 0; run < campaign.runs; ++run)
    if (!results.contains(run))
      return make_error(
          ErrorCode::kInvalidArgument,
          "{} of {} runs are there, run {} is the first that is missing, expected the folders of all shards",
          results.size(), campaign.runs, run);
  std::vector<RunResult> all;
  for (auto& [run, result] : results) all.push_back(std::move(result));
  return conclude(options, campaign, std::move(all), minimal);
}

Result<std::string> read_text(const std::filesystem::path& path) {
  const auto bytes = client::read_file(path);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

/// What the command prints when no fault strikes; it has to end well, and to print it each time.
Result<std::string> clean_output(CampaignDrive& drive, const std::filesystem::path& state) {
  std::optional<std::string> before;
  for (const char* name : {"clean", "clean-again"}) {
    const std::filesystem::path folder = state / name;
    const auto run = drive.once({}, folder);
    if (!run) return tl::unexpected<Error>(run.error());
    if (run->outcome != RunOutcome::kPassed)
      return make_error(
          ErrorCode::kInvalidArgument,
          "--same-output: without any fault the command's end is: {} ({}), expected one that passes; see {}",
          to_text(run->outcome), run->why, folder.string());
    auto printed = read_text(folder / "stdout");
    if (!printed) return printed;
    if (before && *before != *printed)
      return make_error(ErrorCode::kInvalidArgument,
                        "--same-output: without any fault the command prints something else each time, see {} and {}",
                        (state / "clean" / "stdout").string(), (folder / "stdout").string());
    before = std::move(*printed);
  }
  return *before;
}

/// The output that the campaign expects, if it does: as it was when the campaign began.
Result<std::optional<std::string>> expected_output(const CampaignOptions& options, CampaignDrive& drive,
                                                   CampaignState& state) {
  if (!options.same_output && options.expect_output.empty()) return std::optional<std::string>();
  const std::optional<std::string>& began = state.expected_output();
  if (options.same_output && began) return began;
  auto expected = options.same_output ? clean_output(drive, state.folder()) : read_text(options.expect_output);
  if (!expected) return tl::unexpected<Error>(expected.error());
  if (began && *began != *expected)
    return make_error(ErrorCode::kInvalidArgument, "{} is of another campaign: --expect-output {} has changed since",
                      state.folder().string(), options.expect_output);
  if (const Status kept = state.expect_output(*expected); !kept) return tl::unexpected<Error>(kept.error());
  return *expected;
}

Campaign campaign_of(const CampaignOptions& options, const faults::Plan& plan) {
  return {.plan = faults::to_json(plan),
          .seed = options.seed.value_or(plan.seed),
          .runs = options.runs,
          .command = options.command,
          .timeout_s = options.timeout_s,
          .in_scratch = options.in_scratch,
          .same_output = options.same_output,
          .expect_output = !options.expect_output.empty(),
          .wrong_exit = options.wrong_exit,
          .shard = fmt::format("{}/{}", options.shard, options.shards)};
}

/// A path that is said from here is not the same in another folder.
std::vector<std::string> from_anywhere(std::vector<std::string> command) {
  std::error_code bad;
  if (command.front().find('/') != std::string::npos)
    if (const auto absolute = std::filesystem::absolute(command.front(), bad); !bad) command.front() = absolute;
  return command;
}

}  // namespace

Status faults_campaign(const CampaignOptions& options, int& exit_status) {
  if (const Status writable = check_reports(options); !writable) return writable;
  if (!options.merge.empty()) return merge(options);
  const auto plan = read_plan_argument(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  print_doubts(*plan);
  const Campaign campaign = campaign_of(options, *plan);
  std::error_code bad;
  const std::filesystem::path folder = std::filesystem::absolute(options.state, bad);
  if (bad) return make_error(ErrorCode::kInvalidArgument, "--state is '{}': {}", options.state, bad.message());
  auto state = CampaignState::open(folder, campaign, options.resume);
  if (!state) return tl::unexpected<Error>(state.error());
  RunSetup setup{from_anywhere(options.command),
                 std::chrono::nanoseconds(static_cast<std::int64_t>(options.timeout_s * 1e9)), options.in_scratch,
                 std::nullopt, options.wrong_exit};
  CampaignDrive drive(setup, *plan, *state);
  const auto work = [&]() -> Status {
    auto expected = expected_output(options, drive, *state);
    if (!expected) return tl::unexpected<Error>(expected.error());
    setup.expected_output = std::move(*expected);
    const std::size_t jobs = options.jobs != 0 ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
    if (const Status done = drive.runs(options.shard, options.shards, jobs); !done) return done;
    return options.no_shrink ? Status{} : drive.shrink_failures();
  };
  const Status done = work();
  if (!done && drive.interrupted() == 0) return done;
  const auto minimal = state->minimal();
  if (!minimal) return tl::unexpected<Error>(minimal.error());
  const Status verdict = conclude(options, campaign, state->results(), *minimal);
  if (done) {
    const Status kept = state->keep_counts(rule_counts(campaign, state->results()));
    return kept ? verdict : kept;
  }
  exit_status = 128 + drive.interrupted();
  return done;
}

}  // namespace opennrt::tool
