// SPDX-License-Identifier: Apache-2.0
//
// Register view of a UDMA engine (aws-neuron-driver udma/udma_regs.h).
#include "simulator/dma/udma.h"

namespace opennrt::sim {
namespace {

constexpr std::uint32_t kDefaultCompletionBytes = 16;  // aws-neuron-driver udma/udma.h, UDMA_CDESC_SIZE

struct Place {
  DmaQueue::Side side;
  std::uint32_t queue;
  std::uint64_t offset;
};

std::optional<Place> locate(std::uint64_t offset) {
  constexpr std::uint64_t kBytes = inf1::kQueuesPerDmaEngine * inf1::kUdmaQueueStride;
  for (const auto& [side, base] :
       {std::pair{DmaQueue::kTx, inf1::kM2sQueues}, std::pair{DmaQueue::kRx, inf1::kS2mQueues}}) {
    if (offset < base || offset - base >= kBytes) continue;
    return Place{side, static_cast<std::uint32_t>((offset - base) / inf1::kUdmaQueueStride),
                 (offset - base) % inf1::kUdmaQueueStride};
  }
  return std::nullopt;
}

}  // namespace

DmaEngine::DmaEngine(const DmaEnvironment& environment, std::uint32_t device, std::uint32_t index) : index_(index) {
  for (std::uint32_t q = 0; q < inf1::kQueuesPerDmaEngine; ++q) {
    const std::string name = fmt::format("device{}_dma{}_queue{}", device, index, q);
    queues_[q] = std::make_unique<DmaQueue>(name.c_str(), environment, *this, q);
  }
}

std::uint32_t DmaEngine::stored(std::uint64_t offset) const {
  const auto it = storage_.find(offset);
  return it == storage_.end() ? 0 : it->second;
}

std::uint32_t DmaEngine::max_descriptors() const {
  const std::uint32_t configured = stored(inf1::kM2sPrefetchCfg2) & inf1::kMaxDescriptorsMask;
  return configured != 0 ? configured : inf1::kDescPerPacket;
}

std::uint32_t DmaEngine::max_packet_bytes() const {
  const std::uint32_t configured = stored(inf1::kM2sLengthCfg) & inf1::kMaxPacketMask;
  return configured != 0 ? configured : inf1::kDescPerPacket * inf1::kDescMaxBytes;
}

std::uint32_t DmaEngine::completion_bytes() const {
  const std::uint32_t words = stored(inf1::kS2mCompletionCfg1) & 0xf;
  return words != 0 ? words * 4 : kDefaultCompletionBytes;
}

std::uint32_t DmaEngine::state(DmaQueue::Side side) const {
  bool busy = false, aborted = requested_[side] == inf1::kUdmaToAbort;
  for (const auto& queue : queues_) {
    aborted = aborted || queue->aborted();
    busy = busy || queue->busy();
  }
  return aborted ? inf1::kUdmaStateAbort : busy ? inf1::kUdmaStateNormal : 0;
}

void DmaEngine::change_state(DmaQueue::Side side, std::uint32_t value) {
  if (value != inf1::kUdmaToNormal && value != inf1::kUdmaToDisabled && value != inf1::kUdmaToAbort) return;
  requested_[side] = value;
  for (auto& queue : queues_) {
    if (value == inf1::kUdmaToAbort) queue->stop();
    if (running()) queue->resume();
  }
}

std::uint32_t DmaEngine::read(std::uint64_t offset) const {
  if (const auto place = locate(offset)) return queues_[place->queue]->read(place->side, place->offset);
  switch (offset) {
    case inf1::kM2sState:
      return state(DmaQueue::kTx);
    case inf1::kS2mState:
      return state(DmaQueue::kRx);
    case inf1::kM2sErrors + inf1::kErrorCause:
      return errors_[DmaQueue::kTx];
    case inf1::kS2mErrors + inf1::kErrorCause:
      return errors_[DmaQueue::kRx];
    default:
      return stored(offset);
  }
}

void DmaEngine::write(std::uint64_t offset, std::uint32_t value) {
  if (const auto place = locate(offset)) {
    queues_[place->queue]->write(place->side, place->offset, value);
    return;
  }
  switch (offset) {
    case inf1::kM2sState:
    case inf1::kS2mState:
      return;  // read only
    case inf1::kM2sChangeState:
      return change_state(DmaQueue::kTx, value);
    case inf1::kS2mChangeState:
      return change_state(DmaQueue::kRx, value);
    case inf1::kM2sErrors + inf1::kErrorCause:
      errors_[DmaQueue::kTx] &= value;
      return;
    case inf1::kS2mErrors + inf1::kErrorCause:
      errors_[DmaQueue::kRx] &= value;
      return;
    case inf1::kM2sErrors + inf1::kErrorCauseSet:
      return add_error(DmaQueue::kTx, value);
    case inf1::kS2mErrors + inf1::kErrorCauseSet:
      return add_error(DmaQueue::kRx, value);
    default:
      storage_[offset] = value;
  }
}

void DmaEngine::reset() {
  for (auto& queue : queues_) queue->reset();
  server_.reset();
  storage_.clear();
  requested_ = {inf1::kUdmaToNormal, inf1::kUdmaToNormal};
  errors_ = {};
}

}  // namespace opennrt::sim
