// SPDX-License-Identifier: Apache-2.0
#include "backends/fault/decorated.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/isa/inf1.h"

namespace opennrt::fault {
namespace {

void sleep_of(const faults::Rule& rule) {
  std::this_thread::sleep_for(std::chrono::microseconds(faults::integer(rule, "us")));
}

int errno_in(const faults::Rule& rule) {
  return errno_of(faults::text(rule, "errno"));
}

void set_text(std::string_view text, char* to, std::size_t room) {
  const std::size_t bytes = std::min(text.size(), room - 1);
  std::memcpy(to, text.data(), bytes);
  std::memset(to + bytes, 0, room - bytes);
}

/// The last allocation of this thread that was refused for want of memory. The runtime then tries the device's other
/// channels and regions: that is the same request, and has the same answer.
struct Refused {
  const Device* device = nullptr;
  opennrt_mem_params_t params{};
  const Faults::Limit* limit = nullptr;

  bool goes_on(const Device* on, const opennrt_mem_params_t& next) const {
    return device == on && params.bytes == next.bytes && params.alignment == next.alignment && !params.host_memory &&
           !next.host_memory && params.core == next.core && params.category == next.category &&
           (params.dram_channel != next.dram_channel || params.dram_region != next.dram_region);
  }
};
thread_local Refused refused{};

}  // namespace

// Every rule counts its events whatever other rules make of them: all are asked first, and then one answers.

// ---- the backend ----

Backend::Backend(const opennrt_backend_api_t& inner, Listener listener, std::shared_ptr<Faults> faults)
    : inner_(inner),
      listener_(std::move(listener)),
      faults_(std::move(faults)),
      pid_(::getpid()),
      host_of_inner_(*listener_.host) {
  // The inner backend says an error when it is waited for and nothing can come any more; not where this one knows of more.
  host_of_inner_.context = const_cast<opennrt_host_t*>(listener_.host);
  host_of_inner_.log = [](void* outer, opennrt_log_level_t level, const char* function, const char* text) {
    const auto& host = *static_cast<const opennrt_host_t*>(outer);
    const bool expected = level == OPENNRT_LOG_ERROR && Notifications::waiting_for_late() && function != nullptr &&
                          std::strcmp(function, "wait") == 0;
    if (host.log != nullptr && !expected) host.log(host.context, level, function, text);
  };
  host_of_inner_.log_enabled = [](void* outer, opennrt_log_level_t level) {
    const auto& host = *static_cast<const opennrt_host_t*>(outer);
    return host.log_enabled == nullptr || host.log_enabled(host.context, level);
  };
  host_of_inner_.config = [](void* outer, const char* name) {
    const auto& host = *static_cast<const opennrt_host_t*>(outer);
    return host.config != nullptr ? host.config(host.context, name) : nullptr;
  };
}

int Backend::before(const Place& place, std::uint64_t now_ns) const {
  const faults::Rule* error = strike(Kind::kError, place, now_ns);
  if (const faults::Rule* slow = strike(Kind::kSlow, place, now_ns)) sleep_of(*slow);
  return error == nullptr ? 0 : -errno_in(*error);
}

void Backend::before_void(const Place& place) const {
  if (const faults::Rule* rule = strike(Kind::kSlow, place)) sleep_of(*rule);
}

int Backend::version(opennrt_driver_version_t* version) const {
  const Place place{"version"};
  const int error = before(place);
  const bool missing = strike(Kind::kMissing, place) != nullptr;
  const faults::Rule* const rule = strike(Kind::kOld, place);
  if (error != 0) return error;
  if (missing) return -ENODEV;
  const int result = inner_.version(handle, version);
  if (result != 0) return result;
  if (rule != nullptr) {
    const std::string& text = faults::text(*rule, "version");
    char* rest = nullptr;
    version->major = static_cast<std::uint32_t>(std::strtoul(text.c_str(), &rest, 10));
    version->minor = *rest == '.' ? static_cast<std::uint32_t>(std::strtoul(rest + 1, nullptr, 10)) : 0;
    set_text(text, version->text, sizeof(version->text));
    if (const std::int64_t newest = faults::integer(*rule, "compatible_max"); newest != 0) {
      version->compatible_max = static_cast<std::uint32_t>(newest);
      version->compatible_min = std::min(version->compatible_min, version->compatible_max);
    }
  }
  return 0;
}

int Backend::devices(std::uint32_t* numbers, std::uint32_t* count) const {
  const int error = before({"devices"});
  if (count == nullptr || (numbers == nullptr && *count != 0)) return -EINVAL;
  std::array<std::uint32_t, OPENNRT_MAX_DEVICES> all{};
  auto found = static_cast<std::uint32_t>(all.size());
  if (const int refused = inner_.devices(handle, all.data(), &found)) return error != 0 ? error : refused;
  const std::uint32_t room = *count;
  std::uint32_t there = 0;
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(found, all.size()); ++i) {
    const bool absent = strike(Kind::kProbeAbsent, {"devices", all[i]}) != nullptr;
    if (error != 0 || faults_->away(all[i]) || absent) continue;
    if (there < room) numbers[there] = all[i];
    ++there;
  }
  if (error == 0) *count = there;
  return error;
}

int Backend::device_open(std::uint32_t number, opennrt_device_t** device) {
  const Place place{"device_open", number};
  const bool away = faults_->away(number);
  const faults::Rule* const removed = away ? nullptr : strike(Kind::kDeviceRemoved, place);
  const int error = before(place);
  const faults::Rule* const fails = strike(Kind::kOpenFail, place);
  if (removed != nullptr)
    faults_->remove(number, static_cast<std::uint64_t>(faults::integer(*removed, "return_after")));
  if (away || removed != nullptr) return -ENODEV;
  if (error != 0) return error;
  if (fails != nullptr) return -errno_in(*fails);
  opennrt_device_t* opened = nullptr;
  if (const int refused = inner_.device_open(handle, number, &opened)) return refused;
  *device = reinterpret_cast<opennrt_device_t*>(new Device(*this, number, opened));
  return 0;
}

int Backend::cores_reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t* taken,
                           std::uint32_t* available) {
  const int error = before({"cores_reserve"});
  const auto refuse = [&] {
    if (error == -EBUSY && available != nullptr) *available = 0;
    return error;
  };
  if (!faults_->wants(Kind::kCoresTaken) || first > last || last >= OPENNRT_MAX_CORES)
    return error != 0 ? refuse() : inner_.cores_reserve(handle, count, first, last, taken, available);
  std::vector<bool> held(last - first + 1);
  {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t core = first; core <= last; ++core) {
      held_.erase(core);
      const Place place{"cores_reserve", core / inf1::kCoresPerDevice, core % inf1::kCoresPerDevice};
      const faults::Rule* rule = strike(Kind::kCoresTaken, place);
      if (rule == nullptr) continue;
      held[core - first] = true;
      opennrt_core_holder_t& holder = held_[core];
      holder.pid = static_cast<std::int32_t>(faults::integer(*rule, "pid"));
      set_text(faults::text(*rule, "command"), holder.command, sizeof(holder.command));
    }
  }
  if (error != 0) return refuse();
  // What is left over are runs of cores; the first one that has room for all is taken.
  std::uint32_t most = 0;
  for (std::uint32_t begin = 0; begin < held.size();) {
    std::uint32_t end = begin;
    while (end < held.size() && !held[end]) ++end;
    if (end > begin) {
      std::uint32_t there = end - begin;
      if (there >= count) {
        const int result = inner_.cores_reserve(handle, count, first + begin, first + end - 1, taken, &there);
        if (result != -EBUSY) return result;
      }
      most = std::max(most, there);
    }
    begin = end + 1;
  }
  if (available != nullptr) *available = most;
  return -EBUSY;
}

int Backend::core_holder(std::uint32_t core, opennrt_core_holder_t* holder) {
  if (const int error = before({"core_holder"})) return error;
  const int result = inner_.core_holder(handle, core, holder);
  if (result != 0 || holder->pid != 0) return result;
  const std::lock_guard lock(mutex_);
  if (const auto found = held_.find(core); found != held_.end()) *holder = found->second;
  return 0;
}

// ---- devices ----

Device::Device(Backend& backend, std::uint32_t number, opennrt_device_t* handle)
    : backend_(backend), number_(number), handle_(handle), removals_(backend.faults().removals(number)) {
  opennrt_device_info_t known{};
  if (inner().device_info != nullptr && inner().device_info(handle_, &known) == 0) {
    first_core_ = known.first_core;
    core_count_ = known.core_count;
    virtual_time_ = known.virtual_time;
  }
  if (backend_.faults().wants_notifications() && inner().nq_init != nullptr)
    notifications_ = std::make_unique<Notifications>(
        inner(), handle_, [this](std::uint32_t core, opennrt_nq_type_t type) { return judge(core, type); });
}

std::uint64_t Device::now() const {
  return backend_.faults().timed() ? look_at_clock() : 0;
}

std::uint64_t Device::look_at_clock() const {
  Faults& faults = backend_.faults();
  if (inner().clock == nullptr) return 0;
  std::uint64_t now_ns = 0;
  return inner().clock(handle_, &now_ns) == 0 ? faults.looked_at_clock(now_ns, virtual_time_) : faults.time_ns();
}

int Device::before(std::string_view operation, std::int64_t core) {
  Faults& faults = backend_.faults();
  const bool gone = faults.removals(number_) != removals_;
  if (gone) (void)faults.away(number_);
  const Place here = place(operation, core);
  const std::uint64_t now_ns = now();
  const faults::Rule* const removed = gone ? nullptr : backend_.strike(Kind::kDeviceRemoved, here, now_ns);
  const int error = backend_.before(here, now_ns);
  if (removed != nullptr) faults.remove(number_, static_cast<std::uint64_t>(faults::integer(*removed, "return_after")));
  return gone || removed != nullptr ? -ENODEV : error;
}

std::int64_t Device::core_of_memory(opennrt_mem_t memory) {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(memory);
  return found == memories_.end() ? -1 : found->second.core;
}

std::int64_t Device::core_of_request(std::uint32_t request) {
  const std::lock_guard lock(mutex_);
  const auto found = resets_.find(request);
  return found == resets_.end() || !std::has_single_bit(found->second) ? -1 : std::countr_zero(found->second);
}

int Device::info(opennrt_device_info_t* info) {
  const int error = before("device_info", -1);
  const bool silent = backend_.strike(Kind::kProbeInfo, place("device_info", -1), now()) != nullptr;
  if (error != 0) return error;
  return silent ? -EIO : inner().device_info(handle_, info);
}

// ---- memory ----

const Faults::Limit* Device::limit_passed(const opennrt_mem_params_t& params) {
  const Faults::Limit* passed = nullptr;
  for (const Faults::Limit& limit : backend_.faults().limits()) {
    if (!(params.host_memory ? limit.host : limit.device)) continue;
    const auto& core = limit.rule.where.core;
    std::uint64_t used = 0;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [handle, memory] : memories_)
        if ((memory.host ? limit.host : limit.device) && (!core || memory.core == std::int64_t{*core}))
          used += memory.bytes;
    }
    if (used <= limit.bytes && params.bytes <= limit.bytes - used) continue;
    if (backend_.strike(limit, place("mem_alloc", params.core), now()) && passed == nullptr) passed = &limit;
  }
  return passed;
}

int Device::mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t* memory) {
  if (refused.goes_on(this, params)) return -ENOMEM;
  refused = {};
  const int error = before("mem_alloc", params.core);
  const Faults::Limit* const limit = limit_passed(params);
  if (error != 0) {
    if (error == -ENOMEM) refused = {this, params, nullptr};
    return error;
  }
  if (limit != nullptr) {
    refused = {this, params, limit};
    return -ENOMEM;
  }
  const int result = inner().mem_alloc(handle_, &params, memory);
  if (result != 0) return result;
  const std::lock_guard lock(mutex_);
  memories_[*memory] = {params.core, params.bytes, params.host_memory};
  return 0;
}

int Device::mem_free(opennrt_mem_t memory) {
  if (const int error = before("mem_free", core_of_memory(memory))) return error;
  // Forgotten first: another thread may be given the same number as soon as it is free.
  std::map<opennrt_mem_t, Allocation>::node_type known;
  {
    const std::lock_guard lock(mutex_);
    known = memories_.extract(memory);
  }
  const int result = inner().mem_free(handle_, memory);
  if (result != 0 && !known.empty()) {
    const std::lock_guard lock(mutex_);
    memories_.insert(std::move(known));
  }
  return result;
}

int Device::mem_stats(std::uint32_t core, opennrt_mem_stats_t* stats) {
  if (const int error = before("mem_stats", core)) return error;
  const int result = inner().mem_stats(handle_, core, stats);
  // Who asks because there was not enough is told how much there was.
  if (result == 0 && refused.device == this && refused.limit != nullptr)
    stats->capacity = std::min(stats->capacity, std::max(stats->used, refused.limit->bytes));
  return result;
}

// ---- notifications ----

Fate Device::judge(std::uint32_t core, opennrt_nq_type_t type) const {
  Place here = place("a notification", core);
  here.queue = type;
  const std::uint64_t now_ns = now();
  Fate fate;
  fate.lost = backend_.strike(Kind::kNotificationLost, here, now_ns) != nullptr;
  if (const faults::Rule* rule = backend_.strike(Kind::kNotificationDelayed, here, now_ns))
    fate.delay_ns = static_cast<std::uint64_t>(faults::integer(*rule, "ns"));
  fate.twice = backend_.strike(Kind::kNotificationDuplicated, here, now_ns) != nullptr;
  if (const faults::Rule* rule = backend_.strike(Kind::kNotificationCorrupted, here, now_ns)) {
    fate.word = static_cast<std::uint32_t>(faults::integer(*rule, "word"));
    fate.mask = static_cast<std::uint32_t>(faults::integer(*rule, "mask"));
  }
  return fate;
}

int Device::nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
                    opennrt_nq_t* queue) {
  if (const int error = before("nq_init", core)) return error;
  const int result = inner().nq_init(handle_, core, type, engine, bytes, queue);
  if (result == 0 && notifications_ != nullptr && queue->entries != nullptr)
    notifications_->add(core, type, engine, *queue);
  return result;
}

int Device::nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  if (const int error = before("nq_destroy", core)) return error;
  if (notifications_ == nullptr) return inner().nq_destroy(handle_, core, type, engine);
  // Taken out first, so that nobody looks for entries in memory that is being given back.
  Notifications::Taken queue = notifications_->remove(core, type, engine);
  const int result = inner().nq_destroy(handle_, core, type, engine);
  if (result != 0) notifications_->put_back(std::move(queue));  // it goes on to be read
  return result;
}

int Device::nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries) {
  if (const int error = before("nq_consume", core)) return error;
  if (notifications_ != nullptr) return notifications_->consume(core, type, engine, entries);
  return inner().nq_consume(handle_, core, type, engine, entries);
}

int Device::clock(std::uint64_t* nanoseconds) {
  if (const int error = before("clock", -1)) return error;
  // Who has no wait() looks at the clock while it looks at the queues.
  if (notifications_ != nullptr && inner().wait == nullptr) notifications_->poll();
  return inner().clock(handle_, nanoseconds);
}

int Device::wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline) {
  if (const int error = before("wait", core)) return error;
  return notifications_ != nullptr ? notifications_->wait(core, seen, deadline)
                                   : inner().wait(handle_, core, seen, deadline);
}

// ---- reset ----

int Device::reset_start(std::uint32_t core_map, std::uint32_t* request) {
  if (const int error = before("reset_start", std::has_single_bit(core_map) ? std::countr_zero(core_map) : -1))
    return error;
  const int result = inner().reset_start(handle_, core_map, request);
  if (result != 0) return result;
  const std::lock_guard lock(mutex_);
  resets_[*request] = core_map;
  return 0;
}

int Device::reset_wait(std::uint32_t request, std::int32_t* result) {
  const std::int64_t core = core_of_request(request);
  const int error = before("reset_wait", core);
  const Place here = place("reset_wait", core);
  const std::uint64_t now_ns = now();
  if (const faults::Rule* rule = backend_.strike(Kind::kResetSlow, here, now_ns)) sleep_of(*rule);
  const faults::Rule* const fails = backend_.strike(Kind::kResetFail, here, now_ns);
  if (error != 0) return error;
  const int status = inner().reset_wait(handle_, request, result);
  std::uint32_t cores = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = resets_.find(request); found != resets_.end()) {
      cores = found->second;
      resets_.erase(found);
    }
  }
  for (std::uint32_t c = 0; notifications_ != nullptr && c < core_count_; ++c)
    if ((cores >> c & 1) != 0) notifications_->reset(c);
  if (status != 0) return status;
  if (fails == nullptr) return 0;
  if (faults::text(*fails, "errno") != "none") return -errno_in(*fails);
  *result = 1;
  return 0;
}

}  // namespace opennrt::fault
