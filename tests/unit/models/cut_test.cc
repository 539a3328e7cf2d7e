// SPDX-License-Identifier: Apache-2.0
//
// What the compiler makes of --cores, --debug and operators that the device does not have, read back from the file (E4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>
#include <set>

#include "core/neff/neff.h"
#include "models/compiler.h"
#include "models/graph/graph.h"
#include "models/lower/schedule.h"
#include "models/onnx/builder.h"
#include "models/pipeline/cut.h"

namespace opennrt::compile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using A = OnnxBuilder::Attributes;
using Element = onnx_model::Element;
using Bytes = std::vector<std::byte>;

A ints(std::map<std::string, std::int64_t> values) {
  A a;
  a.ints = std::move(values);
  return a;
}

neff::Neff compiled(const Bytes& model, Options options = {}, Report* report = nullptr) {
  auto file = compile_onnx(model, options, report);
  EXPECT_TRUE(file) << file.error().message;
  if (!file) return {};
  neff::ParseOptions parse;
  parse.validate_hash = true;
  auto neff = neff::parse(*file, parse);
  EXPECT_TRUE(neff) << neff.error().message;
  return neff ? *neff : neff::Neff{};
}
neff::Neff compiled(const Bytes& model, std::size_t cores, Report* report = nullptr) {
  Options options;
  options.cores = cores;
  return compiled(model, options, report);
}
Error error_of(const Bytes& model, Options options = {}) {
  auto file = compile_onnx(model, options);
  EXPECT_FALSE(file);
  return file ? Error{} : file.error();
}
std::vector<std::string> names(const neff::Subgraph& g, neff::TensorKind kind) {
  std::vector<std::string> list;
  for (const auto& t : g.tensors) {
    if (t.kind == kind) list.push_back(t.name);
  }
  return list;
}

TEST(Cut, GivenOneCoreWhenCompiledThenTheBytesAreThoseWithoutTheOption) {
  for (const Bytes& model : {make_lenet(2), make_resnet_small(1), make_identity()}) {
    Options one;
    one.cores = 1;
    EXPECT_EQ(*compile_onnx(model, one), *compile_onnx(model, {}));
  }
}

TEST(Cut, GivenFourCoresWhenCompiledThenFourSubgraphsHangTogether) {
  Report report;
  const auto neff = compiled(make_resnet_small(3), 4, &report);
  ASSERT_EQ(neff.subgraphs.size(), 4u);
  EXPECT_EQ(neff.header.num_tpb, 4u);
  EXPECT_EQ(neff.header.requested_tpb_count, 4u);
  EXPECT_EQ(neff.header.tpb_per_node[0], 4);
  EXPECT_EQ(neff.steps.size(), 4u);
  ASSERT_EQ(report.stages.size(), 4u);
  std::set<std::string> known{"image"};
  std::uint64_t all = 0, slowest = 0;
  for (std::size_t s = 0; s < 4; ++s) {
    EXPECT_EQ(neff.subgraphs[s].name, "sg0" + std::to_string(s));
    for (const auto& name : names(neff.subgraphs[s], neff::TensorKind::kInput)) EXPECT_TRUE(known.count(name)) << name;
    const auto made = names(neff.subgraphs[s], neff::TensorKind::kOutput);
    EXPECT_LE(made.size(), pipeline::kMaxCrossing);
    known.insert(made.begin(), made.end());
    all += report.stages[s].cycles;
    slowest = std::max(slowest, report.stages[s].cycles);
  }
  EXPECT_THAT(names(neff.subgraphs[3], neff::TensorKind::kOutput), ElementsAre("logits"));
  // Balanced: with 19 layers much alike no stage has to be half again as slow as the mean.
  EXPECT_LT(static_cast<double>(slowest), 1.5 * static_cast<double>(all) / 4);
}

TEST(Cut, GivenTheSameModelWhenCutTwiceThenTheBytesAreTheSame) {
  Options options;
  options.cores = 3;
  EXPECT_EQ(*compile_onnx(make_resnet_small(1), options), *compile_onnx(make_resnet_small(1), options));
}

TEST(Cut, GivenMoreCoresThanPartsWhenCompiledThenItSaysHowManyCutsThereAre) {
  Options options;
  options.cores = 20;
  const Error e = error_of(make_lenet(), options);
  EXPECT_EQ(e.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(e.message, HasSubstr("20 NeuronCores"));
  EXPECT_THAT(e.message, HasSubstr("can be cut at 7 points"));
  EXPECT_THAT(e.message, HasSubstr("expected 1 to 8"));
  EXPECT_EQ(compiled(make_lenet(), 8).subgraphs.size(), 8u);
}

TEST(Cut, GivenAValueReadFarBehindWhenCutThenItPassesByTheStagesBetween) {
  OnnxBuilder b("skip");
  b.input("x", {1, 8});
  const auto first = b.node("Relu", {"x"});
  auto v = first;
  for (int i = 0; i < 6; ++i) v = b.node("Gemm", {v, b.random("w" + std::to_string(i), {8, 8}, 1)});
  b.node("Add", {v, first}, {}, "y");
  b.output("y", {1, 8});
  const auto neff = compiled(b.serialise(), 8);
  ASSERT_EQ(neff.subgraphs.size(), 8u);
  EXPECT_THAT(names(neff.subgraphs[0], neff::TensorKind::kOutput), ElementsAre(first));
  EXPECT_THAT(names(neff.subgraphs[7], neff::TensorKind::kInput), ::testing::UnorderedElementsAre(first, v));
  for (std::size_t s = 2; s < 7; ++s) EXPECT_EQ(names(neff.subgraphs[s], neff::TensorKind::kInput).size(), 1u) << s;
}

TEST(Cut, GivenManyValuesThatCrossWhenCutThenOnlyPointsWithFewCount) {
  // Eight branches side by side: between their beginning and their end more values are alive than may cross.
  OnnxBuilder b("wide");
  b.input("x", {1, 8});
  std::vector<std::string> branches;
  const auto root = b.node("Relu", {"x"});
  for (int i = 0; i < 8; ++i) branches.push_back(b.node("Gemm", {root, b.random("w" + std::to_string(i), {8, 8}, 1)}));
  b.node("Relu", {b.node("Concat", branches, ints({{"axis", 1}}))}, {}, "y");
  b.output("y", {1, 64});
  Options options;
  options.cores = 11;
  // 10 nodes: behind the root and 3 branches (4 values and the root), and behind the Concat. 4 branches are 5 values.
  EXPECT_THAT(error_of(b.serialise(), options).message, HasSubstr("at 5 points"));
  EXPECT_EQ(compiled(b.serialise(), 6).subgraphs.size(), 6u);
}

TEST(Cut, GivenMoreBiasesThanOneCoreHoldsWhenSpreadOverFourThenTheyFit) {
  // 300 columns of biases per wide layer, 4 bytes each: eight of them do not fit beside the weights on this small core.
  Options options;
  options.limits.sbuf_bytes_per_partition = 36 * 1024;
  OnnxBuilder b("wide");
  b.input("x", {1, 4});
  std::string v = "x";
  std::int64_t from = 4;
  for (int i = 0; i < 16; ++i) {
    const auto n = std::to_string(i);
    const std::int64_t to = i % 2 == 0 ? 128 * 300 : 4;
    v = b.node("Gemm",
               {v, b.constant("w" + n, {from, to}, std::vector<float>(static_cast<std::size_t>(from * to), 0.1f)),
                b.constant("b" + n, {to}, std::vector<float>(static_cast<std::size_t>(to), 1.0f))});
    from = to;
  }
  b.node("Relu", {v}, {}, "y");
  b.output("y", {1, 4});
  EXPECT_EQ(error_of(b.serialise(), options).code, ErrorCode::kUnsupported);
  options.cores = 4;
  EXPECT_EQ(compiled(b.serialise(), options).subgraphs.size(), 4u);
}

// ---- the search ----

/// A chain of nodes, each with its cycles and the elements of its output.
struct Chain {
  graph::Graph graph;
  std::vector<isa::DataType> types;
  std::vector<std::uint64_t> cycles;
};
Chain chain(const std::vector<std::pair<std::uint64_t, std::int64_t>>& nodes) {
  Chain c;
  c.graph.add_value("x", {1});
  c.graph.inputs = {0};
  for (const auto& [cycles, elements] : nodes) {
    const auto from = static_cast<graph::ValueId>(c.graph.values.size()) - 1;
    const auto to = c.graph.add_value("v", {elements});
    c.graph.nodes.push_back({graph::Unary{}, "n", "Relu", {from}, to});
    c.cycles.push_back(cycles);
  }
  c.graph.outputs = {static_cast<graph::ValueId>(c.graph.values.size()) - 1};
  c.types.assign(c.graph.values.size(), isa::DataType::kFp32);
  return c;
}
std::uint64_t slowest(const std::vector<pipeline::Stage>& stages) {
  std::uint64_t most = 0;
  for (const auto& s : stages) most = std::max(most, s.cycles);
  return most;
}

TEST(Search, GivenRandomChainsWhenCutThenNoOtherCutIsBetter) {
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::pair<std::uint64_t, std::int64_t>> nodes;
    for (int i = 0; i < 10; ++i) nodes.emplace_back(random() % 1000, 1 + random() % 1000);
    const Chain c = chain(nodes);
    for (const std::size_t stages : {1, 2, 3, 4}) {
      const auto found = pipeline::cut(c.graph, c.types, c.cycles, stages);
      ASSERT_TRUE(found) << found.error().message;
      ASSERT_EQ(found->size(), stages);
      EXPECT_EQ(found->front().begin, 0u);
      EXPECT_EQ(found->back().end, nodes.size());
      // All ways to choose the ends: bit i of `ends` set means a cut behind node i.
      const auto moved = [&](std::size_t end) {
        return end == 0 || end == nodes.size()
                   ? 0
                   : lower::transfer_cycles(static_cast<std::uint64_t>(nodes[end - 1].second) * 4) / lower::kOverlap;
      };
      std::uint64_t best = ~0ull;
      for (unsigned ends = 0; ends < 1u << (nodes.size() - 1); ++ends) {
        if (static_cast<std::size_t>(std::popcount(ends)) != stages - 1) continue;
        std::uint64_t most = 0, sum = 0;
        std::size_t begin = 0;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
          sum += nodes[i].first;
          if (i + 1 < nodes.size() && !(ends >> i & 1)) continue;
          most = std::max(most, sum + moved(begin) + moved(i + 1));
          begin = i + 1, sum = 0;
        }
        best = std::min(best, most);
      }
      EXPECT_EQ(slowest(*found), best) << stages << " stages in round " << round;
    }
  }
}

TEST(Search, GivenAVeryLongChainWhenCutIntoManyStagesThenItIsBalancedAllTheSame) {
  const Chain c = chain(std::vector<std::pair<std::uint64_t, std::int64_t>>(50'000, {100, 16}));
  const auto found = pipeline::cut(c.graph, c.types, c.cycles, 64);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 64u);
  EXPECT_LT(static_cast<double>(slowest(*found)), 1.05 * 50'000 * 100 / 64);
}

// ---- nodes for the CPU ----

TEST(CpuNodes, GivenAnEmbeddingAndAnArgMaxWhenCompiledThenTheyAreBeforeAndBehindTheNeuronCore) {
  Report report;
  const auto neff = compiled(make_classifier(), 0, &report);
  EXPECT_THAT(report.cpu_nodes, ElementsAre("node 'Gather_0' (Gather)", "node 'ArgMax_5' (ArgMax)"));
  ASSERT_EQ(neff.steps.size(), 3u);
  EXPECT_EQ(neff.steps[0].kind, neff::Step::Kind::kCpu);
  EXPECT_EQ(neff.steps[1].kind, neff::Step::Kind::kSubgraph);
  EXPECT_EQ(neff.steps[2].kind, neff::Step::Kind::kCpu);
  ASSERT_EQ(neff.cpu_nodes.size(), 2u);
  const auto& gather = neff.cpu_nodes[0];
  EXPECT_EQ(gather.function, "opennrt.gather");
  EXPECT_THAT(gather.inputs, ElementsAre("embedding", "tokens"));
  EXPECT_EQ(gather.attributes.at("axis"), "0");
  EXPECT_EQ(gather.outputs.at(0).shape, (std::vector<std::uint32_t>{1, 8, 16}));
  const auto& arg_max = neff.cpu_nodes[1];
  EXPECT_EQ(arg_max.function, "opennrt.argmax");
  EXPECT_EQ(arg_max.attributes.at("axis"), "1");
  EXPECT_EQ(arg_max.attributes.at("keepdims"), "1");
  EXPECT_EQ(arg_max.outputs.at(0).dtype, "int64");
  ASSERT_EQ(neff.constants.size(), 1u);
  EXPECT_EQ(neff.constants[0].info.name, "embedding");
  EXPECT_EQ(neff.constants[0].data.size(), 100u * 16 * 4);
  ASSERT_EQ(neff.tensors.size(), 3u);
  EXPECT_EQ(neff.tensors[0].dtype, "int64");
  EXPECT_EQ(neff.tensors[1].name, "scores");
  EXPECT_EQ(neff.tensors[2].name, "class");
}

TEST(CpuNodes, GivenFewerCoresThanPartsWhenCompiledThenItSaysHowManyAreNeeded) {
  OnnxBuilder b("two_parts");
  b.input("x", {1, 8});
  const auto best = b.node("ArgMax", {b.node("Relu", {"x"})}, ints({{"axis", 1}}));
  b.node("Relu", {b.node("Cast", {best}, ints({{"to", 1}}))}, {}, "y");
  b.output("y", {1, 1});
  EXPECT_EQ(compiled(b.serialise()).header.num_tpb, 2u);
  Options options;
  options.cores = 1;
  const Error e = error_of(b.serialise(), options);
  EXPECT_EQ(e.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(e.message, HasSubstr("divide the network into 2 parts, expected 2 to 2"));
}

TEST(CpuNodes, GivenBranchesOfOneDepthWhenCompiledThenTheDeviceIsEnteredOnce) {
  // In the file's order the CPU and the device take turns; what depends on what allows one turn each.
  OnnxBuilder b("branches");
  b.input("x", {1, 8});
  b.input("i", {1}, Element::kInt64);
  const auto one = b.node("Relu", {"x"});
  const auto row = b.node("Gather", {b.random("table", {4, 8}, 1), "i"});
  const auto two = b.node("Add", {one, row});
  b.node("ArgMax", {two}, ints({{"axis", 1}}), "best");
  b.node("Relu", {two}, {}, "y");
  b.output("best", {1, 1}, Element::kInt64);
  b.output("y", {1, 8});
  const auto neff = compiled(b.serialise());
  EXPECT_EQ(neff.subgraphs.size(), 1u);
  EXPECT_EQ(neff.cpu_nodes.size(), 2u);
}

TEST(CpuNodes, GivenIndicesThatAreKnownWhenCompiledThenNothingIsLeftForTheCpu) {
  OnnxBuilder b("known");
  b.input("x", {1, 3});
  b.constant("table", {3, 2}, {1, 2, 3, 4, 5, 6});
  const auto rows = b.node("Gather", {"table", b.constant_ints("i", {2, -3})});  // [[5, 6], [1, 2]]
  const auto sum = b.node("Reshape", {rows, b.constant_ints("s", {1, 4})});
  b.node("Gemm", {"x", b.random("w", {3, 4}, 1), sum}, {}, "y");
  b.output("y", {1, 4});
  Report report;
  EXPECT_EQ(compiled(b.serialise(), {}, &report).steps.size(), 1u);
  EXPECT_TRUE(report.cpu_nodes.empty());
  OnnxBuilder bad("bad");
  bad.input("x", {1, 3});
  bad.constant("table", {3, 2}, {1, 2, 3, 4, 5, 6});
  bad.node("Add", {"x", bad.node("Gather", {"table", bad.constant_ints("i", {3})})}, {}, "y");
  bad.output("y", {});
  EXPECT_THAT(error_of(bad.serialise()).message, HasSubstr("an index is 3, expected -3 to 2"));
}

TEST(CpuNodes, GivenOnlyNodesForTheCpuWhenCompiledThenItIsRefused) {
  OnnxBuilder b("cpu_only");
  b.input("x", {1, 8});
  b.node("ArgMax", {"x"}, ints({{"axis", 1}}), "y");
  b.output("y", {1, 1}, Element::kInt64);
  EXPECT_EQ(error_of(b.serialise()).code, ErrorCode::kUnsupported);
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("nothing is left for a NeuronCore"));
}

TEST(CpuNodes, GivenIntegersForTheDeviceWhenCompiledThenTheNodeIsNamed) {
  OnnxBuilder b("ints");
  b.input("x", {1, 8}, Element::kInt32);
  b.node("Relu", {"x"}, {}, "y");
  b.output("y", {});
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("node 'Relu_0' (Relu): input 0 ('x') holds integers"));
}

TEST(CpuNodes, GivenAnOutputDeclaredAsAnotherTypeWhenCompiledThenBothAreNamed) {
  OnnxBuilder b("wrong");
  b.input("x", {1, 8});
  b.node("ArgMax", {b.node("Relu", {"x"})}, ints({{"axis", 1}}), "y");
  b.output("y", {1, 1}, Element::kInt32);
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("declared as int32, but it is int64"));
}

TEST(CpuNodes, GivenAttributesThatCannotBeWhenCompiledThenTheyAreNamed) {
  const auto with = [](const std::string& op, const A& a, std::int64_t k) {
    OnnxBuilder b("bad");
    b.input("x", {1, 8});
    const auto x = b.node("Relu", {"x"});
    b.node(op, op == "TopK" ? std::vector<std::string>{x, b.constant_ints("k", {k})} : std::vector<std::string>{x}, a,
           "y");
    b.output("y", {}, op == "ArgMax" ? Element::kInt64 : Element::kFloat32);
    return error_of(b.serialise()).message;
  };
  EXPECT_THAT(with("TopK", {}, 9), HasSubstr("k is 9, expected 1 to 8"));
  EXPECT_THAT(with("TopK", ints({{"axis", 2}}), 1), HasSubstr("axis is 2, expected -2 to 1"));
  EXPECT_THAT(with("ArgMax", ints({{"select_last_index", 1}}), 0), HasSubstr("select_last_index is 1, expected 0"));
  EXPECT_THAT(with("Cast", ints({{"to", 11}}), 0), HasSubstr("the target type is 11, expected 1 (float32)"));
}

TEST(CpuNodes, GivenValueNamesThatANeffCannotHoldWhenCompiledThenOthersTakeTheirPlace) {
  OnnxBuilder b("names");
  b.input("x", {1, 8});
  const auto odd = b.node("Relu", {"x"}, {}, std::string(300, 'n'));
  const auto best = b.node("ArgMax", {odd}, ints({{"axis", 1}}), "b\x01");
  b.node("Relu", {b.node("Cast", {best}, ints({{"to", 1}}))}, {}, "value1");  // a name that the compiler might choose
  b.output("value1", {1, 1});
  const auto neff = compiled(b.serialise());
  std::set<std::string> seen;
  for (const auto& node : neff.cpu_nodes) {
    for (const auto& output : node.outputs) EXPECT_TRUE(seen.insert(output.name).second) << output.name;
  }
  EXPECT_EQ(neff.tensors.at(1).name, "value1");
}

TEST(CpuNodes, GivenFlippedBitsWhenCompiledThenEachIsAnErrorOrAFileThatCanBeRead) {
  OnnxBuilder b("hostile");
  b.input("i", {1, 2}, Element::kInt64);
  auto x = b.node("Flatten", {b.node("Gather", {b.random("table", {4, 3}, 1), "i"})});
  x = b.node("Relu", {x});
  b.node("TopK", {x, b.constant_ints("k", {2})}, ints({{"axis", 1}}), "values", {"places"});
  b.node("Cast", {"places"}, ints({{"to", 6}}), "y");
  b.output("y", {1, 2}, Element::kInt32);
  const auto good = b.serialise();
  std::mt19937 random(4);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    auto bad = good;
    for (int flips = 0; flips < 1 + i % 3; ++flips)
      bad[random() % bad.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    Options options;
    options.cores = random() % 3;
    const auto file = compile_onnx(bad, options);
    if (file) {
      const auto neff = neff::parse(*file);
      EXPECT_TRUE(neff) << neff.error().message;
      continue;
    }
    ++refused;
    EXPECT_NE(file.error().code, ErrorCode::kInternal) << file.error().message;
  }
  EXPECT_GT(refused, 300);
  EXPECT_LT(refused, 1000);
}

// ---- debug tensors ----

TEST(DebugTensors, GivenValuesWhenCompiledThenEachIsInAVariableOfItsSubgraph) {
  Options options;
  options.debug = {"Conv_0_out", "Relu_1_out", "probabilities"};
  const auto neff = compiled(make_lenet(), options);
  const auto& g = neff.subgraphs.at(0);
  ASSERT_EQ(g.debug_tensors.size(), 3u);
  std::set<std::size_t> variables;
  for (const auto& d : g.debug_tensors) {
    variables.insert(d.variable);
    EXPECT_EQ(d.dtype, "float32");
    const auto type = g.variables.at(d.variable).type;
    EXPECT_EQ(type, d.name == "probabilities" ? neff::VariableType::kOutput : neff::VariableType::kTmpBuf) << d.name;
  }
  EXPECT_EQ(variables.size(), 3u);
  // Before the Relu: it must not have been fused into the convolution.
  EXPECT_EQ(g.debug_tensors[0].name, "Conv_0_out");
  EXPECT_EQ(g.debug_tensors[0].shape, (std::vector<std::uint32_t>{1, 6, 28, 28}));
}

TEST(DebugTensors, GivenNamesThatCannotBeReportedWhenCompiledThenEachSaysWhy) {
  const auto with = [](const std::string& name) {
    Options options;
    options.debug = {name};
    return error_of(make_classifier(), options).message;
  };
  EXPECT_THAT(with("nowhere"), HasSubstr("debug value 'nowhere' is not in the graph"));
  EXPECT_THAT(with("tokens"), HasSubstr("'tokens' is an input"));
  EXPECT_THAT(with("embedding"), HasSubstr("'embedding' is a constant"));
  EXPECT_THAT(with("class"), HasSubstr("'class' is computed on the CPU"));
}

}  // namespace
}  // namespace opennrt::compile
