// SPDX-License-Identifier: Apache-2.0
// Requirements E4, E6, E7, B9, G2, G4: models of several subgraphs, CPU nodes, replicas, shared weights.
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "tests/conformance/fixture.h"
#include "tests/support/model_builder.h"

namespace conformance {
namespace {

using opennrt::test::binary_program;
using opennrt::test::bytes_of;
using opennrt::test::copy_program;
using opennrt::test::ModelBuilder;
using opennrt::test::OrderedJson;
using opennrt::test::renamed;
using opennrt::test::sum_pipeline;
using opennrt::test::tensor_info;
using opennrt::test::with_constant;
namespace isa = opennrt::isa;
constexpr auto kOutput = opennrt::neff::TensorKind::kOutput;
constexpr std::size_t kCount = 64;  // floats of [4, 16]

std::vector<std::vector<float>> addends(unsigned stages, std::size_t count = kCount) {
  std::vector<std::vector<float>> result;
  for (unsigned i = 0; i < stages; ++i) result.push_back(numbers(count, 50 + i));
  return result;
}

std::vector<float> summed(std::vector<float> values, const std::vector<std::vector<float>>& constants) {
  for (const auto& constant : constants)
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += constant[i];
  return values;
}

class Pipeline : public Open {
 protected:
  std::size_t used(std::uint32_t vnc) {
    nrt_vnc_memory_stats_t stats{};
    EXPECT_EQ(nrt_get_vnc_memory_stats(vnc, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
    return stats.bytes_used;
  }
  std::vector<std::size_t> used_by_all() {
    std::uint32_t cores = 0;
    EXPECT_EQ(nrt_get_visible_vnc_count(&cores), NRT_SUCCESS);
    std::vector<std::size_t> bytes;
    for (std::uint32_t vnc = 0; vnc < cores; ++vnc) bytes.push_back(used(vnc));
    return bytes;
  }
  void expect_refused(const Bytes& neff, NRT_STATUS status, const std::string& text, int vnc = -1, int count = -1) {
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), vnc, count, &model), status) << logged();
    EXPECT_EQ(model, nullptr);
    EXPECT_TRUE(has_logged(text)) << text << "\n" << logged();
  }
  std::uint32_t core_count(nrt_model_t* model) {
    std::uint32_t count = 0;
    EXPECT_EQ(nrt_get_model_nc_count(model, &count), NRT_SUCCESS);
    std::uint32_t again = 0;
    EXPECT_EQ(nrt_get_model_vnc_count(model, &again), NRT_SUCCESS);
    EXPECT_EQ(count, again);
    return count;
  }
  std::uint32_t instance_count(nrt_model_t* model) {
    std::uint32_t count = 0;
    EXPECT_EQ(nrt_get_model_instance_count(model, &count), NRT_SUCCESS);
    return count;
  }
  std::uint32_t first_core(nrt_model_t* model) {
    nrt_model_info_t info{};
    EXPECT_EQ(nrt_get_model_info(model, &info, sizeof(info), nullptr), NRT_SUCCESS);
    return info.vnc;
  }
  /// One inference of a sum pipeline with tensors of the process.
  NRT_STATUS run(nrt_model_t* model, const std::vector<float>& input, std::vector<float>& output) {
    Set in, out;
    in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, input);
    nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(input.size(), -1.0f));
    const NRT_STATUS status = nrt_execute(model, in.get(), out.get());
    output = values_of<float>(result);
    return status;
  }
};
using PipelineExecute = Pipeline;

TEST_F(Pipeline, givenSeveralSubgraphsWhenLoadedThenItIsOneModelOnAsManyCores) {
  nrt_model_t* model = load(sum_pipeline(addends(3), 4, 16).build(), 1);
  EXPECT_EQ(core_count(model), 3u);
  EXPECT_EQ(instance_count(model), 1u);
  EXPECT_EQ(first_core(model), 1u);
  nrt_tensor_info_array_t* info = nullptr;
  ASSERT_EQ(nrt_get_model_tensor_info(model, &info), NRT_SUCCESS);
  ASSERT_EQ(info->tensor_count, 2u) << "what passes between subgraphs is no tensor of the model";
  EXPECT_STREQ(info->tensor_array[0].name, "in");
  EXPECT_EQ(info->tensor_array[0].usage, NRT_TENSOR_USAGE_INPUT);
  EXPECT_STREQ(info->tensor_array[1].name, "out");
  EXPECT_EQ(info->tensor_array[1].usage, NRT_TENSOR_USAGE_OUTPUT);
  EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_SUCCESS);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
}

TEST_F(Pipeline, givenACountWhenLoadedThenAsManyReplicasAsFitAreThere) {
  const Bytes neff = sum_pipeline(addends(2), 4, 16).build();
  nrt_model_t* two = load(neff, 0, 4);
  EXPECT_EQ(instance_count(two), 2u);
  EXPECT_EQ(core_count(two), 2u);
  EXPECT_EQ(nrt_unload(two), NRT_SUCCESS);
  nrt_model_t* one = load(neff, 0, 3);
  EXPECT_EQ(instance_count(one), 1u) << "replicas = floor(count / cores of the model)";
  EXPECT_TRUE(has_logged("vnc_count is 3, which is no multiple of the 2 NeuronCores")) << logged();
  EXPECT_EQ(nrt_unload(one), NRT_SUCCESS);
  expect_refused(neff, NRT_LOAD_NOT_ENOUGH_NC, "vnc_count is 1, but the NEFF has 2 subgraphs", 0, 1);
}

TEST_F(Pipeline, givenFewerCoresThanSubgraphsWhenLoadedThenThereAreNotEnough) {
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_nc_count(&cores), NRT_SUCCESS);
  const auto before = used_by_all();
  expect_refused(sum_pipeline(addends(cores + 1), 4, 16).build(), NRT_LOAD_NOT_ENOUGH_NC, "needs as many NeuronCores");
  expect_refused(sum_pipeline(addends(3), 4, 16).build(), NRT_LOAD_NOT_ENOUGH_NC,
                 "3 NeuronCores are asked for from nc" + std::to_string(cores - 2) + ", this process has 2",
                 static_cast<int>(cores) - 2);
  EXPECT_EQ(used_by_all(), before);
}

TEST_F(Pipeline, givenAPipelineWhenUnloadedThenTheMemoryOfAllItsCoresIsBack) {
  const Bytes neff = sum_pipeline(addends(4), 4, 16).build();
  EXPECT_EQ(nrt_unload(load(neff, 0)), NRT_SUCCESS);
  const auto before = used_by_all();
  nrt_model_t* model = load(neff, 0);
  const auto during = used_by_all();
  for (std::size_t vnc = 0; vnc < 4; ++vnc) EXPECT_GT(during[vnc], before[vnc]) << vnc;
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  EXPECT_EQ(used_by_all(), before);
}

TEST_F(Pipeline, givenLoadedCoresWhenTheLibraryChoosesThenThePipelineGoesBesideThem) {
  nrt_model_t* first = load(sum_pipeline(addends(2), 4, 16).build());
  EXPECT_EQ(first_core(first), 0u);
  nrt_model_t* second = load(sum_pipeline(addends(2), 4, 16).build());
  EXPECT_EQ(first_core(second), 2u);
}

TEST_F(Pipeline, givenAGraphThatDoesNotHoldTogetherWhenLoadedThenItIsRefusedByName) {
  auto builder = sum_pipeline(addends(2), 4, 16).files();
  builder.edit("neff.json", [](OrderedJson& json) { json["heads"][0][1] = 7; });
  expect_refused(builder.build(), NRT_INVALID, "neff.json: heads[0][1] is 7, but nodes[1] puts out 2 values");
}

TEST_F(Pipeline, givenACpuNodeThatCannotBeServedWhenLoadedThenItIsRefusedByName) {
  const auto model = [](const std::string& function) {
    return ModelBuilder()
        .input("in", {4, 16})
        .output("y", {4}, "int64")
        .subgraph(renamed(copy_program(4, 16), "sg00", {{"out", "x"}}))
        .cpu("pick", function, {"x"}, {tensor_info("y", kOutput, "int64", {4})}, {{"axis", "1"}, {"keepdims", "0"}})
        .build();
  };
  const auto before = used_by_all();
  expect_refused(model("opennrt.softmax"), NRT_INVALID, "CPU node 'pick' (opennrt.softmax): there is no such function");
  expect_refused(model("opennrt.topk"), NRT_INVALID, "CPU node 'pick' (opennrt.topk): it has 1 outputs, expected 2");
  EXPECT_EQ(used_by_all(), before);
}

// ---- executions ----

TEST_F(PipelineExecute, givenEveryPlacementOfTensorsWhenExecutedThenTheResultIsRight) {
  const auto constants = addends(3);
  nrt_model_t* model = load(sum_pipeline(constants, 4, 16).build());
  for (const auto from : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
    for (const auto to : {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
      Set in, out;
      const auto data = numbers(kCount, 1 + static_cast<unsigned>(from) * 3 + static_cast<unsigned>(to));
      in.add("in", from, data);
      nrt_tensor_t* result = out.add("out", to, std::vector<float>(kCount, -1.0f));
      ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << from << " " << to << "\n" << logged();
      EXPECT_EQ(values_of<float>(result), summed(data, constants));
      EXPECT_EQ(nrt_tensor_check_output_completion(result, 0, 1), NRT_SUCCESS);
    }
  }
}

TEST_F(PipelineExecute, givenRepetitionsWhenExecutedThenOutputsAreFedBackThroughTheWholePipeline) {
  const auto constants = addends(2);
  nrt_model_t* model = load(sum_pipeline(constants, 4, 16).build());
  Set in, out;
  const auto data = numbers(kCount);
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  nrt_tensor_t* result = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute_repeat(model, in.get(), out.get(), 3), NRT_SUCCESS) << logged();
  auto expected = data;
  for (int i = 0; i < 3; ++i) expected = summed(expected, constants);
  EXPECT_EQ(values_of<float>(result), expected);
}

TEST_F(PipelineExecute, givenValuesThatSkipStagesWhenExecutedThenEachStageGetsIts) {
  // x = in + c; mid = in + x, an output that the next stage takes, too; out = mid + x.
  const auto c = numbers(kCount, 9);
  const Bytes neff =
      ModelBuilder()
          .input("in", {4, 16})
          .output("mid", {4, 16})
          .output("out", {4, 16})
          .subgraph(renamed(with_constant(binary_program(isa::Alu::kAdd, 4, 16), "b", bytes_of(c)), "first",
                            {{"a", "in"}, {"out", "x"}}))
          .subgraph(renamed(binary_program(isa::Alu::kAdd, 4, 16), "second", {{"a", "in"}, {"b", "x"}, {"out", "mid"}}))
          .subgraph(renamed(binary_program(isa::Alu::kAdd, 4, 16), "third", {{"a", "mid"}, {"b", "x"}}))
          .build();
  nrt_model_t* model = load(neff);
  for (const auto placement : {NRT_TENSOR_PLACEMENT_VIRTUAL, NRT_TENSOR_PLACEMENT_DEVICE}) {
    Set in, out;
    const auto data = numbers(kCount, 4);
    in.add("in", placement, data);
    nrt_tensor_t* mid = out.add("mid", placement, std::vector<float>(kCount));
    nrt_tensor_t* last = out.add("out", placement, std::vector<float>(kCount));
    ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
    const auto mids = values_of<float>(mid), lasts = values_of<float>(last);
    for (std::size_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(mids[i], 2 * data[i] + c[i]) << i;
      EXPECT_EQ(lasts[i], 3 * data[i] + 2 * c[i]) << i;
    }
  }
}

TEST_F(PipelineExecute, givenReplicatedPipelinesAndOtherModelsWhenManyThreadsExecuteThenEveryResultIsRight) {
  const auto constants = addends(2), other_constants = addends(4);
  nrt_model_t* replicated = load(sum_pipeline(constants, 4, 16).build(), 0, 4);
  nrt_model_t* other = load(sum_pipeline(other_constants, 4, 16).build(), 0);
  nrt_model_t* single = load(copy_neff(), 1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const auto data = numbers(kCount, t);
      std::vector<float> result;
      for (int i = 0; i < 15; ++i) {
        wrong += run(replicated, data, result) != NRT_SUCCESS || result != summed(data, constants);
        wrong += run(other, data, result) != NRT_SUCCESS || result != summed(data, other_constants);
        wrong += run(single, data, result) != NRT_SUCCESS || result != data;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0) << logged();
}

TEST_F(PipelineExecute, givenModelsThatComeAndGoWhenOthersExecuteThenNobodyIsDisturbed) {
  const auto constants = addends(3);
  const Bytes neff = sum_pipeline(constants, 4, 16).build();
  nrt_model_t* stays = load(neff, 0);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0}, executed{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const auto data = numbers(kCount, t);
      std::vector<float> result;
      while (!done) {
        wrong += run(stays, data, result) != NRT_SUCCESS || result != summed(data, constants);
        ++executed;
      }
    });
  }
  const auto data = numbers(kCount, 77);
  std::vector<float> result;
  for (int i = 0; i < 10 || executed < 30; ++i) {
    nrt_model_t* guest = load(neff, i % 2);
    EXPECT_EQ(run(guest, data, result), NRT_SUCCESS);
    EXPECT_EQ(result, summed(data, constants));
    EXPECT_EQ(nrt_unload(guest), NRT_SUCCESS);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0) << logged();
}

TEST_F(PipelineExecute, givenANanInOneStageWhenExecutedThenTheRestRunsAndTheStageIsNamed) {
  auto constants = addends(3);
  constants[1][5] = -std::numeric_limits<float>::infinity();
  nrt_model_t* model = load(sum_pipeline(constants, 4, 16).build());
  auto data = numbers(kCount);
  data[5] = std::numeric_limits<float>::infinity();
  std::vector<float> result;
  EXPECT_EQ(run(model, data, result), NRT_EXEC_COMPLETED_WITH_NUM_ERR) << logged();
  EXPECT_TRUE(has_logged("step 2 of 3, subgraph 'sg01': numerical error (INFER_ERROR_SUBTYPE_NUMERICAL)")) << logged();
  EXPECT_TRUE(std::isnan(result[5]));
  EXPECT_EQ(result[6], summed(data, constants)[6]) << "outputs are there";
}

TEST_F(PipelineExecute, givenAStageThatHangsWhenExecutedThenTheInferenceTimesOutAndTheCoresAreAsGoodAsNew) {
  const Env env("NEURON_RT_EXEC_TIMEOUT", "2");
  const auto constants = addends(3);
  auto good = sum_pipeline(constants, 4, 16);
  auto bad = good;
  isa::Instruction wait;
  wait.wait = {isa::WaitMode::kConsume, 9, 1};  // nobody signals it
  const auto encoded = isa::encode(wait);
  ASSERT_TRUE(encoded);
  Bytes& stream = bad.model.subgraphs[1].engines[static_cast<std::size_t>(isa::Engine::kPe)].instructions;
  stream.insert(stream.end(), encoded->begin(), encoded->end());
  nrt_model_t *works = load(good.build(), 0), *hangs = load(bad.build(), 0);
  const auto data = numbers(kCount);
  std::vector<float> result;
  const auto before = used_by_all();
  for (int i = 0; i < 5; ++i) {  // more often than there are buffers for inferences under way
    EXPECT_EQ(run(hangs, data, result), NRT_TIMEOUT) << logged();
    EXPECT_EQ(run(works, data, result), NRT_SUCCESS) << logged();
    EXPECT_EQ(result, summed(data, constants));
  }
  EXPECT_TRUE(has_logged("step 2 of 3, subgraph 'sg01': inference timeout (2000 ms) on Neuron Device 0 NC 1"))
      << logged();
  EXPECT_EQ(used_by_all(), before);
}

/// ids [4] → rows of a table [10, 16] → + constant on a NeuronCore → index of each row's largest, and the two largest.
ModelBuilder embedding(const std::vector<float>& table, const std::vector<float>& constant) {
  return ModelBuilder()
      .input("ids", {4}, "int64")
      .output("best", {4}, "int64")
      .output("values", {4, 2})
      .output("indices", {4, 2}, "int64")
      .output("sum", {4, 16})
      .constant("table", "float32", {10, 16}, bytes_of(table))
      .cpu("embed", "opennrt.gather", {"table", "ids"}, {tensor_info("x", kOutput, "float32", {4, 16})},
           {{"axis", "0"}})
      .subgraph(renamed(with_constant(binary_program(isa::Alu::kAdd, 4, 16), "b", bytes_of(constant)), "sg00",
                        {{"a", "x"}, {"out", "sum"}}))
      .cpu("pick", "opennrt.argmax", {"sum"}, {tensor_info("best", kOutput, "int64", {4})},
           {{"axis", "-1"}, {"keepdims", "0"}})
      .cpu("top", "opennrt.topk", {"sum"},
           {tensor_info("values", kOutput, "float32", {4, 2}), tensor_info("indices", kOutput, "int64", {4, 2})},
           {{"axis", "1"}, {"k", "2"}, {"largest", "1"}});
}

TEST_F(PipelineExecute, givenCpuNodesWhenExecutedThenTheyComputeBetweenTheSubgraphs) {
  const auto table = numbers(160, 3), constant = numbers(kCount, 4);
  nrt_model_t* model = load(embedding(table, constant).build());
  EXPECT_EQ(core_count(model), 1u) << "CPU nodes take no core";
  for (const auto placement : {NRT_TENSOR_PLACEMENT_VIRTUAL, NRT_TENSOR_PLACEMENT_DEVICE}) {
    const std::vector<std::int64_t> ids{7, 0, -1, 7};
    Set in, out;
    in.add("ids", placement, ids);
    nrt_tensor_t* best = out.add("best", placement, std::vector<std::int64_t>(4, -1));
    nrt_tensor_t* values = out.add("values", placement, std::vector<float>(8));
    nrt_tensor_t* indices = out.add("indices", placement, std::vector<std::int64_t>(8));
    nrt_tensor_t* sum = out.add("sum", placement, std::vector<float>(kCount));
    ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
    for (std::size_t row = 0; row < 4; ++row) {
      const std::size_t id = static_cast<std::size_t>(ids[row] < 0 ? ids[row] + 10 : ids[row]);
      std::vector<float> expected(16);
      for (std::size_t i = 0; i < 16; ++i) expected[i] = table[id * 16 + i] + constant[row * 16 + i];
      std::vector<std::size_t> order(16);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return expected[a] > expected[b]; });
      EXPECT_EQ(values_of<std::int64_t>(best)[row], static_cast<std::int64_t>(order[0]));
      for (std::size_t k = 0; k < 2; ++k) {
        EXPECT_EQ(values_of<std::int64_t>(indices)[row * 2 + k], static_cast<std::int64_t>(order[k]));
        EXPECT_EQ(values_of<float>(values)[row * 2 + k], expected[order[k]]);
      }
      for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(values_of<float>(sum)[row * 16 + i], expected[i]);
    }
  }
}

TEST_F(PipelineExecute, givenAnIndexBeyondTheTableWhenExecutedThenItIsOutOfBoundsAndTheNodeIsNamed) {
  const auto table = numbers(160, 3);
  nrt_model_t* model = load(embedding(table, numbers(kCount, 4)).build());
  Set in, out;
  nrt_tensor_t* ids = in.add("ids", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<std::int64_t>{1, 2, 10, 3});
  out.add("best", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<std::int64_t>(4));
  out.add("values", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(8));
  out.add("indices", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<std::int64_t>(8));
  out.add("sum", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_EXEC_OOB) << logged();
  EXPECT_TRUE(
      has_logged("step 1 of 4, CPU node 'embed': CPU node 'embed' (opennrt.gather): index 10 at position 2 is "
                 "out of range, expected -10 to 9"))
      << logged();
  const std::int64_t nine = 9;
  ASSERT_EQ(nrt_tensor_write(ids, &nine, 16, 8), NRT_SUCCESS);
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
}

// ---- several devices ----

class PipelineOverDevices : public Pipeline {
  Env instance_{"OPENNRT_SIM_INSTANCE", "inf1.6xlarge"};
};

TEST_F(PipelineOverDevices, givenAPipelineOverTwoDevicesWhenExecutedThenValuesPassThroughTheHost) {
  const auto constants = addends(4);
  nrt_model_t* model = load(sum_pipeline(constants, 4, 16).build(), 2);  // nc2, nc3 | nc4, nc5
  const auto data = numbers(kCount);
  std::vector<float> result;
  ASSERT_EQ(run(model, data, result), NRT_SUCCESS) << logged();
  EXPECT_EQ(result, summed(data, constants));
  for (const int from : {0, 4}) {
    for (const int to : {0, 4}) {
      Set in, out;
      in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data, from);
      nrt_tensor_t* target = out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, std::vector<float>(kCount), to);
      ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << from << " " << to << "\n" << logged();
      EXPECT_EQ(values_of<float>(target), summed(data, constants));
    }
  }
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, data, 8);
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, data);
  EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_INVALID);
  EXPECT_TRUE(has_logged("input tensor \"in\" is on Neuron Device 2")) << logged();
}

TEST_F(PipelineOverDevices, givenAChoiceWhenLoadedThenAPipelineStaysOnOneDevice) {
  nrt_model_t* single = load(copy_neff(), 0);
  nrt_model_t* pipeline = load(sum_pipeline(addends(4), 4, 16).build());
  EXPECT_EQ(first_core(pipeline), 4u);
  EXPECT_EQ(nrt_unload(pipeline), NRT_SUCCESS);
  EXPECT_EQ(nrt_unload(single), NRT_SUCCESS);
}

// ---- weights and memory ----

constexpr std::uint32_t kRows = 64, kWide = 4096;  // of the models with weights that are worth sharing
constexpr std::size_t kWeights = std::size_t{kRows} * kWide, kWeightBytes = kWeights * 4;

Bytes heavy(unsigned seed = 1) {
  return sum_pipeline({numbers(kWeights, seed)}, kRows, kWide).build();
}

TEST_F(Pipeline, givenReplicasWhenWeightsAreSharedThenTheDeviceHasThemOnce) {
  const Bytes neff = heavy();
  EXPECT_EQ(nrt_unload(load(neff, 0, 4)), NRT_SUCCESS);
  const auto total = [&] {
    const auto all = used_by_all();
    return std::accumulate(all.begin(), all.begin() + 4, std::size_t{0});
  };
  const std::size_t before = total();
  nrt_model_t* copies = load(neff, 0, 4);
  const std::size_t with_copies = total() - before;
  EXPECT_GE(with_copies, 4 * kWeightBytes);
  EXPECT_EQ(nrt_unload(copies), NRT_SUCCESS);
  const Env env("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "TRUE");
  nrt_model_t* shared = load(neff, 0, 4);
  EXPECT_EQ(with_copies - (total() - before), 3 * kWeightBytes);
  nrt_model_t* another = load(neff, 2);
  EXPECT_LT(total() - before, 2 * kWeightBytes) << "another load of the same weights shares them, too";
  nrt_model_t* different = load(heavy(2), 2);
  EXPECT_GT(total() - before, 2 * kWeightBytes) << "other weights are other weights";
  EXPECT_EQ(nrt_unload(shared), NRT_SUCCESS);
  EXPECT_EQ(nrt_unload(different), NRT_SUCCESS);
  EXPECT_GE(total() - before, kWeightBytes) << "as long as one model has them";
  EXPECT_EQ(nrt_unload(another), NRT_SUCCESS);
  EXPECT_EQ(total(), before);
}

TEST_F(PipelineExecute, givenSharedWeightsWhenTheFirstModelIsGoneThenTheOthersStillHaveThem) {
  const Env env("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "true");
  const auto weights = numbers(kCount, 8);
  const Bytes neff = sum_pipeline({weights}, 4, 16).build();
  nrt_model_t *first = load(neff, 0), *second = load(neff, 1);
  EXPECT_EQ(nrt_unload(first), NRT_SUCCESS);
  nrt_model_t* other = load(sum_pipeline(addends(1), 4, 16).build(), 0);  // would take the memory that the first left
  const auto data = numbers(kCount);
  std::vector<float> result;
  ASSERT_EQ(run(second, data, result), NRT_SUCCESS) << logged();
  EXPECT_EQ(result, summed(data, {weights}));
  EXPECT_EQ(nrt_unload(other), NRT_SUCCESS);
}

TEST_F(Pipeline, givenAMalformedSharedWeightsVariableWhenLoadedThenItIsRefusedByName) {
  const Env env("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "maybe");
  expect_refused(heavy(), NRT_INVALID, "NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS is \"maybe\", expected true or false");
}

TEST_F(Pipeline, givenAFullDeviceWhenModelsAreLoadedThenTheAmountsAreSaidAndNothingStays) {
  const Bytes pipeline = sum_pipeline(addends(4, kWeights), kRows, kWide).build();
  EXPECT_EQ(nrt_unload(load(pipeline, 0)), NRT_SUCCESS);
  // Room for instructions and rings, but for no weights.
  nrt_tensor_t* spare = allocate(NRT_TENSOR_PLACEMENT_DEVICE, kWeightBytes / 2);
  std::vector<nrt_tensor_t*> filling;
  for (std::size_t bytes = std::size_t{1} << 31; bytes >= kWeightBytes; bytes /= 2) {
    for (;;) {
      nrt_tensor_t* tensor = nullptr;
      const NRT_STATUS status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "filling", &tensor);
      if (status != NRT_SUCCESS) {
        EXPECT_EQ(status, NRT_RESOURCE);
        break;
      }
      filling.push_back(tensor);
    }
  }
  ASSERT_FALSE(filling.empty());
  nrt_tensor_free(&spare);
  const auto before = used_by_all();
  nrt_vnc_memory_stats_t stats{};
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
  expect_refused(pipeline, NRT_RESOURCE,
                 std::to_string(kWeightBytes) + " bytes asked for (constants), " +
                     std::to_string(stats.bytes_limit - stats.bytes_used) + " of " + std::to_string(stats.bytes_limit) +
                     " free",
                 0);
  EXPECT_TRUE(has_logged("Failed to stage graph: sg00 to NeuronCore 0")) << logged();
  EXPECT_EQ(used_by_all(), before) << "nothing of the model stays";
  // Two subgraphs without constants fit, but not what they pass to each other.
  const Bytes copies = ModelBuilder()
                           .input("in", {kRows, kWide})
                           .output("out", {kRows, kWide})
                           .subgraph(renamed(copy_program(kRows, kWide), "sg00", {{"out", "x"}}))
                           .subgraph(renamed(copy_program(kRows, kWide), "sg01", {{"in", "x"}}))
                           .build();
  expect_refused(copies, NRT_RESOURCE,
                 "what the steps of the model pass to each other: value 'x': out of device memory", 0);
  EXPECT_TRUE(has_logged(std::to_string(kWeightBytes) + " bytes asked for (scratchpad)")) << logged();
  EXPECT_EQ(used_by_all(), before);
  for (nrt_tensor_t*& tensor : filling) nrt_tensor_free(&tensor);
  EXPECT_EQ(nrt_unload(load(pipeline, 0)), NRT_SUCCESS);
}

}  // namespace
}  // namespace conformance
