/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One element of a batch of tensor accesses. Layout as in aws-neuron-sdk
 * src/libnrt/include/ndl/neuron_driver_shared_tensor_batch_op.h.
 */
#ifndef OPENNRT_NDL_TENSOR_BATCH_OP_H
#define OPENNRT_NDL_TENSOR_BATCH_OP_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef __u64 nrt_tensor_batch_offset_t;
typedef __u64 nrt_tensor_batch_size_t;
#else
#include <stdint.h>
typedef uint64_t nrt_tensor_batch_offset_t;
typedef uint64_t nrt_tensor_batch_size_t;
#endif

typedef struct nrt_tensor_batch_op {
  nrt_tensor_batch_offset_t offset; /**< bytes from the start of the tensor */
  nrt_tensor_batch_size_t size;     /**< bytes to move */
  void* buffer;                     /**< the caller's side of the access */
} nrt_tensor_batch_op_t;

#endif /* OPENNRT_NDL_TENSOR_BATCH_OP_H */
