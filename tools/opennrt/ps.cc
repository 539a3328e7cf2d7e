// SPDX-License-Identifier: Apache-2.0
//
// Who holds which NeuronCores of the simulated machines of this user, and what they count. Nothing is opened but the runtime
// folder: no machine is built, no core is taken.
#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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

void read_counters(Counters& counters, Process& process) {
  for (Core& core : process.cores) {
    const std::uint32_t device = core.number / inf1::kCoresPerDevice;
    void* address = nullptr;
    if (counters.map(device, process.pid, address).error != 0) continue;
    const CounterStore store(address, driver::kCountersBytes);
    if (store.begun()) {
      core.counts = counts_of(store, core.number % inf1::kCoresPerDevice);
      if (const std::uint64_t runtime = store.get(DeviceCounter::kRuntimeVersion); runtime != 0) {
        process.runtime = version(runtime);
        process.framework = framework(store.get(DeviceCounter::kFrameworkVersion));
      }
    }
    counters.unmap(address);
  }
}

Result<std::vector<Process>> processes(const std::string& folder) {
  const auto instances = driver::known_instances(folder);
  if (!instances) return tl::unexpected(instances.error());
  std::vector<Process> all;
  for (const std::string& instance : *instances) {
    CoreLocks locks(folder, instance, OPENNRT_MAX_CORES);
    std::map<std::int32_t, Process> by_pid;
    for (std::uint32_t core = 0; core < OPENNRT_MAX_CORES; ++core) {
      opennrt_core_holder_t holder{};
      if (const auto failure = locks.holder(core, holder); failure.error != 0)
        return make_error(ErrorCode::kInvalidArgument, "{}", failure.message);
      if (holder.pid == 0) continue;
      Process& process = by_pid[holder.pid];
      process.pid = holder.pid;
      process.command = holder.command;
      process.instance = instance;
      process.cores.push_back({core, std::nullopt});
    }
    Counters counters(folder, instance);
    const auto first = static_cast<std::ptrdiff_t>(all.size());
    for (auto& [pid, process] : by_pid) {
      if (pid > 0) read_counters(counters, process);
      all.push_back(std::move(process));
    }
    std::sort(all.begin() + first, all.end(), [](const Process& one, const Process& other) {
      return one.cores.front().number < other.cores.front().number;
    });
  }
  return all;
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
  const auto running = processes(folder);
  if (!running) return tl::unexpected(running.error());
  if (options.json) {
    ordered_json list = ordered_json::array();
    for (const Process& process : *running) list.push_back(to_json(process));
    // A command may be in any encoding.
    fmt::print("{}\n", ordered_json{{"processes", list}}.dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return {};
  }
  if (running->empty()) fmt::print("no process of this user holds a simulated NeuronCore\n");
  for (const Process& process : *running) print(process);
  return {};
}

}  // namespace opennrt::tool
