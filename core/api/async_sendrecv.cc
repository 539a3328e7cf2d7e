// SPDX-License-Identifier: Apache-2.0
//
// Send and receive between NeuronCores (nrt_async_sendrecv.h).
#include "core/api/call.h"
#include "core/collectives/rendezvous.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

/// The header knows few statuses: what is neither a handle, a resource nor a time limit is NRT_FAILURE.
Status narrowed(Status status) {
  if (status) return status;
  switch (status.error().code) {
    case ErrorCode::kInvalidHandle:
    case ErrorCode::kResource:
    case ErrorCode::kTimeout:
    case ErrorCode::kClosed:
      return status;
    default:
      return tl::unexpected(Error{ErrorCode::kState, std::move(status.error().message)});
  }
}

template <typename Body>
NRT_STATUS call(const char* function, Body&& body) noexcept {
  return while_open(function, [&](Process& process, Runtime& runtime) { return narrowed(body(process, runtime)); });
}

NRT_STATUS limit(const char* function, int* num, int value) {
  return any_time(function, [&](Process&) -> Status {
    if (const Status there = narrowed(require(num, "num")); !there) return there;
    *num = value;
    return {};
  });
}

Result<std::uint32_t> number(int lnc, const char* name) {
  if (lnc < 0)
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected the number of a NeuronCore", name, lnc);
  return static_cast<std::uint32_t>(lnc);
}

/// A core of this process by its number in the machine.
Result<std::uint32_t> own_core(const Runtime& runtime, int lnc) {
  std::string cores;
  for (const Core& core : runtime.cores()) {
    if (lnc >= 0 && core.machine_number == static_cast<std::uint32_t>(lnc)) return core.machine_number;
    cores += fmt::format("{}{}", cores.empty() ? "" : ", ", core.machine_number);
  }
  return make_error(ErrorCode::kInvalidArgument, "lnc is {}, expected a NeuronCore of this process: {}", lnc, cores);
}

/// NULL is as little a handle as any other number.
template <typename T>
Result<std::shared_ptr<T>> get(HandleTable<T>& table, const void* handle) {
  auto found = table.get(handle);
  if (!found) return tl::unexpected(Error{ErrorCode::kInvalidHandle, std::move(found.error().message)});
  return found;
}

NRT_STATUS open_channel(const char* function, const char* peer_ip, int peer_lnc, int lnc,
                        nrt_async_sendrecv_comm_t** comm, bool sends) {
  return call(function, [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(peer_ip, "peer_ip"); !there) return there;
    if (const Status there = require(comm, sends ? "send_comm" : "recv_comm"); !there) return there;
    const auto peer = number(peer_lnc, "peer_lnc"), own = own_core(runtime, lnc);
    if (!peer) return tl::unexpected(peer.error());
    if (!own) return tl::unexpected(own.error());
    if (const Status local = collectives::check_local(peer_ip); !local) return with_context(local.error(), "peer_ip");
    auto channel = runtime.sendrecv().connect(*peer, *own, sends);
    if (!channel) return tl::unexpected(channel.error());
    void* handle = process.channels.add(*channel);
    (*channel)->handle = handle;
    *comm = static_cast<nrt_async_sendrecv_comm_t*>(handle);
    return {};
  });
}

/// Checks what both directions check, and hands over the request that `post(channel, tensor)` makes.
template <typename Post>
NRT_STATUS transfer(const char* function, nrt_tensor_t* tensor, std::size_t offset, std::size_t length,
                    nrt_async_sendrecv_comm_t* comm, nrt_async_sendrecv_request_t** request, const char* what,
                    Post&& post) {
  return call(function, [&](Process& process, Runtime&) -> Status {
    const auto channel = get(process.channels, comm);
    if (!channel) return tl::unexpected(channel.error());
    const auto found = get(process.tensors, tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(request, "request"); !there) return there;
    if (const Status fits = (*found)->check_access(offset, tensor, length, what); !fits) return fits;
    if (length > collectives::kMaxBytes) {
      return make_error(ErrorCode::kInvalidArgument, "length is {}, expected at most {}", length,
                        collectives::kMaxBytes);
    }
    auto posted = post(**channel, *found);
    if (!posted) return tl::unexpected(posted.error());
    void* handle = process.transfers.add(*posted);
    (*posted)->handle = handle;
    *request = static_cast<nrt_async_sendrecv_request_t*>(handle);
    return {};
  });
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_async_sendrecv_get_max_num_communicators_per_lnc(int* num) {
  return limit("nrt_async_sendrecv_get_max_num_communicators_per_lnc", num, collectives::kMaxCommunicatorsPerCore);
}

NRT_STATUS nrt_async_sendrecv_get_max_num_pending_request(int* num) {
  return limit("nrt_async_sendrecv_get_max_num_pending_request", num, collectives::kMaxPendingRequests);
}

NRT_STATUS nrt_async_sendrecv_init(int lnc) {
  return call("nrt_async_sendrecv_init", [&](Process&, Runtime& runtime) -> Status {
    const auto core = own_core(runtime, lnc);
    if (!core) return tl::unexpected(core.error());
    return runtime.sendrecv().open(*core);
  });
}

NRT_STATUS nrt_async_sendrecv_close(int lnc) {
  return call("nrt_async_sendrecv_close", [&](Process& process, Runtime& runtime) -> Status {
    const auto core = number(lnc, "lnc");
    if (!core) return tl::unexpected(core.error());
    const collectives::SendRecv::Closed closed = runtime.sendrecv().close(*core);
    for (const void* handle : closed.handles) {
      if (process.channels.remove(handle) == nullptr) process.transfers.remove(handle);
    }
    return closed.status;
  });
}

NRT_STATUS nrt_async_sendrecv_connect(const char* peer_ip, int peer_lnc, int lnc,
                                      nrt_async_sendrecv_comm_t** send_comm) {
  return open_channel("nrt_async_sendrecv_connect", peer_ip, peer_lnc, lnc, send_comm, true);
}

NRT_STATUS nrt_async_sendrecv_accept(const char* peer_ip, int peer_lnc, int lnc,
                                     nrt_async_sendrecv_comm_t** recv_comm) {
  return open_channel("nrt_async_sendrecv_accept", peer_ip, peer_lnc, lnc, recv_comm, false);
}

NRT_STATUS nrt_async_sendrecv_test_comm(nrt_async_sendrecv_comm_t* comm, bool* done) {
  return call("nrt_async_sendrecv_test_comm", [&](Process& process, Runtime&) -> Status {
    const auto channel = get(process.channels, comm);
    if (!channel) return tl::unexpected(channel.error());
    if (const Status there = require(done, "done"); !there) return there;
    const auto connected = (*channel)->test();
    if (!connected) return tl::unexpected(connected.error());
    *done = *connected;
    return {};
  });
}

NRT_STATUS nrt_async_sendrecv_send_tensor(nrt_tensor_t* tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t* send_comm,
                                          nrt_async_sendrecv_request_t** request) {
  return transfer("nrt_async_sendrecv_send_tensor", tensor, offset, length, send_comm, request, "send",
                  [&](collectives::Channel& channel, const std::shared_ptr<Tensor>& from) {
                    return channel.send([from, offset, length]() -> Result<collectives::Bytes> {
                      collectives::Bytes bytes(length);
                      if (const Status read = from->read(bytes.data(), offset, length); !read)
                        return tl::unexpected(read.error());
                      return bytes;
                    });
                  });
}

NRT_STATUS nrt_async_sendrecv_recv_tensor(nrt_tensor_t* tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t* recv_comm,
                                          nrt_async_sendrecv_request_t** request) {
  return transfer(
      "nrt_async_sendrecv_recv_tensor", tensor, offset, length, recv_comm, request, "receive",
      [&](collectives::Channel& channel, const std::shared_ptr<Tensor>& to) {
        return channel.receive(
            [to, offset](std::span<const std::byte> bytes) { return to->write(bytes.data(), offset, bytes.size()); },
            length);
      });
}

NRT_STATUS nrt_async_sendrecv_test_request(nrt_async_sendrecv_request_t* request, bool* done, size_t* size) {
  return call("nrt_async_sendrecv_test_request", [&](Process& process, Runtime&) -> Status {
    const auto found = get(process.transfers, request);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(done, "done"); !there) return there;
    if (const Status there = require(size, "size"); !there) return there;
    const auto result = collectives::Channel::test(*found);
    *done = result && result->has_value();
    *size = *done ? **result : 0;
    if (!result || *done) process.transfers.remove(request);
    if (!result) return tl::unexpected(result.error());
    return {};
  });
}

NRT_STATUS nrt_async_sendrecv_flush(int lnc) {
  return call("nrt_async_sendrecv_flush", [&](Process&, Runtime& runtime) -> Status {
    const auto core = own_core(runtime, lnc);
    if (!core) return tl::unexpected(core.error());
    return runtime.sendrecv().check_open(*core);  // a request is done once its bytes are in memory
  });
}

}  // namespace opennrt::api::native
