// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_campaign.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <thread>

#include "core/faults/catalogue.h"
#include "tools/opennrt/faults.h"
#include "tools/opennrt/faults_state.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kShrinkAttempts = 200;
constexpr std::size_t kMaxKept = 100;  // folders of failing runs
constexpr auto kRedraw = std::chrono::milliseconds(200);

struct Shard {
  std::uint64_t index = 1, count = 1;  ///< from 1
};

Result<Shard> parse_shard(const std::string& text) {
  Shard shard;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard.index);
  const bool slash = first.ec == std::errc{} && first.ptr != end && *first.ptr == '/';
  const auto second = slash ? std::from_chars(first.ptr + 1, end, shard.count) : first;
  if (!slash || second.ec != std::errc{} || second.ptr != end || shard.index == 0 || shard.index > shard.count)
    return make_error(ErrorCode::kInvalidArgument, "--shard is '{}', expected i/n with i from 1 to n", text);
  return shard;
}

/// One line that is drawn again on a terminal, else a line for each tenth.
class Progress {
 public:
  Progress(std::size_t total, std::size_t done)
      : terminal_(::isatty(STDERR_FILENO) != 0), total_(total), first_(done) {}

  void show(const std::vector<RunResult>& results, std::size_t done) {
    if (total_ == 0) return;
    const Clock::time_point now = Clock::now();
    const std::size_t tenth = done * 10 / total_;
    if (terminal_ ? now < next_ && done != total_ : tenth == tenth_) return;
    next_ = now + kRedraw;
    tenth_ = tenth;
    if (!terminal_) return fmt::print(stderr, "{}/{}: {}\n", done, total_, summary(results));
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
    const double left = rate > 0 ? static_cast<double>(total_ - done) / rate : 0;
    constexpr std::size_t kWidth = 20;
    const std::size_t filled = done * kWidth / total_;
    fmt::print(stderr, "\r\033[K[{}{}] {}/{} {:.0f}/s, {:.0f} s left: {}", std::string(filled, '#'),
               std::string(kWidth - filled, '.'), done, total_, rate, left, summary(results));
    std::fflush(stderr);
  }
  void end() {
    if (terminal_ && total_ != 0) fmt::print(stderr, "\n");
  }

 private:
  const bool terminal_;
  const std::size_t total_, first_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_{};
  std::size_t tenth_ = SIZE_MAX;
};

std::filesystem::path run_folder(const std::filesystem::path& state, std::uint64_t run) {
  return state / fmt::format("run-{}", run);
}

/// The runs that are still to do, several at a time.
Status do_runs(const CampaignOptions& options, const Shard& shard, const RunSetup& setup, const faults::Plan& plan,
               CampaignState& state) {
  std::set<std::uint64_t> done;
  std::size_t kept = 0;
  for (const RunResult& result : state.results()) {
    done.insert(result.run);
    kept += is_failure(result.outcome) ? 1u : 0u;
  }
  std::vector<std::uint64_t> left;
  std::size_t total = 0;
  for (std::uint64_t run = shard.index - 1; run < options.runs; run += shard.count, ++total)
    if (!done.contains(run)) left.push_back(run);
  Progress progress(total, total - left.size());
  const std::size_t jobs = options.jobs != 0 ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
  Children children;
  std::size_t completed = 0;
  for (std::size_t next = 0; next < left.size() || children.running() != 0;) {
    while (next < left.size() && children.running() < jobs) {
      const std::uint64_t run = left[next++];
      faults::Plan seeded = plan;
      seeded.seed = state.campaign().seed + run;
      if (const Status started = start_run(children, run, setup, seeded, run_folder(state.folder(), run)); !started)
        return started;
    }
    for (const Ended& ended : children.wait(Clock::now() + kRedraw)) {
      const std::filesystem::path folder = run_folder(state.folder(), ended.key);
      auto result = judge_run(setup, ended, folder);
      if (!result) return tl::unexpected<Error>(result.error());
      result->run = ended.key;
      result->seed = state.campaign().seed + ended.key;
      if (const Status added = state.add(*result); !added) return added;
      ++completed;
      if (!is_failure(result->outcome) || ++kept > kMaxKept) {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
      }
    }
    if (children.interrupted()) {
      progress.end();
      return make_error(ErrorCode::kState, "interrupted after {} of {} runs; --resume goes on",
                        total - left.size() + completed, total);
    }
    progress.show(state.results(), total - left.size() + completed);
  }
  progress.end();
  return {};
}

/// Whether a plan makes the command end as it did.
Result<bool> ends_so(const RunSetup& setup, const faults::Plan& plan, const std::filesystem::path& folder,
                     RunOutcome outcome) {
  Children children;
  if (const Status started = start_run(children, 0, setup, plan, folder); !started)
    return tl::unexpected<Error>(started.error());
  std::vector<Ended> ended;
  while (ended.empty() && !children.interrupted()) ended = children.wait();
  if (children.interrupted()) return make_error(ErrorCode::kState, "interrupted while a plan was made small");
  const auto result = judge_run(setup, ended.front(), folder);
  if (!result) return tl::unexpected<Error>(result.error());
  return result->outcome == outcome;
}

/// For the first failing run of each outcome: a plan as small as possible.
Status shrink_failures(const RunSetup& setup, const faults::Plan& plan, const CampaignState& state) {
  std::vector<RunResult> results = state.results();
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  std::set<RunOutcome> seen;
  const auto there = state.minimal();
  if (!there) return tl::unexpected<Error>(there.error());
  for (const RunResult& result : results) {
    if (!is_failure(result.outcome) || !seen.insert(result.outcome).second || there->contains(result.run)) continue;
    const std::filesystem::path folder = state.folder() / "shrink";
    const auto fails = [&](const faults::Plan& candidate) { return ends_so(setup, candidate, folder, result.outcome); };
    faults::Plan original = plan;
    original.seed = result.seed;
    const auto again = fails(original);
    if (!again) return tl::unexpected<Error>(again.error());
    if (!*again) {
      fmt::print(stderr, "run {} (seed {}): {} only the first time, its plan is not made small\n", result.run,
                 result.seed, to_text(result.outcome));
      continue;
    }
    // The faults that struck, one by one, are easier to make fewer than the rules that they came from.
    faults::Plan from = original;
    if (const auto reported = faults::read_report((folder / "report").string()))
      if (auto exact = faults::recorded_plan(*reported)) {
        const auto same = fails(*exact);
        if (!same) return tl::unexpected<Error>(same.error());
        if (*same) from = std::move(*exact);
      }
    name_rules(from);
    auto small = shrink(std::move(from), fails, kShrinkAttempts);
    if (!small) return tl::unexpected<Error>(small.error());
    if (const Status kept = state.keep_minimal(result.run, faults::to_json(*small)); !kept) return kept;
    fmt::print(stderr, "run {} (seed {}): {}, minimal plan with {} rule{}: {}\n", result.run, result.seed,
               to_text(result.outcome), small->rules.size(), small->rules.size() == 1 ? "" : "s",
               (state.folder() / fmt::format("minimal-{}.json", result.run)).string());
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  return {};
}

Status write_text(const std::string& path, const std::string& text) {
  return path.empty() ? Status{} : client::write_file(path, std::as_bytes(std::span(text)));
}

/// The reports, and the campaign's verdict.
Status conclude(const CampaignOptions& options, const Campaign& campaign, std::vector<RunResult> results,
                const Minimal& minimal) {
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  if (const Status written = write_text(options.junit, junit_page(campaign, results, minimal)); !written)
    return written;
  if (const Status written = write_text(options.html, html_page(campaign, results, minimal)); !written) return written;
  fmt::print("{} runs: {}\n", results.size(), summary(results));
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const RunResult& result) { return is_failure(result.outcome); });
  if (failed == results.end()) return {};
  return make_error(ErrorCode::kState, "run {} (seed {}): {}: {}", failed->run, failed->seed, to_text(failed->outcome),
                    failed->why);
}

Status merge(const CampaignOptions& options) {
  std::optional<Campaign> campaign;
  std::map<std::uint64_t, RunResult> results;
  Minimal minimal;
  for (const std::string& folder : options.merge) {
    const auto state = CampaignState::read(folder);
    if (!state) return tl::unexpected<Error>(state.error());
    if (!campaign) campaign = state->campaign();
    if (!(*campaign == state->campaign()))
      return make_error(ErrorCode::kInvalidArgument,
                        "{} is of another campaign than {} (plan, seed, runs or command differ)", folder,
                        options.merge.front());
    for (const RunResult& result : state->results()) results.emplace(result.run, result);
    auto small = state->minimal();
    if (!small) return tl::unexpected<Error>(small.error());
    minimal.merge(*small);
  }
  for (std::uint64_t run = 0; run < campaign->runs; ++run)
    if (!results.contains(run))
      return make_error(
          ErrorCode::kInvalidArgument,
          "{} of {} runs are there, run {} is the first that is missing, expected the folders of all shards",
          results.size(), campaign->runs, run);
  std::vector<RunResult> all;
  for (auto& [run, result] : results) all.push_back(std::move(result));
  return conclude(options, *campaign, std::move(all), minimal);
}

Result<std::string> read_text(const std::string& path) {
  const auto bytes = client::read_file(path);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

/// What the command prints when no fault strikes; it has to end well.
Result<std::string> clean_output(const RunSetup& setup, const std::filesystem::path& folder) {
  const auto passed = ends_so(setup, {}, folder, RunOutcome::kPassed);
  if (!passed) return tl::unexpected<Error>(passed.error());
  if (!*passed)
    return make_error(ErrorCode::kInvalidArgument, "--same-output: the command fails without any fault, see {}",
                      folder.string());
  return read_text((folder / "stdout").string());
}

}  // namespace

Status faults_campaign(const CampaignOptions& options) {
  if (!options.merge.empty()) return merge(options);
  if (options.plan.empty() || options.command.empty())
    return make_error(ErrorCode::kInvalidArgument, "expected --plan PLAN and, after --, a command (or --merge DIR…)");
  const auto shard = parse_shard(options.shard);
  if (!shard) return tl::unexpected<Error>(shard.error());
  auto plan = faults::read_plan(options.plan);
  if (!plan) return tl::unexpected<Error>(plan.error());
  const Campaign campaign{faults::to_json(*plan), options.seed.value_or(plan->seed), options.runs, options.command};
  std::error_code bad;
  const std::filesystem::path folder = std::filesystem::absolute(options.state, bad);
  if (bad) return make_error(ErrorCode::kInvalidArgument, "--state is '{}': {}", options.state, bad.message());
  auto state = CampaignState::open(folder, campaign, options.resume);
  if (!state) return tl::unexpected<Error>(state.error());
  RunSetup setup{options.command, std::chrono::nanoseconds(static_cast<std::int64_t>(options.timeout_s * 1e9)),
                 options.in_scratch, std::nullopt, options.wrong_exit};
  if (options.same_output || !options.expect_output.empty()) {
    auto expected = options.same_output ? clean_output(setup, folder / "clean") : read_text(options.expect_output);
    if (!expected) return tl::unexpected<Error>(expected.error());
    setup.expected_output = std::move(*expected);
  }
  if (const Status done = do_runs(options, *shard, setup, *plan, *state); !done) return done;
  if (options.shrink)
    if (const Status done = shrink_failures(setup, *plan, *state); !done) return done;
  const auto minimal = state->minimal();
  if (!minimal) return tl::unexpected<Error>(minimal.error());
  return conclude(options, campaign, state->results(), *minimal);
}

}  // namespace opennrt::tool
