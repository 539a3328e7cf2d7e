// SPDX-License-Identifier: Apache-2.0
//
// The system trace: what the runtime does and when. Events go into one ring per NeuronCore, and one for what belongs to no
// core, of each session that records. docs/profiling.md lists the event types.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"

namespace opennrt::observe::trace {

/// Index in event_types().
using Type = std::uint16_t;
struct TypeInfo {
  std::string_view name;
  bool hardware;  ///< of the category "hardware", else of "software"
};
/// Every event type: those that the runtime names itself, then the functions of the C API.
std::span<const TypeInfo> event_types();
std::optional<Type> type_of(std::string_view name);
inline constexpr std::size_t kMaxTypes = 128;

// Types that the runtime names itself.
enum : Type { kNcExecRunning, kTimestampSyncPoint, kNumericalErr, kNrtModelSwitch, kDeviceExec, kModelLoad, kHwNotify };

inline constexpr std::int32_t kNoCore = -1;

/// What an event is about; fields that mean nothing for it are left out of the JSON.
struct Subject {
  enum class Kind : std::uint8_t { kNone, kTensor, kModel } kind = Kind::kNone;
  std::int32_t vnc = kNoCore;
  std::string name;         ///< of the tensor or the model
  std::uint64_t id = 0;     ///< of the tensor (its handle) or of the NEFF
  std::uint64_t bytes = 0;  ///< moved or allocated
};

struct Event {
  Type type = 0;
  std::uint32_t thread = 0;
  std::uint64_t timestamp_ns = 0;  ///< since 1970; of hardware events adjusted to the host's clock
  std::uint64_t duration_ns = 0;
  std::uint64_t id = 0, parent_id = 0;  ///< the event within which this one happened; 0: none
  std::uint64_t exec_id = 0;            ///< of the inference; 0: none
  std::uint64_t device_ns = 0;          ///< the same moment by the device's clock; hardware events only
  Subject subject;
};

// aws-neuron-sdk tools/neuron-explorer/environment-variables.rst.
inline constexpr std::uint64_t kDefaultMaxEvents = 1'000'000;
struct Config {
  std::uint64_t max_events = kDefaultMaxEvents;  ///< of each ring
  std::set<std::uint32_t> disabled_cores;
  std::bitset<kMaxTypes> types{std::bitset<kMaxTypes>().set()};
  bool wants(const Event& event) const;
};

/// Who records. Each has rings of its own.
enum class Client : std::size_t { kFetch, kFile, kInspect };
inline constexpr std::size_t kClients = 3;

struct Taken {
  std::vector<Event> events;  ///< by time
  std::uint64_t dropped = 0;  ///< overwritten before they were taken, or lost for want of memory, since the last taking
};

// Any time, any thread. kInvalidArgument: it records already, or does not.
Status start(Client client, Config config);
/// Takes events out, oldest first: at most `per_core` of each ring, of one core when `vnc` says so.
Result<Taken> take(Client client, std::uint64_t per_core = UINT64_MAX, std::optional<std::uint64_t> vnc = std::nullopt);
/// Ends the session and hands out what is left.
Result<Taken> stop(Client client);

namespace detail {
extern std::atomic<std::uint32_t> sessions;  // a hint: a child of fork(2) inherits it, but no session
}
/// Whether anybody records: one relaxed load.
inline bool on() {
  return detail::sessions.load(std::memory_order_relaxed) != 0;
}

/// Hands the event to every session that wants it; memory that runs out counts as a drop.
void record(Event event) noexcept;

std::uint64_t next_id();
std::uint64_t now_ns();  ///< host clock, since 1970
std::uint32_t thread_id();

/// A software event from construction to destruction. Spans of a thread nest. Costs on() when nobody records.
class Span {
 public:
  explicit Span(std::string_view type) noexcept {
    if (on()) [[unlikely]]
      begin(type_of(type));
  }
  explicit Span(Type type) noexcept {
    if (on()) [[unlikely]]
      begin(type);
  }
  ~Span() {
    if (event_) [[unlikely]]
      end();
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  friend void note(Subject subject);
  friend std::uint64_t parent();
  void begin(std::optional<Type> type) noexcept;
  void end() noexcept;

  std::optional<Event> event_;  // while somebody records
  Span* outer_ = nullptr;
  std::chrono::steady_clock::time_point begin_;
};

/// Says what the innermost span of this thread is about; the caller asks on() first.
void note(Subject subject);
/// Id of the innermost span of this thread; 0: none.
std::uint64_t parent();

/// The events as docs/profiling.md has them: {"trace_events": […], "dropped_events": n}.
std::string to_json(const Taken& taken);
/// The members of one event's JSON object, without braces: what to_json() and the Chrome trace share.
std::string subject_json(const Event& event);

}  // namespace opennrt::observe::trace
