// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/isa/footprint.h"
#include "core/isa/inf1.h"
#include "core/isa/table.h"

namespace opennrt::isa {
namespace {

template <typename... Args>
tl::unexpected<Error> bad(const OpcodeInfo& info, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(
      Error{ErrorCode::kInvalidArgument,
            fmt::format("{}: {}", info.mnemonic, fmt::format(text, std::forward<Args>(args)...))});
}

using Counts = std::array<std::uint16_t, 4>;
constexpr Counts kSingle{1, 1, 1, 1};

Status check_operand(const OpcodeInfo& info, std::string_view name, const Operand& operand, const Counts& counts,
                     std::uint32_t partitions, std::uint8_t types, std::uint8_t spaces, const Limits& limits) {
  if (!(types >> static_cast<unsigned>(operand.dtype) & 1u)) {
    return bad(info, "{} dtype is {} ({}), which this opcode does not take", name, static_cast<unsigned>(operand.dtype),
               data_type_name(operand.dtype));
  }
  if (!(spaces >> static_cast<unsigned>(operand.space) & 1u)) {
    return bad(info, "{} is in {}, where this opcode cannot have it", name, space_name(operand.space));
  }
  if (operand.partition + partitions > limits.partitions) {
    return bad(info, "{} covers partitions {}..{}, expected below {}", name, operand.partition,
               operand.partition + partitions - 1, limits.partitions);
  }
  const auto bytes = data_type_bytes(operand.dtype);
  if (operand.offset % bytes != 0) {
    return bad(info, "{} offset is 0x{:x}, expected a multiple of {}, the size of {}", name, operand.offset, bytes,
               data_type_name(operand.dtype));
  }
  const Footprint touched = footprint(operand, counts);
  const std::uint32_t size = bytes_per_partition(operand.space, limits);
  if (touched.begin < 0 || touched.end > size) {
    return bad(info, "{} touches bytes {}..{} of its partitions, expected 0..{}, the size of {}", name, touched.begin,
               touched.end - 1, size - 1, space_name(operand.space));
  }
  return {};
}

Status check_matmul(const OpcodeInfo& info, const Instruction& in, const Limits& limits) {
  const std::uint64_t n = element_count(in.counts);
  if (in.partitions > limits.pe_rows)
    return bad(info, "K (partitions) is {}, expected at most {}", in.partitions, limits.pe_rows);
  if (in.op1 < 1 || in.op1 > limits.pe_columns)
    return bad(info, "M (op1) is {}, expected 1..{}", in.op1, limits.pe_columns);
  if (n > limits.matmul_max_moving)
    return bad(info, "N (product of counts) is {}, expected at most {}", n, limits.matmul_max_moving);
  const bool integer = in.src0.dtype == DataType::kInt8;
  if (integer != (in.dst.dtype == DataType::kInt32)) {
    return bad(info, "dst dtype is {}, expected {} for src0 of {}", data_type_name(in.dst.dtype),
               integer ? "int32" : "fp32", data_type_name(in.src0.dtype));
  }
  const Footprint touched = footprint(in.dst, in.counts);
  const auto bank = static_cast<std::int64_t>(limits.psum_bank_bytes);
  if (touched.begin / bank != (touched.end - 1) / bank) {
    return bad(info, "dst touches PSUM bytes {}..{}, expected to stay in one bank of {} bytes", touched.begin,
               touched.end - 1, bank);
  }
  return {};
}

Status check_load_stationary(const OpcodeInfo& info, const Instruction& in, const Limits& limits) {
  const std::uint64_t m = element_count(in.counts);
  if (in.partitions > limits.pe_rows)
    return bad(info, "K (partitions) is {}, expected at most {}", in.partitions, limits.pe_rows);
  if (m > limits.pe_columns) return bad(info, "M (product of counts) is {}, expected at most {}", m, limits.pe_columns);
  return {};
}

}  // namespace

Status validate(const Instruction& in, Engine engine, const Limits& limits) {
  const OpcodeInfo* found = find_opcode(in.opcode);
  if (!found)
    return make_error(ErrorCode::kInvalidArgument, "opcode is 0x{:02x}, which is not an instruction",
                      static_cast<unsigned>(in.opcode));
  const OpcodeInfo& info = *found;
  if (static_cast<std::size_t>(engine) >= kEngines || !info.runs_on(engine))
    return bad(info, "engine {} cannot run it", engine_name(engine));
  // Fields that do not fit, that are not used or that are out of their enumeration are the encoder's to refuse; those that
  // decide below are checked again, because an Instruction may come from elsewhere.
  if (info.op0_kind != OpKind::kNone && (in.op0 >= 32 || !(info.op0_values >> in.op0 & 1u)))
    return bad(info, "op0 is {}, which this opcode does not have", in.op0);
  if (info.op1_kind == OpKind::kAlu && (in.op1 >= 32 || !(info.op1_values >> in.op1 & 1u)))
    return bad(info, "op1 is {}, which this opcode does not have", in.op1);

  if (info.uses(kFieldPartitions) && (in.partitions < 1 || in.partitions > limits.partitions)) {
    return bad(info, "partitions is {}, expected 1..{}", in.partitions, limits.partitions);
  }
  if (info.uses(kFieldCounts)) {
    for (std::size_t i = 0; i < in.counts.size(); ++i) {
      if (in.counts[i] == 0) return bad(info, "count {} is 0, expected at least 1", i);
    }
    if (element_count(in.counts) > kMaxElements) {
      return bad(info, "product of counts is {}, expected at most {}", element_count(in.counts), kMaxElements);
    }
  }
  if (in.opcode == Opcode::kLoadStationary) {
    if (auto s = check_load_stationary(info, in, limits); !s) return s;
  }
  if (info.uses(kFieldDst)) {
    auto s = check_operand(info, "dst", in.dst, in.counts, partition_count(info.dst_partitions, in), info.dst_types,
                           info.dst_spaces, limits);
    if (!s) return s;
    for (std::size_t i = 0; i < in.counts.size() && in.opcode != Opcode::kTensorReduce; ++i) {
      if (in.dst.steps[i] == 0 && in.counts[i] > 1) {
        return bad(info, "dst step {} is 0 with count {}: only tensor_reduce may repeat an element of its dst", i,
                   in.counts[i]);
      }
    }
  }
  if (info.uses(kFieldSrc0)) {
    auto s = check_operand(info, "src0", in.src0, in.counts, partition_count(info.src0_partitions, in), info.src0_types,
                           info.src0_spaces, limits);
    if (!s) return s;
  }
  if (reads_src1(info, in)) {
    const bool per_partition = info.uses(kFieldSrc1PerPartition);
    auto s = check_operand(info, "src1", in.src1, per_partition ? kSingle : in.counts,
                           partition_count(info.src1_partitions, in), info.src1_types, 3, limits);
    if (!s) return s;
    if (per_partition && in.src1.steps != std::array<std::int16_t, 4>{}) {
      return bad(info, "src1 steps are {},{},{},{}, expected 0 with src1_per_partition", in.src1.steps[3],
                 in.src1.steps[2], in.src1.steps[1], in.src1.steps[0]);
    }
  }
  if (in.opcode == Opcode::kMatmul) return check_matmul(info, in, limits);
  switch (in.opcode) {
    case Opcode::kEventSet:
    case Opcode::kEventClear:
    case Opcode::kEventWait:
      if (in.immediate_u32 >= inf1::kEvents)
        return bad(info, "event is {}, expected 0..{}", in.immediate_u32, inf1::kEvents - 1);
      return {};
    case Opcode::kDmaTrigger:
      if (in.dma.engine >= inf1::kDmaEnginesPerDevice)
        return bad(info, "dma engine is {}, expected 0..{}", in.dma.engine, inf1::kDmaEnginesPerDevice - 1);
      if (in.dma.queue >= inf1::kQueuesPerDmaEngine)
        return bad(info, "dma queue is {}, expected 0..{}", in.dma.queue, inf1::kQueuesPerDmaEngine - 1);
      return {};
    default:
      return {};
  }
}

Status validate_stream(std::span<const std::byte> bytes, Engine engine, const Limits& limits) {
  if (bytes.size() % kInstructionBytes != 0) {
    return make_error(ErrorCode::kInvalidArgument, "instruction stream has {} bytes, expected a multiple of {}",
                      bytes.size(), kInstructionBytes);
  }
  for (std::size_t at = 0; at < bytes.size(); at += kInstructionBytes) {
    const auto where = [&] { return fmt::format("instruction {}", at / kInstructionBytes); };
    auto instruction = decode(bytes.subspan(at).first<kInstructionBytes>());
    if (!instruction) return with_context(instruction.error(), where());
    if (auto s = validate(*instruction, engine, limits); !s) return with_context(s.error(), where());
  }
  return {};
}

}  // namespace opennrt::isa
