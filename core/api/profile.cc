// SPDX-License-Identifier: Apache-2.0
//
// Profiles and inspections.
#include "core/observe/profile.h"

#include "core/api/options.h"
#include "core/observe/inspect.h"

using namespace opennrt;
using namespace opennrt::api;
namespace inspect = opennrt::observe::inspect;
namespace profile = opennrt::observe::profile;

namespace {

struct ContinuousOptions {
  std::string output_dir = "./output";
};

using Continuous = Options<ContinuousOptions, nrt_profile_continuous_options_t, HandleKind::kProfileOptions>;
using Configs = Options<inspect::Options, nrt_inspect_config_t, HandleKind::kInspectConfig>;

Status set_path(std::string& to, const char* path) {
  auto given = path_of(path, "output_dir");
  if (!given) return tl::unexpected(given.error());
  to = std::move(*given);
  return {};
}

std::vector<std::string_view> activities(const std::bitset<inspect::kActivities>& enabled) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < enabled.size(); ++i)
    if (enabled.test(i)) names.push_back(inspect::activity_name(i));
  return names;
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_profile_start(nrt_model_t* model, const char* filename) {
  return while_open("nrt_profile_start", [&](Process& process, Runtime&) -> Status {
    const auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    const auto path = path_of(filename, "filename");
    if (!path) return tl::unexpected(path.error());
    return profile::start((*found)->id(), *path);
  });
}

NRT_STATUS nrt_profile_stop(const char* filename) {
  return any_time("nrt_profile_stop", [&](Process&) -> Status {
    const auto path = path_of(filename, "filename");
    if (!path) return tl::unexpected(path.error());
    return profile::stop(*path);
  });
}

NRT_STATUS nrt_profile_continuous_options_allocate(nrt_profile_continuous_options_t** options) {
  return Continuous::allocate("nrt_profile_continuous_options_allocate", options);
}

NRT_STATUS nrt_profile_continuous_options_free(nrt_profile_continuous_options_t* options) {
  return Continuous::free("nrt_profile_continuous_options_free", options);
}

NRT_STATUS nrt_profile_continuous_options_set_output_dir(nrt_profile_continuous_options_t* options,
                                                         const char* output_dir) {
  return Continuous::with("nrt_profile_continuous_options_set_output_dir", options,
                          [&](ContinuousOptions& chosen) { return set_path(chosen.output_dir, output_dir); });
}

NRT_STATUS nrt_profile_continuous_start(nrt_profile_continuous_options_t* options) {
  return while_open("nrt_profile_continuous_start", [&](Process&, Runtime& runtime) -> Status {
    if (const auto chosen = Continuous::copy_or_default(options); !chosen) return tl::unexpected(chosen.error());
    if (const std::uint32_t inflight = runtime.machine().configuration().max_inflight; inflight > 0) {
      return make_error(ErrorCode::kInvalidArgument,
                        "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS is {}; continuous profiling expected 0", inflight);
    }
    return profile::continuous_start();
  });
}

NRT_STATUS nrt_profile_continuous_save(uint32_t vnc, nrt_profile_continuous_options_t* options) {
  return any_time("nrt_profile_continuous_save", [&](Process&) -> Status {
    const auto chosen = Continuous::copy_or_default(options);
    if (!chosen) return tl::unexpected(chosen.error());
    return profile::continuous_save(vnc, chosen->output_dir);
  });
}

NRT_STATUS nrt_profile_continuous_stop() {
  return any_time("nrt_profile_continuous_stop", [](Process&) { return profile::continuous_stop(); });
}

NRT_STATUS nrt_inspect_begin() {
  return any_time("nrt_inspect_begin", [](Process&) -> Status {
    const Variables variables = read_environment();
    const auto environment = inspect::parse([&](const char* name) -> const char* {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
    if (!environment) return tl::unexpected(environment.error());
    return inspect::begin(environment->options);
  });
}

NRT_STATUS nrt_inspect_stop() {
  return any_time("nrt_inspect_stop", [](Process&) { return inspect::stop(); });
}

NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t** options) {
  return Configs::allocate("nrt_inspect_config_allocate", options);
}

NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t* options) {
  return Configs::with("nrt_inspect_config_set_defaults", options, [](inspect::Options& config) -> Status {
    config = {};
    return {};
  });
}

NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t* options) {
  return Configs::free("nrt_inspect_config_free", options);
}

NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t* options, int session_id) {
  return Configs::with("nrt_inspect_config_set_session_id", options, [&](inspect::Options& config) -> Status {
    config.session = session_id;
    return {};
  });
}

NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t* options, const char* output_dir) {
  return Configs::with("nrt_inspect_config_set_output_dir", options,
                       [&](inspect::Options& config) { return set_path(config.output_dir, output_dir); });
}

NRT_STATUS nrt_inspect_config_set_sys_trace_max_events_per_nc(nrt_inspect_config_t* options,
                                                              uint64_t sys_trace_max_events_per_nc) {
  return Configs::with(
      "nrt_inspect_config_set_sys_trace_max_events_per_nc", options, [&](inspect::Options& config) -> Status {
        if (sys_trace_max_events_per_nc == 0) {
          return make_error(ErrorCode::kInvalidArgument, "sys_trace_max_events_per_nc is 0, expected at least 1");
        }
        config.trace.max_events = sys_trace_max_events_per_nc;
        return {};
      });
}

NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(nrt_inspect_config_t* options, uint32_t nc_idx, bool enabled) {
  return Configs::with("nrt_inspect_config_set_capture_enabled_for_nc", options,
                       [&](inspect::Options& config) { return enable_core(config.trace, nc_idx, enabled); });
}

NRT_STATUS nrt_inspect_config_set_capture_enabled_for_event_type_string(nrt_inspect_config_t* options,
                                                                        const char* event_type, bool enabled) {
  return Configs::with("nrt_inspect_config_set_capture_enabled_for_event_type_string", options,
                       [&](inspect::Options& config) { return enable_type(config.trace, event_type, enabled); });
}

NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t* options, bool enable_inspect) {
  return Configs::with("nrt_inspect_config_set_enable_inspect", options, [&](inspect::Options& config) -> Status {
    config.enable = enable_inspect;
    return {};
  });
}

NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(nrt_inspect_config_t* options, bool enable_inspect_on_fail) {
  return Configs::with("nrt_inspect_config_set_enable_inspect_on_fail", options,
                       [&](inspect::Options& config) -> Status {
                         config.on_fail = enable_inspect_on_fail;
                         return {};
                       });
}

NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t* options) {
  return any_time("nrt_inspect_begin_with_options", [&](Process&) -> Status {
    const auto chosen = Configs::copy_or_default(options);
    if (!chosen) return tl::unexpected(chosen.error());
    return inspect::begin(*chosen);
  });
}

NRT_STATUS nrt_inspect_config_get_all_activity_types(const char*** activity_types, size_t* count) {
  return any_time("nrt_inspect_config_get_all_activity_types", [&](Process&) {
    return give_names(activities(std::bitset<inspect::kActivities>().set()), activity_types, count);
  });
}

NRT_STATUS nrt_inspect_config_get_enabled_activity_types(nrt_inspect_config_t* options, const char*** activity_types,
                                                         size_t* count) {
  return Configs::with("nrt_inspect_config_get_enabled_activity_types", options, [&](inspect::Options& config) {
    return give_names(activities(config.activities), activity_types, count);
  });
}

void nrt_inspect_config_free_activity_types(const char** activity_types, size_t count) {
  free_names(activity_types, count);
}

NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t* options, const char* activity_type, bool enabled) {
  return Configs::with("nrt_inspect_config_set_activity", options, [&](inspect::Options& config) -> Status {
    if (const Status there = require(activity_type, "activity_type"); !there) return there;
    const std::string_view name(activity_type);
    bool known = false;
    for (std::size_t i = 0; i < inspect::kActivities; ++i) {
      if (name != "all" && name != inspect::activity_name(i)) continue;
      config.activities.set(i, enabled);
      known = true;
    }
    if (!known) {
      return make_error(
          ErrorCode::kInvalidArgument,
          "activity_type is \"{}\", expected system_profile, device_profile, host_memory, cpu_util or all", name);
    }
    return {};
  });
}

}  // namespace opennrt::api::native
