// SPDX-License-Identifier: Apache-2.0
//
// The chip file (simulator/chips/inf1.json) as numbers: no size, clock or latency of the machine is in code.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/common/error.h"
#include "core/isa/inf1.h"
#include "core/isa/isa.h"
#include "simulator/chip/stats.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

/// Rates are kept as picoseconds per byte: time is counted in picoseconds, the resolution of the SystemC kernel.
struct ChipConfig {
  std::string instance;  ///< full name, "inf1.xlarge"
  std::uint32_t devices = 1;
  isa::Limits limits;
  CostModel cost;
  std::uint32_t fifo_bytes = 0;   ///< instruction FIFO of one engine
  std::uint32_t fetch_bytes = 0;  ///< room that a full FIFO must have before it takes more
  std::uint64_t dram_channel_bytes = 0;
  double dma_queue_ps_per_byte = 0, dma_engine_ps_per_byte = 0;
  std::uint64_t dma_start_ps = 0, dma_descriptor_ps = 0, dma_barrier_ps = 0;
  double dram_ps_per_byte = 0;  ///< of one channel
  double host_ps_per_byte = 0;  ///< of one direction
  std::uint64_t host_latency_ps = 0;
  double neighbour_ps_per_byte = 0;  ///< of one direction of one link
  std::uint64_t neighbour_latency_ps = 0;
  std::uint8_t pci_revision = 0;
  std::uint64_t pci_bar4_bytes = 0;
  std::uint32_t firmware_api_version = 0;
  std::uint64_t serial_number = 0;  ///< of device 0
  std::uint64_t mailbox_ps = 0, device_reset_ps = 0, core_reset_ps = 0;

  /// bf16 products and sums of one core's array; bytes that the core's three DMA engines get from both DRAM channels.
  Roof roof() const {
    constexpr double kOperationsPerMac = 2, kPsPerNs = 1000;
    return {
        kOperationsPerMac * limits.pe_rows * limits.pe_columns * cost.clock_ghz,
        kPsPerNs * std::min(inf1::kDmaEnginesPerCore / dma_engine_ps_per_byte, inf1::kDramChannels / dram_ps_per_byte)};
  }
  std::uint64_t cycles_to_ps(std::uint64_t cycles) const {
    return static_cast<std::uint64_t>(static_cast<double>(cycles) * 1000.0 / cost.clock_ghz + 0.5);
  }
  std::uint64_t ps_to_cycles(std::uint64_t ps) const {
    return static_cast<std::uint64_t>(static_cast<double>(ps) * cost.clock_ghz / 1000.0 + 0.5);
  }
};

/// Reads `chips_dir`/inf1.json for an instance type ("inf1.6xlarge" or "6xlarge"). kInvalidArgument names the file,
/// the field, its value and what was expected.
Result<ChipConfig> load_chip_config(const std::string& chips_dir, const std::string& instance);

}  // namespace opennrt::sim
