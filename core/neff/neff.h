// SPDX-License-Identifier: Apache-2.0
//
// A NEFF as structures (see README.md of this folder for the format and for what is ours in it).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"
#include "core/isa/isa.h"

namespace opennrt::neff {

/// The 1024-byte header (aws-neuron-sdk neuron-runtime/explore/work-with-neff-files.rst).
struct Header {
  std::uint64_t pkg_version = 1, header_size = 1024, data_size = 0, major = 1, minor = 1;
  std::string build_version;
  std::uint32_t num_tpb = 1;
  std::array<std::uint8_t, 32> hash{};
  std::array<std::uint8_t, 16> uuid{};
  std::string name;
  std::uint32_t requested_tpb_count = 1;
  std::array<std::uint8_t, 64> tpb_per_node{};
  std::uint64_t feature_bits = 0;
  std::uint32_t lnc_size = 1;
};

enum class VariableType { kInput, kOutput, kFile, kTmpBuf, kStateBuffer };
const char* type_name(VariableType type);  ///< as def.json has it
struct Variable {
  std::string name;
  VariableType type = VariableType::kTmpBuf;
  std::uint64_t id = 0, size = 0, alignment = 0;
  std::uint64_t address = 0;    ///< kStateBuffer: offset in the SBUF window
  std::string file_name;        ///< kFile
  std::vector<std::byte> data;  ///< kFile: contents (of an .npy: its array data)
};

enum class QueueType { kIn, kOut, kData };
const char* type_name(QueueType type);  ///< as def.json has it
struct QueueSet {
  std::string name;
  QueueType type = QueueType::kData;
  isa::Engine owner = isa::Engine::kPool;
  std::optional<std::uint32_t> semaphore;
  bool pinned = false;
};

/// One side of a DMA transfer: `sizes[0]` bytes, then counts; steps in bytes. 1 to 4 dimensions, [0] innermost.
struct AccessPattern {
  std::size_t variable = 0;  ///< index in Subgraph::variables
  std::uint64_t offset = 0;
  std::vector<std::uint64_t> sizes;
  std::vector<std::int64_t> steps;
};
struct DmaEntry {
  std::uint32_t id = 0;
  std::size_t queue = 0;  ///< index in Subgraph::queues
  std::optional<std::uint32_t> semaphore, event;
  AccessPattern from, to;
};

struct EngineProgram {
  std::vector<std::byte> instructions;  ///< multiples of 64 bytes, pseudo instructions included
  std::vector<DmaEntry> dma;
};

enum class TensorKind { kInput, kOutput };
struct TensorInfo {
  std::string name;  ///< at most 255 bytes
  TensorKind kind = TensorKind::kInput;
  std::string dtype;  ///< "float32", "bfloat16", "int32", …
  std::vector<std::uint32_t> shape;
  std::uint64_t bytes = 0;
};

/// A variable that is reported to who listens on the debug stream after every inference.
struct DebugTensor {
  std::string name;
  std::string dtype;
  std::vector<std::uint32_t> shape;
  std::uint64_t bytes = 0;
  std::size_t variable = 0;  ///< index in Subgraph::variables: a tmp-buf or an output of at least `bytes`
};

struct Subgraph {
  std::string name;
  std::vector<Variable> variables;
  std::vector<QueueSet> queues;
  std::array<EngineProgram, isa::kEngines> engines;  ///< indexed by isa::Engine
  std::vector<TensorInfo> tensors;                   ///< inputs, then outputs, each in the order of the file
  std::vector<DebugTensor> debug_tensors;
  std::uint32_t isa_version = 0;  ///< 0: the instructions are not of our set
};

/// The `target` of a kelf whose instructions are of docs/isa.md.
inline constexpr std::string_view kTarget = "opennrt-1";

/// A node of the model's graph that runs on the host's CPU, between subgraphs (README.md lists the functions).
struct CpuNode {
  std::string name, function;                     ///< "opennrt.gather", …
  std::vector<std::string> inputs;                ///< names of values: of the model, of a constant, of an earlier step
  std::vector<TensorInfo> outputs;                ///< kind means nothing here
  std::map<std::string, std::string> attributes;  ///< as in the file; the function knows them
};
/// A constant of the model's graph, for CPU nodes.
struct GraphConstant {
  TensorInfo info;
  std::vector<std::byte> data;
};
/// One step of an inference: a subgraph on its NeuronCore, or a CPU node. Values pass between steps by name.
struct Step {
  enum class Kind { kSubgraph, kCpu } kind = Kind::kSubgraph;
  std::size_t index = 0;  ///< in Neff::subgraphs or Neff::cpu_nodes
};

struct Neff {
  Header header;
  std::string target;               ///< of the kelf
  std::vector<Subgraph> subgraphs;  ///< of a foreign target: what could be read, at least the names; isa_version is 0
  std::vector<CpuNode> cpu_nodes;
  std::vector<GraphConstant> constants;  ///< of the graph, not of a subgraph
  std::vector<Step> steps;               ///< in an order in which they can run
  std::vector<TensorInfo> tensors;       ///< of the model: inputs, then outputs, each in the order of the file
  std::vector<std::string>
      notices;  ///< for the log: a hash that cannot be checked, parts of a foreign NEFF that were not read
};

struct ParseOptions {
  bool validate_hash = false;  ///< NEURON_RT_VALIDATE_HASH
  std::uint64_t max_unpacked_bytes = 4ull << 30;
};

/// Reads the header only. A size or version that cannot be is an error that names the field.
Result<Header> parse_header(std::span<const std::byte> bytes);
/// The 1024 bytes of a header.
std::array<std::byte, 1024> encode_header(const Header& header);
/// Files of the payload by path, checked (no absolute or parent paths, no links, bounded sizes).
Result<std::map<std::string, std::vector<std::byte>>> unpack(std::span<const std::byte> bytes,
                                                             const ParseOptions& options = {});
/// Everything: header, payload, JSON, references between them. The result does not point into `bytes`.
Result<Neff> parse(std::span<const std::byte> bytes, const ParseOptions& options = {});

}  // namespace opennrt::neff
