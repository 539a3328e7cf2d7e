// SPDX-License-Identifier: Apache-2.0
//
// Every request of the driver that the emulated device decodes, with the size of its structure and what it answers to a
// pointer that leads nowhere: for the table test and the fuzzer.
#pragma once

#include <cerrno>
#include <cstddef>

#include "backends/neuron/abi.h"

namespace opennrt::test {

struct RequestRow {
  const char* name;
  unsigned long command;
  std::size_t bytes;
  int unmapped;  ///< negative errno, or 0
};

namespace abi = neuron::abi;
inline constexpr int kNotSupported = -524;  // ENOTSUPP of the kernel, which has no name outside

inline constexpr RequestRow kRequests[] = {
    {"DEVICE_RESET", abi::kDeviceReset, 0, 0},
    {"DEVICE_READY", abi::kDeviceReady, 1, -EFAULT},
    {"DEVICE_RESET_STATUS", abi::kDeviceResetStatus, 1, -EFAULT},
    {"DEVICE_INFO", abi::kDeviceInfo, sizeof(abi::DeviceInfo), -EFAULT},
    {"DEVICE_INIT", abi::kDeviceInit, sizeof(abi::DeviceInit), 0},
    {"DEVICE_RELEASE", abi::kDeviceRelease, 0, 0},
    {"DEVICE_APP_PID", abi::kDeviceAppPid, 4, -EFAULT},
    {"DEVICE_GET_ALL_APPS_INFO", abi::kDeviceGetAllAppsInfo, sizeof(abi::GetAppsInfo), -EFAULT},
    {"BAR_READ", abi::kBarRead, sizeof(abi::BarRw), -EFAULT},
    {"BAR_WRITE", abi::kBarWrite, sizeof(abi::BarRw), -EFAULT},
    {"POST_METRIC", abi::kPostMetric, sizeof(abi::PostMetric), -EFAULT},
    {"MEM_ALLOC", abi::kMemAlloc, sizeof(abi::MemAlloc), -EACCES},
    {"MEM_ALLOC_V2", abi::kMemAllocV2, sizeof(abi::MemAllocV2), -EFAULT},
    {"MEM_ALLOC_V2MT", abi::kMemAllocV2Mt, sizeof(abi::MemAllocV2Mt), -EFAULT},
    {"MEM_ALLOC_V2MT64", abi::kMemAllocV2Mt64, sizeof(abi::MemAllocV2Mt64), -EFAULT},
    {"MEM_FREE", abi::kMemFree, sizeof(abi::MemFree), -EFAULT},
    {"MEM_COPY", abi::kMemCopy, sizeof(abi::MemCopy), -EFAULT},
    {"MEM_COPY64", abi::kMemCopy64, sizeof(abi::MemCopy64), -EFAULT},
    {"MEM_BUF_COPY", abi::kMemBufCopy, sizeof(abi::MemBufCopy), -EFAULT},
    {"MEM_BUF_COPY64", abi::kMemBufCopy64, sizeof(abi::MemBufCopy64), -EFAULT},
    {"MEM_GET_PA", abi::kMemGetPa, sizeof(abi::MemGetPa), -EFAULT},
    {"MEM_GET_INFO", abi::kMemGetInfo, sizeof(abi::MemGetInfo), -EFAULT},
    {"PROGRAM_ENGINE", abi::kProgramEngine, sizeof(abi::ProgramEngine), -EFAULT},
    {"MEMSET", abi::kMemset, sizeof(abi::Memset), -EFAULT},
    {"MEMSET64", abi::kMemset64, sizeof(abi::Memset64), -EFAULT},
    {"MEM_GET_EXTENDED_INFO", abi::kMemGetExtendedInfo, sizeof(abi::MemGetExtendedInfo), -EFAULT},
    {"DMA_ENG_INIT", abi::kDmaEngInit, sizeof(abi::DmaEngInit), 0},
    {"DMA_ENG_SET_STATE", abi::kDmaEngSetState, sizeof(abi::DmaEngSetState), -EFAULT},
    {"DMA_ENG_GET_STATE", abi::kDmaEngGetState, sizeof(abi::DmaEngGetState), -EFAULT},
    {"DMA_QUEUE_INIT", abi::kDmaQueueInit, sizeof(abi::DmaQueueInit), -EACCES},
    {"DMA_QUEUE_INIT_BATCH", abi::kDmaQueueInitBatch, sizeof(abi::DmaQueueInitBatch), -EACCES},
    {"DMA_QUEUE_RELEASE", abi::kDmaQueueRelease, sizeof(abi::DmaQueueRelease), -EFAULT},
    {"DMA_QUEUE_COPY_START", abi::kDmaQueueCopyStart, sizeof(abi::DmaQueueCopyStart), -EFAULT},
    {"DMA_ACK_COMPLETED", abi::kDmaAckCompleted, sizeof(abi::DmaAckCompleted), -EFAULT},
    {"DMA_QUEUE_GET_STATE", abi::kDmaQueueGetState, sizeof(abi::DmaQueueGetState), -EFAULT},
    {"DMA_COPY_DESCRIPTORS", abi::kDmaCopyDescriptors, sizeof(abi::DmaCopyDescriptors), -EFAULT},
    {"DMA_COPY_DESCRIPTORS64", abi::kDmaCopyDescriptors64, sizeof(abi::DmaCopyDescriptors64), -EFAULT},
    {"DMA_DESCRIPTOR_COPYOUT", abi::kDmaDescriptorCopyout, sizeof(abi::DmaDescriptorCopyout), -EFAULT},
    {"DMA_QUIESCE_QUEUES", abi::kDmaQuiesceQueues, sizeof(abi::DmaQuiesceQueues), -ENOTTY},
    {"SEMAPHORE_INCREMENT", abi::kSemaphoreIncrement, sizeof(abi::Semaphore), -EFAULT},
    {"SEMAPHORE_DECREMENT", abi::kSemaphoreDecrement, sizeof(abi::Semaphore), -EFAULT},
    {"SEMAPHORE_READ", abi::kSemaphoreRead, sizeof(abi::Semaphore), -EFAULT},
    {"SEMAPHORE_WRITE", abi::kSemaphoreWrite, sizeof(abi::Semaphore), -EFAULT},
    {"EVENT_SET", abi::kEventSet, sizeof(abi::Event), -EFAULT},
    {"EVENT_GET", abi::kEventGet, sizeof(abi::Event), -EFAULT},
    {"NOTIFICATIONS_INIT_V1", abi::kNotificationsInitV1, sizeof(abi::NotificationsInitV1), -EFAULT},
    {"NOTIFICATIONS_DESTROY_V1", abi::kNotificationsDestroyV1, sizeof(abi::NotificationsDestroy), 0},
    {"NOTIFICATIONS_INIT_V2", abi::kNotificationsInitV2, sizeof(abi::NotificationsInitV2), -EFAULT},
    {"NOTIFICATIONS_INIT_WITH_REALLOC_V2", abi::kNotificationsInitWithReallocV2,
     sizeof(abi::NotificationsInitWithReallocV2), -EFAULT},
    {"NOTIFICATIONS_QUEUE_INFO", abi::kNotificationsQueueInfo, sizeof(abi::NotificationsQueueInfo), -EPERM},
    {"READ_HW_COUNTERS", abi::kReadHwCounters, sizeof(abi::ReadHwCounters), -EFAULT},
    {"ACQUIRE_NEURON_DS", abi::kAcquireNeuronDs, sizeof(abi::NeuronDsInfo), -EFAULT},
    {"RELEASE_NEURON_DS", abi::kReleaseNeuronDs, sizeof(abi::NeuronDsInfo), -EFAULT},
    {"CRWL_READER_ENTER", abi::kCrwlReaderEnter, sizeof(abi::Crwl), -EFAULT},
    {"CRWL_READER_EXIT", abi::kCrwlReaderExit, sizeof(abi::Crwl), -EFAULT},
    {"CRWL_WRITER_ENTER", abi::kCrwlWriterEnter, sizeof(abi::Crwl), -EFAULT},
    {"CRWL_WRITER_DOWNGRADE", abi::kCrwlWriterDowngrade, sizeof(abi::Crwl), -EFAULT},
    {"CRWL_NC_RANGE_MARK", abi::kCrwlNcRangeMark, sizeof(abi::CrwlNcMap), -EFAULT},
    {"CRWL_NC_RANGE_MARK_EXT0", abi::kCrwlNcRangeMarkExt0, sizeof(abi::CrwlNcMapExt), -EFAULT},
    {"CRWL_NC_RANGE_UNMARK", abi::kCrwlNcRangeUnmark, sizeof(abi::CrwlNcMap), -EFAULT},
    {"CRWL_NC_RANGE_UNMARK_EXT0", abi::kCrwlNcRangeUnmarkExt0, sizeof(abi::CrwlNcMapExt), -EFAULT},
    {"CINIT_SET_STATE", abi::kCinitSetState, sizeof(abi::CinitSet), -EFAULT},
    {"NC_MODEL_STARTED_COUNT", abi::kNcModelStartedCount, sizeof(abi::NcModelStartedCount), -EFAULT},
    {"COMPATIBLE_VERSION", abi::kCompatibleVersion, sizeof(abi::CompatibleVersion), -EFAULT},
    {"DEVICE_BASIC_INFO", abi::kDeviceBasicInfo, sizeof(abi::DeviceBasicInfo), -EFAULT},
    {"DEVICE_BDF", abi::kDeviceBdf, sizeof(abi::DeviceBdf), -EFAULT},
    {"NC_RESET", abi::kNcReset, sizeof(abi::DeviceReset), -EFAULT},
    {"NC_RESET_READY", abi::kNcResetReady, sizeof(abi::DeviceReady), -EFAULT},
    {"PROGRAM_ENGINE_NC", abi::kProgramEngineNc, sizeof(abi::ProgramEngineNc), -EFAULT},
    {"PROGRAM_ENGINE_NC64", abi::kProgramEngineNc64, sizeof(abi::ProgramEngineNc64), -EFAULT},
    {"DEVICE_BDF_EXT", abi::kDeviceBdfExt, sizeof(abi::DeviceBdfExt), -EFAULT},
    {"DMABUF_FD", abi::kDmabufFd, sizeof(abi::DmabufFd), -EFAULT},
    {"MEM_COPY_ASYNC", abi::kMemCopyAsync, sizeof(abi::MemCopyAsync), -EFAULT},
    {"MEM_COPY_ASYNC64", abi::kMemCopyAsync64, sizeof(abi::MemCopyAsync64), -EFAULT},
    {"MEM_COPY_ASYNC_WAIT", abi::kMemCopyAsyncWait, sizeof(abi::MemCopyAsyncWait), -EFAULT},
    {"DRIVER_INFO_GET", abi::kDriverInfoGet, sizeof(abi::DeviceDriverInfo), -EFAULT},
    {"DRIVER_INFO_SET", abi::kDriverInfoSet, sizeof(abi::DeviceDriverInfo), kNotSupported},
    {"MEM_MC_GET_INFO", abi::kMemMcGetInfo, sizeof(abi::MemGetMcMmapInfo), -EFAULT},
    {"MEM_MC_GET_INFO_V2", abi::kMemMcGetInfoV2, sizeof(abi::MemGetMcMmapInfoV2), -EFAULT},
    {"RESOURCE_MMAP_INFO", abi::kResourceMmapInfo, sizeof(abi::ResourceMmapInfo), -EFAULT},
    {"PRINTK", abi::kPrintk, sizeof(abi::Printk), -EFAULT},
    {"HOST_DEVICE_ID", abi::kHostDeviceId, sizeof(abi::HostDeviceId), -EFAULT},
    {"HOST_DEVICE_ID_TO_RID_MAP", abi::kHostDeviceIdToRidMap, sizeof(abi::HostDeviceIdToRidMap), -EFAULT},
    {"DUMP_MEM_CHUNKS", abi::kDumpMemChunks, sizeof(abi::DumpMemChunks), -EINVAL},  // not served (docs/fidelity.md)
    {"NC_PID_STATE_DUMP", abi::kNcPidStateDump, sizeof(abi::NcPidStateDump), -EFAULT},
    {"HBM_SCRUB_START", abi::kHbmScrubStart, sizeof(abi::HbmScrubStart), -EFAULT},
    {"HBM_SCRUB_WAIT", abi::kHbmScrubWait, sizeof(abi::HbmScrubWait), -EFAULT},
    {"GET_LOGICAL_TO_PHYSICAL_NC_MAP", abi::kGetLogicalToPhysicalNcMap, sizeof(abi::GetLogicalToPhysicalNcMap),
     kNotSupported},
    {"POD_INFO", abi::kPodInfo, sizeof(abi::PodInfo), -EFAULT},
    {"POD_STATUS", abi::kPodStatus, sizeof(abi::PodStatus), -EFAULT},
    {"POD_STATUS_V2", abi::kPodStatusV2, sizeof(abi::PodStatusV2), -EFAULT},
    {"POD_CTRL", abi::kPodCtrl, sizeof(abi::PodCtrl), -EFAULT},
    {"POD_CTRL_V2", abi::kPodCtrlV2, sizeof(abi::PodCtrlV2), -EFAULT},
    {"MEM_BUF_ZEROCOPY64", abi::kMemBufZerocopy64, sizeof(abi::MemBufCopy64), -EFAULT},
};

}  // namespace opennrt::test
