// SPDX-License-Identifier: Apache-2.0
//
// Deterministic mode (OPENNRT_SIM_DETERMINISTIC=1): whose work the machine does next.
//
// Several threads that submit at once share DRAM, links and the order of events, so how long an inference takes in
// simulated
// time depends on who was first. In deterministic mode nothing of that is left: a core's doorbells are held back until
// somebody waits for the core, and then the work of one core at a time is let into a machine that has nothing left to
// do and
// whose clock stands at a whole microsecond (a whole number of cycles for any clock in MHz). Pending cores get in by
// the
// number of their submission, and by core number where that is equal. Copies are submissions, too.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "backends/sim/log.h"
#include "simulator/machine.h"

namespace opennrt::driver {

struct Doorbell {
  std::uint32_t engine = 0, queue = 0, tx_count = 0, rx_count = 0;
};

/// Thread-safe. `core` is machine-wide.
class Admission {
 public:
  Admission(sim::Machine& machine, bool deterministic, const Log& log)
      : machine_(machine), deterministic_(deterministic), log_(log) {}

  bool deterministic() const { return deterministic_; }

  /// While it lives, its core's work is the only one that makes simulated time pass (deterministic mode; else it does
  /// nothing).
  class Pass {
   public:
    Pass(Pass&& other) noexcept
        : waited_ns(other.waited_ns),
          doorbells(std::move(other.doorbells)),
          admission_(std::exchange(other.admission_, nullptr)) {}
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (admission_ != nullptr) admission_->leave();
    }

    std::uint64_t waited_ns = 0;      ///< how far others moved the clock before this core was let in
    std::vector<Doorbell> doorbells;  ///< held back until now: the owner of the pass rings them

   private:
    friend class Admission;
    explicit Pass(Admission* admission) : admission_(admission) {}
    Admission* admission_;
  };

  /// A copy on behalf of a core.
  Pass enter_copy(std::uint32_t core);
  /// A wait for a core: takes its held doorbells along, and is a submission if there are any.
  Pass enter_wait(std::uint32_t core);
  /// True: kept until the next enter_wait. False: ring it now.
  bool hold(std::uint32_t core, const Doorbell& doorbell);
  /// Forgets what is held for a queue (it is initialised anew), or for a whole core (it is reset).
  void drop(std::uint32_t core, std::uint32_t engine, std::uint32_t queue);
  void drop(std::uint32_t core);

 private:
  Pass enter(std::uint32_t core, bool copy);
  void leave();
  void settle();

  sim::Machine& machine_;
  const bool deterministic_;
  const Log log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
  std::uint32_t owner_ = 0;
  std::uint64_t arrivals_ = 0;
  std::map<std::uint32_t, std::uint64_t> submissions_;
  std::map<std::uint32_t, std::vector<Doorbell>> held_;
  std::set<std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>> pending_;  ///< submission, core, arrival
};

}  // namespace opennrt::driver
