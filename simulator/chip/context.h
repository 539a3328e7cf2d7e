// SPDX-License-Identifier: Apache-2.0
//
// What every unit of the simulated machine shares: the chip file's numbers, simulated time, host memory, trace and log.
// Simulation thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <systemc>

#include "simulator/chip/config.h"
#include "simulator/chip/trace.h"
#include "simulator/faults/faults.h"
#include "simulator/memory/host_memory.h"

namespace opennrt::sim {

/// Levels as opennrt_log_level_t numbers them (backends/include/opennrt/backend.h).
enum class LogLevel : int { kError = 1, kWarning = 2, kInfo = 3, kDebug = 4, kTrace = 5 };

struct Context {
  ChipConfig config;
  HostMemory host;
  Trace trace;
  std::uint64_t power_on_ps = 0;       ///< the kernel's time when the machine was powered on
  std::function<void()> host_written;  ///< called after every write of a chip to host memory
  std::function<void(int, const std::string&)> log_sink;
  std::function<void(const faults::Strike&)> fault_struck;  ///< beside the log
  Faults* faults = nullptr;                                 ///< null unless a plan has rules for the chip

  std::uint64_t now_ps() const { return sc_core::sc_time_stamp().value() - power_on_ps; }
  std::uint64_t now_ns() const { return now_ps() / 1000; }
  void log(LogLevel level, const std::string& text) const {
    if (log_sink) log_sink(static_cast<int>(level), text);
  }
};

}  // namespace opennrt::sim
