/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the C API with mistakes to choose from: buggy_client MODEL.neff good|ignore|leak|crash|hang. It executes a model with up
 * to eight tensors ten times and prints the bytes of the first output.
 */
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 10, TENSORS = 8 };

static nrt_model_t* model;
static nrt_tensor_info_array_t* info;
static nrt_tensor_set_t *inputs, *outputs;
static nrt_tensor_t* tensors[TENSORS];

static NRT_STATUS failed(const char* what, NRT_STATUS status) {
  fprintf(stderr, "error: %s: %s\n", what, nrt_get_status_as_str(status));
  return status;
}

static NRT_STATUS prepare(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) exit(2);
  static char bytes[1 << 22];
  const size_t size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  NRT_STATUS status;
  if ((status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "")) != NRT_SUCCESS) return failed("nrt_init", status);
  if ((status = nrt_load(bytes, size, -1, -1, &model)) != NRT_SUCCESS) return failed("nrt_load", status);
  if ((status = nrt_get_model_tensor_info(model, &info)) != NRT_SUCCESS)
    return failed("nrt_get_model_tensor_info", status);
  if ((status = nrt_allocate_tensor_set(&inputs)) != NRT_SUCCESS ||
      (status = nrt_allocate_tensor_set(&outputs)) != NRT_SUCCESS)
    return failed("nrt_allocate_tensor_set", status);
  for (uint64_t i = 0; i < info->tensor_count && i < TENSORS; ++i) {
    const nrt_tensor_info_t* t = &info->tensor_array[i];
    if ((status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, t->size, t->name, &tensors[i])) !=
            NRT_SUCCESS ||
        (status = nrt_add_tensor_to_tensor_set(t->usage == NRT_TENSOR_USAGE_INPUT ? inputs : outputs, t->name,
                                               tensors[i])) != NRT_SUCCESS)
      return failed(t->name, status);
  }
  return NRT_SUCCESS;
}

static void clean_up(void) {
  if (inputs != NULL) nrt_destroy_tensor_set(&inputs);
  if (outputs != NULL) nrt_destroy_tensor_set(&outputs);
  for (int i = 0; i < TENSORS; ++i)
    if (tensors[i] != NULL) nrt_tensor_free(&tensors[i]);
  if (info != NULL) nrt_free_model_tensor_info(info);
  if (model != NULL) nrt_unload(model);
  nrt_close();
}

static NRT_STATUS one_round(int round, const char* mistake) {
  uint64_t in = 0, out = 0;
  while (info->tensor_array[in].usage != NRT_TENSOR_USAGE_INPUT) ++in;
  while (info->tensor_array[out].usage == NRT_TENSOR_USAGE_INPUT) ++out;
  const size_t room = info->tensor_array[in].size, size = info->tensor_array[out].size;
  unsigned char* bytes = calloc(1, room > size ? room : size);
  for (size_t i = 0; i + 4 <= room; i += 4) memcpy(bytes + i, &(float){(float)(round + (int)(i % 7))}, 4);
  NRT_STATUS status = nrt_tensor_write(tensors[in], bytes, 0, room);
  if (status == NRT_SUCCESS) status = nrt_execute(model, inputs, outputs);
  if (status != NRT_SUCCESS && strcmp(mistake, "crash") == 0) abort();
  while (status != NRT_SUCCESS && strcmp(mistake, "hang") == 0) {
  }
  if (status == NRT_SUCCESS || strcmp(mistake, "ignore") == 0) {
    status = nrt_tensor_read(tensors[out], bytes, 0, size);
    for (size_t i = 0; status == NRT_SUCCESS && i < size; ++i) printf("%02x", bytes[i]);
    printf("\n");
  }
  free(bytes);
  return status == NRT_SUCCESS ? status : failed("nrt_execute", status);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  NRT_STATUS status = prepare(argv[1]);
  for (int round = 0; status == NRT_SUCCESS && round < ROUNDS; ++round) status = one_round(round, argv[2]);
  if (status != NRT_SUCCESS && strcmp(argv[2], "leak") == 0)
    nrt_close(); /* and nothing before it */
  else
    clean_up();
  return status == NRT_SUCCESS ? 0 : 1;
}
