// SPDX-License-Identifier: Apache-2.0
//
// The commands of `opennrt`. Each prints its result on stdout and returns its failure; main.cc prints that on stderr.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::client {
struct SimStats;
}

namespace opennrt::tool {

struct CompileOptions {
  std::string model, output, auto_cast = "none", name;
  std::size_t cores = 0;           ///< 0: as few as possible
  std::vector<std::string> debug;  ///< names of values
};
Status compile(const CompileOptions& options);

Status neff_info(const std::string& file);

struct UnpackOptions {
  std::string file, folder;
};
/// Writes the payload's files into a folder that is empty or not there yet, and nowhere else.
Status neff_unpack(const UnpackOptions& options);

struct DisasmOptions {
  std::string file, engine, subgraph;  ///< empty: all
};
Status neff_disasm(const DisasmOptions& options);

struct RunOptions {
  std::string model, output_dir;
  std::vector<std::string> inputs;  ///< name=file.npy
  bool zero_inputs = false;
  int core = -1;
  int repeat = 1;
  bool stats = false;  ///< show what the simulated chip did
};
Status run(const RunOptions& options);

struct BenchOptions {
  std::string model;
  std::uint32_t threads = 1, copies = 1;
  double seconds = 2;
  std::optional<std::uint64_t> iterations;  ///< in all, over all threads; replaces `seconds`
};
Status bench(const BenchOptions& options);

struct StatsOptions {
  std::string file;
  std::optional<std::uint64_t> inferences;  ///< the run's, for time per inference
};
/// Shows the summary that the simulator writes (OPENNRT_SIM_STATS).
Status stats(const StatsOptions& options);

void print_stats(const client::SimStats& stats, std::optional<std::uint64_t> inferences);
/// Simulated time per inference (of all cores together) and throughput.
void print_latency(const client::SimStats& stats, std::uint64_t inferences);

struct PsOptions {
  bool json = false;
};
/// Shows which processes hold NeuronCores, simulated ones of this user or of /dev/neuron<N>, and what they count.
Status ps(const PsOptions& options);

struct IoctlOptions {
  std::string file;
  bool payload = false;
  std::vector<std::string> command;
};
/// Runs the command and returns its exit status, 128 + signal where one ended it.
Result<int> ioctl_record(const IoctlOptions& options);
Result<int> ioctl_replay(const IoctlOptions& options);
Status ioctl_show(const std::string& file);

struct EmulateOptions {
  std::string instance, devices, machine;  ///< empty: from the environment; a machine of its own
  std::string driver;                      ///< or "none"; empty: 2.24.7.0
  bool verbose = false;
  std::vector<std::string> command;
};
/// Runs a command that sees simulated devices as /dev/neuron<N>, and returns its exit status as the two above.
Result<int> emulate(const EmulateOptions& options);

Status version();

}  // namespace opennrt::tool
