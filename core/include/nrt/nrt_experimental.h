/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Further functions of the Neuron runtime. Names, values and layouts as in aws-neuron-sdk
 * src/libnrt/include/nrt/nrt_experimental.h; the words are ours and say what OpenNRT does. General rules: nrt.h.
 */
#ifndef OPENNRT_NRT_EXPERIMENTAL_H
#define OPENNRT_NRT_EXPERIMENTAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nrt_tensor_usage { NRT_TENSOR_USAGE_INPUT = 0, NRT_TENSOR_USAGE_OUTPUT = 1 } nrt_tensor_usage_t;

#define NRT_TENSOR_NAME_MAX 256

typedef struct nrt_tensor_info {
  char name[NRT_TENSOR_NAME_MAX]; /**< NUL-terminated */
  nrt_tensor_usage_t usage;
  size_t size; /**< bytes */
  nrt_dtype_t dtype;
  uint32_t* shape; /**< `ndim` extents, outermost first; freed with the array */
  uint32_t ndim;
} nrt_tensor_info_t;

/* A flexible array member is C, and an extension that every C++ compiler of this platform has. */
#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
typedef struct nrt_tensor_info_array {
  uint64_t tensor_count;
  nrt_tensor_info_t tensor_array[];
} nrt_tensor_info_array_t;
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/**
 * Called when an execution of the legacy asynchronous mode has ended (nrt_execute), on a thread of the library, for one core in
 * the order of the calls. `model_id`: the number of the model, the same for each of its executions. `job_id`: how manieth
 * queued execution of core `vnc` it is, from 1. `status`: what nrt_execute would have returned. Its tensors are not in use
 * any more. The callback may call the library, but what would have to wait for the callback's own core is refused: nrt_execute
 * with NRT_QUEUE_FULL, access to tensors in use and draining with NRT_FAILURE, and nrt_close does nothing.
 */
typedef void (*NRT_ASYNC_EXEC_STATUS_CALLBACK)(void* params, uint32_t model_id, uint32_t vnc, uint64_t job_id,
                                               NRT_STATUS status);

/** Inputs, then outputs, of a model. The caller frees the array with nrt_free_model_tensor_info, also after
 * nrt_unload. */
NRT_STATUS nrt_get_model_tensor_info(nrt_model_t* model, nrt_tensor_info_array_t** tensor_info);
/** Replicas of the model; as many threads as that can execute at the same time. (deprecated) */
NRT_STATUS nrt_get_model_instance_count(nrt_model_t* model, uint32_t* instance_count);
/** Any time. NRT_INVALID: NULL. */
NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t* tensor_info);

typedef struct nrt_model_info {
  uint32_t vnc; /**< core of the model's first replica */
} nrt_model_info_t;
/** Writes the first min(info_size_in, sizeof) bytes and says in *info_size_out (may be NULL) how many. */
NRT_STATUS nrt_get_model_info(const nrt_model_t* model, nrt_model_info_t* info, size_t info_size_in,
                              size_t* info_size_out);

/**
 * Registers what is called when a queued execution ends, in place of the one before; NULL: the default again, which leaves
 * failures to the log and to nrt_async_drain_queued_execs. Without the legacy mode it is never called.
 */
NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params);
/**
 * Waits until what is queued on the core has ended, callbacks included. When no callback is registered: the status of the first
 * execution of the core that has failed since the last call.
 */
NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc);

/**
 * Records the system trace of all cores (nrt_sys_trace.h), with the allocation and freeing of memory when `trace_mem`.
 * NRT_INVALID: it records already.
 */
NRT_STATUS nrt_trace_start(bool trace_mem);
/**
 * Writes what was recorded as Chrome trace JSON, which Perfetto opens, and ends it. May be called at any time. NRT_INVALID: NULL or
 * empty, or nothing records; NRT_RESOURCE: the file cannot be written (recording has ended all the same).
 */
NRT_STATUS nrt_trace_stop(const char* filename);

/**
 * Returns when all ranks have called it. Joins first where nrt_build_global_comm has not been called. Further statuses:
 * NRT_EXEC_HW_ERR_COLLECTIVES, when a rank, which the log names, died, left or did not come in time (then join again); NRT_INVALID,
 * when ranks call different operations.
 */
NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count);
/**
 * The `rank_input_size` bytes at `input` of every rank, in the order of the ranks, to `output` of each. The size must be the same
 * everywhere. Statuses as of nrt_barrier.
 */
NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count, uint32_t rank_input_size,
                          void* input, void* output);

/* ---- not served. Each logs once that it is not and returns NRT_INVALID unless it says otherwise. ---- */

/** NULL; *err becomes NRT_INVALID and err_msg says why (both may be NULL). */
void* nrt_get_libnccl_net(int* err, char* err_msg, size_t err_msg_size);

typedef struct nrt_ucode_img {
  uint8_t* bin;
  size_t size;
} nrt_ucode_img;

typedef struct nrt_ucode_info {
  nrt_ucode_img iram;
  nrt_ucode_img dram;
} nrt_ucode_info;

NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info* ucode_info);
NRT_STATUS nrt_memcpy_to_device(void* dest, const void* src, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_EXPERIMENTAL_H */
