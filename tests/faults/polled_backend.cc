// SPDX-License-Identifier: Apache-2.0
//
// The simulator without wait(), as a driver is that cannot block: who uses it looks at the notification queues, and at the
// clock in between. Each look at the clock lets the machine run for a while, and for longer when it has been looked at often.
// OPENNRT_TEST_REAL_BACKEND: the simulator. OPENNRT_TEST_KEEP_TRACE, read at every call: trace queues cannot be given back.
#include <dlfcn.h>
#include <opennrt/backend.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "core/isa/inf1.h"

namespace {

namespace inf1 = opennrt::inf1;

constexpr std::uint64_t kLookNs = 1'000, kLongLookNs = 1'000'000'000;
constexpr int kLooks = 100;  // an inference takes some microseconds
const opennrt_backend_api_t* real = nullptr;
std::atomic<std::uint32_t> last_core{0};  // whose doorbells were rung last
std::atomic<int> looks{0};                // since then

int dma_queue_start(opennrt_device_t* device, std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count,
                    std::uint32_t rx_count) {
  last_core = engine / inf1::kDmaEnginesPerCore;
  looks = 0;
  return real->dma_queue_start(device, engine, queue, tx_count, rx_count);
}

int clock_ns(opennrt_device_t* device, std::uint64_t* nanoseconds) {
  if (const int error = real->clock(device, nanoseconds); error != 0) return error;
  const std::uint64_t step = looks++ < kLooks ? kLookNs : kLongLookNs;
  (void)real->wait(device, last_core, UINT64_MAX, *nanoseconds + step);  // there are never that many notifications
  return real->clock(device, nanoseconds);
}

int nq_destroy(opennrt_device_t* device, std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine) {
  if (type == OPENNRT_NQ_TRACE && std::getenv("OPENNRT_TEST_KEEP_TRACE") != nullptr) return -EBUSY;
  return real->nq_destroy(device, core, type, engine);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const opennrt_backend_api_t* opennrt_backend_entry(
    std::uint32_t abi_major) {
  static opennrt_backend_api_t table;
  const char* path = std::getenv("OPENNRT_TEST_REAL_BACKEND");
  void* library = path != nullptr ? ::dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : nullptr;
  if (library == nullptr) return nullptr;
  void* symbol = ::dlsym(library, OPENNRT_BACKEND_ENTRY);
  opennrt_backend_entry_t entry = nullptr;
  std::memcpy(&entry, &symbol, sizeof entry);
  real = entry != nullptr ? entry(abi_major) : nullptr;
  if (real == nullptr) return nullptr;
  table = *real;
  table.wait = nullptr;
  table.clock = clock_ns;
  table.nq_destroy = nq_destroy;
  table.dma_queue_start = dma_queue_start;
  return &table;
}
