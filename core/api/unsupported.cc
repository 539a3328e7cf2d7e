// SPDX-License-Identifier: Apache-2.0
//
// What is declared and not served: the documented status (docs/api.md) and one warning per function and process.
#include <atomic>
#include <cstdio>

#include "core/api/call.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

struct Once {
  const char* function;
  const char* reason;
  std::atomic<bool> told{false};
};

void tell(Once& once) {
  if (once.told.exchange(true, std::memory_order_relaxed)) return;
  (void)guarded(once.function, [&]() -> NRT_STATUS {
    observe::log(observe::Component::kNrt, observe::Level::kWarn, once.function, "not supported: {}", once.reason);
    return NRT_SUCCESS;
  });
}

NRT_STATUS refuse(Once& once, ErrorCode code = ErrorCode::kUnsupported) {
  tell(once);
  return to_status(code);
}

/// The same between nrt_init and nrt_close.
NRT_STATUS refuse_open(Once& once, ErrorCode code = ErrorCode::kUnsupported) {
  return while_open_status(once.function, [&](Process&, Runtime&) { return refuse(once, code); });
}

constexpr const char* kNoCollectives = "collective operations are not served in this release";
constexpr const char* kNoMapping = "Inferentia's device memory is not mapped into processes";
constexpr const char* kNoTrace =
    "tracing through this function is not served in this release; OPENNRT_SIM_TRACE records the simulator";

}  // namespace

extern "C" {

NRT_STATUS nrt_load_collectives(const void*, size_t, int32_t, int32_t, uint32_t, uint32_t, nrt_model_t**) {
  static Once once{"nrt_load_collectives", kNoCollectives};
  return refuse_open(once);
}

NRT_STATUS nrt_build_global_comm(int32_t, uint32_t, uint32_t) {
  static Once once{"nrt_build_global_comm", kNoCollectives};
  return refuse_open(once);
}

NRT_STATUS nrt_cc_global_comm_init(uint32_t, uint32_t, uint32_t) {
  static Once once{"nrt_cc_global_comm_init", kNoCollectives};
  return refuse_open(once);
}

NRT_STATUS nrt_barrier(int32_t, uint32_t, uint32_t) {
  static Once once{"nrt_barrier", kNoCollectives};
  return refuse_open(once);
}

NRT_STATUS nrt_all_gather(int32_t, uint32_t, uint32_t, uint32_t, void*, void*) {
  static Once once{"nrt_all_gather", kNoCollectives};
  return refuse_open(once);
}

NRT_STATUS nrt_get_dmabuf_fd(uint64_t, uint64_t, int*) {
  static Once once{"nrt_get_dmabuf_fd", kNoMapping};
  return refuse_open(once);
}

NRT_STATUS nrt_get_hbm_mmap_va(int, int, void**, size_t*) {
  static Once once{"nrt_get_hbm_mmap_va", kNoMapping};
  return refuse_open(once);
}

NRT_STATUS nrt_memcpy_to_device(void*, const void*, size_t) {
  static Once once{"nrt_memcpy_to_device", kNoMapping};
  return refuse_open(once);
}

NRT_STATUS nrt_get_attached_efa_bdf(const void*, char*, size_t*) {
  static Once once{"nrt_get_attached_efa_bdf", "Inf1 has no EFA device next to a Neuron device"};
  // nrt.h of the SDK gives NRT_FAILURE to everything but success and a short buffer.
  return refuse_open(once, ErrorCode::kDeviceGone);
}

NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t*, uint32_t*) {
  static Once once{"nrt_host_device_id_rid_map_get", "Inferentia devices have no routing ids"};
  return refuse_open(once);
}

NRT_STATUS nrt_trace_start(bool) {
  static Once once{"nrt_trace_start", kNoTrace};
  return refuse_open(once);
}

NRT_STATUS nrt_trace_stop(const char*) {
  static Once once{"nrt_trace_stop", kNoTrace};
  return refuse_open(once);
}

NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK, void*) {
  static Once once{"nrt_register_async_exec_callback", "executions are synchronous in this release"};
  return refuse_open(once);
}

NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info*) {  // documented to come before nrt_init
  static Once once{"nrt_set_pool_eng_ucode", "the engines of Inferentia take no microcode"};
  return refuse(once);
}

void* nrt_get_libnccl_net(int* err, char* err_msg, size_t err_msg_size) {
  static Once once{"nrt_get_libnccl_net", kNoCollectives};
  const NRT_STATUS status = refuse(once);
  if (err != nullptr) *err = static_cast<int>(status);
  if (err_msg != nullptr && err_msg_size > 0) std::snprintf(err_msg, err_msg_size, "%s", kNoCollectives);
  return nullptr;
}

}  // extern "C"
