/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Profiles: what the engines of a NeuronCore did in an inference, and inspection (system trace, device profiles and samples of
 * the host into a folder). Names and signatures as in aws-neuron-sdk src/libnrt/include/nrt/nrt_profile.h; the words are ours
 * and say what OpenNRT does. General rules: nrt.h.
 *
 * Files are Chrome trace JSON, which Perfetto opens; the vendor's container (NTFF) is closed and not written. docs/profiling.md
 * has names and contents of the files.
 *
 * Everything but nrt_profile_start and nrt_profile_continuous_start may be called at any time; all of it from any thread. An
 * options object is for one thread at a time. A NULL one is NRT_INVALID, a stale one NRT_INVALID_HANDLE.
 */
#ifndef OPENNRT_NRT_PROFILE_H
#define OPENNRT_NRT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Records every inference of a model until nrt_profile_stop with the same file name. Inferences are slower meanwhile.
 * NRT_INVALID: an empty file name, or one that is in use already; NRT_INVALID_HANDLE: not a model.
 */
NRT_STATUS nrt_profile_start(nrt_model_t* model, const char* filename);
/** Ends the recording and writes the file. NRT_INVALID: none has that file name; NRT_RESOURCE: the file cannot be written. */
NRT_STATUS nrt_profile_stop(const char* filename);

/** How a continuous profile is saved: output_dir, by default "./output". */
typedef struct nrt_profile_continuous_options nrt_profile_continuous_options_t;
NRT_STATUS nrt_profile_continuous_options_allocate(nrt_profile_continuous_options_t** options);
NRT_STATUS nrt_profile_continuous_options_free(nrt_profile_continuous_options_t* options);
/** The folder is made when something is saved. NRT_INVALID: NULL or empty. */
NRT_STATUS nrt_profile_continuous_options_set_output_dir(nrt_profile_continuous_options_t* options,
                                                         const char* output_dir);

/**
 * Records every inference of every model; of each NeuronCore the latest is kept until it is saved or another replaces it.
 * `options` may be NULL. NRT_INVALID: it is on already, an inspection records device profiles, or executions are asynchronous
 * (NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS).
 */
NRT_STATUS nrt_profile_continuous_start(nrt_profile_continuous_options_t* options);
/**
 * Writes the latest inference of the core `vnc` to a new file in the folder of `options` (NULL: "./output"). Recording goes
 * on. NRT_INVALID: not started, or nothing has run on that core since; NRT_RESOURCE: the file cannot be written.
 */
NRT_STATUS nrt_profile_continuous_save(uint32_t vnc, nrt_profile_continuous_options_t* options);
/** Ends it; what was not saved is forgotten. NRT_INVALID: not started. */
NRT_STATUS nrt_profile_continuous_stop(void);

/**
 * Begins an inspection with the options of the environment: NEURON_RT_INSPECT_OUTPUT_DIR, _SYSTEM_PROFILE, _DEVICE_PROFILE,
 * _ON_FAIL, _EVENT_FILTER_NC, _EVENT_FILTER_TYPE, _SYS_TRACE_MAX_EVENTS_PER_NC (docs/host-contract.md), read now. With
 * NEURON_RT_INSPECT_ENABLE=1 nrt_init does the same and nrt_close ends it.
 * NRT_INVALID: a malformed variable; one is under way; continuous profiling is on and device profiles are wanted.
 */
NRT_STATUS nrt_inspect_begin(void);
/** Ends the inspection and writes its files. NRT_INVALID: none is under way; NRT_RESOURCE: a file cannot be written. */
NRT_STATUS nrt_inspect_stop(void);

typedef struct nrt_inspect_config nrt_inspect_config_t;
/** A new configuration with the defaults. */
NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t** options);
/**
 * Session 1, folder "./output", all activities, all cores and event types in the system trace, enable_inspect and
 * enable_inspect_on_fail off. The environment has no influence.
 */
NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t* options);
NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t* options);
/** A number that goes into the files' names and contents. */
NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t* options, int session_id);
/** Copied. NRT_INVALID: NULL or empty. */
NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t* options, const char* output_dir);
/** As nrt_sys_trace_config_set_max_events_per_nc; 0 is NRT_INVALID. */
NRT_STATUS nrt_inspect_config_set_sys_trace_max_events_per_nc(nrt_inspect_config_t* options,
                                                              uint64_t sys_trace_max_events_per_nc);
/** As the function of nrt_sys_trace.h for its configuration; so is the next. */
NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(nrt_inspect_config_t* options, uint32_t nc_idx, bool enabled);
NRT_STATUS nrt_inspect_config_set_capture_enabled_for_event_type_string(nrt_inspect_config_t* options,
                                                                        const char* event_type, bool enabled);
/** Whether the enabled activities are recorded in normal execution. */
NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t* options, bool enable_inspect);
/** Whether the device profile of an inference that fails is written, even when enable_inspect is off. */
NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(nrt_inspect_config_t* options, bool enable_inspect_on_fail);
/** As nrt_inspect_begin, with these options (NULL: the defaults) in place of the environment. */
NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t* options);

/**
 * "system_profile", "device_profile", "host_memory", "cpu_util": an array and strings from malloc, the caller's to free
 * (nrt_inspect_config_free_activity_types).
 */
NRT_STATUS nrt_inspect_config_get_all_activity_types(const char*** activity_types, size_t* count);
/** Those that are enabled in a configuration. */
NRT_STATUS nrt_inspect_config_get_enabled_activity_types(nrt_inspect_config_t* options, const char*** activity_types,
                                                         size_t* count);
/** NULL is fine. */
void nrt_inspect_config_free_activity_types(const char** activity_types, size_t count);
/** One of the names above, or "all". NRT_INVALID: another one. */
NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t* options, const char* activity_type, bool enabled);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_PROFILE_H */
