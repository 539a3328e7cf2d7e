// SPDX-License-Identifier: Apache-2.0
//
// The system trace: configure, start, fetch, stop; and the trace to a file of nrt_experimental.h.
#include "core/api/options.h"
#include "core/observe/chrome_trace.h"

using namespace opennrt;
using namespace opennrt::api;
namespace trace = opennrt::observe::trace;

namespace {

struct FetchOptions {
  std::uint64_t max_events_per_nc = UINT64_MAX;
  std::optional<std::uint64_t> nc_idx;
};

using Configs = Options<trace::Config, nrt_sys_trace_config_t, HandleKind::kTraceConfig>;
using FetchTable = Options<FetchOptions, nrt_sys_trace_fetch_options_t, HandleKind::kTraceFetchOptions>;

/// Types that only the memory side of nrt_trace_start records.
bool about_memory(std::string_view type) {
  return type.starts_with("nrt_tensor_allocate") || type == "nrt_tensor_free" || type == "nrt_tensor_attach_buffer";
}

}  // namespace

Status opennrt::api::enable_core(trace::Config& config, std::uint32_t core, bool enabled) {
  if (enabled) {
    config.disabled_cores.erase(core);
  } else {
    config.disabled_cores.insert(core);
  }
  return {};
}

Status opennrt::api::enable_type(trace::Config& config, const char* event_type, bool enabled) {
  if (const Status there = require(event_type, "event_type"); !there) return there;
  const auto type = trace::type_of(event_type);
  if (!type) {
    return make_error(ErrorCode::kInvalidArgument,
                      "event_type is \"{}\", expected a name that nrt_sys_trace_get_event_types returns", event_type);
  }
  config.types.set(*type, enabled);
  return {};
}

namespace opennrt::api::native {

NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t** options) {
  return Configs::allocate("nrt_sys_trace_config_allocate", options);
}

void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t* options) {
  (void)Configs::with("nrt_sys_trace_config_set_defaults", options, [](trace::Config& config) -> Status {
    config = {};
    return {};
  });
}

void nrt_sys_trace_config_free(nrt_sys_trace_config_t* options) {
  (void)Configs::free("nrt_sys_trace_config_free", options);
}

void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t* options, uint64_t max_events_per_nc) {
  (void)Configs::with("nrt_sys_trace_config_set_max_events_per_nc", options, [&](trace::Config& config) -> Status {
    config.max_events = max_events_per_nc;
    return {};
  });
}

void nrt_sys_trace_config_set_capture_enabled_for_nc(nrt_sys_trace_config_t* options, uint32_t nc_idx, bool enabled) {
  (void)Configs::with("nrt_sys_trace_config_set_capture_enabled_for_nc", options,
                      [&](trace::Config& config) { return enable_core(config, nc_idx, enabled); });
}

NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(nrt_sys_trace_config_t* options,
                                                                   const char* event_type, bool enabled) {
  return Configs::with("nrt_sys_trace_config_set_capture_enabled_for_event_type", options,
                       [&](trace::Config& config) { return enable_type(config, event_type, enabled); });
}

NRT_STATUS nrt_sys_trace_get_event_types(const char*** event_types, size_t* count) {
  return any_time("nrt_sys_trace_get_event_types", [&](Process&) {
    std::vector<std::string_view> names;
    for (const trace::TypeInfo& type : trace::event_types()) names.push_back(type.name);
    return give_names(names, event_types, count);
  });
}

void nrt_sys_trace_free_event_types(const char** event_types, size_t count) {
  free_names(event_types, count);
}

NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(nrt_sys_trace_config_t* options, const char*** event_types,
                                                        size_t* count) {
  return Configs::with("nrt_sys_trace_config_get_enabled_event_types", options, [&](trace::Config& config) {
    std::vector<std::string_view> names;
    const auto types = trace::event_types();
    for (std::size_t i = 0; i < types.size(); ++i)
      if (config.types.test(i)) names.push_back(types[i].name);
    return give_names(names, event_types, count);
  });
}

NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t* options) {
  return any_time("nrt_sys_trace_start", [&](Process&) -> Status {
    auto config = Configs::copy_or_default(options);
    if (!config) return tl::unexpected(config.error());
    return trace::start(trace::Client::kFetch, std::move(*config));
  });
}

NRT_STATUS nrt_sys_trace_stop() {
  return any_time("nrt_sys_trace_stop", [](Process&) -> Status {
    const auto rest = trace::stop(trace::Client::kFetch);
    return rest ? Status() : tl::unexpected(rest.error());
  });
}

NRT_STATUS nrt_sys_trace_fetch_options_allocate(nrt_sys_trace_fetch_options_t** options) {
  return FetchTable::allocate("nrt_sys_trace_fetch_options_allocate", options);
}

void nrt_sys_trace_fetch_options_set_defaults(nrt_sys_trace_fetch_options_t* options) {
  (void)FetchTable::with("nrt_sys_trace_fetch_options_set_defaults", options, [](FetchOptions& fetch) -> Status {
    fetch = {};
    return {};
  });
}

void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t* options) {
  (void)FetchTable::free("nrt_sys_trace_fetch_options_free", options);
}

void nrt_sys_trace_fetch_options_set_max_events_per_nc(nrt_sys_trace_fetch_options_t* options,
                                                       uint64_t max_events_per_nc) {
  (void)FetchTable::with("nrt_sys_trace_fetch_options_set_max_events_per_nc", options,
                         [&](FetchOptions& fetch) -> Status {
                           fetch.max_events_per_nc = max_events_per_nc;
                           return {};
                         });
}

void nrt_sys_trace_fetch_options_set_nc_idx(nrt_sys_trace_fetch_options_t* options, uint64_t nc_idx) {
  (void)FetchTable::with("nrt_sys_trace_fetch_options_set_nc_idx", options, [&](FetchOptions& fetch) -> Status {
    fetch.nc_idx = nc_idx;
    return {};
  });
}

NRT_STATUS nrt_sys_trace_fetch_events(char** buffer, size_t* written_size,
                                      const nrt_sys_trace_fetch_options_t* options) {
  return any_time("nrt_sys_trace_fetch_events", [&](Process&) -> Status {
    if (const Status there = require(buffer, "buffer"); !there) return there;
    if (const Status there = require(written_size, "written_size"); !there) return there;
    const auto fetch = FetchTable::copy_or_default(options);
    if (!fetch) return tl::unexpected(fetch.error());
    const auto taken = trace::take(trace::Client::kFetch, fetch->max_events_per_nc, fetch->nc_idx);
    if (!taken) return tl::unexpected(taken.error());
    const std::string text = trace::to_json(*taken);
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (copy == nullptr)
      return make_error(ErrorCode::kResource, "{} bytes for {} events are not available, which are lost",
                        text.size() + 1, taken->events.size());
    std::memcpy(copy, text.c_str(), text.size() + 1);
    *buffer = copy;
    *written_size = text.size();
    return {};
  });
}

void nrt_sys_trace_buffer_free(char* buffer) {
  std::free(buffer);
}

NRT_STATUS nrt_trace_start(bool trace_mem) {
  return while_open("nrt_trace_start", [&](Process&, Runtime&) -> Status {
    trace::Config config;
    const auto types = trace::event_types();
    for (std::size_t i = 0; i < types.size(); ++i)
      if (!trace_mem && about_memory(types[i].name)) config.types.reset(i);
    return trace::start(trace::Client::kFile, std::move(config));
  });
}

NRT_STATUS nrt_trace_stop(const char* filename) {
  return any_time("nrt_trace_stop", [&](Process&) -> Status {
    const auto path = path_of(filename, "filename");
    if (!path) return tl::unexpected(path.error());
    const auto taken = trace::stop(trace::Client::kFile);
    if (!taken) return tl::unexpected(taken.error());
    observe::ChromeTrace file(taken->events.empty() ? 0 : taken->events.front().timestamp_ns);
    file.add(*taken);
    return file.write(*path, fmt::format(R"("dropped_events":{})", taken->dropped));
  });
}

}  // namespace opennrt::api::native
