// SPDX-License-Identifier: Apache-2.0
//
// Inspection: the system trace, device profiles and samples of the host, from begin() to stop(), into one folder.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/common/error.h"
#include "core/observe/log.h"
#include "core/observe/profile.h"
#include "core/observe/trace.h"

namespace opennrt::observe::inspect {

enum Activity : std::size_t { kSystemProfile, kDeviceProfile, kHostMemory, kCpuUtil };
inline constexpr std::size_t kActivities = 4;
std::string_view activity_name(std::size_t activity);

struct Options {
  int session = 1;
  std::string output_dir = "./output";
  std::bitset<kActivities> activities{0b1111};
  profile::InspectMode device_mode = profile::InspectMode::kModel;
  trace::Config trace;
  bool enable = false;   ///< record in normal execution
  bool on_fail = false;  ///< write the device profile of an inference that fails
};

/// What the variables NEURON_RT_INSPECT_* say.
struct Environment {
  bool enable = false;  ///< NEURON_RT_INSPECT_ENABLE: nrt_init begins
  Options options;
};
/// kInvalidArgument names variable, value and what was expected.
Result<Environment> parse(const Lookup& lookup);

/// Any time, any thread. `with_runtime`: nrt_init begins it, end_with_runtime() ends it. kInvalidArgument: one is under way, or continuous
/// profiling is on.
Status begin(const Options& options, bool with_runtime = false);
/// Writes the files. kInvalidArgument: none is under way; kResource: the first file that cannot be written.
Status stop();
/// Stops the inspection that nrt_init has begun; does nothing when there is none.
Status end_with_runtime();

/// Samples memory and CPUs of the host when an inspection wants it and the last sample is 100 ms old. Called after
/// inferences: the library starts no thread for it. Costs one relaxed load otherwise.
void sample() noexcept;

}  // namespace opennrt::observe::inspect
