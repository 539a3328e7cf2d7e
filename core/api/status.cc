// SPDX-License-Identifier: Apache-2.0
#include "core/api/status.h"

#include "core/api/native.h"
#include "core/runtime/outcome.h"

namespace opennrt::api {

NRT_STATUS to_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return NRT_INVALID;
    case ErrorCode::kInvalidHandle:
      return NRT_INVALID_HANDLE;
    case ErrorCode::kInvalidFile:
      return NRT_INVALID;
    case ErrorCode::kUnsupportedVersion:
      return NRT_UNSUPPORTED_NEFF_VERSION;
    case ErrorCode::kUnsupported:
      return NRT_INVALID;
    case ErrorCode::kResource:
      return NRT_RESOURCE;
    case ErrorCode::kNotEnoughCores:
      return NRT_LOAD_NOT_ENOUGH_NC;
    case ErrorCode::kTimeout:
      return NRT_TIMEOUT;
    case ErrorCode::kHardware:
      return NRT_HW_ERROR;
    case ErrorCode::kDeviceGone:
      return NRT_FAILURE;
    case ErrorCode::kState:
      return NRT_FAILURE;
    case ErrorCode::kInternal:
      return NRT_FAILURE;
    case ErrorCode::kBadInput:
      return NRT_EXEC_BAD_INPUT;
    case ErrorCode::kQueueFull:
      return NRT_QUEUE_FULL;
    case ErrorCode::kUnrecoverable:
      return NRT_EXEC_UNIT_UNRECOVERABLE;
    case ErrorCode::kPeerLost:
      return NRT_EXEC_HW_ERR_COLLECTIVES;
    case ErrorCode::kClosed:
      return NRT_CLOSED;
  }
  return NRT_FAILURE;
}

NRT_STATUS to_status(umd::Outcome outcome) {
  return status_of(outcome);
}

NRT_STATUS to_status(Process::State refused) {
  return refused == Process::State::kUninitialized ? NRT_UNINITIALIZED : NRT_CLOSED;
}

}  // namespace opennrt::api

const char* opennrt::api::native::nrt_get_status_as_str(NRT_STATUS status) {
  switch (opennrt::api::raw(status)) {  // a C caller may pass a number that is no enumerator
#define OPENNRT_CASE(name) \
  case name:               \
    return #name
    OPENNRT_CASE(NRT_SUCCESS);
    OPENNRT_CASE(NRT_FAILURE);
    OPENNRT_CASE(NRT_INVALID);
    OPENNRT_CASE(NRT_INVALID_HANDLE);
    OPENNRT_CASE(NRT_RESOURCE);
    OPENNRT_CASE(NRT_TIMEOUT);
    OPENNRT_CASE(NRT_HW_ERROR);
    OPENNRT_CASE(NRT_QUEUE_FULL);
    OPENNRT_CASE(NRT_LOAD_NOT_ENOUGH_NC);
    OPENNRT_CASE(NRT_UNSUPPORTED_NEFF_VERSION);
    OPENNRT_CASE(NRT_FAIL_HOST_MEM_ALLOC);
    OPENNRT_CASE(NRT_UNINITIALIZED);
    OPENNRT_CASE(NRT_CLOSED);
    OPENNRT_CASE(NRT_QUEUE_EMPTY);
    OPENNRT_CASE(NRT_EXEC_UNIT_UNRECOVERABLE);
    OPENNRT_CASE(NRT_EXEC_BAD_INPUT);
    OPENNRT_CASE(NRT_EXEC_COMPLETED_WITH_NUM_ERR);
    OPENNRT_CASE(NRT_EXEC_COMPLETED_WITH_ERR);
    OPENNRT_CASE(NRT_EXEC_NC_BUSY);
    OPENNRT_CASE(NRT_EXEC_OOB);
    OPENNRT_CASE(NRT_COLL_PENDING);
    OPENNRT_CASE(NRT_EXEC_HW_ERR_COLLECTIVES);
    OPENNRT_CASE(NRT_EXEC_HW_ERR_HBM_UE);
    OPENNRT_CASE(NRT_EXEC_HW_ERR_NC_UE);
    OPENNRT_CASE(NRT_EXEC_HW_ERR_DMA_ABORT);
    OPENNRT_CASE(NRT_EXEC_SW_NQ_OVERFLOW);
    OPENNRT_CASE(NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE);
    OPENNRT_CASE(NRT_NETWORK_PROXY_FAILURE);
#undef OPENNRT_CASE
  }
  return "NRT_UNKNOWN_STATUS";
}
