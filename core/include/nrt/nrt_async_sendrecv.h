/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tensors from one NeuronCore to another, of this process or of another one of the machine. Names and values as in aws-neuron-sdk
 * src/libnrt/include/nrt/nrt_async_sendrecv.h; the words are ours and say what OpenNRT does.
 *
 * `lnc` is a core's number in the machine, whatever this process sees of it (NEURON_RT_VISIBLE_CORES). What is not listed is
 * NRT_FAILURE here, NRT_UNINITIALIZED before nrt_init and NRT_CLOSED after nrt_close. Time limits are
 * OPENNRT_COLLECTIVES_TIMEOUT. Thread-safe but for nrt_async_sendrecv_test_request on one request.
 */
#ifndef OPENNRT_NRT_ASYNC_SENDRECV_H
#define OPENNRT_NRT_ASYNC_SENDRECV_H

#include <stdbool.h>
#include <stddef.h>
#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nrt_async_sendrecv_comm nrt_async_sendrecv_comm_t;
typedef struct nrt_async_sendrecv_request nrt_async_sendrecv_request_t;

/** 64. Any time. */
NRT_STATUS nrt_async_sendrecv_get_max_num_communicators_per_lnc(int* num);
/** 64, of one communicator. Any time. */
NRT_STATUS nrt_async_sendrecv_get_max_num_pending_request(int* num);

/** Opens a core of this process for communicators; nobody else may have it open. Not after a close that failed. */
NRT_STATUS nrt_async_sendrecv_init(int lnc);
/**
 * Ends the communicators and requests of the core. NRT_FAILURE, and the core stays unusable until nrt_close, when a communicator was not
 * connected or a request was under way.
 */
NRT_STATUS nrt_async_sendrecv_close(int lnc);

/**
 * A communicator that sends from `lnc` to `peer_lnc`, or, below, one that receives. `peer_ip` must be of this machine. The first
 * connect meets the first accept of the other core, and so on. NRT_RESOURCE: the core has as many as it may.
 */
NRT_STATUS nrt_async_sendrecv_connect(const char* peer_ip, int peer_lnc, int lnc,
                                      nrt_async_sendrecv_comm_t** send_comm);
NRT_STATUS nrt_async_sendrecv_accept(const char* peer_ip, int peer_lnc, int lnc, nrt_async_sendrecv_comm_t** recv_comm);
/** Whether the other end is there. NRT_INVALID_HANDLE. NRT_TIMEOUT: it has not come in time. NRT_FAILURE: it has died or left. */
NRT_STATUS nrt_async_sendrecv_test_comm(nrt_async_sendrecv_comm_t* comm, bool* done);

/**
 * Sends `length` bytes of the tensor, or receives up to `length`, from `offset` on, in the order of the calls. Nothing is copied
 * before the other end does its part: the bytes must not change until the request is done. NRT_INVALID_HANDLE. NRT_RESOURCE: as many
 * requests are pending as may be; one is until nrt_async_sendrecv_test_request has said how it ended.
 */
NRT_STATUS nrt_async_sendrecv_send_tensor(nrt_tensor_t* tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t* send_comm, nrt_async_sendrecv_request_t** request);
NRT_STATUS nrt_async_sendrecv_recv_tensor(nrt_tensor_t* tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t* recv_comm, nrt_async_sendrecv_request_t** request);
/**
 * Whether a request is done, and with how many bytes. Once that, or a failure, has been said, the request is no more.
 * NRT_INVALID_HANDLE. NRT_TIMEOUT: nothing has moved in time; the communicator is of no use any more. NRT_FAILURE: the other end died
 * or left, or what was sent is longer than what was to be received.
 */
NRT_STATUS nrt_async_sendrecv_test_request(nrt_async_sendrecv_request_t* request, bool* done, size_t* size);

/** What has been received is in memory once its request is done; there is nothing left to flush. */
NRT_STATUS nrt_async_sendrecv_flush(int lnc);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_ASYNC_SENDRECV_H */
