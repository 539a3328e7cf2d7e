// SPDX-License-Identifier: Apache-2.0
//
// 64 bytes, little-endian. docs/isa.md has the same layout as a table.
#include <bit>

#include "core/isa/inf1.h"
#include "core/isa/table.h"

namespace opennrt::isa {
namespace {

constexpr std::size_t kOpcodeAt = 0, kFlagsAt = 1, kWaitAt = 2, kSignalAt = 3, kWaitValueAt = 4, kSignalValueAt = 6,
                      kPartitionsAt = 8, kOp0At = 9, kOp1At = 10, kReservedAt = 11, kImm1At = 12, kCountsAt = 16,
                      kDstAt = 24, kSrc0At = 36, kSrc1At = 48, kOperandBytes = 12, kImm0At = 60;
constexpr std::size_t kDmaEngineAt = 24, kDmaQueueAt = 26, kDmaTxAt = 28, kDmaRxAt = 32, kDmaEnd = 36;
constexpr std::uint8_t kFlagAccumulate = 1, kFlagSrc1PerPartition = 2;
constexpr std::uint32_t kOffsetBits = 17, kSpaceShift = 17, kPartitionShift = 18, kTypeShift = 25,
                        kOperandReservedShift = 29;
constexpr std::uint32_t kModeBits = 2, kModeMask = 3, kSemaphoreMask = 31;

// g++ and clang turn these loops into single loads and stores.
template <typename T>
void put(Encoded& bytes, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}
template <typename T>
T get(std::span<const std::byte, kInstructionBytes> bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value =
        static_cast<T>(value | static_cast<T>(static_cast<T>(std::to_integer<std::uint8_t>(bytes[at + i])) << (8 * i)));
  }
  return value;
}

template <typename... Args>
tl::unexpected<Error> bad(const OpcodeInfo& info, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(
      Error{ErrorCode::kInvalidArgument,
            fmt::format("{}: {}", info.mnemonic, fmt::format(text, std::forward<Args>(args)...))});
}

bool is_default(const Operand& operand) {
  return operand.space == Space::kSbuf && operand.dtype == DataType::kFp32 && operand.partition == 0 &&
         operand.offset == 0 && operand.steps == std::array<std::int16_t, 4>{};
}

// A field that the opcode does not use has no place in the 64 bytes: dropping it in silence would hide a mistake.
Status check_unused(const OpcodeInfo& info, const Instruction& in) {
  const auto unused = [&info](Field field) { return !info.uses(field); };
  if (unused(kFieldPartitions) && in.partitions != 1)
    return bad(info, "partitions is not used by this opcode, value {}, expected 1", in.partitions);
  if (unused(kFieldCounts) && in.counts != std::array<std::uint16_t, 4>{1, 1, 1, 1}) {
    return bad(info, "counts is not used by this opcode, value {},{},{},{}, expected 1,1,1,1", in.counts[3],
               in.counts[2], in.counts[1], in.counts[0]);
  }
  if (unused(kFieldDst) && !is_default(in.dst))
    return bad(info, "dst is not used by this opcode, expected a default operand");
  if (unused(kFieldSrc0) && !is_default(in.src0))
    return bad(info, "src0 is not used by this opcode, expected a default operand");
  if (!reads_src1(info, in) && !is_default(in.src1)) {
    return bad(info, "src1 is not used by this opcode{}, expected a default operand",
               info.uses(kFieldSrc1PerPartition) ? " without src1_per_partition" : "");
  }
  if (info.op0_kind == OpKind::kNone && in.op0 != 0)
    return bad(info, "op0 is not used by this opcode, value {}, expected 0", in.op0);
  if (info.op1_kind == OpKind::kNone && in.op1 != 0)
    return bad(info, "op1 is not used by this opcode, value {}, expected 0", in.op1);
  if (unused(kFieldImm0) && std::bit_cast<std::uint32_t>(in.imm0) != 0)
    return bad(info, "imm0 is not used by this opcode, value {}, expected 0", in.imm0);
  if (unused(kFieldImm1) && std::bit_cast<std::uint32_t>(in.imm1) != 0)
    return bad(info, "imm1 is not used by this opcode, value {}, expected 0", in.imm1);
  if (unused(kFieldU32) && in.immediate_u32 != 0)
    return bad(info, "immediate_u32 is not used by this opcode, value {}, expected 0", in.immediate_u32);
  if (unused(kFieldAccumulate) && in.accumulate) return bad(info, "accumulate is not used by this opcode");
  if (unused(kFieldSrc1PerPartition) && in.src1_per_partition)
    return bad(info, "src1_per_partition is not used by this opcode");
  if (unused(kFieldDma) && (in.dma.engine | in.dma.queue | in.dma.tx_count | in.dma.rx_count) != 0)
    return bad(info, "dma is not used by this opcode");
  return {};
}

Status put_sync(const OpcodeInfo& info, std::string_view name, Encoded& bytes, std::size_t at, std::size_t value_at,
                unsigned mode, std::uint8_t semaphore, std::uint16_t value) {
  if (mode > kModeMask) return bad(info, "{} mode is {}, expected 0..3", name, mode);
  if (semaphore >= inf1::kSemaphores)
    return bad(info, "{} semaphore is {}, expected 0..{}", name, semaphore, inf1::kSemaphores - 1);
  if (mode == 0 && (semaphore != 0 || value != 0)) {
    return bad(info, "{} mode is none, but its semaphore is {} and its value {}, expected 0 and 0", name, semaphore,
               value);
  }
  put<std::uint8_t>(bytes, at, static_cast<std::uint8_t>(mode | (semaphore << kModeBits)));
  put<std::uint16_t>(bytes, value_at, value);
  return {};
}

Status put_operand(const OpcodeInfo& info, std::string_view name, Encoded& bytes, std::size_t at,
                   const Operand& operand) {
  if (operand.offset >> kOffsetBits)
    return bad(info, "{} offset is 0x{:x}, expected below 0x{:x}", name, operand.offset, 1u << kOffsetBits);
  if (operand.partition > 127) return bad(info, "{} partition is {}, expected 0..127", name, operand.partition);
  if (static_cast<unsigned>(operand.space) > 1)
    return bad(info, "{} space is {}, expected 0 (sbuf) or 1 (psum)", name, static_cast<unsigned>(operand.space));
  if (static_cast<unsigned>(operand.dtype) >= kDataTypes)
    return bad(info, "{} dtype is {}, expected 0..{}", name, static_cast<unsigned>(operand.dtype), kDataTypes - 1);
  put<std::uint32_t>(bytes, at,
                     operand.offset | static_cast<std::uint32_t>(operand.space) << kSpaceShift |
                         static_cast<std::uint32_t>(operand.partition) << kPartitionShift |
                         static_cast<std::uint32_t>(operand.dtype) << kTypeShift);
  for (std::size_t i = 0; i < 4; ++i)
    put<std::uint16_t>(bytes, at + 4 + 2 * i, static_cast<std::uint16_t>(operand.steps[i]));
  return {};
}

Result<Operand> get_operand(const OpcodeInfo& info, std::string_view name,
                            std::span<const std::byte, kInstructionBytes> bytes, std::size_t at) {
  const auto word = get<std::uint32_t>(bytes, at);
  const std::uint32_t type = word >> kTypeShift & 0xf;
  if (word >> kOperandReservedShift)
    return bad(info, "{} reserved bits 31..29 are {}, expected 0", name, word >> kOperandReservedShift);
  if (type >= kDataTypes) return bad(info, "{} dtype is {}, expected 0..{}", name, type, kDataTypes - 1);
  Operand operand;
  operand.offset = word & ((1u << kOffsetBits) - 1);
  operand.space = static_cast<Space>(word >> kSpaceShift & 1);
  operand.partition = static_cast<std::uint8_t>(word >> kPartitionShift & 127);
  operand.dtype = static_cast<DataType>(type);
  for (std::size_t i = 0; i < 4; ++i)
    operand.steps[i] = static_cast<std::int16_t>(get<std::uint16_t>(bytes, at + 4 + 2 * i));
  return operand;
}

Status check_op(const OpcodeInfo& info, std::string_view name, OpKind kind, std::uint32_t values, std::uint8_t value) {
  if (kind != OpKind::kActivation && kind != OpKind::kAlu) return {};
  if (value < 32 && (values >> value & 1u)) return {};
  if (kind == OpKind::kActivation)
    return bad(info, "{} is {}, which is no activation (0..{})", name, value, kActivations - 1);
  return bad(info, "{} is {} ({}), which is not an ALU operator of this opcode", name, value,
             alu_name(static_cast<Alu>(value)));
}

// Names the first byte of [begin, end) that is not zero.
Status check_zero(const OpcodeInfo& info, std::span<const std::byte, kInstructionBytes> bytes, std::size_t begin,
                  std::size_t end, std::string_view what) {
  for (std::size_t i = begin; i < end; ++i) {
    if (bytes[i] != std::byte{0}) {
      return bad(info, "byte {} ({}) is 0x{:02x}, expected 0 in this opcode", i, what,
                 std::to_integer<unsigned>(bytes[i]));
    }
  }
  return {};
}

}  // namespace

Result<Encoded> encode(const Instruction& in) {
  const OpcodeInfo* info = find_opcode(in.opcode);
  if (!info)
    return make_error(ErrorCode::kInvalidArgument, "opcode is 0x{:02x}, which is not an instruction",
                      static_cast<unsigned>(in.opcode));
  if (auto s = check_unused(*info, in); !s) return tl::unexpected(s.error());
  if (auto s = check_op(*info, "op0", info->op0_kind, info->op0_values, in.op0); !s) return tl::unexpected(s.error());
  if (auto s = check_op(*info, "op1", info->op1_kind, info->op1_values, in.op1); !s) return tl::unexpected(s.error());

  Encoded bytes{};
  put<std::uint8_t>(bytes, kOpcodeAt, static_cast<std::uint8_t>(in.opcode));
  put<std::uint8_t>(bytes, kFlagsAt,
                    static_cast<std::uint8_t>((in.accumulate ? kFlagAccumulate : 0) |
                                              (in.src1_per_partition ? kFlagSrc1PerPartition : 0)));
  if (auto s = put_sync(*info, "wait", bytes, kWaitAt, kWaitValueAt, static_cast<unsigned>(in.wait.mode),
                        in.wait.semaphore, in.wait.value);
      !s) {
    return tl::unexpected(s.error());
  }
  if (auto s = put_sync(*info, "signal", bytes, kSignalAt, kSignalValueAt, static_cast<unsigned>(in.signal.mode),
                        in.signal.semaphore, in.signal.value);
      !s) {
    return tl::unexpected(s.error());
  }
  if (info->uses(kFieldPartitions)) put<std::uint8_t>(bytes, kPartitionsAt, in.partitions);
  put<std::uint8_t>(bytes, kOp0At, in.op0);
  put<std::uint8_t>(bytes, kOp1At, in.op1);
  put<std::uint32_t>(bytes, kImm1At, std::bit_cast<std::uint32_t>(in.imm1));
  if (info->uses(kFieldCounts)) {
    for (std::size_t i = 0; i < 4; ++i) put<std::uint16_t>(bytes, kCountsAt + 2 * i, in.counts[i]);
  }
  if (info->uses(kFieldDma)) {
    put<std::uint16_t>(bytes, kDmaEngineAt, in.dma.engine);
    put<std::uint16_t>(bytes, kDmaQueueAt, in.dma.queue);
    put<std::uint32_t>(bytes, kDmaTxAt, in.dma.tx_count);
    put<std::uint32_t>(bytes, kDmaRxAt, in.dma.rx_count);
  }
  if (info->uses(kFieldDst)) {
    if (auto s = put_operand(*info, "dst", bytes, kDstAt, in.dst); !s) return tl::unexpected(s.error());
  }
  if (info->uses(kFieldSrc0)) {
    if (auto s = put_operand(*info, "src0", bytes, kSrc0At, in.src0); !s) return tl::unexpected(s.error());
  }
  if (reads_src1(*info, in)) {
    if (auto s = put_operand(*info, "src1", bytes, kSrc1At, in.src1); !s) return tl::unexpected(s.error());
  }
  put<std::uint32_t>(bytes, kImm0At, info->uses(kFieldU32) ? in.immediate_u32 : std::bit_cast<std::uint32_t>(in.imm0));
  return bytes;
}

Result<Instruction> decode(std::span<const std::byte, kInstructionBytes> bytes) {
  const auto opcode = static_cast<Opcode>(get<std::uint8_t>(bytes, kOpcodeAt));
  const OpcodeInfo* info = find_opcode(opcode);
  if (!info)
    return make_error(ErrorCode::kInvalidArgument, "opcode is 0x{:02x}, which is not an instruction",
                      static_cast<unsigned>(opcode));

  Instruction out;
  out.opcode = opcode;
  const auto flags = get<std::uint8_t>(bytes, kFlagsAt);
  const std::uint8_t known =
      static_cast<std::uint8_t>((info->uses(kFieldAccumulate) ? kFlagAccumulate : 0) |
                                (info->uses(kFieldSrc1PerPartition) ? kFlagSrc1PerPartition : 0));
  if (flags & ~known) return bad(*info, "flags are 0x{:02x}, expected none outside 0x{:02x}", flags, known);
  out.accumulate = flags & kFlagAccumulate;
  out.src1_per_partition = flags & kFlagSrc1PerPartition;

  const auto wait = get<std::uint8_t>(bytes, kWaitAt), signal = get<std::uint8_t>(bytes, kSignalAt);
  if (wait & 0x80) return bad(*info, "wait byte is 0x{:02x}, expected bit 7 to be 0", wait);
  if (signal & 0x80) return bad(*info, "signal byte is 0x{:02x}, expected bit 7 to be 0", signal);
  out.wait = {static_cast<WaitMode>(wait & kModeMask), static_cast<std::uint8_t>(wait >> kModeBits & kSemaphoreMask),
              get<std::uint16_t>(bytes, kWaitValueAt)};
  out.signal = {static_cast<SignalMode>(signal & kModeMask),
                static_cast<std::uint8_t>(signal >> kModeBits & kSemaphoreMask),
                get<std::uint16_t>(bytes, kSignalValueAt)};
  if (out.wait.mode == WaitMode::kNone && (out.wait.semaphore != 0 || out.wait.value != 0)) {
    return bad(*info, "wait mode is none, but its semaphore is {} and its value {}, expected 0 and 0",
               out.wait.semaphore, out.wait.value);
  }
  if (out.signal.mode == SignalMode::kNone && (out.signal.semaphore != 0 || out.signal.value != 0)) {
    return bad(*info, "signal mode is none, but its semaphore is {} and its value {}, expected 0 and 0",
               out.signal.semaphore, out.signal.value);
  }

  out.op0 = get<std::uint8_t>(bytes, kOp0At);
  out.op1 = get<std::uint8_t>(bytes, kOp1At);
  if (info->op0_kind == OpKind::kNone && out.op0 != 0)
    return bad(*info, "op0 is {}, expected 0 in this opcode", out.op0);
  if (info->op1_kind == OpKind::kNone && out.op1 != 0)
    return bad(*info, "op1 is {}, expected 0 in this opcode", out.op1);
  if (auto s = check_op(*info, "op0", info->op0_kind, info->op0_values, out.op0); !s) return tl::unexpected(s.error());
  if (auto s = check_op(*info, "op1", info->op1_kind, info->op1_values, out.op1); !s) return tl::unexpected(s.error());
  if (auto s = check_zero(*info, bytes, kReservedAt, kReservedAt + 1, "reserved"); !s) return tl::unexpected(s.error());

  if (info->uses(kFieldPartitions)) {
    out.partitions = get<std::uint8_t>(bytes, kPartitionsAt);
  } else if (auto s = check_zero(*info, bytes, kPartitionsAt, kPartitionsAt + 1, "partitions"); !s) {
    return tl::unexpected(s.error());
  }
  if (info->uses(kFieldCounts)) {
    for (std::size_t i = 0; i < 4; ++i) out.counts[i] = get<std::uint16_t>(bytes, kCountsAt + 2 * i);
  } else if (auto s = check_zero(*info, bytes, kCountsAt, kDstAt, "counts"); !s) {
    return tl::unexpected(s.error());
  }
  if (info->uses(kFieldImm1)) {
    out.imm1 = std::bit_cast<float>(get<std::uint32_t>(bytes, kImm1At));
  } else if (auto s = check_zero(*info, bytes, kImm1At, kCountsAt, "imm1"); !s) {
    return tl::unexpected(s.error());
  }

  struct Slot {
    bool used;
    std::string_view name;
    std::size_t at;
    Operand* operand;
  };
  const Slot slots[] = {{info->uses(kFieldDst), "dst", kDstAt, &out.dst},
                        {info->uses(kFieldSrc0), "src0", kSrc0At, &out.src0},
                        {reads_src1(*info, out), "src1", kSrc1At, &out.src1}};
  if (info->uses(kFieldDma)) {
    out.dma = {get<std::uint16_t>(bytes, kDmaEngineAt), get<std::uint16_t>(bytes, kDmaQueueAt),
               get<std::uint32_t>(bytes, kDmaTxAt), get<std::uint32_t>(bytes, kDmaRxAt)};
    if (auto s = check_zero(*info, bytes, kDmaEnd, kImm0At, "reserved"); !s) return tl::unexpected(s.error());
  } else {
    for (const Slot& slot : slots) {
      if (slot.used) {
        auto operand = get_operand(*info, slot.name, bytes, slot.at);
        if (!operand) return tl::unexpected(operand.error());
        *slot.operand = *operand;
      } else if (auto s = check_zero(*info, bytes, slot.at, slot.at + kOperandBytes, slot.name); !s) {
        return tl::unexpected(s.error());
      }
    }
  }

  const auto last = get<std::uint32_t>(bytes, kImm0At);
  if (info->uses(kFieldU32)) {
    out.immediate_u32 = last;
  } else if (info->uses(kFieldImm0)) {
    out.imm0 = std::bit_cast<float>(last);
  } else if (auto s = check_zero(*info, bytes, kImm0At, kInstructionBytes, "imm0"); !s) {
    return tl::unexpected(s.error());
  }
  return out;
}

Result<std::vector<Instruction>> decode_stream(std::span<const std::byte> bytes) {
  if (bytes.size() % kInstructionBytes != 0) {
    return make_error(ErrorCode::kInvalidArgument, "instruction stream has {} bytes, expected a multiple of {}",
                      bytes.size(), kInstructionBytes);
  }
  std::vector<Instruction> stream;
  stream.reserve(bytes.size() / kInstructionBytes);
  for (std::size_t at = 0; at < bytes.size(); at += kInstructionBytes) {
    auto instruction = decode(bytes.subspan(at).first<kInstructionBytes>());
    if (!instruction) return with_context(instruction.error(), fmt::format("instruction {}", at / kInstructionBytes));
    stream.push_back(*instruction);
  }
  return stream;
}

}  // namespace opennrt::isa
