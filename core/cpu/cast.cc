// SPDX-License-Identifier: Apache-2.0
//
// ONNX Cast between float32, int32 and int64. Floats lose their fraction; what ONNX leaves open is: a float beyond the
// integers becomes the nearest one there is, NaN becomes 0, int64 keeps its low 32 bits in int32.
#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "core/cpu/attributes.h"

namespace opennrt::cpu {
namespace {

template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // 2^31 and 2^63 are exact as floats; the largest integers are not.
    constexpr From kEnd = static_cast<From>(std::uint64_t{1} << (sizeof(To) * 8 - 1));
    if (std::isnan(value)) return 0;
    if (value >= kEnd) return std::numeric_limits<To>::max();
    if (value < -kEnd) return std::numeric_limits<To>::min();
  }
  return static_cast<To>(value);
}

class Cast final : public Function {
 public:
  Cast(Type from, Type to) : from_(from), to_(to) {}

  Status run(std::span<const std::span<const std::byte>> inputs,
             std::span<const std::span<std::byte>> outputs) const override {
    with_type(from_, [&]<typename From>(From) {
      with_type(to_, [&]<typename To>(To) {
        const auto from = elements<From>(inputs[0]);
        const auto to = elements<To>(outputs[0]);
        Eigen::Map<const Eigen::Array<From, Eigen::Dynamic, 1>> source(from.data(),
                                                                       static_cast<Eigen::Index>(from.size()));
        Eigen::Map<Eigen::Array<To, Eigen::Dynamic, 1>> target(to.data(), static_cast<Eigen::Index>(to.size()));
        target = source.unaryExpr([](From value) { return convert<To>(value); });
      });
    });
    return {};
  }

 private:
  Type from_, to_;
};

}  // namespace

std::unique_ptr<Function> make_cast(Checker& checker) {
  checker.expect(1, 1, {});
  if (!checker.ok()) return nullptr;
  checker.expect_shape(0, checker.inputs()[0].shape);
  return std::make_unique<Cast>(checker.input_type(0), checker.output_type(0));
}

}  // namespace opennrt::cpu
