// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <span>

#include "core/neff/neff.h"
#include "tools/opennrt/commands.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

std::string side(const neff::Subgraph& graph, const neff::AccessPattern& pattern) {
  return fmt::format("{}+{:#x} [{}] steps [{}]", graph.variables[pattern.variable].name, pattern.offset,
                     fmt::join(pattern.sizes, ", "), fmt::join(pattern.steps, ", "));
}

std::string transfer(const neff::Subgraph& graph, const neff::DmaEntry& entry) {
  std::string text =
      fmt::format("{}: {} -> {}", graph.queues[entry.queue].name, side(graph, entry.from), side(graph, entry.to));
  if (entry.semaphore) text += fmt::format(" then s{}+=1", *entry.semaphore);
  if (entry.event) text += fmt::format(" then event {}", *entry.event);
  return text;
}

Status print_engine(const neff::Subgraph& graph, isa::Engine engine) {
  const neff::EngineProgram& program = graph.engines[static_cast<std::size_t>(engine)];
  std::multimap<std::uint32_t, const neff::DmaEntry*> entries;
  for (const neff::DmaEntry& entry : program.dma) entries.emplace(entry.id, &entry);

  fmt::print("\n{} {}: {} instructions\n", graph.name, isa::engine_name(engine),
             program.instructions.size() / isa::kInstructionBytes);
  const std::span<const std::byte> stream(program.instructions);
  if (stream.size() % isa::kInstructionBytes != 0)
    return make_error(ErrorCode::kInvalidFile, "{} {}: stream has {} bytes, expected a multiple of {}", graph.name,
                      isa::engine_name(engine), stream.size(), isa::kInstructionBytes);
  for (std::size_t at = 0; at < stream.size(); at += isa::kInstructionBytes) {
    const auto instruction = isa::decode(stream.subspan(at).first<isa::kInstructionBytes>());
    if (!instruction)
      return with_context(instruction.error(), fmt::format("{} {} instruction {}", graph.name, isa::engine_name(engine),
                                                           at / isa::kInstructionBytes));
    fmt::print("{:>7}  {}\n", at / isa::kInstructionBytes, isa::disassemble(*instruction));
    if (instruction->opcode != isa::Opcode::kPseudoDmaTrigger) continue;
    const auto [first, last] = entries.equal_range(instruction->immediate_u32);
    for (auto it = first; it != last; ++it) fmt::print("           | {}\n", transfer(graph, *it->second));
  }
  return {};
}

Status print_subgraph(const neff::Subgraph& graph, const std::string& only_engine) {
  if (graph.isa_version == 0)
    return make_error(ErrorCode::kUnsupported,
                      "subgraph {}: the instructions are not of OpenNRT's open set, there is no text for them",
                      graph.name);
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const auto engine = static_cast<isa::Engine>(e);
    if (!only_engine.empty() && isa::engine_name(engine) != only_engine) continue;
    if (auto status = print_engine(graph, engine); !status) return status;
  }
  return {};
}

}  // namespace

Status neff_disasm(const DisasmOptions& options) {
  const auto bytes = client::read_file(options.file);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  const auto neff = neff::parse(*bytes);
  if (!neff) return with_context(neff.error(), options.file);
  bool found = options.subgraph.empty();
  for (const neff::Subgraph& graph : neff->subgraphs) {
    if (!options.subgraph.empty() && graph.name != options.subgraph) continue;
    found = true;
    if (auto status = print_subgraph(graph, options.engine); !status) return with_context(status.error(), options.file);
  }
  if (!found) return make_error(ErrorCode::kInvalidArgument, "{} has no subgraph '{}'", options.file, options.subgraph);
  return {};
}

}  // namespace opennrt::tool
