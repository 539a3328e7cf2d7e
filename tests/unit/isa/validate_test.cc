// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/isa/footprint.h"
#include "core/isa/isa.h"

namespace opennrt::isa {
namespace {

using ::testing::HasSubstr;

Instruction matmul() {
  Instruction in;
  in.opcode = Opcode::kMatmul;
  in.partitions = 128;
  in.counts = {512, 1, 1, 1};
  in.op1 = 64;
  in.dst.space = Space::kPsum;
  in.dst.steps = in.src0.steps = {1, 0, 0, 0};
  return in;
}
Instruction load_stationary() {
  Instruction in;
  in.opcode = Opcode::kLoadStationary;
  in.partitions = 128;
  in.counts = {64, 1, 1, 1};
  in.src0.steps = {1, 0, 0, 0};
  return in;
}
Instruction copy() {
  Instruction in;
  in.opcode = Opcode::kTensorCopy;
  in.partitions = 16;
  in.counts = {4, 3, 2, 5};
  in.src0.steps = in.dst.steps = {1, 4, 12, 24};
  in.dst.offset = 4096;
  return in;
}

template <typename F>
std::string refusal(Instruction in, Engine engine, F change) {
  change(in);
  const Status status = validate(in, engine);
  EXPECT_FALSE(status.has_value()) << disassemble(in);
  if (status) return {};
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  return status.error().message;
}
template <typename F>
bool accepted(Instruction in, Engine engine, F change) {
  change(in);
  return validate(in, engine).has_value();
}
const auto kAsItIs = [](Instruction&) {};

TEST(Validate, givenLegalInstructionsThenTheyAreAcceptedOnTheirEnginesOnly) {
  EXPECT_TRUE(accepted(matmul(), Engine::kPe, kAsItIs));
  EXPECT_TRUE(accepted(load_stationary(), Engine::kPe, kAsItIs));
  EXPECT_TRUE(accepted(copy(), Engine::kAct, kAsItIs));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, kAsItIs));
  EXPECT_THAT(refusal(copy(), Engine::kPe, kAsItIs), HasSubstr("tensor_copy: engine pe cannot run it"));
  EXPECT_THAT(refusal(matmul(), Engine::kAct, kAsItIs), HasSubstr("engine act cannot run it"));
  EXPECT_THAT(refusal(matmul(), static_cast<Engine>(3), kAsItIs), HasSubstr("cannot run it"));
}

TEST(Validate, givenPartitionsOutOfRangeThenRefused) {
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.partitions = 0; }), HasSubstr("partitions is 0"));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.partitions = 129; }), HasSubstr("partitions is 129"));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.dst.partition = 112; }));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.dst.partition = 113; }),
              HasSubstr("dst covers partitions 113..128"));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.src0.partition = 120; }),
              HasSubstr("src0 covers partitions 120..135"));
}

TEST(Validate, givenCountsOfZeroOrTooManyElementsThenRefused) {
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.counts[3] = 0; }), HasSubstr("count 3 is 0"));
  EXPECT_THAT(refusal(copy(), Engine::kPool,
                      [](auto& i) {
                        i.counts = {65535, 65535, 65535, 65535};
                      }),
              HasSubstr("product of counts"));
}

TEST(Validate, givenEveryByteInsideOrOneByteOutsideThenAcceptedOrRefused) {
  // 120 floats, last byte 4 * 119 + 3 behind the offset.
  constexpr std::uint32_t kSbuf = 80 * 1024, kPsum = 16 * 1024;
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.dst.offset = kSbuf - 480; }));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.dst.offset = kSbuf - 476; }),
              HasSubstr("dst touches bytes 81444..81923"));
  EXPECT_TRUE(
      accepted(copy(), Engine::kPool, [](auto& i) { i.src0.space = Space::kPsum, i.src0.offset = kPsum - 480; }));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.src0.space = Space::kPsum, i.src0.offset = kPsum - 476; }),
              HasSubstr("the size of psum"));
  // Backwards: the first byte is what counts.
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.src0.steps = {-1, -4, -12, -24}, i.src0.offset = 476; }));
  EXPECT_THAT(refusal(copy(), Engine::kPool,
                      [](auto& i) {
                        i.src0.steps = {-1, -4, -12, -24}, i.src0.offset = 472;
                      }),
              HasSubstr("src0 touches bytes -4..475"));
  EXPECT_THAT(refusal(copy(), Engine::kPool,
                      [](auto& i) {
                        i.src0.steps = {32767, 32767, 32767, 32767};
                      }),
              HasSubstr("src0 touches bytes"));
}

TEST(Validate, givenAnOffsetThatIsNoMultipleOfTheElementThenRefused) {
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.dst.offset = 4098; }),
              HasSubstr("dst offset is 0x1002, expected a multiple of 4"));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.dst.offset = 4098, i.dst.dtype = DataType::kBf16; }));
  EXPECT_THAT(refusal(copy(), Engine::kPool, [](auto& i) { i.dst.offset = 4097, i.dst.dtype = DataType::kFp16; }),
              HasSubstr("multiple of 2"));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.dst.offset = 4097, i.dst.dtype = DataType::kInt8; }));
}

TEST(Validate, givenMatmulOutsideOfTheArrayThenRefused) {
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.op1 = 0; }), HasSubstr("M (op1) is 0"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.op1 = 65; }), HasSubstr("M (op1) is 65, expected 1..64"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe,
                      [](auto& i) {
                        i.counts = {513, 1, 1, 1};
                      }),
              HasSubstr("N (product of counts) is 513"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.dst.space = Space::kSbuf; }), HasSubstr("dst is in sbuf"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.src0.space = Space::kPsum; }),
              HasSubstr("src0 is in psum"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.dst.partition = 65; }),
              HasSubstr("dst covers partitions 65..128"));
  EXPECT_TRUE(accepted(matmul(), Engine::kPe, [](auto& i) { i.dst.partition = 64; }));
  EXPECT_THAT(refusal(load_stationary(), Engine::kPe,
                      [](auto& i) {
                        i.counts = {13, 5, 1, 1};
                      }),
              HasSubstr("M (product of counts) is 65"));
}

TEST(Validate, givenMatmulAcrossTwoBanksThenRefused) {
  EXPECT_TRUE(accepted(matmul(), Engine::kPe, [](auto& i) { i.dst.offset = 7 * 2048; }));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.dst.offset = 4; }), HasSubstr("one bank of 2048 bytes"));
  EXPECT_TRUE(accepted(matmul(), Engine::kPe, [](auto& i) { i.dst.offset = 4, i.counts[0] = 511; }));
}

TEST(Validate, givenMatmulTypesThenInt8GoesToInt32AndFloatsToFp32) {
  EXPECT_TRUE(
      accepted(matmul(), Engine::kPe, [](auto& i) { i.src0.dtype = DataType::kInt8, i.dst.dtype = DataType::kInt32; }));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.src0.dtype = DataType::kInt8; }),
              HasSubstr("dst dtype is fp32, expected int32"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.dst.dtype = DataType::kInt32; }),
              HasSubstr("dst dtype is int32, expected fp32"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.dst.dtype = DataType::kBf16; }),
              HasSubstr("dst dtype is 1 (bf16)"));
  EXPECT_THAT(refusal(matmul(), Engine::kPe, [](auto& i) { i.src0.dtype = DataType::kInt32; }),
              HasSubstr("src0 dtype is 4 (int32)"));
  EXPECT_THAT(refusal(load_stationary(), Engine::kPe, [](auto& i) { i.src0.dtype = DataType::kUint8; }),
              HasSubstr("src0 dtype"));
}

TEST(Validate, givenARepeatedDestinationThenOnlyReduceTakesIt) {
  const auto repeat = [](auto& i) { i.dst.steps[1] = 0; };
  EXPECT_THAT(refusal(copy(), Engine::kPool, repeat), HasSubstr("dst step 1 is 0 with count 3"));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) {
    i.opcode = Opcode::kTensorReduce, i.op0 = static_cast<std::uint8_t>(Alu::kMax), i.dst.steps[1] = 0;
  }));
  EXPECT_TRUE(accepted(copy(), Engine::kPool, [](auto& i) { i.dst.steps[1] = 0, i.counts[1] = 1; }));
}

TEST(Validate, givenOperatorsThatAnOpcodeDoesNotHaveThenRefused) {
  EXPECT_THAT(
      refusal(copy(), Engine::kPool,
              [](auto& i) { i.opcode = Opcode::kTensorReduce, i.op0 = static_cast<std::uint8_t>(Alu::kDivide); }),
      HasSubstr("op0 is 6"));
  EXPECT_THAT(
      refusal(copy(), Engine::kPool,
              [](auto& i) { i.opcode = Opcode::kPartitionReduce, i.op0 = static_cast<std::uint8_t>(Alu::kAverage); }),
      HasSubstr("op0 is 11"));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [](auto& i) { i.opcode = Opcode::kActivate, i.op0 = 16; }),
              HasSubstr("op0 is 16"));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [](auto& i) { i.opcode = Opcode::kActivate, i.op0 = 200; }),
              HasSubstr("op0 is 200"));
}

TEST(Validate, givenSrc1PerPartitionThenItIsOneElementOfAFloatType) {
  const auto bias = [](auto& i) {
    i.opcode = Opcode::kActivate, i.src1_per_partition = true, i.src1.offset = 80 * 1024 - 4;
  };
  EXPECT_TRUE(accepted(copy(), Engine::kAct, bias));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [&](auto& i) { bias(i), i.src1.steps[0] = 1; }),
              HasSubstr("src1 steps are 0,0,0,1"));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [&](auto& i) { bias(i), i.src1.dtype = DataType::kInt32; }),
              HasSubstr("src1 dtype is 4"));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [&](auto& i) { bias(i), i.src1.offset += 4; }),
              HasSubstr("src1 touches bytes"));
  EXPECT_THAT(refusal(copy(), Engine::kAct, [&](auto& i) { bias(i), i.src1.partition = 113; }),
              HasSubstr("src1 covers partitions"));
}

TEST(Validate, givenPartitionReduceAndBroadcastThenOneSideIsOnePartition) {
  EXPECT_TRUE(accepted(copy(), Engine::kPool,
                       [](auto& i) { i.opcode = Opcode::kPartitionReduce, i.op0 = 1, i.dst.partition = 127; }));
  EXPECT_TRUE(
      accepted(copy(), Engine::kPool, [](auto& i) { i.opcode = Opcode::kPartitionBroadcast, i.src0.partition = 127; }));
  EXPECT_THAT(
      refusal(copy(), Engine::kPool, [](auto& i) { i.opcode = Opcode::kPartitionBroadcast, i.dst.partition = 127; }),
      HasSubstr("dst covers"));
}

TEST(Validate, givenEventsAndQueuesOutOfRangeThenRefused) {
  Instruction event;
  event.opcode = Opcode::kEventWait;
  event.immediate_u32 = 255;
  EXPECT_TRUE(accepted(event, Engine::kPe, kAsItIs));
  EXPECT_THAT(refusal(event, Engine::kPe, [](auto& i) { i.immediate_u32 = 256; }),
              HasSubstr("event is 256, expected 0..255"));
  Instruction dma;
  dma.opcode = Opcode::kDmaTrigger;
  dma.dma = {11, 15, 1, 1};
  EXPECT_TRUE(accepted(dma, Engine::kPe, kAsItIs));
  EXPECT_THAT(refusal(dma, Engine::kPe, [](auto& i) { i.dma.engine = 12; }), HasSubstr("dma engine is 12"));
  EXPECT_THAT(refusal(dma, Engine::kPe, [](auto& i) { i.dma.queue = 16; }), HasSubstr("dma queue is 16"));
}

TEST(Validate, givenOtherLimitsThenTheyAreTheOnesThatHold) {
  Limits small;
  small.sbuf_bytes_per_partition = 4096 + 480;
  EXPECT_TRUE(validate(copy(), Engine::kPool, small));
  small.sbuf_bytes_per_partition -= 4;
  EXPECT_FALSE(validate(copy(), Engine::kPool, small));
}

TEST(Footprint, givenRandomPatternsThenItIsTheHullOfAPlainWalk) {
  std::uint32_t state = 1;
  const auto next = [&state](int n) { return static_cast<int>((state = state * 1664525u + 1013904223u) >> 8) % n; };
  for (int round = 0; round < 2000; ++round) {
    Operand o;
    o.dtype = static_cast<DataType>(next(6));
    o.offset = static_cast<std::uint32_t>(next(1000)) * 4;
    std::array<std::uint16_t, 4> counts{};
    for (auto& c : counts) c = static_cast<std::uint16_t>(1 + next(4));
    for (auto& s : o.steps) s = static_cast<std::int16_t>(next(21) - 10);
    const int bytes = static_cast<int>(data_type_bytes(o.dtype));
    int low = 1 << 30, high = -(1 << 30);
    for (int a = 0; a < counts[0]; ++a)
      for (int b = 0; b < counts[1]; ++b)
        for (int c = 0; c < counts[2]; ++c)
          for (int d = 0; d < counts[3]; ++d) {
            const int at = static_cast<int>(o.offset) +
                           bytes * (a * o.steps[0] + b * o.steps[1] + c * o.steps[2] + d * o.steps[3]);
            low = std::min(low, at);
            high = std::max(high, at + bytes);
          }
    EXPECT_EQ(footprint(o, counts).begin, low);
    EXPECT_EQ(footprint(o, counts).end, high);
  }
}

}  // namespace
}  // namespace opennrt::isa
