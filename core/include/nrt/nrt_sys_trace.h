/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The system trace: what the runtime does and when, kept in one ring per NeuronCore and fetched as JSON. Names and signatures as
 * in aws-neuron-sdk src/libnrt/include/nrt/nrt_sys_trace.h; the words are ours and say what OpenNRT does. General rules: nrt.h.
 * docs/profiling.md lists the event types and the keys of the JSON.
 *
 * Everything here may be called at any time from any thread; an options object is for one thread at a time. A NULL or stale
 * options object is refused with NRT_INVALID or NRT_INVALID_HANDLE; functions without a status log it and do nothing.
 */
#ifndef OPENNRT_NRT_SYS_TRACE_H
#define OPENNRT_NRT_SYS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nrt_sys_trace_config nrt_sys_trace_config_t;

/** A new configuration with the defaults: every core, every event type, 1000000 events per core. */
NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t** options);
void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t* options);
void nrt_sys_trace_config_free(nrt_sys_trace_config_t* options);
/** Events that each ring holds before the oldest is overwritten; at least 1, less is taken as 1. */
void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t* options, uint64_t max_events_per_nc);
/** A core that is disabled has no ring. Cores as the process counts them; numbers beyond its last are accepted. */
void nrt_sys_trace_config_set_capture_enabled_for_nc(nrt_sys_trace_config_t* options, uint32_t nc_idx, bool enabled);
/** NRT_INVALID: not a name that nrt_sys_trace_get_event_types returns. */
NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(nrt_sys_trace_config_t* options,
                                                                   const char* event_type, bool enabled);

/** The names of all event types: an array and strings from malloc, the caller's to free (nrt_sys_trace_free_event_types). */
NRT_STATUS nrt_sys_trace_get_event_types(const char*** event_types, size_t* count);
/** Frees an array of names and the names; NULL is fine. */
void nrt_sys_trace_free_event_types(const char** event_types, size_t count);
/** Those that are enabled in a configuration; to be freed likewise. None: count 0 and an array that may be NULL. */
NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(nrt_sys_trace_config_t* options, const char*** event_types,
                                                        size_t* count);

/**
 * Begins to record. NULL: the defaults. The configuration is copied. NRT_INVALID: it records already.
 * The trace goes on over nrt_close and nrt_init.
 */
NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t* options);
/** Ends it and forgets what has not been fetched. NRT_INVALID: it does not record. */
NRT_STATUS nrt_sys_trace_stop(void);

typedef struct nrt_sys_trace_fetch_options nrt_sys_trace_fetch_options_t;
/** New options with the defaults: all events of all cores. */
NRT_STATUS nrt_sys_trace_fetch_options_allocate(nrt_sys_trace_fetch_options_t** options);
void nrt_sys_trace_fetch_options_set_defaults(nrt_sys_trace_fetch_options_t* options);
void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t* options);
/** At most that many events of each core, oldest first; the others stay for the next fetch. */
void nrt_sys_trace_fetch_options_set_max_events_per_nc(nrt_sys_trace_fetch_options_t* options,
                                                       uint64_t max_events_per_nc);
/** Only this core's events. */
void nrt_sys_trace_fetch_options_set_nc_idx(nrt_sys_trace_fetch_options_t* options, uint64_t nc_idx);

/**
 * Takes recorded events out as a NUL-terminated JSON text, to be freed by nrt_sys_trace_buffer_free. `*written_size`: bytes of
 * the text without the NUL. `options` NULL: the defaults. An event is fetched once. NRT_INVALID: a NULL pointer, or
 * nothing records. NRT_RESOURCE: no memory for the text; the events are lost.
 */
NRT_STATUS nrt_sys_trace_fetch_events(char** buffer, size_t* written_size,
                                      const nrt_sys_trace_fetch_options_t* options);
/** NULL is fine. */
void nrt_sys_trace_buffer_free(char* buffer);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_SYS_TRACE_H */
