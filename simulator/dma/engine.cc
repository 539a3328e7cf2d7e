// SPDX-License-Identifier: Apache-2.0
//
// Register view of a UDMA engine (aws-neuron-driver udma/udma_regs.h).
#include "simulator/dma/udma.h"

namespace opennrt::sim {
namespace {

// State registers of the two halves: four fields of two bits, 0 idle, 1 normal, 2 abort.
constexpr std::uint64_t kM2sState = 0x200, kS2mState = 0x2'0200;
constexpr std::uint32_t kStateNormal = 0x1111, kStateAbort = 0x2222;

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

std::uint32_t DmaEngine::read(std::uint64_t offset) const {
  if (const auto place = locate(offset)) return queues_[place->queue]->read(place->side, place->offset);
  if (offset == kM2sState || offset == kS2mState) {
    bool busy = false;
    for (const auto& queue : queues_) {
      if (queue->aborted()) return kStateAbort;
      busy = busy || queue->busy();
    }
    return busy ? kStateNormal : 0;
  }
  const auto it = storage_.find(offset);
  return it == storage_.end() ? 0 : it->second;
}

void DmaEngine::write(std::uint64_t offset, std::uint32_t value) {
  if (const auto place = locate(offset)) {
    queues_[place->queue]->write(place->side, place->offset, value);
  } else if (offset != kM2sState && offset != kS2mState) {
    storage_[offset] = value;
  }
}

void DmaEngine::reset() {
  for (auto& queue : queues_) queue->reset();
  server_.reset();
  storage_.clear();
}

}  // namespace opennrt::sim
