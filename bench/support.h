// SPDX-License-Identifier: Apache-2.0
//
// What the benchmark programs share: a session, and one way to fail. Everything measured goes through the public C API.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "models/compiler.h"
#include "tools/support/client.h"
#include "tools/support/sim_stats.h"

namespace opennrt::bench {

/// Runs the benchmarks of the program. Without OPENNRT_BACKEND in the environment they run on the simulator; what they run on is
/// in the report. Returns the exit status: 1 when a benchmark failed.
int run_main(int argc, char** argv);

/// Ends a benchmark as failed, so that the program fails, too.
void fail(benchmark::State& state, const Error& error);

/// Root of the source tree, where the models are: OPENNRT_SOURCE_DIR, or where the program was built from.
std::filesystem::path source_dir();

/// A model compiled, loaded on a core and bound to VIRTUAL tensors; the runtime is initialised and closed with it.
class LoadedModel {
 public:
  static Result<LoadedModel> load(const std::vector<std::byte>& neff, const std::string& name);
  LoadedModel(LoadedModel&&) = default;

  client::Model& model() { return *model_; }
  client::Binding& binding() { return *binding_; }
  Status execute();
  /// Unloads, closes the runtime and returns the simulated time that the executions took on average, in nanoseconds; nothing
  /// on other backends.
  Result<std::optional<double>> close();

 private:
  LoadedModel() = default;
  // Destroyed from the last to the first: tensors, model, runtime, and then what the runtime wrote.
  std::unique_ptr<client::SummaryRequest> summary_;
  std::size_t executions_ = 0;
  std::optional<client::Session> session_;
  std::optional<client::Model> model_;
  std::optional<client::Binding> binding_;
};

/// Times execute() in the loop of `state`; counters: inferences per second and, on the simulator, sim_ms per inference.
/// `warm_up`: once before, since the first one pays for memory that is touched for the first time.
void measure(benchmark::State& state, const Result<std::vector<std::byte>>& neff, const std::string& name,
             bool warm_up = true);

}  // namespace opennrt::bench
