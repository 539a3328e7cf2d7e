// SPDX-License-Identifier: Apache-2.0
#include "models/lower/recorder.h"

#include <algorithm>

#include "core/isa/footprint.h"
#include "core/isa/table.h"

namespace opennrt::compile::lower {

const QueueFacts& queue_facts(Queue queue) {
  // The Tensor engine rings for weights: it is the one that frees their slots, so it never waits for anybody to do so.
  static constexpr QueueFacts kFacts[kQueues] = {
      {"in", neff::QueueType::kIn, isa::Engine::kPool},       {"out", neff::QueueType::kOut, isa::Engine::kAct},
      {"load", neff::QueueType::kData, isa::Engine::kPool},   {"store", neff::QueueType::kData, isa::Engine::kAct},
      {"weights0", neff::QueueType::kData, isa::Engine::kPe}, {"weights1", neff::QueueType::kData, isa::Engine::kPe},
      {"weights2", neff::QueueType::kData, isa::Engine::kPe}, {"weights3", neff::QueueType::kData, isa::Engine::kPe},
  };
  return kFacts[static_cast<std::size_t>(queue)];
}

std::vector<Access> accesses_of(const isa::Instruction& in) {
  std::vector<Access> list;
  const isa::OpcodeInfo* info = isa::find_opcode(in.opcode);
  if (!info) return list;
  const auto add = [&](const isa::Operand& operand, const std::array<std::uint16_t, 4>& counts, bool write) {
    const isa::Footprint f = isa::footprint(operand, counts);
    list.push_back({operand.space == isa::Space::kSbuf ? Memory::kSbuf : Memory::kPsum, write, 0,
                    static_cast<std::uint64_t>(f.begin), static_cast<std::uint64_t>(f.end)});
  };
  if (info->uses(isa::kFieldSrc0)) add(in.src0, in.counts, false);
  if (isa::reads_src1(*info, in)) {
    const bool column = info->uses(isa::kFieldSrc1PerPartition);
    add(in.src1, column ? std::array<std::uint16_t, 4>{1, 1, 1, 1} : in.counts, false);
  }
  if (info->uses(isa::kFieldDst)) add(in.dst, in.counts, true);
  return list;
}

namespace {
Access access_of(const neff::AccessPattern& p, bool write) {
  std::int64_t low = 0, high = 0;
  const bool state = p.variable == kStateBufferVariable;
  for (std::size_t i = 0; i < p.sizes.size(); ++i) {
    if (state && p.steps[i] % static_cast<std::int64_t>(kPartitionStride) == 0)
      continue;  // from partition to partition
    const std::int64_t reach = p.steps[i] * (static_cast<std::int64_t>(p.sizes[i]) - 1);
    (reach < 0 ? low : high) += reach;
  }
  const auto base = static_cast<std::int64_t>(state ? p.offset % kPartitionStride : p.offset);
  return {state ? Memory::kSbuf : Memory::kDram, write, static_cast<std::uint32_t>(state ? 0 : p.variable),
          static_cast<std::uint64_t>(base + low), static_cast<std::uint64_t>(base + high + 1)};
}
}  // namespace

std::array<Access, 2> accesses_of(const Transfer& t) {
  return {access_of(t.from, false), access_of(t.to, true)};
}

void Recorder::fail(Error error) {
  if (status_) status_ = tl::unexpected(std::move(error));
}

IntervalMap<Recorder::Last>& Recorder::map_of(const Access& a) {
  return a.memory == Memory::kSbuf ? sbuf_ : a.memory == Memory::kPsum ? psum_ : dram_[a.variable];
}

void Recorder::add(Operation op, bool early) {
  if (failed()) return;
  if (operations_.size() >= kMaxOperations) {
    fail(Error{ErrorCode::kUnsupported,
               fmt::format("the model needs more than {} instructions and transfers", kMaxOperations)});
    return;
  }
  op.sequence = operations_.size() + 1;
  op.order = op.sequence;
  if (early) {
    op.order = 0;
    for (const Access& a : op.accesses) {
      map_of(a).visit(a.begin, a.end, [&](const Last& last) {
        op.order = std::max(op.order, a.write ? std::max(last.write, last.read) : last.write);
      });
    }
  }
  for (const Access& a : op.accesses) {
    if (a.write) continue;
    map_of(a).update(a.begin, a.end, [&](Last& last) { last.read = std::max(last.read, op.order); });
  }
  for (const Access& a : op.accesses) {
    if (a.write) map_of(a).assign(a.begin, a.end, Last{op.order, 0});
  }
  operations_.push_back(std::move(op));
}

void Recorder::instruction(isa::Engine engine, const isa::Instruction& in) {
  if (failed()) return;
  if (auto s = isa::validate(in, engine, limits_); !s) {
    fail(Error{ErrorCode::kInternal, "lowering made an instruction that is not valid: " + s.error().message});
    return;
  }
  Operation op;
  op.engine = engine;
  op.instruction = in;
  op.accesses = accesses_of(in);
  add(std::move(op), false);
}

void Recorder::dma(Queue queue, std::vector<Transfer> transfers, bool early) {
  if (failed()) return;
  Operation op;
  op.is_dma = true;
  op.queue = queue;
  op.engine = queue_facts(queue).owner;
  for (const Transfer& t : transfers) {
    for (const Access& a : accesses_of(t)) op.accesses.push_back(a);
  }
  op.transfers = std::move(transfers);
  add(std::move(op), early);
}

void Recorder::dma_first(Queue queue, std::vector<Transfer> transfers) {
  if (failed()) return;
  dma(queue, std::move(transfers), false);
  if (!failed()) operations_.back().order = 0;
}

std::vector<Operation> Recorder::take() {
  std::stable_sort(operations_.begin(), operations_.end(), [](const Operation& a, const Operation& b) {
    return a.order != b.order ? a.order < b.order : a.sequence < b.sequence;
  });
  sbuf_ = psum_ = {};
  dram_.clear();
  return std::move(operations_);
}

}  // namespace opennrt::compile::lower
