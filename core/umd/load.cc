// SPDX-License-Identifier: Apache-2.0
//
// Loading: variables get addresses, queue sets get physical queues, DMA entries become descriptors, instruction streams are
// checked and completed.
#include <algorithm>
#include <atomic>
#include <new>
#include <unordered_map>
#include <utility>

#include "core/common/bytes.h"
#include "core/isa/table.h"
#include "core/umd/driver_call.h"
#include "core/umd/program.h"

namespace opennrt::umd {
namespace {

constexpr std::uint64_t kVariableAlignment = 64;
/// Inferences of one program that may be between their first and last step: one runs, the next is staged.
constexpr std::uint64_t kSlots = 2;
/// Queue 0 of a core's DMA engine n feeds the instructions of engine n; queue 15 of the last is the driver's.
constexpr std::uint32_t kFeedQueue = 0, kFirstDataQueue = 1;
constexpr std::uint32_t kQueuesOfCore = inf1::kDmaEnginesPerCore * inf1::kQueuesPerDmaEngine;
constexpr std::uint32_t kDataQueues = kQueuesOfCore - isa::kEngines - 1;
/// A hardware limit (aws-neuron-driver udma/udma.h, UDMA_MAX_Q_SIZE), and ours for a whole program (2 × 64 MiB of rings).
constexpr std::uint64_t kMaxRingDescriptors = (1u << 24) - 16;
constexpr std::uint64_t kMaxProgramDescriptors = 4u << 20;
/// A quarter of the FIFO: the next piece is taken before the engine has run dry.
constexpr std::uint32_t kFeedBytes = inf1::kFifoBytes / 4;
/// Code memory begins with a block whose first word is 1: what completions write.
constexpr std::uint64_t kOneBlockBytes = 64;
/// End notifications carry this and the program's number; notify values of NEFFs stay below it.
constexpr std::uint32_t kEndFlag = 0x1000'0000, kEndNumbers = 0x0fff'ffff;

std::uint32_t next_end_value() {
  static std::atomic<std::uint32_t> next{0};
  return kEndFlag | (next.fetch_add(1, std::memory_order_relaxed) & kEndNumbers);
}

std::uint64_t fifo_offset(isa::Engine engine) {
  switch (engine) {
    case isa::Engine::kPe:
      return inf1::kPeFifoOffset;
    case isa::Engine::kAct:
      return inf1::chosen::kActFifoOffset;
    case isa::Engine::kPool:
      break;
  }
  return inf1::chosen::kPoolFifoOffset;
}

/// The documented words (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst, "Unsupported Hardware Operator Code").
tl::unexpected<Error> unsupported_operator(unsigned code, const std::string& where) {
  return make_error(ErrorCode::kUnsupported, "Unsupported hardware operator code {} found in neff. ({})", code, where);
}

Status check_isa(const neff::Subgraph& subgraph, const Device& device) {
  if (subgraph.isa_version == 0) {
    for (std::size_t i = 0; i < isa::kEngines; ++i)
      if (const auto& stream = subgraph.engines[i].instructions; !stream.empty())
        return unsupported_operator(std::to_integer<unsigned>(stream[0]),
                                    fmt::format("subgraph '{}', engine {}: the instructions are not of the open "
                                                "instruction set, this NEFF was compiled for another target",
                                                subgraph.name, isa::engine_name(static_cast<isa::Engine>(i))));
    return make_error(
        ErrorCode::kUnsupported,
        "subgraph '{}': def.json has no opennrt.isa_version, expected {}: the NEFF was compiled for another target",
        subgraph.name, isa::kVersion);
  }
  if (subgraph.isa_version != isa::kVersion)
    return make_error(ErrorCode::kUnsupportedVersion, "subgraph '{}': opennrt.isa_version is {}, expected {}",
                      subgraph.name, subgraph.isa_version, isa::kVersion);
  if (device.info().open_isa_version != isa::kVersion)
    return make_error(
        ErrorCode::kUnsupported,
        "Neuron Device {} executes version {} of the open instruction set (0: none), the NEFF needs version {}",
        device.number(), device.info().open_isa_version, isa::kVersion);
  return {};
}

}  // namespace

Result<std::unique_ptr<Program>> Program::load(std::shared_ptr<Device> device, std::uint32_t core,
                                               const neff::Subgraph& subgraph, SharedConstants* shared) {
  try {
    auto context = device->core_context(core);
    if (!context) return tl::unexpected(context.error());
    auto program = std::make_unique<LoadedProgram>(std::move(device), core, **context);
    if (auto status = program->build(subgraph, shared); !status) return tl::unexpected(status.error());
    return program;
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kResource, "no memory to load subgraph '{}'", subgraph.name);
  }
}

LoadedProgram::LoadedProgram(std::shared_ptr<Device> device, std::uint32_t core, CoreContext& context)
    : device_(std::move(device)), core_(core), context_(context), end_value_(next_end_value()), slots_(kSlots) {}

Program::MemoryUse LoadedProgram::memory_use() const {
  std::lock_guard lock(slots_mutex_);
  return {code_ ? code_->bytes() : 0, constants_ ? constants_->bytes() : 0, scratchpad_ ? scratchpad_->bytes() : 0,
          ring_bytes_};
}

Status LoadedProgram::build(const neff::Subgraph& subgraph, SharedConstants* shared) {
  if (auto status = check_isa(subgraph, *device_); !status) return status;
  for (const neff::QueueSet& set : subgraph.queues)
    if (set.pinned)
      return make_error(ErrorCode::kUnsupported,
                        "subgraph '{}': queue set '{}' has pinned = true: the state buffer is shared by programs, data "
                        "cannot be pinned to it",
                        subgraph.name, set.name);
  if (auto status = place_variables(subgraph, shared); !status) return status;
  // The place of the constant 1 is needed by descriptors, so code memory comes before they are made.
  std::uint64_t code_bytes = kOneBlockBytes;
  for (const auto& engine : subgraph.engines) code_bytes += engine.instructions.size() + isa::kInstructionBytes;
  auto code = device_->allocate_device(code_bytes, core_, OPENNRT_MEM_CODE_DEVICE, kVariableAlignment);
  if (!code) return tl::unexpected(code.error());
  code_ = std::move(*code);
  placement_.one_address = code_->device_address();
  if (auto status = plan_queues(subgraph); !status) return status;
  if (auto status = plan_instructions(subgraph); !status) return status;
  if (auto status = write_fixed_rings(); !status) return status;
  auto slot = make_slot();
  if (!slot) return tl::unexpected(slot.error());
  free_slots_.push_back(std::move(*slot));
  return {};
}

Status LoadedProgram::place_variables(const neff::Subgraph& subgraph, SharedConstants* shared) {
  for (const neff::TensorInfo& tensor : subgraph.tensors)
    tensors_.push_back({tensor.name, tensor.kind == neff::TensorKind::kOutput, tensor.bytes});
  std::unordered_map<std::string_view, std::uint32_t> index_of_tensor;
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    index_of_tensor.emplace(tensors_[i].name, static_cast<std::uint32_t>(i));

  placement_.core_base = inf1::core_base(core_);
  placement_.sbuf_bytes_per_partition = device_->info().sbuf_bytes_per_partition;
  if (placement_.sbuf_bytes_per_partition == 0)
    placement_.sbuf_bytes_per_partition = isa::Limits{}.sbuf_bytes_per_partition;
  std::uint64_t constant_bytes = 0, scratch_bytes = 0, constant_alignment = kVariableAlignment,
                scratch_alignment = kVariableAlignment;
  for (const neff::Variable& variable : subgraph.variables) {
    Place place;
    bool in_sbuf = false;
    auto take = [&](std::uint64_t& used, std::uint64_t& alignment) {
      std::uint64_t own = std::max(variable.alignment, kVariableAlignment);
      alignment = std::max(alignment, own);
      place.address = round_up(used, own);  // an offset until the memory is there
      used = place.address + variable.size;
    };
    switch (variable.type) {
      case neff::VariableType::kInput:
      case neff::VariableType::kOutput: {
        auto tensor = index_of_tensor.find(variable.name);
        if (tensor == index_of_tensor.end())
          return make_error(ErrorCode::kInvalidFile, "subgraph '{}': variable '{}' has no tensor of that name",
                            subgraph.name, variable.name);
        place.tensor = tensor->second;
        tensors_[tensor->second].bytes = variable.size;
        break;
      }
      case neff::VariableType::kFile:
        if (variable.data.size() != variable.size)
          return make_error(ErrorCode::kInvalidFile, "subgraph '{}': constant '{}' has {} bytes of data, expected {}",
                            subgraph.name, variable.name, variable.data.size(), variable.size);
        take(constant_bytes, constant_alignment);
        break;
      case neff::VariableType::kTmpBuf:
        take(scratch_bytes, scratch_alignment);
        break;
      case neff::VariableType::kStateBuffer:
        place.address = placement_.core_base + inf1::chosen::kSbufOffset + variable.address;
        in_sbuf = true;
        break;
    }
    placement_.variables.push_back(place);
    placement_.in_sbuf.push_back(in_sbuf);
  }
  if (constant_bytes > 0) {
    if (auto status = place_constants(subgraph, constant_bytes, constant_alignment, shared); !status) return status;
  }
  if (scratch_bytes > 0) {
    auto memory = device_->allocate_device(scratch_bytes, core_, OPENNRT_MEM_SCRATCHPAD_DEVICE, scratch_alignment);
    if (!memory) return tl::unexpected(memory.error());
    scratchpad_ = std::move(*memory);
  }
  for (std::size_t i = 0; i < subgraph.variables.size(); ++i) {
    Place& place = placement_.variables[i];
    if (subgraph.variables[i].type == neff::VariableType::kFile) place.address += constants_->device_address();
    if (subgraph.variables[i].type == neff::VariableType::kTmpBuf) place.address += scratchpad_->device_address();
  }
  for (const neff::DebugTensor& debug : subgraph.debug_tensors) {
    const neff::Variable& variable = subgraph.variables[debug.variable];
    Readable& readable = readable_[variable.name];
    readable.bytes = variable.size;
    if (variable.type == neff::VariableType::kTmpBuf)
      readable.offset = placement_.variables[debug.variable].address - scratchpad_->device_address();
    else
      readable.tensor = placement_.variables[debug.variable].tensor;
  }
  return {};
}

/// `placement_` holds offsets of the constants. They are written one by one, or, when they are to be shared, looked for as one
/// image.
Status LoadedProgram::place_constants(const neff::Subgraph& subgraph, std::uint64_t bytes, std::uint64_t alignment,
                                      SharedConstants* shared) {
  std::vector<std::byte> image(shared != nullptr ? bytes : 0);
  if (shared == nullptr) {
    auto memory = device_->allocate_device(bytes, core_, OPENNRT_MEM_CONSTANTS_DEVICE, alignment);
    if (!memory) return tl::unexpected(memory.error());
    constants_ = std::move(*memory);
  }
  for (std::size_t i = 0; i < subgraph.variables.size(); ++i) {
    const neff::Variable& variable = subgraph.variables[i];
    if (variable.type != neff::VariableType::kFile) continue;
    const std::uint64_t offset = placement_.variables[i].address;
    if (shared != nullptr)
      std::copy(variable.data.begin(), variable.data.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
    else if (auto status = constants_->write(offset, variable.data); !status)
      return with_context(status.error(), "constant '" + variable.name + "'");
  }
  if (shared == nullptr) return {};
  auto memory = shared->get(*device_, core_, image, alignment);
  if (!memory) return tl::unexpected(memory.error());
  constants_ = std::move(*memory);
  return {};
}

Status LoadedProgram::plan_queues(const neff::Subgraph& subgraph) {
  std::vector<bool> used(subgraph.queues.size(), false);
  std::vector<std::uint64_t> most(subgraph.queues.size(), 0);
  std::uint64_t total = 0;
  for (const auto& engine : subgraph.engines)
    for (const neff::DmaEntry& entry : engine.dma) {
      used[entry.queue] = true;
      std::uint64_t descriptors = most_descriptors(entry);
      most[entry.queue] += descriptors;
      total += descriptors;
      if (most[entry.queue] > kMaxRingDescriptors || total > kMaxProgramDescriptors)
        return make_error(ErrorCode::kResource,
                          "subgraph '{}': its transfers take more than {} DMA descriptors (queue set '{}', id {}), "
                          "which is the limit",
                          subgraph.name, kMaxProgramDescriptors, subgraph.queues[entry.queue].name, entry.id);
    }
  auto needed = static_cast<std::uint32_t>(std::count(used.begin(), used.end(), true));
  if (needed > kDataQueues)
    return make_error(ErrorCode::kResource,
                      "subgraph '{}' uses {} DMA queue sets, but a NeuronCore has {} for programs ({} queues, of which "
                      "{} feed instructions and 1 is the driver's)",
                      subgraph.name, needed, kDataQueues, kQueuesOfCore, isa::kEngines);
  queue_of_set_.assign(subgraph.queues.size(), 0);
  for (std::size_t i = 0; i < subgraph.queues.size(); ++i) {
    if (!used[i]) continue;
    // Neighbours in the file go to different DMA engines: their bandwidths add up.
    auto nth = static_cast<std::uint32_t>(queues_.size());
    queue_of_set_[i] = queues_.size();
    QueuePlan plan;
    plan.engine = core_ * inf1::kDmaEnginesPerCore + nth % inf1::kDmaEnginesPerCore;
    plan.queue = kFirstDataQueue + nth / inf1::kDmaEnginesPerCore;
    plan.name = subgraph.queues[i].name;
    queues_.push_back(std::move(plan));
  }
  for (std::size_t e = 0; e < isa::kEngines; ++e)
    for (const neff::DmaEntry& entry : subgraph.engines[e].dma) {
      std::size_t queue = queue_of_set_[entry.queue];
      std::uint32_t before = queues_[queue].image.count();
      if (auto status = append_entry(entry, subgraph, placement_, queues_[queue].image); !status)
        return with_context(status.error(), fmt::format("subgraph '{}', {} dma id {}", subgraph.name,
                                                        isa::engine_name(static_cast<isa::Engine>(e)), entry.id));
      std::uint32_t added = queues_[queue].image.count() - before;
      auto& groups = groups_[e];
      auto same = std::find_if(groups.rbegin(), groups.rend(), [&](const Group& g) { return g.queue == queue; });
      if (same != groups.rend() && same->id == entry.id)
        same->descriptors += added;
      else
        groups.push_back({entry.id, queue, added});
    }
  return {};
}

Status LoadedProgram::plan_instructions(const neff::Subgraph& subgraph) {
  isa::Limits limits;
  if (device_->info().sbuf_bytes_per_partition != 0)
    limits.sbuf_bytes_per_partition = device_->info().sbuf_bytes_per_partition;
  if (device_->info().psum_bytes_per_partition != 0)
    limits.psum_bytes_per_partition = device_->info().psum_bytes_per_partition;
  std::vector<std::byte> code(kOneBlockBytes);
  store_le<std::uint32_t>(code.data(), 1);
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const auto engine = static_cast<isa::Engine>(e);
    const auto& stream = subgraph.engines[e].instructions;
    if (stream.size() % isa::kInstructionBytes != 0)
      return make_error(ErrorCode::kInvalidFile,
                        "subgraph '{}': the instructions of {} have {} bytes, expected a multiple of {}", subgraph.name,
                        isa::engine_name(engine), stream.size(), isa::kInstructionBytes);
    std::unordered_map<std::uint32_t, std::size_t> group_of_id;         // → index in groups_[e]
    std::unordered_map<std::size_t, std::vector<std::size_t>> waiting;  // queue → its groups, in order
    std::unordered_map<std::size_t, std::size_t> position;              // queue → how many were triggered
    for (std::size_t g = 0; g < groups_[e].size(); ++g) {
      group_of_id.emplace(groups_[e][g].id, g);
      waiting[groups_[e][g].queue].push_back(g);
    }
    const std::size_t start = code.size();
    for (std::size_t at = 0; at < stream.size(); at += isa::kInstructionBytes) {
      auto where = [&] {
        return fmt::format("subgraph '{}', instruction {} of {}", subgraph.name, at / isa::kInstructionBytes,
                           isa::engine_name(engine));
      };
      auto bytes = std::span(stream).subspan(at).first<isa::kInstructionBytes>();
      if (isa::find_opcode(static_cast<isa::Opcode>(bytes[0])) == nullptr)
        return unsupported_operator(std::to_integer<unsigned>(bytes[0]), where());
      auto instruction = isa::decode(bytes);
      if (!instruction) return with_context(Error{ErrorCode::kInvalidFile, instruction.error().message}, where());
      if (auto status = isa::validate(*instruction, engine, limits); !status)
        return with_context(Error{ErrorCode::kInvalidFile, status.error().message}, where());
      if (instruction->opcode == isa::Opcode::kDmaTrigger)
        return make_error(ErrorCode::kInvalidFile,
                          "{}: dma_trigger is the loader's, expected pseudo_dma_trigger with a descriptor id", where());
      if (instruction->opcode == isa::Opcode::kNotify && instruction->immediate_u32 >= kEndFlag)
        return make_error(ErrorCode::kInvalidFile,
                          "{}: notify value is {:#x}, expected below {:#x} (the rest is the loader's)", where(),
                          instruction->immediate_u32, kEndFlag);
      if (instruction->opcode != isa::Opcode::kPseudoDmaTrigger) {
        code.insert(code.end(), bytes.begin(), bytes.end());
        continue;
      }
      auto found = group_of_id.find(instruction->immediate_u32);
      if (found == group_of_id.end())
        return make_error(ErrorCode::kInvalidFile,
                          "{}: triggers descriptor id {}, expected an id of the engine's dma list", where(),
                          instruction->immediate_u32);
      const Group& group = groups_[e][found->second];
      const auto& order = waiting[group.queue];
      std::size_t& next = position[group.queue];
      if (next >= order.size() || order[next] != found->second)
        return make_error(ErrorCode::kInvalidFile,
                          "{}: triggers descriptor id {}, expected {} next on queue set '{}' (each id once, in the "
                          "order of the dma list)",
                          where(), group.id,
                          next < order.size() ? fmt::format("id {}", groups_[e][order[next]].id) : "no more",
                          queues_[group.queue].name);
      ++next;
      instruction->opcode = isa::Opcode::kDmaTrigger;
      instruction->immediate_u32 = 0;
      instruction->dma = {static_cast<std::uint16_t>(queues_[group.queue].engine),
                          static_cast<std::uint16_t>(queues_[group.queue].queue), group.descriptors, group.descriptors};
      auto encoded = isa::encode(*instruction);
      if (!encoded) return with_context(encoded.error(), where());
      code.insert(code.end(), encoded->begin(), encoded->end());
    }
    for (const auto& [queue, order] : waiting)
      if (position[queue] < order.size())
        return make_error(
            ErrorCode::kInvalidFile,
            "subgraph '{}': descriptor id {} of queue set '{}' is never triggered by {}, expected each id once",
            subgraph.name, groups_[e][order[position[queue]]].id, queues_[queue].name, isa::engine_name(engine));
    isa::Instruction end;
    end.opcode = isa::Opcode::kNotify;
    end.immediate_u32 = end_value_;
    auto encoded = isa::encode(end);
    if (!encoded) return tl::unexpected(encoded.error());
    code.insert(code.end(), encoded->begin(), encoded->end());

    instructions_[e] = (code.size() - start) / isa::kInstructionBytes;
    QueuePlan& feed = feeds_[e];
    feed.engine = core_ * inf1::kDmaEnginesPerCore + static_cast<std::uint32_t>(e);
    feed.queue = kFeedQueue;
    feed.name = fmt::format("instructions of {}", isa::engine_name(engine));
    for (std::size_t at = start; at < code.size(); at += kFeedBytes)
      feed.image.add({code_->device_address() + at, {}}, {placement_.core_base + fifo_offset(engine), {}},
                     static_cast<std::uint32_t>(std::min<std::size_t>(kFeedBytes, code.size() - at)),
                     inf1::kDescFirst | inf1::kDescLast);
  }
  return code_->write(0, code);
}

const ProgramText& LoadedProgram::text() {
  std::uint64_t at = kOneBlockBytes;
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    std::vector<std::byte> code(instructions_[e] * isa::kInstructionBytes);
    const std::uint64_t from = std::exchange(at, at + code.size());
    if (text_[e] != nullptr || !code_->read(from, code)) continue;
    auto lines = std::make_shared<std::vector<std::string>>();
    for (std::size_t i = 0; i < instructions_[e]; ++i) {
      const auto bytes = std::span(code).subspan(i * isa::kInstructionBytes).first<isa::kInstructionBytes>();
      const auto instruction = isa::decode(bytes);
      lines->push_back(instruction ? isa::disassemble(*instruction) : "? " + instruction.error().message);
    }
    text_[e] = std::move(lines);
  }
  return text_;
}

Result<Ring> LoadedProgram::make_ring(const QueuePlan& plan, bool in_host_memory) {
  RingImage padded = plan.image;
  padded.pad();
  Ring ring;
  for (auto* side : {&ring.transmit, &ring.receive}) {
    auto memory = in_host_memory ? device_->allocate_host(padded.transmit().size(), core_, OPENNRT_MEM_DMA_RINGS_HOST)
                                 : device_->allocate_device(padded.transmit().size(), core_,
                                                            OPENNRT_MEM_DMA_RINGS_DEVICE, inf1::kRingAlignment);
    if (!memory) return tl::unexpected(memory.error());
    *side = std::move(*memory);
  }
  auto descriptors = static_cast<std::uint32_t>(padded.transmit().size() / inf1::kDescriptorBytes);
  ring.init = {plan.engine, plan.queue, descriptors, descriptors, ring.transmit->handle(), ring.receive->handle()};
  std::lock_guard lock(slots_mutex_);
  ring_bytes_ += ring.transmit->bytes() + ring.receive->bytes();
  return ring;
}

/// Rings that no inference changes are in device memory, where the DMA engines read them without crossing PCIe.
Status LoadedProgram::write_fixed_rings() {
  auto write = [&](const QueuePlan& plan) -> Status {
    auto ring = make_ring(plan, false);
    if (!ring) return tl::unexpected(ring.error());
    const auto& api = device_->api();
    int result = call(api.dma_write_descriptors, device_->handle(), ring->transmit->handle(), std::uint64_t{0},
                      static_cast<const void*>(plan.image.transmit().data()), plan.image.count(), OPENNRT_QUEUE_TX);
    if (result == 0)
      result = call(api.dma_write_descriptors, device_->handle(), ring->receive->handle(), std::uint64_t{0},
                    static_cast<const void*>(plan.image.receive().data()), plan.image.count(), OPENNRT_QUEUE_RX);
    if (result != 0)
      return with_context(driver_error(result, "dma_write_descriptors", device_->number()).value(),
                          "queue '" + plan.name + "'");
    fixed_rings_.push_back(std::move(*ring));
    return {};
  };
  for (const QueuePlan& feed : feeds_)
    if (auto status = write(feed); !status) return status;
  for (const QueuePlan& queue : queues_)
    if (!queue.bound())
      if (auto status = write(queue); !status) return status;
  return {};
}

/// Rings with addresses that inferences bind are in host memory, where rewriting them costs no DMA.
Result<std::unique_ptr<Slot>> LoadedProgram::make_slot() {
  auto slot = std::make_unique<Slot>();
  slot->staging.resize(tensors_.size());
  slot->bound.assign(tensors_.size(), Slot::kUnbound);
  for (const Ring& ring : fixed_rings_) slot->inits.push_back(ring.init);
  for (const QueuePlan& queue : queues_) {
    if (!queue.bound()) continue;
    auto ring = make_ring(queue, true);
    if (!ring) return tl::unexpected(ring.error());
    slot->images.push_back(queue.image);
    slot->inits.push_back(ring->init);
    slot->rings.push_back(std::move(*ring));
  }
  return slot;
}

}  // namespace opennrt::umd
