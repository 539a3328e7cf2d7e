// SPDX-License-Identifier: Apache-2.0
//
// Device profiles: what the engines of a NeuronCore did in an inference. core/umd asks whether an inference is wanted, records it
// and hands it in; here it is kept and written. docs/profiling.md describes the files.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::observe::profile {

/// What a program on a core is part of; said once, after it has been loaded.
struct ProgramId {
  std::uint32_t vnc = 0;    ///< NeuronCore as the process counts them
  std::uint64_t model = 0;  ///< of the loaded model, unique in the process; 0: nobody's
  std::uint64_t neff = 0;   ///< of the file: the same for every time it is loaded
  std::string model_name, subgraph;
};

struct Instruction {
  std::uint32_t index = 0;                 ///< in the engine's stream, from 0
  std::uint64_t begin_ns = 0, end_ns = 0;  ///< device clock; without the time it waited for a semaphore or an event
};
struct EngineActivity {
  std::string name;  ///< "pe", …
  std::vector<Instruction> instructions;
  std::uint64_t program_instructions = 0;  ///< that the program has
  std::uint64_t lost_entries = 0;          ///< trace notifications that did not fit the queue or did not come
  std::shared_ptr<const std::vector<std::string>> texts;  ///< by index, disassembled
};

/// One inference on one core.
struct Inference {
  ProgramId program;
  std::uint64_t exec_id = 0;
  bool failed = false;
  std::string message;                                 ///< of a failure
  std::string untraced;                                ///< why there are no engines; empty when there are
  std::uint64_t host_begin_ns = 0, host_ns = 0;        ///< host clock, since 1970
  std::uint64_t device_begin_ns = 0, device_ns = 0;    ///< device clock
  std::uint64_t sync_host_ns = 0, sync_device_ns = 0;  ///< the same moment by both clocks
  std::vector<EngineActivity> engines;
};

namespace detail {
extern std::atomic<std::uint32_t> clients;  // a hint, as in trace.h
}
/// Whether device profiles are recorded at all: one relaxed load.
inline bool on() {
  return detail::clients.load(std::memory_order_relaxed) != 0;
}
/// Whether the next inference of this program is to be recorded. Thread-safe.
bool wanted(const ProgramId& program);
/// Hands in a recorded inference; when memory runs out it is counted as lost. Thread-safe.
void submit(Inference inference) noexcept;

// ---- one model, from start to stop ----
/// kInvalidArgument: the file name is empty or in use.
Status start(std::uint64_t model, const std::string& file);
/// Writes the file. kInvalidArgument: not started; kResource: cannot be written (and is forgotten all the same).
Status stop(const std::string& file);

// ---- continuous: the latest inference of each core ----
Status continuous_start();
Status continuous_save(std::uint32_t vnc, const std::string& folder);
Status continuous_stop();

// ---- inspection ----
enum class InspectMode {
  kNone,
  kModel,    ///< the first inference of each NEFF on each core
  kSession,  ///< every inference, one file
};
/// kInvalidArgument: continuous profiling is on. `folder`: where failures are written at once when `on_fail`.
Status inspect_start(InspectMode mode, bool on_fail, const std::string& folder);
/// Writes what was recorded into the folder.
Status inspect_stop();

/// A file name in `folder` that is not taken: stem.json, stem_1.json, …
std::string free_name(const std::string& folder, const std::string& stem);

}  // namespace opennrt::observe::profile
