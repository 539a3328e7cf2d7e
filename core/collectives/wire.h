// SPDX-License-Identifier: Apache-2.0
//
// Requests and answers as bytes between processes of one machine: a head of fixed size, a JSON object, data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "core/collectives/operation.h"

namespace opennrt::collectives {

/// Carried by one message. `data` is shared: one result goes to many.
struct Frame {
  std::string meta;  ///< JSON
  SharedBytes data;  ///< never nullptr once received
};

/// What a frame begins with, in the byte order of the machine.
struct FrameHead {
  std::uint32_t magic = 0;
  std::uint32_t meta_bytes = 0;
  std::uint64_t data_bytes = 0;
};
FrameHead head_of(const Frame& frame);
/// nullopt, or what is wrong with it. `limit`: of data.
std::optional<std::string> check(const FrameHead& head, std::uint64_t limit);

Frame encode(Request request);
/// kInvalidArgument: it is no request.
Result<Request> decode_request(const Frame& frame);

struct Answer {
  std::uint64_t id = 0;
  Result<SharedBytes> result;
};
Frame encode(const Answer& answer);
Result<Answer> decode_answer(const Frame& frame);

/// The last words of a process that closes.
Frame goodbye();
bool is_goodbye(const Frame& frame);

/// JSON objects of other protocols over the same frames; nullopt: `meta` is no object.
std::optional<nlohmann::json> object_of(const Frame& frame);

}  // namespace opennrt::collectives
