// SPDX-License-Identifier: Apache-2.0
//
// Collectives on tensors, on the execution unit for them.
#include <algorithm>

#include "core/api/call.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

Result<Collective::Tensors> tensors_of(Process& process, const nrt_tensor_list_t* list, const char* name) {
  if (const Status there = require(list, name); !there) return tl::unexpected(there.error());
  if (list->num_tensors > 0) {
    if (const Status there = require(list->tensors, "tensors"); !there) return with_context(there.error(), name);
  }
  Collective::Tensors tensors;
  for (std::size_t i = 0; i < list->num_tensors; ++i) {
    auto tensor = process.tensors.get(list->tensors[i]);
    if (!tensor) return with_context(tensor.error(), fmt::format("{} {}", name, i));
    tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

/// The replica group, checked against the communicator that the core is in.
Result<std::vector<std::uint32_t>> group_of(const Runtime& runtime, const nrt_cc_comm_t& comm) {
  const auto core = runtime.core(comm.vnc, "comm.vnc");
  if (!core) return tl::unexpected(core.error());
  const auto member = runtime.communicator().membership(comm.vnc);
  if (!member) {
    return make_error(ErrorCode::kState, "nc{} has no communicator, expected nrt_cc_global_comm_init first", comm.vnc);
  }
  if (comm.ctx_device_id != member->rank || comm.ctx_device_count != member->count) {
    return make_error(ErrorCode::kInvalidArgument,
                      "comm.ctx_device_id is {} of {}, expected what nc{} has joined as, {} of {}", comm.ctx_device_id,
                      comm.ctx_device_count, comm.vnc, member->rank, member->count);
  }
  if (const Status there = require(comm.replica_group, "comm.replica_group"); !there)
    return tl::unexpected(there.error());
  if (comm.rank_n == 0 || comm.rank_n > member->count || comm.rank >= comm.rank_n) {
    return make_error(ErrorCode::kInvalidArgument,
                      "comm.rank is {} and comm.rank_n is {}, expected a rank below a size of 1 to {}", comm.rank,
                      comm.rank_n, member->count);
  }
  std::vector<std::uint32_t> group(comm.replica_group, comm.replica_group + comm.rank_n);
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i] >= member->count || std::find(group.begin(), group.begin() + static_cast<std::ptrdiff_t>(i),
                                               group[i]) != group.begin() + static_cast<std::ptrdiff_t>(i)) {
      return make_error(ErrorCode::kInvalidArgument,
                        "comm.replica_group[{}] is {}, expected different devices from 0 to {}", i, group[i],
                        member->count - 1);
    }
  }
  if (group[comm.rank] != member->rank) {
    return make_error(ErrorCode::kInvalidArgument, "comm.replica_group[{}] is {}, expected comm.ctx_device_id, {}",
                      comm.rank, group[comm.rank], member->rank);
  }
  return group;
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t* comm, nrt_tensor_list_t* input, nrt_tensor_list_t* output, nrt_dtype_t dtype,
                           nrt_op_type_t op, nrt_cc_op_type_t cc_op, nrt_cc_context_t** cc_ctx) {
  return while_open("nrta_cc_prepare", [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(comm, "comm"); !there) return there;
    if (const Status there = require(cc_ctx, "cc_ctx"); !there) return there;
    auto group = group_of(runtime, *comm);
    if (!group) return tl::unexpected(group.error());
    auto inputs = tensors_of(process, input, "input");
    if (!inputs) return tl::unexpected(inputs.error());
    auto outputs = tensors_of(process, output, "output");
    if (!outputs) return tl::unexpected(outputs.error());
    auto prepared = Collective::prepare(comm->vnc, comm->rank, std::move(*group), std::move(*inputs),
                                        std::move(*outputs), raw(dtype), raw(op), raw(cc_op));
    if (!prepared) return tl::unexpected(prepared.error());
    *cc_ctx = static_cast<nrt_cc_context_t*>(process.collectives.add(std::move(*prepared)));
    return {};
  });
}

NRT_STATUS nrta_cc_schedule(nrt_cc_context_t** cc_ctx, int queue, nrta_error_tracker_t* err, nrta_seq_t* req_sequence) {
  constexpr const char* kFunction = "nrta_cc_schedule";
  return while_open(kFunction, [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(cc_ctx, "cc_ctx"); !there) return there;
    if (const Status there = require(req_sequence, "req_sequence"); !there) return there;
    auto errors = process.error_trackers.get(err);
    if (!errors) return with_context(errors.error(), "err");
    const auto found = process.collectives.get(*cc_ctx);
    if (!found) return tl::unexpected(found.error());
    if (!(*found)->claim()) {
      return make_error(ErrorCode::kInvalidHandle, "collective context {} is being scheduled by another thread",
                        fmt::ptr(*cc_ctx));
    }
    const auto seq = runtime.units().schedule((*found)->vnc(), Unit::kCollectives, queue,
                                              [collective = *found, &communicator = runtime.communicator()]() -> int {
                                                const Status done = collective->run(communicator);
                                                return done ? NRT_SUCCESS : fail(kFunction, done.error());
                                              },
                                              std::move(*errors));
    if (!seq) {
      (*found)->unclaim();
      return tl::unexpected(seq.error());
    }
    process.collectives.remove(*cc_ctx);
    *cc_ctx = nullptr;
    *req_sequence = *seq;
    return {};
  });
}

}  // namespace opennrt::api::native
