/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Debug streams: after an inference, the tensors that a model lists for debugging come out of its NeuronCore's stream. Names,
 * values and layouts as in aws-neuron-sdk src/libnrt/include/nrt/ndebug_stream.h; the words are ours and say what OpenNRT
 * does. General rules: nrt.h.
 *
 * A stream belongs to the process that has the core. One client at a time connects to it; what happens before is not kept.
 * A stream holds NEURON_RT_DEBUG_STREAM_BUFFER_SIZE events (65536 by default); an event that finds it full is dropped, and the
 * first drop is logged as a warning.
 */
#ifndef OPENNRT_NDEBUG_STREAM_H
#define OPENNRT_NDEBUG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ndebug_stream_event_type {
  NDEBUG_STREAM_EVENT_TYPE_INVALID = 0,
  NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ = 1 /**< the payload is a ndebug_stream_payload_debug_tensor_read_t */
} ndebug_stream_event_type_t;

typedef struct ndebug_stream_event_header {
  uint64_t data_size; /**< bytes of the payload */
  uint32_t type;      /**< ndebug_stream_event_type_t */
  char reserved[52];
} ndebug_stream_event_header_t;

/* A flexible array member is C, and an extension that every C++ compiler of this platform has. */
#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
typedef struct ndebug_stream_payload_debug_tensor_read {
  char prefix[512];          /**< the tensor's name, NUL-terminated, cut when it is longer */
  uint32_t logical_nc_id;    /**< core as the process counts them */
  uint32_t pipe;             /**< 0 */
  char tensor_dtype[16];     /**< "float32", … NUL-terminated */
  uint64_t tensor_shape[8];  /**< extents, outermost first; 0 behind the last */
  uint64_t tensor_data_size; /**< bytes of tensor_data */
  char reserved0[416];
  char tensor_data[];
} ndebug_stream_payload_debug_tensor_read_t;
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/**
 * Connects to the stream of a core of this process. `*stream_fd` is readable (poll, select, epoll) while events wait; for
 * everything else there are the functions here. The connection outlives nrt_close and ends by
 * nrt_debug_client_connect_close.
 * NRT_INVALID: no such core, a NULL pointer, or somebody is connected already. NRT_RESOURCE: no file descriptor is left.
 */
NRT_STATUS nrt_debug_client_connect(int logical_nc_idx, int* stream_fd);

/** Ends the connection and closes its file descriptor; events that wait are lost. May be called at any time. */
void nrt_debug_client_connect_close(int stream_fd);

/**
 * Takes the oldest event. `*payload` is malloc'ed and the caller's to free. May be called at any time, from any thread.
 * NRT_QUEUE_EMPTY: nothing waits. NRT_INVALID_HANDLE: not a connection. NRT_INVALID: a NULL pointer. NRT_RESOURCE: no memory
 * for the payload; the event stays.
 */
NRT_STATUS nrt_debug_client_read_one_event(int stream_fd, ndebug_stream_event_header_t* header, void** payload);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NDEBUG_STREAM_H */
