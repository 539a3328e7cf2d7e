/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classifies handwritten digits on a NeuronCore, as any application of the Neuron runtime would: nothing of OpenNRT is used but
 * the public C API. Which device stands behind it is decided by the environment (OPENNRT_BACKEND).
 */
#define _POSIX_C_SOURCE 200809L
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "npy.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, PER_ROW = 6 };
#define ALLOWED_LOSS 0.005 /* accuracy that the chip may lose against the float model: 0.5 points */

typedef struct dataset {
  npy_array_t images, labels, reference; /* [n,1,8,8] f4, [n] u1, [n,10] f4 */
  size_t count;
} dataset_t;

typedef struct answers {
  float* logits; /* [n][CLASSES] */
  double seconds;
} answers_t;

/* The model and everything that is made for it; all NULL before and after. */
typedef struct classifier {
  nrt_model_t* model;
  nrt_tensor_info_array_t* info;
  nrt_tensor_set_t *inputs, *outputs;
  nrt_tensor_t** tensors; /* one per entry of `info` */
  nrt_tensor_t *image, *logits;
} classifier_t;

static int failed(const char* what, NRT_STATUS status) {
  fprintf(stderr, "error: %s: %s\n", what, nrt_get_status_as_str(status));
  return -1;
}

static int read_dataset(const char* folder, dataset_t* data) {
  static const char* const names[] = {"heldout_images.npy", "heldout_labels.npy", "heldout_logits.npy"};
  static const char* const types[] = {"f4", "u1", "f4"};
  npy_array_t* const arrays[] = {&data->images, &data->labels, &data->reference};
  for (int i = 0; i < 3; ++i) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= (int)sizeof path) {
      fprintf(stderr, "error: the name of the data folder is too long\n");
      return -1;
    }
    if (npy_read(path, types[i], arrays[i]) != 0) return -1;
  }
  data->count = data->labels.count;
  if (data->count == 0 || data->images.count != data->count * PIXELS ||
      data->reference.count != data->count * CLASSES) {
    fprintf(stderr, "error: %s: %zu labels, %zu pixels and %zu reference logits do not belong together\n", folder,
            data->count, data->images.count, data->reference.count);
    return -1;
  }
  return 0;
}

static void* read_model_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  char* bytes = NULL;
  long length = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) length = ftell(file);
  if (length > 0 && fseek(file, 0, SEEK_SET) == 0) bytes = malloc((size_t)length);
  if (bytes != NULL && fread(bytes, 1, (size_t)length, file) != (size_t)length) {
    free(bytes);
    bytes = NULL;
  }
  if (file != NULL) fclose(file);
  if (bytes == NULL) fprintf(stderr, "error: cannot read %s\n", path);
  *size = (size_t)length;
  return bytes;
}

/* A tensor for every input and output that the model names. */
static int bind_tensors(classifier_t* c) {
  NRT_STATUS status = nrt_get_model_tensor_info(c->model, &c->info);
  if (status != NRT_SUCCESS) return failed("nrt_get_model_tensor_info", status);
  c->tensors = calloc(c->info->tensor_count, sizeof *c->tensors);
  if (c->tensors == NULL) return failed("tensors", NRT_FAIL_HOST_MEM_ALLOC);
  if ((status = nrt_allocate_tensor_set(&c->inputs)) != NRT_SUCCESS ||
      (status = nrt_allocate_tensor_set(&c->outputs)) != NRT_SUCCESS)
    return failed("nrt_allocate_tensor_set", status);
  for (uint64_t i = 0; i < c->info->tensor_count; ++i) {
    const nrt_tensor_info_t* t = &c->info->tensor_array[i];
    const bool input = t->usage == NRT_TENSOR_USAGE_INPUT;
    status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, t->size, t->name, &c->tensors[i]);
    if (status != NRT_SUCCESS) return failed(t->name, status);
    status = nrt_add_tensor_to_tensor_set(input ? c->inputs : c->outputs, t->name, c->tensors[i]);
    if (status != NRT_SUCCESS) return failed(t->name, status);
    if (input && t->size == PIXELS * sizeof(float) && t->dtype == NRT_DTYPE_FLOAT32) c->image = c->tensors[i];
    if (!input && strcmp(t->name, "logits") == 0 && t->size == CLASSES * sizeof(float) && t->dtype == NRT_DTYPE_FLOAT32)
      c->logits = c->tensors[i];
  }
  if (c->image == NULL || c->logits == NULL) {
    fprintf(stderr, "error: the model needs a float32 input of %d values and a float32 output 'logits' of %d\n", PIXELS,
            CLASSES);
    return -1;
  }
  return 0;
}

static int load_classifier(const char* path, classifier_t* c) {
  size_t size;
  void* neff = read_model_file(path, &size);
  if (neff == NULL) return -1;
  const NRT_STATUS status = nrt_load(neff, size, -1, -1, &c->model);
  free(neff);
  return status == NRT_SUCCESS ? bind_tensors(c) : failed(path, status);
}

static void unload_classifier(classifier_t* c) {
  if (c->inputs != NULL) nrt_destroy_tensor_set(&c->inputs);
  if (c->outputs != NULL) nrt_destroy_tensor_set(&c->outputs);
  for (uint64_t i = 0; c->tensors != NULL && i < c->info->tensor_count; ++i)
    if (c->tensors[i] != NULL) nrt_tensor_free(&c->tensors[i]);
  free(c->tensors);
  if (c->info != NULL) nrt_free_model_tensor_info(c->info);
  if (c->model != NULL) nrt_unload(c->model);
  memset(c, 0, sizeof *c);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int classify(classifier_t* c, const dataset_t* data, answers_t* answers) {
  const float* pixels = data->images.data;
  const double begin = now();
  for (size_t i = 0; i < data->count; ++i) {
    NRT_STATUS status = nrt_tensor_write(c->image, pixels + i * PIXELS, 0, PIXELS * sizeof(float));
    if (status != NRT_SUCCESS) return failed("nrt_tensor_write", status);
    status = nrt_execute(c->model, c->inputs, c->outputs);
    if (status != NRT_SUCCESS) return failed("nrt_execute", status);
    status = nrt_tensor_read(c->logits, answers->logits + i * CLASSES, 0, CLASSES * sizeof(float));
    if (status != NRT_SUCCESS) return failed("nrt_tensor_read", status);
  }
  answers->seconds = now() - begin;
  return 0;
}

static int best(const float* logits) {
  int best_class = 0;
  for (int k = 1; k < CLASSES; ++k)
    if (logits[k] > logits[best_class]) best_class = k;
  return best_class;
}

/* Softmax of the best class: how sure the network is. */
static double confidence(const float* logits) {
  const int top = best(logits);
  double sum = 0;
  for (int k = 0; k < CLASSES; ++k) sum += exp((double)logits[k] - (double)logits[top]);
  return 1 / sum;
}

static void print_pixel(float value, bool unicode) {
  static const char* const blocks[] = {"  ", "░░", "▒▒", "▓▓", "██"};
  static const char ramp[] = " .:-=+*#%@";
  const float v = value < 0 ? 0 : value > 1 ? 1 : value;
  if (unicode) {
    fputs(blocks[(int)(v * 4 + 0.5f)], stdout);
  } else {
    const char c = ramp[(int)(v * 9 + 0.5f)];
    putchar(c);
    putchar(c);
  }
}

/* Up to PER_ROW images side by side, a caption with label and answer below each. */
static void print_images(const dataset_t* data, const answers_t* answers, const size_t* which, size_t count,
                         bool unicode) {
  const float* pixels = data->images.data;
  const uint8_t* labels = data->labels.data;
  for (int y = 0; y < SIDE; ++y) {
    for (size_t i = 0; i < count; ++i) {
      fputs(i == 0 ? "  " : "   ", stdout);
      for (int x = 0; x < SIDE; ++x) print_pixel(pixels[which[i] * PIXELS + (size_t)(y * SIDE + x)], unicode);
    }
    putchar('\n');
  }
  for (size_t i = 0; i < count; ++i) printf("%slabel  %d%8s", i == 0 ? "  " : "   ", labels[which[i]], "");
  putchar('\n');
  for (size_t i = 0; i < count; ++i) {
    const float* logits = answers->logits + which[i] * CLASSES;
    const int answer = best(logits);
    printf("%sanswer %d %5.1f%%%s", i == 0 ? "  " : "   ", answer, 100 * confidence(logits),
           answer == labels[which[i]] ? " " : "!");
  }
  printf("\n\n");
}

/* Evenly spread images, then those that were answered wrongly. */
static void show(const dataset_t* data, const answers_t* answers, size_t count, bool unicode) {
  size_t which[PER_ROW];
  for (size_t shown = 0; shown < count;) {
    size_t row = 0;
    for (; row < PER_ROW && shown < count; ++row, ++shown) which[row] = shown * data->count / count;
    print_images(data, answers, which, row, unicode);
  }
  const uint8_t* labels = data->labels.data;
  size_t wrong = 0;
  for (size_t i = 0; i < data->count && count != 0; ++i) {
    if (best(answers->logits + i * CLASSES) == labels[i]) continue;
    if (wrong < PER_ROW) which[wrong] = i;
    ++wrong;
  }
  if (wrong != 0) {
    printf("  answered wrongly%s:\n\n", wrong > PER_ROW ? ", the first of them" : "");
    print_images(data, answers, which, wrong < PER_ROW ? wrong : PER_ROW, unicode);
  }
}

/* Returns 0 when the chip is at most ALLOWED_LOSS less accurate than the float model. */
static int judge(const dataset_t* data, const answers_t* answers) {
  const uint8_t* labels = data->labels.data;
  const float* reference = data->reference.data;
  size_t right = 0, reference_right = 0, same = 0;
  double largest = 0;
  for (size_t i = 0; i < data->count; ++i) {
    const float *mine = answers->logits + i * CLASSES, *theirs = reference + i * CLASSES;
    right += best(mine) == labels[i];
    reference_right += best(theirs) == labels[i];
    same += best(mine) == best(theirs);
    for (int k = 0; k < CLASSES; ++k) {
      const double apart = fabs((double)mine[k] - (double)theirs[k]);
      if (isnan(apart) || apart > largest) /* a NaN counts, and stays */
        largest = apart;
    }
  }
  const double n = (double)data->count, accuracy = (double)right / n, expected = (double)reference_right / n;
  printf("  images                %zu, held out of training\n", data->count);
  printf("  accuracy              %.2f %% (float reference %.2f %%)\n", 100 * accuracy, 100 * expected);
  printf("  same answer           %zu of %zu, largest difference of a logit %.2e\n", same, data->count, largest);
  printf("  wall time per image   %.3f ms\n", 1e3 * answers->seconds / n);
  if (accuracy >= expected - ALLOWED_LOSS && !isnan(largest)) return 0;
  fprintf(stderr,
          "error: accuracy is %.2f %%, expected at least %.2f %% (the float reference less %.1f points) and no NaN\n",
          100 * accuracy, 100 * (expected - ALLOWED_LOSS), 100 * ALLOWED_LOSS);
  return -1;
}

static int run(const char* model, const char* folder, size_t shown) {
  dataset_t data = {0};
  classifier_t classifier = {0};
  answers_t answers = {0};
  int result = read_dataset(folder, &data);
  if (result == 0 && (answers.logits = calloc(data.count * CLASSES, sizeof(float))) == NULL)
    result = failed("logits", NRT_FAIL_HOST_MEM_ALLOC);
  if (result == 0) {
    const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    if (status != NRT_SUCCESS) {
      result = failed("nrt_init", status);
    } else {
      result = load_classifier(model, &classifier);
      if (result == 0) result = classify(&classifier, &data, &answers);
      unload_classifier(&classifier);
      nrt_close();
    }
  }
  if (result == 0) {
    show(&data, &answers, shown, strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
    result = judge(&data, &answers);
  }
  free(answers.logits);
  npy_free(&data.images);
  npy_free(&data.labels);
  npy_free(&data.reference);
  return result;
}

int main(int argc, char** argv) {
  char* end = NULL;
  const unsigned long shown = argc == 4 ? strtoul(argv[3], &end, 10) : PER_ROW;
  if (argc < 3 || argc > 4 || (end != NULL && (*end != '\0' || shown > 1000))) {
    fprintf(stderr,
            "usage: %s MODEL.neff FOLDER [SHOWN]\n"
            "Classifies FOLDER/heldout_images.npy; prints SHOWN of them (default %d, at most 1000).\n",
            argv[0], PER_ROW);
    return 2;
  }
  setlocale(LC_CTYPE, "");
  return run(argv[1], argv[2], shown) == 0 ? 0 : 1;
}
