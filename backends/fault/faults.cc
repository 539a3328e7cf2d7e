// SPDX-License-Identifier: Apache-2.0
#include "backends/fault/faults.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "backends/fault/decorated.h"

namespace opennrt::fault {
namespace {

constexpr std::string_view kNames[kKinds] = {"drv_open_fail",
                                             "drv_probe_fail",
                                             "drv_probe_fail",
                                             "drv_missing",
                                             "drv_old",
                                             "drv_error",
                                             "drv_slow",
                                             "drv_cores_taken",
                                             "drv_allocation_limit",
                                             "drv_notification_lost",
                                             "drv_notification_delayed",
                                             "drv_notification_duplicated",
                                             "drv_notification_corrupted",
                                             "drv_device_removed",
                                             "drv_reset_fail",
                                             "drv_reset_slow"};

/// Operations whose number depends on how fast the machine is. They are events only of rules that name an operation, or a
/// plan would strike elsewhere each time.
constexpr std::string_view kPolls[] = {"wait", "clock", "nq_consume", "work_started"};

bool is_poll(std::string_view operation) {
  for (const std::string_view poll : kPolls)
    if (operation == poll) return true;
  return false;
}

/// Who asks, for the callback of a strike, which runs in the same thread.
struct Asking {
  const Listener* listener;
  const Place* place;
};
thread_local Asking asking{};

void tell(const faults::Strike& strike) {
  const opennrt_host_t& host = *asking.listener->host;
  if (host.log != nullptr && (host.log_enabled == nullptr || host.log_enabled(host.context, OPENNRT_LOG_INFO))) {
    const std::string text = fmt::format(
        "fault injection: rule '{}' ({}) strikes at event {}{}{}: {}", strike.rule->name, strike.rule->kind->name,
        strike.event, strike.device < 0 ? "" : fmt::format(" of device {}", strike.device),
        strike.core < 0 ? "" : fmt::format(" core {}", strike.core), asking.place->operation);
    host.log(host.context, OPENNRT_LOG_INFO, "fault", text.c_str());
  }
  if (asking.listener->report == nullptr) return;
  faults::Strike told = strike;
  if (const Device* on = asking.place->on; on != nullptr && told.now_ns == 0) told.now_ns = on->look_at_clock();
  asking.listener->report->strike(told);
}

const faults::Rule* ask(faults::Injector& injector, const faults::Kind& kind, const Place& place, std::uint64_t now_ns,
                        const Listener& listener) {
  faults::Event event;
  event.device = place.device;
  event.core = place.core;
  event.queue = place.queue;
  event.operation = place.operation;
  event.named_only = is_poll(place.operation);
  event.now_ns = now_ns;
  const Asking before = std::exchange(asking, {&listener, &place});
  const faults::Rule* rule = injector.strike(kind, event);
  asking = before;
  return rule;
}

struct Kept {
  pid_t pid;
  std::string text;
  std::shared_ptr<Faults> faults;
  std::unique_ptr<Kept> before;  // of other plans, and of the process that this one was forked from
};
// No lock: another thread of the parent could have held it at the moment of a fork.
std::atomic<Kept*> newest{nullptr};

}  // namespace

int errno_of(std::string_view name) {
  constexpr std::pair<std::string_view, int> kErrnos[] = {
      {"EACCES", EACCES}, {"EBUSY", EBUSY}, {"ENOMEM", ENOMEM}, {"EINTR", EINTR},        {"EIO", EIO},
      {"ENODEV", ENODEV}, {"ENXIO", ENXIO}, {"EMFILE", EMFILE}, {"ETIMEDOUT", ETIMEDOUT}};
  for (const auto& [known, value] : kErrnos)
    if (known == name) return value;
  return EIO;
}

std::shared_ptr<Faults> Faults::of(const faults::Plan& plan) {
  const std::string text = faults::to_json(plan);
  for (;;) {
    Kept* kept = newest.load(std::memory_order_acquire);
    if (kept != nullptr && kept->pid == ::getpid() && kept->text == text) return kept->faults;
    auto fresh =
        std::make_unique<Kept>(Kept{::getpid(), text, std::make_shared<Faults>(plan), std::unique_ptr<Kept>(kept)});
    if (newest.compare_exchange_strong(kept, fresh.get(), std::memory_order_acq_rel)) return fresh.release()->faults;
    (void)fresh->before.release();
  }
}

std::shared_ptr<Faults> Faults::in_force() {
  const Kept* kept = newest.load(std::memory_order_acquire);
  return kept != nullptr && kept->pid == ::getpid() ? kept->faults : nullptr;
}

Faults::Faults(const faults::Plan& plan) {
  for (std::size_t k = 0; k < kKinds; ++k) {
    const auto kind = static_cast<Kind>(k);
    faults::Plan own{plan.seed, {}, plan.source};
    for (const faults::Rule& rule : plan.rules) {
      if (rule.kind->name != kNames[k]) continue;
      if (kind == Kind::kProbeAbsent && faults::text(rule, "how") != "absent") continue;
      if (kind == Kind::kProbeInfo && faults::text(rule, "how") != "info") continue;
      timed_ = timed_ || rule.when.after_ns != 0;
      if (kind != Kind::kAllocationLimit) {
        own.rules.push_back(rule);
        continue;
      }
      auto alone = injector({plan.seed, {rule}, plan.source});
      if (alone == nullptr) continue;
      const std::string& memory = faults::text(rule, "memory");
      limits_.push_back({rule, std::move(alone), static_cast<std::uint64_t>(faults::integer(rule, "bytes")),
                         memory != "host", memory != "device"});
    }
    if (!own.rules.empty()) armed_[k] = injector(own);
  }
}

/// Null when all rules are other processes'.
std::unique_ptr<faults::Injector> Faults::injector(const faults::Plan& plan) const {
  auto made = std::make_unique<faults::Injector>(plan, faults::Level::kDriver);
  if (!made->wants(*plan.rules.front().kind)) return nullptr;
  made->on_strike(tell);
  return made;
}

bool Faults::wants_notifications() const {
  return wants(Kind::kNotificationLost) || wants(Kind::kNotificationDelayed) || wants(Kind::kNotificationDuplicated) ||
         wants(Kind::kNotificationCorrupted);
}

const faults::Rule* Faults::strike(Kind kind, const Place& place, std::uint64_t now_ns, const Listener& listener) {
  const auto k = static_cast<std::size_t>(kind);
  if (armed_[k] == nullptr) return nullptr;
  return ask(*armed_[k], *faults::find_kind(kNames[k]), place, now_ns, listener);
}

bool Faults::strike(const Limit& limit, const Place& place, std::uint64_t now_ns, const Listener& listener) {
  return ask(*limit.injector, *limit.rule.kind, place, now_ns, listener) != nullptr;
}

std::uint64_t Faults::looked_at_clock(std::uint64_t now_ns, bool virtual_time) {
  if (!virtual_time) {
    std::uint64_t begin = 0;
    if (begin_ns_.compare_exchange_strong(begin, now_ns, std::memory_order_relaxed)) begin = now_ns;
    now_ns -= std::min(begin, now_ns);  // another thread's first look may have been a little later
  }
  time_ns_.store(now_ns, std::memory_order_relaxed);
  return now_ns;
}

void Faults::marker(std::string_view name) {
  for (const auto& armed : armed_)
    if (armed != nullptr) armed->marker(name);
  for (const Limit& limit : limits_) limit.injector->marker(name);
}

void Faults::remove(std::uint32_t device, std::uint64_t return_after) {
  const std::lock_guard lock(mutex_);
  away_[device] = return_after;
  removals_[device % OPENNRT_MAX_DEVICES].fetch_add(1, std::memory_order_release);
}

std::uint32_t Faults::removals(std::uint32_t device) const {
  return removals_[device % OPENNRT_MAX_DEVICES].load(std::memory_order_acquire);
}

bool Faults::away(std::uint32_t device) {
  const std::lock_guard lock(mutex_);
  const auto found = away_.find(device);
  if (found == away_.end()) return false;
  if (found->second != 0 && --found->second == 0) away_.erase(found);
  return true;
}

}  // namespace opennrt::fault
