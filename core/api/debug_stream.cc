// SPDX-License-Identifier: Apache-2.0
//
// Debug streams: connect, read, close.
#include "core/observe/debug_stream.h"

#include <cstdlib>

#include "core/api/call.h"

using namespace opennrt;
using namespace opennrt::api;
namespace debug_stream = opennrt::observe::debug_stream;

namespace {

/// Header and malloc'ed payload of an event.
Status pack(const debug_stream::Event& event, ndebug_stream_event_header_t& header, void** payload) {
  using Payload = ndebug_stream_payload_debug_tensor_read_t;
  const std::size_t bytes = sizeof(Payload) + event.data.size();
  void* block = std::calloc(1, bytes);
  if (block == nullptr)
    return make_error(ErrorCode::kResource, "{} bytes for the payload of \"{}\" are not available", bytes, event.name);
  auto* tensor = static_cast<Payload*>(block);
  event.name.copy(tensor->prefix, sizeof(tensor->prefix) - 1);
  tensor->logical_nc_id = event.vnc;
  event.dtype.copy(tensor->tensor_dtype, sizeof(tensor->tensor_dtype) - 1);
  for (std::size_t i = 0; i < event.shape.size(); ++i) tensor->tensor_shape[i] = event.shape[i];
  tensor->tensor_data_size = event.data.size();
  if (!event.data.empty())
    std::memcpy(static_cast<std::byte*>(block) + sizeof(Payload), event.data.data(), event.data.size());
  header = {};
  header.data_size = bytes;
  header.type = NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ;
  *payload = block;
  return {};
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_debug_client_connect(int logical_nc_idx, int* stream_fd) {
  return while_open("nrt_debug_client_connect", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(stream_fd, "stream_fd"); !there) return there;
    if (const auto core = runtime.core(logical_nc_idx, "logical_nc_idx"); !core) return tl::unexpected(core.error());
    const auto descriptor = debug_stream::connect(static_cast<std::uint32_t>(logical_nc_idx),
                                                  runtime.machine().configuration().debug_stream_events);
    if (!descriptor) return tl::unexpected(descriptor.error());
    *stream_fd = *descriptor;
    return {};
  });
}

void nrt_debug_client_connect_close(int stream_fd) {
  (void)any_time("nrt_debug_client_connect_close", [&](Process&) { return debug_stream::close(stream_fd); });
}

NRT_STATUS nrt_debug_client_read_one_event(int stream_fd, ndebug_stream_event_header_t* header, void** payload) {
  constexpr const char* kFunction = "nrt_debug_client_read_one_event";
  return guarded(kFunction, [&]() -> NRT_STATUS {
    if (const Status there = require(header, "header"); !there) return fail(kFunction, there.error());
    if (const Status there = require(payload, "payload"); !there) return fail(kFunction, there.error());
    const auto taken =
        debug_stream::read(stream_fd, [&](const debug_stream::Event& event) { return pack(event, *header, payload); });
    if (!taken) return fail(kFunction, taken.error());
    return *taken ? NRT_SUCCESS : NRT_QUEUE_EMPTY;
  });
}

}  // namespace opennrt::api::native
