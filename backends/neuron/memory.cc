// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backends/neuron/device.h"

namespace opennrt::neuron {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;
/// One request moves at most so much: requests of the old forms have 32-bit sizes, and the driver counts what is left of a
/// buffer copy in 32 bits even in the new form (neuron_cdev.c, ncdev_mem_buf_copy).
constexpr std::uint64_t kPartMax = std::uint64_t{1} << 30;

bool is_power_of_two(std::uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

std::uint64_t user_pointer(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

}  // namespace

// ---- allocation, by what the driver's release has ----

int Device::allocate(const opennrt_mem_params_t& params, std::uint64_t bytes, std::uint64_t& handle) {
  const auto fill = [&](auto& form) {
    form.size = bytes;
    form.host_memory = params.host_memory ? 1 : 0;
    form.dram_channel = params.dram_channel;
    form.dram_region = params.dram_region;
    form.nc_id = params.core;
    form.mem_handle = user_pointer(&handle);
  };
  // Host memory begins on a page, and the driver refuses to be asked for more (neuron_mempool.c, mc_alloc_internal).
  const std::uint64_t alignment = params.host_memory ? 0 : params.alignment;
  AllocForm form = alloc_form_.load(std::memory_order_relaxed);
  if (form == AllocForm::kUnknown) {
    form = features_.memory64 ? AllocForm::kV2Mt64 : features_.memory_type ? AllocForm::kV2Mt : AllocForm::kV2;
  }
  int error = -EINVAL;
  if (form == AllocForm::kV2Mt64) {
    abi::MemAllocV2Mt64 request{};
    fill(request);
    request.align = alignment;
    request.mem_type = static_cast<std::uint32_t>(params.category);
    return file_.request(abi::kMemAllocV2Mt64, &request);
  }
  if (bytes >= k4GiB) {
    log_.error("mem_alloc", "nd{}: {} bytes asked for, this release of the Neuron Driver serves less than 4 GiB",
               number_, bytes);
    return -ENOMEM;
  }
  if (form == AllocForm::kV2Mt) {
    abi::MemAllocV2Mt request{};
    fill(request);
    request.align = alignment;
    request.mem_type = static_cast<std::uint32_t>(params.category);
    return file_.request(abi::kMemAllocV2Mt, &request);
  }
  if (form == AllocForm::kV2) {
    abi::MemAllocV2 request{};
    fill(request);
    request.align = alignment;
    error = file_.request(abi::kMemAllocV2, &request);
    if (error == 0) alloc_form_.store(AllocForm::kV2, std::memory_order_relaxed);
    const bool known = alloc_form_.load(std::memory_order_relaxed) == AllocForm::kV2;
    if (known || !is_unknown_request(error)) return error;
  }
  // Drivers before alignment: memory lies on a page (neuron_mempool.c), and more than that is not to be had.
  if (params.alignment > kPage) return error;
  abi::MemAlloc request{};
  fill(request);
  error = file_.request(abi::kMemAlloc, &request);
  if (error == 0) alloc_form_.store(AllocForm::kV1, std::memory_order_relaxed);
  return error;
}

int Device::mem_alloc(const opennrt_mem_params_t& params, opennrt_mem_t& handle) {
  handle = 0;
  if (params.bytes == 0 || (params.alignment != 0 && !is_power_of_two(params.alignment)) || params.core >= kCores)
    return -EINVAL;
  if (params.host_memory ? params.alignment > kPage
                         : params.dram_channel >= inf1::kDramChannels || params.dram_region >= inf1::kDramRegions)
    return -EINVAL;
  Memory memory;
  memory.bytes = params.bytes;
  // The driver maps whole pages only (neuron_mmap.c, nmmap_get_mc).
  memory.driver_bytes = params.host_memory ? (params.bytes + kPage - 1) / kPage * kPage : params.bytes;
  if (memory.driver_bytes < params.bytes) return -ENOMEM;
  memory.core = params.core;
  memory.host = params.host_memory;
  std::uint64_t given = 0;
  if (const int error = allocate(params, memory.driver_bytes, given); error != 0) return error;
  const std::lock_guard guard(memory_mutex_);
  memories_.insert_or_assign(given, memory);
  handle = given;
  return 0;
}

int Device::mem_free(opennrt_mem_t handle) {
  const std::lock_guard guard(memory_mutex_);
  const auto found = memories_.find(handle);
  if (found == memories_.end()) return -EINVAL;
  Memory& memory = found->second;
  if (memory.mapped != nullptr) file_.system().munmap(memory.mapped, memory.driver_bytes);
  memory.mapped = nullptr;
  memory.maps = 0;
  abi::MemFree request{handle};
  const int error = file_.request(abi::kMemFree, &request);
  if (error == 0) memories_.erase(found);
  return error;
}

// ---- information ----

int Device::extended_info(opennrt_mem_t handle, abi::MemGetExtendedInfo& info) const {
  info = {};
  info.mem_handle = handle;
  info.version = abi::kExtendedInfoVersion;
  const int result = file_.request(abi::kMemGetExtendedInfo, &info);
  // For a handle that is none this one request answers with a positive EINVAL (neuron_cdev.c,
  // ncdev_mem_get_extended_info).
  return result == -EFAULT ? -EINVAL : result;
}

int Device::mem_info(opennrt_mem_t handle, opennrt_mem_info_t& info) {
  info = {};
  abi::MemGetExtendedInfo answer{};
  std::uint64_t bytes = 0;
  {
    const std::lock_guard guard(memory_mutex_);
    const auto found = memories_.find(handle);
    if (found != memories_.end()) {
      Memory& memory = found->second;
      if (!memory.info) {
        if (const int error = extended_info(handle, answer); error != 0) return error;
        memory.info = answer;
      }
      answer = *memory.info;
      bytes = memory.bytes;
    }
  }
  if (bytes == 0) {  // somebody else's, or a notification queue's
    if (const int error = extended_info(handle, answer); error != 0) return error;
    bytes = answer.size;
  }
  info.device_address = answer.pa;
  info.bytes = bytes;
  info.host_memory = answer.host_memory != 0;
  info.pid = static_cast<std::int32_t>(answer.pid);
  return 0;
}

int Device::check_access(opennrt_mem_t handle, std::uint64_t offset, std::uint64_t bytes) {
  std::uint64_t room = 0;
  {
    const std::lock_guard guard(memory_mutex_);
    if (const auto found = memories_.find(handle); found != memories_.end()) room = found->second.bytes;
  }
  if (room == 0) {
    abi::MemGetExtendedInfo info{};
    if (const int error = extended_info(handle, info); error != 0) return error;
    room = info.size;
  }
  return offset <= room && bytes <= room - offset ? 0 : -EINVAL;
}

// ---- mapping ----

int Device::mem_map(opennrt_mem_t handle, void*& address) {
  const std::lock_guard guard(memory_mutex_);
  const auto found = memories_.find(handle);
  if (found == memories_.end()) return -EINVAL;
  Memory& memory = found->second;
  if (!memory.host) return -ENOTSUP;
  if (memory.mapped == nullptr) {
    if (!memory.info) {
      abi::MemGetExtendedInfo info{};
      if (const int error = extended_info(handle, info); error != 0) return error;
      memory.info = info;
    }
    const int error =
        file_.system().mmap(file_.fd(), memory.info->mmap_offset, memory.driver_bytes, true, memory.mapped);
    if (error != 0) return error;
  }
  ++memory.maps;
  address = memory.mapped;
  return 0;
}

int Device::mem_unmap(opennrt_mem_t handle) {
  const std::lock_guard guard(memory_mutex_);
  const auto found = memories_.find(handle);
  if (found == memories_.end() || found->second.maps == 0) return -EINVAL;
  Memory& memory = found->second;
  if (--memory.maps == 0) {
    file_.system().munmap(memory.mapped, memory.driver_bytes);
    memory.mapped = nullptr;
  }
  return 0;
}

std::byte* Device::mapped_at(opennrt_mem_t handle) {
  const std::lock_guard guard(memory_mutex_);
  const auto found = memories_.find(handle);
  return found == memories_.end() ? nullptr : static_cast<std::byte*>(found->second.mapped);
}

// ---- copies ----

int Device::copy_buffer(opennrt_mem_t handle, std::uint64_t offset, std::uint64_t buffer, std::uint64_t bytes,
                        bool to_memory) {
  while (bytes != 0) {
    const std::uint64_t part = std::min(bytes, kPartMax);
    int error = 0;
    if (features_.memory64) {
      abi::MemBufCopy64 request{handle, buffer, part, offset, to_memory ? 1u : 0u, 0};
      error = file_.request(abi::kMemBufCopy64, &request);
    } else {
      abi::MemBufCopy request{
          handle, buffer, static_cast<std::uint32_t>(part), static_cast<std::uint32_t>(offset), to_memory ? 1u : 0u, 0};
      error = file_.request(abi::kMemBufCopy, &request);
    }
    if (error != 0) return error;
    bytes -= part;
    offset += part;
    buffer += part;
  }
  return 0;
}

int Device::mem_write(opennrt_mem_t handle, std::uint64_t offset, const void* buffer, std::uint64_t bytes) {
  if (buffer == nullptr && bytes != 0) return -EINVAL;
  if (const int error = check_access(handle, offset, bytes); error != 0) return error;
  if (std::byte* const mapped = mapped_at(handle); mapped != nullptr && bytes != 0) {
    std::memcpy(mapped + offset, buffer, bytes);
    return 0;
  }
  return copy_buffer(handle, offset, user_pointer(buffer), bytes, true);
}

int Device::mem_read(opennrt_mem_t handle, std::uint64_t offset, void* buffer, std::uint64_t bytes) {
  if (buffer == nullptr && bytes != 0) return -EINVAL;
  if (const int error = check_access(handle, offset, bytes); error != 0) return error;
  if (const std::byte* const mapped = mapped_at(handle); mapped != nullptr && bytes != 0) {
    std::memcpy(buffer, mapped + offset, bytes);
    return 0;
  }
  return copy_buffer(handle, offset, user_pointer(buffer), bytes, false);
}

int Device::mem_copy(opennrt_mem_t from, std::uint64_t from_offset, opennrt_mem_t to, std::uint64_t to_offset,
                     std::uint64_t bytes) {
  if (const int error = check_access(from, from_offset, bytes); error != 0) return error;
  if (const int error = check_access(to, to_offset, bytes); error != 0) return error;
  while (bytes != 0) {
    const std::uint64_t part = std::min(bytes, kPartMax);
    int error = 0;
    if (features_.memory64) {
      abi::MemCopy64 request{from, to, part, from_offset, to_offset};
      error = file_.request(abi::kMemCopy64, &request);
    } else {
      abi::MemCopy request{from,
                           to,
                           static_cast<std::uint32_t>(part),
                           static_cast<std::uint32_t>(from_offset),
                           static_cast<std::uint32_t>(to_offset),
                           0};
      error = file_.request(abi::kMemCopy, &request);
    }
    if (error != 0) return error;
    bytes -= part;
    from_offset += part;
    to_offset += part;
  }
  return 0;
}

int Device::mem_set(opennrt_mem_t handle, std::uint64_t offset, std::uint32_t value, std::uint64_t bytes) {
  if (const int error = check_access(handle, offset, bytes); error != 0) return error;
  while (bytes != 0) {
    const std::uint64_t part = std::min(bytes, kPartMax);
    int error = 0;
    if (features_.memory64) {
      abi::Memset64 request{handle, offset, value & 0xff, 0, part};
      error = file_.request(abi::kMemset64, &request);
    } else {
      abi::Memset request{handle, offset, value & 0xff, static_cast<std::uint32_t>(part)};
      error = file_.request(abi::kMemset, &request);
    }
    if (error != 0) return error;
    bytes -= part;
    offset += part;
  }
  return 0;
}

// ---- accounting ----

int Device::mem_stats(std::uint32_t core, opennrt_mem_stats_t& stats) {
  stats = {};
  if (core >= kCores) return -EINVAL;
  if (paravirtual_) {
    paravirtual::MemStats request{core, 0, 0, 0, 0};
    if (const int error = file_.request(paravirtual::kMemStats, &request); error != 0) return error;
    stats = {request.used_by_process, request.used, request.capacity};
    return 0;
  }
  {
    const std::lock_guard guard(memory_mutex_);
    for (const auto& [handle, memory] : memories_) {
      if (!memory.host && memory.core == core) stats.used_by_process += memory.driver_bytes;
    }
  }
  // The driver tells how much each process has of the device, not of which core: what others have on this core counts as
  // taken from what is left.
  std::uint64_t all = 0;
  std::vector<abi::AppInfo> processes;
  if (const int error = apps(processes, abi::kAppInfoMemoryUsage); error != 0) return error;
  for (const abi::AppInfo& process : processes) all += process.device_mem_size;
  constexpr std::uint64_t kDram = inf1::kDramChannels * inf1::kDramChannelSize;
  stats.used = stats.used_by_process;
  stats.capacity = stats.used + (kDram - std::min(all, kDram));
  return 0;
}

}  // namespace opennrt::neuron
