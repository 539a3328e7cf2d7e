// SPDX-License-Identifier: Apache-2.0
//
// NeuronCores: ownership, semaphores, events, notification queues, reset, datastore (neuron_cdev.c).
#include <cerrno>
#include <cstring>

#include "backends/emulator/preload/cdev.h"
#include "backends/include/opennrt/backend.h"
#include "backends/neuron/abi.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

constexpr unsigned kWords = sizeof(abi::CrwlNcMapExt::bitmap) / sizeof(std::uint64_t);
constexpr unsigned kMapWords = OPENNRT_MAX_CORES / 64;
constexpr std::uint64_t kMaxCores = 64 * 8;  ///< MAX_NEURON_DEVICE_COUNT * MAX_NC_PER_DEVICE

/// The structure of the request's generation, as the larger of the two. 0, -EINVAL or -EFAULT.
int get_map(const Call& call, abi::CrwlNcMapExt& arg, std::size_t& size) {
  size = _IOC_SIZE(call.command) == sizeof(void*) ? sizeof(abi::CrwlNcMap) : _IOC_SIZE(call.command);
  if (size != sizeof(abi::CrwlNcMap) && size != sizeof(abi::CrwlNcMapExt)) return -EINVAL;
  arg = {};
  return copy_from_user(&arg, call.argument, size);
}

/// Bit i of `to` is bit i + by of `from`; `by` may be negative. Bits outside are 0.
template <std::size_t N, std::size_t M>
void shift(const std::uint64_t (&from)[N], std::uint64_t (&to)[M], long by) {
  std::memset(to, 0, sizeof(to));
  for (long i = 0; i < static_cast<long>(M * 64); ++i) {
    const long f = i + by;
    if (f >= 0 && f < static_cast<long>(N * 64) && (from[f / 64] >> (f % 64) & 1) != 0) to[i / 64] |= 1ull << (i % 64);
  }
}

/// Cores that the caller counts are relative to the device it asks.
long first_core(const Call& call) {
  return static_cast<long>(call.machine.cores_per_device) * call.file.device;
}

template <class T>
int notifications_init(Call& call, bool reallocate(const T&)) {
  T arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.nq_dev_type != abi::kNqDeviceNeuronCore) return -ENOSYS;  // no TOPSP on Inf1
  if (arg.on_host_memory == 0)
    return -EINVAL;  // queues in device memory: the machine has none, and no runtime on Inf1 asks
  if (const int r = call.ask(Op::kNqInit, {arg.nq_dev_id, arg.nq_type, arg.engine_index, arg.size, reallocate(arg)});
      r != 0) {
    return r;
  }
  arg.mem_handle = call.session.v(0);
  arg.mmap_offset = call.session.v(1);
  return call.put(arg);
}

}  // namespace

int semaphore(Call& call) {
  abi::Semaphore arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (!call.core_exists(arg.nc_id)) return -E2BIG;
  switch (call.command) {
    case abi::kSemaphoreWrite:
      return call.ask(Op::kSemaphoreWrite, {arg.nc_id, arg.semaphore_index, arg.value});
    case abi::kSemaphoreIncrement:
      return call.ask(Op::kSemaphoreIncrement, {arg.nc_id, arg.semaphore_index, arg.value});
    case abi::kSemaphoreDecrement:
      return call.ask(Op::kSemaphoreDecrement, {arg.nc_id, arg.semaphore_index, arg.value});
    default:
      break;
  }
  if (const int r = call.ask(Op::kSemaphoreRead, {arg.nc_id, arg.semaphore_index}); r != 0) return r;
  arg.value = static_cast<std::uint32_t>(call.session.v(0));
  return call.put(arg);
}

int event(Call& call) {
  abi::Event arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (call.command == abi::kEventSet) return call.ask(Op::kEventSet, {arg.nc_id, arg.event_index, arg.value});
  if (const int r = call.ask(Op::kEventGet, {arg.nc_id, arg.event_index}); r != 0) return r;
  arg.value = static_cast<std::uint32_t>(call.session.v(0));
  return call.put(arg);
}

int notifications_init_v1(Call& call) {
  abi::NotificationsInitV1 arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kNqInit, {arg.nc_id, arg.nq_type, arg.engine_index, arg.size, 0}); r != 0) return r;
  arg.mmap_offset = call.session.v(1);
  return call.put(arg);
}

int notifications_init_v2(Call& call) {
  return notifications_init<abi::NotificationsInitV2>(call, [](const auto&) { return false; });
}

int notifications_init_with_realloc(Call& call) {
  return notifications_init<abi::NotificationsInitWithReallocV2>(call,
                                                                 [](const auto& a) { return a.force_alloc_mem != 0; });
}

int crwl(Call& call) {
  abi::Crwl arg;
  if (const int r = call.get(arg); r != 0) return r;
  const Op op = call.command == abi::kCrwlReaderEnter   ? Op::kReaderEnter
                : call.command == abi::kCrwlReaderExit  ? Op::kReaderExit
                : call.command == abi::kCrwlWriterEnter ? Op::kWriterEnter
                                                        : Op::kWriterDowngrade;
  std::byte* window = call.session.room(sizeof(arg.uuid));
  if (window == nullptr) return -ENOMEM;
  std::memcpy(window, &arg.uuid, sizeof(arg.uuid));
  return call.ask(op, {arg.nc_id}, sizeof(arg.uuid));
}

int nc_range_mark(Call& call) {
  abi::CrwlNcMapExt arg;
  std::size_t size;
  if (const int r = get_map(call, arg, size); r != 0) return r;
  const long offset = first_core(call);
  // The driver adds in 32 bits.
  const auto first = static_cast<std::uint32_t>(arg.start_nc_index + offset);
  const auto last = static_cast<std::uint32_t>(arg.end_nc_index + offset);
  opennrt_core_map_t taken{};
  const int result = call.ask(Op::kRangeMark, {arg.nc_count, first, last});
  if (result != 0 && result != -EBUSY && result != -EINVAL) return result;
  arg.max_nc_available = result == -EBUSY ? static_cast<std::uint32_t>(call.session.v(0)) : 0;
  if (result == 0) {
    if (call.session.reply().bytes < sizeof(taken)) return -EPROTO;
    std::memcpy(&taken, call.session.window(), sizeof(taken));
  }
  shift(taken.bits, arg.bitmap, offset);
  const int copied = copy_to_user(call.argument, &arg, size);
  return result != 0 ? result : copied;
}

int nc_range_unmark(Call& call) {
  abi::CrwlNcMapExt arg;
  std::size_t size;
  if (const int r = get_map(call, arg, size); r != 0) return r;
  std::uint64_t map[kMapWords];
  static_assert(kWords >= kMapWords);
  shift(arg.bitmap, map, -first_core(call));
  std::byte* window = call.session.room(sizeof(map));
  if (window == nullptr) return -ENOMEM;
  std::memcpy(window, map, sizeof(map));
  return call.ask(Op::kRangeUnmark, {}, sizeof(map));
}

int cinit_set_state(Call& call) {
  abi::CinitSet arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (!call.core_exists(arg.nc_id)) return -E2BIG;
  if (const int r = call.ask(Op::kInitState, {arg.nc_id, arg.state}); r != 0) return r;
  arg.new_state = static_cast<std::uint32_t>(call.session.v(0));
  return call.put(arg);
}

int nc_model_started_count(Call& call) {
  abi::NcModelStartedCount arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (!call.core_exists(arg.nc_id)) return -E2BIG;
  if (const int r = call.ask(Op::kModelStarted, {arg.nc_id}); r != 0) return r;
  arg.started_count = call.session.v(0);
  return call.put(arg);
}

/// The dump goes to the kernel's log, which is not shown.
int nc_pid_state_dump(Call& call) {
  abi::NcPidStateDump arg;
  if (const int r = call.get(arg); r != 0) return r;
  return arg.nc_id < kMaxCores ? 0 : -ENOENT;
}

int nc_reset(Call& call) {
  abi::DeviceReset arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kResetStart, {arg.nc_map}); r != 0) return r;
  arg.request_id = static_cast<std::uint32_t>(call.session.v(0));
  return call.put(arg);
}

int nc_reset_ready(Call& call) {
  abi::DeviceReady arg;
  if (const int r = call.get(arg); r != 0) return r;
  const int r = call.ask(Op::kResetWait, {arg.request_id});
  arg.result = r != 0 ? r : static_cast<std::int32_t>(call.session.v(0));
  return call.put(arg);
}

int device_reset(Call& call) {
  call.ask(Op::kResetStart, {abi::kNcMapDevice});
  return 0;
}

/// "1" for a reset that went well, or that nobody asked for.
int device_ready(Call& call) {
  const int r = call.ask(Op::kResetWait, {0, 1});
  const std::uint8_t ready = r != 0 || call.session.v(0) == 0;
  return call.put(ready);
}

int device_reset_status(Call& call) {
  const std::uint8_t started = 1;
  return call.put(started);
}

int acquire_neuron_ds(Call& call) {
  abi::NeuronDsInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kDsAcquire, {static_cast<std::uint64_t>(arg.pid)}); r != 0) return r;
  arg.mmap_offset = call.session.v(0);
  arg.size = static_cast<std::uint32_t>(call.session.v(1));
  return call.put(arg);
}

int release_neuron_ds(Call& call) {
  abi::NeuronDsInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  call.ask(Op::kDsRelease, {static_cast<std::uint64_t>(arg.pid)});
  return 0;
}

}  // namespace opennrt::emulator
