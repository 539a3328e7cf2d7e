// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>

#include "models/compiler.h"
#include "tools/opennrt/commands.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

/// protobuf refuses larger messages.
constexpr std::uint64_t kMaxOnnxBytes = (2ull << 30) - 1;

Result<compile::Options::AutoCast> parse_auto_cast(const std::string& text) {
  using AutoCast = compile::Options::AutoCast;
  if (text == "none") return AutoCast::kNone;
  if (text == "matmult") return AutoCast::kMatmult;
  if (text == "all") return AutoCast::kAll;
  return make_error(ErrorCode::kInvalidArgument, "--auto-cast is '{}', expected none, matmult or all", text);
}

void print_stages(const compile::Report& report) {
  for (const std::string& node : report.cpu_nodes) fmt::print("  on the CPU     {}\n", node);
  if (report.stages.size() == 1) return;
  std::uint64_t all = 0;
  for (const auto& stage : report.stages) all += stage.cycles;
  fmt::print("  NeuronCores    {}\n", report.stages.size());
  for (const auto& stage : report.stages)
    fmt::print("    {}         {:>5} nodes, {:>5.1f} % of the estimated cycles\n", stage.subgraph, stage.nodes,
               100.0 * static_cast<double>(stage.cycles) / static_cast<double>(std::max<std::uint64_t>(1, all)));
}

void print(const CompileOptions& options, const compile::Report& report, std::size_t neff_bytes,
           const isa::Limits& limits) {
  std::size_t instructions = 0;
  for (const std::size_t n : report.instructions) instructions += n;
  fmt::print("{} -> {} ({} bytes)\n", options.model, options.output, neff_bytes);
  fmt::print("  nodes          {}\n", report.nodes);
  fmt::print("  multiply-adds  {}\n", report.macs);
  fmt::print("  instructions   {} (", instructions);
  for (std::size_t e = 0; e < isa::kEngines; ++e)
    fmt::print("{}{} {}", e == 0 ? "" : ", ", isa::engine_name(static_cast<isa::Engine>(e)), report.instructions[e]);
  fmt::print(")\n");
  fmt::print("  DMA entries    {}\n", report.dma_entries);
  fmt::print("  constants      {} bytes\n", report.constant_bytes);
  fmt::print("  scratch        {} bytes of DRAM\n", report.scratch_bytes);
  fmt::print("  SBUF peak      {} of {} bytes per partition ({:.1f} %)\n", report.sbuf_peak_bytes_per_partition,
             limits.sbuf_bytes_per_partition,
             100.0 * report.sbuf_peak_bytes_per_partition / std::max(1u, limits.sbuf_bytes_per_partition));
  print_stages(report);
}

}  // namespace

Status compile(const CompileOptions& options) {
  compile::Options settings;
  const auto auto_cast = parse_auto_cast(options.auto_cast);
  if (!auto_cast) return tl::unexpected<Error>(auto_cast.error());
  settings.auto_cast = *auto_cast;
  settings.name = options.name;
  settings.cores = options.cores;
  settings.debug = options.debug;
  const auto model = client::read_file(options.model, kMaxOnnxBytes);
  if (!model) return tl::unexpected<Error>(model.error());
  compile::Report report;
  const auto neff = compile::compile_onnx(*model, settings, &report);
  if (!neff) return with_context(neff.error(), "cannot compile " + options.model);
  if (auto status = client::write_file(options.output, *neff); !status) return status;
  print(options, report, neff->size(), settings.limits);
  return {};
}

}  // namespace opennrt::tool
