// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/wire.h"

#include <nlohmann/json.hpp>

namespace opennrt::collectives {
namespace {

using nlohmann::json;

constexpr std::uint32_t kMagic = 0x31434e4f;  // "ONC1"
constexpr std::uint32_t kMaxMeta = 1 << 16;   // a group of kMaxRanks takes about 5 KiB
constexpr const char* kGoodbye = R"({"type":"goodbye"})";

}  // namespace

FrameHead head_of(const Frame& frame) {
  return {kMagic, static_cast<std::uint32_t>(frame.meta.size()), frame.data == nullptr ? 0 : frame.data->size()};
}

std::optional<std::string> check(const FrameHead& head, std::uint64_t limit) {
  if (head.magic != kMagic) return fmt::format("it begins with {:#x}, expected {:#x}", head.magic, kMagic);
  if (head.meta_bytes > kMaxMeta)
    return fmt::format("its object has {} bytes, expected up to {}", head.meta_bytes, kMaxMeta);
  if (head.data_bytes > limit) return fmt::format("it has {} bytes of data, expected up to {}", head.data_bytes, limit);
  return std::nullopt;
}

Frame encode(Request request) {
  const Operation& operation = request.operation;
  const json meta = {{"type", static_cast<std::uint32_t>(request.type)},
                     {"id", request.id},
                     {"rank", request.rank},
                     {"count", request.count},
                     {"world", request.world},
                     {"waited_s", request.waited_s},
                     {"kind", static_cast<std::uint32_t>(operation.kind)},
                     {"lane", static_cast<std::uint32_t>(operation.lane)},
                     {"dtype", operation.dtype},
                     {"op", operation.op},
                     {"group", operation.group}};
  return {meta.dump(), std::make_shared<const Bytes>(std::move(request.data))};
}

Result<Request> decode_request(const Frame& frame) {
  try {
    const json meta = json::parse(frame.meta);
    Request request;
    const auto type = meta.at("type").get<std::uint32_t>();
    const auto kind = meta.at("kind").get<std::uint32_t>(), lane = meta.at("lane").get<std::uint32_t>();
    if (type > static_cast<std::uint32_t>(Request::Type::kGiveUp) || kind > static_cast<std::uint32_t>(Kind::kReduce) ||
        lane > static_cast<std::uint32_t>(Lane::kQueue)) {
      return make_error(ErrorCode::kInvalidArgument, "type {}, kind {}, lane {} is no request", type, kind, lane);
    }
    request.type = static_cast<Request::Type>(type);
    request.id = meta.at("id").get<std::uint64_t>();
    request.rank = meta.at("rank").get<std::uint32_t>();
    request.count = meta.at("count").get<std::uint32_t>();
    request.world = meta.at("world").get<std::uint64_t>();
    request.waited_s = meta.at("waited_s").get<std::uint32_t>();
    request.operation.kind = static_cast<Kind>(kind);
    request.operation.lane = static_cast<Lane>(lane);
    request.operation.dtype = meta.at("dtype").get<int>();
    request.operation.op = meta.at("op").get<int>();
    request.operation.group = meta.at("group").get<std::vector<std::uint32_t>>();
    if (frame.data != nullptr) request.data = *frame.data;
    return request;
  } catch (const json::exception& bad) {
    return make_error(ErrorCode::kInvalidArgument, "it is no request: {}", bad.what());
  }
}

Frame encode(const Answer& answer) {
  json meta = {{"type", "answer"}, {"id", answer.id}};
  if (answer.result) return {meta.dump(), *answer.result};
  meta["code"] = static_cast<int>(answer.result.error().code);
  meta["message"] = answer.result.error().message;
  return {meta.dump(), nullptr};
}

Result<Answer> decode_answer(const Frame& frame) {
  try {
    const json meta = json::parse(frame.meta);
    if (meta.at("type") != "answer") return make_error(ErrorCode::kInvalidArgument, "it is no answer");
    Answer answer{meta.at("id").get<std::uint64_t>(), frame.data};
    if (meta.contains("code")) {
      const int code = meta.at("code").get<int>();
      // What a hub says; another number comes from another version of this library.
      constexpr ErrorCode kKnown[] = {ErrorCode::kInvalidArgument, ErrorCode::kTimeout, ErrorCode::kPeerLost,
                                      ErrorCode::kResource};
      ErrorCode known = ErrorCode::kInternal;
      for (const ErrorCode candidate : kKnown) {
        if (static_cast<int>(candidate) == code) known = candidate;
      }
      answer.result = tl::unexpected(Error{known, meta.at("message").get<std::string>()});
    }
    return answer;
  } catch (const json::exception& bad) {
    return make_error(ErrorCode::kInvalidArgument, "it is no answer: {}", bad.what());
  }
}

Frame goodbye() {
  return {kGoodbye, nullptr};
}

bool is_goodbye(const Frame& frame) {
  return frame.meta == kGoodbye;
}

std::optional<nlohmann::json> object_of(const Frame& frame) {
  json parsed = json::parse(frame.meta, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  return parsed;
}

}  // namespace opennrt::collectives
