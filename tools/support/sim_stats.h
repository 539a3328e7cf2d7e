// SPDX-License-Identifier: Apache-2.0
//
// The summary that the simulator writes at nrt_close when OPENNRT_SIM_STATS names a file (simulator/chip/stats.cc writes it).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/isa/isa.h"

namespace opennrt::client {

struct SimStats {
  struct Engine {
    std::uint64_t instructions = 0, busy_cycles = 0, useful_operations = 0;
    std::uint64_t busy_ns = 0, stalled_semaphore_ns = 0, stalled_event_ns = 0, stalled_instructions_ns = 0;
    std::map<std::uint32_t, std::uint64_t> stalled_on_semaphore_ns;  ///< by semaphore; those that were waited for
  };
  struct Queue {
    std::uint32_t engine = 0, queue = 0;  ///< engine of the core
    std::uint64_t packets = 0, bytes = 0, busy_ns = 0;
  };
  /// Where the core is under its roof; operations are multiplications and additions of the tensor engine.
  struct Roofline {
    double operations_per_byte = 0, peak_gflops = 0, dram_gigabytes_per_second = 0, attainable_gflops = 0,
           achieved_gflops = 0;
    std::string bound;  ///< "compute" or "memory"
  };
  struct Core {
    std::uint32_t device = 0, core = 0;
    std::uint64_t first_start_ns = 0, last_end_ns = 0;  ///< of any instruction
    std::array<Engine, isa::kEngines> engines;          ///< indexed by isa::Engine
    std::uint64_t dram_read_bytes = 0, dram_write_bytes = 0, host_read_bytes = 0, host_write_bytes = 0;
    std::uint64_t core_memory_read_bytes = 0, core_memory_write_bytes = 0, instruction_bytes = 0;
    std::uint64_t neighbour_read_bytes = 0, neighbour_write_bytes = 0;  ///< of these, over a link to another chip
    std::vector<Queue> queues;                                          ///< those that moved something
    Roofline roofline;

    std::uint64_t span_ns() const { return last_end_ns - first_start_ns; }
  };
  std::string instance;
  double clock_ghz = 0;
  std::uint64_t simulated_ns = 0;
  std::vector<Core> cores;  ///< those that did something
};

/// kInvalidFile names the file and the field.
Result<SimStats> read_sim_stats(const std::filesystem::path& path);

/// Simulated time per inference, in nanoseconds, of `inferences` that were spread over the cores and ran back to back on each:
/// from a core's first instruction to its last, so what moves inputs and outputs between two inferences counts. 0 when no core
/// ran anything.
double ns_per_inference(const SimStats& stats, std::uint64_t inferences);

/// Simulated time from one result to the next, in nanoseconds, of `inferences` that kept the cores busy all the time, as copies of
/// a model or as the stages of a pipeline: from the first instruction of any core to the last of any. 0 as above.
double ns_between_results(const SimStats& stats, std::uint64_t inferences);

/// Asks the simulator for its summary: in a file of our own, unless OPENNRT_SIM_STATS names one already. Make one before nrt_init,
/// read() after nrt_close. Changes the environment of the process, so only while it has one thread.
class SummaryRequest {
 public:
  SummaryRequest();
  ~SummaryRequest();
  SummaryRequest(const SummaryRequest&) = delete;
  SummaryRequest& operator=(const SummaryRequest&) = delete;
  /// Nothing when none was written: the backend is not the simulator.
  Result<std::optional<SimStats>> read() const;

 private:
  std::filesystem::path folder_, file_;  ///< folder_: ours, when it is not empty
};

}  // namespace opennrt::client
