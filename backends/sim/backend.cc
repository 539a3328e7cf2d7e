// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/backend.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <utility>

#include "simulator/chip/config.h"
#include "simulator/faults/faults.h"

namespace opennrt::driver {
namespace {

/// The process in which SystemC's kernel was built: a forked child has the kernel without its thread.
std::atomic<pid_t> machine_pid{0};

int to_errno(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kInvalidFile:
      return -EINVAL;
    case ErrorCode::kState:
      return -EBUSY;
    case ErrorCode::kResource:
      return -ENOMEM;
    default:
      return -EIO;
  }
}

constexpr double kSlowest = 1e6;  ///< OPENNRT_SIM_REALTIME: a microsecond lasts a second

/// All devices, or those of a list such as "0,2": what a container sees is not all of the instance.
Result<std::vector<std::uint32_t>> visible_devices(const std::string& text, std::uint32_t devices) {
  std::vector<std::uint32_t> visible;
  if (text.empty()) {
    for (std::uint32_t number = 0; number < devices; ++number) visible.push_back(number);
    return visible;
  }
  for (const char *at = text.data(), *end = at + text.size();; ++at) {
    std::uint32_t number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error != std::errc{} || (rest != end && *rest != ',') || number >= devices ||
        (!visible.empty() && number <= visible.back())) {
      return make_error(ErrorCode::kInvalidArgument,
                        "OPENNRT_SIM_DEVICES is '{}', expected increasing numbers of devices of this instance, 0 to "
                        "{}, separated by commas",
                        text, devices - 1);
    }
    visible.push_back(number);
    at = rest;
    if (at == end) return visible;
  }
}

}  // namespace

Result<Config> Config::read(const opennrt_host_t& host) {
  const auto value = [&](const char* name) {
    const char* text = host.config != nullptr ? host.config(host.context, name) : nullptr;
    return std::string(text != nullptr ? text : "");
  };
  Config config;
  if (host.data_dir == nullptr)
    return make_error(ErrorCode::kInvalidArgument, "data_dir of the host is NULL, expected a folder");
  config.machine.chips_dir = std::string(host.data_dir) + "/chips";
  if (std::string instance = value("OPENNRT_SIM_INSTANCE"); !instance.empty())
    config.machine.instance = std::move(instance);
  config.machine.trace_file = value("OPENNRT_SIM_TRACE");
  config.machine.vcd_file = value("OPENNRT_SIM_VCD");
  config.machine.stats_file = value("OPENNRT_SIM_STATS");
  auto faults = faults::read_plan(value("OPENNRT_FAULTS"));
  if (!faults) return tl::unexpected<Error>(faults.error());
  config.machine.fault_plan = std::move(*faults);
  config.machine.fault_report = value("OPENNRT_FAULTS_REPORT");
  config.runtime_dir = value("OPENNRT_RUNTIME_DIR");
  if (!config.runtime_dir.empty() && config.runtime_dir.front() != '/') {
    return make_error(ErrorCode::kInvalidArgument, "OPENNRT_RUNTIME_DIR is '{}', expected an absolute path",
                      config.runtime_dir);
  }
  const std::string deterministic = value("OPENNRT_SIM_DETERMINISTIC");
  if (deterministic == "1") {
    config.deterministic = true;
  } else if (!deterministic.empty() && deterministic != "0") {
    return make_error(ErrorCode::kInvalidArgument, "OPENNRT_SIM_DETERMINISTIC is '{}', expected 0 or 1", deterministic);
  }
  if (const std::string pace = value("OPENNRT_SIM_REALTIME"); !pace.empty()) {
    const auto [end, error] = std::from_chars(pace.data(), pace.data() + pace.size(), config.machine.realtime);
    if (error != std::errc{} || end != pace.data() + pace.size() || !(config.machine.realtime >= 0) ||
        config.machine.realtime > kSlowest) {
      return make_error(
          ErrorCode::kInvalidArgument,
          "OPENNRT_SIM_REALTIME is '{}', expected how many seconds a simulated one takes at least, 0 to {}", pace,
          kSlowest);
    }
  }
  auto chip = sim::load_chip_config(config.machine.chips_dir, config.machine.instance);
  if (!chip) return with_context(chip.error(), fmt::format("OPENNRT_SIM_INSTANCE '{}'", config.machine.instance));
  config.machine.instance = chip->instance;
  config.devices = chip->devices;
  auto visible = visible_devices(value("OPENNRT_SIM_DEVICES"), config.devices);
  if (!visible) return tl::unexpected<Error>(visible.error());
  config.visible = std::move(*visible);
  return config;
}

Backend::Backend(const opennrt_host_t* host, Config config, HostMemory& memory)
    : log_(host),
      host_(host),
      config_(std::move(config)),
      memory_(memory),
      pid_(::getpid()),
      cores_(config_.runtime_dir, config_.machine.instance, config_.devices * config_.cores_per_device),
      counters_(config_.runtime_dir, config_.machine.instance) {}

Backend::~Backend() = default;

int Backend::device_open(std::uint32_t number, Device*& device) {
  device = nullptr;
  if (!std::binary_search(config_.visible.begin(), config_.visible.end(), number)) return -ENODEV;
  const std::lock_guard guard(mutex_);
  if (!platform_) {
    if (const pid_t built = machine_pid.load(); built != 0 && built != ::getpid()) {
      log_.error("device_open",
                 "the simulated machine was built in process {}, which this process ({}) was forked from; open the "
                 "runtime only after the fork",
                 built, ::getpid());
      return -EACCES;
    }
    sim::MachineConfig machine = config_.machine;
    machine.log = [log = log_](int level, const std::string& text) { log.text(level, "simulator", text); };
    machine_pid = ::getpid();
    auto powered = sim::Machine::power_on(machine);
    if (!powered) {
      log_.error("device_open", "{}", powered.error().message);
      return to_errno(powered.error().code);
    }
    platform_ = std::make_unique<Platform>(host_, std::move(*powered), config_.deterministic, memory_);
  }
  Opened& opened = devices_[number];
  if (!opened.device) opened.device = std::make_unique<Device>(*platform_, number);
  ++opened.users;
  device = opened.device.get();
  return 0;
}

void Backend::device_close(Device* device) {
  const std::lock_guard guard(mutex_);
  const auto it = devices_.find(device->number());
  if (it == devices_.end() || --it->second.users != 0) return;
  counters_.unmap_device(it->first);
  devices_.erase(it);
}

void Backend::pass_marker(const char* name) {
  const std::lock_guard guard(mutex_);
  if (platform_) platform_->machine->pass_marker(name);
}

}  // namespace opennrt::driver
