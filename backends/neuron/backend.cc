// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/backend.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "backends/neuron/abi.h"
#include "core/faults/plan.h"

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

int Backend::check_plan() {
  const char* const text = host_->config == nullptr ? nullptr : host_->config(host_->context, "OPENNRT_FAULTS");
  if (text == nullptr) return 0;
  const auto plan = faults::read_plan(text);
  if (!plan) {
    log_.error("open", "{}", plan.error().message);
    return -EINVAL;
  }
  const std::uint64_t wanted = faults::chip_identity(*plan);
  const std::vector<std::uint32_t> numbers = device_numbers(system_);
  std::shared_ptr<File> file;
  if (wanted == 0 || numbers.empty() || shared_control(system_, device_path(numbers.front()), file) != 0) return 0;
  paravirtual::Hello hello{};  // version 0: only asks
  if (file->request(paravirtual::kHello, &hello) != 0 || hello.version < paravirtual::kVersion) {
    const Status possible = faults::check_for_backend(*plan, "neuron");
    log_.error("open", "{}", possible ? "silicon cannot be told to fail" : possible.error().message);
    return -EINVAL;
  }
  if (hello.fault_plan == wanted) return 0;
  log_.error(
      "open",
      "{} has faults of the chip, and they would never strike: this emulated machine was started {}. Expected that "
      "`opennrt emulate` itself runs under the plan; a campaign is `opennrt faults campaign … -- opennrt emulate -- "
      "<command>`",
      plan->source, hello.fault_plan == 0 ? "without any" : "with others (or another seed)");
  return -EINVAL;
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
  std::int64_t shift = 0;
  if (const int error = check_host_numbers(numbers, shift); error != 0) return error;
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
  host_shift_ = shift;
  return 0;
}

int Backend::check_host_numbers(const std::vector<std::uint32_t>& numbers, std::int64_t& shift) const {
  // A device node may have any name, its minor number is the host's number of the device (neuron_cdev.c, ncdev_open). Cores
  // are counted from that of the first one.
  const auto first = system_.minor_number(device_path(numbers.front()));
  if (!first) return 0;
  shift = std::int64_t{*first} - numbers.front();
  for (const std::uint32_t number : numbers) {
    const std::string path = device_path(number);
    const auto host = system_.minor_number(path);
    if (!host || *host == number + shift) continue;
    log_.error("open", "Neuron cores are not contiguous: {} is device {} of the host, expected {}", path, *host,
               number + shift);
    return -EINVAL;
  }
  return 0;
}

bool Backend::waits() const {
  // Drivers without DRIVER_INFO may give a queue to the next who asks as it is, and then an emulator's count of what is in
  // it, by which it would let us wait, is not ours.
  return !polls_ && features_.driver_info;
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
  if (!visible(number)) return -ENODEV;
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
  auto device = std::make_unique<Device>(File(system_, fd), number, host_shift_, features_, log_, waits());
  opened = &devices_[number];
  opened->device = std::move(device);
  return 0;
}

void Backend::close_unused() {
  std::erase_if(devices_, [](const auto& entry) { return entry.second.users == 0 && entry.second.cores == 0; });
}

int Backend::find(std::uint32_t number) {
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error != 0) return error;
  return visible(number) ? 0 : -ENODEV;
}

int Backend::device_info(std::uint32_t number, opennrt_device_info_t& info) {
  const std::lock_guard guard(mutex_);
  if (const int error = control(); error != 0) return error;
  if (!visible(number)) return -ENODEV;
  if (const auto open = devices_.find(number); open != devices_.end()) return open->second.device->info(info);
  paravirtual::Hello hello{};  // version 0: only asks
  const bool emulated = control_->request(paravirtual::kHello, &hello) == 0 && hello.version >= paravirtual::kVersion;
  describe(*control_, numbers_.front(), number, features_, emulated ? &hello : nullptr, info);
  info.virtual_time = emulated && waits();
  return 0;
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
  close_unused();
}

int Backend::pass_marker(std::string_view name) {
  const std::lock_guard guard(mutex_);
  return devices_.empty() ? 0 : devices_.begin()->second.device->pass_marker(name);
}

}  // namespace opennrt::neuron
