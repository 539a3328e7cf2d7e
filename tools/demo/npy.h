/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays out of numpy's .npy files (format 1.0 and 2.0, little-endian, C order), in plain C. */
#ifndef OPENNRT_DEMO_NPY_H
#define OPENNRT_DEMO_NPY_H

#include <stddef.h>

#define NPY_MAX_DIMS 4

typedef struct npy_array {
  char type[4]; /* numpy's name without the byte order: "f4", "u1" */
  size_t ndim;
  size_t shape[NPY_MAX_DIMS];
  size_t count; /* elements */
  void* data;   /* malloc'ed; aligned for any type */
} npy_array_t;

/* Reads a file whose elements must be of `type` ("f4" or "u1"). Returns 0, or -1 after one line on stderr that says what is wrong. */
int npy_read(const char* path, const char* type, npy_array_t* array);
void npy_free(npy_array_t* array);

#endif
