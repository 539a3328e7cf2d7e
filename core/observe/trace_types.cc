// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>

#include "core/observe/trace.h"

namespace opennrt::observe::trace {
namespace {

// aws-neuron-sdk tools/neuron-explorer/environment-variables.rst and archive/profiler/neuron-profiler-2-0-beta-user-guide.rst name
// the hardware types, device_exec, model_load and some functions. Behind our own types: the functions of core/api/nrt.map, but for
// those that steer tracing (a test compares).
constexpr TypeInfo kTypes[] = {
    {"nc_exec_running", true},
    {"timestamp_sync_point", true},
    {"numerical_err", true},
    {"nrt_model_switch", true},
    {"device_exec", false},
    {"model_load", false},
    {"hw_notify", true},
    // Documented, and known to filters; nothing here raises them.
    {"cc_running", true},
    {"cc_exec_barrier", true},
    {"nrt_add_tensor_to_tensor_set", false},
    {"nrt_all_gather", false},
    {"nrt_allocate_tensor_set", false},
    {"nrt_async_drain_queued_execs", false},
    {"nrt_async_sendrecv_accept", false},
    {"nrt_async_sendrecv_close", false},
    {"nrt_async_sendrecv_connect", false},
    {"nrt_async_sendrecv_flush", false},
    {"nrt_async_sendrecv_get_max_num_communicators_per_lnc", false},
    {"nrt_async_sendrecv_get_max_num_pending_request", false},
    {"nrt_async_sendrecv_init", false},
    {"nrt_async_sendrecv_recv_tensor", false},
    {"nrt_async_sendrecv_send_tensor", false},
    {"nrt_async_sendrecv_test_comm", false},
    {"nrt_async_sendrecv_test_request", false},
    {"nrt_barrier", false},
    {"nrt_build_global_comm", false},
    {"nrt_cc_global_comm_init", false},
    {"nrt_close", false},
    {"nrt_destroy_tensor_set", false},
    {"nrt_execute", false},
    {"nrt_execute_repeat", false},
    {"nrt_free_model_tensor_info", false},
    {"nrt_get_attached_efa_bdf", false},
    {"nrt_get_dmabuf_fd", false},
    {"nrt_get_hbm_mmap_va", false},
    {"nrt_get_instance_info", false},
    {"nrt_get_libnccl_net", false},
    {"nrt_get_model_info", false},
    {"nrt_get_model_instance_count", false},
    {"nrt_get_model_nc_count", false},
    {"nrt_get_model_tensor_info", false},
    {"nrt_get_model_vnc_count", false},
    {"nrt_get_tensor_from_tensor_set", false},
    {"nrt_get_total_nc_count", false},
    {"nrt_get_total_vnc_count", false},
    {"nrt_get_version", false},
    {"nrt_get_visible_nc_count", false},
    {"nrt_get_visible_vnc_count", false},
    {"nrt_get_vnc_memory_stats", false},
    {"nrt_host_device_id_get", false},
    {"nrt_host_device_id_rid_map_get", false},
    {"nrt_init", false},
    {"nrt_load", false},
    {"nrt_load_collectives", false},
    {"nrt_memcpy_to_device", false},
    {"nrt_register_async_exec_callback", false},
    {"nrt_set_pool_eng_ucode", false},
    {"nrt_tensor_allocate", false},
    {"nrt_tensor_allocate_empty", false},
    {"nrt_tensor_allocate_slice", false},
    {"nrt_tensor_attach_buffer", false},
    {"nrt_tensor_check_output_completion", false},
    {"nrt_tensor_copy", false},
    {"nrt_tensor_free", false},
    {"nrt_tensor_get_device_allocation_info", false},
    {"nrt_tensor_get_size", false},
    {"nrt_tensor_get_va", false},
    {"nrt_tensor_memset", false},
    {"nrt_tensor_read", false},
    {"nrt_tensor_read_batch", false},
    {"nrt_tensor_reset_output_completion", false},
    {"nrt_tensor_write", false},
    {"nrt_tensor_write_batch", false},
    {"nrt_unload", false},
    {"nrta_cc_prepare", false},
    {"nrta_cc_schedule", false},
    {"nrta_error_tracker_create", false},
    {"nrta_error_tracker_destroy", false},
    {"nrta_error_tracker_get_list", false},
    {"nrta_execute_schedule", false},
    {"nrta_get_completion_handle", false},
    {"nrta_get_sequence", false},
    {"nrta_is_completed", false},
    {"nrta_tensor_copy", false},
    {"nrta_tensor_read", false},
    {"nrta_tensor_write", false},
};
static_assert(std::size(kTypes) <= kMaxTypes);
static_assert(kTypes[kNcExecRunning].name == "nc_exec_running" && kTypes[kModelLoad].name == "model_load");

}  // namespace

std::span<const TypeInfo> event_types() {
  return kTypes;
}

std::optional<Type> type_of(std::string_view name) {
  static const auto* const index = [] {
    auto* made = new std::unordered_map<std::string_view, Type>;
    for (std::size_t i = 0; i < std::size(kTypes); ++i) made->emplace(kTypes[i].name, static_cast<Type>(i));
    return made;
  }();
  const auto found = index->find(name);
  return found == index->end() ? std::nullopt : std::optional(found->second);
}

}  // namespace opennrt::observe::trace
