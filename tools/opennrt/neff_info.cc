// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "core/neff/neff.h"
#include "tools/opennrt/commands.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

template <typename Bytes>
std::string hex(const Bytes& bytes) {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

void print_header(const std::string& file, const neff::Neff& neff) {
  const neff::Header& header = neff.header;
  fmt::print("{}\n", file);
  fmt::print("  name           {}\n", header.name);
  fmt::print("  NEFF version   {}.{} (package {})\n", header.major, header.minor, header.pkg_version);
  fmt::print("  built by       {}\n", header.build_version.empty() ? "unknown" : header.build_version);
  fmt::print("  target         {}\n", neff.target);
  fmt::print("  uuid           {}\n", hex(header.uuid));
  fmt::print("  hash           {}\n", hex(header.hash));
  fmt::print("  payload        {} bytes\n", header.data_size);
  fmt::print("  NeuronCores    {} (requested {})\n", header.num_tpb, header.requested_tpb_count);
}

void print_tensors(const std::vector<neff::TensorInfo>& tensors) {
  fmt::print("  tensors\n");
  for (const neff::TensorInfo& tensor : tensors)
    fmt::print("    {:<6} {:<24} {:<9} [{}]  {} bytes\n", tensor.kind == neff::TensorKind::kInput ? "input" : "output",
               tensor.name, tensor.dtype, fmt::join(tensor.shape, ", "), tensor.bytes);
}

void print_subgraph(const neff::Subgraph& graph) {
  const std::string isa = graph.isa_version == 0 ? "not of the open set" : fmt::format("version {}", graph.isa_version);
  fmt::print("\nsubgraph {}, instruction set {}\n", graph.name, isa);

  print_tensors(graph.tensors);
  for (const neff::DebugTensor& tensor : graph.debug_tensors)
    fmt::print("    {:<6} {:<24} {:<9} [{}]  {} bytes\n", "debug", tensor.name, tensor.dtype,
               fmt::join(tensor.shape, ", "), tensor.bytes);

  fmt::print("  variables\n");
  struct Sum {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
  };
  std::map<neff::VariableType, Sum> sums;
  for (const neff::Variable& variable : graph.variables) {
    ++sums[variable.type].count;
    sums[variable.type].bytes += variable.size;
  }
  for (const auto& [type, sum] : sums)
    fmt::print("    {:<13} {:>6}  {:>12} bytes\n", type_name(type), sum.count, sum.bytes);

  fmt::print("  queues\n");
  std::vector<std::size_t> entries(graph.queues.size());
  for (const neff::EngineProgram& program : graph.engines)
    for (const neff::DmaEntry& entry : program.dma) ++entries[entry.queue];
  for (std::size_t q = 0; q < graph.queues.size(); ++q) {
    const neff::QueueSet& queue = graph.queues[q];
    fmt::print("    {:<24} {:<4} owner {:<4} {:>6} entries{}{}\n", queue.name, type_name(queue.type),
               isa::engine_name(queue.owner), entries[q],
               queue.semaphore ? fmt::format(", semaphore {}", *queue.semaphore) : "", queue.pinned ? ", pinned" : "");
  }

  fmt::print("  engines\n");
  for (std::size_t e = 0; e < isa::kEngines; ++e)
    fmt::print("    {:<4} {:>8} instructions  {:>6} DMA entries\n", isa::engine_name(static_cast<isa::Engine>(e)),
               graph.engines[e].instructions.size() / isa::kInstructionBytes, graph.engines[e].dma.size());
}

}  // namespace

/// What only models of several steps have: what passes between them.
void print_steps(const neff::Neff& neff) {
  fmt::print("\nmodel\n");
  print_tensors(neff.tensors);
  for (const neff::GraphConstant& constant : neff.constants)
    fmt::print("    {:<6} {:<24} {:<9} [{}]  {} bytes\n", "const", constant.info.name, constant.info.dtype,
               fmt::join(constant.info.shape, ", "), constant.info.bytes);
  fmt::print("  steps\n");
  for (const neff::Step& step : neff.steps) {
    if (step.kind == neff::Step::Kind::kSubgraph) {
      fmt::print("    NeuronCore  {}\n", neff.subgraphs[step.index].name);
      continue;
    }
    const neff::CpuNode& node = neff.cpu_nodes[step.index];
    fmt::print("    CPU         {} ({}", node.name, node.function);
    for (const auto& [key, value] : node.attributes) fmt::print(" {}={}", key, value);
    fmt::print("): {} ->", fmt::join(node.inputs, ", "));
    for (const neff::TensorInfo& output : node.outputs)
      fmt::print(" {} {} [{}]", output.name, output.dtype, fmt::join(output.shape, ", "));
    fmt::print("\n");
  }
}

Status neff_info(const std::string& file) {
  const auto bytes = client::read_file(file);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  const auto neff = neff::parse(*bytes);
  if (!neff) return with_context(neff.error(), file);
  print_header(file, *neff);
  if (neff->steps.size() > 1) print_steps(*neff);
  for (const neff::Subgraph& graph : neff->subgraphs) print_subgraph(graph);
  return {};
}

}  // namespace opennrt::tool
