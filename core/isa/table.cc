// SPDX-License-Identifier: Apache-2.0
#include "core/isa/table.h"

#include <fmt/format.h>

#include <array>

namespace opennrt::isa {
namespace {

constexpr std::uint8_t kOnPe = 1, kOnAct = 2, kOnPool = 4, kOnAny = 7;
constexpr std::uint8_t kInSbuf = 1, kInPsum = 2, kInBoth = 3, kNowhere = 0;

constexpr std::uint8_t types(std::initializer_list<DataType> list) {
  std::uint8_t mask = 0;
  for (DataType type : list) mask |= static_cast<std::uint8_t>(1u << static_cast<unsigned>(type));
  return mask;
}
constexpr std::uint32_t alus(std::initializer_list<Alu> list) {
  std::uint32_t mask = 0;
  for (Alu op : list) mask |= 1u << static_cast<unsigned>(op);
  return mask;
}

constexpr std::uint8_t kAllTypes = (1u << kDataTypes) - 1;
constexpr std::uint8_t kFloats = types({DataType::kFp32, DataType::kBf16, DataType::kFp16});
constexpr std::uint8_t kPeInputs = types({DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kInt8});
constexpr std::uint8_t kPeOutputs = types({DataType::kFp32, DataType::kInt32});
constexpr std::uint32_t kElementwiseAlus = ((1u << kAlus) - 1) & ~alus({Alu::kAverage});
constexpr std::uint32_t kReduceAlus = alus({Alu::kAdd, Alu::kMult, Alu::kMax, Alu::kMin, Alu::kAverage});
constexpr std::uint32_t kPartitionReduceAlus = alus({Alu::kAdd, Alu::kMax, Alu::kMin});
constexpr std::uint32_t kEveryActivation = (1u << kActivations) - 1;
constexpr std::uint16_t kShape = kFieldPartitions | kFieldCounts;

// An instruction without memory operands.
constexpr OpcodeInfo control(Opcode opcode, std::string_view mnemonic, std::uint16_t fields,
                             std::string_view semantics) {
  return {opcode,
          mnemonic,
          kOnAny,
          fields,
          OpKind::kNone,
          OpKind::kNone,
          0,
          0,
          Partitions::kNone,
          Partitions::kNone,
          Partitions::kNone,
          0,
          0,
          0,
          kNowhere,
          kNowhere,
          semantics};
}

constexpr std::array kTable{
    control(Opcode::kNop, "nop", 0, "only waits and signals"),
    control(Opcode::kNotify, "notify", kFieldU32, "writes an explicit notification that carries `immediate_u32`"),
    control(Opcode::kEventSet, "event_set", kFieldU32, "sets event `immediate_u32`; an error when it is set already"),
    control(Opcode::kEventClear, "event_clear", kFieldU32,
            "clears event `immediate_u32`; an error when it is clear already"),
    control(Opcode::kEventWait, "event_wait", kFieldU32, "waits until event `immediate_u32` is set"),
    control(Opcode::kDmaTrigger, "dma_trigger", kFieldDma,
            "adds `rx_count` and `tx_count` descriptors to the tails of queue `dma.queue` of DMA engine `dma.engine`"),
    control(Opcode::kPseudoDmaTrigger, "pseudo_dma_trigger", kFieldU32,
            "in a NEFF only: the loader replaces it by the dma_trigger of descriptor set `immediate_u32`"),
    control(Opcode::kHalt, "halt", 0, "the engine fetches nothing more until its core is reset"),
    OpcodeInfo{Opcode::kLoadStationary, "load_stationary", kOnPe, kShape | kFieldSrc0, OpKind::kNone, OpKind::kNone, 0,
               0, Partitions::kNone, Partitions::kAll, Partitions::kNone, 0, kPeInputs, 0, kNowhere, kInSbuf,
               "src0[K, M] becomes the stationary matrix; K = `partitions`, M = product of `counts`"},
    OpcodeInfo{Opcode::kMatmul, "matmul", kOnPe, kShape | kFieldDst | kFieldSrc0 | kFieldAccumulate, OpKind::kNone,
               OpKind::kColumns, 0, 0, Partitions::kColumns, Partitions::kAll, Partitions::kNone, kPeOutputs, kPeInputs,
               0, kInPsum, kInSbuf,
               "dst[M, N] = stationary[K, M] transposed x src0[K, N], added to dst with `accumulate`; N = product of "
               "`counts`"},
    OpcodeInfo{Opcode::kActivate, "activate", kOnAct,
               kShape | kFieldDst | kFieldSrc0 | kFieldSrc1PerPartition | kFieldImm0, OpKind::kActivation,
               OpKind::kNone, kEveryActivation, 0, Partitions::kAll, Partitions::kAll, Partitions::kAll, kAllTypes,
               kAllTypes, kFloats, kInBoth, kInBoth,
               "dst = op0(src0 * imm0 + bias); the bias is src1[P, 1], or 0 without `src1_per_partition`"},
    OpcodeInfo{Opcode::kTensorTensor, "tensor_tensor", kOnPool, kShape | kFieldDst | kFieldSrc0 | kFieldSrc1,
               OpKind::kAlu, OpKind::kNone, kElementwiseAlus, 0, Partitions::kAll, Partitions::kAll, Partitions::kAll,
               kAllTypes, kAllTypes, kAllTypes, kInBoth, kInBoth, "dst = src0 op0 src1"},
    OpcodeInfo{Opcode::kTensorScalar, "tensor_scalar", kOnPool,
               kShape | kFieldDst | kFieldSrc0 | kFieldSrc1PerPartition | kFieldImm0 | kFieldImm1, OpKind::kAlu,
               OpKind::kAlu, kElementwiseAlus, kElementwiseAlus, Partitions::kAll, Partitions::kAll, Partitions::kAll,
               kAllTypes, kAllTypes, kFloats, kInBoth, kInBoth,
               "dst = (src0 op0 operand0) op1 imm1; operand0 is imm0, or src1[P, 1] with `src1_per_partition`"},
    OpcodeInfo{Opcode::kTensorReduce, "tensor_reduce", kOnPool, kShape | kFieldDst | kFieldSrc0, OpKind::kAlu,
               OpKind::kNone, kReduceAlus, 0, Partitions::kAll, Partitions::kAll, Partitions::kNone, kAllTypes,
               kAllTypes, 0, kInBoth, kInBoth, "dst = op0-reduction of src0 over the dimensions whose dst step is 0"},
    OpcodeInfo{Opcode::kTensorCopy, "tensor_copy", kOnAct | kOnPool, kShape | kFieldDst | kFieldSrc0, OpKind::kNone,
               OpKind::kNone, 0, 0, Partitions::kAll, Partitions::kAll, Partitions::kNone, kAllTypes, kAllTypes, 0,
               kInBoth, kInBoth, "dst = src0, converted; bit for bit when the types are equal"},
    OpcodeInfo{Opcode::kMemset, "memset", kOnPool, kShape | kFieldDst | kFieldImm0, OpKind::kNone, OpKind::kNone, 0, 0,
               Partitions::kAll, Partitions::kNone, Partitions::kNone, kAllTypes, 0, 0, kInBoth, kNowhere,
               "dst = imm0, converted"},
    OpcodeInfo{Opcode::kReciprocal, "reciprocal", kOnPool, kShape | kFieldDst | kFieldSrc0, OpKind::kNone,
               OpKind::kNone, 0, 0, Partitions::kAll, Partitions::kAll, Partitions::kNone, kAllTypes, kAllTypes, 0,
               kInBoth, kInBoth, "dst = 1 / src0"},
    OpcodeInfo{Opcode::kPartitionReduce, "partition_reduce", kOnPool, kShape | kFieldDst | kFieldSrc0, OpKind::kAlu,
               OpKind::kNone, kPartitionReduceAlus, 0, Partitions::kOne, Partitions::kAll, Partitions::kNone, kAllTypes,
               kAllTypes, 0, kInBoth, kInBoth, "dst[1, N] = op0-reduction of src0[P, N] over its partitions"},
    OpcodeInfo{Opcode::kPartitionBroadcast, "partition_broadcast", kOnPool, kShape | kFieldDst | kFieldSrc0,
               OpKind::kNone, OpKind::kNone, 0, 0, Partitions::kAll, Partitions::kOne, Partitions::kNone, kAllTypes,
               kAllTypes, 0, kInBoth, kInBoth,
               "dst[P, N] = src0[1, N] for each of the P = `partitions` of dst, converted as tensor_copy does"},
};

constexpr std::array<std::string_view, kActivations> kActivationNames{
    "copy", "relu", "sigmoid", "tanh",       "exp",  "sqrt",     "rsqrt", "square",
    "abs",  "log",  "gelu",    "reciprocal", "silu", "softplus", "sign",  "erf"};
constexpr std::array<std::string_view, kAlus> kAluNames{
    "bypass",           "add",      "subtract", "mult", "max", "min", "divide", "reverse_subtract", "reverse_divide",
    "is_greater_equal", "is_equal", "average"};
constexpr std::array<std::string_view, kDataTypes> kTypeNames{"fp32", "bf16", "fp16", "int8", "int32", "uint8"};
constexpr std::array<std::size_t, kDataTypes> kTypeBytes{4, 2, 2, 1, 4, 1};

std::string type_list(std::uint8_t mask) {
  if (mask == 0) return "-";
  if (mask == kAllTypes) return "any";
  std::string text;
  for (std::size_t i = 0; i < kDataTypes; ++i) {
    if ((mask >> i) & 1u) text += (text.empty() ? "" : " ") + std::string(kTypeNames[i]);
  }
  return text;
}

std::string space_list(std::uint8_t mask) {
  return mask == kInSbuf ? " (SBUF)" : mask == kInPsum ? " (PSUM)" : "";
}

std::string field_list(const OpcodeInfo& info) {
  std::string text;
  const auto add = [&text](bool used, std::string_view name) {
    if (used) text += (text.empty() ? "" : ", ") + std::string(name);
  };
  add(info.uses(kFieldPartitions), "partitions");
  add(info.uses(kFieldCounts), "counts");
  add(info.op0_kind != OpKind::kNone, "op0");
  add(info.op1_kind == OpKind::kAlu, "op1");
  add(info.op1_kind == OpKind::kColumns, "op1 = M");
  add(info.uses(kFieldImm0), "imm0");
  add(info.uses(kFieldImm1), "imm1");
  add(info.uses(kFieldU32), "immediate_u32");
  add(info.uses(kFieldAccumulate), "accumulate");
  add(info.uses(kFieldSrc1PerPartition), "src1_per_partition");
  add(info.uses(kFieldDma), "dma");
  return text.empty() ? "-" : text;
}

}  // namespace

std::span<const OpcodeInfo> opcode_table() {
  return kTable;
}

const OpcodeInfo* find_opcode(Opcode opcode) {
  static constexpr auto kIndex = [] {
    std::array<std::int8_t, 256> index{};
    index.fill(-1);
    for (std::size_t i = 0; i < kTable.size(); ++i) {
      index[static_cast<std::size_t>(kTable[i].opcode)] = static_cast<std::int8_t>(i);
    }
    return index;
  }();
  const std::int8_t i = kIndex[static_cast<std::size_t>(opcode)];
  return i < 0 ? nullptr : &kTable[static_cast<std::size_t>(i)];
}

std::string_view engine_name(Engine engine) {
  constexpr std::array<std::string_view, kEngines> kNames{"pe", "act", "pool"};
  const auto i = static_cast<std::size_t>(engine);
  return i < kNames.size() ? kNames[i] : "?";
}
std::string_view data_type_name(DataType type) {
  const auto i = static_cast<std::size_t>(type);
  return i < kDataTypes ? kTypeNames[i] : "?";
}
std::size_t data_type_bytes(DataType type) {
  const auto i = static_cast<std::size_t>(type);
  return i < kDataTypes ? kTypeBytes[i] : 1;
}
std::string_view activation_name(Activation function) {
  const auto i = static_cast<std::size_t>(function);
  return i < kActivations ? kActivationNames[i] : "?";
}
std::string_view alu_name(Alu op) {
  const auto i = static_cast<std::size_t>(op);
  return i < kAlus ? kAluNames[i] : "?";
}
std::string_view space_name(Space space) {
  return space == Space::kSbuf ? "sbuf" : space == Space::kPsum ? "psum" : "?";
}

std::string opcode_table_markdown() {
  std::string text =
      "| Opcode | Mnemonic | Engines | Fields | dst | src0 | src1 | What it does |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const OpcodeInfo& info : kTable) {
    std::string engines;
    for (std::size_t i = 0; i < kEngines; ++i) {
      const auto engine = static_cast<Engine>(i);
      if (info.runs_on(engine)) engines += (engines.empty() ? "" : " ") + std::string(engine_name(engine));
    }
    text += fmt::format("| 0x{:02x} | `{}` | {} | {} | {}{} | {}{} | {} | {} |\n", static_cast<unsigned>(info.opcode),
                        info.mnemonic, engines, field_list(info), type_list(info.dst_types),
                        space_list(info.dst_spaces), type_list(info.src0_types), space_list(info.src0_spaces),
                        type_list(info.src1_types), info.semantics);
  }
  return text;
}

}  // namespace opennrt::isa
