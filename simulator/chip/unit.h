// SPDX-License-Identifier: Apache-2.0
//
// A process of the simulated machine: one SC_METHOD and the one event that wakes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <systemc>
#include <vector>

namespace opennrt::sim {

class Unit;

/// Units whose time has come at the same moment take their turns in the order in which they were made. SystemC leaves that
/// order open, and its queue of events decides it by what went through it before: by history that results must not depend on.
class Turns : public sc_core::sc_module {
 public:
  SC_HAS_PROCESS(Turns);
  /// The one of the process, made when the first unit is.
  static Turns& instance() {
    static auto* const turns = new Turns("turns");  // the kernel's modules live as long as the process
    return *turns;
  }
  std::uint64_t enlist() { return units_++; }
  void take(Unit& unit) {
    due_.push_back(&unit);
    now_.notify(sc_core::SC_ZERO_TIME);
  }

 private:
  explicit Turns(const char* name) : sc_core::sc_module(sc_core::sc_module_name(name)) {
    SC_METHOD(run);
    sensitive << now_;
    dont_initialize();
  }
  void run();

  std::uint64_t units_ = 0;
  std::vector<Unit*> due_, served_;
  sc_core::sc_event now_;
};

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
  void schedule(std::uint64_t picoseconds) {
    wait_ = Wait::kTime;
    wake_.notify(sc_core::sc_time::from_value(picoseconds));
  }
  void cancel() {
    wait_ = Wait::kNone;
    wake_.cancel();
  }

 private:
  friend class Turns;
  enum class Wait { kNone, kTime, kTurn };

  void run() {
    if (wait_ != Wait::kTime) return activate();
    wait_ = Wait::kTurn;
    Turns::instance().take(*this);
  }

  const std::uint64_t number_ = Turns::instance().enlist();
  Wait wait_ = Wait::kNone;
  sc_core::sc_event wake_;
};

inline void Turns::run() {
  served_.swap(due_);
  std::sort(served_.begin(), served_.end(), [](const Unit* a, const Unit* b) { return a->number_ < b->number_; });
  for (Unit* unit : served_) {
    if (unit->wait_ != Unit::Wait::kTurn) continue;  // cancelled by one that came before it
    unit->wait_ = Unit::Wait::kNone;
    unit->activate();
  }
  served_.clear();
}

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
