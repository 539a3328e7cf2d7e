// SPDX-License-Identifier: Apache-2.0
#include "models/lower/constants.h"

#include <bit>
#include <cstring>

namespace opennrt::compile::lower {

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

std::vector<std::byte> pack(std::span<const float> values, isa::DataType dtype) {
  std::vector<std::byte> bytes(values.size() * isa::data_type_bytes(dtype));
  if (dtype == isa::DataType::kFp32) {
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = to_bf16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &half, 2);
  }
  return bytes;
}

}  // namespace opennrt::compile::lower
