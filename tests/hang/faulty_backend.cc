// SPDX-License-Identifier: Apache-2.0
//
// A driver that does one thing wrong, on top of a real backend (OPENNRT_TEST_REAL_BACKEND): hangs that no program can cause by
// itself, since the loader refuses it. OPENNRT_TEST_FAULT is read at every call:
//   deaf     nobody tells the device which notifications have been read
//   starve   instruction rings get their source descriptors, but no room to put them
//   damage   an instruction of the model that was loaded last changes in DRAM before it starts
#include <dlfcn.h>
#include <opennrt/backend.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

const opennrt_backend_api_t* real = nullptr;
opennrt_mem_t code = 0;  // of the model that was loaded last

bool fault_is(std::string_view name) {
  const char* fault = std::getenv("OPENNRT_TEST_FAULT");
  return fault != nullptr && name == fault;
}

int mem_alloc(opennrt_device_t* device, const opennrt_mem_params_t* params, opennrt_mem_t* memory) {
  const int error = real->mem_alloc(device, params, memory);
  if (error == 0 && params->category == OPENNRT_MEM_CODE_DEVICE) code = *memory;
  return error;
}

int nq_consume(opennrt_device_t* device, std::uint32_t core, opennrt_nq_type_t type, std::uint32_t engine,
               std::uint64_t entries) {
  return fault_is("deaf") ? 0 : real->nq_consume(device, core, type, engine, entries);
}

int dma_queue_start(opennrt_device_t* device, std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count,
                    std::uint32_t rx_count) {
  if (fault_is("starve")) return real->dma_queue_start(device, engine, queue, tx_count, 0);
  if (fault_is("damage")) {
    const unsigned char illegal = 0xee;
    if (const int error = real->mem_write(device, code, 64, &illegal, 1); error != 0) return error;
  }
  return real->dma_queue_start(device, engine, queue, tx_count, rx_count);
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
  table.mem_alloc = mem_alloc;
  table.nq_consume = nq_consume;
  table.dma_queue_start = dma_queue_start;
  return &table;
}
