// SPDX-License-Identifier: Apache-2.0
//
// ONNX ArgMax and TopK. Of equal values the one with the lower index comes first. NaN, which ONNX leaves open, counts as
// larger than every number, as in NumPy.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/cpu/attributes.h"

namespace opennrt::cpu {
namespace {

template <typename T>
bool greater(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a)) return !std::isnan(b);
    if (std::isnan(b)) return false;
  }
  return a > b;
}

void put_index(std::span<std::byte> to, Type type, std::size_t at, std::size_t index) {
  if (type == Type::kInt32)
    elements<std::int32_t>(to)[at] = static_cast<std::int32_t>(index);
  else
    elements<std::int64_t>(to)[at] = static_cast<std::int64_t>(index);
}

class ArgMax final : public Function {
 public:
  ArgMax(Axis axis, Type type, Type index_type) : axis_(axis), type_(type), index_type_(index_type) {}

  Status run(std::span<const std::span<const std::byte>> inputs,
             std::span<const std::span<std::byte>> outputs) const override {
    with_type(type_, [&]<typename T>(T) {
      const auto data = elements<T>(inputs[0]);
      for (std::size_t o = 0; o < axis_.outer; ++o)
        for (std::size_t i = 0; i < axis_.inner; ++i) {
          const std::size_t base = o * axis_.length * axis_.inner + i;
          std::size_t best = 0;
          for (std::size_t k = 1; k < axis_.length; ++k)
            if (greater(data[base + k * axis_.inner], data[base + best * axis_.inner])) best = k;
          put_index(outputs[0], index_type_, o * axis_.inner + i, best);
        }
    });
    return {};
  }

 private:
  Axis axis_;
  Type type_, index_type_;
};

class TopK final : public Function {
 public:
  TopK(Axis axis, Type type, Type index_type, std::size_t k, bool largest)
      : axis_(axis), type_(type), index_type_(index_type), k_(k), largest_(largest) {}

  Status run(std::span<const std::span<const std::byte>> inputs,
             std::span<const std::span<std::byte>> outputs) const override {
    with_type(type_, [&]<typename T>(T) {
      const auto data = elements<T>(inputs[0]);
      const auto values = elements<T>(outputs[0]);
      std::vector<std::size_t> order(axis_.length);
      for (std::size_t o = 0; o < axis_.outer; ++o)
        for (std::size_t i = 0; i < axis_.inner; ++i) {
          const auto at = [&](std::size_t k) { return data[(o * axis_.length + k) * axis_.inner + i]; };
          std::iota(order.begin(), order.end(), std::size_t{0});
          const auto before = [&](std::size_t a, std::size_t b) {
            const T x = at(a), y = at(b);
            if (largest_ ? greater(x, y) : greater(y, x)) return true;
            if (largest_ ? greater(y, x) : greater(x, y)) return false;
            return a < b;
          };
          std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k_), order.end(), before);
          for (std::size_t k = 0; k < k_; ++k) {
            const std::size_t to = (o * k_ + k) * axis_.inner + i;
            values[to] = at(order[k]);
            put_index(outputs[1], index_type_, to, order[k]);
          }
        }
    });
    return {};
  }

 private:
  Axis axis_;
  Type type_, index_type_;
  std::size_t k_;
  bool largest_;
};

/// An index must fit the type it is put out in.
void check_index_range(Checker& checker, std::size_t length, Type index_type) {
  if (index_type == Type::kInt32 && length > std::size_t{INT32_MAX})
    checker.fail(ErrorCode::kInvalidFile, "the axis has {} elements, whose indices do not fit int32", length);
}

}  // namespace

std::unique_ptr<Function> make_argmax(Checker& checker) {
  checker.expect(1, 1, {"axis", "keepdims"});
  if (!checker.ok()) return nullptr;
  std::vector<std::uint32_t> shape = checker.inputs()[0].shape;
  const Type type = checker.input_type(0), index_type = checker.index_type(checker.node().outputs[0]);
  const std::size_t axis = checker.axis(shape.size(), 0);
  const bool keep = checker.number("keepdims", 1, 0, 1) != 0;
  if (!checker.ok()) return nullptr;
  const Axis along = Checker::along(shape, axis);
  check_index_range(checker, along.length, index_type);
  if (keep)
    shape[axis] = 1;
  else
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  checker.expect_shape(0, shape);
  return std::make_unique<ArgMax>(along, type, index_type);
}

std::unique_ptr<Function> make_topk(Checker& checker) {
  checker.expect(1, 2, {"axis", "k", "largest"});
  if (!checker.ok()) return nullptr;
  std::vector<std::uint32_t> shape = checker.inputs()[0].shape;
  const Type type = checker.input_type(0), index_type = checker.index_type(checker.node().outputs[1]);
  if (checker.output_type(0) != type)
    checker.fail(ErrorCode::kInvalidFile, "output '{}' is of type {}, expected that of the input, {}",
                 checker.node().outputs[0].name, checker.node().outputs[0].dtype, checker.inputs()[0].dtype);
  const std::size_t axis = checker.axis(shape.size(), -1);
  const bool largest = checker.number("largest", 1, 0, 1) != 0;
  if (!checker.ok()) return nullptr;
  const Axis along = Checker::along(shape, axis);
  check_index_range(checker, along.length, index_type);
  const auto k = checker.number("k", 1, static_cast<std::int64_t>(along.length));
  shape[axis] = static_cast<std::uint32_t>(k);
  checker.expect_shape(0, shape);
  checker.expect_shape(1, shape);
  return std::make_unique<TopK>(along, type, index_type, static_cast<std::size_t>(k), largest);
}

}  // namespace opennrt::cpu
