// SPDX-License-Identifier: Apache-2.0
//
// What an instruction should do, in plain loops over single elements and in double: nothing of the engines is used here. Each
// element of dst gets an expected value and a tolerance; every other byte must stay as it was.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/isa/isa.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim::testing {

using isa::DataType;
using isa::Instruction;
using isa::Operand;

inline std::size_t bytes_of(DataType t) {
  return t == DataType::kFp32 || t == DataType::kInt32 ? 4 : t == DataType::kBf16 || t == DataType::kFp16 ? 2 : 1;
}

// ---- fp16 and bf16 by their definition: sign, exponent, fraction ----
inline double small_float(std::uint16_t bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
  const int exponent = bits >> fraction_bits & top, fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == top) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}
// The value of the type nearest to x (ties to the even pattern), found by bisection over the positive patterns.
inline double nearest_small(double x, int exponent_bits, int fraction_bits) {
  if (std::isnan(x)) return x;
  const double magnitude = std::fabs(x);
  std::uint16_t low = 0,
                high = static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << fraction_bits);  // 0 .. infinity
  if (std::isinf(x)) return x;
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (small_float(middle, exponent_bits, fraction_bits) <= magnitude ? low : high) = middle;
  }
  const double below = small_float(low, exponent_bits, fraction_bits);
  double above = small_float(high, exponent_bits, fraction_bits);
  // Infinity stands where the next power of two would be.
  const double above_for_distance = std::isinf(above) ? std::ldexp(1.0, 1 << (exponent_bits - 1)) : above;
  const double to_below = magnitude - below, to_above = above_for_distance - magnitude;
  const bool up = to_above < to_below || (to_above == to_below && (low & 1));
  return std::copysign(up ? above : below, x);
}

/// `x` as the type would hold it; x is a float's value where the engine computes in float.
inline double rounded(double x, DataType t) {
  const auto integer = [x](double low, double high) {
    if (std::isnan(x)) return 0.0;
    return std::min(high, std::max(low, std::nearbyint(x)));
  };
  switch (t) {
    case DataType::kFp32:
      return static_cast<float>(x);
    case DataType::kBf16:
      return nearest_small(x, 8, 7);
    case DataType::kFp16:
      return nearest_small(x, 5, 10);
    case DataType::kInt8:
      return integer(-128, 127);
    case DataType::kUint8:
      return integer(0, 255);
    case DataType::kInt32:
      return integer(-2147483648.0, 2147483647.0);
  }
  return 0;
}

/// The pattern of a value that fp16 has.
inline std::uint16_t fp16_pattern(double exact) {
  static const auto patterns = [] {
    std::map<double, std::uint16_t> all;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const double value = small_float(static_cast<std::uint16_t>(bits), 5, 10);
      if (!std::isnan(value)) all.emplace(value, static_cast<std::uint16_t>(bits));
    }
    return all;
  }();
  return std::isnan(exact) ? std::uint16_t{0x7e00} : patterns.at(exact);
}

/// SBUF and PSUM of a core, filled with reproducible bytes.
struct Memory {
  std::vector<std::byte> sbuf, psum;
  isa::Limits limits;

  explicit Memory(std::uint32_t seed) {
    limits.sbuf_bytes_per_partition = 8 * 1024;  // small: whole memories are compared
    limits.psum_bytes_per_partition = 4 * 1024;
    // Filling a memory costs more than most instructions: each seed's bytes are made once.
    static std::map<std::uint32_t, std::array<std::vector<std::byte>, 2>> images;
    auto& image = images[seed];
    if (image[0].empty()) {
      std::mt19937 random(seed);
      image[0].resize(128 * limits.sbuf_bytes_per_partition);
      image[1].resize(128 * limits.psum_bytes_per_partition);
      for (auto& space : image) {
        for (auto& b : space) b = static_cast<std::byte>(random());
      }
    }
    sbuf = image[0];
    psum = image[1];
  }
  CoreMemory core() { return {sbuf.data(), psum.data(), limits}; }

  std::size_t index(const Operand& o, std::size_t p, const std::array<int, 4>& i) const {
    const std::size_t stride =
        o.space == isa::Space::kSbuf ? limits.sbuf_bytes_per_partition : limits.psum_bytes_per_partition;
    long element = 0;
    for (int d = 0; d < 4; ++d)
      element += static_cast<long>(i[static_cast<std::size_t>(d)]) * o.steps[static_cast<std::size_t>(d)];
    return (o.partition + p) * stride + o.offset +
           static_cast<std::size_t>(element * static_cast<long>(bytes_of(o.dtype)));
  }
  std::vector<std::byte>& space(const Operand& o) { return o.space == isa::Space::kSbuf ? sbuf : psum; }
  const std::vector<std::byte>& space(const Operand& o) const { return o.space == isa::Space::kSbuf ? sbuf : psum; }

  double get(const Operand& o, std::size_t p, const std::array<int, 4>& i) const { return get_at(o, index(o, p, i)); }
  double get_at(const Operand& o, std::size_t at) const {
    const std::byte* from = space(o).data() + at;
    const auto as = [from]<typename T>(T value) {
      std::memcpy(&value, from, sizeof value);
      return value;
    };
    switch (o.dtype) {
      case DataType::kFp32:
        return as(float{});
      case DataType::kBf16:
        return small_float(as(std::uint16_t{}), 8, 7);
      case DataType::kFp16:
        return small_float(as(std::uint16_t{}), 5, 10);
      case DataType::kInt8:
        return as(std::int8_t{});
      case DataType::kUint8:
        return as(std::uint8_t{});
      case DataType::kInt32:
        return as(std::int32_t{});
    }
    return 0;
  }
  /// Stores a value that the type can hold (only for preparing sources).
  void set(const Operand& o, std::size_t p, const std::array<int, 4>& i, double value) {
    std::byte* to = space(o).data() + index(o, p, i);
    const auto as = [to](auto v) { std::memcpy(to, &v, sizeof v); };
    const double exact = rounded(value, o.dtype);
    switch (o.dtype) {
      case DataType::kFp32:
        return as(static_cast<float>(exact));
      case DataType::kBf16:
        return as(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(exact)) >> 16));
      case DataType::kFp16:
        return as(fp16_pattern(exact));
      case DataType::kInt8:
        return as(static_cast<std::int8_t>(exact));
      case DataType::kUint8:
        return as(static_cast<std::uint8_t>(exact));
      case DataType::kInt32:
        return as(static_cast<std::int32_t>(exact));
    }
  }
};

/// Visits (i0, i1, i2, i3), innermost fastest, as the instruction does.
template <typename F>
void each(const std::array<std::uint16_t, 4>& counts, F f) {
  for (int d = 0; d < counts[3]; ++d)
    for (int c = 0; c < counts[2]; ++c)
      for (int b = 0; b < counts[1]; ++b)
        for (int a = 0; a < counts[0]; ++a) f(std::array<int, 4>{a, b, c, d});
}

struct Expected {
  double value = 0, tolerance = 0;
};
/// byte index in dst's space -> what must be there.
using Expectations = std::map<std::size_t, Expected>;

/// "" when `after` is `before` with exactly the expected elements of dst in it. Rounding is monotonic: a result between the
/// rounded ends of [value - tolerance, value + tolerance] is right, and with tolerance 0 only one value is.
inline std::string compare(const Memory& before, const Memory& after, const Operand& dst,
                           const Expectations& expected) {
  Memory patched = before;
  for (const auto& [at, e] : expected) {
    std::memcpy(patched.space(dst).data() + at, after.space(dst).data() + at, bytes_of(dst.dtype));
  }
  if (std::memcmp(patched.sbuf.data(), after.sbuf.data(), after.sbuf.size()) != 0)
    return "SBUF was changed outside of dst";
  if (std::memcmp(patched.psum.data(), after.psum.data(), after.psum.size()) != 0)
    return "PSUM was changed outside of dst";
  for (const auto& [at, e] : expected) {
    const double got = after.get_at(dst, at);
    if (std::isnan(e.value)) {
      if (isa::DataType t = dst.dtype; t == DataType::kInt8 || t == DataType::kUint8 || t == DataType::kInt32) {
        if (got != 0) return "NaN became " + std::to_string(got);
      } else if (!std::isnan(got)) {
        return "expected NaN at byte " + std::to_string(at) + ", got " + std::to_string(got);
      }
      continue;
    }
    const double low = rounded(e.value - e.tolerance, dst.dtype), high = rounded(e.value + e.tolerance, dst.dtype);
    if (!(got >= low && got <= high)) {
      return "byte " + std::to_string(at) + ": got " + std::to_string(got) + ", expected " + std::to_string(low) +
             " to " + std::to_string(high);
    }
  }
  return "";
}

}  // namespace opennrt::sim::testing
