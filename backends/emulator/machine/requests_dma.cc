// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "backends/emulator/machine/requests.h"

namespace opennrt::emulator {
namespace {

int start(Exchange& exchange) {
  const std::uint32_t engine = exchange.word(0);
  const int error = exchange.chip().queue_start(engine, exchange.word(1), exchange.word(2), exchange.word(3));
  if (error == 0) exchange.kick(engine / inf1::kDmaEnginesPerCore);
  return error;
}

int init(Exchange& exchange) {
  opennrt_queue_init_t queue{};
  queue.engine = exchange.word(0);
  queue.queue = exchange.word(1);
  queue.tx_count = exchange.word(2);
  queue.rx_count = exchange.word(3);
  queue.tx_ring = exchange.a(4);
  queue.rx_ring = exchange.a(5);
  return exchange.node->queue_init(exchange.pid(), queue, exchange.a(6));
}

int write_descriptors(Exchange& exchange) {
  const std::uint64_t count = exchange.a(2);
  if (count > exchange.request.bytes / inf1::kDescriptorBytes) return -EINVAL;
  if (exchange.word(3) > OPENNRT_QUEUE_RX) return -EINVAL;
  const auto memory = exchange.node->find(exchange.a(0));
  const std::uint64_t offset = exchange.a(1), bytes = count * inf1::kDescriptorBytes;
  if (!memory || offset > memory->bytes || bytes > memory->bytes - offset) return -EINVAL;
  // In the driver's portions; what is checked is what is written, whatever the client does to its window meanwhile.
  std::vector<std::byte> portion;
  for (std::uint64_t done = 0; done < bytes; done += portion.size()) {
    portion.resize(std::min<std::uint64_t>(bytes - done, inf1::kDescMaxBytes));
    std::memcpy(portion.data(), exchange.window.data.data() + done, portion.size());
    const int error = exchange.chip().write_descriptors(exchange.a(0), offset + done, portion,
                                                        static_cast<opennrt_queue_type_t>(exchange.word(3)));
    if (error != 0) return error;
  }
  return 0;
}

int read_descriptors(Exchange& exchange) {
  if (exchange.word(2) > OPENNRT_QUEUE_RX) return -EINVAL;
  const std::uint64_t bytes = std::uint64_t{exchange.word(4)} * inf1::kDescriptorBytes;
  if (bytes > exchange.window.data.size()) {
    opennrt_queue_state_t tx{}, rx{};  // of a size that no ring has the window is not enlarged
    const int error = exchange.chip().queue_get_state(exchange.word(0), exchange.word(1), tx, rx);
    if (error != 0) return error;
    const auto& state = exchange.word(2) == OPENNRT_QUEUE_TX ? tx : rx;
    if (std::uint64_t{exchange.word(3)} + exchange.word(4) > state.length) return -EFBIG;
  }
  if (const int error = exchange.room(bytes); error != 0) return error;
  return exchange.chip().read_descriptors(exchange.word(0), exchange.word(1),
                                          static_cast<opennrt_queue_type_t>(exchange.word(2)), exchange.word(3),
                                          exchange.word(4), exchange.window.data.data());
}

}  // namespace

int serve_dma(Exchange& exchange) {
  switch (exchange.request.op) {
    case Op::kEngineSetState: {
      if (exchange.word(1) > OPENNRT_DMA_RESET) return -EINVAL;
      const int error =
          exchange.chip().engine_set_state(exchange.word(0), static_cast<opennrt_dma_state_t>(exchange.word(1)));
      if (error == 0) exchange.kick(exchange.word(0) / inf1::kDmaEnginesPerCore);
      return error;
    }
    case Op::kEngineGetState: {
      opennrt_dma_engine_state_t state{};
      const int error = exchange.chip().engine_get_state(exchange.word(0), state);
      return error != 0 ? error : exchange.out(&state, sizeof(state));
    }
    case Op::kQueueInit:
      return init(exchange);
    case Op::kQueueRelease:  // on this generation the driver has nothing to do, and looks at nothing (neuron_ring.c)
      return 0;
    case Op::kQueueStart:
      return start(exchange);
    case Op::kQueueAck:  // the driver counts for itself what was acknowledged, and never looks at it on this generation
      return exchange.word(0) < inf1::kDmaEnginesPerDevice && exchange.word(1) < inf1::kQueuesPerDmaEngine ? 0
                                                                                                           : -EINVAL;
    case Op::kQueueState: {
      opennrt_queue_state_t states[2] = {};
      const int error = exchange.chip().queue_get_state(exchange.word(0), exchange.word(1), states[0], states[1]);
      return error != 0 ? error : exchange.out(states, sizeof(states));
    }
    case Op::kWriteDescriptors:
      return write_descriptors(exchange);
    case Op::kReadDescriptors:
      return read_descriptors(exchange);
    case Op::kQuiesce:
      return exchange.chip().quiesce(exchange.word(0));
    default:
      return -ENOTSUP;
  }
}

}  // namespace opennrt::emulator
