// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <memory>

#include "backends/neuron/device.h"

namespace opennrt::neuron {
namespace {

constexpr std::uint32_t kBatch = abi::kMaxQueueInitBatch - 1;  // the driver refuses 256 (ncdev_dma_queue_init_batch)

std::uint64_t user_pointer(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

abi::DmaQueueInit request_of(const opennrt_queue_init_t& queue) {
  // No completion ring, port 0: this runtime sees the end of a transfer in what it moves.
  return {queue.engine, queue.queue, queue.tx_count, queue.rx_count, queue.tx_ring, queue.rx_ring, 0, 0, 0};
}

opennrt_queue_state_t state_of(const abi::DmaQueueState& state) {
  return {state.hw_status, state.sw_status, state.base_addr, state.length, state.head_pointer, state.tail_pointer};
}

}  // namespace

int Device::engine_set_state(std::uint32_t engine, opennrt_dma_state_t state) {
  if (engine >= inf1::kDmaEnginesPerDevice) return -EINVAL;
  abi::DmaEngSetState request{engine, static_cast<std::uint32_t>(state)};
  return file_.request(abi::kDmaEngSetState, &request);
}

int Device::engine_get_state(std::uint32_t engine, opennrt_dma_engine_state_t& state) {
  state = {};
  if (engine >= inf1::kDmaEnginesPerDevice) return -EINVAL;
  abi::DmaEngState answer{};
  abi::DmaEngGetState request{engine, 0, user_pointer(&answer)};
  if (const int error = file_.request(abi::kDmaEngGetState, &request); error != 0) return error;
  state = {answer.revision_id, answer.max_queues, answer.num_queues, answer.tx_state, answer.rx_state};
  return 0;
}

int Device::queue_init(std::span<const opennrt_queue_init_t> queues) {
  if (features_.batch_queue_init && queues.size() > 1) {
    const auto batch = std::make_unique<abi::DmaQueueInitBatch>();
    while (!queues.empty()) {
      const std::size_t part = std::min<std::size_t>(queues.size(), kBatch);
      batch->count = static_cast<std::uint32_t>(part);
      std::transform(queues.begin(), queues.begin() + static_cast<std::ptrdiff_t>(part), batch->entries, request_of);
      if (const int error = file_.request(abi::kDmaQueueInitBatch, batch.get()); error != 0) return error;
      queues = queues.subspan(part);
    }
    return 0;
  }
  for (const opennrt_queue_init_t& queue : queues) {
    abi::DmaQueueInit request = request_of(queue);
    if (const int error = file_.request(abi::kDmaQueueInit, &request); error != 0) return error;
  }
  return 0;
}

int Device::write_descriptors(opennrt_mem_t ring, std::uint64_t offset, const void* descriptors, std::uint32_t count,
                              opennrt_queue_type_t type) {
  if (count == 0) return check_access(ring, offset, 0);
  const auto queue = static_cast<abi::QueueType>(type);
  if (features_.memory64) {
    abi::DmaCopyDescriptors64 request{ring, user_pointer(descriptors), count, 0, offset, queue, 0};
    return file_.request(abi::kDmaCopyDescriptors64, &request);
  }
  if (offset > UINT32_MAX) return -EINVAL;
  abi::DmaCopyDescriptors request{ring, user_pointer(descriptors), count, static_cast<std::uint32_t>(offset), queue, 0};
  return file_.request(abi::kDmaCopyDescriptors, &request);
}

int Device::queue_start(std::uint32_t engine, std::uint32_t queue, std::uint32_t tx_count, std::uint32_t rx_count) {
  if (engine >= inf1::kDmaEnginesPerDevice) return -EINVAL;
  Start& start = starts_[engine / inf1::kDmaEnginesPerCore];
  if (!paravirtual_ && !start.open.exchange(true)) start.ns = file_.system().now_ns();
  abi::DmaQueueCopyStart request{engine, queue, tx_count, rx_count};
  return file_.request(abi::kDmaQueueCopyStart, &request);
}

int Device::queue_get_state(std::uint32_t engine, std::uint32_t queue, opennrt_queue_state_t& tx,
                            opennrt_queue_state_t& rx) {
  tx = rx = {};
  abi::DmaQueueState states[2] = {};
  abi::DmaQueueGetState request{engine, queue, user_pointer(&states[0]), user_pointer(&states[1])};
  if (const int error = file_.request(abi::kDmaQueueGetState, &request); error != 0) return error;
  tx = state_of(states[0]);
  rx = state_of(states[1]);
  return 0;
}

int Device::queue_release(std::uint32_t engine, std::uint32_t queue) {
  abi::DmaQueueRelease request{engine, queue};
  return file_.request(abi::kDmaQueueRelease, &request);
}

int Device::quiesce(std::uint32_t core) {
  if (core >= kCores) return -EINVAL;
  if (paravirtual_) {
    paravirtual::Quiesce request{core, 0};
    return file_.request(paravirtual::kQuiesce, &request);
  }
  abi::DmaQuiesceQueues request{};
  request.nc_id = core;
  const int error = file_.request(abi::kDmaQuiesceQueues, &request);
  // Releases of today have dropped it (neuron_cdev.c); there the reset that follows an error stops the core's queues
  // itself (ncdev_nc_reset, ndmar_close_ncs).
  return is_unknown_request(error) ? -ENOTSUP : error;
}

}  // namespace opennrt::neuron
