// SPDX-License-Identifier: Apache-2.0
//
// The environment variables of an inspection (aws-neuron-sdk tools/neuron-explorer/environment-variables.rst).
#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "core/observe/inspect.h"

namespace opennrt::observe::inspect {
namespace {

constexpr std::uint32_t kMaxCores = 256;  // bits of a core map in opennrt/backend.h

const char* value_of(const Lookup& lookup, const char* name) {
  const char* value = lookup(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

Result<bool> flag(const Lookup& lookup, const char* name, bool fallback) {
  const char* value = value_of(lookup, name);
  if (value == nullptr) return fallback;
  const std::string_view text(value);
  if (text == "1") return true;
  if (text == "0") return false;
  return make_error(ErrorCode::kInvalidArgument, "{} is \"{}\", expected 0 or 1", name, text);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(',', begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

/// "0,2,4" or "0-3": every other core is disabled.
Status filter_cores(std::string_view text, trace::Config& config) {
  for (std::uint32_t core = 0; core < kMaxCores; ++core) config.disabled_cores.insert(core);
  for (const std::string_view part : split(text)) {
    const std::size_t dash = part.find('-');
    const auto first = number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(part.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= kMaxCores) {
      return make_error(
          ErrorCode::kInvalidArgument,
          "NEURON_RT_INSPECT_EVENT_FILTER_NC is \"{}\": \"{}\" is neither a NeuronCore nor a range; expected "
          "numbers up to {} or ranges a-b, separated by commas",
          text, part, kMaxCores - 1);
    }
    for (std::uint64_t core = *first; core <= *last; ++core)
      config.disabled_cores.erase(static_cast<std::uint32_t>(core));
  }
  return {};
}

/// Types and the categories "hardware" and "software", those with ^ in front left out.
Status filter_types(std::string_view text, trace::Config& config) {
  config.types.reset();
  std::bitset<trace::kMaxTypes> without;
  const auto types = trace::event_types();
  for (const std::string_view part : split(text)) {
    const bool exclude = part.starts_with('^');
    const std::string_view name = exclude ? part.substr(1) : part;
    bool known = false;
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (name != types[i].name && name != (types[i].hardware ? "hardware" : "software")) continue;
      known = true;
      (exclude ? without : config.types).set(i);
    }
    if (!known) {
      return make_error(
          ErrorCode::kInvalidArgument,
          "NEURON_RT_INSPECT_EVENT_FILTER_TYPE is \"{}\": \"{}\" is no event type; expected names of "
          "nrt_sys_trace_get_event_types, hardware or software, separated by commas, ^ in front of what to "
          "leave out",
          text, part);
    }
  }
  config.types &= ~without;
  return {};
}

Status device_profile(const Lookup& lookup, Options& options) {
  const char* value = value_of(lookup, "NEURON_RT_INSPECT_DEVICE_PROFILE");
  const std::string_view text = value == nullptr ? "0" : value;
  options.activities.set(kDeviceProfile, text != "0");
  if (text == "session") {
    options.device_mode = profile::InspectMode::kSession;
  } else if (text != "0" && text != "1" && text != "model") {
    return make_error(ErrorCode::kInvalidArgument,
                      "NEURON_RT_INSPECT_DEVICE_PROFILE is \"{}\", expected 0, 1, model or session", text);
  }
  return {};
}

}  // namespace

std::string_view activity_name(std::size_t activity) {
  constexpr std::string_view kNames[kActivities] = {"system_profile", "device_profile", "host_memory", "cpu_util"};
  return kNames[activity];
}

Result<Environment> parse(const Lookup& lookup) {
  Environment environment;
  Options& options = environment.options;
  options.enable = true;
  const auto enable = flag(lookup, "NEURON_RT_INSPECT_ENABLE", false);
  if (!enable) return tl::unexpected(enable.error());
  environment.enable = *enable;
  const auto system = flag(lookup, "NEURON_RT_INSPECT_SYSTEM_PROFILE", true);
  if (!system) return tl::unexpected(system.error());
  for (const Activity activity : {kSystemProfile, kHostMemory, kCpuUtil}) options.activities.set(activity, *system);
  if (const Status read = device_profile(lookup, options); !read) return tl::unexpected(read.error());
  const auto on_fail = flag(lookup, "NEURON_RT_INSPECT_ON_FAIL", false);
  if (!on_fail) return tl::unexpected(on_fail.error());
  options.on_fail = *on_fail;
  if (const char* folder = value_of(lookup, "NEURON_RT_INSPECT_OUTPUT_DIR")) options.output_dir = folder;
  if (const char* cores = value_of(lookup, "NEURON_RT_INSPECT_EVENT_FILTER_NC"))
    if (const Status read = filter_cores(cores, options.trace); !read) return tl::unexpected(read.error());
  if (const char* types = value_of(lookup, "NEURON_RT_INSPECT_EVENT_FILTER_TYPE"))
    if (const Status read = filter_types(types, options.trace); !read) return tl::unexpected(read.error());
  if (const char* limit = value_of(lookup, "NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC")) {
    const auto events = number(limit);
    if (!events || *events == 0) {
      return make_error(ErrorCode::kInvalidArgument,
                        "NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC is \"{}\", expected an integer from 1", limit);
    }
    options.trace.max_events = *events;
  }
  return environment;
}

}  // namespace opennrt::observe::inspect
