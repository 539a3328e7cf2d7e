/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The Neuron runtime: load models on NeuronCores and run them. Names, values and layouts as in aws-neuron-sdk
 * src/libnrt/include/nrt/nrt.h; the words are ours and say what OpenNRT does.
 *
 * Between nrt_init and nrt_close every function may be called from any thread. Before nrt_init functions return
 * NRT_UNINITIALIZED, after nrt_close NRT_CLOSED, unless their comment says "any time". A handle that is none (any
 * more) gives
 * NRT_INVALID_HANDLE. A failure is logged with the reason. "vnc" is a NeuronCore index within the process, from 0.
 */
#ifndef OPENNRT_NRT_H
#define OPENNRT_NRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ndl/neuron_driver_shared_tensor_batch_op.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NRT_MAJOR_VERSION 2
#define NRT_MINOR_VERSION 0

typedef struct nrt_model nrt_model_t;
typedef struct nrt_tensor nrt_tensor_t;
typedef struct nrt_cc_context nrt_cc_context_t;

typedef enum {
  NRT_TENSOR_PLACEMENT_DEVICE = 0, /**< DRAM of the device */
  NRT_TENSOR_PLACEMENT_HOST = 1,   /**< host memory that the device reaches by DMA, at most 4 MiB (deprecated) */
  NRT_TENSOR_PLACEMENT_VIRTUAL = 2 /**< ordinary host memory */
} nrt_tensor_placement_t;

typedef enum {
  NRT_FRAMEWORK_TYPE_INVALID = 0,
  NRT_FRAMEWORK_TYPE_NO_FW = 1,
  NRT_FRAMEWORK_TYPE_TENSORFLOW = 2,
  NRT_FRAMEWORK_TYPE_PYTORCH = 3,
  NRT_FRAMEWORK_TYPE_MXNET = 4,
  NRT_FRAMEWORK_TYPE_PRECHECK = 5
} nrt_framework_type_t;

enum {
  NRT_INSTANCE_UNKNOWN = 0,
  NRT_INSTANCE_INF1 = 1,
  NRT_INSTANCE_TRN1 = 2,
  NRT_INSTANCE_TRN1N = 3,
  NRT_INSTANCE_INF2 = 4,
  NRT_INSTANCE_TRN2 = 5,
  NRT_INSTANCE_TRN2N = 6,
  NRT_INSTANCE_INF2E = 7,
  NRT_INSTANCE_TRN2P = 8,
  NRT_INSTANCE_TRN2U = 9,
  NRT_INSTANCE_TRN2E = 10,
  NRT_INSTANCE_TRN2EU = 11,
  NRT_INSTANCE_TRN2AC = 12,
  NRT_INSTANCE_TRN2UAC = 13,
  NRT_INSTANCE_TRN3 = 14,
  NRT_INSTANCE_TRN3PDS98 = 15
};

enum {
  NRT_INSTANCE_SIZE_1XL = 0,
  NRT_INSTANCE_SIZE_2XL = 1,
  NRT_INSTANCE_SIZE_4XL = 2,
  NRT_INSTANCE_SIZE_6XL = 3,
  NRT_INSTANCE_SIZE_8XL = 4,
  NRT_INSTANCE_SIZE_24XL = 5,
  NRT_INSTANCE_SIZE_32XL = 6,
  NRT_INSTANCE_SIZE_48XL = 7,
  NRT_INSTANCE_SIZE_3XL = 8,
  NRT_INSTANCE_SIZE_UNKNOWN = 9,
  NRT_INSTANCE_SIZE_NUM = NRT_INSTANCE_SIZE_UNKNOWN
};

typedef enum nrt_op_type {
  NRT_OP_ADD = 0x0,
  NRT_OP_FMA = 0x1,
  NRT_OP_MAX = 0x2,
  NRT_OP_MIN = 0x3,
  NRT_OP_INVALID = 0xF
} nrt_op_type_t;

typedef enum nrt_dtype {
  NRT_DTYPE_UNKNOWN = 0x0,
  NRT_DTYPE_INVALID = 0x0,
  NRT_DTYPE_UINT64 = 0x1,
  NRT_DTYPE_INT8 = 0x2,
  NRT_DTYPE_UINT8 = 0x3,
  NRT_DTYPE_INT16 = 0x4,
  NRT_DTYPE_UINT16 = 0x5,
  NRT_DTYPE_BFLOAT16 = 0x6,
  NRT_DTYPE_FLOAT16 = 0x7,
  NRT_DTYPE_INT32 = 0x8,
  NRT_DTYPE_UINT32 = 0x9,
  NRT_DTYPE_FLOAT32 = 0xA,
  NRT_DTYPE_FP32R = 0xB,
  NRT_DTYPE_INT64 = 0xC,
  NRT_DTYPE_FP8_E3 = 0xD,
  NRT_DTYPE_FP8_E4 = 0xE,
  NRT_DTYPE_FP8_E5 = 0xF
} nrt_dtype_t;

typedef enum nrt_cc_op_type { NRT_CC_ALLGATHER = 0, NRT_CC_ALLREDUCE = 1, NRT_CC_REDUCESCATTER = 2 } nrt_cc_op_type_t;

/* ---- the machine ---- */

typedef struct nrt_instance_info {
  uint32_t family;         /**< NRT_INSTANCE_… */
  uint32_t size;           /**< NRT_INSTANCE_SIZE_… */
  char arch_name[16];      /**< "NDv1" for Inferentia */
  char device_revision[8]; /**< PCI revision, decimal */
} nrt_instance_info_t;

/** Fills the first `instance_info_len` bytes of *info. Any time. NRT_INVALID: info is NULL or the length is 0. */
NRT_STATUS nrt_get_instance_info(nrt_instance_info_t* info, size_t instance_info_len);

/**
 * Takes the NeuronCores that NEURON_RT_VISIBLE_CORES or NEURON_RT_NUM_CORES asks for (all without either) and makes
 * the library
 * ready. The environment is read here, once. The version strings may be NULL. Called again while open: NRT_SUCCESS
 * with a warning,
 * and the first configuration stays. After nrt_close it may be called again.
 * NRT_RESOURCE: cores are taken (the log names the holder). NRT_INVALID: a variable cannot be understood. NRT_FAILURE:
 * no backend.
 */
NRT_STATUS nrt_init(nrt_framework_type_t framework, const char* fw_version, const char* fal_version);

/**
 * Waits for the calls that are under way, unloads all models, gives back device memory and cores. Tensors, tensor sets
 * and tensor
 * information are freed by the caller, before or after; what a tensor held on the device is gone. Any time.
 */
void nrt_close(void);

/** All NeuronCores of the instance, whoever holds them. Any time. (deprecated name) */
NRT_STATUS nrt_get_total_nc_count(uint32_t* vnc_count);
NRT_STATUS nrt_get_total_vnc_count(uint32_t* vnc_count);

/** NeuronCores that this process has, or before nrt_init would ask for. Any time. (deprecated name) */
NRT_STATUS nrt_get_visible_nc_count(uint32_t* vnc_count);
NRT_STATUS nrt_get_visible_vnc_count(uint32_t* vnc_count);

/** Number of a device on the host, given its number as this process sees it. NRT_INVALID: there is no such device. */
NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t* host_device_id);
/** Routing ids by host device. Inferentia has none: NRT_INVALID. */
NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t* count, uint32_t* host_did_to_rid_map);

typedef struct nrt_vnc_memory_stats {
  size_t bytes_used;  /**< device memory of the core in use, by every process */
  size_t bytes_limit; /**< device memory that the core can use */
} nrt_vnc_memory_stats_t;

/**
 * Device memory of a core. Writes the first min(stats_size_in, sizeof) bytes and says in *stats_size_out (may be NULL)
 * how many.
 */
NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t* stats, size_t stats_size_in,
                                    size_t* stats_size_out);

/* ---- models ---- */

/**
 * Loads a NEFF, which is not needed afterwards. A model takes one core for each of its subgraphs, beginning with `vnc`;
 * -1 takes the least loaded ones. `vnc_count`: -1 loads it once; n > 0 loads as many replicas as fit on the cores
 * vnc … vnc + n - 1, among which executions choose. NEURON_RT_EXEC_TIMEOUT, NEURON_RT_VALIDATE_HASH and
 * NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS apply.
 * NRT_INVALID: the NEFF is broken or not for this machine. NRT_UNSUPPORTED_NEFF_VERSION. NRT_LOAD_NOT_ENOUGH_NC: fewer
 * cores
 * than asked for. NRT_RESOURCE: device memory is full.
 */
NRT_STATUS nrt_load(const void* neff_bytes, size_t size, int32_t vnc, int32_t vnc_count, nrt_model_t** model);
/**
 * The same, and the core joins the communicator as `ctx_device_id` of `ctx_device_count` if nrt_build_global_comm has not been called
 * for it; statuses of both. Inferentia's instructions know no collective operations: the model runs as any other one.
 */
NRT_STATUS nrt_load_collectives(const void* neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                                uint32_t ctx_device_id, uint32_t ctx_device_count, nrt_model_t** model);
/** Waits for the model's executions, then frees what it holds. The handle is invalid from the start of the call. */
NRT_STATUS nrt_unload(nrt_model_t* model);
/** NeuronCores that one instance of the model takes. (deprecated) */
NRT_STATUS nrt_get_model_nc_count(const nrt_model_t* model, uint32_t* vnc_count);
NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t* model, uint32_t* vnc_count);

/* ---- tensor sets: tensors by name ---- */

typedef void nrt_tensor_set_t;

NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t** result);
/** Frees the set, not its tensors, and sets *tensor_set to NULL. NULL and stale handles are ignored. Any time. */
void nrt_destroy_tensor_set(nrt_tensor_set_t** tensor_set);
/** Adds or replaces. The set does not own the tensor: once that is freed, using it through the set is
 * NRT_INVALID_HANDLE. */
NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t* tensor_set, const char* tensor_name, nrt_tensor_t* tensor);
/** NRT_FAILURE, and *tensor untouched: there is none of that name. */
NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t* tensor_set, const char* tensor_name, nrt_tensor_t** tensor);

/* ---- execution ---- */

/**
 * Runs one inference and returns when the outputs are written. The sets must hold every input and output of the model
 * by name, with
 * exactly its size; further tensors are ignored. DEVICE tensors must be on a device that runs the model.
 * NRT_INVALID: a tensor is missing, of another size or on another device. NRT_EXEC_BAD_INPUT: a tensor has no storage.
 * NRT_TIMEOUT, NRT_EXEC_…: how the execution failed. The core stays usable unless it is NRT_EXEC_UNIT_UNRECOVERABLE.
 *
 * Legacy asynchronous mode: with NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS > 0 it checks, queues the inference on its core and
 * returns, after waiting while the core has as many in flight. How it ended: nrt_register_async_exec_callback. Reading,
 * writing, setting and copying a tensor wait while a queued inference uses it; it may be freed. nrt_unload and nrt_close wait.
 */
NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set);
/**
 * Runs `repeat_count` (>= 1) inferences. When the model's outputs match its inputs one to one in order, type and
 * shape, the outputs
 * of each inference are the inputs of the next (the input tensors themselves keep their content); else the inputs stay.
 */
NRT_STATUS nrt_execute_repeat(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set,
                              int repeat_count);

/* ---- tensors. Every access is checked: out of range is NRT_INVALID and nothing moves. ---- */

/**
 * `size` > 0 bytes, zeroed where they are host memory. `vnc`: the core (for host memory it may be -1). `name` may be
 * NULL.
 * NRT_RESOURCE: there is not that much.
 */
NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t tensor_placement, int vnc, size_t size, const char* name,
                               nrt_tensor_t** tensor);
/** Frees and sets *tensor to NULL. Storage that slices still use stays. NULL and stale handles are ignored. Any time.
 * */
void nrt_tensor_free(nrt_tensor_t** tensor);
NRT_STATUS nrt_tensor_read(const nrt_tensor_t* tensor, void* buf, size_t offset, size_t size);
NRT_STATUS nrt_tensor_write(nrt_tensor_t* tensor, const void* buf, size_t offset, size_t size);

typedef struct nrt_tensor_batch {
  const nrt_tensor_t* tensor;
  const nrt_tensor_batch_op_t* ops;
  uint32_t num_ops;
} nrt_tensor_batch_t;

/** Many accesses in one call. All are checked before the first byte moves. `unsafe`: without waiting for queued executions
 * that use the tensors (see nrt_execute). */
NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t* batches, uint64_t num_batches, bool unsafe);
NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t* batches, uint64_t num_batches, bool unsafe);

/** Device tensors must be of the same core: else NRT_INVALID. Ranges may overlap within host memory only. */
NRT_STATUS nrt_tensor_copy(const nrt_tensor_t* src, size_t src_offset, nrt_tensor_t* dst, size_t dst_offset,
                           size_t size);
/** Bytes of the tensor; 0 for an empty tensor or an invalid handle. Any time. */
size_t nrt_tensor_get_size(const nrt_tensor_t* tensor);
/** Sets bytes to (unsigned char)value. */
NRT_STATUS nrt_tensor_memset(nrt_tensor_t* tensor, uint64_t offset, int value, size_t size);
/** A tensor without storage; nrt_tensor_attach_buffer gives it some. */
NRT_STATUS nrt_tensor_allocate_empty(const char* name, nrt_tensor_t** tensor);
/** Lets the tensor use the caller's buffer, which must outlive that use, in place of the storage it had. */
NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t* tensor, void* buffer, size_t size);
/** A tensor that is a part of another one and keeps that one's storage alive. */
NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t* tensor_source, size_t offset, size_t size, const char* name,
                                     nrt_tensor_t** tensor_slice);
/** Address in this process; NULL for DEVICE and empty tensors and invalid handles. Any time. */
void* nrt_tensor_get_va(const nrt_tensor_t* tensor);

typedef struct nrt_tensor_device_allocation_info {
  uint64_t physical_address; /**< device address of the tensor's first byte */
  size_t size;               /**< bytes of the whole allocation */
  int hbm_index;             /**< DRAM channel of the device */
} nrt_tensor_device_allocation_info_t;
/** NRT_INVALID: not a DEVICE tensor. */
NRT_STATUS nrt_tensor_get_device_allocation_info(const nrt_tensor_t* tensor,
                                                 nrt_tensor_device_allocation_info_t* alloc_info);

/**
 * Waits until the tensor has been written as an output `expected_completion_count` times since it was made or reset.
 * `timeout` in
 * microseconds; negative: for ever, with a warning in the log after 30 s. NRT_TIMEOUT: not yet. NRT_INVALID: NULL.
 */
NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t* output_tensor, int64_t timeout,
                                              uint64_t expected_completion_count);
/** Sets the count to 0. NRT_INVALID: NULL. */
NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t* output_tensor);

/* ---- what Inferentia does not have. Each logs once that it is not served. ---- */

/** dma-buf of device memory: NRT_INVALID. */
NRT_STATUS nrt_get_dmabuf_fd(uint64_t va, uint64_t size, int* fd);
/** Device memory mapped into the process: NRT_INVALID. */
NRT_STATUS nrt_get_hbm_mmap_va(int device_id, int hbm_idx, void** addr, size_t* size);
/** EFA device next to a Neuron device: NRT_FAILURE. */
NRT_STATUS nrt_get_attached_efa_bdf(const void* va, char* efa_bdf, size_t* len);
/**
 * Makes the core the rank `g_device_id` of `g_device_count`, and waits until all ranks have come: threads of this process, or
 * processes of this machine that have the same NEURON_RT_ROOT_COMM_ID. Again with the same numbers it does nothing. NRT_INVALID: a rank
 * that there is not or that somebody else has, another number of ranks elsewhere, a root on another machine. NRT_TIMEOUT: ranks, which
 * the log names, have not come within OPENNRT_COLLECTIVES_TIMEOUT. NRT_EXEC_HW_ERR_COLLECTIVES: one died.
 */
NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count);

typedef struct nrt_cc_comm {
  uint32_t* replica_group; /**< the participants */
  uint32_t rank;           /**< of this one */
  uint32_t rank_n;         /**< how many */
  uint32_t ctx_device_id;
  uint32_t ctx_device_count;
  uint32_t vnc;
} nrt_cc_comm_t;

typedef struct nrt_tensor_list {
  nrt_tensor_t** tensors;
  size_t num_tensors;
} nrt_tensor_list_t;

/**
 * The same as nrt_build_global_comm, with which it shares the communicator.
 */
NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id, uint32_t g_device_count);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_H */
