// SPDX-License-Identifier: Apache-2.0
//
// The table of describe.h. Which fields the driver reads and which it writes: aws-neuron-driver neuron_ioctl.h and
// neuron_cdev.c (2.24.7.0).
#include <algorithm>
#include <array>
#include <iterator>

#include "backends/emulator/preload/describe.h"
#include "backends/neuron/abi.h"
#include "backends/neuron/paravirtual.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;
namespace pv = neuron::paravirtual;
using enum Kind;

// A field by its name in the structure; the rest of the line changes what it is.
#define FIELD(type, field) make(#field, offsetof(type, field), sizeof(type::field))

constexpr Field make(const char* name, std::size_t offset, std::size_t size) {
  Field field;
  field.name = name;
  field.offset = static_cast<std::uint32_t>(offset);
  field.size = static_cast<std::uint32_t>(size);
  return field;
}
constexpr Field as(Kind kind, Field field) {
  field.kind = kind;
  return field;
}
constexpr Field out(Field field) {
  field.way = Way::kOut;
  return field;
}
/// An array within the structure.
constexpr Field array(std::uint32_t count, Field field) {
  field.size /= count;
  field.count = count;
  field.list = true;
  return field;
}
/// Bytes within the structure (payload, secret, text) are one value.
constexpr Field bytes(Kind kind, Field field) {
  field.kind = kind;
  if (kind == kText) return field;
  field.count = field.size;
  field.size = 1;
  return field;
}
/// One value at the address that the field holds.
constexpr Field at(std::uint32_t size, Field field) {
  field.size = size;
  field.pointer = true;
  return field;
}
/// Several of them, as many as another field says.
constexpr Field at(std::uint32_t size, const char* counted, Field field) {
  field.size = size;
  field.pointer = true;
  field.list = true;
  field.count = 0;
  field.counted = counted;
  return field;
}
constexpr Field structure(const Layout& layout, Field field) {
  field.layout = &layout;
  return field;
}
constexpr Field by_flag(const char* flag, Field field) {
  field.way = Way::kByFlag;
  field.flag = flag;
  return field;
}

constexpr Field registers(Field field) {
  field.registers = true;
  return field;
}

#define LAYOUT(name, type, ...)                   \
  constexpr Field name##Fields[] = {__VA_ARGS__}; \
  constexpr Layout name {                         \
    sizeof(type), name##Fields                    \
  }

// ---- memory ----

LAYOUT(kMemAllocLayout, abi::MemAlloc, FIELD(abi::MemAlloc, size), FIELD(abi::MemAlloc, host_memory),
       FIELD(abi::MemAlloc, dram_channel), FIELD(abi::MemAlloc, dram_region), FIELD(abi::MemAlloc, nc_id),
       out(as(kHandle, at(8, FIELD(abi::MemAlloc, mem_handle)))));
LAYOUT(kMemAllocV2Layout, abi::MemAllocV2, FIELD(abi::MemAllocV2, size), FIELD(abi::MemAllocV2, align),
       FIELD(abi::MemAllocV2, host_memory), FIELD(abi::MemAllocV2, dram_channel), FIELD(abi::MemAllocV2, dram_region),
       FIELD(abi::MemAllocV2, nc_id), out(as(kHandle, at(8, FIELD(abi::MemAllocV2, mem_handle)))));
LAYOUT(kMemAllocV2MtLayout, abi::MemAllocV2Mt, FIELD(abi::MemAllocV2Mt, size), FIELD(abi::MemAllocV2Mt, align),
       FIELD(abi::MemAllocV2Mt, host_memory), FIELD(abi::MemAllocV2Mt, dram_channel),
       FIELD(abi::MemAllocV2Mt, dram_region), FIELD(abi::MemAllocV2Mt, nc_id), FIELD(abi::MemAllocV2Mt, mem_type),
       out(as(kHandle, at(8, FIELD(abi::MemAllocV2Mt, mem_handle)))));
LAYOUT(kMemAllocV2Mt64Layout, abi::MemAllocV2Mt64, FIELD(abi::MemAllocV2Mt64, size), FIELD(abi::MemAllocV2Mt64, align),
       FIELD(abi::MemAllocV2Mt64, host_memory), FIELD(abi::MemAllocV2Mt64, dram_channel),
       FIELD(abi::MemAllocV2Mt64, dram_region), FIELD(abi::MemAllocV2Mt64, nc_id), FIELD(abi::MemAllocV2Mt64, mem_type),
       out(as(kHandle, at(8, FIELD(abi::MemAllocV2Mt64, mem_handle)))));
LAYOUT(kMemFreeLayout, abi::MemFree, as(kHandle, FIELD(abi::MemFree, mem_handle)));
LAYOUT(kMemGetPaLayout, abi::MemGetPa, as(kHandle, FIELD(abi::MemGetPa, mem_handle)),
       out(as(kAddress, at(8, FIELD(abi::MemGetPa, pa)))));
LAYOUT(kMemGetInfoLayout, abi::MemGetInfo, as(kHandle, FIELD(abi::MemGetInfo, mem_handle)),
       out(as(kMmapOffset, at(8, FIELD(abi::MemGetInfo, mmap_offset)))),
       out(as(kAddress, at(8, FIELD(abi::MemGetInfo, pa)))));
LAYOUT(kMemGetExtendedInfoLayout, abi::MemGetExtendedInfo, as(kHandle, FIELD(abi::MemGetExtendedInfo, mem_handle)),
       FIELD(abi::MemGetExtendedInfo, version), out(FIELD(abi::MemGetExtendedInfo, host_memory)),
       out(as(kMmapOffset, FIELD(abi::MemGetExtendedInfo, mmap_offset))),
       out(as(kAddress, FIELD(abi::MemGetExtendedInfo, pa))), out(as(kPid, FIELD(abi::MemGetExtendedInfo, pid))),
       out(FIELD(abi::MemGetExtendedInfo, size)));
LAYOUT(kMemMcGetInfoLayout, abi::MemGetMcMmapInfo, as(kAddress, FIELD(abi::MemGetMcMmapInfo, pa)),
       out(as(kMmapOffset, FIELD(abi::MemGetMcMmapInfo, mmap_offset))), out(FIELD(abi::MemGetMcMmapInfo, size)));
LAYOUT(kMemMcGetInfoV2Layout, abi::MemGetMcMmapInfoV2, as(kAddress, FIELD(abi::MemGetMcMmapInfoV2, pa)),
       out(as(kMmapOffset, FIELD(abi::MemGetMcMmapInfoV2, mmap_offset))), out(FIELD(abi::MemGetMcMmapInfoV2, size)),
       out(as(kHandle, FIELD(abi::MemGetMcMmapInfoV2, mem_handle))));
LAYOUT(kMemChunkInfoLayout, abi::MemChunkInfo, out(as(kAddress, FIELD(abi::MemChunkInfo, pa))),
       out(FIELD(abi::MemChunkInfo, size)), out(FIELD(abi::MemChunkInfo, mem_type)));
LAYOUT(kDumpMemChunksLayout, abi::DumpMemChunks, FIELD(abi::DumpMemChunks, hbm_index),
       FIELD(abi::DumpMemChunks, num_entries_in), out(FIELD(abi::DumpMemChunks, num_entries_out)),
       structure(kMemChunkInfoLayout,
                 at(sizeof(abi::MemChunkInfo), "num_entries_out", FIELD(abi::DumpMemChunks, data))));
LAYOUT(kResourceMmapInfoLayout, abi::ResourceMmapInfo, FIELD(abi::ResourceMmapInfo, block),
       FIELD(abi::ResourceMmapInfo, block_id), FIELD(abi::ResourceMmapInfo, resource),
       out(as(kMmapOffset, FIELD(abi::ResourceMmapInfo, offset))), out(FIELD(abi::ResourceMmapInfo, size)));
LAYOUT(kDmabufFdLayout, abi::DmabufFd, bytes(kSecret, FIELD(abi::DmabufFd, va)), FIELD(abi::DmabufFd, size),
       out(as(kFd, at(4, FIELD(abi::DmabufFd, fd)))));
LAYOUT(kMemCopyLayout, abi::MemCopy, as(kHandle, FIELD(abi::MemCopy, src_mem_handle)),
       as(kHandle, FIELD(abi::MemCopy, dst_mem_handle)), FIELD(abi::MemCopy, size), FIELD(abi::MemCopy, src_offset),
       FIELD(abi::MemCopy, dst_offset));
LAYOUT(kMemCopy64Layout, abi::MemCopy64, as(kHandle, FIELD(abi::MemCopy64, src_mem_handle)),
       as(kHandle, FIELD(abi::MemCopy64, dst_mem_handle)), FIELD(abi::MemCopy64, size),
       FIELD(abi::MemCopy64, src_offset), FIELD(abi::MemCopy64, dst_offset));
// host_prefetch_addr is an address of the process: it differs from run to run and nothing depends on it.
LAYOUT(kMemCopyAsyncLayout, abi::MemCopyAsync, as(kHandle, FIELD(abi::MemCopyAsync, src_mem_handle)),
       as(kHandle, FIELD(abi::MemCopyAsync, dst_mem_handle)), FIELD(abi::MemCopyAsync, size),
       FIELD(abi::MemCopyAsync, src_offset), FIELD(abi::MemCopyAsync, dst_offset),
       as(kSigned, FIELD(abi::MemCopyAsync, pwait_handle)), out(FIELD(abi::MemCopyAsync, wait_handle)));
LAYOUT(kMemCopyAsync64Layout, abi::MemCopyAsync64, as(kHandle, FIELD(abi::MemCopyAsync64, src_mem_handle)),
       as(kHandle, FIELD(abi::MemCopyAsync64, dst_mem_handle)), FIELD(abi::MemCopyAsync64, size),
       FIELD(abi::MemCopyAsync64, src_offset), FIELD(abi::MemCopyAsync64, dst_offset),
       as(kSigned, FIELD(abi::MemCopyAsync64, pwait_handle)), out(FIELD(abi::MemCopyAsync64, wait_handle)));
LAYOUT(kMemCopyAsyncWaitLayout, abi::MemCopyAsyncWait, as(kHandle, FIELD(abi::MemCopyAsyncWait, src_mem_handle)),
       as(kHandle, FIELD(abi::MemCopyAsyncWait, dst_mem_handle)),
       as(kSigned, FIELD(abi::MemCopyAsyncWait, pwait_handle)));
LAYOUT(kMemsetLayout, abi::Memset, as(kHandle, FIELD(abi::Memset, mem_handle)), FIELD(abi::Memset, offset),
       FIELD(abi::Memset, value), FIELD(abi::Memset, size));
LAYOUT(kMemset64Layout, abi::Memset64, as(kHandle, FIELD(abi::Memset64, mem_handle)), FIELD(abi::Memset64, offset),
       FIELD(abi::Memset64, value), FIELD(abi::Memset64, size));
LAYOUT(kMemBufCopyLayout, abi::MemBufCopy, as(kHandle, FIELD(abi::MemBufCopy, mem_handle)),
       as(kPayload, by_flag("copy_to_mem_handle", at(1, "size", FIELD(abi::MemBufCopy, buffer)))),
       FIELD(abi::MemBufCopy, size), FIELD(abi::MemBufCopy, offset), FIELD(abi::MemBufCopy, copy_to_mem_handle));
LAYOUT(kMemBufCopy64Layout, abi::MemBufCopy64, as(kHandle, FIELD(abi::MemBufCopy64, mem_handle)),
       as(kPayload, by_flag("copy_to_mem_handle", at(1, "size", FIELD(abi::MemBufCopy64, buffer)))),
       FIELD(abi::MemBufCopy64, size), FIELD(abi::MemBufCopy64, offset), FIELD(abi::MemBufCopy64, copy_to_mem_handle));
LAYOUT(kProgramEngineLayout, abi::ProgramEngine, as(kHex, FIELD(abi::ProgramEngine, dst)),
       as(kPayload, at(1, "size", FIELD(abi::ProgramEngine, buffer))), FIELD(abi::ProgramEngine, size),
       FIELD(abi::ProgramEngine, offset));
LAYOUT(kProgramEngineNcLayout, abi::ProgramEngineNc, FIELD(abi::ProgramEngineNc, nc_id),
       as(kHex, FIELD(abi::ProgramEngineNc, dst)), as(kPayload, at(1, "size", FIELD(abi::ProgramEngineNc, buffer))),
       FIELD(abi::ProgramEngineNc, size), FIELD(abi::ProgramEngineNc, offset));
LAYOUT(kProgramEngineNc64Layout, abi::ProgramEngineNc64, FIELD(abi::ProgramEngineNc64, nc_id),
       as(kHex, FIELD(abi::ProgramEngineNc64, dst)), as(kPayload, at(1, "size", FIELD(abi::ProgramEngineNc64, buffer))),
       FIELD(abi::ProgramEngineNc64, size), FIELD(abi::ProgramEngineNc64, offset));

// ---- DMA ----

LAYOUT(kDmaEngInitLayout, abi::DmaEngInit, FIELD(abi::DmaEngInit, eng_id));
LAYOUT(kDmaEngSetStateLayout, abi::DmaEngSetState, FIELD(abi::DmaEngSetState, eng_id),
       FIELD(abi::DmaEngSetState, state));
LAYOUT(kDmaEngStateLayout, abi::DmaEngState, out(FIELD(abi::DmaEngState, revision_id)),
       out(FIELD(abi::DmaEngState, max_queues)), out(FIELD(abi::DmaEngState, num_queues)),
       out(FIELD(abi::DmaEngState, tx_state)), out(FIELD(abi::DmaEngState, rx_state)));
LAYOUT(kDmaEngGetStateLayout, abi::DmaEngGetState, FIELD(abi::DmaEngGetState, eng_id),
       structure(kDmaEngStateLayout, at(sizeof(abi::DmaEngState), FIELD(abi::DmaEngGetState, state))));
LAYOUT(kDmaQueueInitLayout, abi::DmaQueueInit, FIELD(abi::DmaQueueInit, eng_id), FIELD(abi::DmaQueueInit, qid),
       FIELD(abi::DmaQueueInit, tx_desc_count), FIELD(abi::DmaQueueInit, rx_desc_count),
       as(kHandle, FIELD(abi::DmaQueueInit, tx_handle)), as(kHandle, FIELD(abi::DmaQueueInit, rx_handle)),
       as(kHandle, FIELD(abi::DmaQueueInit, rxc_handle)), FIELD(abi::DmaQueueInit, axi_port));
constexpr Field batch_entries() {
  Field field = structure(kDmaQueueInitLayout, array(abi::kMaxQueueInitBatch, FIELD(abi::DmaQueueInitBatch, entries)));
  field.counted = "count";
  return field;
}
LAYOUT(kDmaQueueInitBatchLayout, abi::DmaQueueInitBatch, FIELD(abi::DmaQueueInitBatch, count), batch_entries());
LAYOUT(kDmaQueueReleaseLayout, abi::DmaQueueRelease, FIELD(abi::DmaQueueRelease, eng_id),
       FIELD(abi::DmaQueueRelease, qid));
LAYOUT(kDmaQuiesceQueuesLayout, abi::DmaQuiesceQueues, FIELD(abi::DmaQuiesceQueues, nc_id),
       FIELD(abi::DmaQuiesceQueues, engine_count),
       as(kHex, array(abi::kQuiesceMaxEngines, FIELD(abi::DmaQuiesceQueues, queue_mask))));
LAYOUT(kDmaAckCompletedLayout, abi::DmaAckCompleted, FIELD(abi::DmaAckCompleted, eng_id),
       FIELD(abi::DmaAckCompleted, qid), FIELD(abi::DmaAckCompleted, count));
LAYOUT(kDmaQueueCopyStartLayout, abi::DmaQueueCopyStart, FIELD(abi::DmaQueueCopyStart, eng_id),
       FIELD(abi::DmaQueueCopyStart, qid), FIELD(abi::DmaQueueCopyStart, tx_desc_count),
       FIELD(abi::DmaQueueCopyStart, rx_desc_count));
LAYOUT(kDmaQueueStateLayout, abi::DmaQueueState, out(as(kHex, FIELD(abi::DmaQueueState, hw_status))),
       out(as(kHex, FIELD(abi::DmaQueueState, sw_status))), out(as(kAddress, FIELD(abi::DmaQueueState, base_addr))),
       out(FIELD(abi::DmaQueueState, length)), out(FIELD(abi::DmaQueueState, head_pointer)),
       out(FIELD(abi::DmaQueueState, tail_pointer)), out(as(kAddress, FIELD(abi::DmaQueueState, completion_base_addr))),
       out(FIELD(abi::DmaQueueState, completion_head)));
LAYOUT(kDmaQueueGetStateLayout, abi::DmaQueueGetState, FIELD(abi::DmaQueueGetState, eng_id),
       FIELD(abi::DmaQueueGetState, qid),
       structure(kDmaQueueStateLayout, at(sizeof(abi::DmaQueueState), FIELD(abi::DmaQueueGetState, tx))),
       structure(kDmaQueueStateLayout, at(sizeof(abi::DmaQueueState), FIELD(abi::DmaQueueGetState, rx))));
constexpr std::uint32_t kDescriptorBytes = 16;
LAYOUT(kDmaCopyDescriptorsLayout, abi::DmaCopyDescriptors, as(kHandle, FIELD(abi::DmaCopyDescriptors, mem_handle)),
       as(kPayload, at(kDescriptorBytes, "num_descs", FIELD(abi::DmaCopyDescriptors, buffer))),
       FIELD(abi::DmaCopyDescriptors, num_descs), FIELD(abi::DmaCopyDescriptors, offset),
       FIELD(abi::DmaCopyDescriptors, queue_type));
LAYOUT(kDmaCopyDescriptors64Layout, abi::DmaCopyDescriptors64,
       as(kHandle, FIELD(abi::DmaCopyDescriptors64, mem_handle)),
       as(kPayload, at(kDescriptorBytes, "num_descs", FIELD(abi::DmaCopyDescriptors64, buffer))),
       FIELD(abi::DmaCopyDescriptors64, num_descs), FIELD(abi::DmaCopyDescriptors64, offset),
       FIELD(abi::DmaCopyDescriptors64, queue_type));
LAYOUT(kDmaDescriptorCopyoutLayout, abi::DmaDescriptorCopyout, FIELD(abi::DmaDescriptorCopyout, eng_id),
       FIELD(abi::DmaDescriptorCopyout, qid), FIELD(abi::DmaDescriptorCopyout, type),
       FIELD(abi::DmaDescriptorCopyout, start_index), FIELD(abi::DmaDescriptorCopyout, count),
       out(as(kPayload, at(kDescriptorBytes, "count", FIELD(abi::DmaDescriptorCopyout, buffer)))));

// ---- cores ----

LAYOUT(kCrwlLayout, abi::Crwl, FIELD(abi::Crwl, nc_id), bytes(kSecret, FIELD(abi::Crwl, uuid)));
LAYOUT(kRangeMarkLayout, abi::CrwlNcMap, FIELD(abi::CrwlNcMap, nc_count), FIELD(abi::CrwlNcMap, start_nc_index),
       FIELD(abi::CrwlNcMap, end_nc_index), out(FIELD(abi::CrwlNcMap, max_nc_available)),
       out(as(kHex, FIELD(abi::CrwlNcMap, bitmap))));
LAYOUT(kRangeMarkExt0Layout, abi::CrwlNcMapExt, FIELD(abi::CrwlNcMapExt, nc_count),
       FIELD(abi::CrwlNcMapExt, start_nc_index), FIELD(abi::CrwlNcMapExt, end_nc_index),
       out(FIELD(abi::CrwlNcMapExt, max_nc_available)), out(as(kHex, array(8, FIELD(abi::CrwlNcMapExt, bitmap)))));
LAYOUT(kRangeUnmarkLayout, abi::CrwlNcMap, as(kHex, FIELD(abi::CrwlNcMap, bitmap)));
LAYOUT(kRangeUnmarkExt0Layout, abi::CrwlNcMapExt, as(kHex, array(8, FIELD(abi::CrwlNcMapExt, bitmap))));
LAYOUT(kCinitSetLayout, abi::CinitSet, FIELD(abi::CinitSet, nc_id), FIELD(abi::CinitSet, state),
       out(FIELD(abi::CinitSet, new_state)));
LAYOUT(kNcModelStartedCountLayout, abi::NcModelStartedCount, FIELD(abi::NcModelStartedCount, nc_id),
       out(FIELD(abi::NcModelStartedCount, started_count)));
LAYOUT(kNcPidStateDumpLayout, abi::NcPidStateDump, FIELD(abi::NcPidStateDump, size), FIELD(abi::NcPidStateDump, nc_id),
       FIELD(abi::NcPidStateDump, filter_log_owner), FIELD(abi::NcPidStateDump, log_dump_limit));
LAYOUT(kSemaphoreLayout, abi::Semaphore, FIELD(abi::Semaphore, nc_id), FIELD(abi::Semaphore, semaphore_index),
       FIELD(abi::Semaphore, value));
LAYOUT(kSemaphoreReadLayout, abi::Semaphore, FIELD(abi::Semaphore, nc_id), FIELD(abi::Semaphore, semaphore_index),
       out(FIELD(abi::Semaphore, value)));
LAYOUT(kEventLayout, abi::Event, FIELD(abi::Event, nc_id), FIELD(abi::Event, event_index), FIELD(abi::Event, value));
LAYOUT(kEventGetLayout, abi::Event, FIELD(abi::Event, nc_id), FIELD(abi::Event, event_index),
       out(FIELD(abi::Event, value)));
LAYOUT(kNotificationsInitV1Layout, abi::NotificationsInitV1, FIELD(abi::NotificationsInitV1, nc_id),
       FIELD(abi::NotificationsInitV1, nq_type), FIELD(abi::NotificationsInitV1, engine_index),
       FIELD(abi::NotificationsInitV1, size), out(as(kMmapOffset, FIELD(abi::NotificationsInitV1, mmap_offset))));
LAYOUT(kNotificationsInitV2Layout, abi::NotificationsInitV2, FIELD(abi::NotificationsInitV2, nq_dev_id),
       FIELD(abi::NotificationsInitV2, nq_dev_type), FIELD(abi::NotificationsInitV2, nq_type),
       FIELD(abi::NotificationsInitV2, engine_index), FIELD(abi::NotificationsInitV2, size),
       FIELD(abi::NotificationsInitV2, on_host_memory), FIELD(abi::NotificationsInitV2, dram_channel),
       FIELD(abi::NotificationsInitV2, dram_region), out(as(kMmapOffset, FIELD(abi::NotificationsInitV2, mmap_offset))),
       out(as(kHandle, FIELD(abi::NotificationsInitV2, mem_handle))));
using Realloc = abi::NotificationsInitWithReallocV2;
LAYOUT(kReallocLayout, Realloc, FIELD(Realloc, nq_dev_id), FIELD(Realloc, nq_dev_type), FIELD(Realloc, nq_type),
       FIELD(Realloc, engine_index), FIELD(Realloc, size), FIELD(Realloc, on_host_memory), FIELD(Realloc, dram_channel),
       FIELD(Realloc, dram_region), FIELD(Realloc, force_alloc_mem), out(as(kMmapOffset, FIELD(Realloc, mmap_offset))),
       out(as(kHandle, FIELD(Realloc, mem_handle))));
LAYOUT(kNotificationsDestroyLayout, abi::NotificationsDestroy,
       as(kMmapOffset, FIELD(abi::NotificationsDestroy, mmap_offset)));
LAYOUT(kNotificationsQueueInfoLayout, abi::NotificationsQueueInfo, FIELD(abi::NotificationsQueueInfo, nq_dev_id),
       FIELD(abi::NotificationsQueueInfo, nq_dev_type), FIELD(abi::NotificationsQueueInfo, nq_type),
       FIELD(abi::NotificationsQueueInfo, engine_index), out(FIELD(abi::NotificationsQueueInfo, head)),
       out(FIELD(abi::NotificationsQueueInfo, phase_bit)));
LAYOUT(kDeviceResetLayout, abi::DeviceReset, as(kHex, FIELD(abi::DeviceReset, nc_map)),
       out(as(kReset, FIELD(abi::DeviceReset, request_id))));
LAYOUT(kDeviceReadyLayout, abi::DeviceReady, as(kReset, FIELD(abi::DeviceReady, request_id)),
       out(as(kSigned, FIELD(abi::DeviceReady, result))));
LAYOUT(kAcquireDsLayout, abi::NeuronDsInfo, as(kPid, FIELD(abi::NeuronDsInfo, pid)),
       out(as(kMmapOffset, FIELD(abi::NeuronDsInfo, mmap_offset))), out(FIELD(abi::NeuronDsInfo, size)));
LAYOUT(kReleaseDsLayout, abi::NeuronDsInfo, as(kPid, FIELD(abi::NeuronDsInfo, pid)));

// ---- devices ----

LAYOUT(kCompatibleVersionLayout, abi::CompatibleVersion, out(FIELD(abi::CompatibleVersion, max)),
       out(FIELD(abi::CompatibleVersion, min)));
LAYOUT(kDeviceBasicInfoLayout, abi::DeviceBasicInfo, out(FIELD(abi::DeviceBasicInfo, architecture)),
       out(FIELD(abi::DeviceBasicInfo, revision)));
LAYOUT(kDriverInfoLayout, abi::DeviceDriverInfo, out(FIELD(abi::DeviceDriverInfo, architecture)),
       out(FIELD(abi::DeviceDriverInfo, revision)), out(FIELD(abi::DeviceDriverInfo, version)),
       out(FIELD(abi::DeviceDriverInfo, size)), out(as(kHex, FIELD(abi::DeviceDriverInfo, feature_flags1))));
LAYOUT(kDeviceInfoLayout, abi::DeviceInfo, out(FIELD(abi::DeviceInfo, architecture)),
       out(FIELD(abi::DeviceInfo, revision)), out(FIELD(abi::DeviceInfo, connected_device_count)),
       out(array(abi::kMaxConnectedDevices, FIELD(abi::DeviceInfo, connected_devices))),
       out(as(kAddress, array(abi::kMaxBars, FIELD(abi::DeviceInfo, bar_address)))),
       out(array(abi::kMaxBars, FIELD(abi::DeviceInfo, bar_size))));
LAYOUT(kDeviceInitLayout, abi::DeviceInit, FIELD(abi::DeviceInit, mem_regions));
LAYOUT(kDeviceBdfLayout, abi::DeviceBdf, out(FIELD(abi::DeviceBdf, bus_number)), out(FIELD(abi::DeviceBdf, slot)),
       out(FIELD(abi::DeviceBdf, func)));
LAYOUT(kDeviceBdfExtLayout, abi::DeviceBdfExt, FIELD(abi::DeviceBdfExt, nd_index),
       out(FIELD(abi::DeviceBdfExt, domain)), out(FIELD(abi::DeviceBdfExt, bus_number)),
       out(FIELD(abi::DeviceBdfExt, slot)), out(FIELD(abi::DeviceBdfExt, func)));
LAYOUT(kHostDeviceIdLayout, abi::HostDeviceId, out(FIELD(abi::HostDeviceId, host_device_id)));
LAYOUT(kRidMapLayout, abi::HostDeviceIdToRidMap, out(FIELD(abi::HostDeviceIdToRidMap, count)),
       out(array(abi::kMaxDevices, FIELD(abi::HostDeviceIdToRidMap, host_did_to_rid_map))));
constexpr Field kPidField[] = {out(as(kPid, make("pid", 0, 4)))};
constexpr Layout kPidLayout{4, kPidField};
LAYOUT(kAppInfoLayout, abi::AppInfo, out(as(kPid, FIELD(abi::AppInfo, pid))),
       out(as(kHex, FIELD(abi::AppInfo, nc_lock_map))), out(bytes(kSecret, FIELD(abi::AppInfo, uuid_data))),
       out(FIELD(abi::AppInfo, host_mem_size)), out(FIELD(abi::AppInfo, device_mem_size)));
/// The array behind the structure.
constexpr Field app_data() {
  Field field = structure(kAppInfoLayout, make("app_data", sizeof(abi::GetAppsInfo), sizeof(abi::AppInfo)));
  field.list = true;
  field.count = 1024;
  field.counted = "size";
  return field;
}
LAYOUT(kGetAppsInfoLayout, abi::GetAppsInfo, as(kHex, FIELD(abi::GetAppsInfo, apps_info_flags)),
       FIELD(abi::GetAppsInfo, capacity), out(FIELD(abi::GetAppsInfo, size)), app_data());
LAYOUT(kBarReadLayout, abi::BarRw, FIELD(abi::BarRw, bar),
       registers(as(kAddress, at(8, "count", FIELD(abi::BarRw, address)))),
       registers(out(as(kHex, at(4, "count", FIELD(abi::BarRw, data))))), FIELD(abi::BarRw, count));
LAYOUT(kBarWriteLayout, abi::BarRw, FIELD(abi::BarRw, bar),
       registers(as(kAddress, at(8, "count", FIELD(abi::BarRw, address)))),
       registers(as(kHex, at(4, "count", FIELD(abi::BarRw, data)))), FIELD(abi::BarRw, count));
LAYOUT(kReadHwCountersLayout, abi::ReadHwCounters, as(kHex, at(8, "count", FIELD(abi::ReadHwCounters, address))),
       out(as(kHex, at(4, "count", FIELD(abi::ReadHwCounters, data)))), FIELD(abi::ReadHwCounters, count));
LAYOUT(kPostMetricLayout, abi::PostMetric, as(kPayload, at(1, "data_size", FIELD(abi::PostMetric, data))),
       FIELD(abi::PostMetric, data_size));
LAYOUT(kPrintkLayout, abi::Printk, as(kPayload, at(1, "size", FIELD(abi::Printk, buffer))), FIELD(abi::Printk, size),
       FIELD(abi::Printk, action));
LAYOUT(kHbmScrubStartLayout, abi::HbmScrubStart, FIELD(abi::HbmScrubStart, nc_id), FIELD(abi::HbmScrubStart, hbm_index),
       FIELD(abi::HbmScrubStart, axi_port), FIELD(abi::HbmScrubStart, init_val));
LAYOUT(kHbmScrubWaitLayout, abi::HbmScrubWait, FIELD(abi::HbmScrubWait, nc_id), FIELD(abi::HbmScrubWait, hbm_index));
LAYOUT(kNcMapLayout, abi::GetLogicalToPhysicalNcMap, FIELD(abi::GetLogicalToPhysicalNcMap, max_map_entries),
       FIELD(abi::GetLogicalToPhysicalNcMap, mapping_version));
LAYOUT(kPodInfoLayout, abi::PodInfo, FIELD(abi::PodInfo, sz), out(FIELD(abi::PodInfo, pod_type)),
       out(bytes(kSecret, FIELD(abi::PodInfo, pod_id))), out(FIELD(abi::PodInfo, pod_sz)));
LAYOUT(kPodStatusLayout, abi::PodStatus, FIELD(abi::PodStatus, sz), out(bytes(kSecret, FIELD(abi::PodStatus, pod_id))),
       out(FIELD(abi::PodStatus, state)), out(FIELD(abi::PodStatus, pod_type)), out(FIELD(abi::PodStatus, pod_sz)),
       out(as(kSigned, FIELD(abi::PodStatus, node_id))));
LAYOUT(kPodCtrlLayout, abi::PodCtrl, FIELD(abi::PodCtrl, sz), FIELD(abi::PodCtrl, ctrl), FIELD(abi::PodCtrl, timeout),
       out(FIELD(abi::PodCtrl, state)));

// ---- paravirtual ----

LAYOUT(kHelloLayout, pv::Hello, FIELD(pv::Hello, version), out(FIELD(pv::Hello, open_isa_version)),
       out(FIELD(pv::Hello, sbuf_bytes_per_partition)), out(FIELD(pv::Hello, psum_bytes_per_partition)),
       out(bytes(kText, FIELD(pv::Hello, instance_type))), out(as(kHex, FIELD(pv::Hello, fault_plan))));
// `deadline` is of the process's own clock or the simulated one: what it is worth is in the result.
LAYOUT(kWaitLayout, pv::Wait, FIELD(pv::Wait, core), FIELD(pv::Wait, seen),
       out(as(kPayload, at(1, "text_bytes", FIELD(pv::Wait, text)))), FIELD(pv::Wait, text_bytes));
LAYOUT(kClockLayout, pv::Clock, as(kHex, FIELD(pv::Clock, core)), out(FIELD(pv::Clock, nanoseconds)));
LAYOUT(kConsumeLayout, pv::Consume, FIELD(pv::Consume, core), FIELD(pv::Consume, type), FIELD(pv::Consume, engine),
       FIELD(pv::Consume, entries));
LAYOUT(kMemStatsLayout, pv::MemStats, FIELD(pv::MemStats, core), out(FIELD(pv::MemStats, used_by_process)),
       out(FIELD(pv::MemStats, used)), out(FIELD(pv::MemStats, capacity)));
LAYOUT(kQuiesceLayout, pv::Quiesce, FIELD(pv::Quiesce, core));
LAYOUT(kMarkerLayout, pv::Marker, as(kPayload, at(1, "bytes", FIELD(pv::Marker, name))), FIELD(pv::Marker, bytes));

constexpr bool kReads = true;
/// {name, request, layout, reads, out_on_error, frees}
constexpr RequestDescription kRequests[] = {
    {"MEM_ALLOC", abi::kMemAlloc, &kMemAllocLayout},
    {"MEM_ALLOC_V2", abi::kMemAllocV2, &kMemAllocV2Layout},
    {"MEM_ALLOC_V2MT", abi::kMemAllocV2Mt, &kMemAllocV2MtLayout},
    {"MEM_ALLOC_V2MT64", abi::kMemAllocV2Mt64, &kMemAllocV2Mt64Layout},
    {"MEM_FREE", abi::kMemFree, &kMemFreeLayout, false, false, true},
    {"MEM_GET_PA", abi::kMemGetPa, &kMemGetPaLayout, kReads},
    {"MEM_GET_INFO", abi::kMemGetInfo, &kMemGetInfoLayout, kReads},
    {"MEM_GET_EXTENDED_INFO", abi::kMemGetExtendedInfo, &kMemGetExtendedInfoLayout, kReads},
    {"MEM_MC_GET_INFO", abi::kMemMcGetInfo, &kMemMcGetInfoLayout, kReads},
    {"MEM_MC_GET_INFO_V2", abi::kMemMcGetInfoV2, &kMemMcGetInfoV2Layout, kReads},
    {"DUMP_MEM_CHUNKS", abi::kDumpMemChunks, &kDumpMemChunksLayout, kReads},
    {"RESOURCE_MMAP_INFO", abi::kResourceMmapInfo, &kResourceMmapInfoLayout, kReads},
    {"DMABUF_FD", abi::kDmabufFd, &kDmabufFdLayout},
    {"MEM_COPY", abi::kMemCopy, &kMemCopyLayout},
    {"MEM_COPY64", abi::kMemCopy64, &kMemCopy64Layout},
    {"MEM_COPY_ASYNC", abi::kMemCopyAsync, &kMemCopyAsyncLayout},
    {"MEM_COPY_ASYNC64", abi::kMemCopyAsync64, &kMemCopyAsync64Layout},
    {"MEM_COPY_ASYNC_WAIT", abi::kMemCopyAsyncWait, &kMemCopyAsyncWaitLayout},
    {"MEMSET", abi::kMemset, &kMemsetLayout},
    {"MEMSET64", abi::kMemset64, &kMemset64Layout},
    {"MEM_BUF_COPY", abi::kMemBufCopy, &kMemBufCopyLayout},
    {"MEM_BUF_COPY64", abi::kMemBufCopy64, &kMemBufCopy64Layout},
    {"MEM_BUF_ZEROCOPY64", abi::kMemBufZerocopy64, &kMemBufCopy64Layout},
    {"PROGRAM_ENGINE", abi::kProgramEngine, &kProgramEngineLayout},
    {"PROGRAM_ENGINE_NC", abi::kProgramEngineNc, &kProgramEngineNcLayout},
    {"PROGRAM_ENGINE_NC64", abi::kProgramEngineNc64, &kProgramEngineNc64Layout},
    {"DMA_ENG_INIT", abi::kDmaEngInit, &kDmaEngInitLayout},
    {"DMA_ENG_SET_STATE", abi::kDmaEngSetState, &kDmaEngSetStateLayout},
    {"DMA_ENG_GET_STATE", abi::kDmaEngGetState, &kDmaEngGetStateLayout, kReads},
    {"DMA_QUEUE_INIT", abi::kDmaQueueInit, &kDmaQueueInitLayout},
    {"DMA_QUEUE_INIT_BATCH", abi::kDmaQueueInitBatch, &kDmaQueueInitBatchLayout},
    {"DMA_QUEUE_RELEASE", abi::kDmaQueueRelease, &kDmaQueueReleaseLayout},
    {"DMA_QUEUE_COPY_START", abi::kDmaQueueCopyStart, &kDmaQueueCopyStartLayout},
    {"DMA_ACK_COMPLETED", abi::kDmaAckCompleted, &kDmaAckCompletedLayout},
    {"DMA_QUEUE_GET_STATE", abi::kDmaQueueGetState, &kDmaQueueGetStateLayout, kReads},
    {"DMA_COPY_DESCRIPTORS", abi::kDmaCopyDescriptors, &kDmaCopyDescriptorsLayout},
    {"DMA_COPY_DESCRIPTORS64", abi::kDmaCopyDescriptors64, &kDmaCopyDescriptors64Layout},
    {"DMA_DESCRIPTOR_COPYOUT", abi::kDmaDescriptorCopyout, &kDmaDescriptorCopyoutLayout, kReads},
    {"DMA_QUIESCE_QUEUES", abi::kDmaQuiesceQueues, &kDmaQuiesceQueuesLayout},
    {"SEMAPHORE_INCREMENT", abi::kSemaphoreIncrement, &kSemaphoreLayout},
    {"SEMAPHORE_DECREMENT", abi::kSemaphoreDecrement, &kSemaphoreLayout},
    {"SEMAPHORE_READ", abi::kSemaphoreRead, &kSemaphoreReadLayout, kReads},
    {"SEMAPHORE_WRITE", abi::kSemaphoreWrite, &kSemaphoreLayout},
    {"EVENT_SET", abi::kEventSet, &kEventLayout},
    {"EVENT_GET", abi::kEventGet, &kEventGetLayout, kReads},
    {"NOTIFICATIONS_INIT_V1", abi::kNotificationsInitV1, &kNotificationsInitV1Layout},
    {"NOTIFICATIONS_INIT_V2", abi::kNotificationsInitV2, &kNotificationsInitV2Layout},
    {"NOTIFICATIONS_INIT_WITH_REALLOC_V2", abi::kNotificationsInitWithReallocV2, &kReallocLayout},
    {"NOTIFICATIONS_DESTROY_V1", abi::kNotificationsDestroyV1, &kNotificationsDestroyLayout, false, false, true},
    {"NOTIFICATIONS_QUEUE_INFO", abi::kNotificationsQueueInfo, &kNotificationsQueueInfoLayout, kReads},
    {"READ_HW_COUNTERS", abi::kReadHwCounters, &kReadHwCountersLayout, kReads},
    {"ACQUIRE_NEURON_DS", abi::kAcquireNeuronDs, &kAcquireDsLayout},
    {"RELEASE_NEURON_DS", abi::kReleaseNeuronDs, &kReleaseDsLayout},
    {"CRWL_READER_ENTER", abi::kCrwlReaderEnter, &kCrwlLayout},
    {"CRWL_READER_EXIT", abi::kCrwlReaderExit, &kCrwlLayout},
    {"CRWL_WRITER_ENTER", abi::kCrwlWriterEnter, &kCrwlLayout},
    {"CRWL_WRITER_DOWNGRADE", abi::kCrwlWriterDowngrade, &kCrwlLayout},
    {"CRWL_NC_RANGE_MARK", abi::kCrwlNcRangeMark, &kRangeMarkLayout, false, true},
    {"CRWL_NC_RANGE_MARK_EXT0", abi::kCrwlNcRangeMarkExt0, &kRangeMarkExt0Layout, false, true},
    {"CRWL_NC_RANGE_UNMARK", abi::kCrwlNcRangeUnmark, &kRangeUnmarkLayout},
    {"CRWL_NC_RANGE_UNMARK_EXT0", abi::kCrwlNcRangeUnmarkExt0, &kRangeUnmarkExt0Layout},
    {"CINIT_SET_STATE", abi::kCinitSetState, &kCinitSetLayout},
    {"NC_MODEL_STARTED_COUNT", abi::kNcModelStartedCount, &kNcModelStartedCountLayout},
    {"NC_RESET", abi::kNcReset, &kDeviceResetLayout},
    {"NC_RESET_READY", abi::kNcResetReady, &kDeviceReadyLayout},
    {"NC_PID_STATE_DUMP", abi::kNcPidStateDump, &kNcPidStateDumpLayout},
    {"COMPATIBLE_VERSION", abi::kCompatibleVersion, &kCompatibleVersionLayout, kReads},
    {"DEVICE_BASIC_INFO", abi::kDeviceBasicInfo, &kDeviceBasicInfoLayout, kReads},
    {"DRIVER_INFO_GET", abi::kDriverInfoGet, &kDriverInfoLayout, kReads},
    {"DRIVER_INFO_SET", abi::kDriverInfoSet, nullptr},
    {"DEVICE_INFO", abi::kDeviceInfo, &kDeviceInfoLayout, kReads},
    {"DEVICE_INIT", abi::kDeviceInit, &kDeviceInitLayout},
    {"DEVICE_RELEASE", abi::kDeviceRelease, nullptr},
    {"DEVICE_RESET", abi::kDeviceReset, nullptr},
    {"DEVICE_READY", abi::kDeviceReady, nullptr},
    {"DEVICE_RESET_STATUS", abi::kDeviceResetStatus, nullptr},
    {"DEVICE_APP_PID", abi::kDeviceAppPid, &kPidLayout, kReads},
    {"DEVICE_GET_ALL_APPS_INFO", abi::kDeviceGetAllAppsInfo, &kGetAppsInfoLayout, kReads},
    {"DEVICE_BDF", abi::kDeviceBdf, &kDeviceBdfLayout, kReads},
    {"DEVICE_BDF_EXT", abi::kDeviceBdfExt, &kDeviceBdfExtLayout, kReads},
    {"HOST_DEVICE_ID", abi::kHostDeviceId, &kHostDeviceIdLayout, kReads},
    {"HOST_DEVICE_ID_TO_RID_MAP", abi::kHostDeviceIdToRidMap, &kRidMapLayout, kReads},
    {"BAR_READ", abi::kBarRead, &kBarReadLayout, kReads},
    {"BAR_WRITE", abi::kBarWrite, &kBarWriteLayout},
    {"POST_METRIC", abi::kPostMetric, &kPostMetricLayout},
    {"PRINTK", abi::kPrintk, &kPrintkLayout},
    {"HBM_SCRUB_START", abi::kHbmScrubStart, &kHbmScrubStartLayout},
    {"HBM_SCRUB_WAIT", abi::kHbmScrubWait, &kHbmScrubWaitLayout},
    {"GET_LOGICAL_TO_PHYSICAL_NC_MAP", abi::kGetLogicalToPhysicalNcMap, &kNcMapLayout, kReads},
    {"POD_INFO", abi::kPodInfo, &kPodInfoLayout, kReads},
    {"POD_STATUS", abi::kPodStatus, &kPodStatusLayout, kReads},
    {"POD_STATUS_V2", abi::kPodStatusV2, &kPodStatusLayout, kReads},
    {"POD_CTRL", abi::kPodCtrl, &kPodCtrlLayout},
    {"POD_CTRL_V2", abi::kPodCtrlV2, &kPodCtrlLayout},
    {"PV_HELLO", pv::kHello, &kHelloLayout},
    {"PV_WAIT", pv::kWait, &kWaitLayout},
    {"PV_CLOCK", pv::kClock, &kClockLayout, kReads},
    {"PV_CONSUME", pv::kConsume, &kConsumeLayout},
    {"PV_MEM_STATS", pv::kMemStats, &kMemStatsLayout, kReads},
    {"PV_QUIESCE", pv::kQuiesce, &kQuiesceLayout},
    {"PV_MARKER", pv::kMarker, &kMarkerLayout},
};

}  // namespace

std::span<const RequestDescription> all_requests() {
  return kRequests;
}

}  // namespace opennrt::emulator
