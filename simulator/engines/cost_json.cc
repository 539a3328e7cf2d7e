// SPDX-License-Identifier: Apache-2.0
#include "simulator/engines/cost_json.h"

#include <nlohmann/json.hpp>

namespace opennrt::sim {
namespace {

constexpr double kMostCycles = 1e6, kMostClockGhz = 100, kMostFactor = 1000;

// The number at `name`, itself or in its "value", within [low, high].
Result<double> number(const nlohmann::json& object, const std::string& group, const char* name, double low,
                      double high) {
  const std::string field = group.empty() ? name : group + "." + name;
  if (!object.is_object() || !object.contains(name))
    return make_error(ErrorCode::kInvalidArgument, "{} is missing, expected a number", field);
  const nlohmann::json* value = &object[name];
  if (value->is_object()) {
    if (!value->contains("value"))
      return make_error(ErrorCode::kInvalidArgument, "{}.value is missing, expected a number", field);
    value = &(*value)["value"];
  }
  if (!value->is_number())
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected a number", field, value->dump());
  const double result = value->get<double>();
  if (!(result >= low && result <= high))
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected {}..{}", field, result, low, high);
  return result;
}

}  // namespace

Result<CostModel> cost_model_from_json(const nlohmann::json& chip) {
  CostModel cost;
  const auto clock = number(chip, "", "clock", 1e-3, kMostClockGhz);
  if (!clock) return tl::unexpected(clock.error());
  cost.clock_ghz = *clock;

  if (!chip.contains("engines"))
    return make_error(ErrorCode::kInvalidArgument, "engines is missing, expected an object");
  const nlohmann::json& engines = chip["engines"];
  const auto factor = number(engines, "engines", "int32_cost_factor", 1e-2, kMostFactor);
  if (!factor) return tl::unexpected(factor.error());
  cost.int32_cost_factor = *factor;

  struct Count {
    const char* name;
    std::uint32_t CostModel::*member;
    double low;
  };
  constexpr Count kCounts[] = {
      {"min_free_cycles", &CostModel::min_free_cycles, 0},
      {"fixed_access_cycles", &CostModel::fixed_access_cycles, 0},
      {"dispatch_cycles", &CostModel::dispatch_cycles, 1},
      {"fp32_matmul_passes", &CostModel::fp32_matmul_passes, 1},
      {"pe_columns", &CostModel::pe_columns, 1},
      {"reciprocal_cycles_per_element", &CostModel::reciprocal_cycles_per_element, 1},
      {"pe_load_cycles_floor", &CostModel::pe_load_cycles_floor, 0},
      {"pe_background_loads", &CostModel::pe_background_loads, 0},
      {"tensor_tensor_cycles_per_element", &CostModel::tensor_tensor_cycles_per_element, 1},
      {"reduce_bf16_elements_per_cycle", &CostModel::reduce_bf16_elements_per_cycle, 1},
      {"partition_reduce_cycles_per_stage", &CostModel::partition_reduce_cycles_per_stage, 1},
  };
  for (const Count& count : kCounts) {
    const auto value = number(engines, "engines", count.name, count.low, kMostCycles);
    if (!value) return tl::unexpected(value.error());
    if (*value != static_cast<std::uint32_t>(*value)) {
      return make_error(ErrorCode::kInvalidArgument, "engines.{} is {}, expected a whole number", count.name, *value);
    }
    cost.*count.member = static_cast<std::uint32_t>(*value);
  }
  return cost;
}

}  // namespace opennrt::sim
