/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One element of a batch of tensor accesses. Layout as in aws-neuron-sdk
 * src/libnrt/include/ndl/neuron_driver_shared_tensor_batch_op.h.
 */
#ifndef OPENNRT_NDL_TENSOR_BATCH_OP_H
#define OPENNRT_NDL_TENSOR_BATCH_OP_H

/* Both are 64 bits wide on every machine.
   The layout is shared by a library, by its clients
   (built at any time, by any compiler) and by whoever hands a batch on to a driver, and so
   neither may depend on the word size of one of them. */

#include <stdint.h>
typedef uint64_t nrt_tensor_batch_offset_t;
typedef uint64_t nrt_tensor_batch_size_t;

/** Plain data: nothing in it is owned. */
typedef struct nrt_tensor_batch_op {
  nrt_tensor_batch_offset_t offset; /**< bytes from the start of the tensor */
  nrt_tensor_batch_size_t size;     /**< bytes to move */
  void* buffer;                     /**< the caller's side of the access */
} nrt_tensor_batch_op_t;

#endif /* OPENNRT_NDL_TENSOR_BATCH_OP_H */
