// SPDX-License-Identifier: Apache-2.0
//
// Models of several steps, put together from hand-made subgraphs and CPU nodes.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace opennrt::test {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// The program under another name, with other names for its tensors.
inline SubgraphBuilder renamed(SubgraphBuilder b, const std::string& name, std::map<std::string, std::string> names) {
  b.graph.name = name;
  for (auto& v : b.graph.variables)
    if (names.contains(v.name)) v.name = names[v.name];
  for (auto& t : b.graph.tensors)
    if (names.contains(t.name)) t.name = names[t.name];
  return b;
}

/// An input becomes a constant with this content.
inline SubgraphBuilder with_constant(SubgraphBuilder b, const std::string& input, std::vector<std::byte> data) {
  std::erase_if(b.graph.tensors, [&](const neff::TensorInfo& t) { return t.name == input; });
  for (auto& v : b.graph.variables)
    if (v.name == input) {
      v.type = neff::VariableType::kFile;
      v.file_name = input + ".npy";
      v.data = std::move(data);
    }
  return b;
}

inline neff::TensorInfo tensor_info(const std::string& name, neff::TensorKind kind, const std::string& dtype,
                                    std::vector<std::uint32_t> shape) {
  neff::TensorInfo t{name, kind, dtype, std::move(shape), neff::dtype_bytes(dtype)};
  for (auto n : t.shape) t.bytes *= n;
  return t;
}

/// Steps in the order in which they are added.
class ModelBuilder {
 public:
  neff::Neff model;

  ModelBuilder& input(const std::string& name, std::vector<std::uint32_t> shape, const std::string& dtype = "float32") {
    model.tensors.push_back(tensor_info(name, neff::TensorKind::kInput, dtype, std::move(shape)));
    return *this;
  }
  ModelBuilder& output(const std::string& name, std::vector<std::uint32_t> shape,
                       const std::string& dtype = "float32") {
    model.tensors.push_back(tensor_info(name, neff::TensorKind::kOutput, dtype, std::move(shape)));
    return *this;
  }
  ModelBuilder& constant(const std::string& name, const std::string& dtype, std::vector<std::uint32_t> shape,
                         std::vector<std::byte> data) {
    model.constants.push_back({tensor_info(name, neff::TensorKind::kInput, dtype, std::move(shape)), std::move(data)});
    return *this;
  }
  ModelBuilder& subgraph(const SubgraphBuilder& b) {
    model.steps.push_back({neff::Step::Kind::kSubgraph, model.subgraphs.size()});
    model.subgraphs.push_back(b.graph);
    return *this;
  }
  ModelBuilder& cpu(const std::string& name, const std::string& function, std::vector<std::string> inputs,
                    std::vector<neff::TensorInfo> outputs, std::map<std::string, std::string> attributes = {}) {
    model.steps.push_back({neff::Step::Kind::kCpu, model.cpu_nodes.size()});
    model.cpu_nodes.push_back({name, function, std::move(inputs), std::move(outputs), std::move(attributes)});
    return *this;
  }
  NeffBuilder files() const { return NeffBuilder::of_model(model); }
  std::vector<std::byte> build() const { return files().build(); }
};

/// `stages` subgraphs sg00, sg01 …, each of which adds its constant vector to what the one before put out:
/// "in" → "v0" → "v1" … → "out", all [partitions, n].
inline ModelBuilder sum_pipeline(const std::vector<std::vector<float>>& constants, std::uint32_t partitions,
                                 std::uint32_t n) {
  ModelBuilder model;
  model.input("in", {partitions, n}).output("out", {partitions, n});
  for (std::size_t i = 0; i < constants.size(); ++i) {
    auto b = with_constant(binary_program(isa::Alu::kAdd, partitions, n), "b", bytes_of(constants[i]));
    model.subgraph(renamed(b, "sg0" + std::to_string(i),
                           {{"a", i == 0 ? "in" : "v" + std::to_string(i - 1)},
                            {"out", i + 1 == constants.size() ? "out" : "v" + std::to_string(i)}}));
  }
  return model;
}

/// One of each kind: ids [4] → rows of the constant "table" [10, 16] (CPU node "embed") → "x" → sg00 → "mid" → sg01 → "y", an output →
/// index of the largest, "best" [4, 1] (CPU node "pick"). The subgraphs copy.
inline ModelBuilder every_step(std::vector<std::byte> table = std::vector<std::byte>(640, std::byte{1})) {
  const auto copy = [](const char* name, const char* from, const char* to) {
    return renamed(copy_program(4, 16), name, {{"in", from}, {"out", to}});
  };
  return ModelBuilder()
      .input("ids", {4}, "int64")
      .output("best", {4, 1}, "int64")
      .output("y", {4, 16})
      .constant("table", "float32", {10, 16}, std::move(table))
      .cpu("embed", "opennrt.gather", {"table", "ids"},
           {tensor_info("x", neff::TensorKind::kOutput, "float32", {4, 16})}, {{"axis", "0"}})
      .subgraph(copy("sg00", "x", "mid"))
      .subgraph(copy("sg01", "mid", "y"))
      .cpu("pick", "opennrt.argmax", {"y"}, {tensor_info("best", neff::TensorKind::kOutput, "int64", {4, 1})},
           {{"axis", "1"}});
}

}  // namespace opennrt::test
