// SPDX-License-Identifier: Apache-2.0
//
// The table of opcodes. Encoder, decoder, validator, disassembler and docs/isa.md all follow it, so that an opcode is
// added or changed in one place (table.cc).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/isa/isa.h"

namespace opennrt::isa {

/// Fields of Instruction that an opcode uses; the others must have their default value.
enum Field : std::uint16_t {
  kFieldPartitions = 1 << 0,
  kFieldCounts = 1 << 1,
  kFieldDst = 1 << 2,
  kFieldSrc0 = 1 << 3,
  kFieldSrc1 = 1 << 4,              ///< always
  kFieldSrc1PerPartition = 1 << 5,  ///< flag src1_per_partition, and src1 when it is set
  kFieldImm0 = 1 << 6,
  kFieldImm1 = 1 << 7,
  kFieldU32 = 1 << 8,
  kFieldAccumulate = 1 << 9,
  kFieldDma = 1 << 10,
};

/// What op0 or op1 holds.
enum class OpKind : std::uint8_t { kNone, kActivation, kAlu, kColumns };

/// How many partitions an operand covers.
enum class Partitions : std::uint8_t {
  kNone,  ///< the operand is not used
  kAll,   ///< the instruction's `partitions`
  kOne,
  kColumns,  ///< op1, the M of a matmul
};

struct OpcodeInfo {
  Opcode opcode;
  std::string_view mnemonic;
  std::uint8_t engines;  ///< bit n: allowed on Engine n
  std::uint16_t fields;  ///< of Field
  OpKind op0_kind, op1_kind;
  std::uint32_t op0_values;  ///< bit n: value n is allowed
  std::uint32_t op1_values;  ///< likewise; not for kColumns
  Partitions dst_partitions, src0_partitions, src1_partitions;
  std::uint8_t dst_types, src0_types, src1_types;  ///< bit n: DataType n is allowed
  std::uint8_t dst_spaces, src0_spaces;            ///< bit n: Space n is allowed
  std::string_view semantics;                      ///< one line, also the text in docs/isa.md

  constexpr bool uses(Field field) const { return (fields & field) != 0; }
  constexpr bool runs_on(Engine engine) const { return (engines >> static_cast<unsigned>(engine)) & 1u; }
};

/// Every opcode, ordered by value. Lives as long as the program.
std::span<const OpcodeInfo> opcode_table();
/// The entry of an opcode, or null for a value that is none.
const OpcodeInfo* find_opcode(Opcode opcode);

/// True when the instruction reads src1 (always, or because src1_per_partition is set).
constexpr bool reads_src1(const OpcodeInfo& info, const Instruction& instruction) {
  return info.uses(kFieldSrc1) || (info.uses(kFieldSrc1PerPartition) && instruction.src1_per_partition);
}
/// Number of partitions that `rule` means for this instruction.
constexpr std::uint32_t partition_count(Partitions rule, const Instruction& instruction) {
  switch (rule) {
    case Partitions::kNone:
      return 0;
    case Partitions::kAll:
      return instruction.partitions;
    case Partitions::kOne:
      return 1;
    case Partitions::kColumns:
      return instruction.op1;
  }
  return 0;
}

std::string_view activation_name(Activation function);  ///< "relu"; "?" for a value that is none
std::string_view alu_name(Alu op);                      ///< "add"; "?" for a value that is none
std::string_view space_name(Space space);               ///< "sbuf", "psum"
inline constexpr std::uint32_t kActivations = 16, kAlus = 12, kDataTypes = 6;

/// The opcode table as docs/isa.md has it (Markdown); a test holds the two against each other.
std::string opcode_table_markdown();

}  // namespace opennrt::isa
