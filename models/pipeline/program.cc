// SPDX-License-Identifier: Apache-2.0
#include "models/pipeline/program.h"

#include <algorithm>
#include <cstring>

namespace opennrt::compile::pipeline {
namespace {

/// `wanted` when a NEFF can hold it and nobody has it; else one made from `fallback`. Taken from now on.
std::string take_name(std::set<std::string>& taken, const std::string& wanted, std::string fallback) {
  const bool plain = !wanted.empty() && wanted.size() <= onnx_model::kMaxNameBytes &&
                     std::all_of(wanted.begin(), wanted.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain && taken.insert(wanted).second) return wanted;
  while (!taken.insert(fallback).second) fallback += '_';
  return fallback;
}

template <typename To, typename From>
std::vector<std::byte> bytes_of(const std::vector<From>& from) {
  std::vector<std::byte> bytes(from.size() * sizeof(To));
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto value = static_cast<To>(from[i]);
    std::memcpy(bytes.data() + i * sizeof(To), &value, sizeof(To));
  }
  return bytes;
}

}  // namespace

Program::Program(const graph::Graph& model) : name_(model.name.empty() ? "model" : model.name), values_(model.values) {
  for (const auto* list : {&model.inputs, &model.outputs}) {
    for (const graph::ValueId id : *list) {
      names_.insert(value(id).name);
      published_.insert(id);
      neff::TensorInfo tensor = info(id);
      tensor.kind = list == &model.inputs ? neff::TensorKind::kInput : neff::TensorKind::kOutput;
      neff_.tensors.push_back(std::move(tensor));
    }
  }
}

neff::TensorInfo Program::info(graph::ValueId id) const {
  const graph::Value& v = values_[static_cast<std::size_t>(id)];
  neff::TensorInfo info;
  info.name = v.name;
  info.dtype = graph::element_name(v.element);
  info.shape.assign(v.shape.begin(), v.shape.end());
  info.bytes =
      static_cast<std::uint64_t>(graph::element_count(v.shape)) * (v.element == graph::Element::kInt64 ? 8 : 4);
  return info;
}

void Program::publish(graph::ValueId id) {
  if (!published_.insert(id).second) return;
  value(id).name = take_name(names_, value(id).name, fmt::format("value{}", id));
}

void Program::name_values(std::vector<graph::Graph>& stages, const std::vector<graph::Node>& host) {
  // Casts of the device made values that the model did not have.
  if (!stages.empty())
    values_.insert(values_.end(), stages[0].values.begin() + static_cast<std::ptrdiff_t>(values_.size()),
                   stages[0].values.end());
  for (const graph::Node& n : host) {
    for (const graph::ValueId v : n.inputs) publish(v);
    publish(n.output);
    for (const graph::ValueId v : n.more_outputs) publish(v);
  }
  for (graph::Graph& stage : stages) {
    for (const auto* list : {&stage.inputs, &stage.outputs}) {
      for (const graph::ValueId v : *list) {
        publish(v);
        stage.values[static_cast<std::size_t>(v)].name = value(v).name;
      }
    }
  }
}

void Program::add_host(const graph::Node& node) {
  neff::CpuNode cpu;
  const auto& op = *node.as<graph::Host>();
  cpu.name = take_name(node_names_, node.name, fmt::format("cpu{}", neff_.cpu_nodes.size()));
  cpu.function = op.function;
  cpu.attributes = op.attributes;
  for (const graph::ValueId id : node.inputs) {
    const graph::Value& v = value(id);
    cpu.inputs.push_back(v.name);
    if (!v.is_constant() || !constants_.insert(id).second) continue;
    neff_.constants.push_back({info(id), v.constant                            ? bytes_of<float>(*v.constant)
                                         : v.element == graph::Element::kInt32 ? bytes_of<std::int32_t>(*v.ints)
                                                                               : bytes_of<std::int64_t>(*v.ints)});
  }
  cpu.outputs.push_back(info(node.output));
  for (const graph::ValueId id : node.more_outputs) cpu.outputs.push_back(info(id));
  neff_.steps.push_back({neff::Step::Kind::kCpu, neff_.cpu_nodes.size()});
  neff_.cpu_nodes.push_back(std::move(cpu));
}

void Program::add_subgraph(neff::Subgraph subgraph) {
  neff_.steps.push_back({neff::Step::Kind::kSubgraph, neff_.subgraphs.size()});
  neff_.subgraphs.push_back(std::move(subgraph));
}

}  // namespace opennrt::compile::pipeline
