// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of a fault plan (core/faults): which rule strikes at an operation, and what lasts longer than one
// opening of the backend.
#pragma once

#include <opennrt/backend.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/faults/catalogue.h"
#include "core/faults/injector.h"
#include "core/faults/report.h"

namespace opennrt::fault {

/// The kinds of the driver's level, in the order of their names in faults.cc.
enum class Kind : std::uint8_t {
  kOpenFail,
  kProbeAbsent,  ///< drv_probe_fail, how = absent
  kProbeInfo,    ///< drv_probe_fail, how = info
  kMissing,
  kOld,
  kError,
  kSlow,
  kCoresTaken,
  kAllocationLimit,
  kNotificationLost,
  kNotificationDelayed,
  kNotificationDuplicated,
  kNotificationCorrupted,
  kDeviceRemoved,
  kResetFail,
  kResetSlow,
};
inline constexpr std::size_t kKinds = 16;

class Device;

/// Where an event happens; -1: belongs to none.
struct Place {
  std::string_view operation;
  std::int64_t device = -1, core = -1;
  std::int64_t queue = -1;     ///< type of a notification queue
  const Device* on = nullptr;  ///< whose clock says when it was, for reports
};

/// Told of strikes as long as a backend is open.
struct Listener {
  const opennrt_host_t* host = nullptr;
  std::unique_ptr<faults::Report> report;  ///< may be null
};

/// The errno of a name that the catalogue has, positive.
int errno_of(std::string_view name);

/// Thread-safe. One for all openings under the same plan, so that what has struck has struck: a runtime that is opened again
/// finds the driver well.
class Faults {
 public:
  static std::shared_ptr<Faults> of(const faults::Plan& plan);
  /// Of the plan that was asked for last in this process; null: none yet.
  static std::shared_ptr<Faults> in_force();
  explicit Faults(const faults::Plan& plan);

  bool wants(Kind kind) const { return armed_[static_cast<std::size_t>(kind)] != nullptr; }
  bool wants_notifications() const;
  /// Some rule depends on the device's clock.
  bool timed() const { return timed_; }
  /// A device's clock was looked at; returns the time that rules go by, nanoseconds. Simulated time begins with the machine;
  /// of a real clock, time begins with the first look under the plan.
  std::uint64_t looked_at_clock(std::uint64_t now_ns, bool virtual_time);
  /// That time, as it was at the last look: what happens while no device is open goes by it.
  std::uint64_t time_ns() const { return time_ns_.load(std::memory_order_relaxed); }
  /// The rule of this kind that strikes, or null.
  const faults::Rule* strike(Kind kind, const Place& place, std::uint64_t now_ns, const Listener& listener);
  void marker(std::string_view name);

  /// Rules of drv_allocation_limit, each with a count of its own: what passes the limit of one may be within another's.
  struct Limit {
    faults::Rule rule;
    std::unique_ptr<faults::Injector> injector;
    std::uint64_t bytes = 0;
    bool device = true, host = false;  ///< which memory it counts
  };
  const std::vector<Limit>& limits() const { return limits_; }
  bool strike(const Limit& limit, const Place& place, std::uint64_t now_ns, const Listener& listener);

  /// The device goes; it comes back after so many refused operations, 0: never.
  void remove(std::uint32_t device, std::uint64_t return_after);
  /// How often it has gone: who opened it before then has lost it.
  std::uint32_t removals(std::uint32_t device) const;
  /// Whether an operation on it is refused because it is not there; counts the operation if so.
  bool away(std::uint32_t device);

 private:
  std::unique_ptr<faults::Injector> injector(const faults::Plan& plan) const;

  std::array<std::unique_ptr<faults::Injector>, kKinds> armed_;
  std::vector<Limit> limits_;
  bool timed_ = false;
  std::atomic<std::uint64_t> time_ns_ = 0, begin_ns_ = 0;  ///< begin: 0, or of a real clock the first look at it
  std::array<std::atomic<std::uint32_t>, OPENNRT_MAX_DEVICES> removals_{};
  std::mutex mutex_;
  std::map<std::uint32_t, std::uint64_t> away_;  ///< device → operations until it returns, 0: never
};

}  // namespace opennrt::fault
