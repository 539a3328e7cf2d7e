// SPDX-License-Identifier: Apache-2.0
//
// What the emulated device offers beyond the driver (backends/neuron/paravirtual.h).
#include <algorithm>
#include <cerrno>

#include "backends/emulator/preload/cdev.h"
#include "backends/neuron/paravirtual.h"

namespace opennrt::emulator {

namespace pv = neuron::paravirtual;

int paravirtual_hello(Call& call) {
  pv::Hello arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask_for(arg, Op::kHello, {arg.version}); r != 0) return r;
  return call.put(arg);
}

int paravirtual_wait(Call& call) {
  pv::Wait arg;
  if (const int r = call.get(arg); r != 0) return r;
  const int result = call.ask(Op::kWait, {arg.core, arg.seen, arg.deadline});
  if (result == -ETIMEDOUT && arg.text != 0 && arg.text_bytes > 0) {
    const std::uint64_t length = std::min<std::uint64_t>(call.session.reply().bytes, arg.text_bytes - 1);
    std::byte* text = call.session.room(length + 1);
    if (text == nullptr) return -ENOMEM;
    text[length] = std::byte{0};
    if (const int r = copy_to_user(arg.text, text, length + 1); r != 0) return r;
  }
  return result;
}

int paravirtual_clock(Call& call) {
  pv::Clock arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kClock, {arg.core}); r != 0) return r;
  arg.nanoseconds = call.session.v(0);
  return call.put(arg);
}

int paravirtual_consume(Call& call) {
  pv::Consume arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kConsume, {arg.core, arg.type, arg.engine, arg.entries});
}

int paravirtual_mem_stats(Call& call) {
  pv::MemStats arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = call.ask(Op::kMemStats, {arg.core}); r != 0) return r;
  arg.used_by_process = call.session.v(0);
  arg.used = call.session.v(1);
  arg.capacity = call.session.v(2);
  return call.put(arg);
}

int paravirtual_quiesce(Call& call) {
  pv::Quiesce arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kQuiesce, {arg.core});
}

int paravirtual_marker(Call& call) {
  pv::Marker arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.bytes > pv::kLongestMarker) return -EINVAL;
  if (const int r = call.fill(arg.name, arg.bytes); r != 0) return r;
  return call.ask(Op::kMarker, {}, arg.bytes);
}

}  // namespace opennrt::emulator
