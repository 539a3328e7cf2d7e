// SPDX-License-Identifier: Apache-2.0
//
// The one place where a failure becomes an NRT_STATUS.
#pragma once

#include "core/api/export.h"
#include "core/common/error.h"
#include "core/runtime/process.h"
#include "core/umd/umd.h"

namespace opennrt::api {

NRT_STATUS to_status(ErrorCode code);
NRT_STATUS to_status(umd::Outcome outcome);
/// Why a call was not let in.
NRT_STATUS to_status(Process::State refused);

}  // namespace opennrt::api
