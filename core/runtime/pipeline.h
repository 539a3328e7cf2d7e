// SPDX-License-Identifier: Apache-2.0
//
// One replica of a model: its subgraphs on NeuronCores that follow each other, and CPU nodes between them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/common/error.h"
#include "core/runtime/machine.h"
#include "core/runtime/plan.h"
#include "core/umd/fifo_semaphore.h"
#include "core/umd/umd.h"

namespace opennrt {

/// Where a subgraph goes.
struct Placement {
  std::uint32_t vnc = 0;
  Core core;
};

/// Thread-safe. Every thread in execute() takes one inference through all steps; while it is in one step, others are in the
/// steps before and after it, so that the cores work side by side. What steps pass to each other is each inference's own:
/// there are buffers for one inference more than there are stages, and who comes beyond that waits, first come, first served.
class Pipeline {
 public:
  /// `placements`: one per subgraph, in the order of `neff.subgraphs`. `shared`: constants of replicas, or nullptr. On failure
  /// nothing stays behind.
  static Result<std::unique_ptr<Pipeline>> load(const neff::Neff& neff, std::shared_ptr<const Plan> plan,
                                                std::span<const Placement> placements, umd::SharedConstants* shared);

  /// One inference. Bindings are in the order of the model's inputs and outputs and have their sizes. `timeout_ns` is for all
  /// work on devices together. A failure is logged; its message says in which step it was. An Error: it could not be started.
  Result<umd::ExecutionReport> execute(std::span<const umd::Binding> inputs, std::span<const umd::Binding> outputs,
                                       std::uint64_t timeout_ns);

  std::uint32_t vnc() const { return stages_.front().vnc; }  ///< its first core
  /// Whether one of its cores is on the device.
  bool uses(const umd::Device& device) const;
  /// Where its inferences are counted.
  const umd::Program& first_program() const { return *stages_.front().program; }
  std::uint32_t first_device() const { return stages_.front().program->device()->number(); }

  std::atomic<std::uint32_t> busy{0};  ///< threads in execute(), kept by the caller

 private:
  struct Stage {
    std::uint32_t vnc = 0;
    std::unique_ptr<umd::Program> program;
    observe::profile::ProgramId id;
  };
  /// The values of one inference.
  struct Frame {
    std::vector<umd::Binding> values;                ///< of inputs and outputs: as long as the inference runs
    std::vector<std::unique_ptr<std::byte[]>> host;  ///< values that steps pass in host memory
    std::vector<std::vector<std::byte>> copies;      ///< of values that are where a step cannot reach them
  };

  explicit Pipeline(std::shared_ptr<const Plan> plan);
  Status make_frames();
  Result<std::unique_ptr<Frame>> make_frame() const;
  bool stays_on_device(std::size_t value) const;
  std::unique_ptr<Frame> take_frame();
  void give_frame(std::unique_ptr<Frame> frame);
  const umd::Device* device_of(std::size_t step) const;
  bool reaches(std::size_t step, std::size_t value, const Frame& frame) const;
  Result<umd::ExecutionReport> run_steps(Frame& frame, std::uint64_t timeout_ns);
  Result<umd::ExecutionReport> run_step(std::size_t number, Frame& frame, const umd::Run& run);
  Result<umd::ExecutionReport> run_stage(std::size_t number, std::span<const umd::Binding> inputs,
                                         std::span<const umd::Binding> outputs, umd::Run run);
  void report_debug_tensors(std::size_t number) const;
  void log_failure(std::size_t number, const umd::ExecutionReport& report) const;

  std::shared_ptr<const Plan> plan_;
  std::vector<Stage> stages_;  ///< per subgraph
  umd::FifoSemaphore places_;  ///< frames that are free
  std::mutex mutex_;
  std::vector<std::unique_ptr<Frame>> frames_;
};

}  // namespace opennrt
