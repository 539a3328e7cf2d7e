// SPDX-License-Identifier: Apache-2.0
//
// Faults at the front door: what a plan says about calls of the C API, and the report about them. Exists only where
// OPENNRT_FAULTS has rules for the front door or markers, or OPENNRT_FAULTS_REPORT is set; whoever would ask finds
// nullptr otherwise.
#pragma once

#include <nrt/nrt_status.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"
#include "core/faults/injector.h"
#include "core/faults/report.h"
#include "core/runtime/config.h"

namespace opennrt::api {

/// What a call is about, as far as its arguments and the calls before it say.
struct CallSubject {
  std::string tensor, model;
  std::uint64_t bytes = 0;  ///< asked for, by nrt_load… (size of the NEFF) and nrt_tensor_allocate
};

/// Thread-safe.
class DoorFaults {
 public:
  /// Reads the variables. The plan that is in force already goes on where it is. `vendor`: who answers. kInvalidArgument, kInvalidFile: source, line, field, what was expected; then
  /// nothing changes.
  static Status configure(const Variables& variables, bool vendor);

  /// nullptr: no call has to ask. A child of fork(2) has none until it calls nrt_init.
  static DoorFaults* current();

  // ---- one call; `function` lives for ever ----
  /// Microseconds to wait before and after the call.
  struct Latency {
    std::chrono::microseconds before{0}, after{0};
  };
  Latency latency(const char* function, const CallSubject& subject);
  struct Verdict {
    NRT_STATUS status = NRT_SUCCESS;
    bool after = false;  ///< the function does its work first
  };
  std::optional<Verdict> status(const char* function, const CallSubject& subject);
  /// Takes `subject.bytes` into the account, to be given to add() or back. kResource: they pass a limit.
  Status reserve(const char* function, const CallSubject& subject);
  void give_back(std::uint64_t bytes);
  /// The call has returned `status`: for the report, and for rules between markers.
  void returned(const char* function, NRT_STATUS status);
  void marker(std::string_view name);

  // ---- what the client has ----
  enum class Sort { kModel, kTensor, kTensorSet };
  struct Object {
    Sort sort = Sort::kModel;
    std::string name;
    std::uint64_t bytes = 0;  ///< in the account
  };
  void add(const void* handle, Object object);
  void put_back(const void* handle, Object object);  ///< remove() was too early
  /// What `handle` was; nothing for one that was not given out.
  std::optional<Object> remove(const void* handle);
  /// Its memory is the client's own now (nrt_tensor_attach_buffer).
  void detach(const void* handle);
  std::string name_of(const void* handle) const;

  void opened();
  bool is_open() const { return open_.load(std::memory_order_acquire); }
  /// nrt_close is about to be called: what has not been freed is forgotten, and reported for the vendor's library, which does
  /// not do that by itself.
  void closing();

 private:
  DoorFaults(faults::Plan plan, bool vendor, std::string text, std::string report_path,
             std::unique_ptr<faults::Report> report);
  faults::Event event_of(const char* function, const CallSubject& subject) const;
  void watch(faults::Injector& injector);
  /// Whether the runtime is open, and so its backend has been told.
  static bool pass_to_backend(const std::string& name);

  /// A limit has a count of its own: which calls are its events depends on it.
  struct Limit {
    std::uint64_t bytes;
    std::unique_ptr<faults::Injector> injector;
  };

  const int pid_;
  const bool vendor_;
  const std::string text_, report_path_;  ///< what it was made from
  const std::unique_ptr<faults::Report> report_;
  faults::Injector calls_;  ///< statuses and latencies
  std::vector<Limit> limits_;
  std::set<std::string, std::less<>> markers_;  ///< those that a rule names
  std::atomic<bool> open_{false};
  std::atomic<std::chrono::steady_clock::rep> opened_at_{0};
  mutable std::mutex mutex_;  ///< of what follows
  std::map<const void*, Object> objects_;
  std::uint64_t in_use_ = 0;
  /// A marker passed while the runtime was not open. `decorated`: the driver's faults know of it.
  struct Missed {
    std::string name;
    bool decorated;
  };
  std::vector<Missed> missed_;
};

}  // namespace opennrt::api
