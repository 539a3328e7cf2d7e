// SPDX-License-Identifier: Apache-2.0
//
// A subgraph's folder → Subgraph. Internal to this library.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/neff/json.h"
#include "core/neff/neff.h"

namespace opennrt::neff {

using Files = std::map<std::string, std::vector<std::byte>>;

/// What is known while a subgraph is read: the folder, names to indices, and what constants may still cost.
struct SubgraphContext {
  const Files& files;
  std::string folder;  ///< "sg00/" or ""
  std::uint64_t constant_bytes_left = 0;
  std::unordered_map<std::string, std::size_t> variables{};  ///< name → index in Subgraph::variables
  std::unordered_map<std::string, std::size_t> queues{};
  std::vector<bool> queue_has_owner{};  ///< per queue: its owner was named, or taken from its first user
  std::array<std::string, isa::kEngines> engine_files{};  ///< as def.json names them; empty: the engine has no program
  std::array<std::string, isa::kEngines> instruction_files{};
};

/// The file `name` of the folder, or nullptr.
const std::vector<std::byte>* find_file(const SubgraphContext& context, const std::string& name);

/// def.json: variables with their constants, queue sets, names of the engine files.
Status read_definition(const std::string& file, SubgraphContext& context, Subgraph& subgraph);
/// An engine's JSON file: instructions and DMA entries.
Status read_engine(isa::Engine engine, SubgraphContext& context, Subgraph& subgraph);
/// Bytes of a tensor; an unknown dtype, a shape that overflows are failures that name the field.
std::uint64_t tensor_bytes(const std::string& dtype, const std::string& dtype_path,
                           const std::vector<std::uint32_t>& shape, const std::string& shape_path, Failure& failure);
/// tensor_map.json: dtype and shape of every input and output.
Status read_tensor_map(SubgraphContext& context, Subgraph& subgraph);

}  // namespace opennrt::neff
