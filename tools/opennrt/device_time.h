// SPDX-License-Identifier: Apache-2.0
//
// How long inferences take on an emulated /dev/neuron<N>, whose chip is in another process and so writes no summary for this one:
// what the runtime's system trace says.
#pragma once

#include <cstdint>
#include <optional>

#include "core/common/error.h"

namespace opennrt::tool {

/// Made before nrt_init: then it finds out whether the devices that the runtime will open live in simulated time. If they do not,
/// or it is not backend `neuron` that will be used, everything below does nothing.
class DeviceTime {
 public:
  DeviceTime();
  ~DeviceTime();
  DeviceTime(const DeviceTime&) = delete;
  DeviceTime& operator=(const DeviceTime&) = delete;

  bool known() const { return known_; }
  /// After nrt_init. From here on inferences are timed.
  Status begin();
  /// Before nrt_close. Simulated nanoseconds of all cores together since begin(); nothing when not known().
  Result<std::optional<std::uint64_t>> end();

 private:
  bool known_ = false, begun_ = false;
};

}  // namespace opennrt::tool
