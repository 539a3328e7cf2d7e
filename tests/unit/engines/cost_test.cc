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

constexpr CostModel kCost{.clock_ghz = 1,
                          .min_free_cycles = 64,
                          .fixed_access_cycles = 60,
                          .dispatch_cycles = 4,
                          .fp32_matmul_passes = 4,
                          .pe_columns = 64,
                          .int32_cost_factor = 1,
                          .reciprocal_cycles_per_element = 8,
                          .pe_load_cycles_floor = 64,
                          .pe_background_loads = 1,
                          .tensor_tensor_cycles_per_element = 2,
                          .reduce_bf16_elements_per_cycle = 2,
                          .partition_reduce_cycles_per_stage = 1};

Instruction shaped(Opcode opcode, std::uint16_t n, DataType type = DataType::kFp32) {
  Instruction in;
  in.opcode = opcode;
  in.partitions = 100;
  in.counts = {n, 1, 1, 1};
  in.dst.dtype = in.src0.dtype = in.src1.dtype = type;
  return in;
}
std::uint64_t pool(const Instruction& in, const CostModel& cost = kCost) {
  return busy_cycles(in, Engine::kPool, cost);
}

TEST(Cost, givenMatmulThenTheMovingSizeTimesPassesWithAFloor) {
  Instruction in = shaped(Opcode::kMatmul, 512, DataType::kBf16);
  in.op1 = 64;
  EXPECT_EQ(busy_cycles(in, Engine::kPe, kCost), 512u);
  in.counts = {7, 7, 1, 1};
  EXPECT_EQ(busy_cycles(in, Engine::kPe, kCost), 64u);
  in.src0.dtype = DataType::kFp32;
  EXPECT_EQ(busy_cycles(in, Engine::kPe, kCost), 256u);
  in.counts = {512, 1, 1, 1};
  EXPECT_EQ(busy_cycles(in, Engine::kPe, kCost), 2048u);
  EXPECT_EQ(useful_operations(in, Engine::kPe), 100u * 64 * 512);
}

TEST(Cost, givenLoadStationaryThenItsColumnsWithAFloor) {
  CostModel cost = kCost;
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
  CostModel cost = kCost;
  cost.int32_cost_factor = 2.5;
  EXPECT_EQ(pool(shaped(Opcode::kTensorCopy, 101, DataType::kInt32), cost), 313u);
  EXPECT_EQ(pool(shaped(Opcode::kTensorCopy, 101, DataType::kInt8), cost), 161u);
}

TEST(Cost, givenNoOperandsThenTheDispatchOnly) {
  Instruction nop;
  EXPECT_EQ(busy_cycles(nop, Engine::kAct, kCost), 4u);
  CostModel cost = kCost;
  cost.dispatch_cycles = 0;
  EXPECT_EQ(busy_cycles(nop, Engine::kAct, cost), 1u);
  EXPECT_EQ(useful_operations(nop, Engine::kAct), 0u);
}

TEST(Cost, givenAMatmulThenTheNextMatrixLoadsBehindIt) {
  const Instruction load = shaped(Opcode::kLoadStationary, 64, DataType::kBf16),
                    matmul = shaped(Opcode::kMatmul, 512, DataType::kBf16);
  CostModel cost = kCost;
  EXPECT_EQ(overlap_cycles(matmul, load, cost), 64u);
  EXPECT_EQ(overlap_cycles(load, matmul, cost), 0u) << "it needs the matrix";
  EXPECT_EQ(overlap_cycles(load, load, cost), 0u) << "there is one place for the next matrix";
  EXPECT_EQ(overlap_cycles(matmul, matmul, cost), 0u);
  cost.pe_background_loads = 0;
  EXPECT_EQ(overlap_cycles(matmul, load, cost), 0u);
}

TEST(Cost, givenIndependentInstructionsThenTheAccessIsHidden) {
  Instruction first = shaped(Opcode::kTensorScalar, 100), second = shaped(Opcode::kTensorScalar, 100);
  for (Instruction* in : {&first, &second}) in->src0.steps = in->dst.steps = {1, 0, 0, 0};
  first.dst.offset = 4000;  // bytes [4000, 4400)
  second.dst.offset = 8000;
  second.src0.offset = 4400;
  EXPECT_EQ(overlap_cycles(first, second, kCost), 60u);
  second.src0.offset = 4396;
  EXPECT_EQ(overlap_cycles(first, second, kCost), 0u) << "reads the last element that is written";
  second.src0.space = Space::kPsum;
  EXPECT_EQ(overlap_cycles(first, second, kCost), 60u) << "another memory";
  second.src0 = first.dst;
  second.src0.partition = 100;
  second.partitions = 28;
  EXPECT_EQ(overlap_cycles(first, second, kCost), 60u) << "other partitions";
  second.src0.partition = 99;
  EXPECT_EQ(overlap_cycles(first, second, kCost), 0u);
  // The second operand counts, too; one per partition is one element.
  Instruction sum = shaped(Opcode::kTensorTensor, 100);
  sum.src0.offset = 12000;
  sum.src0.steps = sum.src1.steps = sum.dst.steps = {1, 0, 0, 0};
  sum.src1.offset = 4396;
  EXPECT_EQ(overlap_cycles(first, sum, kCost), 0u);
  Instruction scale = shaped(Opcode::kTensorScalar, 100);
  scale.src0.offset = 12000;
  scale.src0.steps = scale.dst.steps = {1, 0, 0, 0};
  scale.src1_per_partition = true;
  scale.src1.offset = 3996;
  EXPECT_EQ(overlap_cycles(first, scale, kCost), 60u);
  scale.src1.offset = 4000;
  EXPECT_EQ(overlap_cycles(first, scale, kCost), 0u);
  EXPECT_EQ(overlap_cycles(first, Instruction{}, kCost), 0u) << "what only synchronises waits for its turn";
  EXPECT_EQ(overlap_cycles(Instruction{}, first, kCost), 0u);
}

nlohmann::json chip() {
  return nlohmann::json::parse(R"({"clock": {"value": 1.25, "unit": "GHz"}, "engines": {
    "min_free_cycles": {"value": 1}, "fixed_access_cycles": {"value": 2}, "dispatch_cycles": {"value": 3},
    "fp32_matmul_passes": 5, "pe_columns": 6, "int32_cost_factor": {"value": 7.5}, "reciprocal_cycles_per_element": 8,
    "pe_load_cycles_floor": 9, "pe_background_loads": 1,
    "tensor_tensor_cycles_per_element": 10, "reduce_bf16_elements_per_cycle": 11,
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
  EXPECT_EQ(cost->pe_background_loads, 1u);
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
