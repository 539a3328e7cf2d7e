// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tools/opennrt/commands.h"
#include "tools/support/sim_stats.h"

namespace opennrt::tool {
namespace {

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// What an engine waited for, the longest first.
void print_stalls(const client::SimStats::Core& core, std::size_t engine, std::uint64_t span) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> waits;
  for (const auto& [semaphore, ns] : core.engines[engine].stalled_on_semaphore_ns) waits.emplace_back(ns, semaphore);
  if (waits.empty()) return;
  std::sort(waits.rbegin(), waits.rend());
  std::string text;
  for (const auto& [ns, semaphore] : waits) text += fmt::format("  s{} {:.1f} %", semaphore, percent(ns, span));
  fmt::print("    {:<4} waited for semaphores:{}\n", isa::engine_name(static_cast<isa::Engine>(engine)), text);
}

void print_core(const client::SimStats::Core& core) {
  const std::uint64_t span = core.span_ns();
  fmt::print("  device {} core {}: {:.3f} us from first to last instruction\n", core.device, core.core,
             static_cast<double>(span) * 1e-3);
  fmt::print("    engine  {:>8}  {:>12}  {:>14}  {:>12}  {:>16}\n", "busy", "waits: data", "waits: program",
             "instructions", "operations");
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const client::SimStats::Engine& engine = core.engines[e];
    fmt::print("    {:<6}  {:>6.1f} %  {:>10.1f} %  {:>12.1f} %  {:>12}  {:>16}\n",
               isa::engine_name(static_cast<isa::Engine>(e)), percent(engine.busy_ns, span),
               percent(engine.stalled_semaphore_ns + engine.stalled_event_ns, span),
               percent(engine.stalled_instructions_ns, span), engine.instructions, engine.useful_operations);
  }
  for (std::size_t e = 0; e < isa::kEngines; ++e) print_stalls(core, e, span);
  fmt::print(
      "    DMA: DRAM {} read, {} written; host {} read, {} written; SBUF and PSUM {} read, {} written; "
      "instructions {}; over neighbour links {} (bytes)\n",
      core.dram_read_bytes, core.dram_write_bytes, core.host_read_bytes, core.host_write_bytes,
      core.core_memory_read_bytes, core.core_memory_write_bytes, core.instruction_bytes,
      core.neighbour_read_bytes + core.neighbour_write_bytes);
  for (const client::SimStats::Queue& queue : core.queues)
    fmt::print("    queue {}/{:<2}  busy {:>5.1f} %  {:>8} packets  {:>12} bytes  {:>7.3f} GB/s while busy\n",
               queue.engine, queue.queue, percent(queue.busy_ns, span), queue.packets, queue.bytes,
               queue.busy_ns == 0 ? 0 : static_cast<double>(queue.bytes) / static_cast<double>(queue.busy_ns));
  const client::SimStats::Roofline& roof = core.roofline;
  fmt::print(
      "    roofline: {:.2f} operations per byte of DRAM; at {:.1f} GB/s and a peak of {:.0f} GFLOPS that allows {:.0f} "
      "GFLOPS "
      "({}-bound); achieved {:.0f} GFLOPS, {:.1f} % of it\n",
      roof.operations_per_byte, roof.dram_gigabytes_per_second, roof.peak_gflops, roof.attainable_gflops, roof.bound,
      roof.achieved_gflops, roof.attainable_gflops > 0 ? 100 * roof.achieved_gflops / roof.attainable_gflops : 0);
}

}  // namespace

void print_latency(const client::SimStats& stats, std::uint64_t inferences) {
  fmt::print("  simulated time            {:.3f} us per inference on {} core{} of {} ({:.2f} GHz)\n",
             client::ns_per_inference(stats, inferences) * 1e-3, stats.cores.size(), stats.cores.size() == 1 ? "" : "s",
             stats.instance, stats.clock_ghz);
  if (const double ns = client::ns_between_results(stats, inferences); ns > 0)
    fmt::print("  simulated throughput      {:.1f} inferences/s\n", 1e9 / ns);
}

void print_stats(const client::SimStats& stats, std::optional<std::uint64_t> inferences) {
  fmt::print("simulated chip ({}, {:.2f} GHz), {:.3f} us of simulated time in all\n", stats.instance, stats.clock_ghz,
             static_cast<double>(stats.simulated_ns) * 1e-3);
  if (inferences && !stats.cores.empty()) print_latency(stats, *inferences);
  for (const client::SimStats::Core& core : stats.cores) print_core(core);
  if (stats.cores.empty()) fmt::print("  no core did anything\n");
}

Status stats(const StatsOptions& options) {
  const auto stats = client::read_sim_stats(options.file);
  if (!stats) return tl::unexpected<Error>(stats.error());
  print_stats(*stats, options.inferences);
  return {};
}

}  // namespace opennrt::tool
