// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backends/sim/device.h"
#include "backends/sim/queue_registers.h"

namespace opennrt::driver {
namespace {

// What a queue's software status says (aws-neuron-driver udma/udma.h, enum udma_queue_status).
constexpr std::uint32_t kQueueDisabled = 1, kQueueEnabled = 2;
/// Pointers and lengths have 24 bits; above them is the ring id (udma/udma_regs.h, UDMA_M2S_Q_TDRHP_OFFSET_MASK).
constexpr std::uint32_t kOffsetMask = 0xff'ffff;
constexpr std::uint32_t kUdmaRevision = 4;  // UDMA_REV_ID_4

}  // namespace

bool Device::own_queue_of_driver(std::uint32_t engine, std::uint32_t queue) {
  return engine % inf1::kDmaEnginesPerCore == inf1::kDmaEnginesPerCore - 1 && queue == inf1::kH2tQueue;
}

int Device::check_queue(std::uint32_t engine, std::uint32_t queue) const {
  if (engine >= inf1::kDmaEnginesPerDevice || queue >= inf1::kQueuesPerDmaEngine) {
    platform_.log.debug("dma_queue", "nd{}: queue {}/{}, expected engine 0-{} and queue 0-{}", number_, engine, queue,
                        inf1::kDmaEnginesPerDevice - 1, inf1::kQueuesPerDmaEngine - 1);
    return -EINVAL;
  }
  if (own_queue_of_driver(engine, queue)) {
    platform_.log.debug("dma_queue", "nd{}: queue {}/{} belongs to the driver, for copies", number_, engine, queue);
    return -EPERM;
  }
  return 0;
}

void Device::ring(const Doorbell& doorbell) {
  Start& start = starts_[doorbell.engine / inf1::kDmaEnginesPerCore];
  if (!start.open.exchange(true)) platform_.machine->post_now(start.ns);
  ring_doorbell(*platform_.machine, number_, doorbell);
}

int Device::engine_set_state(std::uint32_t engine, opennrt_dma_state_t state) {
  if (engine >= inf1::kDmaEnginesPerDevice) return -EINVAL;
  // The driver knows these three (udma/udma_main.c, udma_state_set).
  if (state != OPENNRT_DMA_DISABLE && state != OPENNRT_DMA_NORMAL && state != OPENNRT_DMA_ABORT) return -EINVAL;
  const std::uint32_t request = state == OPENNRT_DMA_NORMAL    ? inf1::kUdmaToNormal
                                : state == OPENNRT_DMA_DISABLE ? inf1::kUdmaToDisabled
                                                               : inf1::kUdmaToAbort;
  // All queues, the driver's own among them: it does not tell them apart, either.
  const std::lock_guard guard(engines_[engine].mutex);
  write0(inf1::udma_base(engine) + inf1::kM2sChangeState, request);
  write0(inf1::udma_base(engine) + inf1::kS2mChangeState, request);
  return 0;
}

int Device::engine_get_state(std::uint32_t engine, opennrt_dma_engine_state_t& state) {
  if (engine >= inf1::kDmaEnginesPerDevice) return -EINVAL;
  // Four units with two bits each: one that has aborted counts for all, then one that works (udma/udma_main.c,
  // udma_state_get).
  const auto read = [&](std::uint64_t offset) -> std::uint32_t {
    const std::uint32_t units = platform_.machine->bar_read(number_, 0, inf1::udma_base(engine) + offset);
    if ((units & inf1::kUdmaStateAbort) != 0) return OPENNRT_DMA_ABORT;
    return (units & inf1::kUdmaStateNormal) != 0 ? OPENNRT_DMA_NORMAL : OPENNRT_DMA_IDLE;
  };
  const std::lock_guard guard(engines_[engine].mutex);
  state.revision = kUdmaRevision;
  state.max_queues = state.queues = inf1::kQueuesPerDmaEngine;
  state.tx_state = read(inf1::kM2sState);
  state.rx_state = read(inf1::kS2mState);
  return 0;
}

int Device::queue_init(const opennrt_queue_init_t& init) {
  if (const int error = check_queue(init.engine, init.queue); error != 0) return error;
  const auto check_ring = [&](const char* which, std::uint32_t count, opennrt_mem_t handle, std::uint64_t& address) {
    constexpr std::uint32_t kStep = inf1::kRingAlignment / inf1::kDescriptorBytes;
    const MemoryRef memory = find(handle);
    if (!memory) {
      platform_.log.debug("dma_queue_init", "nd{}: {}_ring {:#x} of queue {}/{} is no memory of this device", number_,
                          which, handle, init.engine, init.queue);
      return false;
    }
    if (count < inf1::kRingMinDescriptors || count % kStep != 0 ||
        std::uint64_t{count} * inf1::kDescriptorBytes > memory->bytes) {
      platform_.log.debug(
          "dma_queue_init",
          "nd{}: {}_count of queue {}/{} is {}, expected a multiple of {}, at least {}, that fits {} bytes", number_,
          which, init.engine, init.queue, count, kStep, inf1::kRingMinDescriptors, memory->bytes);
      return false;
    }
    if (memory->address % inf1::kRingAlignment != 0) {
      platform_.log.debug("dma_queue_init", "nd{}: {}_ring of queue {}/{} is at {:#x}, expected a multiple of {}",
                          number_, which, init.engine, init.queue, memory->address, inf1::kRingAlignment);
      return false;
    }
    address = memory->address;
    return true;
  };
  std::uint64_t tx = 0, rx = 0;
  if (!check_ring("tx", init.tx_count, init.tx_ring, tx) || !check_ring("rx", init.rx_count, init.rx_ring, rx))
    return -EINVAL;

  Engine& engine = engines_[init.engine];
  const std::lock_guard guard(engine.mutex);
  platform_.admission.drop(machine_core(init.engine / inf1::kDmaEnginesPerCore), init.engine, init.queue);
  program_queue(*platform_.machine, number_, init.engine, init.queue, true, tx, init.tx_count);
  program_queue(*platform_.machine, number_, init.engine, init.queue, false, rx, init.rx_count);
  engine.queues[init.queue] = {true, init.tx_count, init.rx_count, init.tx_ring, init.rx_ring};
  return 0;
}

int Device::core_of_instruction_fifo(std::uint64_t address) {
  for (std::uint32_t core = 0; core < kCores; ++core) {
    const std::uint64_t fifo = inf1::core_base(core) + inf1::kPeFifoOffset, at = address & ~inf1::kPort1;
    if (at >= fifo && at - fifo < inf1::kFifoBytes) return static_cast<int>(core);
  }
  return -1;
}

int Device::model_started_count(std::uint32_t core, std::uint64_t& count) const {
  if (core >= kCores) return -EINVAL;
  const std::lock_guard guard(memory_mutex_);
  count = models_started_[core];
  return 0;
}

int Device::valid_descriptor_address(std::uint64_t address, std::uint64_t bytes, std::size_t index) const {
  // Host addresses have bit 46, those of the west neighbour bits 47 and 46 (aws-neuron-driver v1/neuron_dhal_v1.c,
  // ndma_validate_pa); what is neither is the device's own, where the chip itself refuses what nobody answers.
  const bool host = (address & inf1::kHostBase) != 0 && (address & inf1::kWestBase) != inf1::kWestBase;
  if (!host || platform_.host_index.contains(address & ~inf1::kHostBase, bytes)) return 0;
  platform_.log.error("dma_write_descriptors",
                      "nd{}: descriptor {} names host memory {:#x}, {} bytes, which was not allocated here", number_,
                      index, address, bytes);
  return -EINVAL;
}

int Device::write_descriptors(opennrt_mem_t ring, std::uint64_t offset, std::span<const std::byte> descriptors,
                              opennrt_queue_type_t type) {
  if (type != OPENNRT_QUEUE_TX && type != OPENNRT_QUEUE_RX) return -EINVAL;
  const MemoryRef memory = find(ring);
  if (!memory || !fits(*memory, offset, descriptors.size()) || offset % inf1::kDescriptorBytes != 0) return -EINVAL;
  for (std::size_t at = 0; at < descriptors.size(); at += inf1::kDescriptorBytes) {
    std::uint32_t control = 0;
    std::uint64_t address = 0;
    std::memcpy(&control, descriptors.data() + at, sizeof(control));
    std::memcpy(&address, descriptors.data() + at + 8, sizeof(address));
    const std::uint32_t length = control & inf1::kDescLengthMask;
    if (const int error =
            valid_descriptor_address(address, length == 0 ? inf1::kDescMaxBytes : length, at / inf1::kDescriptorBytes);
        error != 0) {
      return error;
    }
    // A ring that fills the PE's instruction FIFO: starting it starts a model (v1/neuron_dhal_v1.c,
    // ndmar_set_model_started).
    if (const int core = type == OPENNRT_QUEUE_RX ? core_of_instruction_fifo(address) : -1; core >= 0) {
      const std::lock_guard guard(memory_mutex_);
      memory->starts_model_of = core;
    }
  }
  return mem_write(ring, offset, descriptors.data(), descriptors.size());
}

int Device::queue_start(std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count, std::uint32_t rx_count) {
  if (const int error = check_queue(engine, queue); error != 0) return error;
  Engine& target = engines_[engine];
  const std::lock_guard guard(target.mutex);
  const Queue& state = target.queues[queue];
  // The rings may have been freed since: the device would fetch descriptors from somebody else's memory.
  if (!state.initialised || !find(state.tx_ring) || !find(state.rx_ring) || tx_count > state.tx_count ||
      rx_count > state.rx_count) {
    platform_.log.debug("dma_queue_start",
                        "nd{}: queue {}/{}: {} and {} descriptors to start, expected an initialised queue with "
                        "live rings of at least as many (it has {} and {})",
                        number_, engine, queue, tx_count, rx_count, state.tx_count, state.rx_count);
    return -EINVAL;
  }
  {
    const MemoryRef rx_ring = find(state.rx_ring);
    const std::lock_guard memory_guard(memory_mutex_);
    if (rx_ring && rx_ring->starts_model_of >= 0) ++models_started_[static_cast<std::size_t>(rx_ring->starts_model_of)];
  }
  const Doorbell doorbell{engine, queue, tx_count, rx_count};
  if (!platform_.admission.hold(machine_core(engine / inf1::kDmaEnginesPerCore), doorbell)) ring(doorbell);
  return 0;
}

int Device::queue_get_state(std::uint32_t engine, std::uint32_t queue, opennrt_queue_state_t& tx,
                            opennrt_queue_state_t& rx) {
  if (engine >= inf1::kDmaEnginesPerDevice || queue >= inf1::kQueuesPerDmaEngine) return -EINVAL;
  Engine& target = engines_[engine];
  const std::lock_guard guard(target.mutex);
  const auto read = [&](bool is_tx) {
    const auto reg = [&](std::uint32_t offset) {
      return platform_.machine->bar_read(number_, 0, queue_register(engine, queue, is_tx, offset));
    };
    opennrt_queue_state_t state{};
    state.hardware_status = reg(inf1::kQStatus);
    state.software_status = target.queues[queue].initialised ? kQueueEnabled : kQueueDisabled;
    state.base = std::uint64_t{reg(inf1::kQBaseHigh)} << 32 | reg(inf1::kQBaseLow);
    state.length = reg(inf1::kQLength) & kOffsetMask;
    state.head = reg(inf1::kQHead) & kOffsetMask;
    state.tail = reg(inf1::kQTail) & kOffsetMask;
    return state;
  };
  tx = read(true);
  rx = read(false);
  return 0;
}

int Device::queue_release(std::uint32_t engine, std::uint32_t queue) {
  // On this generation the driver has nothing to do (neuron_ring.c, ndmar_queue_release): the queue stays as it is
  // until it is
  // initialised again, or until its process ends.
  return check_queue(engine, queue);
}

int Device::queue_abandon(std::uint32_t engine, std::uint32_t queue) {
  if (const int error = check_queue(engine, queue); error != 0) return error;
  constexpr std::uint32_t kDescriptors = 64;  // neuron_ring.h, NDMA_QUEUE_DUMMY_RING_DESC_COUNT
  std::uint64_t ring = 0;
  {
    const std::lock_guard guard(empty_ring_mutex_);
    if (!empty_ring_) empty_ring_ = HostPages::allocate(platform_, kDescriptors * inf1::kDescriptorBytes);
    if (!empty_ring_) return -ENOMEM;
    ring = empty_ring_->device_address();
  }
  Engine& target = engines_[engine];
  const std::lock_guard guard(target.mutex);
  platform_.admission.drop(machine_core(engine / inf1::kDmaEnginesPerCore), engine, queue);
  for (const bool tx : {true, false}) program_queue(*platform_.machine, number_, engine, queue, tx, ring, kDescriptors);
  target.queues[queue] = {};
  return 0;
}

int Device::read_descriptors(std::uint32_t engine, std::uint32_t queue, opennrt_queue_type_t type, std::uint32_t first,
                             std::uint32_t count, std::byte* to) {
  if (count == 0 || (type != OPENNRT_QUEUE_TX && type != OPENNRT_QUEUE_RX)) return -EINVAL;
  opennrt_queue_state_t tx{}, rx{};
  if (const int error = queue_get_state(engine, queue, tx, rx); error != 0) return error;
  const opennrt_queue_state_t& state = type == OPENNRT_QUEUE_TX ? tx : rx;
  if (std::uint64_t{first} + count > state.length) return -EFBIG;
  opennrt_mem_t handle = 0;
  {
    const std::lock_guard guard(memory_mutex_);
    for (const auto& [number, memory] : memories_) {
      if (state.base >= memory->address && state.base - memory->address < memory->bytes) handle = number;
    }
  }
  const MemoryRef memory = find(handle);
  if (!memory) return -EINVAL;
  return mem_read(handle, state.base - memory->address + std::uint64_t{first} * inf1::kDescriptorBytes, to,
                  std::uint64_t{count} * inf1::kDescriptorBytes);
}

int Device::program_engine(std::uint32_t core, std::uint64_t address, const void* buffer, std::uint64_t bytes) {
  if (core >= kCores || (buffer == nullptr && bytes != 0)) return -EINVAL;
  constexpr std::uint64_t kWindows = kCores * inf1::kCoreWindow;
  if (address < inf1::kTpbBase || address - inf1::kTpbBase > kWindows || bytes > kWindows - (address - inf1::kTpbBase))
    return -ENOMEM;
  for (std::uint64_t offset = 0; offset < bytes;) {
    const std::uint64_t part = std::min(bytes - offset, CopyRing::kScratchBytes);
    const int error = copies_[core].with_scratch([&](std::byte* scratch, std::uint64_t from) {
      std::memcpy(scratch, static_cast<const std::byte*>(buffer) + offset, part);
      return copies_[core].copy_locked(from, address + offset, part, true);
    });
    if (error != 0) return error;
    offset += part;
  }
  return 0;
}

int Device::quiesce(std::uint32_t core) {
  if (core >= kCores) return -EINVAL;
  platform_.admission.drop(machine_core(core));
  for (std::uint32_t engine = core * inf1::kDmaEnginesPerCore; engine < (core + 1) * inf1::kDmaEnginesPerCore;
       ++engine) {
    const std::lock_guard guard(engines_[engine].mutex);
    for (std::uint32_t queue = 0; queue < inf1::kQueuesPerDmaEngine; ++queue) {
      if (!own_queue_of_driver(engine, queue)) pause_queue(*platform_.machine, number_, engine, queue);
    }
  }
  return 0;
}

}  // namespace opennrt::driver
