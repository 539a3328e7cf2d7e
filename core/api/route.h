// SPDX-License-Identifier: Apache-2.0
//
// Who answers the C API in this process: this library, or the vendor's behind it (OPENNRT_BACKEND=vendor, core/vendor).
#pragma once

#include <nrt/nrt_status.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/common/error.h"
#include "core/vendor/library.h"

namespace opennrt::api {

/// The functions, by the names of the API, in the order of functions.inc.
enum class Function : std::uint16_t {
#define OPENNRT_FUNCTION(result, name, parameters, arguments) name,
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION
};

/// Their names, in that order, which is also that of the alphabet.
std::span<const char* const> function_names();

/// The decision, and how far the answering library has got. Thread-safe.
class Route {
 public:
  static Route& current();

  enum class Moment { kFirstCall, kInit };
  /// Decides who answers, unless that has been done, and leads every function there (lead_all()). nrt_init decides anew
  /// while nothing is open. kDeviceGone: the vendor's library cannot be used. kState: the process has objects of the
  /// other library. kInvalidArgument: OPENNRT_CALL_RECORD or the log's settings. After a failure the same one answers.
  Status choose(Moment moment);

  /// nrt_init and nrt_close of the library that answers have been called.
  void opened(bool success);
  void closed();
  /// Writes the counts where they are wanted.
  void write_stats();

  /// Whether somebody has decided.
  bool decided() const { return decided_.load(std::memory_order_acquire); }

  /// nullptr: this library answers.
  const vendor::Library* library() const { return library_.load(std::memory_order_acquire); }

 private:
  bool open() const;
  Status take_vendor(const std::string& path);
  void announce() const;
  static void at_exit();

  std::atomic<const vendor::Library*> library_{nullptr};
  std::shared_ptr<const vendor::Library> held_;
  std::atomic<bool> decided_{false};
  std::atomic<int> open_in_{0};  ///< the process whose nrt_init the vendor's library has answered with success
};

/// Leads every function to its destination: this library's own, or the vendor's. `watched`: by way of the counts and
/// the record. In front_door.cc, which knows the functions' types.
void lead_all(const vendor::Library* library, bool watched);

}  // namespace opennrt::api
