// SPDX-License-Identifier: Apache-2.0
//
// Notification queues whose entries can get lost, late, twice or damaged on their way. The runtime reads rings of ours, which
// are filled from the device's.
#pragma once

#include <opennrt/backend.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "core/isa/inf1.h"

namespace opennrt::fault {

using Entry = inf1::chosen::Notification;

/// What becomes of an entry.
struct Fate {
  bool lost = false, twice = false;
  std::uint64_t delay_ns = 0;
  std::uint32_t word = 0, mask = 0;  ///< bits that are inverted
};

/// The queues of one device. Thread-safe.
class Notifications {
  using Key = std::tuple<std::uint32_t, opennrt_nq_type_t, std::uint32_t>;  ///< core, type, engine
  struct Late {
    std::uint64_t due_ns;
    Entry entry;  ///< its phase: bits that are inverted
  };
  struct Queue {
    const std::byte* from = nullptr;  ///< the device's ring
    std::vector<Entry> ring;          ///< ours
    std::uint64_t taken = 0;          ///< entries of the device's
    std::uint64_t written = 0;        ///< entries of ours
    std::uint64_t readable = 0;       ///< of them, those that the reader can see: none behind a wrong phase
    std::uint64_t consumed = 0;       ///< by the reader
    std::deque<Late> late;
    bool stale = false;  ///< the core was reset since
  };

 public:
  using Taken = std::map<Key, Queue>::node_type;
  using Judge = std::function<Fate(std::uint32_t core, opennrt_nq_type_t type)>;

  /// `judge` is asked once for each entry that arrives.
  Notifications(const opennrt_backend_api_t& inner, opennrt_device_t* device, Judge judge)
      : inner_(inner), device_(device), judge_(std::move(judge)) {}

  /// After the inner nq_init has given `queue`: puts our ring in place of the device's.
  void add(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, opennrt_nq_t& queue);
  Taken remove(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  void put_back(Taken queue);
  /// The core was reset: its queues start again with the next nq_init.
  void reset(std::uint32_t core);
  int consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries);
  /// As the table's function; only if the inner backend has one.
  int wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline);
  /// This thread is in the inner wait() until an entry that is late: that it ends with nothing more from the device is well.
  static bool waiting_for_late();
  /// For backends without wait(): takes what has arrived on all cores.
  void poll();

 private:
  /// All with mutex_ held.
  std::uint64_t now() const;
  void take(const Key& key, Queue& queue, std::uint64_t now_ns);
  static void give(Queue& queue, std::uint64_t until_ns);
  void pump(std::uint32_t first_core, std::uint32_t last_core, std::uint64_t until_ns);

  const opennrt_backend_api_t& inner_;
  opennrt_device_t* device_;
  Judge judge_;
  std::mutex mutex_;
  std::map<Key, Queue> queues_;
};

}  // namespace opennrt::fault
