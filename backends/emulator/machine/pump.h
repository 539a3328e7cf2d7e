// SPDX-License-Identifier: Apache-2.0
//
// Time for programs that do not know that their device is simulated: they poll, and the machine runs by itself whenever
// one of them has given it something to do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "backends/sim/device.h"

namespace opennrt::emulator {

/// Thread-safe.
class Pump {
 public:
  Pump() : thread_([this] { work(); }) {}
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  /// Something may happen on the core: the machine runs until nothing can happen any more. The device must outlive this
  /// object.
  void kick(driver::Device& device, std::uint32_t core);

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::pair<driver::Device*, std::uint32_t>> pending_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace opennrt::emulator
