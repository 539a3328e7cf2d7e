// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_drive.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

namespace opennrt::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kShrinkAttempts = 200;
constexpr std::size_t kMaxKept = 100;  // folders of failing runs
constexpr auto kRedraw = std::chrono::milliseconds(200);

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

void drop(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

}  // namespace

Status CampaignDrive::finished(const Ended& ended) {
  const std::filesystem::path folder = run_folder(state_.folder(), ended.key);
  auto result = judge_run(setup_, ended, folder);
  if (!result) return tl::unexpected<Error>(result.error());
  result->run = ended.key;
  result->seed = state_.campaign().seed + ended.key;
  if (!result->refused.empty())
    return make_error(ErrorCode::kInvalidArgument, "run {}: the plan was refused, no run can tell anything: {}",
                      result->run, result->refused);
  if (const Status added = state_.add(*result); !added) return added;
  if (!is_failure(result->outcome) || ++kept_ > kMaxKept)
    drop(folder);
  else
    shorten_output(folder);
  return {};
}

Status CampaignDrive::runs(std::uint64_t shard, std::uint64_t shards, std::size_t jobs) {
  std::set<std::uint64_t> done;
  for (const RunResult& result : state_.results()) {
    done.insert(result.run);
    kept_ += is_failure(result.outcome) ? 1u : 0u;
  }
  std::vector<std::uint64_t> left;
  std::size_t total = 0;
  for (std::uint64_t run = shard - 1; run < state_.campaign().runs; run += shards, ++total)
    if (!done.contains(run)) left.push_back(run);
  const std::size_t before = total - left.size();
  Progress progress(total, before);
  std::size_t completed = 0;
  for (std::size_t next = 0; next < left.size() || children_.running() != 0;) {
    while (next < left.size() && children_.running() < jobs) {
      const std::uint64_t run = left[next++];
      faults::Plan seeded = plan_;
      seeded.seed = state_.campaign().seed + run;
      if (const Status started = start_run(children_, run, setup_, seeded, run_folder(state_.folder(), run)); !started)
        return started;
    }
    for (const Ended& ended : children_.wait(Clock::now() + kRedraw)) {
      if (const Status judged = finished(ended); !judged) {
        progress.end();
        return judged;
      }
      ++completed;
    }
    if (interrupted() != 0) {
      progress.end();
      return make_error(ErrorCode::kState, "interrupted after {} of {} runs; --resume goes on", before + completed,
                        total);
    }
    progress.show(state_.results(), before + completed);
  }
  progress.end();
  return {};
}

Result<RunResult> CampaignDrive::once(const faults::Plan& plan, const std::filesystem::path& folder) {
  if (const Status started = start_run(children_, 0, setup_, plan, folder); !started)
    return tl::unexpected<Error>(started.error());
  std::vector<Ended> ended;
  while (ended.empty() && interrupted() == 0) ended = children_.wait();
  if (ended.empty()) return make_error(ErrorCode::kState, "interrupted; --resume goes on");
  return judge_run(setup_, ended.front(), folder);
}

Status CampaignDrive::shrink_failures() {
  std::vector<RunResult> results = state_.results();
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  std::set<RunOutcome> seen;
  const auto there = state_.minimal();
  if (!there) return tl::unexpected<Error>(there.error());
  for (const RunResult& result : results) {
    if (!is_failure(result.outcome) || !seen.insert(result.outcome).second || there->contains(result.run)) continue;
    const std::filesystem::path folder = state_.folder() / "shrink";
    const auto fails = [&](const faults::Plan& candidate) -> Result<bool> {
      const auto again = once(candidate, folder);
      if (!again) return tl::unexpected<Error>(again.error());
      return again->refused.empty() && again->outcome == result.outcome;
    };
    faults::Plan original = plan_;
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
    if (const Status kept = state_.keep_minimal(result.run, faults::to_json(*small)); !kept) return kept;
    fmt::print(stderr, "run {} (seed {}): {}, minimal plan with {} rule{}: {}{}\n", result.run, result.seed,
               to_text(result.outcome), small->rules.size(), small->rules.size() == 1 ? "" : "s",
               (state_.folder() / fmt::format("minimal-{}.json", result.run)).string(),
               small->rules.empty() ? ": it ends so without any fault" : "");
    drop(folder);
  }
  return {};
}

}  // namespace opennrt::tool
