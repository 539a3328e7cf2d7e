// SPDX-License-Identifier: Apache-2.0
#include "models/compiler.h"

#include <exception>

#include "models/graph/graph.h"
#include "models/lower/lower.h"
#include "models/neffwriter/writer.h"
#include "models/onnx/model.h"

namespace opennrt::compile {

Result<std::vector<std::byte>> compile_onnx(std::span<const std::byte> bytes, const Options& options, Report* report) {
  try {
    auto model = onnx_model::import_model(bytes);
    if (!model) return tl::unexpected(model.error());
    auto graph = graph::type_model(std::move(*model));
    if (!graph) return tl::unexpected(graph.error());
    graph::simplify(*graph);
    const auto types = graph::assign_types(*graph, options.auto_cast);
    auto subgraph = lower::lower_graph(*graph, types, options, report);
    if (!subgraph) return tl::unexpected(subgraph.error());
    const std::string name = !options.name.empty() ? options.name : !graph->name.empty() ? graph->name : "model";
    return write_neff(*subgraph, name);
  } catch (const std::exception& e) {  // memory that is not there, and bugs of libraries
    return make_error(ErrorCode::kInternal, "the compiler failed: {}", e.what());
  }
}

}  // namespace opennrt::compile
