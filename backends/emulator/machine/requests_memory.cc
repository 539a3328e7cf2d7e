// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstring>

#include "backends/emulator/machine/requests.h"

namespace opennrt::emulator {
namespace {

int allocate(Exchange& exchange) {
  Node::Wish wish;
  wish.bytes = exchange.a(0);
  wish.alignment = exchange.a(1);
  wish.host = exchange.a(2) != 0;
  wish.channel = exchange.word(3);
  wish.region = exchange.word(4);
  wish.core = exchange.word(5);
  wish.category = exchange.word(6);
  opennrt_mem_t handle = 0;
  Allocation memory;
  if (const int error = exchange.node->mem_alloc(exchange.pid(), wish, handle, memory); error != 0) return error;
  exchange.reply.v[0] = handle;
  exchange.reply.v[1] = exchange.reply.v[2] = memory.address;
  return 0;
}

/// The device checks the same again; asked first so that a size out of all bounds is no reason to enlarge the window.
bool within(const Exchange& exchange, opennrt_mem_t handle, std::uint64_t offset, std::uint64_t bytes) {
  const auto memory = exchange.node->find(handle);
  return memory && offset <= memory->bytes && bytes <= memory->bytes - offset;
}

int read(Exchange& exchange) {
  const std::uint64_t handle = exchange.a(0), offset = exchange.a(1), bytes = exchange.a(2);
  if (!within(exchange, handle, offset, bytes)) return -EINVAL;
  if (const int error = exchange.room(bytes); error != 0) return error;
  return exchange.chip().mem_read(handle, offset, exchange.window.data.data(), bytes);
}

int write(Exchange& exchange) {
  const std::uint64_t handle = exchange.a(0), offset = exchange.a(1), bytes = exchange.a(2);
  if (!within(exchange, handle, offset, bytes) || bytes > exchange.request.bytes) return -EINVAL;
  return exchange.chip().mem_write(handle, offset, exchange.window.data.data(), bytes);
}

int stats(Exchange& exchange) {
  opennrt_mem_stats_t stats{};
  if (const int error = exchange.node->mem_stats(exchange.pid(), exchange.word(0), stats); error != 0) return error;
  exchange.reply.v[0] = stats.used_by_process;
  exchange.reply.v[1] = stats.used;
  exchange.reply.v[2] = stats.capacity;
  return 0;
}

}  // namespace

int serve_memory(Exchange& exchange) {
  Reply& reply = exchange.reply;
  switch (exchange.request.op) {
    case Op::kMemAlloc:
      return allocate(exchange);
    case Op::kMemFree:
      return exchange.node->mem_free(exchange.pid(), exchange.a(0));
    case Op::kMemInfo: {
      const auto memory = exchange.node->find(exchange.a(0));
      if (!memory) return -EINVAL;
      reply.v[0] = reply.v[1] = memory->address;
      reply.v[2] = memory->bytes;
      reply.v[3] = memory->host ? 1 : 0;
      reply.v[4] = static_cast<std::uint64_t>(memory->pid);
      reply.v[5] = memory->core;
      return 0;
    }
    case Op::kMemFind: {
      const auto found = exchange.node->find_address(exchange.a(0));
      if (!found) return -ENOMEM;
      reply.v[0] = found->second.address;
      reply.v[1] = found->second.bytes;
      reply.v[2] = found->first;
      return 0;
    }
    case Op::kMemWrite:
      return write(exchange);
    case Op::kMemRead:
      return read(exchange);
    case Op::kMemCopy:
      return exchange.chip().mem_copy(exchange.a(0), exchange.a(1), exchange.a(2), exchange.a(3), exchange.a(4));
    case Op::kMemSet:
      return exchange.chip().mem_set(exchange.a(0), exchange.a(1), exchange.word(2), exchange.a(3));
    case Op::kProgramEngine:
      if (exchange.a(2) > exchange.request.bytes) return -EINVAL;
      return exchange.chip().program_engine(exchange.word(0), exchange.a(1), exchange.window.data.data(),
                                            exchange.a(2));
    case Op::kMemStats:
      return stats(exchange);
    case Op::kMmap: {
      bool writable = false;
      const int error = exchange.node->map(exchange.pid(), exchange.a(0), exchange.a(1), reply.v[0], writable);
      reply.v[1] = writable ? 1 : 0;
      return error;
    }
    case Op::kUnmap:
      return 0;  // nothing here knows a mapping by itself
    default:
      return -ENOTSUP;
  }
}

}  // namespace opennrt::emulator
