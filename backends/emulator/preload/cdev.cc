// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/cdev.h"

#include <atomic>
#include <cerrno>

#include "backends/neuron/abi.h"
#include "backends/neuron/paravirtual.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;
namespace pv = neuron::paravirtual;

/// First minor release of driver 2.x that has a request. Which release brought which is not public for all of them, so
/// they come in groups, and the borders inside 2.x are a choice of ours:
/// - kFirst: the original numbers.
/// - kAligned: runtime version 3 asks for aligned allocations (aws-neuron-driver v1/neuron_dhal_v1.c).
/// - kReset: what runtime versions 4 (driver 2.7) to 7 ask for there: reset of a core, queues that can be reallocated.
/// - kTyped: what DRIVER_INFO describes by its feature bits (share/neuron_driver_shared.h): asynchronous copies,
///   batches of queues, large core maps, allocations with a category; and what was numbered after it.
/// - k64: sizes and offsets of 64 bits, pods: in 2.24.7.0 by its source.
enum Since : std::uint8_t { kFirst = 0, kAligned = 3, kReset = 7, kTyped = 17, k64 = 22 };

enum Access : std::uint8_t { kDevice, kAny };   ///< kAny: also for files opened O_WRONLY (ncdev_misc_ioctl)
enum Match : std::uint8_t { kExact, kNumber };  ///< the driver compares the whole request, or its number only

struct Row {
  unsigned long command;
  Match match;
  Access access;
  Since since;
  int (*serve)(Call&);
};

// In the driver's order (ncdev_ioctl, then ncdev_misc_ioctl): two requests can have the same number. Of a family that
// is matched by number, an older driver knew the members by their whole value: those rows come first, with their
// release.
constexpr Row kRows[] = {
    {abi::kDeviceReset, kExact, kDevice, kFirst, device_reset},
    {abi::kDeviceReady, kExact, kDevice, kFirst, device_ready},
    {abi::kNcResetReady, kExact, kDevice, kReset, nc_reset_ready},
    {abi::kDeviceResetStatus, kExact, kDevice, kFirst, device_reset_status},
    {abi::kNcReset, kExact, kDevice, kReset, nc_reset},
    {abi::kCinitSetState, kExact, kDevice, kFirst, cinit_set_state},
    {abi::kNcModelStartedCount, kExact, kDevice, kFirst, nc_model_started_count},
    {abi::kDeviceInfo, kExact, kDevice, kFirst, device_info},
    {abi::kDeviceInit, kExact, kDevice, kFirst, succeeds},
    {abi::kDeviceRelease, kExact, kDevice, kFirst, succeeds},
    {abi::kDeviceAppPid, kExact, kDevice, kFirst, device_app_pid},
    {abi::kDeviceGetAllAppsInfo, kExact, kDevice, kFirst, get_all_apps_info},
    {abi::kDmaEngInit, kExact, kDevice, kFirst, dma_eng_init},
    {abi::kDmaEngSetState, kExact, kDevice, kFirst, dma_eng_set_state},
    {abi::kDmaQueueInit, kExact, kDevice, kFirst, dma_queue_init},
    {abi::kDmaQueueInitBatch, kExact, kDevice, kTyped, dma_queue_init_batch},
    {abi::kDmaQueueCopyStart, kExact, kDevice, kFirst, dma_queue_copy_start},
    {abi::kDmaAckCompleted, kExact, kDevice, kFirst, dma_ack_completed},
    {abi::kDmaQueueRelease, kExact, kDevice, kFirst, dma_queue_release},
    {abi::kDmaCopyDescriptors, kExact, kDevice, kFirst, dma_copy_descriptors},
    {abi::kDmaCopyDescriptors64, kNumber, kDevice, k64, dma_copy_descriptors},
    {abi::kDmaEngGetState, kExact, kDevice, kFirst, dma_eng_get_state},
    {abi::kDmaQueueGetState, kExact, kDevice, kFirst, dma_queue_get_state},
    {abi::kDmaDescriptorCopyout, kExact, kDevice, kFirst, dma_descriptor_copyout},
    {abi::kDmaQuiesceQueues, kExact, kDevice, kFirst, dma_quiesce_queues},
    {abi::kMemAlloc, kExact, kDevice, kFirst, mem_alloc},
    {abi::kMemAllocV2, kExact, kDevice, kAligned, mem_alloc_v2},
    {abi::kMemAllocV2Mt, kExact, kDevice, kTyped, mem_alloc_v2},
    {abi::kMemAllocV2Mt64, kNumber, kDevice, k64, mem_alloc_v2},
    {abi::kMemGetExtendedInfo, kExact, kDevice, kFirst, mem_get_extended_info},
    {abi::kMemGetInfo, kExact, kDevice, kFirst, mem_get_info},
    {abi::kMemGetPa, kExact, kDevice, kFirst, mem_get_pa},
    {abi::kMemFree, kExact, kDevice, kFirst, mem_free},
    {abi::kMemCopy, kExact, kDevice, kFirst, mem_copy},
    {abi::kMemCopy64, kNumber, kDevice, k64, mem_copy},
    {abi::kMemCopyAsync, kExact, kDevice, kTyped, mem_copy_async},
    {abi::kMemCopyAsync64, kNumber, kDevice, k64, mem_copy_async},
    {abi::kMemCopyAsyncWait, kExact, kDevice, kTyped, mem_copy_async_wait},
    {abi::kMemBufCopy, kExact, kDevice, kFirst, mem_buf_copy},
    {abi::kMemBufCopy64, kNumber, kDevice, k64, mem_buf_copy},
    {abi::kMemBufZerocopy64, kNumber, kDevice, k64, mem_buf_zerocopy},
    {abi::kProgramEngine, kExact, kDevice, kFirst, program_engine},
    {abi::kProgramEngineNc, kExact, kDevice, kReset, program_engine_nc},
    {abi::kProgramEngineNc64, kNumber, kDevice, k64, program_engine_nc},
    {abi::kMemset, kExact, kDevice, kFirst, mem_set},
    {abi::kMemset64, kNumber, kDevice, k64, mem_set},
    {abi::kSemaphoreRead, kExact, kDevice, kFirst, semaphore},
    {abi::kSemaphoreWrite, kExact, kDevice, kFirst, semaphore},
    {abi::kSemaphoreIncrement, kExact, kDevice, kFirst, semaphore},
    {abi::kSemaphoreDecrement, kExact, kDevice, kFirst, semaphore},
    {abi::kEventGet, kExact, kDevice, kFirst, event},
    {abi::kEventSet, kExact, kDevice, kFirst, event},
    {abi::kBarRead, kExact, kDevice, kFirst, bar_read},
    {abi::kBarWrite, kExact, kDevice, kFirst, bar_write},
    {abi::kPostMetric, kExact, kDevice, kFirst, post_metric},
    {abi::kNotificationsInitV1, kExact, kDevice, kFirst, notifications_init_v1},
    {abi::kNotificationsInitV2, kExact, kDevice, kFirst, notifications_init_v2},
    {abi::kNotificationsInitWithReallocV2, kExact, kDevice, kReset, notifications_init_with_realloc},
    {abi::kNotificationsDestroyV1, kExact, kDevice, kFirst, succeeds},
    {abi::kNotificationsQueueInfo, kExact, kDevice, kFirst, fails},
    {abi::kReadHwCounters, kExact, kDevice, kFirst, read_hw_counters},
    {abi::kAcquireNeuronDs, kExact, kDevice, kFirst, acquire_neuron_ds},
    {abi::kReleaseNeuronDs, kExact, kDevice, kFirst, release_neuron_ds},
    {abi::kCrwlReaderEnter, kExact, kDevice, kFirst, crwl},
    {abi::kCrwlReaderExit, kExact, kDevice, kFirst, crwl},
    {abi::kCrwlWriterEnter, kExact, kDevice, kFirst, crwl},
    {abi::kCrwlWriterDowngrade, kExact, kDevice, kFirst, crwl},
    {abi::kDeviceBdf, kExact, kDevice, kFirst, device_bdf},
    {abi::kMemMcGetInfo, kNumber, kDevice, kTyped, mem_mc_get_info},
    {abi::kResourceMmapInfo, kExact, kDevice, kTyped, resource_mmap_info},
    {abi::kHostDeviceId, kExact, kDevice, kTyped, host_device_id},
    {abi::kHbmScrubStart, kExact, kDevice, kTyped, hbm_scrub},
    {abi::kHbmScrubWait, kExact, kDevice, kTyped, hbm_scrub},
    // DUMP_MEM_CHUNKS (116) is not served: the protocol has no list of all allocations. It falls through to EINVAL.

    {pv::kHello, kExact, kAny, kFirst, paravirtual_hello},
    {pv::kWait, kExact, kDevice, kFirst, paravirtual_wait},
    {pv::kClock, kExact, kDevice, kFirst, paravirtual_clock},
    {pv::kConsume, kExact, kDevice, kFirst, paravirtual_consume},
    {pv::kMemStats, kExact, kDevice, kFirst, paravirtual_mem_stats},
    {pv::kQuiesce, kExact, kDevice, kFirst, paravirtual_quiesce},
    {pv::kMarker, kExact, kDevice, kFirst, paravirtual_marker},

    {abi::kCrwlNcRangeMark, kExact, kAny, kFirst, nc_range_mark},
    {abi::kCrwlNcRangeMarkExt0, kExact, kAny, kTyped, nc_range_mark},
    {abi::kCrwlNcRangeUnmark, kExact, kAny, kFirst, nc_range_unmark},
    {abi::kCrwlNcRangeUnmarkExt0, kExact, kAny, kTyped, nc_range_unmark},
    {abi::kCompatibleVersion, kExact, kAny, kFirst, compatible_version},
    {abi::kDeviceBasicInfo, kExact, kAny, kFirst, device_basic_info},
    {abi::kDeviceBdfExt, kExact, kAny, kReset, device_bdf_ext},
    {abi::kDmabufFd, kExact, kAny, kReset, dmabuf_fd},
    {abi::kDriverInfoGet, kNumber, kAny, kTyped, driver_info},
    {abi::kPrintk, kExact, kAny, kTyped, print},
    {abi::kHostDeviceIdToRidMap, kNumber, kAny, kTyped, host_device_id_to_rid_map},
    {abi::kNcPidStateDump, kExact, kAny, kTyped, nc_pid_state_dump},
    {abi::kGetLogicalToPhysicalNcMap, kExact, kAny, k64, logical_to_physical_nc_map},
    {abi::kPodInfo, kNumber, kAny, k64, pod_info},
    {abi::kPodStatus, kNumber, kAny, k64, pod_status},
    {abi::kPodCtrl, kNumber, kAny, k64, pod_ctrl},
};

/// Asked for once; several threads may do so at the same time and store the same.
const MachineFacts* facts(Session& session) {
  static constinit MachineFacts known;
  static constinit std::atomic<int> state{0};  // 0 unknown, 1 being written, 2 known
  if (state.load(std::memory_order_acquire) == 2) return &known;
  MachineFacts fresh;
  if (session.call(Op::kMachine, 0) != 0) return nullptr;
  const auto v = [&](unsigned i) { return static_cast<std::uint32_t>(session.v(i)); };
  fresh = {v(0), v(1), v(2), v(3), v(4), v(5), v(7)};
  int expected = 0;
  if (state.compare_exchange_strong(expected, 1, std::memory_order_acq_rel)) {
    known = fresh;
    state.store(2, std::memory_order_release);
    return &known;
  }
  static thread_local constinit MachineFacts mine;  // another thread (or one that fork cut off) is writing
  mine = fresh;
  return &mine;
}

}  // namespace

int Call::fill(std::uint64_t from, std::uint64_t bytes) const {
  if (bytes > SIZE_MAX / 4) return -ENOMEM;
  std::byte* window = session.room(bytes);
  if (window == nullptr) return session.error() != 0 ? session.error() : -ENOMEM;
  return copy_from_user(window, from, bytes);
}

int cdev_ioctl(const OpenedFile& file, std::uint32_t command, std::uint64_t argument) {
  Session session;
  if (session.error() != 0) return session.error();
  const MachineFacts* machine = facts(session);
  if (machine == nullptr) return session.error() != 0 ? session.error() : -ENODEV;
  for (const Row& row : kRows) {
    if (row.match == kExact ? command != row.command : _IOC_NR(command) != _IOC_NR(row.command)) continue;
    if (file.free_access() && row.access != kAny) continue;
    if (machine->major < 2 || (machine->major == 2 && machine->minor < row.since)) continue;
    Call call(session, *machine, file, command, argument);
    return row.serve(call);
  }
  return -EINVAL;
}

}  // namespace opennrt::emulator
