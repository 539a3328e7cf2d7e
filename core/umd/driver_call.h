// SPDX-License-Identifier: Apache-2.0
//
// Calls through a backend's table, and its errno values as errors.
#pragma once

#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/common/error.h"

namespace opennrt::umd {

/// Calls an entry of the table; one that is not there is -ENOTSUP, as backend.h says.
template <typename Function, typename... Arguments>
int call(Function function, Arguments... arguments) {
  return function != nullptr ? function(arguments...) : -ENOTSUP;
}

inline ErrorCode code_of_errno(int negative_errno) {
  switch (-negative_errno) {
    case ENOMEM:
    case ENOSPC:
    case EBUSY:
      return ErrorCode::kResource;
    case ENODEV:
    case ENXIO:
      return ErrorCode::kDeviceGone;
    case ETIMEDOUT:
      return ErrorCode::kTimeout;
    case ENOTSUP:
      return ErrorCode::kUnsupported;
    case EIO:
      return ErrorCode::kHardware;
    default:
      return ErrorCode::kInternal;
  }
}

/// "dma_queue_init on Neuron Device 0: Invalid argument".
inline tl::unexpected<Error> driver_error(int negative_errno, std::string_view operation, std::uint32_t device) {
  char room[128];
  return make_error(code_of_errno(negative_errno), "{} on Neuron Device {}: {}", operation, device,
                    strerror_r(-negative_errno, room, sizeof(room)));
}

}  // namespace opennrt::umd
