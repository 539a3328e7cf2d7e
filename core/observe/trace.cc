// SPDX-License-Identifier: Apache-2.0
#include "core/observe/trace.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "core/common/per_process.h"
#include "core/observe/chrome_trace.h"

namespace opennrt::observe::trace {
namespace detail {
std::atomic<std::uint32_t> sessions{0};
}
namespace {

// 256 cores: as many as opennrt/backend.h has bits for.
constexpr std::size_t kRings = 1 + 256;
constexpr const char* kClientWord[kClients] = {"the system trace", "the trace to a file", "the inspection"};

/// Events, oldest first from `first`. Grows up to its limit, then the newest takes the place of the oldest.
class Ring {
 public:
  void add(const Event& event, std::uint64_t limit) noexcept {
    const std::lock_guard lock(mutex_);
    if (slots_.size() < limit && first_ == 0) {
      try {
        slots_.push_back(event);
      } catch (...) {
        ++dropped_;
      }
      return;
    }
    if (slots_.empty()) {
      ++dropped_;
      return;
    }
    try {
      slots_[first_] = event;
    } catch (...) {
    }
    first_ = (first_ + 1) % slots_.size();
    ++dropped_;
  }

  void take(std::uint64_t limit, Taken& taken) {
    std::vector<Event> events;
    {
      const std::lock_guard lock(mutex_);
      std::rotate(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(first_), slots_.end());
      first_ = 0;
      if (limit >= slots_.size()) {
        events.swap(slots_);
      } else {
        const auto end = slots_.begin() + static_cast<std::ptrdiff_t>(limit);
        events.assign(std::make_move_iterator(slots_.begin()), std::make_move_iterator(end));
        slots_.erase(slots_.begin(), end);
      }
      taken.dropped += std::exchange(dropped_, 0);
    }
    taken.events.insert(taken.events.end(), std::make_move_iterator(events.begin()),
                        std::make_move_iterator(events.end()));
  }

 private:
  std::mutex mutex_;
  std::vector<Event> slots_;
  std::size_t first_ = 0;  // not 0 only when the ring is full
  std::uint64_t dropped_ = 0;
};

struct Session {
  Config config;
  std::array<Ring, kRings> rings;  // [0]: events of no core

  Taken take(std::uint64_t per_core, std::optional<std::uint64_t> vnc) {
    Taken taken;
    for (std::size_t i = 0; i < rings.size(); ++i) {
      if (!vnc || (*vnc < kRings - 1 && i == *vnc + 1)) rings[i].take(per_core, taken);
    }
    std::stable_sort(taken.events.begin(), taken.events.end(),
                     [](const Event& a, const Event& b) { return a.timestamp_ns < b.timestamp_ns; });
    return taken;
  }
};

struct Sessions {
  std::shared_mutex mutex;
  std::atomic<std::uint32_t> changing{0};  ///< who waits for the mutex alone, or has it
  std::array<std::unique_ptr<Session>, kClients> list;
};

/// The sessions, alone. Threads that record all the time would never let go of a shared_mutex: they give way to this.
class Alone {
 public:
  explicit Alone(Sessions& all) : all_(all) {
    all_.changing.fetch_add(1, std::memory_order_relaxed);
    all_.mutex.lock();
  }
  ~Alone() {
    all_.mutex.unlock();
    all_.changing.fetch_sub(1, std::memory_order_relaxed);
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  Sessions& all_;
};

thread_local Span* innermost = nullptr;

auto not_recording(Client client) {
  return make_error(ErrorCode::kInvalidArgument, "{} does not record; expected it to have been started",
                    kClientWord[static_cast<std::size_t>(client)]);
}

}  // namespace

bool Config::wants(const Event& event) const {
  return types.test(event.type) &&
         (event.subject.vnc < 0 || !disabled_cores.contains(static_cast<std::uint32_t>(event.subject.vnc)));
}

Status start(Client client, Config config) {
  auto fresh = std::make_unique<Session>();
  config.max_events = std::max<std::uint64_t>(config.max_events, 1);
  fresh->config = std::move(config);
  Sessions& all = per_process<Sessions>();
  const Alone alone(all);
  auto& session = all.list[static_cast<std::size_t>(client)];
  if (session != nullptr) {
    return make_error(ErrorCode::kInvalidArgument, "{} records already; expected it to be stopped first",
                      kClientWord[static_cast<std::size_t>(client)]);
  }
  session = std::move(fresh);
  detail::sessions.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Result<Taken> take(Client client, std::uint64_t per_core, std::optional<std::uint64_t> vnc) {
  Sessions& all = per_process<Sessions>();
  const std::shared_lock lock(all.mutex);
  const auto& session = all.list[static_cast<std::size_t>(client)];
  if (session == nullptr) return not_recording(client);
  return session->take(per_core, vnc);
}

Result<Taken> stop(Client client) {
  std::unique_ptr<Session> gone;
  {
    Sessions& all = per_process<Sessions>();
    const Alone alone(all);
    gone = std::move(all.list[static_cast<std::size_t>(client)]);
    if (gone == nullptr) return not_recording(client);
    detail::sessions.fetch_sub(1, std::memory_order_relaxed);
  }
  return gone->take(UINT64_MAX, std::nullopt);
}

void record(Event event) noexcept {
  Sessions& all = per_process<Sessions>();
  while (all.changing.load(std::memory_order_relaxed) != 0) std::this_thread::yield();
  const std::shared_lock lock(all.mutex);
  const std::int32_t vnc = event.subject.vnc;
  const std::size_t ring =
      vnc >= 0 && static_cast<std::size_t>(vnc) < kRings - 1 ? 1 + static_cast<std::size_t>(vnc) : 0;
  for (const auto& session : all.list) {
    if (session != nullptr && session->config.wants(event)) session->rings[ring].add(event, session->config.max_events);
  }
}

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint64_t now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

std::uint32_t thread_id() {
  thread_local pid_t process = 0, thread = 0;
  if (const pid_t now = getpid(); now != process) {
    process = now;
    thread = gettid();
  }
  return static_cast<std::uint32_t>(thread);
}

void Span::begin(std::optional<Type> type) noexcept {
  if (!type) return;
  event_.emplace();
  event_->type = *type;
  event_->thread = thread_id();
  event_->id = next_id();
  event_->parent_id = parent();
  event_->timestamp_ns = now_ns();
  begin_ = std::chrono::steady_clock::now();
  outer_ = innermost;
  innermost = this;
}

void Span::end() noexcept {
  innermost = outer_;
  const auto took = std::chrono::steady_clock::now() - begin_;
  event_->duration_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
  record(std::move(*event_));
}

void note(Subject subject) {
  if (innermost != nullptr) innermost->event_->subject = std::move(subject);
}

std::uint64_t parent() {
  return innermost == nullptr ? 0 : innermost->event_->id;
}

std::string subject_json(const Event& event) {
  std::string text = fmt::format(R"("id":{},"parent_id":{})", event.id, event.parent_id);
  const Subject& subject = event.subject;
  if (subject.vnc >= 0) text += fmt::format(R"(,"lnc_idx":"{}")", subject.vnc);
  if (subject.kind == Subject::Kind::kTensor) {
    text += fmt::format(R"(,"tensor_name":{},"tensor_id":"{}","size":"{}")",
                        json_string(subject.name.empty() ? "_unknown_" : subject.name), subject.id, subject.bytes);
  } else if (subject.kind == Subject::Kind::kModel) {
    text += fmt::format(R"(,"model_name":{},"model_id":"{}")", json_string(subject.name), subject.id);
  }
  if (event.exec_id != 0) text += fmt::format(R"(,"exec_id":{})", event.exec_id);
  if (event.device_ns != 0) text += fmt::format(R"(,"nc_timestamp_ns":{})", event.device_ns);
  if (event.type == kTimestampSyncPoint) text += fmt::format(R"(,"cpu_timestamp_ns":{})", event.timestamp_ns);
  return text;
}

std::string to_json(const Taken& taken) {
  const std::string common = fmt::format(R"("instance_id":{},"process_id":"{}")", json_string(host_name()), getpid());
  std::string text = R"({"trace_events":[)";
  bool first = true;
  for (const Event& event : taken.events) {
    text += first ? "\n{" : ",\n{";
    first = false;
    const std::string group =
        event.subject.vnc < 0 ? std::string("nrt-host") : fmt::format("nrt-nc-{:03}", event.subject.vnc);
    text += fmt::format(R"("name":"{}","type":{},"group":"{}","timestamp":{},"duration":{},"thread_id":{},{},{}}})",
                        event_types()[event.type].name, event.type, group, event.timestamp_ns, event.duration_ns,
                        event.thread, common, subject_json(event));
  }
  text += fmt::format("\n],\"dropped_events\":{}}}\n", taken.dropped);
  return text;
}

}  // namespace opennrt::observe::trace
