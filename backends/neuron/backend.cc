// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/backend.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "backends/neuron/abi.h"

namespace opennrt::neuron {
namespace {

constexpr char kPollVariable[] = "OPENNRT_NEURON_POLL", kResetVariable[] = "NEURON_RT_RESET_CORES";
constexpr std::uint64_t kBusyPauseNs = 1'000'000, kBusyPatienceNs = 1'000'000'000;
constexpr std::uint32_t kInferentia = static_cast<std::uint32_t>(abi::Architecture::kV1);

/// What the variable says; `fallback` where that is nothing. The runtime has refused what is no flag.
bool flag(const opennrt_host_t& host, const char* name, bool fallback) {
  const char* const value = host.config == nullptr ? nullptr : host.config(host.context, name);
  if (value == nullptr || *value == '\0') return fallback;
  return std::string_view("1tT").find(*value) != std::string_view::npos;
}

/// A file for requests that need no device: opened for writing only, it attaches this process to nothing (neuron_cdev.c,
/// IS_NEURON_DEVICE_FREE_ACCESS). Cores belong to whoever marked them until it closes such a file, any one (ncdev_misc_flush):
/// so there is one for the whole process, whoever else in it uses this backend.
int shared_control(Syscalls& system, const std::string& path, std::shared_ptr<File>& control) {
  struct Shared {
    std::weak_ptr<File> file;
    Syscalls* system = nullptr;
    std::string path;
    pid_t pid = 0;
  };
  static std::mutex mutex;
  static Shared* const shared = new Shared;
  const std::lock_guard guard(mutex);
  if (shared->system == &system && shared->path == path && shared->pid == ::getpid()) control = shared->file.lock();
  if (control) return 0;
  const int fd = system.open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  control = std::make_shared<File>(system, fd);
  *shared = {control, &system, path, ::getpid()};
  return 0;
}

}  // namespace

Backend::Backend(const opennrt_host_t* host, Syscalls& system)
    : host_(host),
      system_(system),
      log_(host),
      pid_(::getpid()),
      polls_(flag(*host_, kPollVariable, false)),
      resets_(flag(*host_, kResetVariable, true)) {}

Backend::~Backend() {
  opennrt_core_map_t held{};
  for (const auto& [number, opened] : devices_) {
    for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
      if ((opened.cores >> core & 1) == 0) continue;
      const std::uint32_t machine_core = number * inf1::kCoresPerDevice + core;
      held.bits[machine_core / 64] |= std::uint64_t{1} << machine_core % 64;
    }
  }
  cores_release(held);
}

int Backend::version(opennrt_driver_version_t& version) {
  const auto found = driver_version(system_);
  if (!found) return -ENOENT;
  version = *found;
  if (version.major < 2) return 0;  // before the requests that follow
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error != 0) return error;
  abi::CompatibleVersion range{};
  if (const int error = control_->request(abi::kCompatibleVersion, &range); error != 0) {
    log_.error("version", "Neuron Driver {} does not say which runtimes it serves: {}", version.text,
               std::strerror(-error));
    return error;
  }
  version.compatible_min = range.min;
  version.compatible_max = range.max;
  return 0;
}

int Backend::control() {
  if (control_) return 0;
  std::vector<std::uint32_t> numbers = device_numbers(system_);
  if (numbers.empty()) return -ENODEV;
  const std::string path = device_path(numbers.front());
  std::shared_ptr<File> file;
  if (const int error = shared_control(system_, path, file); error != 0) {
    log_.error("open", "{}", open_refusal(system_, path, error));
    return error;
  }
  Features features;
  if (const int error = probe_features(*file, features); error != 0) {
    log_.error("open", "{} does not answer as a Neuron Driver does: {}", path, std::strerror(-error));
    return error;
  }
  if (features.architecture != kInferentia) {
    log_.error("open", "{} is a device of architecture {}, {}; this runtime serves {} only", path,
               features.architecture, architecture_name(features.architecture), architecture_name(kInferentia));
    return -ENOTSUP;
  }
  control_ = std::move(file);
  features_ = features;
  numbers_ = std::move(numbers);
  return 0;
}

int Backend::devices(std::vector<std::uint32_t>& numbers) {
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error == -ENODEV) {
    numbers.clear();
    return 0;
  } else if (error != 0) {
    return error;
  }
  numbers = numbers_;
  return 0;
}

int Backend::acquire(std::uint32_t number, Opened*& opened, bool for_a_look) {
  if (const int error = control(); error != 0) return error;
  if (!std::binary_search(numbers_.begin(), numbers_.end(), number)) return -ENODEV;
  const auto found = devices_.find(number);
  if (found != devices_.end()) {
    opened = &found->second;
    return 0;
  }
  const std::string path = device_path(number);
  int fd = system_.open(path, O_RDWR | O_CLOEXEC);
  // The driver attaches few processes to a device; those that only look who holds a core are gone in a moment.
  for (std::uint64_t waited = 0; fd == -EBUSY && !for_a_look && waited < kBusyPatienceNs; waited += kBusyPauseNs) {
    system_.sleep(kBusyPauseNs);
    fd = system_.open(path, O_RDWR | O_CLOEXEC);
  }
  if (fd < 0 && for_a_look) return fd;
  if (fd < 0) {
    log_.error("device_open", "{}", open_refusal(system_, path, fd));
    return fd;
  }
  auto device = std::make_unique<Device>(File(system_, fd), number, features_, log_, polls_);
  // A container may give device nodes any names; cores are counted from the host's number of the first one.
  if (const auto host = device->host_number()) {
    const std::int64_t offset = std::int64_t{*host} - number;
    if (host_offset_.value_or(offset) != offset) {
      log_.error("device_open", "Neuron cores are not contiguous: {} is device {} of the host, expected {}", path,
                 *host, number + *host_offset_);
      return -ENODEV;
    }
    host_offset_ = offset;
  }
  opened = &devices_[number];
  opened->device = std::move(device);
  return 0;
}

void Backend::let_go(std::map<std::uint32_t, Opened>::iterator opened) {
  if (opened->second.users == 0 && opened->second.cores == 0) devices_.erase(opened);
}

int Backend::device_open(std::uint32_t number, Device*& device) {
  const std::lock_guard guard(mutex_);
  Opened* opened = nullptr;
  if (const int error = acquire(number, opened); error != 0) return error;
  ++opened->users;
  device = opened->device.get();
  return 0;
}

void Backend::device_close(Device* device) {
  const std::lock_guard guard(mutex_);
  const auto opened = devices_.find(device->number());
  if (opened == devices_.end() || opened->second.users == 0) return;
  if (--opened->second.users == 0) device->forget();
  let_go(opened);
}

int Backend::pass_marker(std::string_view name) {
  const std::lock_guard guard(mutex_);
  return devices_.empty() ? 0 : devices_.begin()->second.device->pass_marker(name);
}

}  // namespace opennrt::neuron
