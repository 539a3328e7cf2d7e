// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/device_time.h"

#include <nrt/nrt_sys_trace.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "backends/neuron/backend.h"
#include "tools/support/client.h"

namespace opennrt::tool {
namespace {

constexpr std::string_view kRunning = "nc_exec_running";

bool devices_are_virtual() {
  const char* const backend = std::getenv("OPENNRT_BACKEND");
  if (backend != nullptr && *backend != '\0' && std::string_view(backend) != "neuron") return false;
  const std::vector<std::uint32_t> numbers = neuron::device_numbers(neuron::system_calls());
  if (numbers.empty()) return false;
  opennrt_host_t host{};
  host.size = sizeof(host);
  host.config = [](void*, const char* name) -> const char* { return std::getenv(name); };
  neuron::Backend devices(&host, neuron::system_calls());
  opennrt_device_info_t info{};
  return devices.device_info(numbers.front(), info) == 0 && info.virtual_time;
}

/// Of the trace, nothing but the times in which cores run.
Status choose(nrt_sys_trace_config_t* config) {
  const char** types = nullptr;
  std::size_t count = 0;
  Status status = client::check(nrt_sys_trace_get_event_types(&types, &count), "nrt_sys_trace_get_event_types");
  for (std::size_t i = 0; i < count && status; ++i)
    status =
        client::check(nrt_sys_trace_config_set_capture_enabled_for_event_type(config, types[i], types[i] == kRunning),
                      "choosing event types of the system trace");
  nrt_sys_trace_free_event_types(types, count);
  return status;
}

}  // namespace

DeviceTime::DeviceTime() : known_(devices_are_virtual()) {}

DeviceTime::~DeviceTime() {
  if (begun_) nrt_sys_trace_stop();
}

Status DeviceTime::begin() {
  if (!known_) return {};
  nrt_sys_trace_config_t* config = nullptr;
  if (auto made = client::check(nrt_sys_trace_config_allocate(&config), "nrt_sys_trace_config_allocate"); !made)
    return made;
  Status status = choose(config);
  if (status) status = client::check(nrt_sys_trace_start(config), "nrt_sys_trace_start");
  nrt_sys_trace_config_free(config);
  begun_ = status.has_value();
  return status;
}

Result<std::optional<std::uint64_t>> DeviceTime::end() {
  if (!begun_) return std::nullopt;
  char* text = nullptr;
  std::size_t bytes = 0;
  const Status fetched =
      client::check(nrt_sys_trace_fetch_events(&text, &bytes, nullptr), "nrt_sys_trace_fetch_events");
  nrt_sys_trace_stop();
  begun_ = false;
  if (!fetched) return tl::unexpected<Error>(fetched.error());
  std::uint64_t nanoseconds = 0;
  const auto trace = nlohmann::json::parse(text, text + bytes, nullptr, false);
  nrt_sys_trace_buffer_free(text);
  if (const auto events = trace.find("trace_events"); events != trace.end())
    for (const auto& event : *events)
      if (event.value("name", "") == kRunning) nanoseconds += event.value("duration", std::uint64_t{0});
  return nanoseconds;
}

}  // namespace opennrt::tool
