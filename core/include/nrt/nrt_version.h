/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Version of the library. Layout as in aws-neuron-sdk src/libnrt/include/nrt/nrt_version.h.
 */
#ifndef OPENNRT_NRT_VERSION_H
#define OPENNRT_NRT_VERSION_H

#include <stddef.h>
#include <stdint.h>
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RT_VERSION_DETAIL_LEN 128
#define GIT_HASH_LEN 64

typedef struct nrt_version {
  uint64_t rt_major; /**< of the runtime interface: 2 */
  uint64_t rt_minor;
  uint64_t rt_patch;
  uint64_t rt_maintenance;
  char rt_detail[RT_VERSION_DETAIL_LEN]; /**< "OpenNRT <version>", NUL-terminated */
  char git_hash[GIT_HASH_LEN];           /**< of the source it was built from, or "unknown" */
} nrt_version_t;

/**
 * Fills the first `size` bytes of *ver (at most sizeof(nrt_version_t)), so that older and newer callers both work.
 * NRT_INVALID: ver is NULL or size is 0. May be called at any time from any thread.
 */
NRT_STATUS nrt_get_version(nrt_version_t* ver, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_NRT_VERSION_H */
