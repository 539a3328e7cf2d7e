// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/machine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <string_view>
#include <system_error>

#include "core/faults/plan.h"
#include "core/isa/inf1.h"
#include "core/observe/log.h"
#include "core/runtime/paths.h"
#include "core/runtime/proc.h"
#include "core/umd/driver_call.h"

namespace opennrt {
namespace {

constexpr const char* kFirstNeuronDevice = "/dev/neuron0";
constexpr const char* kDriverVersionFile = "/sys/module/neuron/version";
constexpr const char* kNoDriver =
    "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is installed.";
constexpr const char* kOldDriver =
    "This runtime requires Neuron Driver version 2.0 or greater. Please upgrade aws-neuron-dkms package.";
/// What a driver calls the version of a runtime: those whose requests are served by the backends here
/// (aws-neuron-driver v1/neuron_dhal_v1.c, V1_RT_MIN_COMPATIBLE_VERSION and V1_RT_MAX_COMPATIBLE_VERSION).
constexpr std::uint32_t kOldestCompatibilityId = 2, kCompatibilityId = 7;
/// The newest release of the driver whose requests the backends were held against.
constexpr std::uint32_t kNewestMajor = 2, kNewestMinor = 24;
constexpr const char* kAllocateFunction = "nrt_allocate_neuron_cores";  // as the SDK's documentation shows the line

constexpr const char* kFaultDecorator = "fault";
constexpr const char* kRuntime1 = "neuron-rtd";  // the daemon of Neuron Runtime 1.x

using observe::Component;
using observe::Level;

/// The plug-in's file in the first folder of OPENNRT_BACKEND_PATH that has it, else the name for the library's own
/// folder.
std::string resolve_backend(const Configuration& configuration, const std::string& name_or_path) {
  if (name_or_path.find('/') != std::string::npos) return name_or_path;
  for (const std::string& folder : configuration.backend_path) {
    const std::filesystem::path file = std::filesystem::path(folder) / ("libopennrt_backend_" + name_or_path + ".so");
    std::error_code error;
    if (std::filesystem::exists(file, error)) return file.string();
  }
  return name_or_path;
}

/// The plan of faults, empty without one. kInvalidArgument, kInvalidFile: it is malformed, or the backend cannot have a fault
/// of it.
Result<faults::Plan> read_faults(const Configuration& configuration, const std::string& backend) {
  const char* text = configuration.get("OPENNRT_FAULTS");
  if (text == nullptr) return faults::Plan{};
  auto plan = faults::read_plan(text);
  if (!plan) return plan;
  // An emulated device may have what silicon cannot: its backend asks it.
  if (const Status fits = faults::check_for_backend(*plan, backend == "neuron" ? "emulated" : backend); !fits)
    return tl::unexpected(fits.error());
  return plan;
}

void set_bit(opennrt_core_map_t& map, std::uint32_t core) {
  map.bits[core / 64] |= std::uint64_t{1} << (core % 64);
}
bool has_bit(const opennrt_core_map_t& map, std::uint32_t core) {
  return ((map.bits[core / 64] >> (core % 64)) & 1) != 0;
}

/// /dev/neuron0, or any other in a container to which that one is not given.
bool neuron_device_present() {
  if (access(kFirstNeuronDevice, F_OK) == 0) return true;
  constexpr std::string_view kPrefix = "neuron";
  std::error_code error;
  for (std::filesystem::directory_iterator it("/dev", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
        name.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos)
      return true;
  }
  return false;
}

/// What has run out and what the hardware answered have statuses of their own; for all else the devices are not to be had.
ErrorCode code_of_refusal(int negative_errno) {
  const ErrorCode code = umd::code_of_errno(negative_errno);
  return code == ErrorCode::kResource || code == ErrorCode::kHardware ? code : ErrorCode::kDeviceGone;
}

/// Requirements D1 to D3.
Status check_driver(const umd::Backend& backend, opennrt_driver_version_t& driver) {
  umd::Backend::take_error_text();
  if (const int error = backend.api().version(backend.handle(), &driver); error != 0) {
    const std::string text = umd::Backend::take_error_text();
    if (text.empty()) return make_error(ErrorCode::kDeviceGone, "{}", kNoDriver);
    return make_error(ErrorCode::kDeviceGone, "{}", text);
  }
  if (driver.major < 2) return make_error(ErrorCode::kDeviceGone, "{}", kOldDriver);
  const bool says = driver.compatible_max != 0;
  const std::string_view text(driver.text, strnlen(driver.text, sizeof(driver.text)));
  if (says && (driver.compatible_max < kOldestCompatibilityId || driver.compatible_min > kCompatibilityId)) {
    return make_error(ErrorCode::kUnsupported,
                      "This Neuron Runtime (compatibility id: {}) is not compatible with the installed aws-neuron-dkms "
                      "package: version {} of the driver serves ids {} to {}",
                      kCompatibilityId, text, driver.compatible_min, driver.compatible_max);
  }
  static std::atomic<bool> told{false};
  if (driver.major > kNewestMajor || (driver.major == kNewestMajor && driver.minor > kNewestMinor)) {
    if (!told.exchange(true)) {
      observe::log(Component::kNrt, Level::kWarn, "nrt_init",
                   "Neuron Driver {} is newer than the newest that this runtime was checked with, {}.{}. It is used, "
                   "because it says that it serves runtimes with compatibility ids {} to {}",
                   text, kNewestMajor, kNewestMinor, driver.compatible_min, driver.compatible_max);
    }
  }
  return {};
}

}  // namespace

Result<BackendChoice> choose_backend(const Configuration& configuration, bool neuron_device_present) {
  if (!configuration.backend.empty()) {
    if (configuration.backend == "neuron" && !neuron_device_present) {
      return make_error(ErrorCode::kDeviceGone,
                        "This instance has no neuron devices: OPENNRT_BACKEND is \"neuron\", and {} does not exist. "
                        "Please check that "
                        "the Neuron driver is installed and loaded, or set OPENNRT_BACKEND=sim",
                        kFirstNeuronDevice);
    }
    return BackendChoice{configuration.backend, ""};
  }
  if (neuron_device_present) return BackendChoice{"neuron", ""};
  return BackendChoice{
      "sim", fmt::format("{} does not exist, so models run on the simulated Inferentia. Set OPENNRT_BACKEND=sim to "
                         "choose it without this line, or OPENNRT_BACKEND=neuron to insist on a device",
                         kFirstNeuronDevice)};
}

void Machine::host_log(void*, opennrt_log_level_t level, const char* function, const char* text) {
  observe::write(Component::kTdrv, static_cast<Level>(level), function == nullptr ? "" : function,
                 text == nullptr ? "" : text);
}

bool Machine::host_log_enabled(void*, opennrt_log_level_t level) {
  return observe::enabled(Component::kTdrv, static_cast<Level>(level));
}

const char* Machine::host_config(void* context, const char* name) {
  return name == nullptr ? nullptr : static_cast<Machine*>(context)->configuration_.get(name);
}

Result<std::unique_ptr<Machine>> Machine::open(Configuration configuration, Detail detail) {
  const Result<BackendChoice> choice = choose_backend(configuration, neuron_device_present());
  if (!choice) {
    // Requirement D1, before what follows from it.
    if (configuration.backend == "neuron" && access(kDriverVersionFile, F_OK) != 0)
      observe::write(Component::kNrt, Level::kError, "nrt_init", kNoDriver);
    return tl::unexpected(choice.error());
  }
  static std::atomic<bool> told{false};
  if (!choice->notice.empty() && !told.exchange(true))
    observe::write_notice(Component::kNrt, "nrt_init", choice->notice);

  std::unique_ptr<Machine> machine(new Machine);
  machine->configuration_ = std::move(configuration);
  machine->host_ = {sizeof(opennrt_host_t), machine.get(), &host_log,
                    &host_log_enabled,      &host_config,  library_paths().data_dir.c_str()};
  const auto faults = read_faults(machine->configuration_, choice->name_or_path);
  if (!faults) return tl::unexpected(faults.error());
  // A decorator stands before the backend only where a plan wants it: otherwise it is not even loaded.
  const std::string decorator =
      faults->has(faults::Level::kDriver) ? resolve_backend(machine->configuration_, kFaultDecorator) : "";
  auto backend = umd::Backend::open(resolve_backend(machine->configuration_, choice->name_or_path),
                                    library_paths().backend_dir, machine->host_, decorator);
  if (!backend) {
    if (choice->name_or_path == "neuron") {
      return with_context(
          backend.error(),
          fmt::format("{} exists, but the backend for it cannot be used; set OPENNRT_BACKEND=sim to run "
                      "on the simulated Inferentia",
                      kFirstNeuronDevice));
    }
    return tl::unexpected(backend.error());
  }
  machine->backend_ = std::move(*backend);
  if (const Status driver = check_driver(*machine->backend_, machine->driver_); !driver)
    return tl::unexpected(driver.error());

  std::vector<std::uint32_t> numbers(OPENNRT_MAX_DEVICES);
  std::uint32_t count = OPENNRT_MAX_DEVICES;
  const opennrt_backend_api_t& api = machine->backend_->api();
  umd::Backend::take_error_text();
  if (const int error = api.devices(machine->backend_->handle(), numbers.data(), &count); error != 0) {
    const std::string text = umd::Backend::take_error_text();
    return make_error(code_of_refusal(error), "backend {} cannot enumerate its devices: {}", machine->backend_->name(),
                      text.empty() ? std::strerror(-error) : text);
  }
  if (count == 0) {
    return make_error(ErrorCode::kDeviceGone, "This instance has no neuron devices: backend {} sees none",
                      machine->backend_->name());
  }
  if (count > OPENNRT_MAX_DEVICES) {
    return make_error(ErrorCode::kDeviceGone, "backend {} has {} devices, expected at most {}",
                      machine->backend_->name(), count, OPENNRT_MAX_DEVICES);
  }
  numbers.resize(count);
  // Requirement B10: a container to which some devices in between are not given.
  for (std::uint32_t i = 1; i < count; ++i) {
    if (numbers[i] == numbers[i - 1] + 1) continue;
    const std::string line = fmt::format("Neuron cores are not contiguous: device {} is followed by {}, expected {}",
                                         numbers[i - 1], numbers[i], numbers[i - 1] + 1);
    observe::write(Component::kNrt, Level::kError, kAllocateFunction, line);
    return make_error(ErrorCode::kInvalidArgument, "no NeuronCores can be used with such a gap between devices");
  }
  machine->device_numbers_ = std::move(numbers);
  if (const Status counted = machine->count_cores(); !counted) return tl::unexpected(counted.error());
  if (detail == Detail::kFirstDevice && machine->devices_.empty()) {
    if (const Status opened = machine->open_device(machine->device_numbers_.front()); !opened)
      return tl::unexpected(opened.error());
  }
  return machine;
}

Status Machine::count_cores() {
  // No device has more than four cores (umd refuses others), numbered like the driver's (device * 4 + core): when
  // the last one that there can be is there, all are.
  const std::uint32_t first = device_numbers_.front() * inf1::kCoresPerDevice;
  const std::uint32_t end = (device_numbers_.back() + 1) * inf1::kCoresPerDevice;
  opennrt_core_holder_t holder{};
  if (end <= OPENNRT_MAX_CORES && umd::call(backend_->api().core_holder, backend_->handle(), end - 1, &holder) == 0) {
    core_numbers_.resize(end - first);
    std::iota(core_numbers_.begin(), core_numbers_.end(), first);
    return {};
  }
  for (const std::uint32_t number : device_numbers_) {
    if (const Status opened = open_device(number); !opened) return opened;
  }
  std::vector<std::uint32_t> found;
  for (const Core& core : cores_) found.push_back(core.machine_number);
  core_numbers_.resize(found.size());
  std::iota(core_numbers_.begin(), core_numbers_.end(), found.front());
  if (found != core_numbers_) {
    return make_error(ErrorCode::kInternal, "backend {} numbers its NeuronCores {}, expected {}", backend_->name(),
                      fmt::join(found, ","), fmt::join(core_numbers_, ","));
  }
  return {};
}

Status Machine::open_device(std::uint32_t number) {
  auto device = umd::Device::open(backend_, number);
  if (!device) return tl::unexpected(device.error());
  const opennrt_device_info_t& info = (*device)->info();
  if (info.first_core > OPENNRT_MAX_CORES - info.core_count) {
    return make_error(ErrorCode::kInternal, "device {} has {} cores from nc{}, expected numbers below {}", number,
                      info.core_count, info.first_core, OPENNRT_MAX_CORES);
  }
  for (std::uint32_t c = 0; c < info.core_count; ++c) cores_.push_back({*device, c, info.first_core + c});
  devices_.push_back(std::move(*device));
  return {};
}

Status Machine::open_devices_of(const opennrt_core_map_t& cores) {
  const auto wanted = [&](const Core& core) { return has_bit(cores, core.machine_number); };
  if (devices_.empty()) {  // cores are numbered as count_cores() has it
    for (const std::uint32_t number : device_numbers_) {
      bool any = false;
      for (std::uint32_t c = 0; c < inf1::kCoresPerDevice; ++c)
        any |= has_bit(cores, number * inf1::kCoresPerDevice + c);
      if (!any) continue;
      if (const Status opened = open_device(number); !opened) return opened;
    }
  }
  std::erase_if(cores_, [&](const Core& core) { return !wanted(core); });
  std::erase_if(devices_, [&](const std::shared_ptr<umd::Device>& device) {
    return std::none_of(cores_.begin(), cores_.end(), [&](const Core& core) { return core.device == device; });
  });
  const auto count = std::accumulate(std::begin(cores.bits), std::end(cores.bits), std::size_t{0},
                                     [](std::size_t sum, std::uint64_t bits) { return sum + std::popcount(bits); });
  if (cores_.size() == count) return {};
  return make_error(ErrorCode::kInternal, "backend {} has reserved {} NeuronCores, but its devices have {} of these",
                    backend_->name(), count, cores_.size());
}

void Machine::warn_of_runtime_1() const {
  // A clock of its own is what simulated devices have; neuron-rtd has no hold on those.
  if (devices_.front()->info().virtual_time) return;
  const std::vector<int> daemons = processes_named(kRuntime1);
  static std::atomic<bool> told{false};
  if (daemons.empty() || told.exchange(true)) return;
  std::string pids;
  for (const int pid : daemons) pids += fmt::format("{}{}", pids.empty() ? "" : ", ", pid);
  observe::write_notice(
      Component::kNrt, "nrt_init",
      fmt::format("{} (Neuron Runtime 1.x) is running as pid {}: what the two do together is undefined. "
                  "Please stop it, for example by: sudo systemctl stop {}",
                  kRuntime1, pids, kRuntime1));
}

Machine::~Machine() {
  cores_.clear();
  devices_.clear();  // before the cores become somebody else's
  if (holds_cores_ && backend_->api().cores_release != nullptr) {
    if (const int error = backend_->api().cores_release(backend_->handle(), &reserved_); error != 0) {
      observe::log(Component::kNrt, Level::kError, kAllocateFunction, "releasing the NeuronCores failed: {}",
                   std::strerror(-error));
    }
  }
  backend_.reset();
}

std::string Machine::instance_type() const {
  const char* text = devices_.front()->info().instance_type;
  return std::string(text, strnlen(text, sizeof(devices_.front()->info().instance_type)));
}

Result<std::uint32_t> Machine::count(const CoreRequest& request) const {
  const std::uint32_t total = total_cores();
  switch (request.kind) {
    case CoreRequest::Kind::kAll:
      return total;
    case CoreRequest::Kind::kAny:
      return request.count;
    case CoreRequest::Kind::kRange:
      if (request.last >= total) {
        return make_error(ErrorCode::kInvalidArgument,
                          "NEURON_RT_VISIBLE_CORES asks for nc{}-nc{}, expected cores of this instance, "
                          "nc0-nc{}",
                          request.first, request.last, total - 1);
      }
      return request.count;
  }
  return make_error(ErrorCode::kInternal, "unknown kind of core request");
}

std::string Machine::holders(std::uint32_t first, std::uint32_t last) const {
  if (backend_->api().core_holder == nullptr) return "";
  struct Held {
    std::string command;
    std::string cores;
  };
  std::map<std::int32_t, Held> by_pid;
  for (std::uint32_t i = first; i <= last; ++i) {
    opennrt_core_holder_t holder{};
    if (backend_->api().core_holder(backend_->handle(), core_numbers_[i], &holder) != 0 || holder.pid == 0) continue;
    Held& held = by_pid[holder.pid];
    held.command.assign(holder.command, strnlen(holder.command, sizeof(holder.command)));
    held.cores += fmt::format("{}nc{}", held.cores.empty() ? "" : ",", i);
  }
  std::string text;
  for (const auto& [pid, held] : by_pid)
    text += fmt::format("{}{} by pid {} ({})", text.empty() ? "" : ", ", held.cores, pid, held.command);
  return text.empty() ? "" : " - held: " + text;
}

Result<std::vector<Core>> Machine::reserve(const CoreRequest& request) {
  const Result<std::uint32_t> wanted = count(request);
  if (!wanted) return tl::unexpected(wanted.error());
  const auto total = total_cores();
  const bool range = request.kind != CoreRequest::Kind::kAny;
  const std::uint32_t first = request.kind == CoreRequest::Kind::kRange ? request.first : 0;
  const std::uint32_t last = request.kind == CoreRequest::Kind::kRange ? request.last : total - 1;

  opennrt_core_map_t taken{};
  std::uint32_t available = total;
  int error = 0;
  umd::Backend::take_error_text();
  if (backend_->api().cores_reserve != nullptr) {
    error = backend_->api().cores_reserve(backend_->handle(), *wanted, core_numbers_[first], core_numbers_[last],
                                          &taken, &available);
  } else if (*wanted > total) {
    error = -EBUSY;
  } else {
    for (std::uint32_t i = first; i < first + *wanted; ++i) set_bit(taken, core_numbers_[i]);
  }
  if (error == -EBUSY) {
    const std::string requested = range ? fmt::format("nc{}-nc{}", first, last) : std::to_string(*wanted);
    const std::string line = fmt::format("NeuronCore(s) not available - Requested:{} Available:{}{}", requested,
                                         available, holders(first, last));
    observe::write(Component::kNrt, Level::kError, kAllocateFunction, line);
    return make_error(ErrorCode::kResource, "the NeuronCores that were asked for are not to be had");
  }
  if (error != 0) {
    const std::string text = umd::Backend::take_error_text();
    return make_error(code_of_refusal(error), "backend {} cannot reserve {} NeuronCores: {}", backend_->name(), *wanted,
                      text.empty() ? std::strerror(-error) : text);
  }
  holds_cores_ = true;
  reserved_ = taken;
  if (const Status opened = open_devices_of(taken); !opened) return tl::unexpected(opened.error());
  warn_of_runtime_1();
  return cores_;
}

}  // namespace opennrt
