// SPDX-License-Identifier: Apache-2.0
//
// Counters of one NeuronCore, always on, and the summary that is written at power off. Field names of the JSON are
// stable; they are described in simulator/README.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/isa/inf1.h"
#include "core/isa/isa.h"

namespace opennrt::sim {

struct EngineStats {
  std::uint64_t instructions = 0;
  std::uint64_t busy_cycles = 0, busy_ps = 0;
  std::uint64_t semaphore_wait_ps = 0;  ///< an instruction was there, its semaphore was not
  std::uint64_t event_wait_ps = 0;      ///< likewise for an event
  std::uint64_t starved_ps = 0;         ///< between two instructions the FIFO was empty
  std::uint64_t useful_operations = 0;
  std::array<std::uint64_t, inf1::kSemaphores> semaphore_wait_each_ps{};
};

struct QueueStats {
  std::uint64_t packets = 0, bytes = 0, busy_ps = 0;
};

struct CoreStats {
  std::array<EngineStats, isa::kEngines> engines;
  std::uint64_t first_start_ps = 0, last_end_ps = 0;  ///< of any instruction
  bool started = false;
  std::uint64_t dma_descriptors = 0, dma_packets = 0, dma_aborts = 0;
  std::uint64_t dram_read_bytes = 0, dram_write_bytes = 0;
  std::uint64_t host_read_bytes = 0, host_write_bytes = 0;
  std::uint64_t neighbour_read_bytes = 0, neighbour_write_bytes = 0;      ///< of these, over a link to another chip
  std::uint64_t core_memory_read_bytes = 0, core_memory_write_bytes = 0;  ///< SBUF and PSUM, by DMA
  std::uint64_t instruction_bytes = 0;                                    ///< into FIFOs, by DMA
  std::array<QueueStats, inf1::kDmaEnginesPerCore * inf1::kQueuesPerDmaEngine> queues{};
  std::uint64_t notifications = 0, notifications_lost = 0;

  bool touched() const { return started || dma_descriptors != 0 || notifications != 0 || dma_aborts != 0; }
};

struct CoreStatsEntry {
  std::uint32_t device = 0, core = 0;
  CoreStats stats;
};

/// What bounds a core: its array, and how fast its DMA engines move bytes from and to DRAM.
struct Roof {
  double operations_per_ns = 0, bytes_per_ns = 0;
};

/// The summary as JSON. Cores that did nothing are left out.
Status write_stats(const std::string& path, const std::string& instance, double clock_ghz, const Roof& roof,
                   std::uint64_t simulated_ps, const std::vector<CoreStatsEntry>& cores);

}  // namespace opennrt::sim
