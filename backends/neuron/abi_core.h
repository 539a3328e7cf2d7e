// SPDX-License-Identifier: Apache-2.0
//
// Requests of the Neuron kernel driver about NeuronCores: ownership, semaphores, events, notification queues, reset, the
// datastore of counters; from aws-neuron-driver neuron_ioctl.h and share/neuron_driver_shared.h (2.24.7.0). Conventions:
// abi_memory.h.
#pragma once

#include "backends/neuron/abi_memory.h"

namespace opennrt::neuron::abi {

// ---- ownership ----

struct Uuid {
  std::uint8_t value[32];
};

struct Crwl {
  std::uint32_t nc_id;
  Uuid uuid;  ///< the model's
};
static_assert(sizeof(Crwl) == 36);

struct CrwlNcMap {  // up to 64 cores
  std::uint32_t nc_count, start_nc_index, end_nc_index;
  std::uint32_t max_nc_available;  ///< out, with EBUSY: longest free run
  std::uint64_t bitmap;            ///< out of MARK, in of UNMARK
};
static_assert(sizeof(CrwlNcMap) == 24);

struct CrwlNcMapExt {  // "EXT0": up to 512 cores
  std::uint32_t nc_count, start_nc_index, end_nc_index, max_nc_available;
  std::uint64_t bitmap[8];
};
static_assert(sizeof(CrwlNcMapExt) == 80 && offsetof(CrwlNcMapExt, bitmap) == 16);

struct CinitSet {
  std::uint32_t nc_id, state;
  std::uint32_t new_state;  ///< out
};
static_assert(sizeof(CinitSet) == 12);
enum class CinitState : std::uint32_t { kStarted = 1, kCompleted = 2, kInvalid = 3 };

struct NcModelStartedCount {
  std::uint32_t nc_id, hole;
  std::uint64_t started_count;  ///< out
};
static_assert(sizeof(NcModelStartedCount) == 16);

struct NcPidStateDump {
  std::uint32_t size, nc_id, filter_log_owner, log_dump_limit;
};
static_assert(sizeof(NcPidStateDump) == 16);

// ---- semaphores, events ----

struct Semaphore {
  std::uint32_t nc_id, semaphore_index, value;
};
static_assert(sizeof(Semaphore) == 12);

struct Event {
  std::uint32_t nc_id, event_index, value;
};
static_assert(sizeof(Event) == 12);

// ---- notification queues ----

struct NotificationsInitV1 {  // runtime 1.x; always host memory
  std::uint32_t nc_id, nq_type, engine_index, size;
  std::uint64_t mmap_offset;  ///< out
};
static_assert(sizeof(NotificationsInitV1) == 24);

inline constexpr std::uint32_t kNqDeviceNeuronCore = 0;  ///< NQ_DEVICE_TYPE_…
inline constexpr std::uint32_t kNqDeviceTopSp = 1;       ///< not on Inf1

struct NotificationsInitV2 {
  std::uint32_t nq_dev_id, nq_dev_type, nq_type, engine_index, size, on_host_memory, dram_channel, dram_region;
  std::uint64_t mmap_offset, mem_handle;  ///< out
};
static_assert(sizeof(NotificationsInitV2) == 48 && offsetof(NotificationsInitV2, mmap_offset) == 32);

struct NotificationsInitWithReallocV2 {
  std::uint32_t nq_dev_id, nq_dev_type, nq_type, engine_index, size, on_host_memory, dram_channel, dram_region;
  std::uint32_t force_alloc_mem, hole;
  std::uint64_t mmap_offset, mem_handle;  ///< out
};
static_assert(sizeof(NotificationsInitWithReallocV2) == 56 &&
              offsetof(NotificationsInitWithReallocV2, mmap_offset) == 40);

struct NotificationsDestroy {
  std::uint64_t mmap_offset;
};
static_assert(sizeof(NotificationsDestroy) == 8);

struct NotificationsQueueInfo {
  std::uint8_t nq_dev_id, nq_dev_type, nq_type, engine_index;
  std::uint32_t head, phase_bit;  ///< out
};
static_assert(sizeof(NotificationsQueueInfo) == 12);

// ---- reset ----

struct DeviceReset {
  std::uint32_t nc_map;
  std::uint32_t request_id;  ///< out
};
static_assert(sizeof(DeviceReset) == 8);
inline constexpr std::uint32_t kNcMapDevice = 0xffff'ffff;

struct DeviceReady {
  std::uint32_t request_id;
  std::int32_t result;  ///< out
};
static_assert(sizeof(DeviceReady) == 8);

// ---- datastore ----

struct NeuronDsInfo {
  std::int32_t pid;  ///< 0: the caller's
  std::uint32_t hole;
  std::uint64_t mmap_offset;  ///< out
  std::uint32_t size, hole2;  ///< out
};
static_assert(sizeof(NeuronDsInfo) == 24 && offsetof(NeuronDsInfo, mmap_offset) == 8 &&
              offsetof(NeuronDsInfo, size) == 16);

inline constexpr unsigned long kSemaphoreIncrement = _IOR('N', 41, Semaphore*);
inline constexpr unsigned long kSemaphoreDecrement = _IOR('N', 42, Semaphore*);
inline constexpr unsigned long kSemaphoreRead = _IOWR('N', 43, Semaphore*);
inline constexpr unsigned long kSemaphoreWrite = _IOR('N', 44, Semaphore*);
inline constexpr unsigned long kEventSet = _IOR('N', 45, Event*);
inline constexpr unsigned long kEventGet = _IOWR('N', 46, Event*);
inline constexpr unsigned long kNotificationsInitV1 = _IOR('N', 51, NotificationsInitV1*);
inline constexpr unsigned long kNotificationsDestroyV1 = _IOR('N', 52, NotificationsDestroy*);
inline constexpr unsigned long kNotificationsInitV2 = _IOR('N', 53, NotificationsInitV2*);
inline constexpr unsigned long kNotificationsInitWithReallocV2 = _IOR('N', 54, NotificationsInitWithReallocV2*);
inline constexpr unsigned long kNotificationsQueueInfo = _IOR('N', 58, NotificationsQueueInfo*);
inline constexpr unsigned long kAcquireNeuronDs = _IOR('N', 71, NeuronDsInfo*);
inline constexpr unsigned long kReleaseNeuronDs = _IOR('N', 72, NeuronDsInfo*);
inline constexpr unsigned long kCrwlReaderEnter = _IOW('N', 81, Crwl*);
inline constexpr unsigned long kCrwlReaderExit = _IOW('N', 82, Crwl*);
inline constexpr unsigned long kCrwlWriterEnter = _IOW('N', 83, Crwl*);
inline constexpr unsigned long kCrwlWriterDowngrade = _IOW('N', 84, Crwl*);
inline constexpr unsigned long kCrwlNcRangeMark = _IOW('N', 85, CrwlNcMap*);
inline constexpr unsigned long kCrwlNcRangeMarkExt0 = _IOWR('N', 85, CrwlNcMapExt);
inline constexpr unsigned long kCrwlNcRangeUnmark = _IOW('N', 86, CrwlNcMap*);
inline constexpr unsigned long kCrwlNcRangeUnmarkExt0 = _IOW('N', 86, CrwlNcMapExt);
inline constexpr unsigned long kCinitSetState = _IOW('N', 91, CinitSet*);
inline constexpr unsigned long kNcModelStartedCount = _IOW('N', 92, NcModelStartedCount*);
inline constexpr unsigned long kNcReset = _IOR('N', 103, DeviceReset*);
inline constexpr unsigned long kNcResetReady = _IOR('N', 104, DeviceReady*);
inline constexpr unsigned long kNcPidStateDump = _IOWR('N', 117, NcPidStateDump);

}  // namespace opennrt::neuron::abi
