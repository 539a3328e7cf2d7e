/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library with a few functions of the API, called through its own procedure linkage table and through data, as
 * another build of the runtime may do. It answers with values that nobody else gives.
 */
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_version.h>
#include <stdlib.h>
#include <string.h>

#ifndef STUB_MAJOR
#define STUB_MAJOR 2
#endif
#define PUBLIC __attribute__((visibility("default")))

static NRT_ASYNC_EXEC_STATUS_CALLBACK callback;
static void* callback_params;
static int inits;

PUBLIC NRT_STATUS nrt_get_version(nrt_version_t* ver, size_t size) {
  nrt_version_t version;
  memset(&version, 0, sizeof(version));
  version.rt_major = STUB_MAJOR;
  version.rt_minor = 77;
  version.rt_patch = 5;
  strcpy(version.rt_detail, "stub");
  strcpy(version.git_hash, "stubhash");
  memcpy(ver, &version, size < sizeof(version) ? size : sizeof(version));
  return NRT_SUCCESS;
}

#ifndef STUB_WITHOUT_INIT
PUBLIC NRT_STATUS nrt_init(nrt_framework_type_t framework, const char* fw_version, const char* fal_version) {
  (void)fw_version;
  (void)fal_version;
  ++inits;
  return (int)framework == NRT_FRAMEWORK_TYPE_PYTORCH ? NRT_HW_ERROR : NRT_SUCCESS;
}
#endif
PUBLIC void nrt_close(void) {
  inits -= 100;
}
PUBLIC NRT_STATUS nrt_get_total_nc_count(uint32_t* count) {
  *count = (uint32_t)(4000 + inits);
  return NRT_SUCCESS;
}

#ifdef STUB_EAGER
/* A call before anybody could have set its references right: status and count as the caller got them. */
static NRT_STATUS eager_status;
static uint32_t eager_count = 5;
__attribute__((constructor)) static void eager(void) {
  eager_status = nrt_get_total_nc_count(&eager_count);
}
PUBLIC NRT_STATUS nrt_get_visible_nc_count(uint32_t* count) {
  *count = eager_count;
  return eager_status;
}
#endif

PUBLIC size_t nrt_tensor_get_size(const nrt_tensor_t* tensor) {
  (void)tensor;
  return 4711;
}
PUBLIC void* nrt_tensor_get_va(const nrt_tensor_t* tensor) {
  return (char*)(size_t)tensor + 1;
}
/* References that the dynamic linker resolves by name: in data that is relocated, and in the table for calls. */
PUBLIC size_t (*stub_table[])(const nrt_tensor_t*) = {nrt_tensor_get_size};
PUBLIC NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set) {
  (void)input_set;
  (void)output_set;
  if (callback != NULL) callback(callback_params, 1, 2, 3, NRT_EXEC_OOB);
  if (nrt_tensor_get_size((const nrt_tensor_t*)model) != 4711) return NRT_FAILURE;
  if (stub_table[0]((const nrt_tensor_t*)model) != 4711) return NRT_INVALID;
  return (NRT_STATUS)1999; /* a status of the future */
}
PUBLIC NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK to, void* params) {
  callback = to;
  callback_params = params;
  return NRT_SUCCESS;
}
PUBLIC NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc) {
  return vnc == 3 ? NRT_QUEUE_EMPTY : NRT_TIMEOUT;
}
