// SPDX-License-Identifier: Apache-2.0
//
// Conversions between the element types and float, and the loops that the engines are made of. Loops carry `ivdep` because an
// output row is either a source row itself (in place) or apart from it: see rows.h.
#pragma once

#include <Eigen/Core>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/isa/isa.h"

namespace opennrt::sim {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <typename T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

/// Rounds to the nearest integer, ties to even, without a library call: a sum of 2^23 and more has no fraction bits. Floats of
/// that magnitude are integers already.
inline float round_even(float x) {
  constexpr float kNoFraction = 8388608.0f;
  const float magnitude = std::fabs(x);
  const float rounded = std::copysign((magnitude + kNoFraction) - kNoFraction, x);
  return magnitude < kNoFraction ? rounded : x;
}

/// A type of the instruction set: its storage, and conversion from and to float (both exact or rounded to nearest even).
struct Fp32 {
  using Storage = float;
  static float to_float(float v) { return v; }
  static float from_float(float v) { return v; }
};
struct Bf16 {
  using Storage = std::uint16_t;
  static float to_float(std::uint16_t v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); }
  static std::uint16_t from_float(float v) {
    const auto bits = std::bit_cast<std::uint32_t>(v);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding could carry a NaN's payload into the sign: keep it, made quiet.
    return static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16 | 0x40) : rounded);
  }
};
struct Fp16 {
  using Storage = std::uint16_t;
  static float to_float(std::uint16_t v) {
    return Eigen::half_impl::half_to_float(Eigen::half_impl::raw_uint16_to_half(v));
  }
  static std::uint16_t from_float(float v) { return Eigen::half_impl::float_to_half_rtne(v).x; }
};
/// Integers saturate; NaN becomes 0.
template <typename T>
struct Integer {
  using Storage = T;
  static float to_float(T v) { return static_cast<float>(v); }
  static T from_float(float v) {
    constexpr float kLow = static_cast<float>(std::numeric_limits<T>::min());
    // The largest int32 is no float; the next float below it is 2^31 - 128.
    constexpr float kHigh = sizeof(T) == 4 ? 2147483520.0f : static_cast<float>(std::numeric_limits<T>::max());
    const float r = round_even(v);
    if constexpr (sizeof(T) == 4) {
      return r != r      ? T{0}
             : r > kHigh ? std::numeric_limits<T>::max()
             : r < kLow  ? std::numeric_limits<T>::min()
                         : static_cast<T>(r);
    } else {
      const float clamped = r != r ? 0.0f : r > kHigh ? kHigh : r < kLow ? kLow : r;
      return static_cast<T>(static_cast<std::int32_t>(clamped));
    }
  }
};
using Int8 = Integer<std::int8_t>;
using Uint8 = Integer<std::uint8_t>;
using Int32 = Integer<std::int32_t>;

/// Calls f with the type's struct: one switch per row, none per element.
template <typename F>
auto with_type(isa::DataType type, F&& f) {
  switch (type) {
    case isa::DataType::kBf16:
      return f(Bf16{});
    case isa::DataType::kFp16:
      return f(Fp16{});
    case isa::DataType::kInt8:
      return f(Int8{});
    case isa::DataType::kInt32:
      return f(Int32{});
    case isa::DataType::kUint8:
      return f(Uint8{});
    case isa::DataType::kFp32:
      break;
  }
  return f(Fp32{});
}
inline bool is_float(isa::DataType type) {
  return type == isa::DataType::kFp32 || type == isa::DataType::kBf16 || type == isa::DataType::kFp16;
}

inline bool has_nan(const float* x, std::size_t n) {
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < n; ++i) found |= static_cast<std::uint32_t>(x[i] != x[i]);
  return found != 0;
}

// ALU operators. Comparisons give 1 or 0. The larger and the smaller of two are NaN when one of them is.
struct Bypass {
  static float apply(float a, float) { return a; }
};
struct Add {
  static float apply(float a, float b) { return a + b; }
};
struct Subtract {
  static float apply(float a, float b) { return a - b; }
};
struct Mult {
  static float apply(float a, float b) { return a * b; }
};
struct Max {
  static float apply(float a, float b) { return (a > b || a != a) ? a : b; }
};
struct Min {
  static float apply(float a, float b) { return (a < b || a != a) ? a : b; }
};
struct Divide {
  static float apply(float a, float b) { return a / b; }
};
struct ReverseSubtract {
  static float apply(float a, float b) { return b - a; }
};
struct ReverseDivide {
  static float apply(float a, float b) { return b / a; }
};
struct IsGreaterEqual {
  static float apply(float a, float b) { return a >= b ? 1.0f : 0.0f; }
};
struct IsEqual {
  static float apply(float a, float b) { return a == b ? 1.0f : 0.0f; }
};

/// Calls f with the operator's struct. kAverage is an addition here; its division is the reduction's.
template <typename F>
auto with_alu(std::uint8_t op, F&& f) {
  switch (static_cast<isa::Alu>(op)) {
    case isa::Alu::kAdd:
    case isa::Alu::kAverage:
      return f(Add{});
    case isa::Alu::kSubtract:
      return f(Subtract{});
    case isa::Alu::kMult:
      return f(Mult{});
    case isa::Alu::kMax:
      return f(Max{});
    case isa::Alu::kMin:
      return f(Min{});
    case isa::Alu::kDivide:
      return f(Divide{});
    case isa::Alu::kReverseSubtract:
      return f(ReverseSubtract{});
    case isa::Alu::kReverseDivide:
      return f(ReverseDivide{});
    case isa::Alu::kIsGreaterEqual:
      return f(IsGreaterEqual{});
    case isa::Alu::kIsEqual:
      return f(IsEqual{});
    case isa::Alu::kBypass:
      break;
  }
  return f(Bypass{});
}

/// out[i] = op(a[i], b[i]); out may be a or b.
template <typename Op>
void zip(const float* a, const float* b, float* out, std::size_t n, Op) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) out[i] = Op::apply(a[i], b[i]);
}
/// out[i] = op(a[i], b); out may be a.
template <typename Op>
void zip_scalar(const float* a, float b, float* out, std::size_t n, Op) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) out[i] = Op::apply(a[i], b);
}

}  // namespace opennrt::sim
