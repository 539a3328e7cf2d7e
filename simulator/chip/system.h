// SPDX-License-Identifier: Apache-2.0
//
// The elaborated machine: 16 chips in the SystemC kernel, of which an instance type uses some. The kernel is one per
// process and cannot be taken apart again, so this is built with the first power on and lives as long as the process.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/common/error.h"
#include "simulator/chip/context.h"
#include "simulator/chip/device.h"

namespace opennrt::sim {

inline constexpr std::uint32_t kMaxDevices = 16;

/// Everything but request_pause() is for the one simulation thread.
class System {
 public:
  /// Builds it when it is not there yet.
  static Result<System*> instance();

  /// `faults`: null, or lives until power_off().
  Status power_on(const ChipConfig& config, std::function<void(int, const std::string&)> log, Faults* faults);
  void power_off();

  Context& context() { return context_; }
  Device& device(std::uint32_t index) { return *devices_[index]; }

  /// Runs until nothing is left to do at or before `until_ps` (the machine's time), pause() or request_pause(). An
  /// error is one of the kernel: our bug.
  Status run(std::uint64_t until_ps);
  /// True when something is due at or before `until_ps`.
  bool due(std::uint64_t until_ps) const;
  /// Moves time to `ps`; nothing may be due before it.
  Status advance(std::uint64_t ps);
  /// From a process: ends run() with the present delta cycle.
  void pause();
  /// From any thread: ends run() soon.
  void request_pause();

 private:
  System();
  class Doorbell;

  Context context_;
  std::unique_ptr<Doorbell> doorbell_;
  std::array<std::unique_ptr<Device>, kMaxDevices> devices_;
};

}  // namespace opennrt::sim
