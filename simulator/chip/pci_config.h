// SPDX-License-Identifier: Apache-2.0
//
// PCI configuration space of a chip: a type 0 header, memory BARs 0 (registers), 2 (core windows) and 4 (DRAM), no
// capabilities and no interrupt: the driver uses none on this generation.
#pragma once

#include <array>
#include <cstdint>

namespace opennrt::sim {

class PciConfig {
 public:
  static constexpr std::uint32_t kBytes = 256;

  void power_on(std::uint8_t revision, std::uint64_t bar4_bytes);
  /// See Machine::config_read.
  std::uint32_t read(std::uint32_t offset, std::uint32_t bytes) const;
  void write(std::uint32_t offset, std::uint32_t value, std::uint32_t bytes);
  static std::uint32_t ones(std::uint32_t bytes) { return bytes >= 4 ? 0xffff'ffffu : (1u << bytes * 8) - 1; }

 private:
  static bool valid(std::uint32_t offset, std::uint32_t bytes);

  std::array<std::uint32_t, kBytes / 4> words_{};
  std::array<std::uint32_t, kBytes / 4> writable_{};  ///< bits that the host may change
};

}  // namespace opennrt::sim
