// SPDX-License-Identifier: Apache-2.0
//
// What synchronous and queued executions share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/api/call.h"

namespace opennrt::api {

/// Runs `repeat` inferences to their end, on the replica at `vnc` if given. The status; what failed is in the log.
NRT_STATUS run(const char* function, Model& model, const TensorSet& inputs, const TensorSet& outputs, int repeat,
               std::optional<std::uint32_t> vnc = std::nullopt);

/// The same in the legacy asynchronous mode: checks, queues and returns.
NRT_STATUS enqueue(const char* function, Runtime& runtime, const std::shared_ptr<Model>& model, const TensorSet& inputs,
                   const TensorSet& outputs, int repeat);

}  // namespace opennrt::api
