// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/trace.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/isa/inf1.h"

namespace opennrt::sim {
namespace {

std::string row_name(std::uint32_t row) {
  static constexpr const char* kEngines[] = {"pe", "act", "pool"};
  if (row < 3) return kEngines[row];
  const std::uint32_t queue = row - Trace::kDmaRow;
  return fmt::format("dma {}/{}", queue / inf1::kQueuesPerDmaEngine, queue % inf1::kQueuesPerDmaEngine);
}

/// Microseconds with the picoseconds kept: "12.345678".
std::string microseconds(std::uint64_t ps) {
  return fmt::format("{}.{:06}", ps / 1'000'000, ps % 1'000'000);
}

}  // namespace

void Trace::start(bool on) {
  clear();
  on_ = on;
  if (on_) intern({});
}

void Trace::clear() {
  on_ = false;
  dropped_ = 0;
  spans_ = {};
  texts_ = {};
  text_index_ = {};
}

std::uint32_t Trace::intern(const std::string& text) {
  auto [it, fresh] = text_index_.try_emplace(text, static_cast<std::uint32_t>(texts_.size()));
  if (fresh) texts_.push_back(text);
  return it->second;
}

void Trace::span(std::uint32_t core, std::uint32_t row, const char* kind, const std::string& name,
                 std::uint64_t start_ps, std::uint64_t end_ps, const std::string& detail) {
  if (!on_) return;
  if (spans_.size() >= kMaxSpans) {
    ++dropped_;
    return;
  }
  spans_.push_back({core, row, intern(name), intern(detail), kind, start_ps, end_ps});
}

Status Trace::write(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return make_error(ErrorCode::kResource, "cannot write the trace file {}: {}", path, std::strerror(errno));
  }
  fmt::memory_buffer out;
  bool failed = false;
  auto flush = [&](std::size_t at_least) {
    if (out.size() < at_least) return;
    failed |= std::fwrite(out.data(), 1, out.size(), file) != out.size();
    out.clear();
  };
  auto add = [&](std::string_view text) { out.append(text.data(), text.data() + text.size()); };

  std::set<std::uint32_t> cores;
  std::set<std::pair<std::uint32_t, std::uint32_t>> rows;
  for (const Span& span : spans_) {
    cores.insert(span.core);
    rows.insert({span.core, span.row});
  }
  add(fmt::format("{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"dropped_spans\":{}}},\"traceEvents\":[", dropped_));
  bool first = true;
  auto separate = [&] {
    add(first ? "\n" : ",\n");
    first = false;
  };
  for (std::uint32_t core : cores) {
    separate();
    add(fmt::format("{{\"ph\":\"M\",\"pid\":{},\"name\":\"process_name\",\"args\":{{\"name\":\"device {} core {}\"}}}}",
                    core, core / inf1::kCoresPerDevice, core % inf1::kCoresPerDevice));
  }
  for (const auto& [core, row] : rows) {
    separate();
    add(fmt::format("{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}",
                    core, row, row_name(row)));
    separate();
    add(fmt::format(
        "{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"thread_sort_index\",\"args\":{{\"sort_index\":{}}}}}", core,
        row, row));
  }
  std::vector<std::string> quoted;
  quoted.reserve(texts_.size());
  for (const std::string& text : texts_) {
    quoted.push_back(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  for (const Span& span : spans_) {
    separate();
    add(fmt::format("{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"cat\":\"{}\",\"name\":{},\"ts\":{},\"dur\":{}", span.core,
                    span.row, span.kind, quoted[span.name], microseconds(span.start_ps),
                    microseconds(span.end_ps - span.start_ps)));
    if (span.detail != 0) add(fmt::format(",\"args\":{{\"detail\":{}}}", quoted[span.detail]));
    add("}");
    flush(1 << 16);
  }
  add("\n]}\n");
  flush(0);
  failed |= std::fclose(file) != 0;
  clear();
  if (failed) return make_error(ErrorCode::kResource, "cannot write the trace file {}: {}", path, std::strerror(errno));
  return {};
}

}  // namespace opennrt::sim
