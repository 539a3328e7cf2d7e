// SPDX-License-Identifier: Apache-2.0
//
// Allocation and information about it (neuron_cdev.c ncdev_mem_…).
#include <cerrno>

#include "backends/emulator/preload/cdev.h"
#include "backends/neuron/abi.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

// mem_alloc_category_t of allocations by requests that have none (share/neuron_driver_shared.h).
constexpr std::uint32_t kUnknownHost = 0, kUnknownDevice = 7;

/// Allocates and stores the handle where the caller wants it; what nobody was told of is freed again.
template <class T>
int allocate(Call& call, const T& arg, std::uint64_t align, std::uint32_t category) {
  int r = call.ask(Op::kMemAlloc,
                   {arg.size, align, arg.host_memory != 0, arg.dram_channel, arg.dram_region, arg.nc_id, category});
  if (r != 0) return r;
  const std::uint64_t handle = call.session.v(0);
  r = copy_to_user(arg.mem_handle, &handle, sizeof(handle));
  if (r != 0) call.ask(Op::kMemFree, {handle});
  return r;
}

std::uint32_t category_of(bool host) {
  return host ? kUnknownHost : kUnknownDevice;
}

/// Answer to kMemInfo.
struct Info {
  std::uint64_t address, mmap_offset, bytes;
  bool host;
  std::uint64_t pid;
};

int info(Call& call, std::uint64_t handle, Info& out) {
  if (const int r = call.ask(Op::kMemInfo, {handle}); r != 0) return r;
  const Session& s = call.session;
  out = {s.v(0), s.v(1), s.v(2), s.v(3) != 0, s.v(4)};
  return 0;
}

/// The chunk's physical address: of host memory without the bit that makes it one of PCIe's, and so its mmap offset.
std::uint64_t physical(const Info& i) {
  return i.host ? i.mmap_offset : i.address;
}

}  // namespace

int mem_alloc(Call& call) {
  abi::MemAlloc arg;
  if (call.get(arg) != 0) return -EACCES;  // so the driver
  return allocate(call, arg, 0, category_of(arg.host_memory != 0));
}

int mem_alloc_v2(Call& call) {
  if (call.command == abi::kMemAllocV2) {
    abi::MemAllocV2 arg;
    if (const int r = call.get(arg); r != 0) return r;
    return allocate(call, arg, arg.align, category_of(arg.host_memory != 0));
  }
  if (call.command == abi::kMemAllocV2Mt) {
    abi::MemAllocV2Mt arg;
    if (const int r = call.get(arg); r != 0) return r;
    return allocate(call, arg, arg.align, arg.mem_type);
  }
  if (call.command == abi::kMemAllocV2Mt64) {
    abi::MemAllocV2Mt64 arg;
    if (const int r = call.get(arg); r != 0) return r;
    return allocate(call, arg, arg.align, arg.mem_type);
  }
  return -EINVAL;
}

int mem_free(Call& call) {
  abi::MemFree arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kMemFree, {arg.mem_handle});
}

int mem_get_pa(Call& call) {
  if (const int r = call.attached(); r != 0) return r;
  abi::MemGetPa arg;
  if (const int r = call.get(arg); r != 0) return r;
  Info i;
  if (const int r = info(call, arg.mem_handle, i); r != 0) return r;
  const std::uint64_t pa = physical(i);
  return copy_to_user(arg.pa, &pa, sizeof(pa));
}

int mem_get_info(Call& call) {
  if (const int r = call.attached(); r != 0) return r;
  abi::MemGetInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  Info i;
  if (const int r = info(call, arg.mem_handle, i); r != 0) return r;
  const std::uint64_t pa = physical(i);
  if (const int r = copy_to_user(arg.pa, &pa, sizeof(pa)); r != 0) return r;
  return arg.mmap_offset == 0 ? 0 : copy_to_user(arg.mmap_offset, &i.mmap_offset, sizeof(i.mmap_offset));
}

int mem_get_extended_info(Call& call) {
  abi::MemGetExtendedInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  Info i;
  if (const int r = info(call, arg.mem_handle, i); r != 0) return r;
  arg.host_memory = i.host;
  arg.mmap_offset = i.mmap_offset;
  arg.pa = i.address;
  arg.pid = i.pid;
  arg.size = i.bytes;
  return call.put(arg);
}

int mem_mc_get_info(Call& call) {
  const auto find = [&](auto& arg) {
    if (const int r = call.get(arg); r != 0) return r;
    if (const int r = call.ask(Op::kMemFind, {arg.pa}); r != 0) return r;
    arg.mmap_offset = call.session.v(0);
    arg.size = call.session.v(1);
    return 0;
  };
  if (_IOC_SIZE(call.command) == sizeof(abi::MemGetMcMmapInfo)) {
    abi::MemGetMcMmapInfo arg;
    if (const int r = find(arg); r != 0) return r;
    return call.put(arg);
  }
  if (_IOC_SIZE(call.command) == sizeof(abi::MemGetMcMmapInfoV2)) {
    abi::MemGetMcMmapInfoV2 arg;
    if (const int r = find(arg); r != 0) return r;
    arg.mem_handle = call.session.v(2);
    return call.put(arg);
  }
  return -EINVAL;
}

int mem_set(Call& call) {
  if (call.command == abi::kMemset) {
    abi::Memset arg;
    if (const int r = call.get(arg); r != 0) return r;
    return call.ask(Op::kMemSet, {arg.mem_handle, arg.offset, arg.value, arg.size});
  }
  if (call.command == abi::kMemset64) {
    abi::Memset64 arg;
    if (const int r = call.get(arg); r != 0) return r;
    return call.ask(Op::kMemSet, {arg.mem_handle, arg.offset, arg.value, arg.size});
  }
  return -EINVAL;
}

/// As a driver built for a kernel without dma-buf: there is no other device here that could share the memory.
int dmabuf_fd(Call& call) {
  abi::DmabufFd arg;
  if (const int r = call.get(arg); r != 0) return r;
  return -EPROTONOSUPPORT;
}

/// On Inf1 the table has the four cores' semaphores, with offset and size 0 (v1/neuron_dhal_v1.c dm_mmap_special_v1).
int resource_mmap_info(Call& call) {
  abi::ResourceMmapInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  constexpr std::uint32_t kTpb = 0, kSemaphore = 0;
  if (arg.block != kTpb || !call.core_exists(arg.block_id) || arg.resource != kSemaphore) return -EINVAL;
  arg.offset = arg.size = 0;
  return call.put(arg);
}

}  // namespace opennrt::emulator
