// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace opennrt {

/// Whose failure it is. core/api turns a code into an NRT_STATUS in exactly one place (core/api/status.cc).
enum class ErrorCode {
  kInvalidArgument,     ///< the caller's mistake: a value, a name, a size
  kInvalidHandle,       ///< the caller's mistake: a handle that is not (or no longer) one
  kInvalidFile,         ///< a NEFF, ONNX, .npy or JSON file that breaks its format
  kUnsupportedVersion,  ///< a NEFF of a version or a generation that this runtime does not serve
  kUnsupported,         ///< our gap, or something this hardware generation cannot do
  kResource,            ///< memory, rings, semaphores: the amount asked for is not there
  kNotEnoughCores,      ///< fewer NeuronCores than the model or the caller asked for
  kTimeout,             ///< the device did not answer in time
  kHardware,            ///< the device reported a fault
  kDeviceGone,          ///< the device or its driver is not there
  kState,               ///< the call is right, the moment is not (before init, after close)
  kInternal,            ///< our bug
  kBadInput,            ///< a tensor given to an execution has nothing in it
  kQueueFull,           ///< an execution unit has as many requests as it can hold
  kUnrecoverable,       ///< the core or its execution unit is out of order until the runtime is closed
  kPeerLost,            ///< another rank of a collective operation died, left or did not come
  kClosed,              ///< the runtime has been closed, or is being closed
};

/// A failure: a code from the taxonomy above and one sentence for a person (which field, which value, what was expected).
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = tl::expected<void, Error>;

/// make_error(code, "ring size is {}, expected a multiple of 16", n): for `return make_error(...)`.
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> make_error(ErrorCode code, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(text, std::forward<Args>(args)...)});
}

/// Puts `where: ` in front of a failure that came from below.
[[nodiscard]] inline tl::unexpected<Error> with_context(Error error, const std::string& where) {
  error.message = where + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace opennrt
