// SPDX-License-Identifier: Apache-2.0
#include "core/faults/injector.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <charconv>
#include <fstream>
#include <map>
#include <mutex>
#include <tuple>

#include "core/faults/catalogue.h"
#include "core/faults/hash.h"

namespace opennrt::faults {
namespace {

constexpr std::size_t kMaxStrikesKept = 65536;  // on_strike is told of all

/// The finalizer of splitmix64 (public domain, https://prng.di.unimi.it/splitmix64.c).
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// A place and, looked up without a copy, its name.
struct Place {
  std::int64_t device, core;
  std::string function;
};
struct PlaceView {
  std::int64_t device, core;
  std::string_view function;
};
struct Before {
  using is_transparent = void;
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return std::tuple(a.device, a.core, std::string_view(a.function)) <
           std::tuple(b.device, b.core, std::string_view(b.function));
  }
};

struct Counted {
  std::uint64_t events = 0, struck = 0;
};

bool same(const std::optional<std::uint32_t>& wanted, bool none, std::int64_t there) {
  if (none) return there < 0;
  return !wanted || there == std::int64_t{*wanted};
}

bool same(const std::string& wanted, std::string_view there) {
  return wanted.empty() || (!there.empty() && matches(wanted, there));
}

bool matches_where(const Where& where, const Event& event) {
  if (event.named_only && where.operation.empty()) return false;
  return same(where.device, where.no_device, event.device) && same(where.core, where.no_core, event.core) &&
         same(where.queue, false, event.queue) && same(where.engine, event.engine) &&
         same(where.function, event.function) && same(where.operation, event.operation) &&
         same(where.tensor, event.tensor) && same(where.model, event.model);
}

std::string command_name() {
  std::ifstream file("/proc/self/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// "nrt_load:2" → the second nrt_load.
struct Marker {
  std::string name;
  std::uint64_t count = 1;

  explicit Marker(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    name = text.substr(0, colon);
    if (colon != std::string::npos) std::from_chars(text.data() + colon + 1, text.data() + text.size(), count);
  }
};

/// A rule and what was counted for it.
struct Watched {
  Watched(Rule watched, std::uint64_t seed)
      : rule(std::move(watched)), stream(mix(seed) ^ hash_of(rule.name)), from(rule.when.from), to(rule.when.to) {
    began = rule.when.from.empty();
  }

  bool selected(std::uint64_t event, const PlaceView& place) const {
    const When& when = rule.when;
    if (when.every != 0) {
      const std::uint64_t first = when.nth != 0 ? when.nth : when.every;
      if (event < first || (event - first) % when.every != 0) return false;
    } else if (when.nth != 0 && event != when.nth) {
      return false;
    }
    if (when.probability >= 1) return true;
    std::uint64_t draw = mix(stream ^ static_cast<std::uint64_t>(place.device));
    draw = mix(draw ^ static_cast<std::uint64_t>(place.core));
    draw = mix(draw ^ hash_of(place.function));
    draw = mix(draw ^ event);
    return static_cast<double>(draw >> 11) * 0x1p-53 < when.probability;
  }

  bool open() const { return began.load(std::memory_order_acquire) && !ended.load(std::memory_order_acquire); }

  const Rule rule;
  const std::uint64_t stream;
  const Marker from, to;
  std::atomic<bool> began = false, ended = false;
  std::map<Place, Counted, Before> places;
};

template <typename T>
const T& detail_of(const Rule& rule, const char* name) {
  static const T kNothing{};  // the parser has filled everything in: only a name that the catalogue lacks comes here
  const auto found = rule.detail.find(name);
  const T* value = found == rule.detail.end() ? nullptr : std::get_if<T>(&found->second);
  assert(value != nullptr);
  return value != nullptr ? *value : kNothing;
}

/// The rules of one kind.
struct OfKind {
  std::vector<Watched*> rules;
  std::mutex mutex;  ///< of what they count
};

}  // namespace

struct Injector::State {
  std::vector<std::unique_ptr<Watched>> rules;
  std::vector<OfKind> by_kind{kinds().size()};  ///< in the catalogue's order
  mutable std::mutex mutex;                     ///< of what follows
  std::map<std::string, std::uint64_t, std::less<>> markers;
  std::vector<Strike> strikes;
  std::shared_ptr<const std::function<void(const Strike&)>> report;

  OfKind& of(const Kind& kind) { return by_kind[static_cast<std::size_t>(&kind - kinds().data())]; }
};

Injector::Injector(Plan plan, Level level) : state_(std::make_unique<State>()) {
  const std::string process = command_name();
  for (Rule& rule : plan.rules) {
    if (rule.kind->level != level || !same(rule.where.process, process)) continue;
    state_->rules.push_back(std::make_unique<Watched>(std::move(rule), plan.seed));
    state_->of(*state_->rules.back()->rule.kind).rules.push_back(state_->rules.back().get());
  }
}

Injector::~Injector() = default;

bool Injector::wants(const Kind& kind) const {
  return !state_->of(kind).rules.empty();
}

const Rule* Injector::strike(const Kind& kind, const Event& event) {
  Watched* first = nullptr;
  Strike struck;
  const PlaceView place{event.device, event.core, event.function};
  OfKind& of = state_->of(kind);
  if (of.rules.empty()) return nullptr;
  // One lock for all rules of the kind: each counts this event before any of them counts the next one.
  std::unique_lock counting(of.mutex);
  for (Watched* watched : of.rules) {
    if (!matches_where(watched->rule.where, event)) continue;
    auto counted = watched->places.find(place);
    if (counted == watched->places.end())
      counted = watched->places.emplace(Place{place.device, place.core, std::string(place.function)}, Counted{}).first;
    Counted& count = counted->second;
    ++count.events;
    if (first != nullptr || (watched->rule.times != 0 && count.struck >= watched->rule.times) || !watched->open() ||
        event.now_ns < watched->rule.when.after_ns || !watched->selected(count.events, place))
      continue;
    ++count.struck;
    first = watched;
    struck = {&watched->rule,
              count.events,
              event.device,
              event.core,
              std::string(event.function),
              std::string(event.operation),
              event.now_ns};
  }
  counting.unlock();
  if (first == nullptr) return nullptr;
  std::shared_ptr<const std::function<void(const Strike&)>> report;
  {
    const std::scoped_lock lock(state_->mutex);
    if (state_->strikes.size() < kMaxStrikesKept) state_->strikes.push_back(struck);
    report = state_->report;
  }
  if (report != nullptr) (*report)(struck);
  return &first->rule;
}

void Injector::marker(std::string_view name) {
  const std::scoped_lock lock(state_->mutex);
  auto passed = state_->markers.find(name);
  if (passed == state_->markers.end()) passed = state_->markers.emplace(std::string(name), 0).first;
  const std::uint64_t count = ++passed->second;
  const auto reached = [&](const Marker& marker) { return marker.name == name && marker.count == count; };
  for (const auto& watched : state_->rules) {
    if (reached(watched->from)) watched->began.store(true, std::memory_order_release);
    if (reached(watched->to)) watched->ended.store(true, std::memory_order_release);
  }
}

std::vector<Strike> Injector::strikes() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->strikes;
}

void Injector::on_strike(std::function<void(const Strike&)> report) {
  const std::scoped_lock lock(state_->mutex);
  state_->report = report ? std::make_shared<const std::function<void(const Strike&)>>(std::move(report)) : nullptr;
}

bool flag(const Rule& rule, const char* name) {
  return detail_of<bool>(rule, name);
}

std::int64_t integer(const Rule& rule, const char* name) {
  return detail_of<std::int64_t>(rule, name);
}

std::uint64_t bits(const Rule& rule, const char* name) {
  return detail_of<std::uint64_t>(rule, name);
}

double number(const Rule& rule, const char* name) {
  return detail_of<double>(rule, name);
}

const std::string& text(const Rule& rule, const char* name) {
  return detail_of<std::string>(rule, name);
}

}  // namespace opennrt::faults
