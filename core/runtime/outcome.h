// SPDX-License-Identifier: Apache-2.0
//
// How an inference ended, as the C API says it.
#pragma once

#include <nrt/nrt_status.h>

#include "core/umd/umd.h"

namespace opennrt {

constexpr NRT_STATUS status_of(umd::Outcome outcome) {
  switch (outcome) {
    case umd::Outcome::kCompleted:
      return NRT_SUCCESS;
    case umd::Outcome::kCompletedWithNumericalError:
      return NRT_EXEC_COMPLETED_WITH_NUM_ERR;
    case umd::Outcome::kCompletedWithError:
      return NRT_EXEC_COMPLETED_WITH_ERR;
    case umd::Outcome::kIllegalInstruction:
      return NRT_INVALID;  // nrt_status.h of the SDK counts a bad instruction there
    case umd::Outcome::kOutOfBounds:
      return NRT_EXEC_OOB;
    case umd::Outcome::kTimeout:
      return NRT_TIMEOUT;
    case umd::Outcome::kSramUncorrectable:
      return NRT_EXEC_HW_ERR_NC_UE;
    case umd::Outcome::kDramUncorrectable:
      return NRT_EXEC_HW_ERR_HBM_UE;
    case umd::Outcome::kDmaAbort:
      return NRT_EXEC_HW_ERR_DMA_ABORT;
    case umd::Outcome::kNotificationOverflow:
      return NRT_EXEC_SW_NQ_OVERFLOW;
    case umd::Outcome::kUnrecoverable:
      return NRT_EXEC_UNIT_UNRECOVERABLE;
  }
  return NRT_FAILURE;
}

}  // namespace opennrt
