// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/unit/isa/random_instruction.h"

namespace opennrt::isa {
namespace {

using ::testing::HasSubstr;
using testing::RandomInstructions;

bool same(const Operand& a, const Operand& b) {
  return a.space == b.space && a.dtype == b.dtype && a.partition == b.partition && a.offset == b.offset &&
         a.steps == b.steps;
}
bool same(const Instruction& a, const Instruction& b) {
  return a.opcode == b.opcode && a.wait.mode == b.wait.mode && a.wait.semaphore == b.wait.semaphore &&
         a.wait.value == b.wait.value && a.signal.mode == b.signal.mode && a.signal.semaphore == b.signal.semaphore &&
         a.signal.value == b.signal.value && a.partitions == b.partitions && a.counts == b.counts &&
         same(a.dst, b.dst) && same(a.src0, b.src0) && same(a.src1, b.src1) && a.op0 == b.op0 && a.op1 == b.op1 &&
         a.imm0 == b.imm0 && a.imm1 == b.imm1 && a.accumulate == b.accumulate &&
         a.src1_per_partition == b.src1_per_partition && a.immediate_u32 == b.immediate_u32 &&
         a.dma.engine == b.dma.engine && a.dma.queue == b.dma.queue && a.dma.tx_count == b.dma.tx_count &&
         a.dma.rx_count == b.dma.rx_count;
}

Instruction tensor_scalar() {
  Instruction in;
  in.opcode = Opcode::kTensorScalar;
  in.partitions = 4;
  in.op0 = static_cast<std::uint8_t>(Alu::kMult);
  in.dst.steps = in.src0.steps = {1, 0, 0, 0};
  in.counts = {8, 1, 1, 1};
  return in;
}

std::string refusal(const Instruction& in) {
  const auto encoded = encode(in);
  EXPECT_FALSE(encoded.has_value());
  if (encoded) return {};
  EXPECT_EQ(encoded.error().code, ErrorCode::kInvalidArgument);
  return encoded.error().message;
}
std::string refusal(const Encoded& bytes) {
  const auto decoded = decode(bytes);
  EXPECT_FALSE(decoded.has_value());
  return decoded ? std::string() : decoded.error().message;
}

TEST(Encoding, givenRandomValidInstructionsWhenEncodedAndDecodedThenTheyAreTheSame) {
  RandomInstructions random(20260101);
  for (const OpcodeInfo& info : opcode_table()) {
    for (std::size_t e = 0; e < kEngines; ++e) {
      const auto engine = static_cast<Engine>(e);
      if (!info.runs_on(engine)) continue;
      for (int i = 0; i < 300; ++i) {
        const Instruction in = random.valid(info, engine);
        const auto encoded = encode(in);
        ASSERT_TRUE(encoded) << info.mnemonic << ": " << encoded.error().message;
        const auto decoded = decode(*encoded);
        ASSERT_TRUE(decoded) << decoded.error().message;
        ASSERT_TRUE(same(in, *decoded)) << disassemble(in) << "\n" << disassemble(*decoded);
        ASSERT_EQ(*encode(*decoded), *encoded);
      }
    }
  }
}

TEST(Encoding, givenRandomBytesWhenDecodedThenEitherRefusedWithAMessageOrEncodedBackToTheSameBytes) {
  RandomInstructions random(7);
  int accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    Encoded bytes{};
    for (std::size_t at = 0; at < bytes.size(); at += 4) {
      const std::uint32_t word = random.bits();
      std::memcpy(&bytes[at], &word, 4);
    }
    // Most opcodes of a byte are none: steer half of the tries to a real one, and some to near-empty instructions.
    if (i & 1)
      bytes[0] = static_cast<std::byte>(
          opcode_table()[random.below(static_cast<std::uint32_t>(opcode_table().size()))].opcode);
    if (i & 2) std::fill(bytes.begin() + 1, bytes.begin() + 60, std::byte{0});
    const auto decoded = decode(bytes);
    if (!decoded) {
      EXPECT_FALSE(decoded.error().message.empty());
      continue;
    }
    ++accepted;
    const auto again = encode(*decoded);
    ASSERT_TRUE(again) << again.error().message;
    ASSERT_EQ(*again, bytes);
    for (std::size_t e = 0; e < kEngines; ++e) (void)validate(*decoded, static_cast<Engine>(e));
    EXPECT_FALSE(disassemble(*decoded).empty());
  }
  EXPECT_GT(accepted, 1000);
}

TEST(Encoding, givenAValidInstructionWhenOneBitFlipsThenDecodeRefusesOrTheChangeIsVisible) {
  RandomInstructions random(11);
  for (const OpcodeInfo& info : opcode_table()) {
    for (std::size_t e = 0; e < kEngines; ++e) {
      if (!info.runs_on(static_cast<Engine>(e))) continue;
      const Encoded bytes = *encode(random.valid(info, static_cast<Engine>(e)));
      for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        Encoded flipped = bytes;
        flipped[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
        const auto decoded = decode(flipped);
        if (!decoded) continue;
        const auto again = encode(*decoded);
        ASSERT_TRUE(again) << again.error().message;
        ASSERT_EQ(*again, flipped) << info.mnemonic << " bit " << bit;
      }
      break;
    }
  }
}

TEST(Encoding, givenFieldsAtTheirLimitsWhenEncodedThenTheyComeBack) {
  Instruction in = tensor_scalar();
  in.wait = {WaitMode::kConsume, 31, 65535};
  in.signal = {SignalMode::kSet, 31, 65535};
  in.partitions = 128;
  in.counts = {65535, 65535, 65535, 65535};
  in.dst = {Space::kPsum, DataType::kUint8, 127, 0x1ffff, {32767, -32768, -1, 1}};
  in.imm0 = -3.5f;
  in.imm1 = 1e-42f;  // a denormal
  const auto decoded = decode(*encode(in));
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(same(in, *decoded));
}

TEST(Encoding, givenAFieldOutOfItsBitsWhenEncodedThenTheErrorNamesFieldAndValue) {
  const auto with = [](auto change) {
    Instruction in = tensor_scalar();
    change(in);
    return refusal(in);
  };
  EXPECT_THAT(with([](Instruction& i) { i.opcode = static_cast<Opcode>(0x99); }), HasSubstr("opcode is 0x99"));
  EXPECT_THAT(with([](Instruction& i) { i.wait = {WaitMode::kEqual, 32, 0}; }), HasSubstr("wait semaphore is 32"));
  EXPECT_THAT(with([](Instruction& i) {
                i.signal = {SignalMode::kSet, 255, 0};
              }),
              HasSubstr("signal semaphore is 255"));
  EXPECT_THAT(with([](Instruction& i) { i.wait.mode = static_cast<WaitMode>(4); }), HasSubstr("wait mode is 4"));
  EXPECT_THAT(with([](Instruction& i) { i.wait.value = 5; }), HasSubstr("wait mode is none"));
  EXPECT_THAT(with([](Instruction& i) { i.dst.offset = 0x20000; }), HasSubstr("dst offset is 0x20000"));
  EXPECT_THAT(with([](Instruction& i) { i.src0.partition = 128; }), HasSubstr("src0 partition is 128"));
  EXPECT_THAT(with([](Instruction& i) { i.src0.dtype = static_cast<DataType>(6); }), HasSubstr("src0 dtype is 6"));
  EXPECT_THAT(with([](Instruction& i) { i.dst.space = static_cast<Space>(2); }), HasSubstr("dst space is 2"));
  EXPECT_THAT(with([](Instruction& i) { i.op0 = static_cast<std::uint8_t>(Alu::kAverage); }),
              HasSubstr("op0 is 11 (average)"));
  EXPECT_THAT(with([](Instruction& i) { i.op1 = 77; }), HasSubstr("op1 is 77"));
}

TEST(Encoding, givenAFieldThatTheOpcodeDoesNotUseWhenEncodedThenItIsRefused) {
  const auto nop_with = [](auto change) {
    Instruction in;
    change(in);
    return refusal(in);
  };
  EXPECT_THAT(nop_with([](Instruction& i) { i.partitions = 2; }), HasSubstr("partitions is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.counts[2] = 3; }), HasSubstr("counts is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.dst.offset = 4; }), HasSubstr("dst is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.src0.partition = 4; }), HasSubstr("src0 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.src1.steps[0] = 1; }), HasSubstr("src1 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.op0 = 1; }), HasSubstr("op0 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.op1 = 1; }), HasSubstr("op1 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.imm0 = 1; }), HasSubstr("imm0 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.imm1 = 1; }), HasSubstr("imm1 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.immediate_u32 = 1; }), HasSubstr("immediate_u32 is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.accumulate = true; }), HasSubstr("accumulate is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.src1_per_partition = true; }),
              HasSubstr("src1_per_partition is not used"));
  EXPECT_THAT(nop_with([](Instruction& i) { i.dma.rx_count = 1; }), HasSubstr("dma is not used"));
  Instruction in = tensor_scalar();
  in.src1.offset = 4;
  EXPECT_THAT(refusal(in), HasSubstr("src1 is not used by this opcode without src1_per_partition"));
}

TEST(Encoding, givenReservedBitsSetWhenDecodedThenTheyAreNamed) {
  const auto flipped = [](Instruction in, std::size_t byte, unsigned mask) {
    Encoded bytes = *encode(in);
    bytes[byte] |= static_cast<std::byte>(mask);
    return refusal(bytes);
  };
  EXPECT_THAT(flipped(tensor_scalar(), 1, 0x80), HasSubstr("flags are 0x80"));
  EXPECT_THAT(flipped(tensor_scalar(), 1, 0x01), HasSubstr("flags are 0x01"));  // accumulate is matmul's
  EXPECT_THAT(flipped(tensor_scalar(), 2, 0x80), HasSubstr("wait byte is 0x80"));
  EXPECT_THAT(flipped(tensor_scalar(), 3, 0x80), HasSubstr("signal byte is 0x80"));
  EXPECT_THAT(flipped(tensor_scalar(), 11, 1), HasSubstr("byte 11 (reserved)"));
  EXPECT_THAT(flipped(tensor_scalar(), 27, 0x20), HasSubstr("dst reserved bits"));
  EXPECT_THAT(flipped(tensor_scalar(), 27, 0x0c), HasSubstr("dst dtype is 6"));
  EXPECT_THAT(flipped(tensor_scalar(), 50, 1), HasSubstr("byte 50 (src1)"));
  EXPECT_THAT(flipped(Instruction{}, 8, 1), HasSubstr("byte 8 (partitions)"));
  EXPECT_THAT(flipped(Instruction{}, 17, 1), HasSubstr("byte 17 (counts)"));
  EXPECT_THAT(flipped(Instruction{}, 12, 1), HasSubstr("byte 12 (imm1)"));
  EXPECT_THAT(flipped(Instruction{}, 63, 1), HasSubstr("byte 63 (imm0)"));
  Instruction dma;
  dma.opcode = Opcode::kDmaTrigger;
  EXPECT_THAT(flipped(dma, 40, 1), HasSubstr("byte 40 (reserved)"));
}

TEST(Encoding, givenAStreamWhenDecodedThenErrorsSayTheIndex) {
  std::vector<std::byte> stream(3 * kInstructionBytes);  // three nops
  ASSERT_TRUE(decode_stream(stream));
  EXPECT_EQ(decode_stream(stream)->size(), 3u);
  EXPECT_TRUE(validate_stream(stream, Engine::kAct));
  stream[2 * kInstructionBytes] = std::byte{0x77};
  EXPECT_THAT(decode_stream(stream).error().message, HasSubstr("instruction 2: opcode is 0x77"));
  EXPECT_THAT(validate_stream(stream, Engine::kAct).error().message, HasSubstr("instruction 2: opcode is 0x77"));
  stream.pop_back();
  EXPECT_THAT(decode_stream(stream).error().message, HasSubstr("191 bytes"));
  EXPECT_THAT(validate_stream(stream, Engine::kAct).error().message, HasSubstr("191 bytes"));
  EXPECT_EQ(decode_stream({})->size(), 0u);
}

TEST(Table, givenTheTableThenOpcodesAndMnemonicsAreUniqueAndFound) {
  std::set<std::string_view> names;
  int previous = -1;
  for (const OpcodeInfo& info : opcode_table()) {
    EXPECT_GT(static_cast<int>(info.opcode), previous);
    previous = static_cast<int>(info.opcode);
    EXPECT_TRUE(names.insert(info.mnemonic).second) << info.mnemonic;
    EXPECT_EQ(find_opcode(info.opcode), &info);
    EXPECT_NE(info.engines, 0);
  }
  EXPECT_EQ(opcode_table().size(), 19u);
  EXPECT_EQ(find_opcode(static_cast<Opcode>(0xff)), nullptr);
}

TEST(Table, givenNamesThenTheyAreThoseOfTheDocumentation) {
  EXPECT_EQ(engine_name(Engine::kPe), "pe");
  EXPECT_EQ(engine_name(Engine::kPool), "pool");
  EXPECT_EQ(data_type_name(DataType::kBf16), "bf16");
  EXPECT_EQ(data_type_bytes(DataType::kFp16), 2u);
  EXPECT_EQ(data_type_bytes(DataType::kUint8), 1u);
  EXPECT_EQ(data_type_bytes(DataType::kInt32), 4u);
}

}  // namespace
}  // namespace opennrt::isa
