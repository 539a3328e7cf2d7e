// SPDX-License-Identifier: Apache-2.0
//
// <engine>.json: instructions and DMA entries (work-with-neff-files.rst, "{ENGINE}.json" and "DMA Descriptors").
#include <unordered_set>

#include "core/isa/inf1.h"
#include "core/neff/limits.h"
#include "core/neff/subgraph.h"

namespace opennrt::neff {
namespace {

constexpr std::string_view kNotInf1 = "NeuronCore-v1 does not have it";

__extension__ using Wide = __int128;

/// Bytes that a pattern moves; an overflow or a byte outside its variable is a failure.
std::uint64_t check_pattern(const Object& desc, std::string_view side, const AccessPattern& pattern,
                            const Variable& variable) {
  Wide bytes = 1, low = static_cast<Wide>(pattern.offset), high = low;
  for (std::size_t i = 0; i < pattern.sizes.size(); ++i) {
    bytes *= pattern.sizes[i];
    // Sizes are at most kMaxVariableBytes (2^33) and 4 of them would overflow even 128 bits together with steps: stop early.
    if (bytes > static_cast<Wide>(kMaxVariableBytes)) {
      desc.failure().set(ErrorCode::kInvalidFile, "{}_sizes moves more than {} bytes, expected at most that",
                         desc.path(side), kMaxVariableBytes);
      return 0;
    }
    Wide reach = static_cast<Wide>(pattern.sizes[i] - 1) * pattern.steps[i];
    (reach < 0 ? low : high) += reach;
  }
  if (low < 0 || high >= static_cast<Wide>(variable.size)) {
    bool below = low < 0;
    desc.failure().set(
        ErrorCode::kInvalidFile,
        "{} ({}_off {}, sizes and steps) reaches {} variable '{}' of {} bytes, expected it to stay inside",
        desc.path(side), side, pattern.offset, below ? "below the start of" : "past the end of", variable.name,
        variable.size);
    return 0;
  }
  return static_cast<std::uint64_t>(bytes);
}

AccessPattern read_pattern(const Object& desc, const std::string& side, const SubgraphContext& context,
                           const Subgraph& subgraph, std::uint64_t& bytes) {
  AccessPattern pattern;
  Failure& failure = desc.failure();
  std::string name = desc.text(side, kMaxNameBytes);
  pattern.offset = desc.number(side + "_off", 0, kMaxVariableBytes);
  pattern.sizes = desc.numbers(side + "_sizes", kMaxPatternDims, 1, kMaxVariableBytes);
  pattern.steps = desc.signed_numbers(side + "_steps", kMaxPatternDims);
  if (failure.failed()) return pattern;
  if (pattern.sizes.empty() || pattern.sizes.size() != pattern.steps.size()) {
    failure.set(ErrorCode::kInvalidFile, "{} has {} elements and {}_steps {}, expected the same number from 1 to {}",
                desc.path(side + "_sizes"), pattern.sizes.size(), side, pattern.steps.size(), kMaxPatternDims);
    return pattern;
  }
  auto found = context.variables.find(name);
  if (found == context.variables.end()) {
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected a variable of def.json", desc.path(side), shown(name));
    return pattern;
  }
  pattern.variable = found->second;
  bytes = check_pattern(desc, side, pattern, subgraph.variables[pattern.variable]);
  return pattern;
}

DmaEntry read_entry(const Object& object, isa::Engine engine, SubgraphContext& context, Subgraph& subgraph) {
  DmaEntry entry;
  Failure& failure = object.failure();
  object.refuse({"instance_name", "function_start", "section_start_desc", "remote_semaphores"}, kNotInf1);
  entry.id = static_cast<std::uint32_t>(object.number("id", 0, UINT32_MAX));
  std::string queue_name = object.text("queue", kMaxNameBytes);
  if (failure.failed()) return entry;
  auto queue = context.queues.find(queue_name);
  if (queue == context.queues.end()) {
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected a queue set of def.json", object.path("queue"),
                shown(queue_name));
    return entry;
  }
  entry.queue = queue->second;
  QueueSet& set = subgraph.queues[entry.queue];
  if (!context.queue_has_owner[entry.queue]) {
    set.owner = engine;
    context.queue_has_owner[entry.queue] = true;
  } else if (set.owner != engine) {
    failure.set(ErrorCode::kInvalidFile, "{} is \"{}\", whose owner is {}, expected a queue of {}",
                object.path("queue"), queue_name, isa::engine_name(set.owner), isa::engine_name(engine));
    return entry;
  }
  if (object.has("semaphore"))
    entry.semaphore = static_cast<std::uint32_t>(object.number("semaphore", 0, inf1::kSemaphores - 1));
  else
    entry.semaphore = set.semaphore;
  if (object.has("event")) entry.event = static_cast<std::uint32_t>(object.number("event", 0, inf1::kEvents - 1));

  Object desc = object.object("desc");
  desc.refuse({"from_dtype", "to_dtype", "from_arr", "scale", "scale_dtype", "constant", "constant_dtype",
               "transpose_shape", "transpose_element_size"},
              kNotInf1);
  if (desc.has("op") && desc.text("op", kMaxNameBytes) != "copy")
    failure.set(ErrorCode::kUnsupported, "{} is {}, expected \"copy\": {}", desc.path("op"), shown(*desc.find("op")),
                kNotInf1);
  std::uint64_t from = 0, to = 0;
  entry.from = read_pattern(desc, "from", context, subgraph, from);
  entry.to = read_pattern(desc, "to", context, subgraph, to);
  if (failure.failed()) return entry;
  if (from != to)
    failure.set(ErrorCode::kInvalidFile, "{} moves {} bytes from and {} to, expected the same", desc.path(), from, to);
  VariableType target = subgraph.variables[entry.to.variable].type;
  if (target == VariableType::kInput || target == VariableType::kFile)
    failure.set(ErrorCode::kInvalidFile, "{} is '{}', {}, expected a variable that may be written", desc.path("to"),
                subgraph.variables[entry.to.variable].name, target == VariableType::kInput ? "an input" : "a constant");
  return entry;
}

/// Entries of one id follow each other (per queue) and stay on one queue.
void check_ids(const EngineProgram& program, Failure& failure) {
  std::unordered_map<std::uint32_t, std::size_t> queue_of_id;
  std::unordered_map<std::size_t, std::uint32_t> last_id;  // per queue
  for (std::size_t i = 0; i < program.dma.size(); ++i) {
    const DmaEntry& entry = program.dma[i];
    auto [known, is_new] = queue_of_id.emplace(entry.id, entry.queue);
    auto last = last_id.find(entry.queue);
    bool follows = last != last_id.end() && last->second == entry.id;
    if (!is_new && known->second != entry.queue)
      failure.set(ErrorCode::kInvalidFile,
                  "dma[{}].id is {}, which belongs to another queue, expected an id of one queue only", i, entry.id);
    else if (!is_new && !follows)
      failure.set(ErrorCode::kInvalidFile,
                  "dma[{}].id is {}, which was used before another id of its queue, expected entries of one id to "
                  "follow each other",
                  i, entry.id);
    last_id[entry.queue] = entry.id;
  }
}

}  // namespace

Status read_engine(isa::Engine engine, SubgraphContext& context, Subgraph& subgraph) {
  const std::string& name = context.engine_files[static_cast<std::size_t>(engine)];
  if (name.empty()) return {};
  std::string file = context.folder + name;
  const auto* bytes = find_file(context, name);
  if (bytes == nullptr)
    return make_error(ErrorCode::kInvalidFile, "{}: there is no such file in the payload, def.json names it as {}",
                      file, isa::engine_name(engine));
  auto json = parse_json(*bytes, file);
  if (!json) return tl::unexpected(json.error());
  Failure failure(file);
  Object object(*json, "", failure);
  EngineProgram& program = subgraph.engines[static_cast<std::size_t>(engine)];
  std::string instructions = context.instruction_files[static_cast<std::size_t>(engine)];
  if (object.has("instr")) instructions = object.text("instr", kMaxPathBytes);
  if (failure.failed()) return tl::unexpected(failure.error());
  if (!instructions.empty()) {
    const auto* stream = find_file(context, instructions);
    if (stream == nullptr)
      failure.set(ErrorCode::kInvalidFile, "instr is {}, but there is no such file in the payload",
                  shown(instructions));
    else if (stream->size() % isa::kInstructionBytes != 0)
      failure.set(ErrorCode::kInvalidFile, "instr is {} of {} bytes, expected a multiple of {}", shown(instructions),
                  stream->size(), isa::kInstructionBytes);
    else
      program.instructions = *stream;
  }
  if (object.has("dma")) {
    const Json& list = object.array("dma", kMaxDmaEntries);
    program.dma.reserve(list.size());
    for (std::size_t i = 0; i < list.size() && !failure.failed(); ++i)
      program.dma.push_back(read_entry(Object(list[i], fmt::format("dma[{}]", i), failure), engine, context, subgraph));
  }
  if (!failure.failed()) check_ids(program, failure);
  if (failure.failed()) return tl::unexpected(failure.error());
  return {};
}

}  // namespace opennrt::neff
