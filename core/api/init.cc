// SPDX-License-Identifier: Apache-2.0
//
// Opening, closing and questions about the machine.
#include <charconv>
#include <cstdio>

#include "core/api/call.h"

using namespace opennrt;
using namespace opennrt::api;
using observe::Component;
using observe::Level;

namespace {

// The runtime interface that is served (NRT_MAJOR_VERSION), and our own release in the places behind it.
constexpr std::uint64_t kRuntimeMajor = NRT_MAJOR_VERSION, kRuntimeMinor = NRT_MINOR_VERSION;

std::uint32_t instance_size(const std::string& type) {
  struct Known {
    const char* suffix;
    std::uint32_t size;
  };
  // Sizes that Inf1 exists in.
  constexpr Known kKnown[] = {{".xlarge", NRT_INSTANCE_SIZE_1XL},
                              {".2xlarge", NRT_INSTANCE_SIZE_2XL},
                              {".6xlarge", NRT_INSTANCE_SIZE_6XL},
                              {".24xlarge", NRT_INSTANCE_SIZE_24XL}};
  for (const Known& known : kKnown) {
    if (type.ends_with(known.suffix)) return known.size;
  }
  return NRT_INSTANCE_SIZE_UNKNOWN;
}

NRT_STATUS total_count(const char* function, std::uint32_t* count) {
  return any_time(function, [&](Process& process) -> Status {
    if (const Status there = require(count, "vnc_count"); !there) return there;
    const auto total = process.with_machine(
        Machine::Detail::kCoreCount,
        [](const Machine& machine, const Runtime*) -> Result<std::uint32_t> { return machine.total_cores(); });
    if (!total) return tl::unexpected(total.error());
    *count = *total;
    return {};
  });
}

NRT_STATUS visible_count(const char* function, std::uint32_t* count) {
  return any_time(function, [&](Process& process) -> Status {
    if (const Status there = require(count, "vnc_count"); !there) return there;
    const auto visible = process.with_machine(
        Machine::Detail::kCoreCount, [](const Machine& machine, const Runtime* runtime) -> Result<std::uint32_t> {
          if (runtime != nullptr) return static_cast<std::uint32_t>(runtime->cores().size());
          return machine.count(machine.configuration().cores);
        });
    if (!visible) return tl::unexpected(visible.error());
    *count = *visible;
    return {};
  });
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_init(nrt_framework_type_t framework, const char* fw_version, const char* fal_version) {
  return any_time("nrt_init", [&](Process& process) -> Status {
    const int type = raw(framework);
    if (type < NRT_FRAMEWORK_TYPE_NO_FW || type > NRT_FRAMEWORK_TYPE_PRECHECK) {
      return make_error(ErrorCode::kInvalidArgument, "framework is {}, expected {} to {}", type,
                        static_cast<int>(NRT_FRAMEWORK_TYPE_NO_FW), static_cast<int>(NRT_FRAMEWORK_TYPE_PRECHECK));
    }
    bool again = false;
    const Status opened = process.open(type == NRT_FRAMEWORK_TYPE_MXNET, &again);
    if (!opened) return opened;
    if (again) {
      observe::log(Component::kNrt, Level::kWarn, "nrt_init", "already initialized; the first configuration stays");
    } else {
      observe::log(Component::kNrt, Level::kInfo, "nrt_init", "initialized: framework {} version \"{}\" fal \"{}\"",
                   type, fw_version == nullptr ? "" : fw_version, fal_version == nullptr ? "" : fal_version);
      const Process::Call call(process);
      if (call.runtime() != nullptr) {
        call.runtime()->announce(
            observe::packed_version(kRuntimeMajor, kRuntimeMinor, OPENNRT_VERSION_MINOR),
            observe::packed_version(fw_version == nullptr ? "" : fw_version, static_cast<std::uint64_t>(type)),
            observe::packed_version(fal_version == nullptr ? "" : fal_version, 0));
      }
    }
    return {};
  });
}

void nrt_close() {
  (void)any_time("nrt_close", [](Process& process) -> Status {
    process.close();
    return {};
  });
}

NRT_STATUS nrt_get_total_nc_count(uint32_t* vnc_count) {
  return total_count("nrt_get_total_nc_count", vnc_count);
}
NRT_STATUS nrt_get_total_vnc_count(uint32_t* vnc_count) {
  return total_count("nrt_get_total_vnc_count", vnc_count);
}
NRT_STATUS nrt_get_visible_nc_count(uint32_t* vnc_count) {
  return visible_count("nrt_get_visible_nc_count", vnc_count);
}
NRT_STATUS nrt_get_visible_vnc_count(uint32_t* vnc_count) {
  return visible_count("nrt_get_visible_vnc_count", vnc_count);
}

NRT_STATUS nrt_get_version(nrt_version_t* ver, size_t size) {
  return any_time("nrt_get_version", [&](Process&) -> Status {
    nrt_version_t version{};
    version.rt_major = kRuntimeMajor;
    version.rt_minor = kRuntimeMinor;
    version.rt_patch = OPENNRT_VERSION_MINOR;
    version.rt_maintenance = OPENNRT_VERSION_PATCH;
    std::snprintf(version.rt_detail, sizeof(version.rt_detail), "%s %s", OPENNRT_PRODUCT, OPENNRT_VERSION);
    std::snprintf(version.git_hash, sizeof(version.git_hash), "%s", OPENNRT_GIT_HASH);
    return copy_front(version, ver, size, nullptr, "ver");
  });
}

NRT_STATUS nrt_get_instance_info(nrt_instance_info_t* info, size_t instance_info_len) {
  return any_time("nrt_get_instance_info", [&](Process& process) -> Status {
    const auto found = process.with_machine(
        Machine::Detail::kFirstDevice, [](const Machine& machine, const Runtime*) -> Result<nrt_instance_info_t> {
          const opennrt_device_info_t& device = machine.devices().front()->info();
          nrt_instance_info_t result{};
          // Architecture 1 is Inferentia (aws-neuron-driver neuron_arch.h); sysfs calls it NDv1.
          result.family = device.architecture == 1 ? NRT_INSTANCE_INF1 : NRT_INSTANCE_UNKNOWN;
          result.size = instance_size(machine.instance_type());
          std::snprintf(result.arch_name, sizeof(result.arch_name), "NDv%u", device.architecture);
          std::snprintf(result.device_revision, sizeof(result.device_revision), "%u", device.revision);
          return result;
        });
    if (!found) return tl::unexpected(found.error());
    return copy_front(*found, info, instance_info_len, nullptr, "info");
  });
}

NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t* host_device_id) {
  return while_open("nrt_host_device_id_get", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(host_device_id, "host_device_id"); !there) return there;
    const auto& devices = runtime.machine().device_numbers();
    if (neuron_dev < 0 || static_cast<std::size_t>(neuron_dev) >= devices.size()) {
      return make_error(ErrorCode::kInvalidArgument, "neuron_dev is {}, expected a device of this process, 0 to {}",
                        neuron_dev, devices.size() - 1);
    }
    *host_device_id = devices[static_cast<std::size_t>(neuron_dev)];
    return {};
  });
}

NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t* stats, size_t stats_size_in,
                                    size_t* stats_size_out) {
  return while_open("nrt_get_vnc_memory_stats", [&](Process&, Runtime& runtime) -> Status {
    const auto found = runtime.memory_stats(vnc);
    if (!found) return tl::unexpected(found.error());
    const nrt_vnc_memory_stats_t result{found->used, found->capacity};
    return copy_front(result, stats, stats_size_in, stats_size_out, "stats");
  });
}

}  // namespace opennrt::api::native
