// SPDX-License-Identifier: Apache-2.0
//
// What passes the front door: counts of calls, failures and time by function, a file with them, and a file with a line
// for each call. On every backend; nothing of it costs anything unless it is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/common/error.h"

namespace opennrt::observe::calls {

struct Settings {
  std::string record;  ///< OPENNRT_CALL_RECORD: a line for each call is appended to this file; empty: none
  std::string stats;   ///< OPENNRT_CALL_STATS: the counts as JSON, written by write_stats(); empty: none
  bool operator==(const Settings&) const = default;
};

/// Puts the settings in force. `names`: of the functions, which live for ever; the same ones each time.
/// kInvalidArgument when a file cannot be opened; then nothing changes. Thread-safe.
Status configure(const Settings& settings, std::span<const char* const> names);

/// Whether somebody wants the time of each call: then it goes to time(), and else to count(). One relaxed load.
bool timed();

/// A call has ended. Thread-safe, no allocation; with a number that is no function, nothing.
void count(std::size_t function, bool failed) noexcept;

/// A call that was timed, in nanoseconds of the monotonic clock. `text`: "nrt_load(size=12) = NRT_SUCCESS", as the
/// record has it; asked for only when recording().
bool recording();
void time(std::size_t function, bool failed, std::uint64_t begin_ns, std::uint64_t end_ns,
          std::string_view text) noexcept;

struct Count {
  std::uint64_t calls = 0, failures = 0, nanoseconds = 0;
};
Count of(std::size_t function);
/// Of all functions.
Count total();

/// Writes the file of Settings::stats, if there is one: functions that have been called, by name. Counts stay.
/// `backend`: who answered. kInvalidArgument when it cannot be written. Only in the process that configured.
Status write_stats(std::string_view backend);

}  // namespace opennrt::observe::calls
