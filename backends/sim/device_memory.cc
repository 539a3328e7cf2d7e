// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backends/sim/device.h"

namespace opennrt::driver {
namespace {

/// Handles are never used twice and carry their device, so that a stale one or one of another device is found out.
constexpr unsigned kHandleDeviceShift = 48;

bool is_power_of_two(std::uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

bool known_category(opennrt_mem_category_t category) {
  switch (category) {
    case OPENNRT_MEM_CODE_HOST:
    case OPENNRT_MEM_TENSORS_HOST:
    case OPENNRT_MEM_CONSTANTS_HOST:
    case OPENNRT_MEM_MISC_HOST:
    case OPENNRT_MEM_NOTIFICATION_HOST:
    case OPENNRT_MEM_CODE_DEVICE:
    case OPENNRT_MEM_TENSORS_DEVICE:
    case OPENNRT_MEM_CONSTANTS_DEVICE:
    case OPENNRT_MEM_SCRATCHPAD_DEVICE:
    case OPENNRT_MEM_MISC_DEVICE:
    case OPENNRT_MEM_NOTIFICATION_DEVICE:
    case OPENNRT_MEM_DMA_RINGS_HOST:
    case OPENNRT_MEM_DMA_RINGS_DEVICE:
      return true;
  }
  return false;
}

}  // namespace

Device::MemoryRef Device::find(opennrt_mem_t handle) const {
  const std::lock_guard guard(memory_mutex_);
  const auto it = memories_.find(handle);
  return it == memories_.end() ? nullptr : it->second;
}

bool Device::fits(const Memory& memory, std::uint64_t offset, std::uint64_t bytes) {
  return offset <= memory.bytes && bytes <= memory.bytes - offset;
}

int Device::mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t& handle) {
  handle = 0;
  const auto refuse = [&](const char* field, std::uint64_t value, const char* expected) {
    platform_.log.debug("mem_alloc", "nd{}: {} is {}, expected {}", number_, field, value, expected);
    return -EINVAL;
  };
  if (params.bytes == 0) return refuse("bytes", 0, "more than 0");
  if (params.alignment != 0 && !is_power_of_two(params.alignment)) {
    return refuse("alignment", params.alignment, "0 or a power of two");
  }
  if (params.core >= kCores) return refuse("core", params.core, "0-3");
  if (!known_category(params.category)) return refuse("category", params.category, "one of opennrt_mem_category_t");
  auto memory = std::make_shared<Memory>();
  memory->bytes = params.bytes;
  memory->core = params.core;
  memory->category = params.category;
  if (params.host_memory) {
    // Bus addresses are pages of their own; more alignment than that is nothing a host allocation of the driver has,
    // either.
    if (params.alignment > kPoolPage) return refuse("alignment", params.alignment, "at most 4096 for host memory");
    memory->pages = HostPages::allocate(platform_, params.bytes);
    if (!memory->pages) return -ENOMEM;
    memory->address = memory->pages->device_address();
  } else {
    if (params.dram_channel >= inf1::kDramChannels) return refuse("dram_channel", params.dram_channel, "0 or 1");
    if (params.dram_region >= inf1::kDramRegions) return refuse("dram_region", params.dram_region, "0-3");
    memory->channel = params.dram_channel;
    memory->region = params.dram_region;
    const std::lock_guard guard(memory_mutex_);
    DramPool& pool = pools_[params.dram_channel][params.dram_region];
    const auto address = pool.allocate(params.bytes, params.alignment);
    if (!address) {
      platform_.log.debug(
          "mem_alloc", "nd{}: {} bytes asked for, DRAM channel {} region {} has {} free, {} of them in one piece",
          number_, params.bytes, params.dram_channel, params.dram_region, pool.free_bytes(), pool.largest_free());
      return -ENOMEM;
    }
    memory->address = *address;
    used_[params.core] += DramPool::rounded(params.bytes);
  }
  const std::lock_guard guard(memory_mutex_);
  handle = std::uint64_t{number_ + 1} << kHandleDeviceShift | next_memory_++;
  memories_.emplace(handle, std::move(memory));
  return 0;
}

int Device::mem_free(opennrt_mem_t handle) {
  MemoryRef memory;  // host pages go back outside the lock
  const std::lock_guard guard(memory_mutex_);
  const auto it = memories_.find(handle);
  if (it == memories_.end()) return -EINVAL;
  memory = std::move(it->second);
  memories_.erase(it);
  if (!memory->pages) {
    pools_[memory->channel][memory->region].release(memory->address, memory->bytes);
    used_[memory->core] -= DramPool::rounded(memory->bytes);
  }
  return 0;
}

int Device::mem_info(opennrt_mem_t handle, opennrt_mem_info_t& info) const {
  const MemoryRef memory = find(handle);
  if (!memory) return -EINVAL;
  info = {};
  info.device_address = memory->address;
  info.bytes = memory->bytes;
  info.host_memory = memory->pages != nullptr;
  info.pid = ::getpid();
  return 0;
}

int Device::mem_map(opennrt_mem_t handle, void*& address) {
  const std::lock_guard guard(memory_mutex_);
  const auto it = memories_.find(handle);
  if (it == memories_.end()) return -EINVAL;
  if (!it->second->pages) return -ENOTSUP;
  ++it->second->maps;
  address = it->second->host();
  return 0;
}

int Device::mem_unmap(opennrt_mem_t handle) {
  const std::lock_guard guard(memory_mutex_);
  const auto it = memories_.find(handle);
  if (it == memories_.end() || it->second->maps == 0) return -EINVAL;
  --it->second->maps;
  return 0;
}

int Device::mem_write(opennrt_mem_t handle, std::uint64_t offset, const void* buffer, std::uint64_t bytes) {
  const MemoryRef memory = find(handle);
  if (!memory || !fits(*memory, offset, bytes) || (buffer == nullptr && bytes != 0)) return -EINVAL;
  if (bytes == 0) return 0;
  if (memory->pages) {
    std::memcpy(memory->host() + offset, buffer, bytes);
    return 0;
  }
  const std::uint64_t to = memory->address + offset;
  CopyRing& ring = copies_[memory->core];
  if (bytes <= CopyRing::kScratchBytes) {
    return ring.with_scratch([&](std::byte* scratch, std::uint64_t from) {
      std::memcpy(scratch, buffer, bytes);
      return ring.copy_locked(from, to, bytes, true);
    });
  }
  // The device only reads from it.
  const PinnedBuffer pinned(platform_, const_cast<void*>(buffer), bytes);
  return pinned.valid() ? ring.copy(pinned.device_address(), to, bytes, true) : -ENOMEM;
}

int Device::mem_read(opennrt_mem_t handle, std::uint64_t offset, void* buffer, std::uint64_t bytes) {
  const MemoryRef memory = find(handle);
  if (!memory || !fits(*memory, offset, bytes) || (buffer == nullptr && bytes != 0)) return -EINVAL;
  if (bytes == 0) return 0;
  if (memory->pages) {
    std::memcpy(buffer, memory->host() + offset, bytes);
    return 0;
  }
  const std::uint64_t from = memory->address + offset;
  CopyRing& ring = copies_[memory->core];
  if (bytes <= CopyRing::kScratchBytes) {
    return ring.with_scratch([&](std::byte* scratch, std::uint64_t to) {
      const int error = ring.copy_locked(from, to, bytes, true);
      if (error == 0) std::memcpy(buffer, scratch, bytes);
      return error;
    });
  }
  const PinnedBuffer pinned(platform_, buffer, bytes);
  return pinned.valid() ? ring.copy(from, pinned.device_address(), bytes, true) : -ENOMEM;
}

int Device::mem_copy(opennrt_mem_t from, std::uint64_t from_offset, opennrt_mem_t to, std::uint64_t to_offset,
                     std::uint64_t bytes) {
  const MemoryRef source = find(from), target = find(to);
  if (!source || !target || !fits(*source, from_offset, bytes) || !fits(*target, to_offset, bytes)) return -EINVAL;
  if (bytes == 0) return 0;
  if (source->pages && target->pages) {
    std::memmove(target->host() + to_offset, source->host() + from_offset, bytes);
    return 0;
  }
  // The ring of the core that the device memory belongs to; of the destination's where both do (neuron_dma.c,
  // ndma_memcpy_mc).
  const std::uint32_t core = target->pages ? source->core : target->core;
  return copies_[core].copy(source->address + from_offset, target->address + to_offset, bytes, true);
}

int Device::mem_set(opennrt_mem_t handle, std::uint64_t offset, std::uint32_t value, std::uint64_t bytes) {
  const MemoryRef memory = find(handle);
  if (!memory || !fits(*memory, offset, bytes)) return -EINVAL;
  if (bytes == 0) return 0;
  const int byte = static_cast<int>(value & 0xff);
  if (memory->pages) {
    std::memset(memory->host() + offset, byte, bytes);
    return 0;
  }
  const std::uint64_t to = memory->address + offset;
  CopyRing& ring = copies_[memory->core];
  return ring.with_scratch([&](std::byte* scratch, std::uint64_t from) {
    const std::uint64_t part = std::min(bytes, CopyRing::kScratchBytes);
    std::memset(scratch, byte, part);
    if (const int error = ring.copy_locked(from, to, part, true); error != 0 || bytes == part) return error;
    // The rest is copied within the device, again and again from the first 64 KiB (neuron_dma.c, ndma_memset).
    return ring.copy_locked(to, to + part, bytes - part, false);
  });
}

int Device::mem_stats(std::uint32_t core, opennrt_mem_stats_t& stats) const {
  if (core >= kCores) return -EINVAL;
  const std::lock_guard guard(memory_mutex_);
  std::uint64_t free = 0;
  for (const auto& channel : pools_) {
    for (const DramPool& pool : channel) free += pool.free_bytes();
  }
  stats.used_by_process = used_[core];
  stats.used = used_[core];  // a simulated device has one process
  stats.capacity = used_[core] + free;
  return 0;
}

}  // namespace opennrt::driver
