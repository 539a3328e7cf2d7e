// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/config.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace opennrt {
namespace {

// aws-neuron-sdk neuron-runtime/guides/configuration-guide.rst: 30 s on Inf1.
constexpr std::uint64_t kDefaultTimeoutSeconds = 30;
constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint32_t kMaxNumber = std::numeric_limits<std::int32_t>::max();
// aws-neuron-sdk release-notes/components/runtime.rst: "the hard limit of 63".
constexpr std::uint32_t kMaxInflight = 63;
constexpr std::uint32_t kMaxGroup = 1024;  // far more than any instance has NeuronCores

constexpr std::array kKnown = {
    VariableInfo{"NEURON_RT_VISIBLE_CORES", "n, n-m or a list of them, contiguous and increasing",
                 "the NeuronCores of the process"},
    VariableInfo{"NEURON_RT_NUM_CORES", "an integer from 0", "how many free NeuronCores to take; 0 is all"},
    VariableInfo{"NEURONCORE_GROUP_SIZES", "integers or AxB, separated by commas",
                 "deprecated: use NEURON_RT_VISIBLE_CORES"},
    VariableInfo{"NEURON_RT_EXEC_TIMEOUT", "seconds from 0 to 2147483647",
                 "limit of one inference, 30 by default; 0 is no limit"},
    VariableInfo{"NEURON_RT_VALIDATE_HASH", "true or false", "check the hash of a NEFF when it is loaded"},
    VariableInfo{"NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", "the number of an NRT_STATUS; 0 is none",
                 "dump the inputs of executions that end with it"},
    VariableInfo{"NEURON_RT_LOG_LEVEL", "ERROR, WARN, INFO, DEBUG, TRACE or QUIET", "how much is logged"},
    VariableInfo{"NEURON_RT_LOG_LEVEL_NRT", "as NEURON_RT_LOG_LEVEL", "for the API and the runtime"},
    VariableInfo{"NEURON_RT_LOG_LEVEL_NMGR", "as NEURON_RT_LOG_LEVEL", "for models"},
    VariableInfo{"NEURON_RT_LOG_LEVEL_TDRV", "as NEURON_RT_LOG_LEVEL", "for the driver and the backend"},
    VariableInfo{"NEURON_RT_LOG_LOCATION", "console, syslog or a file's path",
                 "where lines go; both console and syslog by default"},
    VariableInfo{"NEURON_RT_LOG_LOCATION_NRT", "as NEURON_RT_LOG_LOCATION", "for the API and the runtime"},
    VariableInfo{"NEURON_RT_LOG_LOCATION_NMGR", "as NEURON_RT_LOG_LOCATION", "for models"},
    VariableInfo{"NEURON_RT_LOG_LOCATION_TDRV", "as NEURON_RT_LOG_LOCATION", "for the driver and the backend"},
    VariableInfo{"NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", "an integer from 0",
                 "executions that nrt_execute queues per core, at most 63; 0: it waits for their end"},
    VariableInfo{"NEURON_RT_RESET_CORES", "0 or 1",
                 "neuron: whether cores are reset when they are taken, 1 by default"},
    VariableInfo{"NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "true or false",
                 "whether models with equal weights on one device share them"},
    VariableInfo{"NEURON_RT_INSPECT_ENABLE", "0 or 1", "inspect from nrt_init to nrt_close"},
    VariableInfo{"NEURON_RT_INSPECT_OUTPUT_DIR", "a folder's path", "where an inspection writes, ./output by default"},
    VariableInfo{"NEURON_RT_INSPECT_SYSTEM_PROFILE", "0 or 1", "inspection: the system trace, 1 by default"},
    VariableInfo{"NEURON_RT_INSPECT_DEVICE_PROFILE", "0, 1, model or session",
                 "inspection: device profiles, 0 by default"},
    VariableInfo{"NEURON_RT_INSPECT_ON_FAIL", "0 or 1", "inspection: device profiles of inferences that fail"},
    VariableInfo{"NEURON_RT_INSPECT_EVENT_FILTER_NC", "NeuronCores and ranges, separated by commas",
                 "inspection: the cores in the system trace"},
    VariableInfo{"NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "event types, hardware, software; ^ leaves out",
                 "inspection: the events in the system trace"},
    VariableInfo{"NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", "an integer from 1",
                 "inspection: events kept per core, 1000000 by default"},
    VariableInfo{"NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", "an integer from 1",
                 "events that a debug stream holds, 65536 by default"},
    VariableInfo{"NEURON_RT_ROOT_COMM_ID", "<host>:<port>", "where ranks of several processes meet, at rank 0"},
    VariableInfo{"NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", "a port from 1 to 65535",
                 "where the two ends of send and receive meet, 45645 by default"},
    VariableInfo{"NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "anything", "ignored: send and receive always work"},
    VariableInfo{"OPENNRT_COLLECTIVES_TIMEOUT", "seconds from 1 to 2147483647",
                 "limit of waiting for another rank, 120 by default"},
    VariableInfo{"OPENNRT_BACKEND", "a backend's name or the path of its .so", "what runs the models"},
    VariableInfo{"OPENNRT_VENDOR_LIBNRT", "a file's path", "vendor: the libnrt.so.1 that every call is forwarded to"},
    VariableInfo{"OPENNRT_CALL_RECORD", "a file's path", "a line for each call of the C API is appended to it"},
    VariableInfo{"OPENNRT_CALL_STATS", "a file's path", "JSON of calls, failures and time by function, at nrt_close"},
    VariableInfo{"OPENNRT_BACKEND_PATH", "folders separated by colons",
                 "searched for backends before the library's own folder"},
    VariableInfo{"OPENNRT_SIM_INSTANCE", "inf1.xlarge, inf1.2xlarge, inf1.6xlarge or inf1.24xlarge",
                 "sim: the machine"},
    VariableInfo{"OPENNRT_SIM_DEVICES", "device numbers separated by commas, increasing",
                 "sim: the devices that are visible"},
    VariableInfo{"OPENNRT_SIM_TRACE", "a file's path", "sim: Chrome trace written at nrt_close"},
    VariableInfo{"OPENNRT_SIM_VCD", "a file's path", "sim: Value Change Dump written at nrt_close"},
    VariableInfo{"OPENNRT_SIM_STATS", "a file's path", "sim: JSON summary written at nrt_close"},
    VariableInfo{"OPENNRT_SIM_REALTIME", "a number from 0 to 1000000",
                 "sim: seconds that a simulated second takes at least, 0 by default"},
    VariableInfo{"OPENNRT_SIM_DETERMINISTIC", "0 or 1", "sim: the same cycles whatever the order of submission"},
    VariableInfo{"OPENNRT_FAULTS", "a fault plan's path, or the plan itself",
                 "faults that are to happen; none without it"},
    VariableInfo{"OPENNRT_FAULTS_REPORT", "a file's path", "lines about the faults that happened are appended to it"},
    VariableInfo{"OPENNRT_NEURON_POLL", "0 or 1", "neuron: an emulated device is used like silicon, in real time"},
    VariableInfo{"OPENNRT_RUNTIME_DIR", "a folder's path", "sim: where the locks of the cores are"},
};

/// The variable's value; nullptr when it is unset or empty, which mean the same.
const std::string* value_of(const Variables& variables, std::string_view name) {
  const auto found = variables.find(name);
  return found == variables.end() || found->second.empty() ? nullptr : &found->second;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() || number > kMaxNumber)
    return std::nullopt;
  return number;
}

Result<std::uint32_t> number_or(const Variables& variables, std::string_view name, std::uint32_t fallback) {
  const std::string* text = value_of(variables, name);
  if (text == nullptr) return fallback;
  const auto number = parse_number(*text);
  if (!number) {
    return make_error(ErrorCode::kInvalidArgument, "{} is \"{}\", expected an integer from 0 to {}", name, *text,
                      kMaxNumber);
  }
  return *number;
}

Result<bool> flag_or(const Variables& variables, std::string_view name, bool fallback) {
  const std::string* text = value_of(variables, name);
  if (text == nullptr) return fallback;
  std::string lower(*text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == "true" || lower == "1") return true;
  if (lower == "false" || lower == "0") return false;
  return make_error(ErrorCode::kInvalidArgument, "{} is \"{}\", expected true or false", name, *text);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

Result<CoreRequest> parse_visible_cores(const std::string& text) {
  constexpr std::string_view kExpected =
      "a number, a range a-b or a list of them, contiguous and increasing, for example 0-3 or 3,4,5";
  const auto refuse = [&](std::string_view reason) {
    return make_error(ErrorCode::kInvalidArgument, "NEURON_RT_VISIBLE_CORES is \"{}\": {}; expected {}", text, reason,
                      kExpected);
  };
  CoreRequest request{CoreRequest::Kind::kRange, 0, 0, 0};
  for (const std::string& part : split(text, ',')) {
    const std::size_t dash = part.find('-');
    const auto first = parse_number(std::string_view(part).substr(0, dash));
    const auto last = dash == std::string::npos ? first : parse_number(std::string_view(part).substr(dash + 1));
    if (!first || !last) return refuse(fmt::format("\"{}\" is not a NeuronCore or a range", part));
    if (*last < *first) return refuse(fmt::format("the range \"{}\" decreases", part));
    if (request.count == 0) {
      request.first = *first;
    } else if (*first != request.last + 1) {
      return refuse(fmt::format("{} does not follow {}", *first, request.last));
    }
    request.last = *last;
    request.count = request.last - request.first + 1;
  }
  return request;
}

/// Sum of "1,2" or of products "2x2" (archive/appnotes/neuron1x/introducing-libnrt.rst of the SDK).
Result<std::uint32_t> parse_group_sizes(const std::string& text) {
  std::uint64_t sum = 0;
  for (const std::string& part : split(text, ',')) {
    std::uint64_t product = 1;
    for (const std::string& factor : split(part, 'x')) {
      const auto number = parse_number(factor);
      if (!number || *number == 0 || *number > kMaxGroup) {
        return make_error(
            ErrorCode::kInvalidArgument,
            "NEURONCORE_GROUP_SIZES is \"{}\": \"{}\" is not a group; expected positive integers or AxB, separated by "
            "commas",
            text, part);
      }
      product = std::min<std::uint64_t>(product * *number, kMaxNumber);
    }
    sum = std::min<std::uint64_t>(sum + product, kMaxNumber);
  }
  return static_cast<std::uint32_t>(sum);
}

Status apply_group_sizes(Configuration& configuration, const std::string& text, bool mxnet) {
  const Result<std::uint32_t> sum = parse_group_sizes(text);
  if (!sum) return tl::unexpected(sum.error());
  configuration.remarks.push_back(
      {observe::Level::kWarn,
       "NEURONCORE_GROUP_SIZES is deprecated, use NEURON_RT_VISIBLE_CORES or NEURON_RT_NUM_CORES instead"});
  if (configuration.cores.kind == CoreRequest::Kind::kRange) {
    if (mxnet) {
      return make_error(ErrorCode::kInvalidArgument,
                        "NEURONCORE_GROUP_SIZES is \"{}\" and NEURON_RT_VISIBLE_CORES is set, too; expected only the "
                        "latter with MXNet",
                        text);
    }
    if (*sum > configuration.cores.count) {
      return make_error(ErrorCode::kInvalidArgument,
                        "NEURONCORE_GROUP_SIZES is \"{}\", which is {} NeuronCores; expected at most the {} of "
                        "NEURON_RT_VISIBLE_CORES",
                        text, *sum, configuration.cores.count);
    }
  } else if (configuration.cores.kind == CoreRequest::Kind::kAll) {
    configuration.cores = {CoreRequest::Kind::kAny, *sum, 0, 0};
  }
  return {};
}

void remark_on_unknown(Configuration& configuration) {
  for (const auto& [name, value] : configuration.variables) {
    if (name.rfind("NEURON_RT_", 0) != 0 && name.rfind("OPENNRT_", 0) != 0) continue;
    if (std::ranges::find(kKnown, name, &VariableInfo::name) == kKnown.end()) {
      configuration.remarks.push_back({observe::Level::kDebug, fmt::format("{} is not known here and ignored", name)});
    }
  }
}

Status apply_execution(Configuration& configuration) {
  const auto inflight = number_or(configuration.variables, "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", 0);
  if (!inflight) return tl::unexpected(inflight.error());
  configuration.max_inflight = std::min(*inflight, kMaxInflight);
  if (*inflight > kMaxInflight) {
    configuration.remarks.push_back(
        {observe::Level::kWarn,
         fmt::format("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS is {}, {} are used", *inflight, kMaxInflight)});
  }
  return {};
}

Status apply_observation(Configuration& configuration) {
  auto inspect = observe::inspect::parse([&](const char* name) { return configuration.get(name); });
  if (!inspect) return tl::unexpected(inspect.error());
  configuration.inspect = std::move(*inspect);
  // aws-neuron-sdk src/libnrt/include/nrt/ndebug_stream.h: 64K events.
  const auto events = number_or(configuration.variables, "NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", 65536);
  if (!events) return tl::unexpected(events.error());
  if (*events == 0) {
    return make_error(ErrorCode::kInvalidArgument,
                      "NEURON_RT_DEBUG_STREAM_BUFFER_SIZE is \"0\", expected an integer from 1 to {}", kMaxNumber);
  }
  configuration.debug_stream_events = *events;
  return {};
}

}  // namespace

std::span<const VariableInfo> known_variables() {
  return kKnown;
}

Variables read_environment() {
  Variables variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    if (name.rfind("NEURON", 0) == 0 || name.rfind("OPENNRT_", 0) == 0) {
      variables.emplace(std::string(name), std::string(text.substr(equals + 1)));
    }
  }
  return variables;
}

const char* Configuration::get(std::string_view name) const {
  const auto found = variables.find(name);
  return found == variables.end() ? nullptr : found->second.c_str();
}

Result<Configuration> Configuration::parse(Variables variables, bool mxnet) {
  Configuration configuration;
  configuration.variables = std::move(variables);
  const Variables& given = configuration.variables;
  const Result<observe::Settings> log =
      observe::parse_settings([&](const char* name) { return configuration.get(name); });
  if (!log) return tl::unexpected(log.error());
  configuration.log = *log;
  if (const std::string* backend = value_of(given, "OPENNRT_BACKEND")) configuration.backend = *backend;
  if (const std::string* path = value_of(given, "OPENNRT_BACKEND_PATH")) {
    for (std::string& folder : split(*path, ':')) {
      if (!folder.empty()) configuration.backend_path.push_back(std::move(folder));
    }
  }
  const Result<std::uint32_t> count = number_or(given, "NEURON_RT_NUM_CORES", 0);
  if (!count) return tl::unexpected(count.error());
  if (const std::string* visible = value_of(given, "NEURON_RT_VISIBLE_CORES")) {
    const Result<CoreRequest> request = parse_visible_cores(*visible);
    if (!request) return tl::unexpected(request.error());
    configuration.cores = *request;
    if (*count != 0) {
      configuration.remarks.push_back(
          {observe::Level::kInfo, "NEURON_RT_VISIBLE_CORES and NEURON_RT_NUM_CORES are both set, the former is used"});
    }
  } else if (*count != 0) {
    configuration.cores = {CoreRequest::Kind::kAny, *count, 0, 0};
  }
  if (const std::string* groups = value_of(given, "NEURONCORE_GROUP_SIZES")) {
    if (const Status applied = apply_group_sizes(configuration, *groups, mxnet); !applied)
      return tl::unexpected(applied.error());
  }
  // Backend `neuron` reads it where it takes cores (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst).
  if (const Result<bool> resets = flag_or(given, "NEURON_RT_RESET_CORES", true); !resets)
    return tl::unexpected(resets.error());
  if (const Status applied = apply_execution(configuration); !applied) return tl::unexpected(applied.error());
  if (const Status applied = apply_observation(configuration); !applied) return tl::unexpected(applied.error());
  auto collectives = collectives::parse_settings([&](std::string_view name) { return value_of(given, name); });
  if (!collectives) return tl::unexpected(collectives.error());
  configuration.collectives = std::move(*collectives);
  // What belongs to nrt_load is read there, but a mistake is better told at once.
  if (const auto model = ModelConfiguration::parse(given); !model) return tl::unexpected(model.error());
  remark_on_unknown(configuration);
  return configuration;
}

Result<ModelConfiguration> ModelConfiguration::parse(const Variables& variables) {
  ModelConfiguration configuration;
  const Result<std::uint32_t> seconds = number_or(variables, "NEURON_RT_EXEC_TIMEOUT", kDefaultTimeoutSeconds);
  if (!seconds) return tl::unexpected(seconds.error());
  configuration.timeout_ns = *seconds == 0 ? kNoTimeout : std::uint64_t{*seconds} * kNanosecondsPerSecond;
  const Result<bool> validate = flag_or(variables, "NEURON_RT_VALIDATE_HASH", false);
  if (!validate) return tl::unexpected(validate.error());
  configuration.validate_hash = *validate;
  const Result<bool> shared = flag_or(variables, "NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", false);
  if (!shared) return tl::unexpected(shared.error());
  configuration.shared_weights = *shared;
  const Result<std::uint32_t> dump = number_or(variables, "NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", 0);
  if (!dump) return tl::unexpected(dump.error());
  configuration.dump_inputs_on = *dump;
  return configuration;
}

}  // namespace opennrt
