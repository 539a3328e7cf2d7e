// SPDX-License-Identifier: Apache-2.0
//
// Which bytes an operand touches: arithmetic that validator and engines share.
#pragma once

#include <array>
#include <cstdint>

#include "core/isa/isa.h"

namespace opennrt::isa {

/// Bytes of each partition that an operand touches lie in [begin, end); begin may be negative when it is out of bounds.
struct Footprint {
  std::int64_t begin = 0, end = 0;
};

/// Counts must be at least 1. The range is tight: its first and last byte are touched.
inline Footprint footprint(const Operand& operand, const std::array<std::uint16_t, 4>& counts) {
  const auto bytes = static_cast<std::int64_t>(data_type_bytes(operand.dtype));
  std::int64_t low = 0, high = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::int64_t reach = static_cast<std::int64_t>(operand.steps[i]) * (static_cast<std::int64_t>(counts[i]) - 1);
    (reach < 0 ? low : high) += reach;
  }
  return {static_cast<std::int64_t>(operand.offset) + low * bytes,
          static_cast<std::int64_t>(operand.offset) + (high + 1) * bytes};
}

inline std::uint32_t bytes_per_partition(Space space, const Limits& limits) {
  return space == Space::kSbuf ? limits.sbuf_bytes_per_partition : limits.psum_bytes_per_partition;
}

/// No instruction walks more elements of a partition than this: repeated elements (step 0) would otherwise let one instruction
/// stand for any amount of work. It is the number of bytes that an offset can name.
inline constexpr std::uint64_t kMaxElements = 1u << 17;

/// Elements of each partition: the product of the counts.
inline std::uint64_t element_count(const std::array<std::uint16_t, 4>& counts) {
  return std::uint64_t{counts[0]} * counts[1] * counts[2] * counts[3];
}

}  // namespace opennrt::isa
