// SPDX-License-Identifier: Apache-2.0
//
// Requests of the Neuron kernel driver about memory: structures and numbers, restated from aws-neuron-driver
// neuron_ioctl.h (2.24.7.0). A pointer field is declared as the 64-bit number that it is on the wire. Which numbers exist
// in several generations is told apart by the size coded in the request: those whose comment in the driver's header says
// "struct x *" carry the size of a pointer, 8, whatever they point to.
#pragma once

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace opennrt::neuron::abi {

using UserPointer = std::uint64_t;  ///< address in the calling process

// ---- allocation ----

struct MemAlloc {  // driver 2.0: no alignment
  std::uint64_t size;
  std::uint32_t host_memory, dram_channel, dram_region, nc_id;
  UserPointer mem_handle;  ///< where the u64 handle is stored
};
static_assert(sizeof(MemAlloc) == 32 && offsetof(MemAlloc, nc_id) == 20 && offsetof(MemAlloc, mem_handle) == 24);

struct MemAllocV2 {
  std::uint64_t size, align;
  std::uint32_t host_memory, dram_channel, dram_region, nc_id;
  UserPointer mem_handle;
};
static_assert(sizeof(MemAllocV2) == 40 && offsetof(MemAllocV2, host_memory) == 16 &&
              offsetof(MemAllocV2, mem_handle) == 32);

struct MemAllocV2Mt {  // with an accounting category
  std::uint64_t size, align;
  std::uint32_t host_memory, dram_channel, dram_region, nc_id, mem_type, hole;
  UserPointer mem_handle;
};
static_assert(sizeof(MemAllocV2Mt) == 48 && offsetof(MemAllocV2Mt, mem_type) == 32 &&
              offsetof(MemAllocV2Mt, mem_handle) == 40);

struct MemAllocV2Mt64 {  // the same; that a driver knows it says that 4 GiB and more are served throughout
  std::uint64_t size, align;
  std::uint32_t host_memory, dram_channel, dram_region, nc_id, mem_type, hole;
  UserPointer mem_handle;
  std::uint32_t pad, hole2;
};
static_assert(sizeof(MemAllocV2Mt64) == 56 && offsetof(MemAllocV2Mt64, mem_handle) == 40 &&
              offsetof(MemAllocV2Mt64, pad) == 48);

struct MemFree {
  std::uint64_t mem_handle;
};
static_assert(sizeof(MemFree) == 8);

// ---- information ----

struct MemGetPa {  // deprecated
  std::uint64_t mem_handle;
  UserPointer pa;
};
static_assert(sizeof(MemGetPa) == 16);

struct MemGetInfo {  // deprecated
  std::uint64_t mem_handle;
  UserPointer mmap_offset, pa;
};
static_assert(sizeof(MemGetInfo) == 24);

struct MemGetExtendedInfo {
  std::uint64_t mem_handle;
  std::uint32_t version;      ///< in: 1
  std::uint32_t host_memory;  ///< out, as everything from here
  std::uint64_t mmap_offset, pa, pid, size;
};
inline constexpr std::uint32_t kExtendedInfoVersion = 1;
static_assert(sizeof(MemGetExtendedInfo) == 48 && offsetof(MemGetExtendedInfo, mmap_offset) == 16 &&
              offsetof(MemGetExtendedInfo, size) == 40);

struct MemGetMcMmapInfo {  // which allocation is at a device address
  std::uint64_t pa;        ///< in
  std::uint64_t mmap_offset, size;
};
static_assert(sizeof(MemGetMcMmapInfo) == 24);

struct MemGetMcMmapInfoV2 {
  std::uint64_t pa;
  std::uint64_t mmap_offset, size, mem_handle;
};
static_assert(sizeof(MemGetMcMmapInfoV2) == 32);

struct MemChunkInfo {
  std::uint64_t pa, size;
  std::uint32_t mem_type, hole;
};
static_assert(sizeof(MemChunkInfo) == 24);

struct DumpMemChunks {
  std::uint32_t hbm_index, num_entries_in, num_entries_out, hole;
  UserPointer data;  ///< MemChunkInfo[num_entries_in]
};
static_assert(sizeof(DumpMemChunks) == 24 && offsetof(DumpMemChunks, data) == 16);

struct ResourceMmapInfo {
  std::uint32_t block, block_id, resource, hole;
  std::uint64_t offset, size;  ///< out
};
static_assert(sizeof(ResourceMmapInfo) == 32 && offsetof(ResourceMmapInfo, offset) == 16);

struct DmabufFd {
  std::uint64_t va, size;
  UserPointer fd;  ///< s32
};
static_assert(sizeof(DmabufFd) == 24);

// ---- copies ----

struct MemCopy {
  std::uint64_t src_mem_handle, dst_mem_handle;
  std::uint32_t size, src_offset, dst_offset, hole;
};
static_assert(sizeof(MemCopy) == 32 && offsetof(MemCopy, dst_offset) == 24);

struct MemCopy64 {
  std::uint64_t src_mem_handle, dst_mem_handle;
  std::uint64_t size, src_offset, dst_offset;
};
static_assert(sizeof(MemCopy64) == 40);

struct MemCopyAsync {
  std::uint64_t src_mem_handle, dst_mem_handle;
  std::uint32_t size, src_offset, dst_offset, hole;
  std::uint64_t host_prefetch_addr;
  std::uint32_t pwait_handle;
  std::uint32_t wait_handle;  ///< out
};
static_assert(sizeof(MemCopyAsync) == 48 && offsetof(MemCopyAsync, host_prefetch_addr) == 32);

struct MemCopyAsync64 {
  std::uint64_t src_mem_handle, dst_mem_handle;
  std::uint64_t size, src_offset, dst_offset;
  std::uint64_t host_prefetch_addr;
  std::uint32_t pwait_handle;
  std::uint32_t wait_handle;  ///< out
};
static_assert(sizeof(MemCopyAsync64) == 56 && offsetof(MemCopyAsync64, pwait_handle) == 48);

struct MemCopyAsyncWait {
  std::uint64_t src_mem_handle, dst_mem_handle;
  std::uint32_t pwait_handle, hole;
};
static_assert(sizeof(MemCopyAsyncWait) == 24);

/// neuron_dma_h2t_ctx_handle_type: which of the asynchronous transfers.
enum class CopyHandle : std::int32_t { kNone = -1, kSync = 0, kAsync1 = 1, kAsync2 = 2 };

struct Memset {
  std::uint64_t mem_handle, offset;
  std::uint32_t value, size;
};
static_assert(sizeof(Memset) == 24);

struct Memset64 {
  std::uint64_t mem_handle, offset;
  std::uint32_t value, hole;
  std::uint64_t size;
};
static_assert(sizeof(Memset64) == 32 && offsetof(Memset64, size) == 24);

struct MemBufCopy {
  std::uint64_t mem_handle;
  UserPointer buffer;
  std::uint32_t size, offset;
  std::uint32_t copy_to_mem_handle, hole;  ///< 1: from the buffer, 0: to it
};
static_assert(sizeof(MemBufCopy) == 32 && offsetof(MemBufCopy, copy_to_mem_handle) == 24);

struct MemBufCopy64 {
  std::uint64_t mem_handle;
  UserPointer buffer;
  std::uint64_t size, offset;
  std::uint32_t copy_to_mem_handle, hole;
};
static_assert(sizeof(MemBufCopy64) == 40 && offsetof(MemBufCopy64, copy_to_mem_handle) == 32);

struct ProgramEngine {
  std::uint64_t dst;  ///< device address
  UserPointer buffer;
  std::uint32_t size, offset;
};
static_assert(sizeof(ProgramEngine) == 24);

struct ProgramEngineNc {
  std::uint32_t nc_id, hole;
  std::uint64_t dst;
  UserPointer buffer;
  std::uint32_t size, offset;
};
static_assert(sizeof(ProgramEngineNc) == 32 && offsetof(ProgramEngineNc, dst) == 8);

struct ProgramEngineNc64 {
  std::uint32_t nc_id, hole;
  std::uint64_t dst;
  UserPointer buffer;
  std::uint64_t size, offset;
};
static_assert(sizeof(ProgramEngineNc64) == 40);

// ---- numbers ----

inline constexpr unsigned long kMemAlloc = _IOR('N', 21, MemAlloc*);
inline constexpr unsigned long kMemAllocV2 = _IOR('N', 102, MemAllocV2*);
inline constexpr unsigned long kMemAllocV2Mt = _IOR('N', 102, MemAllocV2Mt);
inline constexpr unsigned long kMemAllocV2Mt64 = _IOR('N', 102, MemAllocV2Mt64);
inline constexpr unsigned long kMemFree = _IOR('N', 22, MemFree*);
inline constexpr unsigned long kMemCopy = _IOR('N', 23, MemCopy*);
inline constexpr unsigned long kMemCopy64 = _IOR('N', 23, MemCopy64);
inline constexpr unsigned long kMemBufCopy = _IOWR('N', 24, MemBufCopy*);
inline constexpr unsigned long kMemBufCopy64 = _IOWR('N', 24, MemBufCopy64);
inline constexpr unsigned long kMemGetPa = _IOR('N', 25, MemGetPa*);
inline constexpr unsigned long kMemGetInfo = _IOR('N', 26, MemGetInfo*);
inline constexpr unsigned long kProgramEngine = _IOWR('N', 27, ProgramEngine*);
inline constexpr unsigned long kMemset = _IOR('N', 28, Memset*);
inline constexpr unsigned long kMemset64 = _IOR('N', 28, Memset64);
inline constexpr unsigned long kMemGetExtendedInfo = _IOR('N', 29, MemGetExtendedInfo*);
inline constexpr unsigned long kProgramEngineNc = _IOWR('N', 105, ProgramEngineNc*);
inline constexpr unsigned long kProgramEngineNc64 = _IOWR('N', 105, ProgramEngineNc64);
inline constexpr unsigned long kDmabufFd = _IOR('N', 107, DmabufFd*);
inline constexpr unsigned long kMemCopyAsync = _IOWR('N', 108, MemCopyAsync);
inline constexpr unsigned long kMemCopyAsync64 = _IOWR('N', 108, MemCopyAsync64);
inline constexpr unsigned long kMemCopyAsyncWait = _IOW('N', 109, MemCopyAsyncWait);
inline constexpr unsigned long kMemMcGetInfo = _IOWR('N', 111, MemGetMcMmapInfo);
inline constexpr unsigned long kMemMcGetInfoV2 = _IOWR('N', 111, MemGetMcMmapInfoV2);
inline constexpr unsigned long kResourceMmapInfo = _IOWR('N', 112, ResourceMmapInfo);
inline constexpr unsigned long kDumpMemChunks = _IOR('N', 116, DumpMemChunks*);
inline constexpr unsigned long kMemBufZerocopy64 = _IOWR('N', 124, MemBufCopy64);

}  // namespace opennrt::neuron::abi
