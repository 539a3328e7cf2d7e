// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/vcd.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/isa/inf1.h"
#include "core/isa/isa.h"

namespace opennrt::sim {
namespace {

/// Short names of printable characters, as the format has them.
std::string identifier(std::size_t number) {
  constexpr std::size_t kFirst = '!', kCount = '~' - '!' + 1;
  std::string text;
  do {
    text += static_cast<char>(kFirst + number % kCount);
    number /= kCount;
  } while (number != 0);
  return text;
}

std::string scope_name(std::uint32_t row) {
  if (row < isa::kEngines) return std::string(isa::engine_name(static_cast<isa::Engine>(row)));
  const std::uint32_t queue = row - Trace::kDmaRow;
  return fmt::format("dma{}_q{}", queue / inf1::kQueuesPerDmaEngine, queue % inf1::kQueuesPerDmaEngine);
}

struct Change {
  std::uint64_t ps;
  std::size_t wire;
  bool rises;
};

}  // namespace

Status write_vcd(const std::string& path, const Trace& trace) {
  using Key = std::tuple<std::uint32_t, std::uint32_t, bool>;  // core, row, waits
  std::map<Key, std::size_t> wires;
  const auto key = [](const Trace::Span& span) {
    return Key{span.core, span.row, std::string_view(span.kind) == "wait"};
  };
  for (const Trace::Span& span : trace.spans()) wires.emplace(key(span), 0);
  std::size_t number = 0;
  for (auto& [ignored, wire] : wires) wire = number++;

  std::vector<Change> changes;
  changes.reserve(2 * trace.spans().size());
  for (const Trace::Span& span : trace.spans()) {
    if (span.end_ps == span.start_ps) continue;
    const std::size_t wire = wires.at(key(span));
    changes.push_back({span.start_ps, wire, true});
    changes.push_back({span.end_ps, wire, false});
  }
  std::sort(changes.begin(), changes.end(),
            [](const Change& a, const Change& b) { return std::tie(a.ps, a.wire) < std::tie(b.ps, b.wire); });

  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return make_error(ErrorCode::kResource, "cannot write the VCD file {}: {}", path, std::strerror(errno));
  }
  fmt::memory_buffer out;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "$comment OpenNRT simulator: what each engine and DMA queue did $end\n$timescale 1 ps $end\n");
  for (auto it = wires.begin(); it != wires.end();) {
    const std::uint32_t core = std::get<0>(it->first);
    fmt::format_to(to, "$scope module device{}_core{} $end\n", core / inf1::kCoresPerDevice,
                   core % inf1::kCoresPerDevice);
    while (it != wires.end() && std::get<0>(it->first) == core) {
      const std::uint32_t row = std::get<1>(it->first);
      fmt::format_to(to, "$scope module {} $end\n", scope_name(row));
      for (; it != wires.end() && std::get<0>(it->first) == core && std::get<1>(it->first) == row; ++it) {
        fmt::format_to(to, "$var wire 1 {} {} $end\n", identifier(it->second),
                       std::get<2>(it->first) ? "wait" : "busy");
      }
      fmt::format_to(to, "$upscope $end\n");
    }
    fmt::format_to(to, "$upscope $end\n");
  }
  fmt::format_to(to, "$enddefinitions $end\n#0\n$dumpvars\n");
  for (std::size_t wire = 0; wire < wires.size(); ++wire) fmt::format_to(to, "0{}\n", identifier(wire));
  fmt::format_to(to, "$end\n");

  bool failed = false;
  std::vector<std::int32_t> level(wires.size(), 0);
  std::uint64_t written_ps = 0;
  for (std::size_t i = 0; i < changes.size();) {
    // One instruction after another is no edge: only what a wire is after everything of a moment counts.
    const std::size_t wire = changes[i].wire;
    const std::uint64_t ps = changes[i].ps;
    const bool before = level[wire] > 0;
    for (; i < changes.size() && changes[i].ps == ps && changes[i].wire == wire; ++i)
      level[wire] += changes[i].rises ? 1 : -1;
    if ((level[wire] > 0) == before) continue;
    if (ps != written_ps) fmt::format_to(to, "#{}\n", ps);
    written_ps = ps;
    fmt::format_to(to, "{}{}\n", before ? 0 : 1, identifier(wire));
    if (out.size() < 1 << 16) continue;
    failed |= std::fwrite(out.data(), 1, out.size(), file) != out.size();
    out.clear();
  }
  failed |= std::fwrite(out.data(), 1, out.size(), file) != out.size();
  failed |= std::fclose(file) != 0;
  if (failed) return make_error(ErrorCode::kResource, "cannot write the VCD file {}: {}", path, std::strerror(errno));
  return {};
}

}  // namespace opennrt::sim
