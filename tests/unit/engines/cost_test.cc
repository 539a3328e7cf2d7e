// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "simulator/engines/cost_json.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {
namespace {

using isa::Alu;
using isa::DataType;
using isa::Engine;
using isa::Instruction;
using isa::Opcode;
using isa::Space;
using ::testing::HasSubstr;

// The defaults: floor 64, access 60.
Instruction shaped(Opcode opcode, std::uint16_t n, DataType type = DataType::kFp32) {
  Instruction in;
  in.opcode = opcode;
  in.partitions = 100;
  in.counts = {n, 1, 1, 1};
  in.dst.dtype = in.src0.dtype = in.src1.dtype = type;
  return in;
}
std::uint64_t pool(const Instruction& in, const CostModel& cost = {}) {
  return busy_cycles(in, Engine::kPool, cost);
}

TEST(Cost, givenMatmulThenTheMovingSizeTimesPassesWithAFloor) {
  Instruction in = shaped(Opcode::kMatmul, 512, DataType::kBf16);
  in.op1 = 64;
  EXPECT_EQ(busy_cycles(in, Engine::kPe, {}), 512u);
  in.counts = {7, 7, 1, 1};
  EXPECT_EQ(busy_cycles(in, Engine::kPe, {}), 64u);
  in.src0.dtype = DataType::kFp32;
  EXPECT_EQ(busy_cycles(in, Engine::kPe, {}), 256u);
  in.counts = {512, 1, 1, 1};
  EXPECT_EQ(busy_cycles(in, Engine::kPe, {}), 2048u);
  EXPECT_EQ(useful_operations(in, Engine::kPe), 100u * 64 * 512);
}

TEST(Cost, givenLoadStationaryThenItsColumnsWithAFloor) {
  CostModel cost;
  EXPECT_EQ(busy_cycles(shaped(Opcode::kLoadStationary, 10), Engine::kPe, cost), 64u);
  cost.pe_load_cycles_floor = 16;
  EXPECT_EQ(busy_cycles(shaped(Opcode::kLoadStationary, 10), Engine::kPe, cost), 16u);
  EXPECT_EQ(busy_cycles(shaped(Opcode::kLoadStationary, 48), Engine::kPe, cost), 48u);
  EXPECT_EQ(useful_operations(shaped(Opcode::kLoadStationary, 48), Engine::kPe), 0u);
}

TEST(Cost, givenOneSourceThenItsElementsWithAFloorAndTheAccess) {
  for (Opcode opcode : {Opcode::kActivate, Opcode::kTensorScalar, Opcode::kTensorCopy, Opcode::kMemset,
                        Opcode::kPartitionBroadcast, Opcode::kTensorReduce}) {
    EXPECT_EQ(pool(shaped(opcode, 1)), 124u);
    EXPECT_EQ(pool(shaped(opcode, 64)), 124u);
    EXPECT_EQ(pool(shaped(opcode, 1000)), 1060u);
    EXPECT_EQ(useful_operations(shaped(opcode, 1000), Engine::kPool), 100'000u);
  }
  EXPECT_EQ(pool(shaped(Opcode::kTensorReduce, 1001, DataType::kBf16)), 561u);
  EXPECT_EQ(pool(shaped(Opcode::kReciprocal, 100)), 860u);
}

TEST(Cost, givenTwoSourcesThenTwiceUnlessOneIsInPsumOrBothAreBf16) {
  Instruction in = shaped(Opcode::kTensorTensor, 500);
  in.op0 = static_cast<std::uint8_t>(Alu::kAdd);
  EXPECT_EQ(pool(in), 1060u);
  in.src1.space = Space::kPsum;
  EXPECT_EQ(pool(in), 560u);
  in = shaped(Opcode::kTensorTensor, 500, DataType::kBf16);
  in.op0 = static_cast<std::uint8_t>(Alu::kMult);
  EXPECT_EQ(pool(in), 560u);
  in.op0 = static_cast<std::uint8_t>(Alu::kMax);
  EXPECT_EQ(pool(in), 1060u);
  in.op0 = static_cast<std::uint8_t>(Alu::kAdd), in.dst.dtype = DataType::kFp32;
  EXPECT_EQ(pool(in), 1060u);
}

TEST(Cost, givenPartitionReduceThenOneStagePerHalving) {
  Instruction in = shaped(Opcode::kPartitionReduce, 100);
  in.partitions = 128;
  EXPECT_EQ(pool(in), 760u);
  in.partitions = 65;
  EXPECT_EQ(pool(in), 760u);
  in.partitions = 64;
  EXPECT_EQ(pool(in), 660u);
  in.partitions = 1;
  EXPECT_EQ(pool(in), 160u);
}

TEST(Cost, givenInt32ThenTheFactorCounts) {
  CostModel cost;
  cost.int32_cost_factor = 2.5;
  EXPECT_EQ(pool(shaped(Opcode::kTensorCopy, 101, DataType::kInt32), cost), 313u);
  EXPECT_EQ(pool(shaped(Opcode::kTensorCopy, 101, DataType::kInt8), cost), 161u);
}

TEST(Cost, givenNoOperandsThenTheDispatchOnly) {
  Instruction nop;
  EXPECT_EQ(busy_cycles(nop, Engine::kAct, {}), 4u);
  CostModel cost;
  cost.dispatch_cycles = 0;
  EXPECT_EQ(busy_cycles(nop, Engine::kAct, cost), 1u);
  EXPECT_EQ(useful_operations(nop, Engine::kAct), 0u);
}

nlohmann::json chip() {
  return nlohmann::json::parse(R"({"clock": {"value": 1.25, "unit": "GHz"}, "engines": {
    "min_free_cycles": {"value": 1}, "fixed_access_cycles": {"value": 2}, "dispatch_cycles": {"value": 3},
    "fp32_matmul_passes": 5, "pe_columns": 6, "int32_cost_factor": {"value": 7.5}, "reciprocal_cycles_per_element": 8,
    "pe_load_cycles_floor": 9, "tensor_tensor_cycles_per_element": 10, "reduce_bf16_elements_per_cycle": 11,
    "partition_reduce_cycles_per_stage": 12}})");
}

TEST(CostJson, givenAChipFileThenEveryFieldIsRead) {
  const auto cost = cost_model_from_json(chip());
  ASSERT_TRUE(cost) << cost.error().message;
  EXPECT_EQ(cost->clock_ghz, 1.25);
  EXPECT_EQ(cost->min_free_cycles, 1u);
  EXPECT_EQ(cost->fixed_access_cycles, 2u);
  EXPECT_EQ(cost->dispatch_cycles, 3u);
  EXPECT_EQ(cost->fp32_matmul_passes, 5u);
  EXPECT_EQ(cost->pe_columns, 6u);
  EXPECT_EQ(cost->int32_cost_factor, 7.5);
  EXPECT_EQ(cost->reciprocal_cycles_per_element, 8u);
  EXPECT_EQ(cost->pe_load_cycles_floor, 9u);
  EXPECT_EQ(cost->tensor_tensor_cycles_per_element, 10u);
  EXPECT_EQ(cost->reduce_bf16_elements_per_cycle, 11u);
  EXPECT_EQ(cost->partition_reduce_cycles_per_stage, 12u);
}

TEST(CostJson, givenAMissingOrBadFieldThenItIsNamed) {
  const auto message = [](auto change) {
    nlohmann::json json = chip();
    change(json);
    const auto cost = cost_model_from_json(json);
    EXPECT_FALSE(cost);
    return cost ? std::string() : cost.error().message;
  };
  const nlohmann::json names = chip()["engines"];
  for (const auto& [name, value] : names.items()) {
    EXPECT_THAT(message([&, n = name](auto& j) { j["engines"].erase(n); }),
                HasSubstr("engines." + name + " is missing"));
    EXPECT_THAT(message([&, n = name](auto& j) { j["engines"][n] = "much"; }),
                HasSubstr("engines." + name + " is \"much\""));
    EXPECT_THAT(message([&, n = name](auto& j) { j["engines"][n] = -1; }), HasSubstr("engines." + name + " is -1"));
  }
  EXPECT_THAT(message([](auto& j) { j["engines"]["pe_columns"] = 2.5; }),
              HasSubstr("engines.pe_columns is 2.5, expected a whole number"));
  EXPECT_THAT(message([](auto& j) { j["engines"]["pe_columns"] = nlohmann::json::object(); }),
              HasSubstr("engines.pe_columns.value is missing"));
  EXPECT_THAT(message([](auto& j) { j.erase("clock"); }), HasSubstr("clock is missing"));
  EXPECT_THAT(message([](auto& j) { j.erase("engines"); }), HasSubstr("engines is missing"));
  EXPECT_THAT(message([](auto& j) { j["engines"] = 3; }), HasSubstr("missing"));
  EXPECT_THAT(message([](auto& j) { j = nlohmann::json::array(); }), HasSubstr("clock is missing"));
}

}  // namespace
}  // namespace opennrt::sim
