// SPDX-License-Identifier: Apache-2.0
#include "models/lower/lower.h"

#include <algorithm>

#include "models/lower/constants.h"
#include "models/lower/context.h"
#include "models/lower/schedule.h"

namespace opennrt::compile::lower {
namespace {

constexpr std::uint64_t kRingBytes = 24 * 1024;  // weight slots per partition: three of the largest chunks

struct Dispatch {
  Context& c;
  const graph::Node& n;
  void operator()(const graph::Conv& op) const { lower_conv(c, n, op); }
  void operator()(const graph::MatMul& op) const { lower_matmul(c, n, op); }
  void operator()(const graph::Binary& op) const { lower_binary(c, n, op); }
  void operator()(const graph::Unary& op) const { lower_unary(c, n, op); }
  void operator()(const graph::Clip& op) const { lower_clip(c, n, op); }
  void operator()(const graph::LeakyRelu& op) const { lower_leaky_relu(c, n, op); }
  void operator()(const graph::ScaleShift& op) const { lower_scale_shift(c, n, op); }
  void operator()(const graph::Pool& op) const { lower_pool(c, n, op); }
  void operator()(const graph::Reshape& op) const { lower_reshape(c, n, op); }
  void operator()(const graph::Transpose& op) const { lower_transpose(c, n, op); }
  void operator()(const graph::Concat& op) const { lower_concat(c, n, op); }
  void operator()(const graph::Softmax& op) const { lower_softmax(c, n, op); }
  void operator()(const graph::Copy& op) const { lower_copy(c, n, op); }
};

/// Upper bound of the constant columns that the nodes ask for.
std::uint64_t count_columns(const graph::Graph& g) {
  std::uint64_t columns = 0;
  for (const graph::Node& n : g.nodes) {
    const auto t =
        static_cast<std::uint64_t>(tiles(graph::dims_of(g.values[static_cast<std::size_t>(n.output)].shape).c));
    columns += n.as<graph::Conv>() || n.as<graph::Binary>() ? t : n.as<graph::ScaleShift>() ? 2 * t : 0;
  }
  return columns;
}

void declare_tensors(Context& c, const std::vector<isa::DataType>& types) {
  auto& sub = c.subgraph;
  sub.name = "sg00";
  sub.isa_version = isa::kVersion;
  c.add_variable(neff::VariableType::kStateBuffer, "sbuf", kPartitions * kPartitionStride);
  for (const auto& ids : {c.graph.inputs, c.graph.outputs}) {
    for (const ValueId id : ids) {
      while (c.value(id).name == sub.variables[0].name) sub.variables[0].name += '_';
    }
  }
  for (std::size_t i = 0; i < c.graph.values.size(); ++i) {
    c.storage[i].dims = graph::dims_of(c.graph.values[i].shape);
    c.storage[i].dtype = types[i];
  }
  const auto declare = [&](ValueId id, neff::TensorKind kind) {
    const graph::Value& v = c.value(id);
    const auto bytes = static_cast<std::uint64_t>(c.at(id).dims.elements()) * 4;
    const int variable = c.add_variable(
        kind == neff::TensorKind::kInput ? neff::VariableType::kInput : neff::VariableType::kOutput, v.name, bytes);
    if (kind == neff::TensorKind::kInput) c.at(id).dram = variable;
    neff::TensorInfo info;
    info.name = v.name;
    info.kind = kind;
    info.dtype = "float32";
    for (const auto d : v.shape) info.shape.push_back(static_cast<std::uint32_t>(d));
    info.bytes = bytes;
    sub.tensors.push_back(std::move(info));
  };
  for (const ValueId id : c.graph.inputs) declare(id, neff::TensorKind::kInput);
  for (const ValueId id : c.graph.outputs) declare(id, neff::TensorKind::kOutput);
}

/// What a graph output holds must be in its own variable.
void deliver(Context& c, ValueId id) {
  Storage& s = c.at(id);
  const int variable = c.dram_for_output(id);
  if (s.dram == variable) return;
  if (s.sbuf) {
    c.write_back(id, variable);
  } else {
    c.recorder.dma(Queue::kOut, make_transfers(s.dram, 0, variable, 0, s.dims.elements() * s.element_bytes(), {}),
                   false);
  }
  s.dram = variable;
}

void release(Context& c, ValueId id) {
  if (--c.uses[static_cast<std::size_t>(id)] <= 0) c.at(id).sbuf.reset();
}

/// One float per partition and column, row-major over partitions, before everything else.
void load_columns(Context& c) {
  const auto count = static_cast<std::int64_t>(c.columns.size()) / kPartitions;
  if (count == 0) return;
  std::vector<float> rows(c.columns.size());
  for (std::int64_t p = 0; p < kPartitions; ++p) {
    for (std::int64_t i = 0; i < count; ++i)
      rows[static_cast<std::size_t>(p * count + i)] = c.columns[static_cast<std::size_t>(i * kPartitions + p)];
  }
  const int file = c.add_file("columns", pack(rows, DataType::kFp32));
  c.recorder.dma_first(Queue::kLoad,
                       make_transfers(file, 0, kStateBufferVariable, 0, count * 4,
                                      {{kPartitions, count * 4, static_cast<std::int64_t>(kPartitionStride)}}));
}

}  // namespace

Result<neff::Subgraph> lower_graph(const graph::Graph& g, const std::vector<isa::DataType>& types,
                                   const Options& options, Report* report) {
  WeightNeeds needs;
  for (const graph::Node& n : g.nodes) {
    const auto* conv = n.as<graph::Conv>();
    if (!conv) continue;
    const auto x = static_cast<std::size_t>(n.inputs[0]);
    const WeightNeeds w = weight_needs(*conv, graph::dims_of(g.values[x].shape),
                                       graph::dims_of(g.values[static_cast<std::size_t>(n.output)].shape), types[x]);
    needs.total += w.total;
    needs.largest = std::max(needs.largest, w.largest);
  }
  const std::uint64_t columns = count_columns(g), sbuf = options.limits.sbuf_bytes_per_partition;
  const std::uint64_t ring = std::max(needs.largest, std::min(needs.total, kRingBytes));
  if (columns * 4 + ring + 4096 > sbuf)
    return make_error(ErrorCode::kUnsupported,
                      "biases ({} columns) and weight slots ({} bytes) leave no room in an SBUF partition of {} bytes",
                      columns, ring, sbuf);

  Context c(g, options, static_cast<std::uint32_t>(columns), static_cast<std::uint32_t>(ring));
  declare_tensors(c, types);
  for (const graph::Node& node : g.nodes) {
    std::visit(Dispatch{c, node}, node.op);
    if (!c.recorder.status()) {
      Error error = c.recorder.status().error();
      if (error.message.find(node.text()) == std::string::npos) error.message = node.text() + ": " + error.message;
      return tl::unexpected(std::move(error));
    }
    if (c.value(node.output).is_output) {
      deliver(c, node.output);
      release(c, node.output);
    }
    for (const ValueId v : node.inputs) release(c, v);
  }
  load_columns(c);
  if (!c.recorder.status()) return tl::unexpected(c.recorder.status().error());

  auto scheduled = schedule(c.recorder.take());
  if (!scheduled) return tl::unexpected(scheduled.error());
  c.subgraph.engines = std::move(scheduled->engines);
  c.subgraph.queues = std::move(scheduled->queues);
  if (report) {
    *report = c.report;
    report->nodes = g.nodes.size();
    for (std::size_t e = 0; e < isa::kEngines; ++e) report->instructions[e] = scheduled->instructions[e];
    report->dma_entries = scheduled->dma_entries;
    report->sbuf_peak_bytes_per_partition = static_cast<std::uint32_t>(c.ring_begin + c.ring_bytes + c.arena.peak());
  }
  return std::move(c.subgraph);
}

}  // namespace opennrt::compile::lower
