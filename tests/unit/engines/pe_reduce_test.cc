// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/engines/reference.h"

namespace opennrt::sim {
namespace {

using namespace testing;
using inf1::chosen::ErrorNotification;
using isa::Alu;
using isa::Opcode;
using isa::Space;

struct Product {
  DataType weights = DataType::kFp32, moving = DataType::kFp32;
  std::uint8_t k = 128, m = 64;
  std::array<std::uint16_t, 4> counts{64, 1, 1, 1};
  std::array<std::int16_t, 4> moving_steps{1, 0, 0, 0}, dst_steps{1, 0, 0, 0}, weight_steps{1, 0, 0, 0};
  std::uint32_t moving_offset = 1024, dst_offset = 0;
  bool accumulate = false;
};

std::string check_product(const Product& c, std::uint32_t seed) {
  const bool integer = c.moving == DataType::kInt8;
  Memory memory(seed);
  std::mt19937 random(seed);
  const auto value = [&] {
    return integer ? static_cast<double>(static_cast<int>(random() % 256) - 128)
                   : std::uniform_real_distribution<double>(-2, 2)(random);
  };

  Instruction load;
  load.opcode = Opcode::kLoadStationary;
  load.partitions = c.k;
  load.counts = {c.m, 1, 1, 1};
  load.src0 = {Space::kSbuf, c.weights, static_cast<std::uint8_t>(128 - c.k), c.weight_steps[0] < 0 ? 512u : 0u,
               c.weight_steps};
  Instruction in;
  in.opcode = Opcode::kMatmul;
  in.partitions = c.k;
  in.op1 = c.m;
  in.counts = c.counts;
  in.accumulate = c.accumulate;
  in.src0 = {Space::kSbuf, c.moving, 0, c.moving_offset, c.moving_steps};
  in.dst = {Space::kPsum, integer ? DataType::kInt32 : DataType::kFp32, static_cast<std::uint8_t>(c.m == 64 ? 64 : 3),
            c.dst_offset, c.dst_steps};

  for (std::size_t k = 0; k < c.k; ++k) {
    each(load.counts, [&](const auto& i) { memory.set(load.src0, k, i, value()); });
    each(in.counts, [&](const auto& i) { memory.set(in.src0, k, i, value()); });
  }
  for (std::size_t m = 0; m < c.m; ++m) each(in.counts, [&](const auto& i) { memory.set(in.dst, m, i, value()); });

  const Memory before = memory;
  CoreMemory core = memory.core();
  StationaryMatrix stationary;
  if (execute(load, core, stationary).error != ErrorNotification::kNone) return "load refused";
  if (execute(in, core, stationary).error != ErrorNotification::kNone) return "matmul refused";
  Expectations expected;
  for (std::size_t m = 0; m < c.m; ++m) {
    each(in.counts, [&](const auto& i) {
      double sum = c.accumulate ? before.get(in.dst, m, i) : 0, magnitude = std::fabs(sum);
      for (std::size_t k = 0; k < c.k; ++k) {
        const double product = before.get(load.src0, k, {static_cast<int>(m), 0, 0, 0}) * before.get(in.src0, k, i);
        sum += product;
        magnitude += std::fabs(product);
      }
      // k + 1 additions and k products in float, in any order: (2k + 1) roundings of at most 2^-24 of the partial sums.
      expected[before.index(in.dst, m, i)] = {sum, integer ? 0 : (2.0 * c.k + 1) * 0x1p-24 * magnitude};
    });
  }
  return compare(before, memory, in.dst, expected);
}

TEST(Matmul, givenEveryTypeThenTheSumOfProducts) {
  for (DataType moving : {DataType::kFp32, DataType::kBf16, DataType::kFp16}) {
    for (DataType weights : {DataType::kFp32, DataType::kBf16, DataType::kFp16}) {
      for (const bool accumulate : {false, true}) {
        Product c;
        c.weights = weights, c.moving = moving, c.accumulate = accumulate;
        c.m = 16, c.k = 32;
        EXPECT_EQ(check_product(c, 1), "") << isa::data_type_name(weights) << " x " << isa::data_type_name(moving);
      }
    }
  }
}

TEST(Matmul, givenInt8ThenInt32IsExact) {
  for (const bool accumulate : {false, true}) {
    Product c;
    c.weights = c.moving = DataType::kInt8;
    c.accumulate = accumulate;
    EXPECT_EQ(check_product(c, 2), "");
    c.counts = {5, 4, 3, 2}, c.moving_steps = {2, 11, 50, -200}, c.moving_offset = 2000,
    c.dst_steps = {3, 15, -60, 150}, c.dst_offset = 1024;
    EXPECT_EQ(check_product(c, 3), "");
  }
}

TEST(Matmul, givenSizesFromOneToFullThenRight) {
  for (std::uint8_t k : {1, 3, 64, 127, 128}) {
    for (std::uint8_t m : {1, 7, 64}) {
      for (std::uint16_t n : {1, 5, 49, 512}) {
        Product c;
        c.k = k, c.m = m, c.counts = {n, 1, 1, 1}, c.dst_offset = 2048;
        EXPECT_EQ(check_product(c, 100u + k + m + n), "") << int{k} << "x" << int{m} << "x" << n;
      }
    }
  }
}

TEST(Matmul, givenStridedBackwardAndRepeatedPatternsThenRight) {
  for (DataType type : {DataType::kFp32, DataType::kBf16}) {
    for (const bool accumulate : {false, true}) {
      Product c;
      c.weights = c.moving = type, c.accumulate = accumulate, c.k = 27, c.m = 9;
      c.counts = {7, 7, 2, 1}, c.moving_steps = {2, 30, 250, 0},
      c.dst_steps = {1, 7, 49, 0};  // a convolution of stride 2
      EXPECT_EQ(check_product(c, 4), "");
      c.dst_steps = {2, 16, 120, 0};
      EXPECT_EQ(check_product(c, 5), "");
      c.moving_steps = {-1, 9, 0, 0}, c.moving_offset = 1600;
      EXPECT_EQ(check_product(c, 6), "");
      c.weight_steps = {-3, 0, 0, 0}, c.dst_steps = {-1, -7, -49, 0}, c.dst_offset = 1000;
      EXPECT_EQ(check_product(c, 7), "");
    }
  }
}

TEST(Matmul, givenInt32SumsBeyondTheirRangeThenTheyWrap) {
  Memory memory(8);
  CoreMemory core = memory.core();
  StationaryMatrix stationary{1, 1, DataType::kInt8, {127.0f}};
  Instruction in;
  in.opcode = Opcode::kMatmul;
  in.op1 = 1;
  in.accumulate = true;
  in.src0.dtype = DataType::kInt8;
  in.dst.space = Space::kPsum, in.dst.dtype = DataType::kInt32;
  memory.set(in.src0, 0, {}, 127);
  memory.set(in.dst, 0, {}, 2147483647.0);
  EXPECT_EQ(execute(in, core, stationary).error, ErrorNotification::kNone);
  EXPECT_EQ(memory.get(in.dst, 0, {}), 2147483647.0 + 127.0 * 127.0 - 4294967296.0);
}

TEST(Matmul, givenAnotherShapeOrKindThanTheStationaryMatrixThenIllegalAndNothingWritten) {
  Memory memory(9);
  const Memory before = memory;
  CoreMemory core = memory.core();
  StationaryMatrix stationary{4, 3, DataType::kFp32, std::vector<float>(12, 1.0f)};
  Instruction in;
  in.opcode = Opcode::kMatmul;
  in.partitions = 5;
  in.op1 = 3;
  in.dst.space = Space::kPsum;
  EXPECT_EQ(execute(in, core, stationary).error, ErrorNotification::kIllegalInstruction);
  in.partitions = 4, in.op1 = 2;
  EXPECT_EQ(execute(in, core, stationary).error, ErrorNotification::kIllegalInstruction);
  in.op1 = 3, in.src0.dtype = DataType::kInt8, in.dst.dtype = DataType::kInt32;
  EXPECT_EQ(execute(in, core, stationary).error, ErrorNotification::kIllegalInstruction);
  EXPECT_EQ(compare(before, memory, in.dst, {}), "");
}

TEST(Matmul, givenANaNThenReportedAndWritten) {
  for (std::int16_t step : {1, 2}) {
    Memory memory(10);
    CoreMemory core = memory.core();
    StationaryMatrix stationary{1, 2, DataType::kFp32, {1.0f, 0.5f}};
    Instruction in;
    in.opcode = Opcode::kMatmul;
    in.op1 = 2;
    in.counts = {3, 1, 1, 1};
    in.src0.steps = {1, 0, 0, 0};
    in.dst.steps = {step, 0, 0, 0};
    in.dst.space = Space::kPsum;
    for (int i = 0; i < 3; ++i) memory.set(in.src0, 0, {i, 0, 0, 0}, i == 1 ? std::nan("") : 2.0 * i);
    EXPECT_EQ(execute(in, core, stationary).error, ErrorNotification::kNumerical);
    EXPECT_TRUE(std::isnan(memory.get(in.dst, 1, {1, 0, 0, 0})));
    EXPECT_EQ(memory.get(in.dst, 1, {2, 0, 0, 0}), 2.0);
  }
}

struct Reduction {
  const char* name;
  std::array<std::uint16_t, 4> counts;
  std::array<std::int16_t, 4> src, dst;
  std::uint32_t src_start;
};
constexpr Reduction kReductions[] = {
    {"all of a row", {200, 1, 1, 1}, {1, 0, 0, 0}, {0, 0, 0, 0}, 0},
    {"inner", {33, 7, 1, 1}, {1, 33, 0, 0}, {0, 1, 0, 0}, 0},
    {"outer", {30, 9, 1, 1}, {1, 30, 0, 0}, {1, 0, 0, 0}, 0},
    {"3x3 window of stride 2", {3, 3, 6, 6}, {1, 13, 2, 26}, {0, 0, 1, 6}, 4},
    {"backwards, spread", {2, 5, 4, 3}, {-1, -2, 12, -50}, {0, 3, 0, 20}, 160},
    {"all dims", {3, 4, 5, 6}, {1, 3, 12, 60}, {0, 0, 0, 0}, 0},
    {"none", {4, 5, 1, 1}, {1, 4, 0, 0}, {1, 4, 0, 0}, 0},
};

TEST(TensorReduce, givenEveryOperatorTypeAndShapeThenThatOfAPlainLoop) {
  for (Alu op : {Alu::kAdd, Alu::kMult, Alu::kMax, Alu::kMin, Alu::kAverage}) {
    for (const Reduction& r : kReductions) {
      for (DataType type :
           {DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kInt8, DataType::kInt32, DataType::kUint8}) {
        Instruction in;
        in.opcode = Opcode::kTensorReduce;
        in.op0 = static_cast<std::uint8_t>(op);
        in.partitions = 4;
        in.counts = r.counts;
        in.src0 = {Space::kSbuf, type, 2, r.src_start * static_cast<std::uint32_t>(bytes_of(type)), r.src};
        in.dst = {Space::kPsum, op == Alu::kMult ? DataType::kFp32 : type, 90, 256, r.dst};
        Memory memory(11);
        std::mt19937 random(12);
        for (std::size_t p = 0; p < in.partitions; ++p) {
          each(in.counts, [&](const auto& i) {
            memory.set(
                in.src0, p, i,
                op == Alu::kMult ? (random() % 8 ? 1 : 2) : std::uniform_real_distribution<double>(0, 100)(random));
          });
        }
        const Memory before = memory;
        CoreMemory core = memory.core();
        StationaryMatrix none;
        ASSERT_EQ(execute(in, core, none).error, ErrorNotification::kNone);
        Expectations expected;
        std::map<std::size_t, int> seen;
        for (std::size_t p = 0; p < in.partitions; ++p) {
          each(in.counts, [&](const auto& i) {
            const std::size_t at = before.index(in.dst, p, i);
            const double x = before.get(in.src0, p, i);
            Expected& e = expected[at];
            const bool first = seen[at]++ == 0;
            if (first)
              e.value = x;
            else if (op == Alu::kAdd || op == Alu::kAverage)
              e.value += x;
            else if (op == Alu::kMult)
              e.value *= x;
            else
              e.value = op == Alu::kMax ? std::max(e.value, x) : std::min(e.value, x);
          });
        }
        for (auto& [at, e] : expected) {
          if (op == Alu::kAverage) e.value /= seen[at];
          // Positive terms: n additions in any order err by at most n 2^-24 of the sum; max, min and powers of 2 are exact.
          if (op == Alu::kAdd || op == Alu::kAverage) e.tolerance = (seen[at] + 1) * 0x1p-24 * e.value;
        }
        EXPECT_EQ(compare(before, memory, in.dst, expected), "")
            << static_cast<int>(op) << " " << r.name << " " << isa::data_type_name(type);
      }
    }
  }
}

TEST(TensorReduce, givenDstInsideOfTheSourceThenTheSourceIsReadFirst) {
  for (int shift : {0, 1}) {  // the same partitions, and one further
    Instruction in;
    in.opcode = Opcode::kTensorReduce;
    in.op0 = static_cast<std::uint8_t>(Alu::kMax);
    in.partitions = 6;
    in.counts = {5, 8, 1, 1};
    in.src0 = {Space::kSbuf, DataType::kFp32, 2, 64, {1, 5, 0, 0}};
    in.dst = {Space::kSbuf, DataType::kFp32, static_cast<std::uint8_t>(2 + shift), 64, {0, 1, 0, 0}};
    Memory memory(13);
    std::mt19937 random(14);
    for (std::size_t p = 0; p < 6; ++p)
      each(in.counts, [&](const auto& i) { memory.set(in.src0, p, i, static_cast<double>(random() % 1000)); });
    const Memory before = memory;
    CoreMemory core = memory.core();
    StationaryMatrix none;
    ASSERT_EQ(execute(in, core, none).error, ErrorNotification::kNone);
    Expectations expected;
    for (std::size_t p = 0; p < 6; ++p) {
      for (int k = 0; k < 8; ++k) {
        double best = -1;
        for (int i = 0; i < 5; ++i) best = std::max(best, before.get(in.src0, p, {i, k, 0, 0}));
        expected[before.index(in.dst, p, {0, k, 0, 0})] = {best};
      }
    }
    EXPECT_EQ(compare(before, memory, in.dst, expected), "") << shift;
  }
}

TEST(PartitionReduce, givenEveryOperatorAndTypeThenThatOfAPlainLoopOverPartitions) {
  for (Alu op : {Alu::kAdd, Alu::kMax, Alu::kMin}) {
    for (DataType type :
         {DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kInt8, DataType::kInt32, DataType::kUint8}) {
      for (std::uint8_t partitions : {1, 2, 77, 128}) {
        Instruction in;
        in.opcode = Opcode::kPartitionReduce;
        in.op0 = static_cast<std::uint8_t>(op);
        in.partitions = partitions;
        in.counts = {6, 5, 1, 1};
        in.src0 = {Space::kSbuf, type, static_cast<std::uint8_t>(128 - partitions), 240, {-1, 7, 0, 0}};
        in.dst = {Space::kSbuf, DataType::kFp32, 127, 240, {2, 12, 0, 0}};  // over the source's own bytes
        Memory memory(15);
        std::mt19937 random(16);
        for (std::size_t p = 0; p < partitions; ++p)
          each(in.counts, [&](const auto& i) {
            memory.set(in.src0, p, i, std::uniform_real_distribution<double>(-50, 100)(random));
          });
        const Memory before = memory;
        CoreMemory core = memory.core();
        StationaryMatrix none;
        ASSERT_EQ(execute(in, core, none).error, ErrorNotification::kNone);
        Expectations expected;
        each(in.counts, [&](const auto& i) {
          double value = before.get(in.src0, 0, i), magnitude = std::fabs(value);
          for (std::size_t p = 1; p < partitions; ++p) {
            const double x = before.get(in.src0, p, i);
            value = op == Alu::kAdd ? value + x : op == Alu::kMax ? std::max(value, x) : std::min(value, x);
            magnitude += std::fabs(x);
          }
          expected[before.index(in.dst, 0, i)] = {value, op == Alu::kAdd ? partitions * 0x1p-24 * magnitude : 0};
        });
        EXPECT_EQ(compare(before, memory, in.dst, expected), "")
            << static_cast<int>(op) << " " << isa::data_type_name(type) << " " << int{partitions};
      }
    }
  }
}

TEST(Execute, givenAnOperandOutOfBoundsThenReportedAndNothingWritten) {
  Memory memory(17);
  const Memory before = memory;
  CoreMemory core = memory.core();
  StationaryMatrix none;
  Instruction good;
  good.opcode = Opcode::kTensorTensor;
  good.partitions = 8;
  good.counts = {16, 1, 1, 1};
  good.dst.steps = good.src0.steps = good.src1.steps = {1, 0, 0, 0};
  const auto effect = [&](auto change) {
    Instruction in = good;
    change(in);
    return execute(in, core, none).error;
  };
  EXPECT_EQ(effect([](auto& i) { i.dst.offset = 8 * 1024 - 60; }), ErrorNotification::kOutOfBounds);
  EXPECT_EQ(effect([](auto& i) { i.src0.steps[0] = -1; }), ErrorNotification::kOutOfBounds);
  EXPECT_EQ(effect([](auto& i) { i.src1.partition = 121; }), ErrorNotification::kOutOfBounds);
  EXPECT_EQ(effect([](auto& i) { i.src1.space = Space::kPsum, i.src1.offset = 4096; }),
            ErrorNotification::kOutOfBounds);
  EXPECT_EQ(effect([](auto& i) { i.counts[0] = 0; }), ErrorNotification::kIllegalInstruction);
  EXPECT_EQ(effect([](auto& i) { i.op0 = 11; }), ErrorNotification::kIllegalInstruction);
  EXPECT_EQ(effect([](auto& i) { i.dst.offset = 2; }), ErrorNotification::kIllegalInstruction);
  EXPECT_EQ(effect([](auto& i) { i.opcode = static_cast<Opcode>(0xee); }), ErrorNotification::kIllegalInstruction);
  EXPECT_EQ(effect([](auto& i) { i = {}; }), ErrorNotification::kIllegalInstruction);  // a nop is the chip's
  EXPECT_EQ(compare(before, memory, good.dst, {}), "");
}

}  // namespace
}  // namespace opennrt::sim
