// SPDX-License-Identifier: Apache-2.0
//
// Decides at each event whether a fault strikes. Exists only where a plan has rules for the level: whoever would ask holds
// a null pointer otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/faults/plan.h"

namespace opennrt::faults {

/// What happens, and where. A field that has no meaning at an event stays as it is here; a rule that asks for it then does not
/// match.
struct Event {
  std::int64_t device = -1, core = -1, queue = -1;
  std::string_view engine{}, function{}, operation{}, tensor{}, model{};
  std::uint64_t now_ns = 0;  ///< of the device; front door: since nrt_init
  bool named_only = false;   ///< an event only of rules that name an operation: how often it happens depends on time
};

/// One fault that struck, for reports: which event it was makes it reproducible.
struct Strike {
  const Rule* rule = nullptr;
  std::uint64_t event = 0;  ///< its number at its place
  std::int64_t device = -1, core = -1;
  std::string function;   ///< front door; the third part of a place
  std::string operation;  ///< driver
  std::uint64_t now_ns = 0;
};

/// Thread-safe. Rules and strikes live as long as it does.
class Injector {
 public:
  /// Takes the plan's rules of this level whose `process` matches this process.
  Injector(Plan plan, Level level);
  ~Injector();
  Injector(const Injector&) = delete;
  Injector& operator=(const Injector&) = delete;

  /// The first rule of `kind` that strikes at this event; null: none. Every rule of the kind that matches counts the event.
  /// Cheap when no rule has the kind.
  const Rule* strike(const Kind& kind, const Event& event);
  bool wants(const Kind& kind) const;

  /// A marker was passed (rules with from/to).
  void marker(std::string_view name);

  /// The first 65536.
  std::vector<Strike> strikes() const;
  /// Told of each strike, in the thread where it happens: log, counters, system trace.
  void on_strike(std::function<void(const Strike&)> report);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Detail of a rule with its default filled in by the parser.
bool flag(const Rule& rule, const char* name);
std::int64_t integer(const Rule& rule, const char* name);
std::uint64_t bits(const Rule& rule, const char* name);
double number(const Rule& rule, const char* name);
const std::string& text(const Rule& rule, const char* name);

}  // namespace opennrt::faults
