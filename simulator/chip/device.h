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

  /// Who is at the other end of each link; null: nobody. Before power_on.
  void connect(Device* east, Device* west);
  /// Counts an ECC error; one that was not corrected is reported to the error notification queue of `reader`, the core
  /// that met it, or to all of the device.
  void memory_error(MemoryKind memory, std::uint32_t channel, bool corrected, Core* reader = nullptr);

  // ---- what the host does over its link ----
  std::uint32_t host_read(std::uint32_t bar, std::uint64_t offset) {
    return links_down_ != 0 && link_is_down(kHostLink) ? 0xffff'ffff : register_read(bar, offset);
  }
  void host_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t value) {
    if (links_down_ == 0 || !link_is_down(kHostLink)) register_write(bar, offset, value);
  }
  std::uint32_t config_read(std::uint32_t offset, std::uint32_t bytes) {
    return links_down_ != 0 && link_is_down(kHostLink) ? PciConfig::ones(bytes) : pci_.read(offset, bytes);
  }
  void config_write(std::uint32_t offset, std::uint32_t value, std::uint32_t bytes) {
    if (links_down_ == 0 || !link_is_down(kHostLink)) pci_.write(offset, value, bytes);
  }

  // ---- simulator/faults/chip_faults.cc ----
  enum Link : std::uint32_t { kHostLink = 0, kEastLink = 1, kWestLink = 2 };
  /// For `ns` of simulated time; 0: until the device is reset. Both ends of a link between neighbours see it.
  void take_link_down(Link link, std::uint64_t ns);
  /// A reset, unless nobody can be asked for it: then false.
  bool reset_by_firmware(std::uint32_t core_map);

 private:
  /// What [address, address + bytes) is to this chip and to its neighbours.
  Target local(std::uint64_t address, std::uint64_t bytes);
  bool core_answers(std::uint32_t core) const { return (mailbox_.in_reset() >> core & 1) == 0; }
  std::uint32_t apb_read(std::uint64_t offset);
  void apb_write(std::uint64_t offset, std::uint32_t value);
  std::byte* dram(std::uint64_t bar4_offset);
  bool link_is_down(Link link);     ///< ends it when its time is over
  std::uint32_t down_neighbours();  ///< kFwEastLink, kFwWestLink

  Context& context_;
  const std::uint32_t index_;
  Links links_;
  std::array<std::unique_ptr<Core>, inf1::kCoresPerDevice> cores_;
  std::array<std::unique_ptr<DmaEngine>, inf1::kDmaEnginesPerDevice> dma_;
  std::array<Mapping, inf1::kDramChannels> dram_;
  Mailbox mailbox_;
  PciConfig pci_;
  Device *east_ = nullptr, *west_ = nullptr;
  std::uint32_t links_down_ = 0;                              ///< bit per Link
  std::array<std::uint64_t, 3> links_return_ps_{};            ///< 0: when the device is reset
  std::unordered_map<std::uint64_t, std::uint32_t> storage_;  ///< PUTILS and TDMA registers without a function here
};

}  // namespace opennrt::sim
