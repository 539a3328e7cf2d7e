// SPDX-License-Identifier: Apache-2.0
//
// ONNX in, NEFF out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/isa/isa.h"

namespace opennrt::compile {

struct Options {
  enum class AutoCast { kNone, kMatmult, kAll };  ///< as the vendor compiler's --auto-cast: what is computed in bf16
  AutoCast auto_cast = AutoCast::kNone;
  std::string name;  ///< of the NEFF; empty: the graph's name
  /// NeuronCores to spread the network over, each with its part (a pipeline); 0: as few as the nodes for the CPU allow, mostly 1.
  std::size_t cores = 0;
  std::vector<std::string> debug;  ///< values (by their ONNX names) that the debug stream shall report
  isa::Limits limits;              ///< of the core compiled for
};

struct Report {  ///< what was made, for people
  std::size_t nodes = 0, instructions[isa::kEngines] = {}, dma_entries = 0;
  std::uint64_t constant_bytes = 0, scratch_bytes = 0, macs = 0;
  std::uint32_t sbuf_peak_bytes_per_partition = 0;
  struct Stage {
    std::string subgraph;
    std::size_t nodes = 0;
    std::uint64_t cycles = 0;  ///< estimate that the cuts were made by; 0 when there was nothing to cut
  };
  std::vector<Stage> stages;
  std::vector<std::string> cpu_nodes;  ///< "node 'name' (Gather)": those that the runtime's CPU does
};

/// Compiles a serialised ONNX model. Errors are kInvalidFile (what is broken), kUnsupported (operator, attribute or shape,
/// with the node's name) or kInvalidArgument (`cores`, `debug`: what was expected). Deterministic: the same bytes in give the same bytes out. Thread-safe.
Result<std::vector<std::byte>> compile_onnx(std::span<const std::byte> model, const Options& options,
                                            Report* report = nullptr);

}  // namespace opennrt::compile
