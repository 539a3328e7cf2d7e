// SPDX-License-Identifier: Apache-2.0
#include <new>

#include "core/isa/footprint.h"
#include "core/isa/table.h"
#include "simulator/engines/engines.h"
#include "simulator/engines/units.h"

namespace opennrt::sim {
namespace {

using isa::Opcode;

// Why an instruction was refused: an address outside of the memories, or anything else.
ErrorNotification why(const isa::Instruction& in, const isa::OpcodeInfo& info, const isa::Limits& limits) {
  const auto outside = [&](const isa::Operand& operand, const std::array<std::uint16_t, 4>& counts,
                           isa::Partitions rule) {
    const std::uint32_t n = isa::partition_count(rule, in);
    const isa::Footprint touched = isa::footprint(operand, counts);
    return operand.partition + n > limits.partitions || touched.begin < 0 ||
           touched.end > isa::bytes_per_partition(operand.space, limits);
  };
  const bool per_partition = info.uses(isa::kFieldSrc1PerPartition);
  const std::array<std::uint16_t, 4> single{1, 1, 1, 1};
  for (std::uint16_t count : in.counts) {
    if (count == 0) return ErrorNotification::kIllegalInstruction;
  }
  if ((info.uses(isa::kFieldDst) && outside(in.dst, in.counts, info.dst_partitions)) ||
      (info.uses(isa::kFieldSrc0) && outside(in.src0, in.counts, info.src0_partitions)) ||
      (isa::reads_src1(info, in) && outside(in.src1, per_partition ? single : in.counts, info.src1_partitions))) {
    return ErrorNotification::kOutOfBounds;
  }
  return ErrorNotification::kIllegalInstruction;
}

isa::Engine any_engine(const isa::OpcodeInfo& info) {
  for (std::size_t i = 0; i < isa::kEngines; ++i) {
    if (info.runs_on(static_cast<isa::Engine>(i))) return static_cast<isa::Engine>(i);
  }
  return isa::Engine::kPe;
}

ErrorNotification run(const isa::Instruction& in, const CoreMemory& memory, StationaryMatrix& stationary) {
  switch (in.opcode) {
    case Opcode::kLoadStationary:
      return load_stationary(in, memory, stationary);
    case Opcode::kMatmul:
      return matmul(in, memory, stationary);
    case Opcode::kActivate:
      return activate(in, memory);
    case Opcode::kTensorTensor:
      return tensor_tensor(in, memory);
    case Opcode::kTensorScalar:
      return tensor_scalar(in, memory);
    case Opcode::kTensorReduce:
      return tensor_reduce(in, memory);
    case Opcode::kTensorCopy:
      return tensor_copy(in, memory);
    case Opcode::kMemset:
      return memset_tensor(in, memory);
    case Opcode::kReciprocal:
      return reciprocal(in, memory);
    case Opcode::kPartitionReduce:
      return partition_reduce(in, memory);
    case Opcode::kPartitionBroadcast:
      return partition_broadcast(in, memory);
    case Opcode::kNop:
    case Opcode::kNotify:
    case Opcode::kEventSet:
    case Opcode::kEventClear:
    case Opcode::kEventWait:
    case Opcode::kDmaTrigger:
    case Opcode::kPseudoDmaTrigger:
    case Opcode::kHalt:
      break;
  }
  return ErrorNotification::kIllegalInstruction;
}

}  // namespace

Effect execute(const isa::Instruction& instruction, CoreMemory& memory, StationaryMatrix& stationary) {
  const isa::OpcodeInfo* info = isa::find_opcode(instruction.opcode);
  if (!info) return {ErrorNotification::kIllegalInstruction};
  if (!isa::validate(instruction, any_engine(*info), memory.limits)) return {why(instruction, *info, memory.limits)};
  try {
    return {run(instruction, memory, stationary)};
  } catch (const std::bad_alloc&) {
    // Working memory of the host, at most a few MiB: there is no better word for the core to report.
    return {ErrorNotification::kIllegalInstruction};
  }
}

}  // namespace opennrt::sim
