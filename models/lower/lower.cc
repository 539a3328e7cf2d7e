// SPDX-License-Identifier: Apache-2.0
#include "models/lower/lower.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

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
  void operator()(const graph::Host&) const { c.fail(ErrorCode::kInternal, n, "is for the CPU"); }
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

const char* dtype_name(DataType type) {
  return type == DataType::kBf16 ? "bfloat16" : "float32";
}
std::vector<std::uint32_t> to_shape(const graph::Shape& shape) {
  return {shape.begin(), shape.end()};
}

void declare_tensors(Context& c, const std::vector<isa::DataType>& types) {
  auto& sub = c.subgraph;
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
    const auto bytes = static_cast<std::uint64_t>(c.at(id).dims.elements() * c.at(id).element_bytes());
    const int variable = c.add_variable(
        kind == neff::TensorKind::kInput ? neff::VariableType::kInput : neff::VariableType::kOutput, v.name, bytes);
    if (kind == neff::TensorKind::kInput) c.at(id).dram = variable;
    neff::TensorInfo info;
    info.name = v.name;
    info.kind = kind;
    info.dtype = dtype_name(c.at(id).dtype);
    info.shape = to_shape(v.shape);
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

/// A debug value is in a variable that nothing else uses, or in its own output, when the inference is over.
void keep_for_debug(Context& c, ValueId id) {
  int variable = c.need_dram(id);
  const Storage& s = c.at(id);
  const auto bytes = static_cast<std::uint64_t>(s.dims.elements() * s.element_bytes());
  const neff::VariableType type = c.subgraph.variables[static_cast<std::size_t>(variable)].type;
  if (type != neff::VariableType::kTmpBuf && type != neff::VariableType::kOutput) {
    variable = c.add_variable(neff::VariableType::kTmpBuf, fmt::format("t{}", c.subgraph.variables.size()), bytes);
    c.recorder.dma(Queue::kStore, make_transfers(s.dram, 0, variable, 0, static_cast<std::int64_t>(bytes), {}), false);
  }
  for (const auto& [name, value] : c.graph.debug) {
    if (value == id)
      c.subgraph.debug_tensors.push_back(
          {name, dtype_name(s.dtype), to_shape(c.value(id).shape), bytes, static_cast<std::size_t>(variable)});
  }
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

Result<std::unique_ptr<Context>> make_context(const graph::Graph& g, const std::vector<isa::DataType>& types,
                                              const Options& options) {
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
  auto c = std::make_unique<Context>(g, options, static_cast<std::uint32_t>(columns), static_cast<std::uint32_t>(ring));
  declare_tensors(*c, types);
  return c;
}

Status lower_node(Context& c, const graph::Node& node) {
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
  if (c.value(node.output).is_debug) {
    keep_for_debug(c, node.output);
    release(c, node.output);
  }
  for (const ValueId v : node.inputs) release(c, v);
  return {};
}

}  // namespace

Result<neff::Subgraph> lower_graph(const graph::Graph& g, const std::vector<isa::DataType>& types,
                                   const std::string& name, const Options& options, Report& report) {
  auto context = make_context(g, types, options);
  if (!context) return tl::unexpected(context.error());
  Context& c = **context;
  c.subgraph.name = name;
  for (const graph::Node& node : g.nodes) {
    if (auto s = lower_node(c, node); !s) return tl::unexpected(s.error());
  }
  load_columns(c);
  if (!c.recorder.status()) return tl::unexpected(c.recorder.status().error());

  auto scheduled = schedule(c.recorder.take());
  if (!scheduled) return tl::unexpected(scheduled.error());
  c.subgraph.engines = std::move(scheduled->engines);
  c.subgraph.queues = std::move(scheduled->queues);
  report.nodes += g.nodes.size();
  for (std::size_t e = 0; e < isa::kEngines; ++e) report.instructions[e] += scheduled->instructions[e];
  report.dma_entries += scheduled->dma_entries;
  report.constant_bytes += c.report.constant_bytes;
  report.scratch_bytes += c.report.scratch_bytes;
  report.macs += c.report.macs;
  report.sbuf_peak_bytes_per_partition = std::max(
      report.sbuf_peak_bytes_per_partition, static_cast<std::uint32_t>(c.ring_begin + c.ring_bytes + c.arena.peak()));
  return std::move(c.subgraph);
}

Result<std::vector<std::uint64_t>> estimate_cycles(const graph::Graph& g, const std::vector<isa::DataType>& types,
                                                   const Options& options) {
  // All nodes at once may have more biases than one core holds; the parts they are cut into need not.
  Options roomy = options;
  roomy.limits.sbuf_bytes_per_partition = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(kPartitionStride, roomy.limits.sbuf_bytes_per_partition + count_columns(g) * 4));
  auto context = make_context(g, types, roomy);
  if (!context) return tl::unexpected(context.error());
  Context& c = **context;
  std::vector<std::uint64_t> cycles;
  std::size_t counted = 0;
  for (const graph::Node& node : g.nodes) {
    if (auto s = lower_node(c, node); !s) return tl::unexpected(s.error());
    const auto& operations = c.recorder.operations();
    std::array<std::uint64_t, isa::kEngines + kQueues> busy{};
    for (; counted < operations.size(); ++counted)
      busy[agent_of(operations[counted])] += cycles_of(operations[counted]);
    const auto queue = [](Queue q) { return isa::kEngines + static_cast<std::size_t>(q); };
    busy[queue(Queue::kIn)] = busy[queue(Queue::kOut)] = 0;
    for (const Queue q : {Queue::kLoad, Queue::kStore}) busy[queue(q)] /= kOverlap;
    // Weights are fetched ahead through all of their queues, whatever the node.
    const auto weights = busy.begin() + static_cast<std::ptrdiff_t>(queue(Queue::kWeights));
    std::fill(weights, busy.end(), std::accumulate(weights, busy.end(), std::uint64_t{0}) / kWeightQueues);
    cycles.push_back(*std::max_element(busy.begin(), busy.end()));
  }
  return cycles;
}

}  // namespace opennrt::compile::lower
