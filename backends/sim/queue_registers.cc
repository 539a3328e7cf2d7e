// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/queue_registers.h"

#include "core/isa/inf1.h"

namespace opennrt::driver {

std::uint64_t queue_register(std::uint32_t engine, std::uint32_t queue, bool tx, std::uint32_t offset) {
  return inf1::udma_base(engine) + (tx ? inf1::kM2sQueues : inf1::kS2mQueues) + queue * inf1::kUdmaQueueStride + offset;
}

void program_queue(sim::Machine& machine, std::uint32_t device, std::uint32_t engine, std::uint32_t queue, bool tx,
                   std::uint64_t base, std::uint32_t descriptors) {
  const auto write = [&](std::uint32_t offset, std::uint32_t value) {
    machine.bar_write(device, 0, queue_register(engine, queue, tx, offset), value);
  };
  write(inf1::kQCfg, 0);
  write(inf1::kQBaseLow, static_cast<std::uint32_t>(base));
  write(inf1::kQBaseHigh, static_cast<std::uint32_t>(base >> 32));
  write(inf1::kQLength, descriptors);
  write(tx ? inf1::kM2sSwControl : inf1::kS2mSwControl, inf1::kQueueReset);
  write(inf1::kQCfg, inf1::kQCfgEnable);
}

void pause_queue(sim::Machine& machine, std::uint32_t device, std::uint32_t engine, std::uint32_t queue) {
  for (const bool tx : {true, false}) machine.bar_write(device, 0, queue_register(engine, queue, tx, inf1::kQCfg), 0);
}

void ring_doorbell(sim::Machine& machine, std::uint32_t device, const Doorbell& doorbell) {
  for (const bool tx : {false, true}) {
    const std::uint32_t count = tx ? doorbell.tx_count : doorbell.rx_count;
    if (count == 0) continue;
    machine.bar_write(device, 0, queue_register(doorbell.engine, doorbell.queue, tx, inf1::kQTailIncrement), count);
  }
}

}  // namespace opennrt::driver
