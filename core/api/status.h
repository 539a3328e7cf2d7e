// SPDX-License-Identifier: Apache-2.0
//
// The one place where a failure becomes an NRT_STATUS.
#pragma once

#include <cstring>

#include "core/api/export.h"
#include "core/common/error.h"
#include "core/runtime/process.h"
#include "core/umd/umd.h"

namespace opennrt::api {

NRT_STATUS to_status(ErrorCode code);
NRT_STATUS to_status(umd::Outcome outcome);
/// Why a call was not let in.
NRT_STATUS to_status(Process::State refused);

/// The number that a C caller passed as an enumerator: it may be none, and then reading it as the enumeration is
/// undefined.
template <typename Enum>
int raw(const Enum& value) {
  static_assert(sizeof(Enum) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof(number));
  return number;
}

}  // namespace opennrt::api
