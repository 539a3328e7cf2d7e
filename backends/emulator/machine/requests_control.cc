// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "backends/emulator/machine/requests.h"
#include "backends/neuron/paravirtual.h"

namespace opennrt::emulator {
namespace {

/// The driver asks kmalloc for their addresses, which has 4 MiB at most.
constexpr std::uint64_t kMaxRegisters = (4u << 20) / sizeof(std::uint64_t);

/// u64 addresses at the start of the window, then u32 values of a write. Empty: the window has fewer.
std::vector<std::uint64_t> offsets_of(const Exchange& exchange, std::uint64_t count, std::uint64_t value_bytes) {
  if (count > exchange.request.bytes / (sizeof(std::uint64_t) + value_bytes)) return {};
  std::vector<std::uint64_t> offsets(count);
  if (count != 0) std::memcpy(offsets.data(), exchange.window.data.data(), count * sizeof(std::uint64_t));
  return offsets;
}

int bar_read(Exchange& exchange) {
  if (exchange.a(1) > kMaxRegisters) return -ENOMEM;
  const auto offsets = offsets_of(exchange, exchange.a(1), 0);
  if (offsets.size() != exchange.a(1)) return -EINVAL;
  std::vector<std::uint32_t> values(offsets.size());
  if (const int error = exchange.chip().bar_read(exchange.word(0), offsets, values.data()); error != 0) return error;
  return exchange.out(values.data(), values.size() * sizeof(std::uint32_t));
}

int bar_write(Exchange& exchange) {
  if (exchange.a(1) > kMaxRegisters) return -ENOMEM;
  const auto offsets = offsets_of(exchange, exchange.a(1), sizeof(std::uint32_t));
  if (offsets.size() != exchange.a(1)) return -EINVAL;
  std::vector<std::uint32_t> values(offsets.size());
  if (!values.empty())
    std::memcpy(values.data(), exchange.window.data.data() + offsets.size() * sizeof(std::uint64_t),
                values.size() * sizeof(std::uint32_t));
  const int error = exchange.chip().bar_write(exchange.word(0), offsets, values.data());
  if (error == 0) exchange.kick(0);
  return error;
}

int hw_counters(Exchange& exchange) {
  if (exchange.a(0) > kMaxRegisters) return -ENOMEM;
  const auto addresses = offsets_of(exchange, exchange.a(0), 0);
  if (addresses.size() != exchange.a(0)) return -EINVAL;
  std::vector<std::uint32_t> values(addresses.size());
  if (const int error = exchange.chip().read_counters(addresses, values.data()); error != 0) return error;
  return exchange.out(values.data(), values.size() * sizeof(std::uint32_t));
}

int semaphore(Exchange& exchange, std::uint64_t operation) {
  const int error = exchange.chip().semaphore(operation, exchange.word(0), exchange.word(1), exchange.word(2));
  if (error == 0) exchange.kick(exchange.word(0));
  return error;
}

int nq_init(Exchange& exchange) {
  opennrt_mem_t handle = 0;
  Allocation memory;
  const int error = exchange.node->nq_init(exchange.pid(), exchange.word(0), exchange.word(1), exchange.word(2),
                                           exchange.word(3), exchange.a(4) != 0, handle, memory);
  if (error != 0) return error;
  exchange.reply.v[0] = handle;
  exchange.reply.v[1] = memory.address;
  exchange.reply.v[2] = memory.bytes;
  return 0;
}

int wait(Exchange& exchange) {
  std::string reason;
  const int error =
      exchange.chip().wait(exchange.word(0), exchange.a(1), exchange.a(2), &reason, &exchange.process.gone());
  if (error == -ETIMEDOUT)
    exchange.out(reason.data(), std::min<std::uint64_t>(reason.size(), exchange.window.data.size()));
  return error;
}

int clock(Exchange& exchange) {
  if (exchange.word(0) != neuron::paravirtual::kClockNow)
    return exchange.chip().work_started(exchange.word(0), exchange.reply.v[0]);
  exchange.reply.v[0] = exchange.chip().clock();
  return 0;
}

}  // namespace

int serve_control(Exchange& exchange) {
  Reply& reply = exchange.reply;
  std::uint32_t value = 0;
  switch (exchange.request.op) {
    case Op::kBarRead:
      return bar_read(exchange);
    case Op::kBarWrite:
      return bar_write(exchange);
    case Op::kHwCounters:
      return hw_counters(exchange);
    case Op::kSemaphoreRead: {
      const int error = exchange.chip().semaphore_read(exchange.word(0), exchange.word(1), value);
      reply.v[0] = value;
      return error;
    }
    case Op::kSemaphoreWrite:
      return semaphore(exchange, inf1::kSemaphoreSet);
    case Op::kSemaphoreIncrement:
      return semaphore(exchange, inf1::kSemaphoreIncrement);
    case Op::kSemaphoreDecrement:
      return semaphore(exchange, inf1::kSemaphoreDecrement);
    case Op::kEventGet: {
      const int error = exchange.chip().event_get(exchange.word(0), exchange.word(1), value);
      reply.v[0] = value;
      return error;
    }
    case Op::kEventSet: {
      const int error = exchange.chip().event_set(exchange.word(0), exchange.word(1), exchange.word(2));
      if (error == 0) exchange.kick(exchange.word(0));
      return error;
    }
    case Op::kNqInit:
      return nq_init(exchange);
    case Op::kResetStart: {
      const int error = exchange.node->reset_start(exchange.pid(), exchange.word(0), value);
      reply.v[0] = value;
      return error;
    }
    case Op::kResetWait:
      reply.v[0] = static_cast<std::uint64_t>(exchange.a(1) == 0 ? exchange.node->reset_wait(exchange.word(0))
                                                                 : exchange.node->own_reset_wait(exchange.pid()));
      return 0;
    case Op::kWait:
      return wait(exchange);
    case Op::kClock:
      return clock(exchange);
    case Op::kConsume:
      if (exchange.word(1) > OPENNRT_NQ_ERROR) return -EINVAL;
      return exchange.chip().nq_consume(exchange.word(0), static_cast<opennrt_nq_type_t>(exchange.word(1)),
                                        exchange.word(2), exchange.a(3));
    case Op::kMarker: {
      const auto input = exchange.input();
      exchange.machine.pass_marker(std::string(reinterpret_cast<const char*>(input.data()), input.size()));
      return 0;
    }
    default:
      return -ENOTSUP;
  }
}

}  // namespace opennrt::emulator
