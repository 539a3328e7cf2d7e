// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace opennrt::sim {

/// CRC-32C (Castagnoli, reflected, initial value and final inversion 0xffffffff), as the firmware's requests carry it.
constexpr std::uint32_t crc32c(std::span<const std::byte> data) {
  constexpr std::uint32_t kPolynomial = 0x82f6'3b78;
  std::uint32_t crc = 0xffff'ffff;
  for (const std::byte byte : data) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
  }
  return ~crc;
}

}  // namespace opennrt::sim
