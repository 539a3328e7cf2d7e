// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "tools/opennrt/commands.h"
#include "tools/support/sim_stats.h"

namespace opennrt::tool {
namespace {

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
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
  fmt::print(
      "    DMA: DRAM {} read, {} written; host {} read, {} written; SBUF and PSUM {} read, {} written; "
      "instructions {} (bytes)\n",
      core.dram_read_bytes, core.dram_write_bytes, core.host_read_bytes, core.host_write_bytes,
      core.core_memory_read_bytes, core.core_memory_write_bytes, core.instruction_bytes);
}

}  // namespace

void print_latency(const client::SimStats& stats, std::uint64_t inferences) {
  fmt::print("  simulated time            {:.3f} us per inference on {} core{} of {} ({:.2f} GHz)\n",
             client::ns_per_inference(stats, inferences) * 1e-3, stats.cores.size(), stats.cores.size() == 1 ? "" : "s",
             stats.instance, stats.clock_ghz);
  if (const double ns = client::ns_between_results(stats, inferences); ns > 0)
    fmt::print("  simulated throughput      {:.1f} inferences/s\n", 1e9 / ns);
}

Status stats(const StatsOptions& options) {
  const auto stats = client::read_sim_stats(options.file);
  if (!stats) return tl::unexpected<Error>(stats.error());
  fmt::print("simulated chip ({}, {:.2f} GHz), {:.3f} us of simulated time in all\n", stats->instance, stats->clock_ghz,
             static_cast<double>(stats->simulated_ns) * 1e-3);
  if (options.inferences && !stats->cores.empty()) print_latency(*stats, *options.inferences);
  for (const client::SimStats::Core& core : stats->cores) print_core(core);
  if (stats->cores.empty()) fmt::print("  no core did anything\n");
  return {};
}

}  // namespace opennrt::tool
