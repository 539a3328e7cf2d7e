// SPDX-License-Identifier: Apache-2.0
//
// What the environment says about collectives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/common/error.h"

namespace opennrt::collectives {

/// NEURON_RT_ROOT_COMM_ID: `<host>:<port>` of the process with rank 0 (aws-neuron-sdk
/// neuron-runtime/guides/nrt-developer-guide.rst). All ranks are on one machine here, and the port is only a name.
struct RootId {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const RootId&) const = default;
};
/// kInvalidArgument names the value and what was expected.
Result<RootId> parse_root_id(std::string_view text);

/// The port that the SDK's examples use (libraries/nxd-inference/tutorials/disaggregated-inference-tutorial-1p1d.rst).
inline constexpr std::uint16_t kDefaultSendRecvPort = 45645;
/// Ranks are started one after another and load their models before they meet.
inline constexpr std::uint32_t kDefaultTimeoutSeconds = 120;

struct Settings {
  std::optional<RootId> root;  ///< NEURON_RT_ROOT_COMM_ID; nullopt: all ranks are in this process
  std::uint32_t timeout_s =
      kDefaultTimeoutSeconds;  ///< OPENNRT_COLLECTIVES_TIMEOUT: of whatever waits for another rank
  std::uint16_t sendrecv_port = kDefaultSendRecvPort;  ///< NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT
};

/// `lookup` gives the value of a variable, nullptr when it is unset or empty. kInvalidArgument names variable, value and what was
/// expected.
Result<Settings> parse_settings(const std::function<const std::string*(std::string_view)>& lookup);

}  // namespace opennrt::collectives
