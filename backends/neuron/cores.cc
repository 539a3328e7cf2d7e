// SPDX-License-Identifier: Apache-2.0
//
// Who has which NeuronCore. The driver marks ranges of cores for a process (neuron_crwl.c), but tells nobody for which one. What
// it does tell is who holds the lock of a core's model (GET_ALL_APPS_INFO): the owner of a core takes that lock with a sign
// of its own, and so others can name it.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "backends/neuron/backend.h"

namespace opennrt::neuron {
namespace {

constexpr std::uint32_t kCores = inf1::kCoresPerDevice;
/// How long others' devices are looked at for the names of those who hold their cores. Closing such a device takes the driver
/// a second (v1/neuron_dhal_v1.c, ncdev_quiesce_exec_on_proc_exit_v1), for which nobody else can open it (ncdev_flush).
constexpr std::uint64_t kLookNs = 5'000'000'000;

abi::Uuid owner_sign() {
  abi::Uuid uuid{};
  constexpr char kText[] = "OpenNRT: core reserved";
  std::memcpy(uuid.value, kText, sizeof(kText));
  return uuid;
}

bool has(const opennrt_core_map_t& map, std::uint32_t core) {
  return core < OPENNRT_MAX_CORES && (map.bits[core / 64] >> core % 64 & 1) != 0;
}
void set(opennrt_core_map_t& map, std::uint32_t core) {
  if (core < OPENNRT_MAX_CORES) map.bits[core / 64] |= std::uint64_t{1} << core % 64;
}

/// How `opennrt ps` shows it; no control characters of somebody else's command line in our log.
std::string command_of(Syscalls& system, std::int32_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::string text = system.read_file(folder + "/cmdline").value_or("");
  while (!text.empty() && text.back() == '\0') text.pop_back();
  if (text.empty()) text = system.read_file(folder + "/comm").value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace

// ---- the driver's marks; its core numbers count from the device that the request is made to ----

int Backend::mark(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                  std::uint32_t& available) {
  taken = {};
  available = 0;
  abi::CrwlNcMapExt range{count, first - base_core(), last - base_core(), 0, {}};
  int error = 0;
  if (features_.big_core_maps) {
    error = control_->request(abi::kCrwlNcRangeMarkExt0, &range);
  } else {
    abi::CrwlNcMap small{count, range.start_nc_index, range.end_nc_index, 0, 0};
    error = control_->request(abi::kCrwlNcRangeMark, &small);
    range.max_nc_available = small.max_nc_available;
    range.bitmap[0] = small.bitmap;
  }
  if (error != 0) {
    available = range.max_nc_available;
    return error;
  }
  for (std::uint32_t core = 0; core < 8 * sizeof(range.bitmap); ++core) {
    if ((range.bitmap[core / 64] >> core % 64 & 1) != 0) set(taken, base_core() + core);
  }
  available = count;
  return 0;
}

int Backend::unmark(const opennrt_core_map_t& cores) {
  abi::CrwlNcMapExt range{};
  for (std::uint32_t core = base_core(); core < OPENNRT_MAX_CORES; ++core) {
    const std::uint32_t relative = core - base_core();
    if (has(cores, core)) range.bitmap[relative / 64] |= std::uint64_t{1} << relative % 64;
  }
  if (features_.big_core_maps) return control_->request(abi::kCrwlNcRangeUnmarkExt0, &range);
  abi::CrwlNcMap small{0, 0, 0, 0, range.bitmap[0]};
  return control_->request(abi::kCrwlNcRangeUnmark, &small);
}

int Backend::cores_reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                           std::uint32_t& available) {
  taken = {};
  available = 0;
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error != 0) return error;
  const std::uint32_t end = (numbers_.back() + 1) * kCores;
  if (count == 0 || first > last || first < base_core() || last >= end) return -EINVAL;
  // After a run that was too short the driver passes over the core behind the busy one (neuron_crwl.c): asked again from each
  // further core, it finds every run there is.
  int marked = mark(count, first, last, taken, available);
  for (std::uint32_t start = first + 1, longest = available; marked == -EBUSY && start <= last; ++start) {
    marked = mark(count, start, last, taken, available);
    available = longest = std::max(longest, available);
  }
  look_until_ = marked == -EBUSY ? system_.now_ns() + kLookNs : 0;
  if (marked != 0) return marked;
  const int error = take_over(taken);
  if (error != 0) {
    unmark(taken);
    taken = {};
  }
  return error;
}

int Backend::take_over(const opennrt_core_map_t& cores) {
  int error = 0;
  Opened* opened = nullptr;
  for (const std::uint32_t number : numbers_) {
    std::uint32_t map = 0;
    for (std::uint32_t core = 0; core < kCores; ++core) map |= has(cores, number * kCores + core) ? 1u << core : 0;
    if (map == 0) continue;
    if (error = acquire(number, opened); error != 0) break;
    opened->cores |= map;
    Device& device = *opened->device;
    // Whoever had the cores before may have left anything in them.
    std::uint32_t request = 0;
    std::int32_t result = 0;
    if (resets_) error = device.reset_start(map, request);
    const bool by_hand = error == -ENOTSUP;
    if (resets_ && error == 0) error = device.reset_wait(request, result);
    if (error == 0 && result != 0) error = -EIO;
    if (by_hand) error = 0;
    for (std::uint32_t core = 0; core < kCores && error == 0; ++core) {
      if ((map >> core & 1) == 0) continue;
      if (by_hand) error = device.clear_core(core);
      for (std::uint32_t i = 0; i < inf1::kDmaEnginesPerCore && error == 0; ++i)
        error = device.engine_set_state(core * inf1::kDmaEnginesPerCore + i, OPENNRT_DMA_NORMAL);
      device.sign_core(core);
    }
    if (error != 0) {
      log_.error("cores_reserve", "nd{}: the cores {:#x} cannot be brought to their first state: {}", number, map,
                 std::strerror(-error));
      break;
    }
  }
  if (error != 0) (void)forget_cores(cores);
  close_unused();
  return error;
}

int Backend::cores_release(const opennrt_core_map_t& cores) {
  const std::lock_guard guard(mutex_);
  const std::optional<opennrt_core_map_t> held = forget_cores(cores);
  close_unused();
  return held ? unmark(*held) : 0;
}

std::optional<opennrt_core_map_t> Backend::forget_cores(const opennrt_core_map_t& cores) {
  std::optional<opennrt_core_map_t> held;
  for (auto& [number, opened] : devices_) {
    for (std::uint32_t core = 0; core < kCores; ++core) {
      const std::uint32_t machine_core = number * kCores + core;
      if ((opened.cores >> core & 1) == 0 || !has(cores, machine_core)) continue;
      opened.device->unsign_core(core);
      opened.cores &= ~(1u << core);
      if (!held) held.emplace();
      set(*held, machine_core);
    }
  }
  return held;
}

int Backend::core_holder(std::uint32_t core, opennrt_core_holder_t& holder, bool for_sure) {
  holder = {};
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error != 0) return error;
  const std::uint32_t number = core / kCores;
  if (!visible(number)) return -EINVAL;
  std::int32_t pid = 0;
  const auto here = devices_.find(number);
  Opened* opened = here != devices_.end() ? &here->second : nullptr;
  if (opened == nullptr && system_.now_ns() < look_until_) {
    close_unused();                                    // what was looked at before
    if (acquire(number, opened, true) != 0) return 0;  // then nobody can tell
  }
  if (opened == nullptr) return 0;
  if ((opened->cores >> core % kCores & 1) != 0)
    pid = pid_;
  else
    opened->device->owner(core % kCores, pid, for_sure);
  if (pid == 0) return 0;
  holder.pid = pid;
  const std::string command = command_of(system_, pid);
  std::memcpy(holder.command, command.data(), std::min(command.size(), sizeof(holder.command) - 1));
  return 0;
}

// ---- locks of models ----

int Device::core_lock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32]) {
  if (core >= kCores || (mode != OPENNRT_LOCK_READ && mode != OPENNRT_LOCK_WRITE)) return -EINVAL;
  if (mode == OPENNRT_LOCK_WRITE) unsign_core(core);  // from here on the model's lock names its owner
  abi::Crwl request{core, {}};
  std::memcpy(request.uuid.value, uuid, sizeof(request.uuid.value));
  return file_.request(mode == OPENNRT_LOCK_READ ? abi::kCrwlReaderEnter : abi::kCrwlWriterEnter, &request);
}

int Device::core_unlock(std::uint32_t core, opennrt_lock_mode_t mode, const std::uint8_t uuid[32]) {
  if (core >= kCores || (mode != OPENNRT_LOCK_READ && mode != OPENNRT_LOCK_WRITE)) return -EINVAL;
  abi::Crwl request{core, {}};
  std::memcpy(request.uuid.value, uuid, sizeof(request.uuid.value));
  return file_.request(mode == OPENNRT_LOCK_READ ? abi::kCrwlReaderExit : abi::kCrwlWriterDowngrade, &request);
}

void Device::sign_core(std::uint32_t core) {
  abi::Crwl request{core, owner_sign()};
  const std::lock_guard guard(lock_mutex_);
  if (signed_[core]) file_.request(abi::kCrwlReaderExit, &request);
  const int entered = file_.request(abi::kCrwlWriterEnter, &request);
  signed_[core] = (entered == 0 || entered == -EALREADY) && file_.request(abi::kCrwlWriterDowngrade, &request) == 0;
}

void Device::unsign_core(std::uint32_t core) {
  abi::Crwl request{core, owner_sign()};
  const std::lock_guard guard(lock_mutex_);
  if (signed_[core]) file_.request(abi::kCrwlReaderExit, &request);
  signed_[core] = false;
}

// ---- processes of a device ----

int Device::apps(std::vector<abi::AppInfo>& found, std::uint16_t flags) const {
  constexpr std::uint32_t kRoom = abi::kMaxProcessesPerDevice;
  // The header, then the array, as the driver writes them in one piece.
  struct {
    abi::GetAppsInfo header{};
    abi::AppInfo processes[kRoom]{};
  } request;
  static_assert(sizeof(request) == sizeof(abi::GetAppsInfo) + kRoom * sizeof(abi::AppInfo));
  request.header.apps_info_flags = flags;
  request.header.capacity = kRoom;
  if (const int error = file_.request(abi::kDeviceGetAllAppsInfo, &request); error != 0) return error;
  found.assign(request.processes, request.processes + std::min(request.header.size, kRoom));
  return 0;
}

int Device::owner(std::uint32_t core, std::int32_t& pid, bool for_sure) {
  pid = 0;
  std::vector<abi::AppInfo> processes;
  if (const int error = apps(processes, abi::kAppInfoCoreLocks); error != 0) return error;
  for (const abi::AppInfo& process : processes) {
    if ((process.nc_lock_map >> core & 1) != 0) pid = process.pid;
  }
  if (pid != 0 || for_sure) return 0;
  // A process of another runtime that has no model on any core yet, if there is no doubt which one.
  std::erase_if(processes, [](const abi::AppInfo& process) { return process.pid == ::getpid(); });
  if (processes.size() == 1 && processes.front().nc_lock_map == 0) pid = processes.front().pid;
  return 0;
}

}  // namespace opennrt::neuron
