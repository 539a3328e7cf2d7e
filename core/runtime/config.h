// SPDX-License-Identifier: Apache-2.0
//
// The configuration: environment variables, read once at nrt_init (those of a model at nrt_load) and nowhere else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/collectives/settings.h"
#include "core/common/error.h"
#include "core/observe/inspect.h"
#include "core/observe/log.h"

namespace opennrt {

/// One variable that the library knows. docs/host-contract.md lists the same ones; a test compares.
struct VariableInfo {
  std::string_view name;
  std::string_view expected;  ///< what a value looks like
  std::string_view meaning;
};
std::span<const VariableInfo> known_variables();

/// A copy of the variables whose names begin with NEURON or OPENNRT_.
using Variables = std::map<std::string, std::string, std::less<>>;
Variables read_environment();

/// Which NeuronCores the process asks for (requirements B1 to B4, B7). Numbers count from 0 over all devices it can
/// see.
struct CoreRequest {
  enum class Kind { kAll, kAny, kRange } kind = Kind::kAll;
  std::uint32_t count = 0;            ///< kAny, kRange
  std::uint32_t first = 0, last = 0;  ///< kRange
  bool operator==(const CoreRequest&) const = default;
};

/// What is said about the configuration once the log works.
struct Remark {
  observe::Level level;
  std::string text;
};

struct Configuration {
  Variables variables;
  std::string backend;                    ///< OPENNRT_BACKEND; empty: not chosen
  std::vector<std::string> backend_path;  ///< OPENNRT_BACKEND_PATH: folders searched before the library's own
  CoreRequest cores;
  std::uint32_t max_inflight = 0;  ///< executions queued per core by nrt_execute; 0: it waits for their end
  observe::Settings log;
  observe::inspect::Environment inspect;  ///< NEURON_RT_INSPECT_*
  collectives::Settings collectives;
  std::uint64_t debug_stream_events = 0;  ///< that the debug stream of a core holds
  std::vector<Remark> remarks;

  /// `mxnet`: NRT_FRAMEWORK_TYPE_MXNET called (B7). kInvalidArgument names variable, value and what was expected.
  static Result<Configuration> parse(Variables variables, bool mxnet = false);
  /// Value of a variable as it was read, or nullptr when it was not set. Valid as long as this object.
  const char* get(std::string_view name) const;
};

/// About 292 years; added to a clock it still fits 64 bits.
inline constexpr std::uint64_t kNoTimeout = INT64_MAX;

/// What nrt_load reads.
struct ModelConfiguration {
  std::uint64_t timeout_ns = 0;  ///< of one inference; kNoTimeout: none
  bool validate_hash = false;
  bool shared_weights = false;       ///< constants that are equal are once on a device
  std::uint32_t dump_inputs_on = 0;  ///< NRT_STATUS of executions whose inputs are dumped; 0: none
  static Result<ModelConfiguration> parse(const Variables& variables);
};

}  // namespace opennrt
