/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Status codes of the Neuron runtime. Names and values as in aws-neuron-sdk src/libnrt/include/nrt/nrt_status.h; they
 * are an
 * ABI and only ever grow.
 */
#ifndef OPENNRT_NRT_STATUS_H
#define OPENNRT_NRT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  NRT_SUCCESS = 0,
  NRT_FAILURE = 1,            /**< none of the others fits; the log says more */
  NRT_INVALID = 2,            /**< a wrong argument, a broken NEFF, a tensor that does not match the model, or an
                                           operation that this hardware generation does not have */
  NRT_INVALID_HANDLE = 3,     /**< not, or no longer, a model, tensor or tensor set of this library */
  NRT_RESOURCE = 4,           /**< memory, rings or NeuronCores are used up */
  NRT_TIMEOUT = 5,            /**< not done within the time allowed */
  NRT_HW_ERROR = 6,           /**< the device reported a fault */
  NRT_QUEUE_FULL = 7,         /**< too many executions are waiting already */
  NRT_LOAD_NOT_ENOUGH_NC = 9, /**< the model needs more NeuronCores than the process has */
  NRT_UNSUPPORTED_NEFF_VERSION = 10,
  NRT_FAIL_HOST_MEM_ALLOC = 11, /**< historic; never returned */
  NRT_UNINITIALIZED = 13,       /**< before nrt_init */
  NRT_CLOSED = 14,              /**< after nrt_close */
  NRT_QUEUE_EMPTY = 15,         /**< nothing to take from a queue */

  NRT_EXEC_UNIT_UNRECOVERABLE = 101, /**< the core could not be brought back after a fault; it needs a reset */

  NRT_EXEC_BAD_INPUT = 1002,              /**< a tensor given to an execution cannot be used: it has no storage */
  NRT_EXEC_COMPLETED_WITH_NUM_ERR = 1003, /**< done, but a NaN was produced */
  NRT_EXEC_COMPLETED_WITH_ERR = 1004,     /**< done, but with a semaphore, event or parity error */
  NRT_EXEC_NC_BUSY = 1005,                /**< somebody else holds the core */
  NRT_EXEC_OOB = 1006,                    /**< an access went out of bounds */
  NRT_COLL_PENDING = 1100,                /**< a collective operation is not done yet */

  NRT_EXEC_HW_ERR_COLLECTIVES = 1200,       /**< stuck in a collective operation */
  NRT_EXEC_HW_ERR_HBM_UE = 1201,            /**< uncorrectable error in device memory */
  NRT_EXEC_HW_ERR_NC_UE = 1202,             /**< parity error in a memory of the NeuronCore */
  NRT_EXEC_HW_ERR_DMA_ABORT = 1203,         /**< a DMA engine stopped */
  NRT_EXEC_SW_NQ_OVERFLOW = 1204,           /**< a notification queue was full and lost entries */
  NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205, /**< as HBM_UE, and the row can be repaired */
  NRT_NETWORK_PROXY_FAILURE = 1206          /**< the network below a collective operation failed */
} NRT_STATUS;

/**
 * The name of a status, e.g. "NRT_TIMEOUT"; "NRT_UNKNOWN_STATUS" for a value that is none. Never NULL; the text is
 * static.
 * May be called at any time from any thread.
 */
const char* nrt_get_status_as_str(NRT_STATUS status);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_STATUS_H */
