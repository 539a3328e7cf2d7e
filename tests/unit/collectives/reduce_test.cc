// SPDX-License-Identifier: Apache-2.0
// Requirement A2: reductions give the same bytes in every run.
#include "core/collectives/reduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace opennrt::collectives {
namespace {

template <typename T>
Bytes pack(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename T>
std::vector<T> reduced(const std::vector<std::vector<T>>& inputs, int dtype, int op) {
  std::vector<Bytes> packed;
  for (const auto& input : inputs) packed.push_back(pack(input));
  const auto result = reduce(std::move(packed), dtype, op);
  EXPECT_TRUE(result.has_value());
  std::vector<T> values(inputs.front().size());
  if (result) std::memcpy(values.data(), result->data(), result->size());
  return values;
}

template <typename T>
void check_integer(int dtype) {
  constexpr T kMost = std::numeric_limits<T>::max(), kLeast = std::numeric_limits<T>::min();
  const std::vector<std::vector<T>> inputs{{1, kMost, kLeast}, {2, 1, 5}, {3, 1, 7}};
  EXPECT_EQ(reduced(inputs, dtype, NRT_OP_ADD),
            (std::vector<T>{6, static_cast<T>(kLeast + 1), static_cast<T>(kLeast + 12)}))
      << dtype;
  EXPECT_EQ(reduced(inputs, dtype, NRT_OP_MAX), (std::vector<T>{3, kMost, 7})) << dtype;
  EXPECT_EQ(reduced(inputs, dtype, NRT_OP_MIN), (std::vector<T>{1, 1, kLeast})) << dtype;
}

TEST(Reduce, givenIntegersOfEveryTypeWhenReducedThenSumsWrap) {
  check_integer<std::int8_t>(NRT_DTYPE_INT8);
  check_integer<std::uint8_t>(NRT_DTYPE_UINT8);
  check_integer<std::int16_t>(NRT_DTYPE_INT16);
  check_integer<std::uint16_t>(NRT_DTYPE_UINT16);
  check_integer<std::int32_t>(NRT_DTYPE_INT32);
  check_integer<std::uint32_t>(NRT_DTYPE_UINT32);
  check_integer<std::int64_t>(NRT_DTYPE_INT64);
  check_integer<std::uint64_t>(NRT_DTYPE_UINT64);
}

TEST(Reduce, givenFloatsWhenAddedThenTheOrderIsThatOfTheInputs) {
  EXPECT_EQ(reduced<float>({{1e8f}, {1}, {-1e8f}}, NRT_DTYPE_FLOAT32, NRT_OP_ADD), (std::vector<float>{0}));
  EXPECT_EQ(reduced<float>({{1e8f}, {-1e8f}, {1}}, NRT_DTYPE_FLOAT32, NRT_OP_ADD), (std::vector<float>{1}));
}

TEST(Reduce, givenSmallFloatsWhenAddedThenTheyAreRoundedOnce) {
  // 256 + 1 + 1 is 258 = 0x4381 in bf16; rounded after each step it would stay 256.
  EXPECT_EQ(reduced<std::uint16_t>({{0x4380}, {0x3f80}, {0x3f80}}, NRT_DTYPE_BFLOAT16, NRT_OP_ADD),
            (std::vector<std::uint16_t>{0x4381}));
  // 2048 + 1 + 1 is 2050 = 0x6801 in fp16.
  EXPECT_EQ(reduced<std::uint16_t>({{0x6800}, {0x3c00}, {0x3c00}}, NRT_DTYPE_FLOAT16, NRT_OP_ADD),
            (std::vector<std::uint16_t>{0x6801}));
  EXPECT_EQ(reduced<std::uint16_t>({{0xbf80}, {0x4000}}, NRT_DTYPE_BFLOAT16, NRT_OP_MAX),
            (std::vector<std::uint16_t>{0x4000}));
  EXPECT_EQ(reduced<std::uint16_t>({{0xbc00}, {0x4000}}, NRT_DTYPE_FLOAT16, NRT_OP_MIN),
            (std::vector<std::uint16_t>{0xbc00}));
}

TEST(Reduce, givenANanWhenReducedThenTheResultIsOneWhereverItStood) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int op : {NRT_OP_ADD, NRT_OP_MAX, NRT_OP_MIN}) {
    const auto values = reduced<float>({{nan, 1, 1}, {1, nan, 1}, {1, 1, 2}}, NRT_DTYPE_FLOAT32, op);
    EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1]) && !std::isnan(values[2])) << op;
  }
}

TEST(Reduce, givenWhatCannotBeReducedWhenCheckedThenItIsNamed) {
  const auto message = [](int dtype, int op) {
    const Status valid = check_reduction(dtype, op);
    return valid ? std::string() : valid.error().message;
  };
  EXPECT_EQ(message(NRT_DTYPE_FLOAT32, NRT_OP_ADD), "");
  EXPECT_THAT(message(NRT_DTYPE_FLOAT32, NRT_OP_FMA), testing::HasSubstr("op is 0x1"));
  EXPECT_THAT(message(NRT_DTYPE_FLOAT32, 77), testing::HasSubstr("op is 0x4d"));
  EXPECT_THAT(message(NRT_DTYPE_UNKNOWN, NRT_OP_ADD), testing::HasSubstr("dtype is 0x0"));
  for (const int dtype : {NRT_DTYPE_FP8_E3, NRT_DTYPE_FP8_E4, NRT_DTYPE_FP8_E5, NRT_DTYPE_FP32R}) {
    EXPECT_THAT(message(dtype, NRT_OP_ADD), testing::HasSubstr("which Inf1 does not have"));
  }
  EXPECT_FALSE(reduce({Bytes(4), Bytes(8)}, NRT_DTYPE_FLOAT32, NRT_OP_ADD));
  EXPECT_FALSE(reduce({Bytes(6), Bytes(6)}, NRT_DTYPE_FLOAT32, NRT_OP_ADD));
  EXPECT_FALSE(reduce({}, NRT_DTYPE_FLOAT32, NRT_OP_ADD));
}

}  // namespace
}  // namespace opennrt::collectives
