// SPDX-License-Identifier: Apache-2.0
//
// A process of the simulated machine: one SC_METHOD and the one event that wakes it.
#pragma once

#include <cstdint>
#include <systemc>

namespace opennrt::sim {

/// A unit is a state machine. Whoever changes what an idle unit waits for calls poke(); a busy unit has scheduled its
/// own wake and must not be poked, because SystemC keeps only the earliest notification of an event.
class Unit : public sc_core::sc_module {
 public:
  SC_HAS_PROCESS(Unit);

 protected:
  explicit Unit(const char* name) : sc_core::sc_module(sc_core::sc_module_name(name)) {
    SC_METHOD(run);
    sensitive << wake_;
    dont_initialize();
  }
  virtual void activate() = 0;

  void poke() { wake_.notify(sc_core::SC_ZERO_TIME); }
  void schedule(std::uint64_t picoseconds) { wake_.notify(sc_core::sc_time::from_value(picoseconds)); }
  void cancel() { wake_.cancel(); }

 private:
  void run() { activate(); }
  sc_core::sc_event wake_;
};

/// A shared resource that serves one transfer after another, in the order of arrival.
class Server {
 public:
  /// When a transfer of `bytes` that arrives at `now_ps` is through.
  std::uint64_t reserve(std::uint64_t now_ps, std::uint64_t bytes, double ps_per_byte) {
    const std::uint64_t start = now_ps > free_at_ps_ ? now_ps : free_at_ps_;
    free_at_ps_ = start + static_cast<std::uint64_t>(static_cast<double>(bytes) * ps_per_byte + 0.5);
    return free_at_ps_;
  }
  void reset() { free_at_ps_ = 0; }

 private:
  std::uint64_t free_at_ps_ = 0;
};

}  // namespace opennrt::sim
