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

constexpr const char* kNoNccl = "collectives do not go through NCCL and its network plugins here";
constexpr const char* kNoMapping = "Inferentia's device memory is not mapped into processes";

}  // namespace

namespace opennrt::api::native {

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

NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info*) {  // documented to come before nrt_init
  static Once once{"nrt_set_pool_eng_ucode", "the engines of Inferentia take no microcode"};
  return refuse(once);
}

void* nrt_get_libnccl_net(int* err, char* err_msg, size_t err_msg_size) {
  static Once once{"nrt_get_libnccl_net", kNoNccl};
  const NRT_STATUS status = refuse(once);
  if (err != nullptr) *err = static_cast<int>(status);
  if (err_msg != nullptr && err_msg_size > 0) std::snprintf(err_msg, err_msg_size, "%s", kNoNccl);
  return nullptr;
}

}  // namespace opennrt::api::native
