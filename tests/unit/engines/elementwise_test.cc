// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/engines/reference.h"

namespace opennrt::sim {
namespace {

using namespace testing;
using inf1::chosen::ErrorNotification;
using isa::Activation;
using isa::Alu;
using isa::Opcode;
using isa::Space;

constexpr DataType kTypes[] = {DataType::kFp32, DataType::kBf16,  DataType::kFp16,
                               DataType::kInt8, DataType::kInt32, DataType::kUint8};

struct Layout {
  const char* name;
  std::array<std::uint16_t, 4> counts;
  std::array<std::int16_t, 4> src, dst;
  std::uint32_t src_start, dst_start;  // elements
};
// Contiguous, strided, backwards, with repeated source elements, transposed, one element.
constexpr Layout kLayouts[] = {
    {"contiguous", {37, 1, 1, 1}, {1, 0, 0, 0}, {1, 0, 0, 0}, 16, 400},
    {"merged", {4, 5, 3, 2}, {1, 4, 20, 60}, {1, 4, 20, 60}, 0, 200},
    {"strided", {7, 5, 2, 1}, {2, 18, 95, 0}, {3, 21, 110, 0}, 4, 300},
    {"backwards", {9, 3, 2, 2}, {-1, -10, 40, -100}, {1, 9, -30, 60}, 240, 360},
    {"broadcast", {6, 4, 3, 1}, {0, 1, 0, 0}, {1, 6, 24, 0}, 8, 200},
    {"transposed", {8, 6, 1, 1}, {6, 1, 0, 0}, {1, 8, 0, 0}, 12, 260},
    {"single", {1, 1, 1, 1}, {5, 5, 5, 5}, {7, 7, 7, 7}, 3, 11},
};

Instruction shaped(Opcode opcode, const Layout& l, DataType from, DataType to) {
  Instruction in;
  in.opcode = opcode;
  in.partitions = 5;
  in.counts = l.counts;
  in.src0 = {Space::kSbuf, from, 3, l.src_start * static_cast<std::uint32_t>(bytes_of(from)), l.src};
  in.dst = {Space::kPsum, to, 40, l.dst_start * static_cast<std::uint32_t>(bytes_of(to)), l.dst};
  return in;
}

using Generator = std::function<double()>;
Generator uniform(std::uint32_t seed, double low, double high) {
  return [random = std::mt19937(seed), low, high]() mutable {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
}
void fill(Memory& m, const Operand& o, const std::array<std::uint16_t, 4>& counts, std::size_t partitions,
          const Generator& g) {
  for (std::size_t p = 0; p < partitions; ++p) each(counts, [&](const auto& i) { m.set(o, p, i, g()); });
}

/// Runs `in` and compares with value(p, i), computed from the memory as it was.
std::string check(const Instruction& in, Memory& memory,
                  const std::function<Expected(const Memory&, std::size_t, const std::array<int, 4>&)>& value,
                  ErrorNotification error = ErrorNotification::kNone) {
  const Memory before = memory;
  CoreMemory core = memory.core();
  StationaryMatrix none;
  const Effect effect = execute(in, core, none);
  if (effect.error != error) return "error notification " + std::to_string(static_cast<int>(effect.error));
  Expectations expected;
  for (std::size_t p = 0; p < in.partitions; ++p) {
    each(in.counts, [&](const auto& i) { expected[before.index(in.dst, p, i)] = value(before, p, i); });
  }
  return compare(before, memory, in.dst, expected);
}

double alu(Alu op, float a, float b) {
  switch (op) {
    case Alu::kBypass:
      return a;
    case Alu::kAdd:
      return a + b;
    case Alu::kSubtract:
      return a - b;
    case Alu::kMult:
      return a * b;
    case Alu::kMax:
      return std::isnan(a) || std::isnan(b) ? std::nan("") : std::fmax(a, b);
    case Alu::kMin:
      return std::isnan(a) || std::isnan(b) ? std::nan("") : std::fmin(a, b);
    case Alu::kDivide:
      return a / b;
    case Alu::kReverseSubtract:
      return b - a;
    case Alu::kReverseDivide:
      return b / a;
    case Alu::kIsGreaterEqual:
      return a >= b;
    case Alu::kIsEqual:
      return a == b;
    case Alu::kAverage:
      break;
  }
  ADD_FAILURE();
  return 0;
}

double exact_activation(Activation f, double x) {
  switch (f) {
    case Activation::kCopy:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kExp:
      return std::exp(x);
    case Activation::kSqrt:
      return std::sqrt(x);
    case Activation::kRsqrt:
      return 1 / std::sqrt(x);
    case Activation::kSquare:
      return x * x;
    case Activation::kAbs:
      return std::fabs(x);
    case Activation::kLog:
      return std::log(x);
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kReciprocal:
      return 1 / x;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kSoftplus:
      return std::log1p(std::exp(x));
    case Activation::kSign:
      return (x > 0) - (x < 0);
    case Activation::kErf:
      return std::erf(x);
  }
  return 0;
}
// A few roundings in float: each intermediate of the formulas in use adds at most half a unit of 2^-24, relative.
double few_ulps(double value, double n) {
  return std::fabs(value) * n * 0x1p-23 + 0x1p-149;
}

TEST(Copy, givenEveryPairOfTypesAndEveryLayoutThenValuesAreConvertedAndNothingElseIsTouched) {
  for (const Layout& layout : kLayouts) {
    for (DataType from : kTypes) {
      for (DataType to : kTypes) {
        Instruction in = shaped(Opcode::kTensorCopy, layout, from, to);
        Memory memory(1);
        fill(memory, in.src0, in.counts, in.partitions, uniform(2, -300, 300));
        const std::string wrong = check(
            in, memory, [&](const Memory& m, std::size_t p, const auto& i) { return Expected{m.get(in.src0, p, i)}; });
        EXPECT_EQ(wrong, "") << layout.name << " " << isa::data_type_name(from) << " to " << isa::data_type_name(to);
      }
    }
  }
}

TEST(Copy, givenHalvesTiesAndExtremesThenRoundedToEvenAndSaturated) {
  const double values[] = {0.5,
                           1.5,
                           2.5,
                           -0.5,
                           -1.5,
                           -2.5,
                           126.5,
                           127.5,
                           300,
                           -300,
                           254.5,
                           255.5,
                           0.49999997,
                           8388607.5,
                           -8388609.0,
                           16777216.0,
                           2147483520.0,
                           2147483648.0,
                           -2147483648.0,
                           3e9,
                           -3e9,
                           1e30,
                           65504,
                           65519,
                           65520,
                           65536,
                           6e-8,
                           2.98e-8,
                           1e-40,
                           3.3895314e38,
                           3.39e38,
                           1.00390625,
                           1.01171875,
                           std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()};
  for (DataType to : kTypes) {
    Instruction in =
        shaped(Opcode::kTensorCopy,
               {"", {static_cast<std::uint16_t>(std::size(values)), 1, 1, 1}, {1, 0, 0, 0}, {1, 0, 0, 0}, 0, 0},
               DataType::kFp32, to);
    in.partitions = 1;
    Memory memory(3);
    for (int i = 0; i < static_cast<int>(std::size(values)); ++i) {
      const float v = static_cast<float>(values[i]);
      std::memcpy(memory.sbuf.data() + memory.index(in.src0, 0, {i, 0, 0, 0}), &v, 4);
    }
    EXPECT_EQ(check(in, memory,
                    [&](const Memory& m, std::size_t p, const auto& i) { return Expected{m.get(in.src0, p, i)}; }),
              "")
        << isa::data_type_name(to);
  }
}

TEST(Copy, givenEveryPatternOfA16BitTypeThenItSurvivesTheWayThroughFloat) {
  for (DataType type : {DataType::kBf16, DataType::kFp16}) {
    for (std::uint32_t first = 0; first < 65536; first += 2048) {
      Memory memory(5);
      Instruction in = shaped(Opcode::kTensorCopy, {"", {2048, 1, 1, 1}, {1, 0, 0, 0}, {1, 0, 0, 0}, 0, 0}, type, type);
      in.partitions = 1;
      for (std::uint32_t i = 0; i < 2048; ++i) {
        const auto bits = static_cast<std::uint16_t>(first + i);
        std::memcpy(memory.sbuf.data() + memory.index(in.src0, 0, {static_cast<int>(i), 0, 0, 0}), &bits, 2);
      }
      CoreMemory core = memory.core();
      StationaryMatrix none;
      const Effect effect = execute(in, core, none);
      bool nan = false;
      for (std::uint32_t i = 0; i < 2048; ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, memory.psum.data() + memory.index(in.dst, 0, {static_cast<int>(i), 0, 0, 0}), 2);
        const double was = small_float(static_cast<std::uint16_t>(first + i), type == DataType::kBf16 ? 8 : 5,
                                       type == DataType::kBf16 ? 7 : 10);
        if (std::isnan(was)) {
          nan = true;
          EXPECT_TRUE(std::isnan(small_float(bits, type == DataType::kBf16 ? 8 : 5, type == DataType::kBf16 ? 7 : 10)));
        } else {
          EXPECT_EQ(bits, first + i);
        }
      }
      EXPECT_EQ(effect.error, nan ? ErrorNotification::kNumerical : ErrorNotification::kNone);
    }
  }
}

TEST(Copy, givenInt32BeyondFloatThenEqualTypesAreMovedBitForBit) {
  Instruction in = shaped(Opcode::kTensorCopy, kLayouts[2], DataType::kInt32, DataType::kInt32);
  for (Opcode opcode : {Opcode::kTensorCopy, Opcode::kPartitionBroadcast}) {
    in.opcode = opcode;
    Memory memory(17);  // random bytes: also those that would be NaN as floats
    EXPECT_EQ(check(in, memory,
                    [&](const Memory& m, std::size_t p, const auto& i) {
                      return Expected{m.get(in.src0, opcode == Opcode::kTensorCopy ? p : 0, i)};
                    }),
              "");
  }
}

TEST(TensorTensor, givenEveryOperatorTypeAndLayoutThenItIsThatOfFloat) {
  for (int op = 0; op <= static_cast<int>(Alu::kIsEqual); ++op) {
    for (DataType type : kTypes) {
      for (const Layout& layout : kLayouts) {
        Instruction in = shaped(Opcode::kTensorTensor, layout, type, type);
        in.op0 = static_cast<std::uint8_t>(op);
        in.src1 = in.src0;
        in.src1.partition = 60;
        in.src1.dtype = kTypes[(static_cast<std::size_t>(type) + 1) % 6];  // types mix
        in.src1.offset = layout.src_start * static_cast<std::uint32_t>(bytes_of(in.src1.dtype));
        Memory memory(7);
        fill(memory, in.src0, in.counts, in.partitions, uniform(8, 1, 9));
        fill(memory, in.src1, in.counts, in.partitions, uniform(9, 1, 9));
        EXPECT_EQ(check(in, memory,
                        [&](const Memory& m, std::size_t p, const auto& i) {
                          return Expected{alu(static_cast<Alu>(op), static_cast<float>(m.get(in.src0, p, i)),
                                              static_cast<float>(m.get(in.src1, p, i)))};
                        }),
                  "")
            << op << " " << isa::data_type_name(type) << " " << layout.name;
      }
    }
  }
}

TEST(TensorScalar, givenEveryPairOfOperatorsThenBothStepsAreDoneInFloat) {
  for (int op0 = 0; op0 <= 10; ++op0) {
    for (int op1 = 0; op1 <= 10; ++op1) {
      for (const bool per_partition : {false, true}) {
        const auto n = static_cast<std::size_t>(op0 + op1);
        Instruction in = shaped(Opcode::kTensorScalar, kLayouts[n % 7], kTypes[n % 6], kTypes[(n + 2) % 6]);
        in.op0 = static_cast<std::uint8_t>(op0), in.op1 = static_cast<std::uint8_t>(op1);
        in.imm0 = per_partition ? 0.0f : 2.75f, in.imm1 = -1.5f;
        in.src1_per_partition = per_partition;
        Memory memory(10);
        fill(memory, in.src0, in.counts, in.partitions, uniform(11, 1, 9));
        if (per_partition) {
          in.src1 = {Space::kPsum, n % 2 ? DataType::kBf16 : DataType::kFp32, 9, 128, {}};
          fill(memory, in.src1, {1, 1, 1, 1}, in.partitions, uniform(12, 1, 4));
        }
        EXPECT_EQ(check(in, memory,
                        [&](const Memory& m, std::size_t p, const auto& i) {
                          const float operand0 = per_partition ? static_cast<float>(m.get(in.src1, p, {})) : in.imm0;
                          const double first =
                              alu(static_cast<Alu>(op0), static_cast<float>(m.get(in.src0, p, i)), operand0);
                          return Expected{alu(static_cast<Alu>(op1), static_cast<float>(first), in.imm1)};
                        }),
                  "")
            << op0 << " " << op1 << " " << per_partition;
      }
    }
  }
}

TEST(Activate, givenEveryFunctionTypeAndLayoutThenTheExactFunctionWithinAFewRoundings) {
  for (int f = 0; f < 16; ++f) {
    const auto function = static_cast<Activation>(f);
    const bool positive = function == Activation::kSqrt || function == Activation::kRsqrt ||
                          function == Activation::kLog || function == Activation::kReciprocal;
    for (const Layout& layout : kLayouts) {
      for (DataType type : kTypes) {
        for (const bool with_bias : {false, true}) {
          Instruction in = shaped(Opcode::kActivate, layout, type,
                                  kTypes[(static_cast<std::size_t>(type) + static_cast<std::size_t>(f)) % 6]);
          in.op0 = static_cast<std::uint8_t>(f);
          in.imm0 = 0.75f;
          in.src1_per_partition = with_bias;
          Memory memory(13);
          fill(memory, in.src0, in.counts, in.partitions, uniform(14, positive ? 1 : -9, 9));
          if (with_bias) {
            in.src1 = {Space::kSbuf, DataType::kFp32, 100, 64, {}};
            fill(memory, in.src1, {1, 1, 1, 1}, in.partitions, uniform(15, 0, 2));
          }
          EXPECT_EQ(check(in, memory,
                          [&](const Memory& m, std::size_t p, const auto& i) {
                            const float bias = with_bias ? static_cast<float>(m.get(in.src1, p, {})) : 0.0f;
                            const float x = static_cast<float>(m.get(in.src0, p, i)) * in.imm0 + bias;
                            const double value = exact_activation(function, x);
                            return Expected{value, few_ulps(value, 4)};
                          }),
                    "")
              << f << " " << layout.name << " " << isa::data_type_name(type) << " bias " << with_bias;
        }
      }
    }
  }
}

TEST(Activate, givenExtremeInputsThenLimitsAreReachedWithoutNaN) {
  const double inf = std::numeric_limits<double>::infinity();
  const double inputs[] = {-inf, -1e30, -200, -100, -50, -1e-30, 0, 1e-30, 50, 100, 200, 1e30, inf};
  for (Activation f : {Activation::kCopy, Activation::kRelu, Activation::kSigmoid, Activation::kTanh, Activation::kExp,
                       Activation::kAbs, Activation::kGelu, Activation::kSilu, Activation::kSoftplus, Activation::kSign,
                       Activation::kErf}) {
    Instruction in = shaped(Opcode::kActivate, {"", {13, 1, 1, 1}, {1, 0, 0, 0}, {1, 0, 0, 0}, 0, 0}, DataType::kFp32,
                            DataType::kFp32);
    in.partitions = 1;
    in.op0 = static_cast<std::uint8_t>(f);
    in.imm0 = 1;
    Memory memory(16);
    for (int i = 0; i < 13; ++i) memory.set(in.src0, 0, {i, 0, 0, 0}, inputs[i]);
    EXPECT_EQ(check(in, memory,
                    [&](const Memory& m, std::size_t p, const auto& i) {
                      const double x = m.get(in.src0, p, i);
                      double value = exact_activation(f, x);
                      if (std::isnan(value)) value = 0;  // silu and gelu at -infinity: the limit
                      if (f == Activation::kSoftplus && x > 100)
                        value = x;  // log1p(exp(x)) overflows in double as well
                      return Expected{
                          value, std::isinf(value) ? 0 : few_ulps(value, 16)};  // e^-100 is a denormal: more roundings
                    }),
              "")
        << isa::data_type_name(in.dst.dtype) << " function " << static_cast<int>(f);
  }
}

TEST(Numerical, givenANaNInAFloatResultThenReportedAndStillWritten) {
  for (Opcode opcode :
       {Opcode::kTensorCopy, Opcode::kActivate, Opcode::kTensorTensor, Opcode::kTensorScalar, Opcode::kReciprocal}) {
    for (DataType to : kTypes) {
      Instruction in = shaped(opcode, kLayouts[0], DataType::kFp32, to);
      in.imm0 = opcode == Opcode::kActivate || opcode == Opcode::kTensorScalar ? 1.0f : 0.0f;
      in.op0 = opcode == Opcode::kTensorTensor   ? static_cast<std::uint8_t>(Alu::kMax)
               : opcode == Opcode::kTensorScalar ? static_cast<std::uint8_t>(Alu::kMult)
                                                 : 0;
      if (opcode == Opcode::kTensorTensor) in.src1 = in.src0, in.src1.partition = 20;
      Memory memory(18);
      fill(memory, in.src0, in.counts, in.partitions, uniform(19, 1, 2));
      if (opcode == Opcode::kTensorTensor) fill(memory, in.src1, in.counts, in.partitions, uniform(20, 1, 2));
      memory.set(in.src0, 4, {36, 0, 0, 0}, std::nan(""));
      const bool reported = to == DataType::kFp32 || to == DataType::kBf16 || to == DataType::kFp16;
      EXPECT_EQ(check(
                    in, memory,
                    [&](const Memory& m, std::size_t p, const auto& i) {
                      const float x = static_cast<float>(m.get(in.src0, p, i));
                      if (opcode == Opcode::kTensorTensor)
                        return Expected{alu(Alu::kMax, x, static_cast<float>(m.get(in.src1, p, i)))};
                      return Expected{opcode == Opcode::kReciprocal ? 1.0f / x : x};
                    },
                    reported ? ErrorNotification::kNumerical : ErrorNotification::kNone),
                "")
          << static_cast<int>(opcode) << " " << isa::data_type_name(to);
    }
  }
}

TEST(Memset, givenEveryTypeAndLayoutThenEveryElementIsSet) {
  for (DataType to : kTypes) {
    for (const Layout& layout : kLayouts) {
      Instruction in = shaped(Opcode::kMemset, layout, DataType::kFp32, to);
      in.src0 = {};
      in.imm0 = 2.5f;
      Memory memory(21);
      EXPECT_EQ(check(in, memory, [](const Memory&, std::size_t, const auto&) { return Expected{2.5}; }), "")
          << layout.name;
    }
  }
}

TEST(Reciprocal, givenEveryTypeAndLayoutThenOneOverX) {
  for (DataType type : kTypes) {
    for (const Layout& layout : kLayouts) {
      Instruction in = shaped(Opcode::kReciprocal, layout, type, DataType::kFp32);
      Memory memory(22);
      fill(memory, in.src0, in.counts, in.partitions, uniform(23, 1, 100));
      EXPECT_EQ(check(in, memory,
                      [&](const Memory& m, std::size_t p, const auto& i) {
                        return Expected{1.0f / static_cast<float>(m.get(in.src0, p, i))};
                      }),
                "");
    }
  }
}

TEST(PartitionBroadcast, givenEveryTypeAndLayoutThenEachPartitionHasTheRow) {
  for (DataType type : kTypes) {
    for (const Layout& layout : kLayouts) {
      Instruction in =
          shaped(Opcode::kPartitionBroadcast, layout, type, kTypes[(static_cast<std::size_t>(type) + 3) % 6]);
      in.partitions = 88;
      Memory memory(24);
      fill(memory, in.src0, in.counts, 1, uniform(25, -100, 100));
      EXPECT_EQ(check(in, memory,
                      [&](const Memory& m, std::size_t, const auto& i) { return Expected{m.get(in.src0, 0, i)}; }),
                "")
          << layout.name;
    }
  }
}

// dst and sources share bytes in every way there is: the same place, shifted within the partition, shifted by partitions, other
// element sizes. The reference reads a copy of the memory as it was.
TEST(Aliasing, givenSourcesThatOverlapTheDestinationThenTheyAreReadBeforeItIsWritten) {
  std::mt19937 random(26);
  const auto below = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 600; ++round) {
    Instruction in;
    const Opcode opcodes[] = {Opcode::kTensorCopy, Opcode::kTensorTensor, Opcode::kTensorScalar,
                              Opcode::kPartitionBroadcast};
    in.opcode = opcodes[below(4)];
    in.partitions = static_cast<std::uint8_t>(1 + below(20));
    in.counts = {static_cast<std::uint16_t>(1 + below(12)), static_cast<std::uint16_t>(1 + below(6)), 1, 1};
    const std::int16_t outer = static_cast<std::int16_t>(in.counts[0] + below(3));
    const auto near = [&](DataType t) {
      return Operand{Space::kSbuf,
                     t,
                     static_cast<std::uint8_t>(10 + below(round % 3 ? 8 : 1)),
                     512 + static_cast<std::uint32_t>(below(round % 2 ? 16 : 1)) * 4,
                     {1, outer, 0, 0}};
    };
    in.dst = near(kTypes[below(3)]);
    in.src0 = near(kTypes[below(3)]);
    if (in.opcode == Opcode::kTensorTensor)
      in.src1 = near(kTypes[below(3)]), in.op0 = static_cast<std::uint8_t>(Alu::kMax);
    if (in.opcode == Opcode::kTensorScalar) {
      in.src1_per_partition = true;
      in.src1 = near(kTypes[below(3)]);
      in.src1.steps = {};
      in.op0 = static_cast<std::uint8_t>(Alu::kMax);
    }
    Memory memory(27);
    for (std::size_t i = 0; i < memory.sbuf.size(); ++i)
      memory.sbuf[i] = static_cast<std::byte>(0x3c + (i * 7 + i / 512) % 4);  // sane in every float type
    EXPECT_EQ(check(in, memory,
                    [&](const Memory& m, std::size_t p, const auto& i) {
                      const double x = m.get(in.src0, in.opcode == Opcode::kPartitionBroadcast ? 0 : p, i);
                      if (in.opcode == Opcode::kTensorTensor) return Expected{std::fmax(x, m.get(in.src1, p, i))};
                      if (in.opcode == Opcode::kTensorScalar) return Expected{std::fmax(x, m.get(in.src1, p, {}))};
                      return Expected{x};
                    }),
              "")
        << "round " << round << " " << isa::disassemble(in);
  }
}

}  // namespace
}  // namespace opennrt::sim
