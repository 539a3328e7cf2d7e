/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_neff: the flow and the calls of the example application of the Neuron SDK's developer guide
 * (aws-neuron-sdk neuron-runtime/guides/nrt-developer-guide.rst), in our words: map a NEFF, load it on whatever core
 * the runtime
 * chooses, allocate its tensors on the device, fill them from files, execute, write each output to <name>.out.
 *
 *   gcc run_neff.c -o run_neff -lnrt -pthread
 *   run_neff my.neff [input-name input-file]...
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>

typedef struct {
  const char* name;
  void* data;
  size_t size;
} input_file_t;

typedef struct {
  input_file_t* entries;
  int count;
} input_files_t;

#define CHECK(call, what)                                                       \
  do {                                                                          \
    NRT_STATUS status_ = (call);                                                \
    if (status_ != NRT_SUCCESS) {                                               \
      fprintf(stderr, "%s failed: %s\n", what, nrt_get_status_as_str(status_)); \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

static void* map_file(const char* path, size_t* size) {
  struct stat facts;
  int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &facts) != 0) {
    fprintf(stderr, "cannot open %s: %s\n", path, strerror(errno));
    return MAP_FAILED;
  }
  *size = (size_t)facts.st_size;
  void* data = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  return data;
}

static NRT_STATUS allocate_tensors(nrt_tensor_info_array_t* info, nrt_tensor_usage_t usage, nrt_tensor_set_t** set) {
  NRT_STATUS status = nrt_allocate_tensor_set(set);
  for (uint64_t i = 0; status == NRT_SUCCESS && i < info->tensor_count; ++i) {
    nrt_tensor_info_t* one = &info->tensor_array[i];
    nrt_tensor_t* tensor = NULL;
    if (one->usage != usage) continue;
    status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, one->size, one->name, &tensor);
    if (status == NRT_SUCCESS) status = nrt_add_tensor_to_tensor_set(*set, one->name, tensor);
  }
  return status;
}

typedef bool (*tensor_handler)(nrt_tensor_t*, nrt_tensor_info_t*, NRT_STATUS*, void*);

static NRT_STATUS iterate_tensors(nrt_tensor_set_t* set, nrt_tensor_info_array_t* info, nrt_tensor_usage_t usage,
                                  tensor_handler handler, void* argument) {
  NRT_STATUS first = NRT_SUCCESS;
  for (uint64_t i = 0; i < info->tensor_count; ++i) {
    nrt_tensor_info_t* one = &info->tensor_array[i];
    nrt_tensor_t* tensor = NULL;
    NRT_STATUS status;
    if (one->usage != usage) continue;
    status = nrt_get_tensor_from_tensor_set(set, one->name, &tensor);
    if (status == NRT_SUCCESS && !handler(tensor, one, &status, argument)) return status;
    if (first == NRT_SUCCESS) first = status;
  }
  return first;
}

static bool load_input(nrt_tensor_t* tensor, nrt_tensor_info_t* info, NRT_STATUS* status, void* argument) {
  const input_files_t* files = argument;
  for (int i = 0; i < files->count; ++i) {
    if (strcmp(files->entries[i].name, info->name) != 0) continue;
    if (files->entries[i].size != info->size) {
      fprintf(stderr, "input %s has %zu bytes, expected %zu\n", info->name, files->entries[i].size, info->size);
      *status = NRT_INVALID;
      return false;
    }
    *status = nrt_tensor_write(tensor, files->entries[i].data, 0, info->size);
    return *status == NRT_SUCCESS;
  }
  return true;
}

static bool save_output(nrt_tensor_t* tensor, nrt_tensor_info_t* info, NRT_STATUS* status, void* argument) {
  char path[NRT_TENSOR_NAME_MAX + 8];
  void* data = malloc(info->size);
  (void)argument;
  if (data == NULL) {
    *status = NRT_FAILURE;
    return false;
  }
  *status = nrt_tensor_read(tensor, data, 0, info->size);
  if (*status == NRT_SUCCESS) {
    snprintf(path, sizeof(path), "%s.out", info->name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, info->size) != (ssize_t)info->size) *status = NRT_FAILURE;
    if (fd >= 0) close(fd);
  }
  free(data);
  return *status == NRT_SUCCESS;
}

static bool free_tensor(nrt_tensor_t* tensor, nrt_tensor_info_t* info, NRT_STATUS* status, void* argument) {
  (void)info;
  (void)argument;
  nrt_tensor_free(&tensor);
  *status = NRT_SUCCESS;
  return true;
}

int main(int argc, char** argv) {
  nrt_model_t* model = NULL;
  nrt_tensor_set_t *inputs = NULL, *outputs = NULL;
  nrt_tensor_info_array_t* info = NULL;
  input_files_t files = {NULL, 0};
  size_t neff_size = 0;

  if (argc < 2) {
    fprintf(stderr, "usage: %s file.neff [input-name input-file]...\n", argv[0]);
    return 2;
  }
  void* neff = map_file(argv[1], &neff_size);
  if (neff == MAP_FAILED) return 1;
  files.entries = calloc((size_t)argc, sizeof(*files.entries));
  if (files.entries == NULL) return 1;
  for (int i = 2; i + 1 < argc; i += 2) {
    input_file_t* file = &files.entries[files.count];
    file->name = argv[i];
    file->data = map_file(argv[i + 1], &file->size);
    if (file->data == MAP_FAILED) return 1;
    ++files.count;
  }

  CHECK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
  CHECK(nrt_load(neff, neff_size, -1, -1, &model), "nrt_load");
  CHECK(nrt_get_model_tensor_info(model, &info), "nrt_get_model_tensor_info");
  CHECK(allocate_tensors(info, NRT_TENSOR_USAGE_INPUT, &inputs), "allocating inputs");
  CHECK(allocate_tensors(info, NRT_TENSOR_USAGE_OUTPUT, &outputs), "allocating outputs");
  CHECK(iterate_tensors(inputs, info, NRT_TENSOR_USAGE_INPUT, load_input, &files), "loading inputs");
  CHECK(nrt_execute(model, inputs, outputs), "nrt_execute");
  CHECK(iterate_tensors(outputs, info, NRT_TENSOR_USAGE_OUTPUT, save_output, NULL), "saving outputs");

  CHECK(nrt_unload(model), "nrt_unload");
  iterate_tensors(inputs, info, NRT_TENSOR_USAGE_INPUT, free_tensor, NULL);
  iterate_tensors(outputs, info, NRT_TENSOR_USAGE_OUTPUT, free_tensor, NULL);
  nrt_destroy_tensor_set(&inputs);
  nrt_destroy_tensor_set(&outputs);
  nrt_free_model_tensor_info(info);
  for (int i = 0; i < files.count; ++i) munmap(files.entries[i].data, files.entries[i].size);
  free(files.entries);
  munmap(neff, neff_size);
  nrt_close();
  printf("DONE\n");
  return 0;
}
