// SPDX-License-Identifier: Apache-2.0
//
// CPU nodes compute what the ONNX operators of their names do (requirement E4).
#include "core/cpu/function.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/neff/npy.h"

namespace opennrt::cpu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
const char* dtype() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  if constexpr (std::is_same_v<T, std::int32_t>) return "int32";
  return "int64";
}

neff::TensorInfo info(const std::string& name, const std::string& type, std::vector<std::uint32_t> shape) {
  neff::TensorInfo t{name, neff::TensorKind::kInput, type, std::move(shape), neff::dtype_bytes(type)};
  for (auto n : t.shape) t.bytes *= n;
  return t;
}

/// One node with typed inputs and outputs.
class Node {
 public:
  neff::CpuNode node;
  std::vector<neff::TensorInfo> types;

  explicit Node(const std::string& function, std::map<std::string, std::string> attributes = {}) {
    node.name = "n";
    node.function = function;
    node.attributes = std::move(attributes);
  }
  template <typename T>
  Node& in(std::vector<std::uint32_t> shape, const std::vector<T>& values) {
    types.push_back(info("i" + std::to_string(types.size()), dtype<T>(), std::move(shape)));
    std::vector<std::byte> data(values.size() * sizeof(T));
    std::memcpy(data.data(), values.data(), data.size());
    inputs_.push_back(std::move(data));
    return *this;
  }
  template <typename T>
  Node& out(std::vector<std::uint32_t> shape) {
    node.outputs.push_back(info("o" + std::to_string(node.outputs.size()), dtype<T>(), std::move(shape)));
    outputs_.emplace_back(node.outputs.back().bytes, std::byte{0x5a});
    return *this;
  }
  std::string make_error() const {
    auto made = make(node, types);
    return made ? "" : made.error().message;
  }
  Status run() {
    auto made = make(node, types);
    if (!made) return tl::unexpected(made.error());
    std::vector<std::span<const std::byte>> from(inputs_.begin(), inputs_.end());
    std::vector<std::span<std::byte>> to(outputs_.begin(), outputs_.end());
    return (*made)->run(from, to);
  }
  template <typename T>
  std::vector<T> result(std::size_t i = 0) {
    const Status done = run();
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    std::vector<T> values(outputs_[i].size() / sizeof(T));
    std::memcpy(values.data(), outputs_[i].data(), outputs_[i].size());
    return values;
  }

 private:
  std::vector<std::vector<std::byte>> inputs_, outputs_;
};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

TEST(CpuGather, givenAnyAxisAndNegativeIndicesWhenRunThenTheSlicesAreThere) {
  const std::vector<float> data{0, 1, 2, 10, 11, 12};
  EXPECT_THAT(Node("opennrt.gather")
                  .in<float>({2, 3}, data)
                  .in<std::int64_t>({3}, {1, 0, -1})
                  .out<float>({3, 3})
                  .result<float>(),
              ElementsAre(10, 11, 12, 0, 1, 2, 10, 11, 12))
      << "axis 0 is the default";
  EXPECT_THAT(Node("opennrt.gather", {{"axis", "-1"}})
                  .in<float>({2, 3}, data)
                  .in<std::int32_t>({1, 2}, {2, -3})
                  .out<float>({2, 1, 2})
                  .result<float>(),
              ElementsAre(2, 0, 12, 10));
  EXPECT_THAT(Node("opennrt.gather")
                  .in<std::int64_t>({3}, {7, 8, 9})
                  .in<std::int64_t>({}, {2})
                  .out<std::int64_t>({})
                  .result<std::int64_t>(),
              ElementsAre(9))
      << "an index without dimensions takes the axis away";
}

TEST(CpuGather, givenAnIndexOutOfRangeWhenRunThenNodeIndexAndRangeAreNamed) {
  for (const std::int64_t index : {std::int64_t{2}, std::int64_t{-3}, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()}) {
    const Status done =
        Node("opennrt.gather").in<float>({2, 1}, {0, 1}).in<std::int64_t>({2}, {0, index}).out<float>({2, 1}).run();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kBadInput);
    EXPECT_EQ(done.error().message, "CPU node 'n' (opennrt.gather): index " + std::to_string(index) +
                                        " at position 1 is out of range, expected -2 to 1");
  }
}

TEST(CpuArgMax, givenAnyAxisWhenRunThenTheFirstOfTheLargestIsFound) {
  const std::vector<float> data{3, 9, 9, 1, -1, 4, 8, 8};
  EXPECT_THAT(
      Node("opennrt.argmax", {{"axis", "1"}}).in<float>({2, 4}, data).out<std::int64_t>({2, 1}).result<std::int64_t>(),
      ElementsAre(1, 2));
  EXPECT_THAT(Node("opennrt.argmax", {{"axis", "-2"}, {"keepdims", "0"}})
                  .in<float>({2, 4}, data)
                  .out<std::int32_t>({4})
                  .result<std::int32_t>(),
              ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(Node("opennrt.argmax")
                  .in<std::int64_t>({3, 1}, {INT64_MIN, 5, INT64_MAX})
                  .out<std::int64_t>({1, 1})
                  .result<std::int64_t>(),
              ElementsAre(2));
}

TEST(CpuArgMax, givenNanWhenRunThenTheFirstNanIsTheLargest) {
  EXPECT_THAT(Node("opennrt.argmax", {{"axis", "1"}})
                  .in<float>({2, 3}, {1, kNan, kNan, -kInf, -1, kInf})
                  .out<std::int64_t>({2, 1})
                  .result<std::int64_t>(),
              ElementsAre(1, 2));
}

TEST(CpuTopK, givenLargestOrSmallestWhenRunThenValuesAreSortedAndTiesGoByIndex) {
  const std::vector<float> data{3, 9, 9, 1, -1, 4, 8, 8};
  auto largest =
      Node("opennrt.topk", {{"k", "3"}}).in<float>({2, 4}, data).out<float>({2, 3}).out<std::int64_t>({2, 3});
  EXPECT_THAT(largest.result<float>(0), ElementsAre(9, 9, 3, 8, 8, 4));
  EXPECT_THAT(largest.result<std::int64_t>(1), ElementsAre(1, 2, 0, 2, 3, 1));
  auto smallest = Node("opennrt.topk", {{"k", "2"}, {"axis", "0"}, {"largest", "0"}})
                      .in<float>({4, 2}, data)
                      .out<float>({2, 2})
                      .out<std::int32_t>({2, 2});
  EXPECT_THAT(smallest.result<float>(0), ElementsAre(-1, 1, 3, 4));
  EXPECT_THAT(smallest.result<std::int32_t>(1), ElementsAre(2, 1, 0, 2));
}

TEST(CpuTopK, givenNanWhenRunThenTheOrderIsStillOne) {
  auto node = Node("opennrt.topk", {{"k", "5"}})
                  .in<float>({5}, {1, kNan, kInf, kNan, 2})
                  .out<float>({5})
                  .out<std::int64_t>({5});
  EXPECT_THAT(node.result<std::int64_t>(1), ElementsAre(1, 3, 2, 4, 0));
}

TEST(CpuCast, givenFloatsWhenCastThenFractionsGoAndWhatDoesNotFitSaturates) {
  const std::vector<float> data{1.9f, -1.9f, 3e9f, -3e9f, kNan, kInf};
  EXPECT_THAT(Node("opennrt.cast").in<float>({6}, data).out<std::int32_t>({6}).result<std::int32_t>(),
              ElementsAre(1, -1, INT32_MAX, INT32_MIN, 0, INT32_MAX));
  EXPECT_THAT(Node("opennrt.cast").in<float>({6}, data).out<std::int64_t>({6}).result<std::int64_t>(),
              ElementsAre(1, -1, 3000000000, -3000000000, 0, INT64_MAX));
}

TEST(CpuCast, givenIntegersWhenCastThenTheyKeepTheirValueOrTheirLowBits) {
  EXPECT_THAT(Node("opennrt.cast")
                  .in<std::int64_t>({2}, {5, (std::int64_t{1} << 33) - 7})
                  .out<std::int32_t>({2})
                  .result<std::int32_t>(),
              ElementsAre(5, -7));
  EXPECT_THAT(Node("opennrt.cast").in<std::int32_t>({2}, {-5, 7}).out<std::int64_t>({2}).result<std::int64_t>(),
              ElementsAre(-5, 7));
  EXPECT_THAT(Node("opennrt.cast").in<std::int64_t>({2}, {-5, 16777217}).out<float>({2}).result<float>(),
              ElementsAre(-5, 16777216));
  EXPECT_THAT(Node("opennrt.cast").in<float>({1}, {2.5f}).out<float>({1}).result<float>(), ElementsAre(2.5f));
}

TEST(CpuFunction, givenNodesThatCannotBeServedWhenMadeThenNodeAndReasonAreNamed) {
  const std::vector<float> six(6);
  EXPECT_EQ(Node("opennrt.relu").make_error(),
            "CPU node 'n' (opennrt.relu): there is no such function, expected one of opennrt.argmax, opennrt.cast, "
            "opennrt.gather, opennrt.topk");
  EXPECT_THAT(Node("opennrt.cast").make_error(), HasSubstr("it has 0 inputs, expected 1"));
  EXPECT_THAT(Node("opennrt.cast").in(std::vector<std::uint32_t>{6}, six).make_error(),
              HasSubstr("it has 0 outputs, expected 1"));
  EXPECT_THAT(Node("opennrt.cast", {{"to", "7"}}).in<float>({6}, six).out<float>({6}).make_error(),
              HasSubstr("attribute to is \"7\", expected only none"));
  EXPECT_THAT(Node("opennrt.cast").in<float>({6}, six).out<std::int32_t>({2, 3}).make_error(),
              HasSubstr("output 'o0' has the shape [2,3], expected [6]"));
  EXPECT_THAT(Node("opennrt.argmax", {{"axis", "2"}}).in<float>({2, 3}, six).out<std::int64_t>({2, 1}).make_error(),
              HasSubstr("attribute axis is \"2\", expected a whole number from -2 to 1"));
  EXPECT_THAT(Node("opennrt.argmax", {{"axis", "x"}}).in<float>({2, 3}, six).out<std::int64_t>({2, 1}).make_error(),
              HasSubstr("attribute axis is \"x\""));
  EXPECT_THAT(Node("opennrt.argmax").in<float>({2, 3}, six).out<float>({1, 3}).make_error(),
              HasSubstr("'o0' is of type float32, expected int32 or int64"));
  EXPECT_THAT(Node("opennrt.topk").in<float>({2, 3}, six).out<float>({2, 1}).out<std::int64_t>({2, 1}).make_error(),
              HasSubstr("attribute k is missing"));
  EXPECT_THAT(Node("opennrt.topk", {{"k", "4"}})
                  .in<float>({2, 3}, six)
                  .out<float>({2, 3})
                  .out<std::int64_t>({2, 3})
                  .make_error(),
              HasSubstr("attribute k is \"4\", expected a whole number from 1 to 3"));
  EXPECT_THAT(Node("opennrt.gather").in<float>({2, 3}, six).in<float>({1}, {0}).out<float>({1, 3}).make_error(),
              HasSubstr("'i1' is of type float32, expected int32 or int64"));
  EXPECT_THAT(Node("opennrt.gather").in<float>({2, 3}, six).in<std::int64_t>({1}, {0}).out<float>({3, 1}).make_error(),
              HasSubstr("output 'o0' has the shape [3,1], expected [1,3]"));
  EXPECT_THAT(Node("opennrt.gather").in<float>({}, {1}).in<std::int64_t>({1}, {0}).out<float>({1}).make_error(),
              HasSubstr("has no dimension"));
}

}  // namespace
}  // namespace opennrt::cpu
