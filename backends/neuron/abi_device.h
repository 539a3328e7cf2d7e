// SPDX-License-Identifier: Apache-2.0
//
// Requests of the Neuron kernel driver about devices and the driver itself, from aws-neuron-driver neuron_ioctl.h and
// share/neuron_driver_shared.h (2.24.7.0). Conventions: abi_memory.h.
#pragma once

#include "backends/neuron/abi_core.h"
#include "backends/neuron/abi_memory.h"

namespace opennrt::neuron::abi {

struct CompatibleVersion {  // of the runtime, out
  std::uint32_t max, min;
};
static_assert(sizeof(CompatibleVersion) == 8 && offsetof(CompatibleVersion, min) == 4);

struct DeviceBasicInfo {
  std::uint32_t architecture, revision;
};
static_assert(sizeof(DeviceBasicInfo) == 8);

struct DeviceDriverInfo {
  std::uint32_t architecture, revision;
  std::uint32_t version, size;   ///< of this structure
  std::uint64_t feature_flags1;  ///< Feature
};
static_assert(sizeof(DeviceDriverInfo) == 24);
inline constexpr std::uint32_t kDriverInfoVersion = 0;

/// neuron_driver_feature_flag
enum Feature : std::uint64_t {
  kFeatureDmabuf = 1 << 0,
  kFeatureAsyncDma = 1 << 1,
  kFeatureBatchQueueInit = 1 << 2,
  kFeatureBigCoreMaps = 1 << 3,
  kFeatureMemAllocType = 1 << 4,
  kFeatureHbmScrub = 1 << 5,
  kFeatureMemAlloc64 = 1 << 6,
  kFeatureContiguousScratchpad = 1 << 7,
};

/// neuron_arch.h; 0 and 0xffffffff are no device.
enum class Architecture : std::uint32_t { kV1 = 1, kV2 = 2, kV3 = 3 };

inline constexpr std::uint32_t kMaxConnectedDevices = 8;
inline constexpr std::uint32_t kMaxBars = 2;

struct DeviceInfo {
  std::uint32_t architecture, revision, connected_device_count, connected_devices[kMaxConnectedDevices], hole;
  std::uint64_t bar_address[kMaxBars], bar_size[kMaxBars];
};
static_assert(sizeof(DeviceInfo) == 80 && offsetof(DeviceInfo, connected_devices) == 12 &&
              offsetof(DeviceInfo, bar_address) == 48);

struct DeviceBdf {  // deprecated
  std::uint32_t bus_number;
  std::uint8_t slot, func;
};
static_assert(sizeof(DeviceBdf) == 8);

struct DeviceBdfExt {
  std::uint32_t nd_index;            ///< in: relative to the opened device
  std::uint32_t domain, bus_number;  ///< out
  std::uint8_t slot, func;
};
static_assert(sizeof(DeviceBdfExt) == 16);

struct DeviceInit {  // deprecated: does nothing
  std::uint32_t mem_regions;
};
static_assert(sizeof(DeviceInit) == 4);

struct HostDeviceId {
  std::uint32_t host_device_id;
};
static_assert(sizeof(HostDeviceId) == 4);

inline constexpr std::uint32_t kMaxDevices = 64;
struct HostDeviceIdToRidMap {
  std::uint32_t count, host_did_to_rid_map[kMaxDevices];
};
static_assert(sizeof(HostDeviceIdToRidMap) == 260);

// ---- processes of a device ----

inline constexpr std::uint32_t kMaxProcessesPerDevice = 16;
inline constexpr std::uint16_t kAppInfoCoreLocks = 1;
inline constexpr std::uint16_t kAppInfoMemoryUsage = 2;
inline constexpr std::uint16_t kAppInfoAll = 0xf;

struct AppInfo {
  std::int32_t pid;
  std::uint8_t nc_lock_map;
  Uuid uuid_data[4];
  std::uint8_t hole[3];
  std::uint64_t host_mem_size, device_mem_size;
};
static_assert(sizeof(AppInfo) == 152 && offsetof(AppInfo, uuid_data) == 5 && offsetof(AppInfo, host_mem_size) == 136);

struct GetAppsInfo {  // followed by AppInfo[capacity]; the driver writes `size` of them
  std::uint16_t apps_info_flags;
  std::uint32_t capacity;
  std::uint32_t size;  ///< out
  std::uint32_t hole;  ///< the array is aligned to 8
};
static_assert(sizeof(GetAppsInfo) == 16 && offsetof(GetAppsInfo, capacity) == 4);

// ---- registers, metrics, log ----

struct BarRw {
  std::uint32_t bar, hole;
  UserPointer address;  ///< u64 offsets: `count` of them in BAR 0, one in any other
  UserPointer data;     ///< u32 values, `count`
  std::uint32_t count, hole2;
};
static_assert(sizeof(BarRw) == 32 && offsetof(BarRw, address) == 8);

struct ReadHwCounters {
  UserPointer address, data;  ///< u64 in, u32 out
  std::uint32_t count, hole;
};
static_assert(sizeof(ReadHwCounters) == 24);

struct PostMetric {
  UserPointer data;
  std::uint32_t data_size, hole;
};
static_assert(sizeof(PostMetric) == 16);

struct Printk {
  UserPointer buffer;
  std::uint32_t size, action;
};
static_assert(sizeof(Printk) == 16);

// ---- answered on Inf1 with an error or nothing at all, but decoded ----

struct HbmScrubStart {
  std::uint32_t nc_id, hbm_index, axi_port, init_val;
};
static_assert(sizeof(HbmScrubStart) == 16);

struct HbmScrubWait {
  std::uint32_t nc_id, hbm_index;
};
static_assert(sizeof(HbmScrubWait) == 8);

struct GetLogicalToPhysicalNcMap {
  UserPointer map;  ///< u32 count, then pairs of u32: device, core of the device
  std::uint32_t max_map_entries, mapping_version;
};
static_assert(sizeof(GetLogicalToPhysicalNcMap) == 16);

struct PodInfo {
  std::uint16_t sz;
  std::uint8_t pod_type, pod_id[256], pod_sz;
};
static_assert(sizeof(PodInfo) == 260);

struct PodStatus {
  std::uint16_t sz;
  std::uint8_t pod_id[256];
  std::uint16_t hole;
  std::uint32_t state;
  std::uint8_t pod_type, pod_sz;
  std::int8_t node_id;
};
static_assert(sizeof(PodStatus) == 268 && offsetof(PodStatus, state) == 260);

struct PodStatusV2 {
  PodStatus v1;
  std::uint32_t mode, modes_supported;
};
static_assert(sizeof(PodStatusV2) == 276);

struct PodCtrl {
  std::uint16_t sz, hole;
  std::uint32_t ctrl, timeout, state;
};
static_assert(sizeof(PodCtrl) == 16);

struct PodCtrlV2 {
  PodCtrl v1;
  std::uint32_t mode;
};
static_assert(sizeof(PodCtrlV2) == 20);

inline constexpr unsigned long kDeviceReset = _IO('N', 1);  // deprecated, with READY and RESET_STATUS
inline constexpr unsigned long kDeviceReady = _IOR('N', 2, std::uint8_t);
inline constexpr unsigned long kDeviceResetStatus = _IOR('N', 106, std::uint8_t);
inline constexpr unsigned long kDeviceInfo = _IOR('N', 3, DeviceInfo*);
inline constexpr unsigned long kDeviceInit = _IOR('N', 4, DeviceInit*);
inline constexpr unsigned long kDeviceRelease = _IO('N', 5);
inline constexpr unsigned long kDeviceAppPid = _IOR('N', 6, std::int32_t);
inline constexpr unsigned long kDeviceGetAllAppsInfo = _IOR('N', 7, GetAppsInfo*);
inline constexpr unsigned long kBarRead = _IOR('N', 11, BarRw*);
inline constexpr unsigned long kBarWrite = _IOW('N', 12, BarRw*);
inline constexpr unsigned long kPostMetric = _IOW('N', 13, PostMetric*);
inline constexpr unsigned long kReadHwCounters = _IOR('N', 61, ReadHwCounters*);
inline constexpr unsigned long kCompatibleVersion = _IOW('N', 93, CompatibleVersion*);
inline constexpr unsigned long kDeviceBasicInfo = _IOW('N', 100, DeviceBasicInfo*);
inline constexpr unsigned long kDeviceBdf = _IOR('N', 101, DeviceBdf*);
inline constexpr unsigned long kDeviceBdfExt = _IOR('N', 106, DeviceBdfExt*);
inline constexpr unsigned long kDriverInfoGet = _IOR('N', 110, DeviceDriverInfo);
inline constexpr unsigned long kDriverInfoSet = _IOW('N', 110, DeviceDriverInfo);
inline constexpr unsigned long kPrintk = _IOW('N', 113, Printk);
inline constexpr unsigned long kHostDeviceId = _IOR('N', 114, HostDeviceId);
inline constexpr unsigned long kHostDeviceIdToRidMap = _IOWR('N', 115, HostDeviceIdToRidMap);
inline constexpr unsigned long kHbmScrubStart = _IOWR('N', 118, HbmScrubStart);
inline constexpr unsigned long kHbmScrubWait = _IOWR('N', 119, HbmScrubWait);
inline constexpr unsigned long kGetLogicalToPhysicalNcMap = _IOWR('N', 120, GetLogicalToPhysicalNcMap);
inline constexpr unsigned long kPodInfo = _IOWR('N', 121, PodInfo);
inline constexpr unsigned long kPodStatus = _IOWR('N', 122, PodStatus);
inline constexpr unsigned long kPodStatusV2 = _IOWR('N', 122, PodStatusV2);
inline constexpr unsigned long kPodCtrl = _IOWR('N', 123, PodCtrl);
inline constexpr unsigned long kPodCtrlV2 = _IOWR('N', 123, PodCtrlV2);

}  // namespace opennrt::neuron::abi
