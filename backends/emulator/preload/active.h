// SPDX-License-Identifier: Apache-2.0
//
// The first question of every interposed function: does this process see devices of ours at all?
#pragma once

#include <atomic>

namespace opennrt::emulator {

enum class Activity : unsigned char { kUnknown, kOff, kOn };

inline constinit std::atomic<Activity> activity{Activity::kUnknown};
/// A descriptor of a device has been seen in this process: opened by it, inherited, or received. Until then what the
/// busy functions (read, write, close …) are given is not looked at.
inline constinit std::atomic<bool> devices_seen{false};

/// Looks at the environment, once.
bool decide_activity();

inline bool active() {
  switch (activity.load(std::memory_order_relaxed)) {
    case Activity::kOn:
      return true;
    case Activity::kOff:
      return false;
    default:
      return decide_activity();
  }
}

}  // namespace opennrt::emulator
