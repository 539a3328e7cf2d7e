// SPDX-License-Identifier: Apache-2.0
#include "backends/fault/notifications.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace opennrt::fault {
namespace {

thread_local bool waits_for_late = false;

constexpr std::uint8_t phase_of(std::uint64_t entry, std::uint64_t room) {
  return (entry / room) % 2 == 0 ? 1 : 0;
}

}  // namespace

void Notifications::add(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, opennrt_nq_t& queue) {
  const std::lock_guard lock(mutex_);
  Queue& ours = queues_[Key{core, type, engine}];
  if (ours.ring.empty() || ours.stale) {
    std::vector<Entry> ring = std::move(ours.ring);
    ours = {};
    ours.ring = std::move(ring);  // after a reset: in the same memory
    ours.ring.resize(queue.bytes / sizeof(Entry));
    std::fill(ours.ring.begin(), ours.ring.end(), Entry{});
  }
  ours.from = static_cast<const std::byte*>(const_cast<const void*>(queue.entries));
  queue.entries = ours.ring.data();
  queue.bytes = static_cast<std::uint32_t>(ours.ring.size() * sizeof(Entry));
}

Notifications::Taken Notifications::remove(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  const std::lock_guard lock(mutex_);
  return queues_.extract(Key{core, type, engine});
}

void Notifications::put_back(Taken queue) {
  const std::lock_guard lock(mutex_);
  if (!queue.empty()) queues_.insert(std::move(queue));
}

void Notifications::reset(std::uint32_t core) {
  const std::lock_guard lock(mutex_);
  for (auto& [key, queue] : queues_)
    if (std::get<0>(key) == core) queue.stale = true;
}

int Notifications::consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(Key{core, type, engine});
  if (found == queues_.end() || entries > found->second.written) return -EINVAL;
  found->second.consumed = entries;
  pump(core, core, now());
  return 0;
}

std::uint64_t Notifications::now() const {
  std::uint64_t now_ns = 0;
  return inner_.clock != nullptr && inner_.clock(device_, &now_ns) == 0 ? now_ns : 0;
}

/// What the device has written goes into the queue of what is on its way.
void Notifications::take(const Key& key, Queue& queue, std::uint64_t now_ns) {
  const std::uint64_t room = queue.ring.size(), before = queue.taken;
  if (queue.stale || room == 0) return;
  const auto& [core, type, engine] = key;
  while (queue.written - queue.consumed + queue.late.size() < room) {
    const std::byte* at = queue.from + (queue.taken % room) * sizeof(Entry);
    // The device writes the phase last; what it wrote before is there once the phase is.
    if (__atomic_load_n(reinterpret_cast<const std::uint8_t*>(at), __ATOMIC_ACQUIRE) != phase_of(queue.taken, room))
      break;
    Entry entry;
    std::memcpy(&entry, at, sizeof(entry));
    entry.phase = 0;
    ++queue.taken;
    const Fate fate = judge_(core, type);
    if (fate.lost) continue;
    std::uint32_t words[sizeof(Entry) / sizeof(std::uint32_t)];
    std::memcpy(words, &entry, sizeof(entry));
    words[fate.word % std::size(words)] ^= fate.mask;
    std::memcpy(&entry, words, sizeof(entry));
    std::uint64_t due = now_ns + fate.delay_ns;
    if (!queue.late.empty()) due = std::max(due, queue.late.back().due_ns);  // order is kept
    for (int i = fate.twice ? 2 : 1; i > 0; --i) queue.late.push_back({due, entry});
  }
  if (queue.taken != before && inner_.nq_consume != nullptr)
    inner_.nq_consume(device_, core, type, engine, queue.taken);
}

/// What has arrived is written to our ring, the phase last.
void Notifications::give(Queue& queue, std::uint64_t until_ns) {
  const std::uint64_t room = queue.ring.size();
  while (!queue.late.empty() && queue.late.front().due_ns <= until_ns && queue.written - queue.consumed < room) {
    const Entry& entry = queue.late.front().entry;
    auto* at = reinterpret_cast<std::byte*>(&queue.ring[queue.written % room]);
    const std::uint8_t phase = phase_of(queue.written, room) ^ entry.phase;
    std::memcpy(at + 1, reinterpret_cast<const std::byte*>(&entry) + 1, sizeof(Entry) - 1);
    __atomic_store_n(reinterpret_cast<std::uint8_t*>(at), phase, __ATOMIC_RELEASE);
    if (entry.phase == 0 && queue.readable == queue.written) ++queue.readable;
    ++queue.written;
    queue.late.pop_front();
  }
}

/// An error that came before an end must be readable before that end is: ends are taken first and given last. (The map
/// has the types in their order: trace, notify, event, error.)
void Notifications::pump(std::uint32_t first_core, std::uint32_t last_core, std::uint64_t until_ns) {
  const std::uint64_t now_ns = now();
  const auto each = [&](bool ends, auto&& act) {
    for (auto& [key, queue] : queues_)
      if (std::get<0>(key) >= first_core && std::get<0>(key) <= last_core &&
          (std::get<1>(key) == OPENNRT_NQ_NOTIFY) == ends)
        act(key, queue);
  };
  const auto take_one = [&](const Key& key, Queue& queue) { take(key, queue, now_ns); };
  const auto give_one = [&](const Key&, Queue& queue) { give(queue, std::max(now_ns, until_ns)); };
  each(true, take_one);
  each(false, take_one);
  each(false, give_one);
  each(true, give_one);
}

int Notifications::wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline) {
  std::uint64_t until = 0;  // time that has passed although the clock does not say so
  std::uint64_t waited_for = UINT64_MAX;
  for (;;) {
    std::uint64_t readable = 0, taken = 0, due = UINT64_MAX;
    {
      const std::lock_guard lock(mutex_);
      pump(core, core, until);
      for (const auto& [key, queue] : queues_) {
        if (std::get<0>(key) != core || queue.stale) continue;
        readable += queue.readable;
        taken += queue.taken;
        if (!queue.late.empty() && queue.late.front().due_ns > until) due = std::min(due, queue.late.front().due_ns);
      }
    }
    if (readable > seen) return 0;
    // The device has more, but there is no room for it, and nobody makes any.
    if (taken == waited_for) return -ETIMEDOUT;
    waits_for_late = due <= deadline;
    const int result = inner_.wait(device_, core, taken, std::min(deadline, due));
    waits_for_late = false;
    if (result == 0) {
      waited_for = taken;
      continue;
    }
    if (result != -ETIMEDOUT || due > deadline) return result;
    // Either the clock says so, or a simulated device knows that nothing else happens before.
    until = due;
    waited_for = UINT64_MAX;
  }
}

bool Notifications::waiting_for_late() {
  return waits_for_late;
}

void Notifications::poll() {
  const std::lock_guard lock(mutex_);
  pump(0, UINT32_MAX, 0);
}

}  // namespace opennrt::fault
