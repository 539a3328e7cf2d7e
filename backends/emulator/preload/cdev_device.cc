// SPDX-License-Identifier: Apache-2.0
//
// The device and the driver: what they are, registers, metrics, log (neuron_cdev.c).
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backends/emulator/preload/cdev.h"
#include "backends/include/opennrt/backend.h"
#include "backends/neuron/abi.h"
#include "core/isa/inf1.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

// Where the driver says it has mapped the registers: addresses in the kernel, of which those of a request are counted.
// They are like those of an x86-64 kernel's ioremap.
constexpr std::uint64_t kBarBase[2] = {0xffff'c900'0000'0000, 0xffff'c900'8000'0000};
constexpr std::uint64_t kBarBytes[2] = {inf1::kBar0Bytes, inf1::kBar2Bytes};

std::uint64_t bar_base(const Call& call, unsigned bar) {
  return kBarBase[bar] + static_cast<std::uint64_t>(call.file.device) * 0x1'0000'0000;
}

int info(Call& call, opennrt_device_info_t& out) {
  return call.ask_for(out, Op::kDeviceInfo);
}

/// Addresses of a request as offsets in the BAR, at the start of the window: BAR 0 has one for each register, BAR 2 one
/// for the first of a row of them. 0 or the driver's errno.
int offsets(Call& call, const abi::BarRw& arg) {
  const std::uint64_t given = arg.bar == 0 ? arg.count : 1;
  if (given * 8 > kLargestArray || arg.count * 4ull > kLargestArray) return -ENOMEM;
  if (call.session.room(std::uint64_t{arg.count} * 12 + 8) == nullptr) return -ENOMEM;
  if (const int r = call.fill(arg.address, given * 8); r != 0) return r;
  if (arg.bar != 0 && arg.bar != 2) return -EINVAL;
  auto* at = reinterpret_cast<std::uint64_t*>(call.session.room(0));
  const unsigned bar = arg.bar / 2;
  const std::uint64_t first = at[0];
  for (std::uint64_t i = 0; i < arg.count; ++i) {
    const std::uint64_t offset = (arg.bar == 0 ? at[i] : first + 4 * i) - bar_base(call, bar);
    if (offset > kBarBytes[bar] - 4) return -EINVAL;
    at[i] = offset;
  }
  return 0;
}

}  // namespace

int succeeds(Call&) {
  return 0;
}
int fails(Call&) {
  return -EPERM;
}

int compatible_version(Call& call) {
  return call.put(abi::CompatibleVersion{call.machine.compatible_max, call.machine.compatible_min});
}

int device_basic_info(Call& call) {
  opennrt_device_info_t i;
  if (const int r = info(call, i); r != 0) return r;
  return call.put(abi::DeviceBasicInfo{i.architecture, i.revision});
}

int device_info(Call& call) {
  opennrt_device_info_t i;
  if (const int r = info(call, i); r != 0) return r;
  abi::DeviceInfo out{};
  out.architecture = i.architecture;
  out.revision = i.revision;
  out.connected_device_count = std::min(i.connected_count, abi::kMaxConnectedDevices);
  std::copy_n(i.connected, out.connected_device_count, out.connected_devices);
  for (unsigned bar = 0; bar < abi::kMaxBars; ++bar) {
    out.bar_address[bar] = bar_base(call, bar);
    out.bar_size[bar] = kBarBytes[bar];
  }
  return call.put(out);
}

/// GET and SET share a number; a structure longer than the driver's is filled as far as it goes.
int driver_info(Call& call) {
  if (_IOC_DIR(call.command) == _IOC_WRITE) {
    const int r = call.command == abi::kDriverInfoSet && !call.file.free_access() ? call.attached() : 0;
    return r != 0 ? r : -kErrorNotSupported;
  }
  if (_IOC_DIR(call.command) != _IOC_READ || _IOC_SIZE(call.command) < sizeof(abi::DeviceDriverInfo)) return -EINVAL;
  opennrt_device_info_t i;
  if (const int r = info(call, i); r != 0) return r;
  abi::DeviceDriverInfo out{};
  out.architecture = i.architecture;
  out.revision = i.revision;
  out.version = abi::kDriverInfoVersion;
  out.size = sizeof(out);
  out.feature_flags1 = abi::kFeatureDmabuf | abi::kFeatureAsyncDma | abi::kFeatureBatchQueueInit |
                       abi::kFeatureBigCoreMaps | abi::kFeatureMemAllocType | abi::kFeatureHbmScrub;
  if (call.machine.major > 2 || call.machine.minor >= 22) {
    out.feature_flags1 |= abi::kFeatureMemAlloc64 | abi::kFeatureContiguousScratchpad;
  }
  return call.put(out);
}

int device_bdf(Call& call) {
  if (const int r = call.ask(Op::kBdf, {static_cast<std::uint64_t>(call.file.device)}); r != 0) return r;
  const Session& s = call.session;
  return call.put(abi::DeviceBdf{static_cast<std::uint32_t>(s.v(1)), static_cast<std::uint8_t>(s.v(2)),
                                 static_cast<std::uint8_t>(s.v(3))});
}

int device_bdf_ext(Call& call) {
  abi::DeviceBdfExt arg;
  if (const int r = call.get(arg); r != 0) return r;
  const auto device = static_cast<std::uint32_t>(arg.nd_index + static_cast<std::uint32_t>(call.file.device));
  if (call.ask(Op::kBdf, {device}) != 0) return call.session.error() != 0 ? call.session.error() : -EINVAL;
  const Session& s = call.session;
  arg.domain = static_cast<std::uint32_t>(s.v(0));
  arg.bus_number = static_cast<std::uint32_t>(s.v(1));
  arg.slot = static_cast<std::uint8_t>(s.v(2));
  arg.func = static_cast<std::uint8_t>(s.v(3));
  return call.put(arg);
}

int device_app_pid(Call& call) {
  if (const int r = call.ask(Op::kApps, {0}); r != 0) return r;
  std::int32_t pid = 0;
  if (call.session.reply().bytes >= sizeof(AppInfo)) std::memcpy(&pid, call.session.window(), sizeof(pid));
  return call.put(pid);
}

int get_all_apps_info(Call& call) {
  abi::GetAppsInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kApps, {arg.apps_info_flags}); r != 0) return r;
  const auto present = static_cast<std::uint32_t>(call.session.reply().bytes / sizeof(AppInfo));
  arg.size = std::min({arg.capacity, present, abi::kMaxProcessesPerDevice});
  if (const int r = call.put(arg); r != 0) return r;
  for (std::uint32_t i = 0; i < arg.size; ++i) {
    AppInfo from;
    std::memcpy(&from, call.session.window() + i * sizeof(AppInfo), sizeof(from));
    abi::AppInfo to{};
    to.pid = from.pid;
    to.nc_lock_map = from.core_lock_map;
    static_assert(sizeof(to.uuid_data) == sizeof(from.uuid));
    std::memcpy(to.uuid_data, from.uuid, sizeof(from.uuid));
    to.host_mem_size = from.host_bytes;
    to.device_mem_size = from.device_bytes;
    if (const int r = copy_to_user(call.argument + sizeof(arg) + i * sizeof(to), &to, sizeof(to)); r != 0) return r;
  }
  return 0;
}

int host_device_id(Call& call) {
  return call.put(abi::HostDeviceId{static_cast<std::uint32_t>(call.file.device)});
}

/// On Inf1 a device's routing id is its number (v1/neuron_dhal_v1.c).
int host_device_id_to_rid_map(Call& call) {
  abi::HostDeviceIdToRidMap out{};
  if (_IOC_SIZE(call.command) != sizeof(out)) return -EINVAL;
  out.count = std::min(call.machine.devices, abi::kMaxDevices);
  for (std::uint32_t i = 0; i < out.count; ++i) out.host_did_to_rid_map[i] = i;
  return call.put(out);
}

int bar_read(Call& call) {
  abi::BarRw arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = offsets(call, arg); r != 0) return r;
  const std::uint64_t bytes = arg.count * 4ull;
  if (const int r = call.ask(Op::kBarRead, {arg.bar, arg.count}, arg.count * 8ull); r != 0) return r;
  if (call.session.reply().bytes < bytes) return -EPROTO;
  return copy_to_user(arg.data, call.session.window(), bytes);
}

int bar_write(Call& call) {
  abi::BarRw arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = offsets(call, arg); r != 0) return r;
  std::byte* window = call.session.room(0);
  if (const int r = copy_from_user(window + arg.count * 8ull, arg.data, arg.count * 4ull); r != 0) return r;
  return call.ask(Op::kBarWrite, {arg.bar, arg.count}, arg.count * 12ull);
}

int read_hw_counters(Call& call) {
  abi::ReadHwCounters arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.count * 8ull > kLargestArray) return -ENOMEM;
  if (const int r = call.fill(arg.address, arg.count * 8ull); r != 0) return r;
  if (const int r = call.ask(Op::kHwCounters, {arg.count}, arg.count * 8ull); r != 0) return r;
  if (call.session.reply().bytes < arg.count * 4ull) return -EPROTO;
  return copy_to_user(arg.data, call.session.window(), arg.count * 4ull);
}

/// Metrics go to a buffer of the firmware, for the operator of the machine; here nobody reads it.
int post_metric(Call& call) {
  if (const int r = call.attached(); r != 0) return r;
  abi::PostMetric arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.data_size > kLargestArray) return -ENOMEM;
  if (const int r = call.fill(arg.data, arg.data_size); r != 0) return r;
  constexpr std::uint32_t kBuffer = 128;  // FW_IO_REG_METRIC_BUF_SZ
  return arg.data_size > kBuffer ? -E2BIG : 0;
}

int print(Call& call) {
  abi::Printk arg;
  if (const int r = call.get(arg); r != 0) return r;
  constexpr std::uint32_t kLongest = 512;
  if (arg.size > kLongest) return -EFAULT;
  if (const int r = call.fill(arg.buffer, arg.size); r != 0) return r;
  if (arg.size == 0 || call.session.window()[arg.size - 1] != std::byte{0}) return -EBADMSG;
  return call.ask(Op::kPrint, {}, arg.size - 1);
}

/// Inf1 has neither HBM nor the engines for it: the driver fails with -1 whatever is asked.
int hbm_scrub(Call& call) {
  abi::HbmScrubWait common;  // START has two fields more
  const std::size_t bytes = call.command == abi::kHbmScrubStart ? sizeof(abi::HbmScrubStart) : sizeof(common);
  if (const int r = call.fill(call.argument, bytes); r != 0) return r;
  return -EPERM;
}

int logical_to_physical_nc_map(Call&) {
  return -kErrorNotSupported;
}

int pod_info(Call& call) {
  if (call.command != abi::kPodInfo) return -EINVAL;
  abi::PodInfo arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.sz != sizeof(arg)) return -EINVAL;
  arg = {};  // no pod
  arg.sz = sizeof(arg);
  return call.put(arg);
}

namespace {
constexpr std::uint32_t kSingleNode = 4;  // NEURON_POD_E_STATE_SINGLE_NODE
}

int pod_status(Call& call) {
  const std::size_t bytes = call.command == abi::kPodStatus     ? sizeof(abi::PodStatus)
                            : call.command == abi::kPodStatusV2 ? sizeof(abi::PodStatusV2)
                                                                : 0;
  if (bytes == 0) return -EINVAL;
  abi::PodStatusV2 arg{};
  if (const int r = copy_from_user(&arg, call.argument, bytes); r != 0) return r;
  if (arg.v1.sz != bytes) return -EINVAL;
  arg = {};
  arg.v1.sz = static_cast<std::uint16_t>(bytes);
  arg.v1.state = kSingleNode;
  arg.v1.node_id = -1;
  return copy_to_user(call.argument, &arg, bytes);
}

int pod_ctrl(Call& call) {
  const std::size_t bytes = call.command == abi::kPodCtrl     ? sizeof(abi::PodCtrl)
                            : call.command == abi::kPodCtrlV2 ? sizeof(abi::PodCtrlV2)
                                                              : 0;
  if (bytes == 0) return -EINVAL;
  abi::PodCtrlV2 arg{};
  if (const int r = copy_from_user(&arg, call.argument, bytes); r != 0) return r;
  if (arg.v1.sz != bytes) return -EINVAL;
  arg.v1.state = kSingleNode;
  return copy_to_user(call.argument, &arg, bytes);
}

}  // namespace opennrt::emulator
