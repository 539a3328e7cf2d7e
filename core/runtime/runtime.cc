// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/runtime.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/neff/neff.h"
#include "core/observe/log.h"
#include "core/runtime/counting.h"
#include "core/umd/driver_call.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;

/// Whether this machine can run what is in the file (requirements E1, E4; docs/isa.md).
Status check_runnable(const neff::Neff& neff, const opennrt_device_info_t& device, std::size_t cores) {
  if (neff.subgraphs.empty()) return make_error(ErrorCode::kInvalidFile, "NEFF has no subgraph, expected one");
  for (const neff::Subgraph& subgraph : neff.subgraphs) {
    if (neff.target != neff::kTarget || subgraph.isa_version == 0) {
      return make_error(ErrorCode::kUnsupported,
                        "Unsupported hardware operator codes found in neff: its kelf is for target \"{}\" with "
                        "instruction set version {}, expected \"{}\" and the open instruction set, version 1 to {}",
                        neff.target, subgraph.isa_version, neff::kTarget, device.open_isa_version);
    }
    if (subgraph.isa_version > device.open_isa_version) {
      return make_error(
          ErrorCode::kUnsupported,
          "Unsupported hardware operator codes found in neff: it is of version {} of the open instruction set, the "
          "device executes {}",
          subgraph.isa_version,
          device.open_isa_version == 0 ? "another one" : fmt::format("up to version {}", device.open_isa_version));
    }
  }
  if (neff.subgraphs.size() > cores) {
    return make_error(ErrorCode::kNotEnoughCores,
                      "NEFF has {} subgraphs and needs as many NeuronCores, this process has {}", neff.subgraphs.size(),
                      cores);
  }
  return {};
}

/// How often a model that needs `cores` goes on `vnc_count` NeuronCores: what is left over stays unused
/// (aws-neuron-sdk archive/torch-neuron/guides/core-placement/torch-core-placement.rst, "Explicit Replication").
Result<std::uint32_t> replicas_of(std::int32_t vnc_count, std::uint32_t cores) {
  if (vnc_count < 0) return 1;
  const auto count = static_cast<std::uint32_t>(vnc_count);
  if (count < cores) {
    return make_error(ErrorCode::kNotEnoughCores,
                      "vnc_count is {}, but the NEFF has {} subgraphs and needs as many "
                      "NeuronCores",
                      count, cores);
  }
  if (count % cores != 0) {
    observe::log(Component::kNmgr, Level::kWarn, "nrt_load",
                 "vnc_count is {}, which is no multiple of the {} NeuronCores that the model needs: {} replicas are "
                 "loaded, {} NeuronCores are left over",
                 count, cores, count / cores, count % cores);
  }
  return count / cores;
}

}  // namespace

Result<std::unique_ptr<Runtime>> Runtime::open(Configuration configuration) {
  std::unique_ptr<Runtime> runtime(new Runtime);
  auto machine = Machine::open(std::move(configuration), Machine::Detail::kCoreCount);
  if (!machine) return tl::unexpected(machine.error());
  runtime->machine_ = std::move(*machine);
  auto cores = runtime->machine_->reserve(runtime->machine_->configuration().cores);
  if (!cores) return tl::unexpected(cores.error());
  runtime->cores_ = std::move(*cores);
  for (const Core& core : runtime->cores_) core.device->start_counting();
  runtime->loads_.assign(runtime->cores_.size(), 0);
  const auto core_count = static_cast<std::uint32_t>(runtime->cores_.size());
  runtime->units_ = std::make_unique<ExecutionUnits>(core_count);
  runtime->async_ =
      std::make_unique<AsyncMode>(*runtime->units_, core_count, runtime->machine_->configuration().max_inflight);
  const collectives::Settings& collectives = runtime->machine_->configuration().collectives;
  runtime->communicator_ = std::make_unique<collectives::Communicator>(collectives);
  runtime->sendrecv_ = std::make_unique<collectives::SendRecv>(collectives.sendrecv_port, collectives.timeout_s);
  runtime->log_information();
  return runtime;
}

void Runtime::log_information() const {
  if (!observe::enabled(Component::kNrt, Level::kInfo)) return;
  const auto line = [](const std::string& text) {
    observe::write(Component::kNrt, Level::kInfo, "nrt_infodump", text);
  };
  line("Neuron runtime information - please include in any support request:");
  line("------------->8------------[ cut here ]------------>8-------------");
  line(fmt::format("NRT version: OpenNRT {} ({})", OPENNRT_VERSION, OPENNRT_GIT_HASH));
  utsname system{};
  if (uname(&system) == 0) {
    line(fmt::format("Kernel: {} {} {} {}", system.sysname, system.release, system.version, system.machine));
    line(fmt::format("Nodename: {}", system.nodename));
  }
  const umd::Backend& backend = machine_->backend();
  const char* driver = machine_->driver().text;
  line(fmt::format("Driver version: {}", std::string_view(driver, strnlen(driver, sizeof(machine_->driver().text)))));
  line(fmt::format("Backend: {} - {}", backend.name(),
                   backend.api().description == nullptr ? "" : backend.api().description));
  line(fmt::format("Instance: {}, {} devices, {} NeuronCores", machine_->instance_type(),
                   machine_->device_numbers().size(), machine_->total_cores()));
  std::string visible;
  for (const Core& core : cores_) visible += fmt::format("{}{}", visible.empty() ? "" : ", ", core.machine_number);
  line(fmt::format("Visible cores: {}", visible));
  line("Environment:");
  for (const auto& [name, value] : machine_->configuration().variables) line(fmt::format("  {}={}", name, value));
  line("-------------8<-----------[ cut to here ]-----------8<------------");
}

Result<Core> Runtime::core(std::int64_t vnc, const char* what) const {
  if (vnc < 0 || static_cast<std::uint64_t>(vnc) >= cores_.size()) {
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected a NeuronCore of this process, 0 to {}", what,
                      vnc, cores_.size() - 1);
  }
  return cores_[static_cast<std::size_t>(vnc)];
}

Result<std::vector<Placement>> Runtime::place(std::int32_t vnc, std::uint32_t replicas,
                                              std::uint32_t cores_per_replica) {
  const auto total = static_cast<std::uint32_t>(cores_.size());
  if (vnc < -1 || (vnc >= 0 && static_cast<std::uint32_t>(vnc) >= total)) {
    return make_error(ErrorCode::kInvalidArgument, "vnc is {}, expected -1 or a NeuronCore of this process, 0 to {}",
                      vnc, total - 1);
  }
  const std::uint32_t room = vnc < 0 ? total : total - static_cast<std::uint32_t>(vnc);
  const std::uint64_t wanted = std::uint64_t{replicas} * cores_per_replica;
  if (wanted > room) {
    return make_error(ErrorCode::kNotEnoughCores, "{} NeuronCores are asked for from {}, this process has {}", wanted,
                      vnc < 0 ? "any" : fmt::format("nc{}", vnc), room);
  }
  const auto count = static_cast<std::uint32_t>(wanted);
  const std::lock_guard lock(mutex_);
  std::uint32_t first = vnc < 0 ? 0 : static_cast<std::uint32_t>(vnc);
  if (vnc < 0) {
    // The least loaded run of cores; among equals the one whose pipelines cross from device to device least often.
    const auto cost_of = [&](std::uint32_t begin) {
      std::pair<std::uint64_t, std::uint32_t> cost{0, 0};
      for (std::uint32_t i = 0; i < count; ++i) {
        cost.first += loads_[begin + i];
        cost.second += i % cores_per_replica != 0 && cores_[begin + i].device != cores_[begin + i - 1].device;
      }
      return cost;
    };
    for (std::uint32_t begin = 1; begin + count <= total; ++begin) {
      if (cost_of(begin) < cost_of(first)) first = begin;
    }
  }
  std::vector<Placement> placements;
  for (std::uint32_t i = first; i < first + count; ++i) {
    ++loads_[i];
    placements.push_back({i, cores_[i]});
  }
  return placements;
}

void Runtime::forget(std::span<const std::uint32_t> vncs) {
  const std::lock_guard lock(mutex_);
  for (const std::uint32_t vnc : vncs) --loads_[vnc];
}

Result<std::shared_ptr<Model>> Runtime::load(std::span<const std::byte> bytes, std::int32_t vnc,
                                             std::int32_t vnc_count) {
  auto model = load_neff(bytes, vnc, vnc_count);
  if (!model) {
    count_refused(vnc >= 0 && static_cast<std::size_t>(vnc) < cores_.size() ? static_cast<std::uint32_t>(vnc) : 0,
                  model.error().code);
    return model;
  }
  for (const std::uint32_t on : (*model)->cores())
    cores_[on].device->counters().add(cores_[on].device_core, observe::CoreCounter::kModelLoads);
  return model;
}

Result<std::shared_ptr<Model>> Runtime::load_neff(std::span<const std::byte> bytes, std::int32_t vnc,
                                                  std::int32_t vnc_count) {
  if (vnc_count == 0 || vnc_count < -1) {
    return make_error(ErrorCode::kInvalidArgument, "vnc_count is {}, expected -1 or a number of NeuronCores from 1",
                      vnc_count);
  }
  // The model's variables are read now, not at nrt_init (configuration-guide.rst and nrt-developer-guide.rst of the
  // SDK).
  const auto configuration = ModelConfiguration::parse(read_environment());
  if (!configuration) return tl::unexpected(configuration.error());
  neff::ParseOptions options;
  options.validate_hash = configuration->validate_hash;
  const Result<neff::Neff> neff = neff::parse(bytes, options);
  if (!neff) return tl::unexpected(neff.error());
  for (const std::string& notice : neff->notices)
    observe::log(Component::kNmgr, Level::kWarn, "nrt_load", "{}", notice);
  if (const Status runnable = check_runnable(*neff, cores_.front().device->info(), cores_.size()); !runnable) {
    return tl::unexpected(runnable.error());
  }
  const auto cores = static_cast<std::uint32_t>(neff->subgraphs.size());
  const auto replicas = replicas_of(vnc_count, cores);
  if (!replicas) return tl::unexpected(replicas.error());
  const auto placements = place(vnc, *replicas, cores);
  if (!placements) return tl::unexpected(placements.error());
  auto model =
      Model::load(*neff, *placements, *configuration, configuration->shared_weights ? &shared_constants_ : nullptr);
  if (!model) {
    std::vector<std::uint32_t> vncs;
    for (const Placement& placement : *placements) vncs.push_back(placement.vnc);
    forget(vncs);
    return model;
  }
  observe::log(Component::kNmgr, Level::kInfo, "nrt_load",
               "model \"{}\" is loaded on nc{}, {} replicas of {} NeuronCores", (*model)->name(), (*model)->vnc(),
               *replicas, cores);
  return model;
}

void Runtime::unload(Model& model) {
  if (!ExecutionUnits::on_worker()) {  // a callback would wait for itself; what is queued then finds the model unloaded
    for (const std::uint32_t vnc : model.vncs()) (void)units_->drain(vnc, Unit::kCompute, 0);
  }
  model.unload();
  forget(model.cores());
}

void Runtime::announce(std::uint64_t runtime, std::uint64_t framework, std::uint64_t fal) const {
  for (const Core& core : cores_) {
    const observe::CounterStore& counters = core.device->counters();
    counters.set(observe::DeviceCounter::kRuntimeVersion, runtime);
    counters.set(observe::DeviceCounter::kFrameworkVersion, framework);
    counters.set(observe::DeviceCounter::kFalVersion, fal);
  }
}

void Runtime::count_refused(std::uint32_t vnc, ErrorCode code) const {
  const Core& core = cores_[vnc];
  count_failure(core.device->counters(), core.device_core, code);
}

Result<opennrt_mem_stats_t> Runtime::memory_stats(std::uint32_t vnc) const {
  const Result<Core> found = core(vnc, "vnc");
  if (!found) return tl::unexpected(found.error());
  const umd::Device& device = *found->device;
  if (device.api().mem_stats == nullptr)
    return make_error(ErrorCode::kUnsupported, "backend {} does not account memory", machine_->backend().name());
  opennrt_mem_stats_t stats{};
  if (const int error = device.api().mem_stats(device.handle(), found->device_core, &stats); error != 0) {
    return make_error(umd::code_of_errno(error), "device memory of nc{} cannot be read: {}", vnc,
                      std::strerror(-error));
  }
  return stats;
}

}  // namespace opennrt
