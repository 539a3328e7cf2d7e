// SPDX-License-Identifier: Apache-2.0
#include "core/isa/table.h"

namespace opennrt::isa {
namespace {

// Outermost dimension first, as shapes are written.
template <typename T>
std::string braces(const std::array<T, 4>& v) {
  return fmt::format("{{{},{},{},{}}}", v[3], v[2], v[1], v[0]);
}

std::string operand_text(const Operand& operand, std::uint32_t partitions) {
  return fmt::format("{}[{}:{},+0x{:x}] {} {}", space_name(operand.space), operand.partition,
                     operand.partition + partitions, operand.offset, data_type_name(operand.dtype),
                     braces(operand.steps));
}

std::string op_text(OpKind kind, std::uint8_t value) {
  if (kind == OpKind::kActivation) return std::string(activation_name(static_cast<Activation>(value)));
  if (kind == OpKind::kAlu) return std::string(alu_name(static_cast<Alu>(value)));
  return std::to_string(value);
}

}  // namespace

std::string disassemble(const Instruction& in) {
  const OpcodeInfo* info = find_opcode(in.opcode);
  if (!info) return fmt::format("??? opcode 0x{:02x}", static_cast<unsigned>(in.opcode));

  std::string text(info->mnemonic);
  bool first = true;
  const auto add = [&](const std::string& part) {
    text += (first ? " " : ", ") + part;
    first = false;
  };
  if (info->uses(kFieldDst)) add(operand_text(in.dst, partition_count(info->dst_partitions, in)));
  if (info->uses(kFieldSrc0)) add(operand_text(in.src0, partition_count(info->src0_partitions, in)));
  if (reads_src1(*info, in)) add(operand_text(in.src1, partition_count(info->src1_partitions, in)));
  if (info->uses(kFieldCounts)) add("counts " + braces(in.counts));
  if (info->op0_kind != OpKind::kNone) add("op0 " + op_text(info->op0_kind, in.op0));
  if (info->op1_kind == OpKind::kColumns) {
    add("m " + std::to_string(in.op1));
  } else if (info->op1_kind != OpKind::kNone) {
    add("op1 " + op_text(info->op1_kind, in.op1));
  }
  const bool imm0_replaced = info->uses(kFieldImm1) && in.src1_per_partition;
  if (info->uses(kFieldImm0) && !imm0_replaced) add(fmt::format("imm0 {}", in.imm0));
  if (info->uses(kFieldImm1)) add(fmt::format("imm1 {}", in.imm1));
  if (info->uses(kFieldU32)) add(std::to_string(in.immediate_u32));
  if (info->uses(kFieldDma))
    add(fmt::format("engine {} queue {} tx {} rx {}", in.dma.engine, in.dma.queue, in.dma.tx_count, in.dma.rx_count));
  if (in.accumulate) add("accumulate");

  switch (in.wait.mode) {
    case WaitMode::kNone:
      break;
    case WaitMode::kGreaterEqual:
      text += fmt::format(" wait s{}>={}", in.wait.semaphore, in.wait.value);
      break;
    case WaitMode::kEqual:
      text += fmt::format(" wait s{}=={}", in.wait.semaphore, in.wait.value);
      break;
    case WaitMode::kConsume:
      text += fmt::format(" take s{}-={}", in.wait.semaphore, in.wait.value);
      break;
  }
  switch (in.signal.mode) {
    case SignalMode::kNone:
      break;
    case SignalMode::kIncrement:
      text += fmt::format(" signal s{}+={}", in.signal.semaphore, in.signal.value);
      break;
    case SignalMode::kDecrement:
      text += fmt::format(" signal s{}-={}", in.signal.semaphore, in.signal.value);
      break;
    case SignalMode::kSet:
      text += fmt::format(" signal s{}={}", in.signal.semaphore, in.signal.value);
      break;
  }
  return text;
}

}  // namespace opennrt::isa
