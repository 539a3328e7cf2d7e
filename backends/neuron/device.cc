// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace opennrt::neuron {

bool describe(const File& control, std::uint32_t first, std::uint32_t number, const Features& features,
              const paravirtual::Hello* emulator, opennrt_device_info_t& info) {
  info = {};
  info.architecture = features.architecture;
  info.revision = features.revision;
  info.core_count = inf1::kCoresPerDevice;
  info.first_core = number * inf1::kCoresPerDevice;
  info.dram_channels = inf1::kDramChannels;
  info.dram_channel_bytes = inf1::kDramChannelSize;
  info.dram_regions = inf1::kDramRegions;
  info.dma_engines_per_core = inf1::kDmaEnginesPerCore;
  info.queues_per_dma_engine = inf1::kQueuesPerDmaEngine;
  abi::DeviceBdfExt place{};
  place.nd_index = number - first;  // relative to the device whose file is asked (ncdev_device_bdf_ext)
  const bool placed = control.request(abi::kDeviceBdfExt, &place) == 0;
  if (placed) {
    info.pci_domain = place.domain;
    info.pci_bus = place.bus_number;
    info.pci_slot = place.slot;
    info.pci_function = place.func;
  }
  std::string type = instance_type(control.system());
  if (emulator != nullptr) {
    type.assign(emulator->instance_type, strnlen(emulator->instance_type, sizeof(emulator->instance_type)));
    info.open_isa_version = emulator->open_isa_version;
    info.sbuf_bytes_per_partition = emulator->sbuf_bytes_per_partition;
    info.psum_bytes_per_partition = emulator->psum_bytes_per_partition;
  }
  std::memcpy(info.instance_type, type.data(), std::min(type.size(), sizeof(info.instance_type) - 1));
  return placed;
}

Device::Device(File file, std::uint32_t number, std::int64_t host_shift, const Features& features,
               const driver::Log& log, bool waits)
    : file_(std::move(file)), number_(number), host_shift_(host_shift), features_(features), log_(log) {
  paravirtual::Hello hello{};
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

int Device::ask_info() {
  const std::lock_guard guard(info_mutex_);
  if (info_) return 0;
  abi::DeviceInfo info{};
  if (const int error = file_.request(abi::kDeviceInfo, &info); error != 0) return error;
  info_ = info;
  return 0;
}

int Device::info(opennrt_device_info_t& info) {
  info = {};
  if (const int error = ask_info(); error != 0) return error;
  const bool placed = describe(file_, number_, number_, features_, emulator_ ? &*emulator_ : nullptr, info);
  info.architecture = info_->architecture;
  info.revision = info_->revision;
  info.virtual_time = paravirtual_;
  // The driver numbers the neighbours as the host does.
  for (std::uint32_t i = 0; i < std::min(info_->connected_device_count, abi::kMaxConnectedDevices); ++i) {
    const std::int64_t neighbour = std::int64_t{info_->connected_devices[i]} - host_shift_;
    if (neighbour >= 0 && neighbour < OPENNRT_MAX_DEVICES)
      info.connected[info.connected_count++] = static_cast<std::uint32_t>(neighbour);
  }
  if (abi::DeviceBdf old{}; !placed && file_.request(abi::kDeviceBdf, &old) == 0) {
    info.pci_bus = old.bus_number;
    info.pci_slot = old.slot;
    info.pci_function = old.func;
  }
  return 0;
}

}  // namespace opennrt::neuron
