// SPDX-License-Identifier: Apache-2.0
//
// Time of an instruction, after the cost notes of aws-neuron-sdk nki/guides/architecture/trainium_inferentia2_arch.rst and
// nki/api, the closest published relatives. docs/fidelity.md says how far they can be trusted for this generation.
#include <algorithm>
#include <bit>
#include <cmath>

#include "core/isa/footprint.h"
#include "core/isa/table.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {
namespace {

using isa::DataType;
using isa::Opcode;

bool touches_int32(const isa::OpcodeInfo& info, const isa::Instruction& in) {
  return (info.uses(isa::kFieldDst) && in.dst.dtype == DataType::kInt32) ||
         (info.uses(isa::kFieldSrc0) && in.src0.dtype == DataType::kInt32) ||
         (isa::reads_src1(info, in) && in.src1.dtype == DataType::kInt32);
}

// One source in PSUM has a read port of its own; bf16 additions and multiplications read two elements a cycle.
bool tensor_tensor_at_full_rate(const isa::Instruction& in) {
  if (in.src0.space == isa::Space::kPsum || in.src1.space == isa::Space::kPsum) return true;
  const auto op = static_cast<isa::Alu>(in.op0);
  return in.src0.dtype == DataType::kBf16 && in.src1.dtype == DataType::kBf16 && in.dst.dtype == DataType::kBf16 &&
         (op == isa::Alu::kAdd || op == isa::Alu::kMult);
}

// Cycles that the elements take, before floor and access.
std::uint64_t element_cycles(const isa::Instruction& in, const CostModel& cost) {
  const std::uint64_t n = isa::element_count(in.counts);
  switch (in.opcode) {
    case Opcode::kTensorTensor:
      return tensor_tensor_at_full_rate(in) ? n : n * cost.tensor_tensor_cycles_per_element;
    case Opcode::kReciprocal:
      return n * cost.reciprocal_cycles_per_element;
    case Opcode::kTensorReduce: {
      const bool half = in.src0.dtype == DataType::kBf16 && in.dst.dtype == DataType::kBf16;
      const std::uint64_t rate = half ? std::max(1u, cost.reduce_bf16_elements_per_cycle) : 1;
      return (n + rate - 1) / rate;
    }
    case Opcode::kPartitionReduce: {
      const auto stages = static_cast<std::uint64_t>(std::bit_width(static_cast<unsigned>(in.partitions) - 1u));
      return n * std::max<std::uint64_t>(1, stages * cost.partition_reduce_cycles_per_stage);
    }
    default:
      return n;
  }
}

bool reads(const isa::Operand& from, std::uint32_t partitions, const std::array<std::uint16_t, 4>& counts,
           const isa::Operand& written, std::uint32_t written_partitions,
           const std::array<std::uint16_t, 4>& written_counts) {
  if (from.space != written.space || from.partition >= written.partition + written_partitions ||
      written.partition >= from.partition + partitions) {
    return false;
  }
  const isa::Footprint read = isa::footprint(from, counts), write = isa::footprint(written, written_counts);
  return read.begin < write.end && write.begin < read.end;
}

// True when an operand of `next` reaches into what `previous` writes.
bool depends(const isa::OpcodeInfo& previous_info, const isa::Instruction& previous, const isa::OpcodeInfo& next_info,
             const isa::Instruction& next) {
  if (!previous_info.uses(isa::kFieldDst)) return false;
  const std::uint32_t written = isa::partition_count(previous_info.dst_partitions, previous);
  constexpr std::array<std::uint16_t, 4> kSingle{1, 1, 1, 1};
  return (next_info.uses(isa::kFieldSrc0) && reads(next.src0, isa::partition_count(next_info.src0_partitions, next),
                                                   next.counts, previous.dst, written, previous.counts)) ||
         (isa::reads_src1(next_info, next) && reads(next.src1, isa::partition_count(next_info.src1_partitions, next),
                                                    next_info.uses(isa::kFieldSrc1PerPartition) ? kSingle : next.counts,
                                                    previous.dst, written, previous.counts));
}

}  // namespace

std::uint64_t busy_cycles(const isa::Instruction& in, isa::Engine, const CostModel& cost) {
  const isa::OpcodeInfo* info = isa::find_opcode(in.opcode);
  if (!info || !info->uses(isa::kFieldCounts)) return std::max(1u, cost.dispatch_cycles);
  const std::uint64_t n = isa::element_count(in.counts);
  // PE is a pipeline: what counts is how soon it takes the next instruction, and so there is no access time here.
  if (in.opcode == Opcode::kLoadStationary) return std::max<std::uint64_t>({1, cost.pe_load_cycles_floor, n});
  if (in.opcode == Opcode::kMatmul) {
    const std::uint64_t passes = in.src0.dtype == DataType::kFp32 ? cost.fp32_matmul_passes : 1;
    const std::uint64_t columns = std::max(1u, cost.pe_columns);
    const std::uint64_t folds = (std::max<std::uint64_t>(in.op1, 1) + columns - 1) / columns;
    return std::max<std::uint64_t>(1, std::max<std::uint64_t>(cost.min_free_cycles, n) * passes * folds);
  }
  const double factor = touches_int32(*info, in) ? cost.int32_cost_factor : 1.0;
  const auto elements = static_cast<std::uint64_t>(std::ceil(static_cast<double>(element_cycles(in, cost)) * factor));
  return std::max<std::uint64_t>(1, std::max<std::uint64_t>(cost.min_free_cycles, elements) + cost.fixed_access_cycles);
}

std::uint64_t overlap_cycles(const isa::Instruction& previous, const isa::Instruction& next, const CostModel& cost) {
  const isa::OpcodeInfo *before = isa::find_opcode(previous.opcode), *info = isa::find_opcode(next.opcode);
  if (!before || !info || !before->uses(isa::kFieldCounts) || !info->uses(isa::kFieldCounts)) return 0;
  if (next.opcode == Opcode::kLoadStationary) {
    const bool background = previous.opcode == Opcode::kMatmul && cost.pe_background_loads > 0;
    return background ? busy_cycles(next, isa::Engine::kPe, cost) : 0;
  }
  if (next.opcode == Opcode::kMatmul || depends(*before, previous, *info, next)) return 0;
  return cost.fixed_access_cycles;
}

std::uint64_t useful_operations(const isa::Instruction& in, isa::Engine) {
  const isa::OpcodeInfo* info = isa::find_opcode(in.opcode);
  if (!info || !info->uses(isa::kFieldCounts) || in.opcode == Opcode::kLoadStationary) return 0;
  const std::uint64_t elements = isa::element_count(in.counts) * in.partitions;
  return in.opcode == Opcode::kMatmul ? elements * in.op1 : elements;
}

}  // namespace opennrt::sim
