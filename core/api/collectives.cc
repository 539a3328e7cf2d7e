// SPDX-License-Identifier: Apache-2.0
//
// Collectives that return when they are done: communicators, barrier, all-gather.
#include <algorithm>
#include <cstring>

#include "core/api/call.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

/// The core is, or becomes, that rank; waits for all others.
Status join(Runtime& runtime, std::int64_t vnc, std::uint32_t rank, std::uint32_t count) {
  const auto core = runtime.core(vnc, "vnc");
  if (!core) return tl::unexpected(core.error());
  if (count == 0 || count > collectives::kMaxRanks) {
    return make_error(ErrorCode::kInvalidArgument, "g_device_count is {}, expected 1 to {}", count,
                      collectives::kMaxRanks);
  }
  if (rank >= count) {
    return make_error(ErrorCode::kInvalidArgument, "g_device_id is {}, expected 0 to {}", rank, count - 1);
  }
  return runtime.communicator().join(static_cast<std::uint32_t>(vnc), rank, count);
}

/// Where a model's ranks are counted among those of the communicator.
Status join_for_model(Runtime& runtime, std::uint32_t vnc, std::uint32_t rank, std::uint32_t count) {
  const auto member = runtime.communicator().membership(vnc);
  if (!member) return runtime.communicator().join(vnc, rank, count);
  if (count > member->count) {
    return make_error(ErrorCode::kInvalidArgument,
                      "ctx_device_count is {}, expected at most the {} of nrt_build_global_comm", count, member->count);
  }
  return {};
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count) {
  return while_open("nrt_build_global_comm",
                    [&](Process&, Runtime& runtime) { return join(runtime, vnc, g_device_id, g_device_count); });
}

NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id, uint32_t g_device_count) {
  return while_open("nrt_cc_global_comm_init",
                    [&](Process&, Runtime& runtime) { return join(runtime, vnc, g_device_id, g_device_count); });
}

NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count) {
  return while_open("nrt_barrier", [&](Process&, Runtime& runtime) -> Status {
    if (const Status joined = join(runtime, vnc, g_device_id, g_device_count); !joined) return joined;
    const auto met = runtime.communicator().run(static_cast<std::uint32_t>(vnc), {}, {});
    if (!met) return tl::unexpected(met.error());
    return {};
  });
}

NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count, uint32_t rank_input_size,
                          void* input, void* output) {
  return while_open("nrt_all_gather", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(input, "input"); !there) return there;
    if (const Status there = require(output, "output"); !there) return there;
    if (rank_input_size == 0) {
      return make_error(ErrorCode::kInvalidArgument, "rank_input_size is 0, expected at least 1 byte");
    }
    if (const Status joined = join(runtime, vnc, g_device_id, g_device_count); !joined) return joined;
    const auto* bytes = static_cast<const std::byte*>(input);
    collectives::Operation operation;
    operation.kind = collectives::Kind::kGather;
    const auto all = runtime.communicator().run(static_cast<std::uint32_t>(vnc), std::move(operation),
                                                collectives::Bytes(bytes, bytes + rank_input_size));
    if (!all) return tl::unexpected(all.error());
    const std::uint64_t expected = std::uint64_t{rank_input_size} * g_device_count;
    if ((*all)->size() != expected) {
      return make_error(ErrorCode::kInternal, "the result has {} bytes, expected {}", (*all)->size(), expected);
    }
    std::memcpy(output, (*all)->data(), expected);
    return {};
  });
}

NRT_STATUS nrt_load_collectives(const void* neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                                uint32_t ctx_device_id, uint32_t ctx_device_count, nrt_model_t** model) {
  return while_open("nrt_load_collectives", [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(neff_bytes, "neff_bytes"); !there) return there;
    if (const Status there = require(model, "model"); !there) return there;
    if (ctx_device_count == 0 || ctx_device_count > collectives::kMaxRanks || ctx_device_id >= ctx_device_count) {
      return make_error(ErrorCode::kInvalidArgument,
                        "ctx_device_id is {} and ctx_device_count is {}, expected a device below a count of 1 to {}",
                        ctx_device_id, ctx_device_count, collectives::kMaxRanks);
    }
    auto loaded = runtime.load({static_cast<const std::byte*>(neff_bytes), size}, vnc, vnc_count);
    if (!loaded) return tl::unexpected(loaded.error());
    if (const Status joined = join_for_model(runtime, (*loaded)->vnc(), ctx_device_id, ctx_device_count); !joined) {
      runtime.unload(**loaded);
      return joined;
    }
    *model = static_cast<nrt_model_t*>(process.models.add(std::move(*loaded)));
    return {};
  });
}

}  // namespace opennrt::api::native
