// SPDX-License-Identifier: Apache-2.0
//
// Which counters an execution or a load moves when it ends.
#pragma once

#include <chrono>
#include <cstdint>

#include "core/common/error.h"
#include "core/observe/counters.h"
#include "core/umd/umd.h"

namespace opennrt {

/// An inference that ran, at the first core of its replica. `total`: as its caller saw it.
void count_inference(const umd::Program& first, const umd::ExecutionReport& report, std::chrono::nanoseconds total);

/// An execution or a load that failed before it ran.
void count_failure(const observe::CounterStore& counters, std::uint32_t core, ErrorCode code);

}  // namespace opennrt
