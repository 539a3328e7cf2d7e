// SPDX-License-Identifier: Apache-2.0
#include "core/api/door_faults.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/api/native.h"
#include "core/faults/catalogue.h"
#include "core/observe/log.h"
#include "core/runtime/process.h"

namespace opennrt::api {
namespace {

using observe::Component;
using observe::Level;

// Those of the past stay: a call may still be on its way through one. A program that changes its plan does it rarely.
std::atomic<DoorFaults*> current_faults{nullptr};

const faults::Kind& kStatusKind = *faults::find_kind("fd_status");
const faults::Kind& kLatencyKind = *faults::find_kind("fd_latency");
const faults::Kind& kLimitKind = *faults::find_kind("fd_allocation_limit");

std::string value_of(const Variables& variables, std::string_view name) {
  const auto found = variables.find(name);
  return found == variables.end() ? "" : found->second;
}

NRT_STATUS status_named(const std::string& name) {
  for (int number = 1; number <= NRT_NETWORK_PROXY_FAILURE; ++number) {
    const auto status = static_cast<NRT_STATUS>(number);
    if (name == native::nrt_get_status_as_str(status)) return status;
  }
  return NRT_FAILURE;  // the parser knows no other names
}

faults::Plan without_limits(faults::Plan plan) {
  std::erase_if(plan.rules, [](const faults::Rule& rule) { return rule.kind == &kLimitKind; });
  return plan;
}

/// "nrt_load:2" is a count of nrt_load.
std::string_view name_of_marker(std::string_view text) {
  return text.substr(0, text.rfind(':'));
}

}  // namespace

Status DoorFaults::configure(const Variables& variables, bool vendor) {
  const std::string report_path = value_of(variables, "OPENNRT_FAULTS_REPORT");
  auto plan = faults::read_plan(value_of(variables, "OPENNRT_FAULTS"));
  if (!plan) return tl::unexpected<Error>(plan.error());
  if (vendor) {
    if (const Status possible = faults::check_for_backend(*plan, "vendor"); !possible) return possible;
  }
  const bool between = std::any_of(plan->rules.begin(), plan->rules.end(), [](const faults::Rule& rule) {
    return !rule.when.from.empty() || !rule.when.to.empty();
  });
  if (!plan->has(faults::Level::kFrontDoor) && !between && report_path.empty()) {
    current_faults.store(nullptr, std::memory_order_release);
    return {};
  }
  std::string text = faults::to_json(*plan);
  if (const DoorFaults* now = current();
      now != nullptr && now->vendor_ == vendor && now->text_ == text && now->report_path_ == report_path)
    return {};
  std::unique_ptr<faults::Report> report;
  if (!report_path.empty()) {
    auto opened = faults::Report::open(
        report_path, [](const std::string& why) { observe::write(Component::kNrt, Level::kError, "nrt_init", why); });
    if (!opened) return tl::unexpected<Error>(opened.error());
    report = std::move(*opened);
  }
  static auto& made = *new std::vector<std::unique_ptr<DoorFaults>>;  // calls under one lock (Route::choose)
  made.emplace_back(new DoorFaults(std::move(*plan), vendor, std::move(text), report_path, std::move(report)));
  current_faults.store(made.back().get(), std::memory_order_release);
  return {};
}

DoorFaults* DoorFaults::current() {
  DoorFaults* faults = current_faults.load(std::memory_order_acquire);
  return faults == nullptr || faults->pid_ == getpid() ? faults : nullptr;
}

DoorFaults::DoorFaults(faults::Plan plan, bool vendor, std::string text, std::string report_path,
                       std::unique_ptr<faults::Report> report)
    : pid_(getpid()),
      vendor_(vendor),
      text_(std::move(text)),
      report_path_(std::move(report_path)),
      report_(std::move(report)),
      calls_(without_limits(plan), faults::Level::kFrontDoor) {
  watch(calls_);
  for (const faults::Rule& rule : plan.rules) {
    for (const std::string& marker : {rule.when.from, rule.when.to})
      if (!marker.empty()) markers_.emplace(name_of_marker(marker));
    if (rule.kind != &kLimitKind) continue;
    auto injector =
        std::make_unique<faults::Injector>(faults::Plan{plan.seed, {rule}, plan.source}, faults::Level::kFrontDoor);
    if (!injector->wants(kLimitKind)) continue;  // another process's
    watch(*injector);
    limits_.push_back({static_cast<std::uint64_t>(faults::integer(rule, "bytes")), std::move(injector)});
  }
}

void DoorFaults::watch(faults::Injector& injector) {
  injector.on_strike([this](const faults::Strike& strike) {
    if (report_ != nullptr) report_->strike(strike);
    observe::log(Component::kNrt, Level::kInfo, strike.function,
                 "fault injection: rule '{}' ({}) strikes at event {} of {}", strike.rule->name,
                 strike.rule->kind->name, strike.event, strike.function);
  });
}

faults::Event DoorFaults::event_of(const char* function, const CallSubject& subject) const {
  faults::Event event;
  event.function = function;
  event.tensor = subject.tensor;
  event.model = subject.model;
  if (is_open()) {
    const auto since = std::chrono::steady_clock::now().time_since_epoch().count() - opened_at_.load();
    event.now_ns = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::duration(since)).count());
  }
  return event;
}

DoorFaults::Latency DoorFaults::latency(const char* function, const CallSubject& subject) {
  if (!calls_.wants(kLatencyKind)) return {};
  const faults::Rule* rule = calls_.strike(kLatencyKind, event_of(function, subject));
  if (rule == nullptr) return {};
  const std::chrono::microseconds time{faults::integer(*rule, "us")};
  return faults::text(*rule, "moment") == "after" ? Latency{{}, time} : Latency{time, {}};
}

std::optional<DoorFaults::Verdict> DoorFaults::status(const char* function, const CallSubject& subject) {
  if (!calls_.wants(kStatusKind)) return std::nullopt;
  const faults::Rule* rule = calls_.strike(kStatusKind, event_of(function, subject));
  if (rule == nullptr) return std::nullopt;
  return Verdict{status_named(faults::text(*rule, "status")), faults::text(*rule, "moment") == "after"};
}

Status DoorFaults::reserve(const char* function, const CallSubject& subject) {
  std::uint64_t before = 0;
  {
    const std::lock_guard lock(mutex_);
    before = in_use_;
    in_use_ += subject.bytes;
  }
  const Limit* passed = nullptr;
  for (const Limit& limit : limits_) {
    if (before + subject.bytes <= limit.bytes) continue;
    if (limit.injector->strike(kLimitKind, event_of(function, subject)) != nullptr && passed == nullptr)
      passed = &limit;
  }
  if (passed == nullptr) return {};
  give_back(subject.bytes);
  return make_error(ErrorCode::kResource, "out of device memory: {} bytes asked for, {} of {} free", subject.bytes,
                    passed->bytes - std::min(passed->bytes, before), passed->bytes);
}

void DoorFaults::give_back(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  in_use_ -= std::min(in_use_, bytes);  // nrt_close may have been faster
}

void DoorFaults::returned(const char* function, NRT_STATUS status) {
  if (report_ != nullptr && status != NRT_SUCCESS) report_->status(function, native::nrt_get_status_as_str(status));
  marker(function);
}

void DoorFaults::marker(std::string_view name) {
  const auto named = markers_.find(name);
  if (named == markers_.end()) return;
  calls_.marker(name);
  for (const Limit& limit : limits_) limit.injector->marker(name);
  if (vendor_) return;
  const bool decorated = umd::Backend::tell_decorator(named->c_str());
  if (pass_to_backend(*named)) return;
  const std::lock_guard lock(mutex_);
  missed_.push_back({*named, decorated});
}

bool DoorFaults::pass_to_backend(const std::string& name) {
  const Process::Call call(Process::current());
  if (call.runtime() == nullptr) return false;
  call.runtime()->machine().backend().pass_marker(name.c_str());
  return true;
}

void DoorFaults::add(const void* handle, Object object) {
  const std::lock_guard lock(mutex_);
  objects_.insert_or_assign(handle, std::move(object));
}

void DoorFaults::put_back(const void* handle, Object object) {
  const std::lock_guard lock(mutex_);
  in_use_ += object.bytes;
  objects_.insert_or_assign(handle, std::move(object));
}

std::optional<DoorFaults::Object> DoorFaults::remove(const void* handle) {
  const std::lock_guard lock(mutex_);
  auto node = objects_.extract(handle);
  if (node.empty()) return std::nullopt;
  in_use_ -= std::min(in_use_, node.mapped().bytes);
  return std::move(node.mapped());
}

void DoorFaults::detach(const void* handle) {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(handle);
  if (found == objects_.end()) return;
  in_use_ -= std::min(in_use_, std::exchange(found->second.bytes, 0));
}

std::string DoorFaults::name_of(const void* handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(handle);
  return found == objects_.end() ? std::string() : found->second.name;
}

void DoorFaults::opened() {
  opened_at_.store(std::chrono::steady_clock::now().time_since_epoch().count());
  open_.store(true, std::memory_order_release);
  std::vector<Missed> missed;
  {
    const std::lock_guard lock(mutex_);
    missed.swap(missed_);
  }
  for (const Missed& marker : missed) {
    if (!marker.decorated) (void)umd::Backend::tell_decorator(marker.name.c_str());
    (void)pass_to_backend(marker.name);
  }
}

void DoorFaults::closing() {
  if (!open_.exchange(false, std::memory_order_acq_rel)) return;
  faults::Alive alive;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [handle, object] : objects_)
      ++(object.sort == Sort::kModel ? alive.models : object.sort == Sort::kTensor ? alive.tensors : alive.tensor_sets);
    objects_.clear();
    in_use_ = 0;
  }
  if (report_ != nullptr && vendor_) report_->closed(alive);
}

}  // namespace opennrt::api
