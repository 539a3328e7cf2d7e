// SPDX-License-Identifier: Apache-2.0
//
// Who holds which NeuronCores, and what they count: of the simulated machines of this user, as the runtime folder has it, and of
// /dev/neuron<N>, as the driver tells it. No machine is built, no core is taken.
#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/neuron/backend.h"
#include "backends/sim/core_locks.h"
#include "backends/sim/counters.h"
#include "core/isa/inf1.h"
#include "core/observe/counters.h"
#include "tools/opennrt/commands.h"

namespace opennrt::tool {
namespace {

using driver::CoreLocks;
using driver::Counters;
using nlohmann::ordered_json;
using observe::CoreCounter;
using observe::CounterStore;
using observe::DeviceCounter;

struct Core {
  std::uint32_t number = 0;            ///< within the machine
  std::optional<ordered_json> counts;  ///< nothing when the process has no counters, or has gone meanwhile
};

struct Process {
  std::int32_t pid = 0;
  std::string command, instance, runtime, framework;
  std::vector<Core> cores;
};

std::string version(std::uint64_t packed) {
  return fmt::format("{}.{}.{}", packed >> 40 & 0xff, packed >> 32 & 0xff, packed & 0xffffffff);
}

/// By nrt_framework_type_t.
std::string framework(std::uint64_t packed) {
  constexpr const char* kNames[] = {"unknown", "none", "TensorFlow", "PyTorch", "MXNet", "precheck"};
  const std::uint64_t type = packed >> 48;
  std::string name = kNames[type < std::size(kNames) ? type : 0];
  return (packed & 0xffffffffffff) == 0 ? name : name + " " + version(packed);
}

ordered_json counts_of(const CounterStore& store, std::uint32_t core) {
  const auto get = [&](CoreCounter counter) { return store.get(core, counter); };
  ordered_json counts{{"inferences", get(CoreCounter::kInferences)}, {"model_loads", get(CoreCounter::kModelLoads)}};
  std::uint64_t errors = 0;
  for (const observe::NamedCounter& ending : observe::kEndings) {
    counts["execution_summary"][std::string(ending.name)] = get(ending.counter);
    if (ending.counter != CoreCounter::kCompleted) errors += get(ending.counter);
  }
  counts["errors"] = errors;
  for (const observe::NamedCounter& kind : observe::kErrorKinds)
    counts["error_summary"][std::string(kind.name)] = get(kind.counter);
  for (const observe::NamedCounter& use : observe::kDeviceMemory)
    counts["device_memory_bytes"][std::string(use.name)] = get(use.counter);
  const std::uint64_t inferences = get(CoreCounter::kInferences);
  const auto mean = [&](CoreCounter sum) -> ordered_json {
    if (inferences == 0) return nullptr;
    return static_cast<double>(get(sum)) / static_cast<double>(inferences);
  };
  counts["mean_total_latency_ns"] = mean(CoreCounter::kLatencyTotal);
  counts["mean_device_latency_ns"] = mean(CoreCounter::kLatencyDevice);
  counts["nc_time_in_use_us"] = get(CoreCounter::kTimeInUse);
  return counts;
}

/// The processes of one machine.
class Machine {
 public:
  explicit Machine(std::string instance) : instance_(std::move(instance)) {}

  void add(std::uint32_t core, const opennrt_core_holder_t& holder) {
    if (holder.pid == 0) return;
    Process& process = by_pid_[holder.pid];
    process.pid = holder.pid;
    process.command = holder.command;
    process.instance = instance_;
    process.cores.push_back({core, std::nullopt});
  }

  using Look = std::function<void(const CounterStore&)>;
  /// `with_store` shows the datastore of a device and process, if there is one, to the function that it is given.
  void read_counters(const std::function<void(std::uint32_t, std::int32_t, const Look&)>& with_store) {
    for (auto& [pid, process] : by_pid_) {
      if (pid <= 0) continue;  // of another container, where it has a number that we do not know
      for (Core& core : process.cores) {
        with_store(core.number / inf1::kCoresPerDevice, pid, [&process = process, &core](const CounterStore& store) {
          if (!store.begun()) return;
          core.counts = counts_of(store, core.number % inf1::kCoresPerDevice);
          const std::uint64_t runtime = store.get(DeviceCounter::kRuntimeVersion);
          if (runtime == 0) return;
          process.runtime = version(runtime);
          process.framework = framework(store.get(DeviceCounter::kFrameworkVersion));
        });
      }
    }
  }

  void move_to(std::vector<Process>& all) {
    const auto first = static_cast<std::ptrdiff_t>(all.size());
    for (auto& [pid, process] : by_pid_) all.push_back(std::move(process));
    std::sort(all.begin() + first, all.end(), [](const Process& one, const Process& other) {
      return one.cores.front().number < other.cores.front().number;
    });
    by_pid_.clear();
  }

 private:
  std::string instance_;
  std::map<std::int32_t, Process> by_pid_;
};

Status add_simulated(const std::string& folder, std::vector<Process>& all) {
  const auto instances = driver::known_instances(folder);
  if (!instances) return tl::unexpected(instances.error());
  for (const std::string& instance : *instances) {
    CoreLocks locks(folder, instance, OPENNRT_MAX_CORES);
    Machine machine(instance);
    for (std::uint32_t core = 0; core < OPENNRT_MAX_CORES; ++core) {
      opennrt_core_holder_t holder{};
      if (const auto failure = locks.holder(core, holder); failure.error != 0)
        return make_error(ErrorCode::kInvalidArgument, "{}", failure.message);
      machine.add(core, holder);
    }
    Counters counters(folder, instance);
    machine.read_counters([&](std::uint32_t device, std::int32_t pid, const Machine::Look& look) {
      void* address = nullptr;
      if (counters.map(device, pid, address).error != 0) return;
      look(CounterStore(address, driver::kCountersBytes));
      counters.unmap(address);
    });
    machine.move_to(all);
  }
  return {};
}

/// The driver tells it to whoever may open the devices; looking attaches this process to them for a moment.
Status add_devices(const std::vector<std::uint32_t>& numbers, std::vector<Process>& all) {
  std::string said;
  opennrt_host_t host{};
  host.size = sizeof(host);
  host.context = &said;
  host.log = [](void* text, opennrt_log_level_t, const char*, const char* line) {
    *static_cast<std::string*>(text) = line;
  };
  host.log_enabled = [](void*, opennrt_log_level_t level) { return level <= OPENNRT_LOG_ERROR; };
  const auto failed = [&](std::uint32_t number, int error) {
    if (said.empty()) said = fmt::format("{}: {}", neuron::device_path(number), std::strerror(-error));
    return make_error(ErrorCode::kResource, "{}", said);
  };
  neuron::Backend backend(&host, neuron::system_calls());
  std::map<std::uint32_t, neuron::Device*> devices;
  std::string instance;
  for (const std::uint32_t number : numbers) {
    neuron::Device* device = nullptr;
    if (const int error = backend.device_open(number, device); error != 0) return failed(number, error);
    devices[number] = device;
    opennrt_device_info_t info{};
    if (const int error = device->info(info); error != 0) return failed(number, error);
    instance = info.instance_type;
  }
  Machine machine(instance);
  for (const std::uint32_t number : numbers) {
    for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
      opennrt_core_holder_t holder{};
      const std::uint32_t of_machine = number * inf1::kCoresPerDevice + core;
      if (const int error = backend.core_holder(of_machine, holder, true); error != 0) return failed(number, error);
      machine.add(of_machine, holder);
    }
  }
  machine.read_counters([&](std::uint32_t number, std::int32_t pid, const Machine::Look& look) {
    void* address = nullptr;
    std::size_t bytes = 0;
    if (devices[number]->counters_map(pid, address, bytes) != 0) return;
    look(CounterStore(address, bytes));
    devices[number]->counters_unmap(address);
  });
  machine.move_to(all);
  return {};
}

ordered_json to_json(const Process& process) {
  ordered_json json{{"pid", process.pid}, {"command", process.command}, {"instance", process.instance}};
  json["runtime_version"] = process.runtime.empty() ? ordered_json() : ordered_json(process.runtime);
  json["framework"] = process.framework.empty() ? ordered_json() : ordered_json(process.framework);
  for (const Core& core : process.cores)
    json["cores"].push_back({{"nc", core.number}, {"counters", core.counts ? *core.counts : ordered_json()}});
  return json;
}

std::string milliseconds(const ordered_json& nanoseconds) {
  return nanoseconds.is_null() ? "-" : fmt::format("{:.3f}", nanoseconds.get<double>() * 1e-6);
}

void print(const Process& process) {
  fmt::print("pid {}  {}\n", process.pid, process.command);
  fmt::print("  {}, runtime {}, framework {}\n", process.instance,
             process.runtime.empty() ? "unknown" : process.runtime,
             process.framework.empty() ? "unknown" : process.framework);
  fmt::print("  {:<6}{:>12}{:>9}{:>7}{:>11}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}\n", "core", "inferences", "errors",
             "loads", "total ms", "device ms", "code", "tensors", "constants", "scratchpad", "runtime");
  for (const Core& core : process.cores) {
    const std::string name = fmt::format("nc{}", core.number);
    if (!core.counts) {
      fmt::print("  {:<6}no counters\n", name);
      continue;
    }
    const ordered_json& counts = *core.counts;
    fmt::print("  {:<6}{:>12}{:>9}{:>7}{:>11}{:>12}", name, counts["inferences"].get<std::uint64_t>(),
               counts["errors"].get<std::uint64_t>(), counts["model_loads"].get<std::uint64_t>(),
               milliseconds(counts["mean_total_latency_ns"]), milliseconds(counts["mean_device_latency_ns"]));
    for (const auto& bytes : counts["device_memory_bytes"]) fmt::print("{:>12}", bytes.get<std::uint64_t>());
    fmt::print("\n");
    for (const auto& [ending, count] : counts["execution_summary"].items())
      if (ending != "completed" && count != 0) fmt::print("        {}: {}\n", ending, count.get<std::uint64_t>());
  }
}

}  // namespace

Status ps(const PsOptions& options) {
  const char* chosen = std::getenv("OPENNRT_RUNTIME_DIR");
  const std::string folder = chosen == nullptr ? "" : chosen;
  if (!folder.empty() && folder.front() != '/')
    return make_error(ErrorCode::kInvalidArgument, "OPENNRT_RUNTIME_DIR is '{}', expected an absolute path", folder);
  std::vector<Process> running;
  if (auto status = add_simulated(folder, running); !status) return status;
  const std::vector<std::uint32_t> devices = neuron::device_numbers(neuron::system_calls());
  // What could be found out is shown, whatever is wrong with the devices.
  const Status asked = devices.empty() ? Status{} : add_devices(devices, running);
  if (options.json) {
    ordered_json list = ordered_json::array();
    for (const Process& process : running) list.push_back(to_json(process));
    // A command may be in any encoding.
    fmt::print("{}\n", ordered_json{{"processes", list}}.dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return asked;
  }
  if (running.empty() && asked)
    fmt::print("no process {}of this user holds a simulated NeuronCore\n",
               devices.empty() ? "" : "holds a NeuronCore of /dev/neuron*, and none ");
  for (const Process& process : running) print(process);
  return asked;
}

}  // namespace opennrt::tool
