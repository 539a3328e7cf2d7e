// SPDX-License-Identifier: Apache-2.0
//
// Debug streams: tensors that a model lists for debugging, on their way to the client that is connected to their
// NeuronCore (nrt/ndebug_stream.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"

namespace opennrt::observe::debug_stream {

/// Whether somebody is connected to the stream of this core. One relaxed load when nobody is connected to any.
bool wanted(std::uint32_t vnc);

/// A tensor as it is after an inference; copied by emit().
struct DebugTensor {
  std::string_view name;
  std::string_view dtype;                ///< "float32", …
  std::span<const std::uint32_t> shape;  ///< outermost first; the stream carries the first 8 extents
  std::span<const std::byte> data;
};
/// Puts the tensor into the core's stream; dropped when nobody is connected or the stream is full. Thread-safe; events of
/// one caller keep their order. Throws nothing but std::bad_alloc.
void emit(std::uint32_t vnc, const DebugTensor& tensor);

/// What a stream holds.
struct Event {
  std::string name, dtype;
  std::array<std::uint64_t, 8> shape{};
  std::vector<std::byte> data;
  std::uint32_t vnc = 0;
};

/// A new connection, known by its file descriptor, which is readable while events wait. `capacity`: events it holds.
/// kInvalidArgument: the core has a client already. kResource: no file descriptor.
Result<int> connect(std::uint32_t vnc, std::uint64_t capacity);
/// kInvalidHandle: not a connection of this process.
Status close(int descriptor);
/// Shows the oldest event to `take` and removes it when that succeeds; false: there is none. kInvalidHandle, or the error of
/// `take`.
Result<bool> read(int descriptor, const std::function<Status(const Event&)>& take);

}  // namespace opennrt::observe::debug_stream
