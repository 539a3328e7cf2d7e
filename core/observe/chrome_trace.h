// SPDX-License-Identifier: Apache-2.0
//
// A file in the Chrome trace event format, which Perfetto and chrome://tracing open
// (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/common/error.h"
#include "core/observe/trace.h"

namespace opennrt::observe {

/// `text` as a JSON string; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);
std::string host_name();  ///< "localhost" when the system does not say
/// Makes the folder when it is not there. kResource names it and the system's reason.
Status make_folder(const std::string& path);

/// Rows are (group, row) pairs: `pid` and `tid` of the format. Times are in nanoseconds and written relative to `origin_ns`, as
/// microseconds with three decimals: those since 1970 would not fit a reader's double. `args`: members of a JSON object, may be empty.
class ChromeTrace {
 public:
  explicit ChromeTrace(std::uint64_t origin_ns) : origin_ns_(origin_ns) {}
  void name_group(std::int64_t group, std::string_view name);
  void name_row(std::int64_t group, std::int64_t row, std::string_view name);
  void span(std::int64_t group, std::int64_t row, std::string_view category, std::string_view name,
            std::uint64_t begin_ns, std::uint64_t duration_ns, std::string_view args);
  void counter(std::int64_t group, std::string_view name, std::uint64_t at_ns, std::string_view args);
  /// A row per NeuronCore for the events of the device, and one per thread and NeuronCore for those of the host.
  void add(const trace::Taken& taken);
  /// `other`: further members of otherData. kResource names the file and the system's reason.
  Status write(const std::string& path, std::string_view other) const;

 private:
  std::string microseconds(std::uint64_t ns) const;
  void item(std::string_view text);

  std::uint64_t origin_ns_;
  std::string items_;
};

}  // namespace opennrt::observe
