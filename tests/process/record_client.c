/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that speaks to /dev/neuron0 by ioctl alone, for record_test.cc. Prints what it was answered, in words that are the
 * same in every run. "record_client [changed]".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* aws-neuron-driver neuron_ioctl.h; field names are the driver's. */
struct mem_alloc_v2 {
  uint64_t size, align;
  uint32_t host_memory, dram_channel, dram_region, nc_id;
  uint64_t* mem_handle;
};
struct mem_info {
  uint64_t mem_handle;
  uint32_t version, host_memory;
  uint64_t mmap_offset, pa, pid, size;
};
struct mem_buf_copy {
  uint64_t mem_handle;
  void* buffer;
  uint32_t size, offset, copy_to_mem_handle;
};
struct semaphore {
  uint32_t nc_id, index, value;
};
struct crwl {
  uint32_t nc_id;
  char uuid[32];
};
struct notifications {
  uint32_t nc_id, nq_type, engine_index, size;
  uint64_t mmap_offset;
};
#define MEM_ALLOC_V2 _IOR('N', 102, struct mem_alloc_v2*)
#define MEM_FREE _IOR('N', 22, uint64_t*)
#define MEM_BUF_COPY _IOWR('N', 24, struct mem_buf_copy*)
#define MEM_GET_EXTENDED_INFO _IOR('N', 29, struct mem_info*)
#define SEMAPHORE_READ _IOWR('N', 43, struct semaphore*)
#define SEMAPHORE_WRITE _IOR('N', 44, struct semaphore*)
#define NOTIFICATIONS_INIT_V1 _IOR('N', 51, struct notifications*)
#define CRWL_READER_ENTER _IOW('N', 81, struct crwl*)

static void say(const char* what, int result) {
  printf("%s: %s\n", what, result == 0 ? "ok" : strerrorname_np(errno));
}

int main(int argc, char** argv) {
  (void)argv;
  char version[64] = "";
  FILE* file = fopen("/sys/module/neuron/version", "r");
  if (file != NULL) {
    if (fgets(version, sizeof version, file) == NULL) version[0] = 0;
    fclose(file);
  }
  printf("driver %s", version);

  const int fd = open("/dev/neuron0", O_RDWR | O_CLOEXEC);
  say("open", fd < 0);
  if (fd < 0) return 1;

  uint64_t handle = 0;
  struct mem_alloc_v2 alloc = {argc > 1 ? 8192 : 4096, 0, 0, 0, 0, 0, &handle};
  say("alloc", ioctl(fd, MEM_ALLOC_V2, &alloc));
  struct mem_info info = {.mem_handle = handle, .version = 1};
  say("info", ioctl(fd, MEM_GET_EXTENDED_INFO, &info));
  printf("%llu bytes of %s\n", (unsigned long long)info.size, info.pid == (uint64_t)getpid() ? "mine" : "another's");

  char data[64] = "SECRET-TENSOR", back[64] = "?";
  struct mem_buf_copy copy = {handle, data, sizeof data, 0, 1};
  say("write", ioctl(fd, MEM_BUF_COPY, &copy));
  copy.buffer = back;
  copy.copy_to_mem_handle = 0;
  say("read", ioctl(fd, MEM_BUF_COPY, &copy));
  fprintf(stderr, "data %s\n", back);

  struct semaphore semaphore = {0, 5, 3};
  say("semaphore write", ioctl(fd, SEMAPHORE_WRITE, &semaphore));
  for (int i = 0; i < 10; ++i) {
    semaphore.value = 0;
    ioctl(fd, SEMAPHORE_READ, &semaphore);
  }
  printf("semaphore %u\n", semaphore.value);

  struct crwl lock = {0, "SECRET-MODEL-UUID"};
  say("lock", ioctl(fd, CRWL_READER_ENTER, &lock));
  struct notifications queue = {0, 1, 0, 16384, 0};
  say("notifications", ioctl(fd, NOTIFICATIONS_INIT_V1, &queue));
  void* at = mmap(NULL, queue.size, PROT_READ, MAP_SHARED, fd, (off_t)queue.mmap_offset);
  say("mmap", at == MAP_FAILED ? -1 : 0);
  if (at != MAP_FAILED) say("munmap", munmap(at, queue.size));

  say("free", ioctl(fd, MEM_FREE, &handle));
  say("free again", ioctl(fd, MEM_FREE, &handle));
  say("nothing known", ioctl(fd, _IO('N', 250), NULL));
  return close(fd);
}
