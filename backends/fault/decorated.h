// SPDX-License-Identifier: Apache-2.0
//
// A backend and its devices with faults in front of them.
#pragma once

#include <opennrt/backend.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "backends/fault/faults.h"
#include "backends/fault/notifications.h"

namespace opennrt::fault {

/// What an opennrt_backend_t* of the decorated table leads to. Thread-safe.
class Backend {
 public:
  Backend(const opennrt_backend_api_t& inner, Listener listener, std::shared_ptr<Faults> faults);

  const opennrt_backend_api_t& inner() const { return inner_; }
  /// What the inner backend is to be opened for; lives as long as this.
  const opennrt_host_t* host_of_inner() const { return &host_of_inner_; }
  opennrt_backend_t* handle = nullptr;  ///< the inner one's, set once it is open
  /// A child inherits nothing; the inner backend tells it so.
  bool forked() const { return pid_ != ::getpid(); }
  Faults& faults() const { return *faults_; }
  const faults::Rule* strike(Kind kind, const Place& place, std::uint64_t now_ns) const {
    return faults_->strike(kind, place, now_ns, listener_);
  }
  /// Of no device.
  const faults::Rule* strike(Kind kind, const Place& place) const { return strike(kind, place, faults_->time_ns()); }
  bool strike(const Faults::Limit& limit, const Place& place, std::uint64_t now_ns) const {
    return faults_->strike(limit, place, now_ns, listener_);
  }
  /// Faults that any operation can have: 0, or the errno that it is to answer without being done. May take its time.
  int before(const Place& place, std::uint64_t now_ns) const;
  int before(const Place& place) const { return before(place, faults_->time_ns()); }
  /// The same for an operation that cannot fail.
  void before_void(const Place& place) const;

  int version(opennrt_driver_version_t* version) const;
  int devices(std::uint32_t* numbers, std::uint32_t* count) const;
  int device_open(std::uint32_t number, opennrt_device_t** device);
  int cores_reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t* taken,
                    std::uint32_t* available);
  int core_holder(std::uint32_t core, opennrt_core_holder_t* holder);

 private:
  const opennrt_backend_api_t inner_;
  const Listener listener_;
  const std::shared_ptr<Faults> faults_;
  const pid_t pid_;
  opennrt_host_t host_of_inner_;
  std::mutex mutex_;
  std::map<std::uint32_t, opennrt_core_holder_t> held_;  ///< by whom the plan says so, since the last reservation
};

/// What an opennrt_device_t* of the decorated table leads to. Thread-safe.
class Device {
 public:
  Device(Backend& backend, std::uint32_t number, opennrt_device_t* handle);

  Backend& backend() const { return backend_; }
  const opennrt_backend_api_t& inner() const { return backend_.inner(); }
  opennrt_device_t* handle() const { return handle_; }
  std::uint32_t number() const { return number_; }
  std::uint64_t now() const;  ///< 0 when no rule asks for it
  std::uint64_t look_at_clock() const;

  int before(std::string_view operation, std::int64_t core);
  /// The core that memory is accounted to; -1: no such memory.
  std::int64_t core_of_memory(opennrt_mem_t memory);
  std::int64_t core_of_request(std::uint32_t request);
  std::int64_t core_of_number(std::uint32_t machine_core) const {
    return machine_core >= first_core_ ? machine_core - first_core_ : -1;
  }

  int info(opennrt_device_info_t* info);
  int mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t* memory);
  int mem_free(opennrt_mem_t memory);
  int mem_stats(std::uint32_t core, opennrt_mem_stats_t* stats);
  int nq_init(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint32_t bytes,
              opennrt_nq_t* queue);
  int nq_destroy(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine);
  int nq_consume(std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine, std::uint64_t entries);
  int reset_start(std::uint32_t core_map, std::uint32_t* request);
  int reset_wait(std::uint32_t request, std::int32_t* result);
  int clock(std::uint64_t* nanoseconds);
  int wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline);

 private:
  struct Allocation {
    std::int64_t core;
    std::uint64_t bytes;
    bool host;
  };
  Place place(std::string_view operation, std::int64_t core) const { return {operation, number_, core, -1, this}; }
  Fate judge(std::uint32_t core, opennrt_nq_type_t type) const;
  /// The limit that an allocation passes; null: none.
  const Faults::Limit* limit_passed(const opennrt_mem_params_t& params);

  Backend& backend_;
  const std::uint32_t number_;
  opennrt_device_t* const handle_;
  const std::uint32_t removals_;  ///< of the device, when it was opened
  std::uint32_t first_core_ = 0, core_count_ = 0;
  bool virtual_time_ = false;
  std::unique_ptr<Notifications> notifications_;  ///< null: the runtime reads the device's own queues
  std::mutex mutex_;                              ///< of what follows
  std::map<opennrt_mem_t, Allocation> memories_;
  std::map<std::uint32_t, std::uint32_t> resets_;  ///< request → core map
};

}  // namespace opennrt::fault
