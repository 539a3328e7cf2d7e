// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace opennrt::neuron {

Device::Device(File file, std::uint32_t number, const Features& features, const driver::Log& log, bool polls)
    : file_(std::move(file)), number_(number), features_(features), log_(log) {
  paravirtual::Hello hello{};
  // Drivers without DRIVER_INFO may give a queue to the next who asks as it is, and then an emulator's count of what is in
  // it, by which it would let us wait, is not ours.
  const bool waits = !polls && features_.driver_info;
  hello.version = waits ? paravirtual::kVersion : 0;
  // The real driver does not know this request, and so is told from an emulator.
  if (file_.request(paravirtual::kHello, &hello) != 0 || hello.version < paravirtual::kVersion) return;
  emulator_ = hello;
  paravirtual_ = waits;
}

Device::~Device() {
  forget();
}

void Device::forget() {
  for (std::uint32_t core = 0; core < kCores; ++core) {
    for (std::uint32_t type = 0; type < inf1::kNotificationTypes; ++type) {
      for (std::uint32_t engine = 0; engine < inf1::kNotificationEngines; ++engine)
        nq_destroy(core, static_cast<opennrt_nq_type_t>(type), engine);
    }
  }
  for (;;) {
    opennrt_mem_t handle = 0;
    {
      const std::lock_guard guard(memory_mutex_);
      if (memories_.empty()) break;
      handle = memories_.begin()->first;
    }
    if (mem_free(handle) == 0) continue;
    const std::lock_guard guard(memory_mutex_);
    memories_.erase(handle);
  }
  for (;;) {
    void* address = nullptr;
    {
      const std::lock_guard guard(counters_mutex_);
      if (counters_.empty()) break;
      address = counters_.begin()->first;
    }
    counters_unmap(address);
  }
}

int Device::describe() {
  const std::lock_guard guard(info_mutex_);
  if (info_) return 0;
  abi::DeviceInfo info{};
  if (const int error = file_.request(abi::kDeviceInfo, &info); error != 0) return error;
  info_ = info;
  return 0;
}

int Device::info(opennrt_device_info_t& info) {
  info = {};
  if (const int error = describe(); error != 0) return error;
  info.architecture = info_->architecture;
  info.revision = info_->revision;
  info.core_count = kCores;
  info.first_core = number_ * kCores;
  info.dram_channels = inf1::kDramChannels;
  info.dram_channel_bytes = inf1::kDramChannelSize;
  info.dram_regions = inf1::kDramRegions;
  info.dma_engines_per_core = inf1::kDmaEnginesPerCore;
  info.queues_per_dma_engine = inf1::kQueuesPerDmaEngine;
  // The driver numbers the neighbours as the host does.
  const std::int64_t shift = std::int64_t{host_number().value_or(number_)} - number_;
  for (std::uint32_t i = 0; i < std::min(info_->connected_device_count, abi::kMaxConnectedDevices); ++i) {
    const std::int64_t neighbour = std::int64_t{info_->connected_devices[i]} - shift;
    if (neighbour >= 0 && neighbour < OPENNRT_MAX_DEVICES)
      info.connected[info.connected_count++] = static_cast<std::uint32_t>(neighbour);
  }
  abi::DeviceBdfExt place{};  // nd_index 0: relative to the opened device
  if (file_.request(abi::kDeviceBdfExt, &place) == 0) {
    info.pci_domain = place.domain;
    info.pci_bus = place.bus_number;
    info.pci_slot = place.slot;
    info.pci_function = place.func;
  } else if (abi::DeviceBdf old{}; file_.request(abi::kDeviceBdf, &old) == 0) {
    info.pci_bus = old.bus_number;
    info.pci_slot = old.slot;
    info.pci_function = old.func;
  }
  std::string type = instance_type(file_.system());
  if (emulator_) {
    type.assign(emulator_->instance_type, strnlen(emulator_->instance_type, sizeof(emulator_->instance_type)));
    info.open_isa_version = emulator_->open_isa_version;
    info.sbuf_bytes_per_partition = emulator_->sbuf_bytes_per_partition;
    info.psum_bytes_per_partition = emulator_->psum_bytes_per_partition;
  }
  std::memcpy(info.instance_type, type.data(), std::min(type.size(), sizeof(info.instance_type) - 1));
  info.virtual_time = paravirtual_;
  return 0;
}

std::optional<std::uint32_t> Device::host_number() {
  abi::HostDeviceId id{};
  if (file_.request(abi::kHostDeviceId, &id) != 0) return std::nullopt;
  return id.host_device_id;
}

}  // namespace opennrt::neuron
