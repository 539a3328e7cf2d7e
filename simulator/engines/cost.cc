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

std::uint64_t useful_operations(const isa::Instruction& in, isa::Engine) {
  const isa::OpcodeInfo* info = isa::find_opcode(in.opcode);
  if (!info || !info->uses(isa::kFieldCounts) || in.opcode == Opcode::kLoadStationary) return 0;
  const std::uint64_t elements = isa::element_count(in.counts) * in.partitions;
  return in.opcode == Opcode::kMatmul ? elements * in.op1 : elements;
}

}  // namespace opennrt::sim
