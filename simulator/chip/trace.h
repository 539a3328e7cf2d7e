// SPDX-License-Identifier: Apache-2.0
//
// What every engine and DMA queue did and when, as Chrome trace JSON (opens in Perfetto and chrome://tracing).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/common/error.h"

namespace opennrt::sim {

/// Spans in memory until write(). When off, callers skip building names (`if (trace.on())`), so it costs one test.
class Trace {
 public:
  /// Rows of a core: 0..2 engines in the order of isa::Engine, kDmaRow + engine-in-core * 16 + queue for DMA queues.
  static constexpr std::uint32_t kDmaRow = 8;

  void start(bool on);
  bool on() const { return on_; }
  /// `core` counts over the machine (device * 4 + core of the device). `kind`: "busy", "wait" or "dma".
  void span(std::uint32_t core, std::uint32_t row, const char* kind, const std::string& name, std::uint64_t start_ps,
            std::uint64_t end_ps, const std::string& detail = {});
  /// Writes all spans and forgets them. kResource names the file and the system's reason.
  Status write(const std::string& path);
  void clear();

  struct Span {
    std::uint32_t core, row, name, detail;
    const char* kind;
    std::uint64_t start_ps, end_ps;
  };
  const std::vector<Span>& spans() const { return spans_; }

 private:
  std::uint32_t intern(const std::string& text);

  bool on_ = false;
  std::uint64_t dropped_ = 0;
  std::vector<Span> spans_;
  std::vector<std::string> texts_;
  std::unordered_map<std::string, std::uint32_t> text_index_;

  static constexpr std::size_t kMaxSpans = 8'000'000;  // about 400 MB; beyond it only the count is kept
};

}  // namespace opennrt::sim
