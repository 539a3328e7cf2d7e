// SPDX-License-Identifier: Apache-2.0
//
// One Inferentia chip: address map, registers, DRAM, four cores, twelve DMA engines.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/isa/inf1.h"
#include "simulator/chip/bus.h"
#include "simulator/chip/core.h"
#include "simulator/chip/pci_config.h"
#include "simulator/dma/udma.h"
#include "simulator/firmware/mailbox.h"
#include "simulator/machine.h"
#include "simulator/memory/mapping.h"

namespace opennrt::sim {

class Device : public Bus {
 public:
  /// Builds the SystemC processes: during elaboration only.
  Device(Context& context, std::uint32_t index);

  /// Reserves memories. kResource when the system has no address space left.
  Status power_on();
  void power_off();
  /// Bit per core; 0xffffffff: everything but DRAM.
  void reset(std::uint32_t core_map);

  /// BAR access of the host; 0xffffffff where nobody answers.
  std::uint32_t register_read(std::uint32_t bar, std::uint64_t offset) override;
  void register_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t value) override;

  Target resolve(std::uint64_t address, std::uint64_t bytes) override;
  bool write(std::uint64_t address, std::span<const std::byte> data) override;

  Core& core(std::uint32_t index) { return *cores_[index]; }
  DmaEngine& dma_engine(std::uint32_t index) { return *dma_[index]; }
  std::string describe_core(std::uint32_t core);
  PciConfig& pci() { return pci_; }

  /// Who is at the other end of each link; null: nobody. Before power_on.
  void connect(Device* east, Device* west);
  /// Counts an ECC error; one that was not corrected is reported to the device's error notification queues.
  void memory_error(MemoryKind memory, std::uint32_t channel, bool corrected);

 private:
  /// What [address, address + bytes) is to this chip and to its neighbours.
  Target local(std::uint64_t address, std::uint64_t bytes);
  bool core_answers(std::uint32_t core) const { return (mailbox_.in_reset() >> core & 1) == 0; }
  std::uint32_t apb_read(std::uint64_t offset);
  void apb_write(std::uint64_t offset, std::uint32_t value);
  std::byte* dram(std::uint64_t bar4_offset);

  Context& context_;
  const std::uint32_t index_;
  Links links_;
  std::array<std::unique_ptr<Core>, inf1::kCoresPerDevice> cores_;
  std::array<std::unique_ptr<DmaEngine>, inf1::kDmaEnginesPerDevice> dma_;
  std::array<Mapping, inf1::kDramChannels> dram_;
  Mailbox mailbox_;
  PciConfig pci_;
  Device *east_ = nullptr, *west_ = nullptr;
  std::unordered_map<std::uint64_t, std::uint32_t> storage_;  ///< PUTILS and TDMA registers without a function here
};

}  // namespace opennrt::sim
