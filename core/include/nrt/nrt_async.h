/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Explicit asynchronous execution. Names, values and layouts as in aws-neuron-sdk src/libnrt/include/nrt/nrt_async.h; the
 * words are ours and say what OpenNRT does. General rules: nrt.h.
 *
 * Each NeuronCore ("lnc", an index within the process) has execution units: one kind for each value of nrta_xu_t, each with
 * queues 0 … n-1: two for the three tensor units, one for compute, one for collectives. A queue runs its requests one after
 * another in the order in which they were scheduled, on a thread of the library; different queues run at the same time and
 * nothing orders them but the caller.
 *
 * A function that schedules checks everything that can be known then, gives the request a sequence and returns; what is
 * wrong then is its own status and nothing is scheduled. How the request ends is in the error tracker before the request
 * counts as completed. A queue holds at most 1024 requests that are not completed: further ones are NRT_QUEUE_FULL. A core
 * that could not be brought back refuses to be scheduled: NRT_EXEC_UNIT_UNRECOVERABLE.
 *
 * Tensors, models, tensor sets and error trackers may be freed, and sets changed, while a request that uses them is
 * outstanding: it keeps the tensors that it was scheduled with. Buffers of the caller, attached ones too, must stay until the
 * request is completed. nrt_unload waits for the requests that its cores have; nrt_close takes no more, runs those that have
 * been scheduled, and then all completion handles are readable.
 */
#ifndef OPENNRT_NRT_ASYNC_H
#define OPENNRT_NRT_ASYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Execution units. */
typedef enum {
  NRTA_XU_TENSOR_READ = 0,
  NRTA_XU_TENSOR_WRITE = 1,
  NRTA_XU_TENSOR_OP = 2, /**< copies between tensors */
  NRTA_XU_COMPUTE = 3,
  NRTA_XU_COLLECTIVES = 4,
  NRTA_XU_TYPE_NUM = 5
} nrta_xu_t;

/** A request: the id of its queue in the upper 16 bits, its number within the queue, from 1, in the lower 48. */
typedef uint64_t nrta_seq_t;
/** A queue of an execution unit of a core. */
typedef uint16_t nrta_xu_id_t;

#define NRTA_SEQ_NUM_MAX ((1ull << 48) - 1)
#define NRTA_SEQ_NUM_MASK NRTA_SEQ_NUM_MAX
#define NRTA_SEQ_GET_SEQ_NUM(seq_id) ((seq_id)&NRTA_SEQ_NUM_MASK)
#define NRTA_SEQ_GET_XU_ID(seq_id) ((seq_id) >> 48)

typedef struct nrta_error {
  nrta_seq_t seq_id;   /**< the request that failed */
  uint64_t error_code; /**< its NRT_STATUS */
} nrta_error_t;

typedef struct nrta_error_tracker nrta_error_tracker_t;

/* ---- scheduling. `err` and `req_sequence` must not be NULL. NRT_INVALID: a queue that there is not, a tracker of another
 * core, or an argument that the synchronous function would refuse. ---- */

/**
 * Writes `size` bytes of `buf` into the tensor at `offset`, on TENSOR_WRITE of the core of the tensor. For tensors of no core
 * (host memory allocated for none, attached buffers) that is the core of `err`, here and below.
 */
NRT_STATUS nrta_tensor_write(nrt_tensor_t* tensor, const void* buf, uint64_t offset, uint64_t size, int queue,
                             nrta_error_tracker_t* err, nrta_seq_t* req_sequence);
/** Reads `size` bytes of the tensor at `offset` into `buf`, on TENSOR_READ of the core of the tensor. */
NRT_STATUS nrta_tensor_read(void* buf, nrt_tensor_t* tensor, uint64_t offset, uint64_t size, int queue,
                            nrta_error_tracker_t* err, nrta_seq_t* req_sequence);
/** Copies between tensors of the same core, on its TENSOR_OP. */
NRT_STATUS nrta_tensor_copy(nrt_tensor_t* src, uint64_t src_offset, nrt_tensor_t* dst, uint64_t dst_offset,
                            uint64_t size, int queue, nrta_error_tracker_t* err, nrta_seq_t* req_sequence);
/**
 * Runs one inference as nrt_execute does, on COMPUTE of the core of `err`, which must be one that the model is loaded on.
 * `queue` must be 0. What nrt_execute would refuse is refused here with the same status.
 */
NRT_STATUS nrta_execute_schedule(nrt_model_t* model, const nrt_tensor_set_t* input, nrt_tensor_set_t* output, int queue,
                                 nrta_error_tracker_t* err, nrta_seq_t* req_sequence);
/**
 * Gets a collective operation ready: `cc_op` over the participants of `comm`, with `op` where it reduces. *cc_ctx is for one
 * nrta_cc_schedule, which frees it.
 */
NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t* comm, nrt_tensor_list_t* input, nrt_tensor_list_t* output, nrt_dtype_t dtype,
                           nrt_op_type_t op, nrt_cc_op_type_t cc_op, nrt_cc_context_t** cc_ctx);
/** Runs what was prepared on COLLECTIVES of the communicator's core and sets *cc_ctx to NULL. `queue` must be 0. */
NRT_STATUS nrta_cc_schedule(nrt_cc_context_t** cc_ctx, int queue, nrta_error_tracker_t* err, nrta_seq_t* req_sequence);

/* ---- completion ---- */

/** NRT_SUCCESS, and in *is_completed whether the request has ended, however it did. NRT_INVALID: there is no such request. */
NRT_STATUS nrta_is_completed(nrta_seq_t seq, bool* is_completed);
/** The request of a queue that was completed last; number 0 when there is none yet. Of one queue all earlier ones are, too. */
NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue, nrta_seq_t* seq);
/**
 * A file descriptor that becomes, and stays, readable when the request is completed; at once when it is already. For poll
 * and its kin; the caller closes it, at any time. NRT_INVALID: there is no such request. NRT_RESOURCE: no descriptor is left.
 */
NRT_STATUS nrta_get_completion_handle(nrta_seq_t seq, int* fd);

/* ---- errors ---- */

/** A list of the errors of requests on one core, empty at first. */
NRT_STATUS nrta_error_tracker_create(uint32_t lnc_idx, nrta_error_tracker_t** error_tracker);
/** NULL and stale handles are ignored. Any time. */
void nrta_error_tracker_destroy(nrta_error_tracker_t* error_tracker);
/**
 * Takes the errors since the last call out of the tracker, in the order in which they came. *list stays valid until the next
 * call for this tracker or its destruction, and is not to be freed. Any time: what failed in nrt_close can be read after it.
 */
NRT_STATUS nrta_error_tracker_get_list(nrta_error_tracker_t* error_tracker, const nrta_error_t** list,
                                       size_t* error_count);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_ASYNC_H */
