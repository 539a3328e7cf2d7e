/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What public clients of libnrt.so do, each in a process of its own: `client <what> [NEFF]`. The exit code is 0, or the
 * line of this file whose expectation was not met.
 */
#define _POSIX_C_SOURCE 200809L
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(condition)                                                   \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "client.c:%d: not true: %s\n", __LINE__, #condition); \
      exit(__LINE__ < 255 ? __LINE__ : 255);                                \
    }                                                                       \
  } while (0)

/* Opens, says the status and how many cores it has, and stays until its stdin ends. */
static int hold(void) {
  const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_PYTORCH, "2.1", "1.0");
  uint32_t cores = 0;
  if (status == NRT_SUCCESS) EXPECT(nrt_get_visible_nc_count(&cores) == NRT_SUCCESS);
  printf("%d %u\n", (int)status, cores);
  fflush(stdout);
  if (status != NRT_SUCCESS) return (int)status;
  while (getchar() != EOF) {
  }
  nrt_close();
  return 0;
}

static int as_mxnet(void) {
  const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_MXNET, "1.8", "1.0");
  nrt_close();
  return (int)status;
}

/* A framework asks how many cores there are before it decides whether to open the runtime at all. */
static int counts_before_init(void) {
  uint32_t total = 0, visible = 0, again = 0;
  EXPECT(nrt_get_total_nc_count(&total) == NRT_SUCCESS && total >= 4);
  EXPECT(nrt_get_visible_nc_count(&visible) == NRT_SUCCESS && visible == total);
  setenv("NEURON_RT_NUM_CORES", "2", 1);
  EXPECT(nrt_get_visible_nc_count(&visible) == NRT_SUCCESS && visible == 2);
  EXPECT(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
  EXPECT(nrt_get_visible_nc_count(&visible) == NRT_SUCCESS && visible == 2);
  EXPECT(nrt_get_total_nc_count(&again) == NRT_SUCCESS && again == total);
  nrt_close();
  EXPECT(nrt_get_total_nc_count(&again) == NRT_SUCCESS && again == total);
  return 0;
}

/* What a program can ask before it opens the runtime. */
static int facts(void) {
  uint32_t total = 0, visible = 0;
  nrt_instance_info_t info;
  EXPECT(nrt_get_total_nc_count(&total) == NRT_SUCCESS);
  EXPECT(nrt_get_visible_nc_count(&visible) == NRT_SUCCESS);
  EXPECT(nrt_get_instance_info(&info, sizeof(info)) == NRT_SUCCESS);
  printf("%u %u %u %u %s\n", total, visible, info.family, info.size, info.arch_name);
  return 0;
}

struct used {
  nrt_model_t* model;
  nrt_tensor_info_array_t* info;
  nrt_tensor_set_t* set;
  nrt_tensor_t *on_device, *on_host, *slice;
};

static size_t memory_used(void) {
  nrt_vnc_memory_stats_t stats;
  size_t size = 0;
  EXPECT(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &size) == NRT_SUCCESS);
  return stats.bytes_used;
}

static void load(const char* path, struct used* used) {
  static char neff[1 << 20];
  FILE* file = fopen(path, "rb");
  EXPECT(file != NULL);
  const size_t bytes = fread(neff, 1, sizeof(neff), file);
  fclose(file);
  EXPECT(bytes > 0 && bytes < sizeof(neff));
  EXPECT(nrt_load(neff, bytes, 0, 1, &used->model) == NRT_SUCCESS);
  EXPECT(nrt_get_model_tensor_info(used->model, &used->info) == NRT_SUCCESS);
  EXPECT(nrt_allocate_tensor_set(&used->set) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 256, "in", &used->on_device) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, 256, "out", &used->on_host) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate_slice(used->on_device, 0, 64, "part", &used->slice) == NRT_SUCCESS);
  EXPECT(nrt_add_tensor_to_tensor_set(used->set, "in", used->on_device) == NRT_SUCCESS);
  EXPECT(nrt_add_tensor_to_tensor_set(used->set, "out", used->on_host) == NRT_SUCCESS);
}

static void free_all(struct used* used) {
  EXPECT(nrt_free_model_tensor_info(used->info) == NRT_SUCCESS);
  nrt_destroy_tensor_set(&used->set);
  EXPECT(used->set == NULL);
  nrt_tensor_free(&used->on_device);
  nrt_tensor_free(&used->slice);
  nrt_tensor_free(&used->on_host);
  EXPECT(used->on_device == NULL && used->slice == NULL && used->on_host == NULL);
}

/* Frameworks destroy the model first and their tensors when they get to it: after nrt_unload or even nrt_close. */
static int free_late(const char* path, int after_close) {
  struct used used;
  EXPECT(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
  const size_t before = memory_used();
  load(path, &used);
  if (!after_close) {
    char byte = 'x';
    EXPECT(nrt_unload(used.model) == NRT_SUCCESS);
    EXPECT(nrt_tensor_write(used.on_device, &byte, 0, 1) ==
           NRT_SUCCESS); /* a tensor is the caller's, not the model's */
    free_all(&used);
    EXPECT(memory_used() == before);
  }
  nrt_close();
  if (after_close) free_all(&used);
  EXPECT(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS); /* and it goes on */
  load(path, &used);
  nrt_close();
  return 0;
}

static int null_names(void) {
  nrt_tensor_t *device = NULL, *empty = NULL, *slice = NULL, *found = NULL;
  nrt_tensor_set_t* set = NULL;
  EXPECT(nrt_init(NRT_FRAMEWORK_TYPE_TENSORFLOW, NULL, NULL) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, NULL, &device) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate_empty(NULL, &empty) == NRT_SUCCESS);
  EXPECT(nrt_tensor_allocate_slice(device, 0, 32, NULL, &slice) == NRT_SUCCESS);
  EXPECT(nrt_allocate_tensor_set(&set) == NRT_SUCCESS);
  EXPECT(nrt_add_tensor_to_tensor_set(set, NULL, device) == NRT_INVALID); /* here the name is what it is found by */
  EXPECT(nrt_get_tensor_from_tensor_set(set, NULL, &found) == NRT_INVALID);
  nrt_close();
  return 0;
}

static pthread_barrier_t together;
static void* init(void* status) {
  pthread_barrier_wait(&together);
  *(NRT_STATUS*)status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
  return NULL;
}

static int init_from_threads(void) {
  enum { kThreads = 8 };
  pthread_t threads[kThreads];
  NRT_STATUS statuses[kThreads];
  uint32_t visible = 0;
  for (int round = 0; round < 10; ++round) {
    EXPECT(pthread_barrier_init(&together, NULL, kThreads) == 0);
    for (int i = 0; i < kThreads; ++i) EXPECT(pthread_create(&threads[i], NULL, init, &statuses[i]) == 0);
    for (int i = 0; i < kThreads; ++i) EXPECT(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < kThreads; ++i) EXPECT(statuses[i] == NRT_SUCCESS);
    EXPECT(pthread_barrier_destroy(&together) == 0);
    EXPECT(nrt_get_visible_nc_count(&visible) == NRT_SUCCESS && visible >= 4);
    nrt_close(); /* one close for all of them: nothing is counted */
    EXPECT(nrt_allocate_tensor_set(&(nrt_tensor_set_t*){NULL}) == NRT_CLOSED);
  }
  return 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const char* neff = argc > 2 ? argv[2] : "";
  if (strcmp(what, "hold") == 0) return hold();
  if (strcmp(what, "facts") == 0) return facts();
  if (strcmp(what, "as_mxnet") == 0) return as_mxnet();
  if (strcmp(what, "counts_before_init") == 0) return counts_before_init();
  if (strcmp(what, "free_after_unload") == 0) return free_late(neff, 0);
  if (strcmp(what, "free_after_close") == 0) return free_late(neff, 1);
  if (strcmp(what, "null_names") == 0) return null_names();
  if (strcmp(what, "init_from_threads") == 0) return init_from_threads();
  fprintf(stderr, "client: no such thing: '%s'\n", what);
  return 255;
}
