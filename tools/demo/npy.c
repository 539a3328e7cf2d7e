/* SPDX-License-Identifier: Apache-2.0 */
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 65536u
#define MAX_BYTES ((size_t)1 << 30)

static int fail(const char* path, const char* what) {
  fprintf(stderr, "error: %s: %s\n", path, what);
  return -1;
}

/* The value after 'key': in the header, a Python literal of a dictionary. */
static const char* value_of(const char* header, const char* key) {
  const char* at = strstr(header, key);
  if (at == NULL) return NULL;
  at += strlen(key);
  while (isspace((unsigned char)*at) || *at == ':') ++at;
  return at;
}

static int parse_shape(const char* text, npy_array_t* array) {
  if (text == NULL || *text != '(') return -1;
  ++text;
  array->ndim = 0;
  array->count = 1;
  for (;;) {
    while (*text == ' ' || *text == ',') ++text;
    if (*text == ')') return 0;
    if (!isdigit((unsigned char)*text) || array->ndim == NPY_MAX_DIMS) return -1;
    char* end;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || n > MAX_BYTES || (n != 0 && array->count > MAX_BYTES / n)) return -1;
    array->shape[array->ndim++] = (size_t)n;
    array->count *= (size_t)n;
    text = end;
  }
}

static int parse_header(const char* path, const char* header, const char* type, npy_array_t* array) {
  const char* descr = value_of(header, "'descr'");
  if (descr == NULL || *descr != '\'' || strlen(descr) < 5) return fail(path, "the .npy header has no 'descr'");
  memcpy(array->type, descr + 2, 2); /* '<f4': past the quote and the byte order */
  array->type[2] = '\0';
  if ((descr[1] != '<' && descr[1] != '|') || descr[4] != '\'' || strcmp(array->type, type) != 0) {
    fprintf(stderr, "error: %s: element type is %.5s, expected little-endian %s\n", path, descr, type);
    return -1;
  }
  const char* order = value_of(header, "'fortran_order'");
  if (order == NULL || strncmp(order, "False", 5) != 0) return fail(path, "'fortran_order' is not False");
  if (parse_shape(value_of(header, "'shape'"), array) != 0)
    return fail(path, "'shape' is no tuple of up to four sizes below 1 GiB");
  return 0;
}

static int read_open_file(FILE* file, const char* path, const char* type, npy_array_t* array) {
  unsigned char start[12];
  if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0) return fail(path, "is not an .npy file");
  size_t header_size = (size_t)start[8] | (size_t)start[9] << 8;
  if (start[6] == 2) { /* a 4-byte length */
    if (fread(start + 10, 1, 2, file) != 2) return fail(path, "ends within its header");
    header_size |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  } else if (start[6] != 1) {
    return fail(path, "is of an .npy format newer than 2.0");
  }
  if (header_size > MAX_HEADER) return fail(path, "has a header of more than 64 KiB");
  char* header = calloc(header_size + 1, 1);
  if (header == NULL) return fail(path, "not enough memory");
  int result = fread(header, 1, header_size, file) == header_size ? parse_header(path, header, type, array)
                                                                  : fail(path, "ends within its header");
  free(header);
  if (result != 0) return result;
  const size_t bytes = array->count * (size_t)(array->type[1] - '0');
  array->data = malloc(bytes != 0 ? bytes : 1);
  if (array->data == NULL) return fail(path, "not enough memory");
  if (fread(array->data, 1, bytes, file) != bytes) {
    npy_free(array);
    return fail(path, "ends before the last element");
  }
  return 0;
}

int npy_read(const char* path, const char* type, npy_array_t* array) {
  memset(array, 0, sizeof *array);
  FILE* file = fopen(path, "rb");
  if (file == NULL) return fail(path, strerror(errno));
  const int result = read_open_file(file, path, type, array);
  fclose(file);
  return result;
}

void npy_free(npy_array_t* array) {
  free(array->data);
  memset(array, 0, sizeof *array);
}
