// SPDX-License-Identifier: Apache-2.0
#include "models/compiler.h"

#include <exception>

#include "models/graph/graph.h"
#include "models/lower/lower.h"
#include "models/neffwriter/writer.h"
#include "models/onnx/model.h"
#include "models/pipeline/cut.h"
#include "models/pipeline/program.h"
#include "models/pipeline/split.h"

namespace opennrt::compile {
namespace {

Result<std::vector<std::byte>> compile(std::span<const std::byte> bytes, const Options& options, Report& report) {
  auto model = onnx_model::import_model(bytes);
  if (!model) return tl::unexpected(model.error());
  auto graph = graph::type_model(std::move(*model), options.debug);
  if (!graph) return tl::unexpected(graph.error());
  graph::simplify(*graph);

  pipeline::Program program(*graph);
  auto parts = pipeline::split(std::move(*graph));
  if (!parts) return tl::unexpected(parts.error());
  const auto types = graph::assign_types(parts->device, options.auto_cast);
  std::vector<std::uint64_t> cycles;
  if (options.cores > 1 || parts->device.nodes.back().phase > 0) {  // otherwise there is nothing to weigh
    auto estimate = lower::estimate_cycles(parts->device, types, options);
    if (!estimate) return tl::unexpected(estimate.error());
    cycles = std::move(*estimate);
  }
  const auto stages = pipeline::cut(parts->device, types, cycles, options.cores);
  if (!stages) return tl::unexpected(stages.error());
  auto graphs = pipeline::stage_graphs(parts->device, *stages);
  program.name_values(graphs, parts->host);

  auto host = parts->host.cbegin();
  const auto add_host_nodes = [&](int phase) {
    for (; host != parts->host.cend() && host->phase <= phase; ++host) {
      program.add_host(*host);
      report.cpu_nodes.push_back(host->text());
    }
  };
  for (std::size_t s = 0; s < stages->size(); ++s) {
    add_host_nodes((*stages)[s].phase - 1);
    const std::string name = fmt::format("sg{:02}", s);
    auto subgraph = lower::lower_graph(graphs[s], types, name, options, report);
    if (!subgraph) return tl::unexpected(subgraph.error());
    program.add_subgraph(std::move(*subgraph));
    report.stages.push_back({name, graphs[s].nodes.size(), cycles.empty() ? 0 : (*stages)[s].cycles});
    graphs[s] = {};
  }
  add_host_nodes((*stages).back().phase);
  return write_neff(program.take(), !options.name.empty() ? options.name : program.default_name());
}

}  // namespace

Result<std::vector<std::byte>> compile_onnx(std::span<const std::byte> bytes, const Options& options, Report* report) {
  try {
    Report made;
    auto file = compile(bytes, options, made);
    if (file && report) *report = std::move(made);
    return file;
  } catch (const std::exception& e) {  // memory that is not there, and bugs of libraries
    return make_error(ErrorCode::kInternal, "the compiler failed: {}", e.what());
  }
}

}  // namespace opennrt::compile
