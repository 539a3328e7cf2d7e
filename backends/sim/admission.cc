// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/admission.h"

#include <algorithm>
#include <utility>

namespace opennrt::driver {
namespace {
constexpr std::uint64_t kAlignNs = 1000;
/// Work that is still going on after this much simulated time will not end (the instruction set has no loops); then the
/// next
/// core gets in beside it, and the log says so.
constexpr std::uint64_t kSettleLimitNs = 100'000'000'000;
}  // namespace

Admission::Pass Admission::enter_copy(std::uint32_t core) {
  return enter(core, true);
}
Admission::Pass Admission::enter_wait(std::uint32_t core) {
  return enter(core, false);
}

Admission::Pass Admission::enter(std::uint32_t core, bool copy) {
  if (!deterministic_) return Pass(nullptr);
  const std::uint64_t asked = machine_.now_ns();
  std::unique_lock lock(mutex_);
  const bool submission = copy || !held_[core].empty();
  if (submission) ++submissions_[core];
  const std::tuple ticket{submissions_[core], core, ++arrivals_};
  pending_.insert(ticket);
  changed_.wait(lock, [&] { return !busy_ && *pending_.begin() == ticket; });
  pending_.erase(ticket);
  busy_ = true;
  owner_ = core;
  Pass pass(this);
  if (!copy) pass.doorbells = std::exchange(held_[core], {});
  const bool starts = copy || !pass.doorbells.empty();
  lock.unlock();
  if (starts) settle();
  const std::uint64_t admitted = machine_.now_ns();
  pass.waited_ns = admitted > asked ? admitted - asked : 0;
  return pass;
}

void Admission::leave() {
  {
    const std::lock_guard guard(mutex_);
    busy_ = false;
  }
  changed_.notify_all();
}

/// Lets everything that is under way come to rest, and the clock to a whole microsecond.
void Admission::settle() {
  const auto never = [] { return false; };
  const std::uint64_t begin = machine_.now_ns();
  std::uint64_t until = (begin + kAlignNs - 1) / kAlignNs * kAlignNs;
  if (until == begin) until += kAlignNs;
  for (std::uint64_t step = kAlignNs;; step = std::min<std::uint64_t>(step * 2, 1000 * kAlignNs)) {
    if (machine_.run_until(never, until) != sim::Ran::kDeadline) return;
    if (until - begin > kSettleLimitNs) {
      log_.warning("admission", "the machine did not come to rest within {} ms of simulated time",
                   kSettleLimitNs / 1'000'000);
      return;
    }
    until += step;
  }
}

bool Admission::hold(std::uint32_t core, const Doorbell& doorbell) {
  if (!deterministic_) return false;
  const std::lock_guard guard(mutex_);
  if (busy_ && owner_ == core)
    return false;  // somebody is waiting for this very core: there is nothing to hold it back for
  held_[core].push_back(doorbell);
  return true;
}

void Admission::drop(std::uint32_t core, std::uint32_t engine, std::uint32_t queue) {
  const std::lock_guard guard(mutex_);
  if (auto it = held_.find(core); it != held_.end()) {
    std::erase_if(it->second, [&](const Doorbell& d) { return d.engine == engine && d.queue == queue; });
  }
}

void Admission::drop(std::uint32_t core) {
  const std::lock_guard guard(mutex_);
  held_.erase(core);
}

}  // namespace opennrt::driver
