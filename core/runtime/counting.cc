// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/counting.h"

#include <optional>

namespace opennrt {
namespace {

using enum observe::CoreCounter;
using observe::CoreCounter;
using umd::Outcome;

/// One of observe::kEndings and, for a failure, one of observe::kErrorKinds.
struct Ending {
  CoreCounter counter = kGenericFailure;
  std::optional<CoreCounter> kind;
};

/// By the status that status_of() in outcome.h gives it.
Ending ending_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCompleted:
      return {kCompleted, std::nullopt};
    case Outcome::kCompletedWithNumericalError:
      return {kCompletedWithNumericalError, kNumericalError};
    case Outcome::kCompletedWithError:
      return {kCompletedWithError, kModelError};
    case Outcome::kIllegalInstruction:
      return {kInvalid, kModelError};
    case Outcome::kOutOfBounds:
      return {kOutOfBounds, kModelError};
    case Outcome::kTimeout:
      return {kTimedOut, kGenericError};
    case Outcome::kSramUncorrectable:
      return {kCoreUncorrectable, kHardwareError};
    case Outcome::kDramUncorrectable:
      return {kHbmUncorrectable, kHardwareError};
    case Outcome::kDmaAbort:
      return {kDmaAbort, kHardwareError};
    case Outcome::kNotificationOverflow:
      return {kNotificationOverflow, kRuntimeError};
    case Outcome::kUnrecoverable:
      return {kGenericFailure, kHardwareError};
  }
  return {kGenericFailure, kGenericError};
}

/// By the status that core/api/status.cc gives it. A mistake of the caller is no error of any kind.
Ending ending_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kInvalidHandle:
    case ErrorCode::kInvalidFile:
    case ErrorCode::kUnsupported:
      return {kInvalid, std::nullopt};
    case ErrorCode::kUnsupportedVersion:
      return {kUnsupportedNeffVersion, std::nullopt};
    case ErrorCode::kBadInput:
      return {kIncorrectInput, std::nullopt};
    case ErrorCode::kQueueFull:
      return {kFailedToQueue, std::nullopt};
    case ErrorCode::kNotEnoughCores:
      return {kNotEnoughCores, std::nullopt};
    case ErrorCode::kResource:
      return {kResourceError, kRuntimeError};
    case ErrorCode::kTimeout:
      return {kTimedOut, kGenericError};
    case ErrorCode::kHardware:
    case ErrorCode::kDeviceGone:
    case ErrorCode::kUnrecoverable:
      return {kGenericFailure, kHardwareError};
    case ErrorCode::kState:
    case ErrorCode::kInternal:
    case ErrorCode::kPeerLost:
    case ErrorCode::kClosed:
      return {kGenericFailure, kRuntimeError};
  }
  return {kGenericFailure, kGenericError};
}

void count(const observe::CounterStore& counters, std::uint32_t core, const Ending& ending) {
  counters.add(core, ending.counter);
  if (ending.kind) counters.add(core, *ending.kind);
}

}  // namespace

void count_inference(const umd::Program& first, const umd::ExecutionReport& report, std::chrono::nanoseconds total) {
  const observe::CounterStore& counters = first.device()->counters();
  if (!counters) return;
  count(counters, first.core(), ending_of(report.outcome));
  if (report.outcome != Outcome::kCompleted) return;
  counters.add(first.core(), kLatencyDevice, static_cast<std::int64_t>(report.device_ns));
  counters.add(first.core(), kLatencyTotal, total.count());
  counters.add(first.core(), kInferences);
}

void count_failure(const observe::CounterStore& counters, std::uint32_t core, ErrorCode code) {
  count(counters, core, ending_of(code));
}

}  // namespace opennrt
