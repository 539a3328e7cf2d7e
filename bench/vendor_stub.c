/* SPDX-License-Identifier: Apache-2.0 */
/* What vendor_forwarding forwards to: functions that do nothing. */
#include <nrt/nrt.h>
#include <nrt/nrt_version.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

PUBLIC NRT_STATUS nrt_get_version(nrt_version_t* ver, size_t size) {
  memset(ver, 0, size);
  ver->rt_major = NRT_MAJOR_VERSION;
  return NRT_SUCCESS;
}
PUBLIC NRT_STATUS nrt_init(nrt_framework_type_t framework, const char* fw_version, const char* fal_version) {
  (void)framework;
  (void)fw_version;
  (void)fal_version;
  return NRT_SUCCESS;
}
PUBLIC void nrt_close(void) {}
PUBLIC NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set) {
  (void)model;
  (void)input_set;
  (void)output_set;
  return NRT_SUCCESS;
}
