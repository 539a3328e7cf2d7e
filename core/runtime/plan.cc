// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/plan.h"

#include <atomic>
#include <cstring>
#include <unordered_map>

namespace opennrt {

Result<std::shared_ptr<const Plan>> Plan::make(const neff::Neff& neff) {
  auto plan = std::make_shared<Plan>();
  static std::atomic<std::uint64_t> loaded{0};
  plan->id = loaded.fetch_add(1, std::memory_order_relaxed) + 1;
  std::memcpy(&plan->neff_id, neff.header.hash.data(), sizeof(plan->neff_id));
  plan->model = neff.header.name.empty() ? neff.subgraphs.front().name : neff.header.name;
  plan->tensors = neff.tensors;
  std::unordered_map<std::string, std::size_t> known;
  const auto value_of = [&](const neff::TensorInfo& info) -> std::size_t {
    const auto [at, is_new] = known.emplace(info.name, plan->values.size());
    if (is_new) plan->values.push_back({info, {}, {}, {}, {}, {}});
    return at->second;
  };
  std::size_t inputs = 0, outputs = 0;
  for (const neff::TensorInfo& info : neff.tensors) {
    Value& value = plan->values[value_of(info)];
    (info.kind == neff::TensorKind::kInput ? value.input : value.output) =
        info.kind == neff::TensorKind::kInput ? inputs++ : outputs++;
  }
  for (const neff::GraphConstant& constant : neff.constants) {
    plan->values[value_of(constant.info)].constant = plan->constants.size();
    plan->constants.push_back(constant.data);
  }
  for (const neff::Step& what : neff.steps) {
    Step step{what, {}, {}, {}, nullptr, {}};
    const std::size_t number = plan->steps.size();
    const auto uses = [&](std::size_t value) {
      step.inputs.push_back(value);
      plan->values[value].used_by.push_back(number);
    };
    const auto makes = [&](const neff::TensorInfo& info) {
      const std::size_t value = value_of(info);
      step.outputs.push_back(value);
      plan->values[value].made_by = number;
    };
    if (what.kind == neff::Step::Kind::kSubgraph) {
      const neff::Subgraph& subgraph = neff.subgraphs[what.index];
      step.name = subgraph.name;
      for (const neff::TensorInfo& tensor : subgraph.tensors) {
        if (tensor.kind == neff::TensorKind::kInput)
          uses(value_of(tensor));
        else
          makes(tensor);
      }
      for (const neff::DebugTensor& debug : subgraph.debug_tensors)
        step.debug.push_back({debug, subgraph.variables[debug.variable].name});
    } else {
      const neff::CpuNode& node = neff.cpu_nodes[what.index];
      step.name = node.name;
      std::vector<neff::TensorInfo> types;
      for (const std::string& input : node.inputs) {
        // The steps are in an order in which they can run (neff::Neff), so what made it is known.
        const auto found = known.find(input);
        if (found == known.end())
          return make_error(ErrorCode::kInternal, "CPU node '{}': nothing makes its input '{}'", node.name, input);
        types.push_back(plan->values[found->second].info);
        uses(found->second);
      }
      for (const neff::TensorInfo& output : node.outputs) makes(output);
      auto function = cpu::make(node, types);
      if (!function) return tl::unexpected(function.error());
      step.function = std::move(*function);
    }
    plan->steps.push_back(std::move(step));
  }
  return plan;
}

std::size_t Plan::stages() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < steps.size(); ++i)
    count += steps[i].function == nullptr || i == 0 || steps[i - 1].function == nullptr;
  return count;
}

}  // namespace opennrt
