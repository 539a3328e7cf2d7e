// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/device.h"

#include <algorithm>
#include <cstring>

#include "core/isa/isa.h"

namespace opennrt::driver {

namespace {

std::array<DramPool, inf1::kDramRegions> regions(std::uint32_t channel, std::uint64_t channel_bytes) {
  const std::uint64_t bytes = channel_bytes / inf1::kDramRegions / kPoolPage * kPoolPage;
  const auto pool = [&](std::uint64_t region) {
    return DramPool(inf1::kDramChannelBase[channel] + region * bytes, bytes);
  };
  return {pool(0), pool(1), pool(2), pool(3)};
}

}  // namespace

Device::Device(Platform& platform, std::uint32_t number)
    : platform_(platform),
      number_(number),
      pools_{regions(0, platform.machine->facts().dram_channel_bytes),
             regions(1, platform.machine->facts().dram_channel_bytes)},
      copies_{CopyRing(platform, number, 0), CopyRing(platform, number, 1), CopyRing(platform, number, 2),
              CopyRing(platform, number, 3)} {}

Device::~Device() {
  // What the caller forgot goes with us: first the device must stop using it. DRAM keeps its bytes, as real memory
  // does.
  std::uint32_t request = 0;
  reset_start(0xffff'ffff, request);
}

void Device::info(opennrt_device_info_t& info) const {
  const sim::ChipFacts& facts = platform_.machine->facts();
  info = {};
  info.architecture = 1;  // NEURON_ARCH_V1, aws-neuron-driver share/neuron_driver_shared.h
  info.revision = facts.pci_revision;
  info.core_count = facts.cores_per_device;
  info.first_core = number_ * facts.cores_per_device;
  info.dram_channels = inf1::kDramChannels;
  info.dram_channel_bytes = facts.dram_channel_bytes;
  info.dma_engines_per_core = inf1::kDmaEnginesPerCore;
  info.queues_per_dma_engine = inf1::kQueuesPerDmaEngine;
  // A chain (inf1-arch.rst); the east neighbour first, as the driver finds them (v1/neuron_dhal_v1.c).
  if (number_ + 1 < facts.devices) info.connected[info.connected_count++] = number_ + 1;
  if (number_ > 0) info.connected[info.connected_count++] = number_ - 1;
  // Chosen by us, stable: the last slots of bus 0, where EC2 shows its devices.
  info.pci_slot = static_cast<std::uint8_t>(0x20 - facts.devices + number_);
  const std::string type = facts.instance.starts_with("inf1.") ? facts.instance : "inf1." + facts.instance;
  std::memcpy(info.instance_type, type.data(), std::min(type.size(), sizeof(info.instance_type) - 1));
  info.open_isa_version = isa::kVersion;
  info.sbuf_bytes_per_partition = facts.limits.sbuf_bytes_per_partition;
  info.psum_bytes_per_partition = facts.limits.psum_bytes_per_partition;
  info.virtual_time = true;
  info.dram_regions = inf1::kDramRegions;
}

}  // namespace opennrt::driver
