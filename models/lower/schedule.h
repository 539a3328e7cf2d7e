// SPDX-License-Identifier: Apache-2.0
//
// From one ordered list to three engine streams and their DMA queues, which all run at the same time. Every dependency through a
// byte of memory (read after write, write after read, write after write) between two of them becomes a signal on the earlier
// side and a consuming wait on the later one, unless an earlier wait implies it already.
//
// What is relied on: an engine retires its instructions in order; a DMA queue completes its entries in order. Why it cannot
// deadlock: each wait is for something earlier in the list, and every engine and queue works in the list's order.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/neff/neff.h"
#include "models/lower/recorder.h"

namespace opennrt::compile::lower {

struct Schedule {
  std::array<neff::EngineProgram, isa::kEngines> engines;
  std::vector<neff::QueueSet> queues;
  std::array<std::size_t, isa::kEngines> instructions{};
  std::size_t dma_entries = 0;
};

/// Who does an operation: an engine, or behind them a queue.
inline std::size_t agent_of(const Operation& op) {
  return op.is_dma ? isa::kEngines + static_cast<std::size_t>(op.queue) : static_cast<std::size_t>(op.engine);
}
/// Cycles that the operation keeps its agent busy, roughly (docs/fidelity.md): what cuts are weighed with, nothing more.
std::uint64_t cycles_of(const Operation& op);
/// Moving tensors overlaps with the work of neighbours: about half of it counts, which is what the simulator shows for networks
/// whose tensors do not all fit in SBUF (bench/pipeline).
inline constexpr std::uint64_t kOverlap = 2;
/// Cycles of moving `bytes` through one queue.
std::uint64_t transfer_cycles(std::uint64_t bytes);

/// kResource when the device's semaphores do not suffice; kInternal when an instruction does not encode.
Result<Schedule> schedule(const std::vector<Operation>& operations);

}  // namespace opennrt::compile::lower
