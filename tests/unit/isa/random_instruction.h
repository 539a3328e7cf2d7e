// SPDX-License-Identifier: Apache-2.0
//
// Random instructions that the validator accepts with the default limits, for round trips.
#pragma once

#include <random>

#include "core/isa/footprint.h"
#include "core/isa/table.h"

namespace opennrt::isa::testing {

class RandomInstructions {
 public:
  explicit RandomInstructions(std::uint32_t seed) : random_(seed) {}

  std::uint32_t below(std::uint32_t n) { return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(random_); }
  std::uint8_t one_of(std::uint32_t mask) {
    std::uint8_t value;
    do value = static_cast<std::uint8_t>(below(32));
    while (!(mask >> value & 1u));
    return value;
  }
  Operand operand(std::uint8_t types, std::uint8_t spaces, std::uint32_t partitions) {
    Operand o;
    o.dtype = static_cast<DataType>(one_of(types));
    o.space = static_cast<Space>(one_of(spaces));
    o.partition = static_cast<std::uint8_t>(below(129 - partitions));
    const auto bytes = static_cast<std::uint32_t>(data_type_bytes(o.dtype));
    o.offset = below((o.space == Space::kSbuf ? 80u * 1024 : 16u * 1024) / bytes) * bytes;
    for (auto& step : o.steps) step = static_cast<std::int16_t>(static_cast<int>(below(9)) - 4);
    return o;
  }
  Instruction any(const OpcodeInfo& info) {
    Instruction in;
    in.opcode = info.opcode;
    if (below(2))
      in.wait = {static_cast<WaitMode>(1 + below(3)), static_cast<std::uint8_t>(below(32)),
                 static_cast<std::uint16_t>(below(65536))};
    if (below(2))
      in.signal = {static_cast<SignalMode>(1 + below(3)), static_cast<std::uint8_t>(below(32)),
                   static_cast<std::uint16_t>(below(65536))};
    if (info.uses(kFieldPartitions)) in.partitions = static_cast<std::uint8_t>(1 + below(128));
    if (info.uses(kFieldCounts))
      for (auto& count : in.counts) count = static_cast<std::uint16_t>(1 + below(6));
    if (info.op0_kind != OpKind::kNone) in.op0 = one_of(info.op0_values);
    if (info.op1_kind == OpKind::kAlu) in.op1 = one_of(info.op1_values);
    if (info.op1_kind == OpKind::kColumns) in.op1 = static_cast<std::uint8_t>(1 + below(64));
    if (info.uses(kFieldImm0)) in.imm0 = static_cast<float>(below(1000)) / 8 - 50;
    if (info.uses(kFieldImm1)) in.imm1 = static_cast<float>(below(1000)) / 8 - 50;
    if (info.uses(kFieldU32)) in.immediate_u32 = below(256);
    if (info.uses(kFieldAccumulate)) in.accumulate = below(2);
    if (info.uses(kFieldSrc1PerPartition)) in.src1_per_partition = below(2);
    if (info.uses(kFieldDma))
      in.dma = {static_cast<std::uint16_t>(below(12)), static_cast<std::uint16_t>(below(16)), bits(), bits()};
    if (info.uses(kFieldDst))
      in.dst = operand(info.dst_types, info.dst_spaces, partition_count(info.dst_partitions, in));
    if (info.uses(kFieldSrc0))
      in.src0 = operand(info.src0_types, info.src0_spaces, partition_count(info.src0_partitions, in));
    if (reads_src1(info, in)) {
      in.src1 = operand(info.src1_types, 3, partition_count(info.src1_partitions, in));
      if (info.uses(kFieldSrc1PerPartition)) in.src1.steps = {};
    }
    if (in.opcode == Opcode::kMatmul)
      in.dst.dtype = in.src0.dtype == DataType::kInt8 ? DataType::kInt32 : DataType::kFp32;
    if (in.opcode == Opcode::kMatmul) in.dst.offset &= ~3u;
    return in;
  }
  /// One that validate() accepts.
  Instruction valid(const OpcodeInfo& info, Engine engine) {
    Instruction in;
    do in = any(info);
    while (!validate(in, engine));
    return in;
  }
  std::uint32_t bits() { return static_cast<std::uint32_t>(random_()); }

 private:
  std::mt19937 random_;
};

}  // namespace opennrt::isa::testing
