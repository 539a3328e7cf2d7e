// SPDX-License-Identifier: Apache-2.0
//
// neff.json: steps, values, CPU nodes and constants, and what of them is refused (requirements E4, E5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_builder.h"

namespace opennrt::neff {
namespace {

using test::ModelBuilder;
using test::NeffBuilder;
using test::OrderedJson;
using test::tensor_info;
using ::testing::HasSubstr;

test::SubgraphBuilder copy(const std::string& name, const std::string& from, const std::string& to) {
  return test::renamed(test::copy_program(4, 16), name, {{"in", from}, {"out", to}});
}

/// Nodes of test::every_step(): 0 ids, 1 table, 2 embed, 3 kelf-0.json, 4 pick.
NeffBuilder changed(const std::function<void(OrderedJson&)>& change) {
  NeffBuilder b = test::every_step().files();
  b.edit("neff.json", change);
  return b;
}

TEST(NeffGraph, givenSubgraphsAndCpuNodesWhenParsedThenStepsAndValuesAreThere) {
  auto neff = parse(test::every_step().build(), {.validate_hash = true});
  ASSERT_TRUE(neff) << neff.error().message;
  ASSERT_EQ(neff->subgraphs.size(), 2u);
  EXPECT_EQ(neff->subgraphs[1].name, "sg01");
  ASSERT_EQ(neff->cpu_nodes.size(), 2u);
  EXPECT_EQ(neff->cpu_nodes[0].name, "embed");
  EXPECT_EQ(neff->cpu_nodes[0].function, "opennrt.gather");
  EXPECT_THAT(neff->cpu_nodes[0].inputs, testing::ElementsAre("table", "ids"));
  EXPECT_THAT(neff->cpu_nodes[0].attributes, testing::ElementsAre(testing::Pair("axis", "0")));
  ASSERT_EQ(neff->cpu_nodes[0].outputs.size(), 1u);
  EXPECT_EQ(neff->cpu_nodes[0].outputs[0].name, "x");
  EXPECT_EQ(neff->cpu_nodes[0].outputs[0].bytes, 256u);
  ASSERT_EQ(neff->constants.size(), 1u);
  EXPECT_EQ(neff->constants[0].info.name, "table");
  EXPECT_EQ(neff->constants[0].data.size(), 640u);
  ASSERT_EQ(neff->steps.size(), 4u);
  const std::vector<std::pair<Step::Kind, std::size_t>> expected{
      {Step::Kind::kCpu, 0}, {Step::Kind::kSubgraph, 0}, {Step::Kind::kSubgraph, 1}, {Step::Kind::kCpu, 1}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(neff->steps[i].kind, expected[i].first) << i;
    EXPECT_EQ(neff->steps[i].index, expected[i].second) << i;
  }
  ASSERT_EQ(neff->tensors.size(), 3u);
  EXPECT_EQ(neff->tensors[0].name, "ids");
  EXPECT_EQ(neff->tensors[0].kind, TensorKind::kInput);
  EXPECT_EQ(neff->tensors[0].dtype, "int64");
  EXPECT_EQ(neff->tensors[1].name, "best");
  EXPECT_EQ(neff->tensors[1].kind, TensorKind::kOutput);
  EXPECT_EQ(neff->tensors[2].name, "y");
}

TEST(NeffGraph, givenStepsInAnotherOrderWhenParsedThenTheyAreSorted) {
  // The second graph of the kelf makes what the first one takes.
  auto neff = parse(ModelBuilder()
                        .input("in", {4, 16})
                        .output("out", {4, 16})
                        .subgraph(copy("late", "mid", "out"))
                        .subgraph(copy("early", "in", "mid"))
                        .build());
  ASSERT_TRUE(neff) << neff.error().message;
  ASSERT_EQ(neff->steps.size(), 2u);
  EXPECT_EQ(neff->subgraphs[neff->steps[0].index].name, "early");
  EXPECT_EQ(neff->subgraphs[neff->steps[1].index].name, "late");
}

TEST(NeffGraph, givenOutputNamesAsAnArrayWhenParsedThenANameMayHoldAComma) {
  NeffBuilder b =
      ModelBuilder().input("in", {4, 16}).output("a,b", {4, 16}).subgraph(copy("sg00", "in", "a,b")).files();
  b.edit("neff.json", [](auto& j) {
    j["nodes"][1]["attrs"]["output_names"] = {"a,b"};
    j["nodes"][1]["attrs"]["num_outputs"] = "1";
  });
  auto neff = parse(b.build());
  ASSERT_TRUE(neff) << neff.error().message;
  EXPECT_EQ(neff->tensors[1].name, "a,b");
}

TEST(NeffGraph, givenOneSubgraphWithoutAGraphWhenParsedThenItsTensorsAreThoseOfTheModel) {
  auto neff = parse(NeffBuilder::of(test::copy_program(4, 16).graph).build());
  ASSERT_TRUE(neff) << neff.error().message;
  ASSERT_EQ(neff->tensors.size(), 2u);
  EXPECT_EQ(neff->tensors[1].name, "out");
  ASSERT_EQ(neff->steps.size(), 1u);
  EXPECT_EQ(neff->steps[0].kind, Step::Kind::kSubgraph);
}

TEST(NeffGraph, givenDebugTensorsWhenParsedThenTheyPointToTheirVariables) {
  auto b = test::copy_program(4, 16);
  const auto variable = b.variable("kept", VariableType::kTmpBuf, 256);
  b.graph.debug_tensors.push_back({"relu_1", "float32", {4, 16}, 256, variable});
  auto neff = parse(NeffBuilder::of(b.graph).build());
  ASSERT_TRUE(neff) << neff.error().message;
  ASSERT_EQ(neff->subgraphs[0].debug_tensors.size(), 1u);
  const DebugTensor& debug = neff->subgraphs[0].debug_tensors[0];
  EXPECT_EQ(debug.name, "relu_1");
  EXPECT_EQ(debug.dtype, "float32");
  EXPECT_EQ(debug.bytes, 256u);
  EXPECT_EQ(neff->subgraphs[0].variables[debug.variable].name, "kept");
}

struct Refusal {
  const char* name;
  std::function<void(OrderedJson&)> change;
  const char* text;
};
void PrintTo(const Refusal& r, std::ostream* out) {
  *out << r.name;
}

class NeffGraphRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(NeffGraphRefusal, whenParsedThenTheErrorNamesTheField) {
  auto neff = parse(changed(GetParam().change).build());
  ASSERT_FALSE(neff);
  EXPECT_EQ(neff.error().code, ErrorCode::kInvalidFile) << neff.error().message;
  EXPECT_THAT(neff.error().message, HasSubstr(GetParam().text));
}

const Refusal kRefusals[] = {
    {"NoHeads", [](auto& j) { j.erase("heads"); }, "heads is missing"},
    {"EmptyHeads", [](auto& j) { j["heads"] = OrderedJson::array(); }, "heads is empty"},
    {"HeadsOfNothing",
     [](auto& j) {
       j["heads"][0] = {99, 0, 0};
     },
     "heads[0][0] is 99, expected one of the 5 nodes"},
    {"HeadsNegative",
     [](auto& j) {
       j["heads"][0] = {-1, 0, 0};
     },
     "heads[0][0] is -1"},
    {"HeadsText", [](auto& j) { j["heads"][0] = "x"; }, "heads[0] is \"x\", expected [node, output, 0]"},
    {"HeadTwice", [](auto& j) { j["heads"].push_back(j["heads"][0]); },
     "heads[2] is value \"best\", which is there twice"},
    {"HeadIsAnInput",
     [](auto& j) {
       j["heads"][0] = {0, 0, 0};
     },
     "heads[0] is value \"ids\", which no step puts out"},
    {"NoRows", [](auto& j) { j.erase("node_row_ptr"); }, "node_row_ptr is missing"},
    {"RowsTooFew", [](auto& j) { j["node_row_ptr"].erase(1); }, "node_row_ptr has 5 entries"},
    {"RowsWrong", [](auto& j) { j["node_row_ptr"][2] = 3; }, "node_row_ptr[2] is 3, but the nodes before put out 2"},
    {"RowsEnd", [](auto& j) { j["node_row_ptr"][5] = 9; }, "node_row_ptr[5] is 9, but the nodes put out 6 values"},
    {"NoAttributes", [](auto& j) { j.erase("attrs"); }, "attrs is missing"},
    {"ShapesTooFew", [](auto& j) { j["attrs"]["shape"][1].erase(0); }, "one entry for each of the 6 values"},
    {"ShapesOfAnotherType", [](auto& j) { j["attrs"]["shape"][0] = "list_int"; }, "attrs.shape is [\"list_int\""},
    {"ShapeNegative", [](auto& j) { j["attrs"]["shape"][1][0] = {-4}; }, "attrs.shape[1][0] holds -4"},
    {"ShapeZero", [](auto& j) { j["attrs"]["shape"][1][0] = {0}; }, "attrs.shape[1][0] holds 0"},
    {"ShapeHuge",
     [](auto& j) {
       j["attrs"]["shape"][1][0] = {4000000000u, 4000000000u, 4000000000u};
     },
     "attrs.shape[1][0] has more than 2^64 bytes"},
    {"ShapeLarge", [](auto& j) { j["attrs"]["shape"][1][0] = {4000000000u}; }, "expected at most 8589934592"},
    {"TypeUnknown", [](auto& j) { j["attrs"]["dltype"][1][0] = "int3"; }, "attrs.dltype[1][0] is \"int3\""},
    {"TypeNumber", [](auto& j) { j["attrs"]["dltype"][1][0] = 3; }, "attrs.dltype[1][0] is 3"},
    {"TypeOfAConstant", [](auto& j) { j["attrs"]["dltype"][1][1] = "int32"; }, "float32[10,16], but attrs say"},
    {"ShapeOfAConstant",
     [](auto& j) {
       j["attrs"]["shape"][1][1] = {16, 10};
     },
     "float32[10,16], but attrs say"},
    {"ShapeOfAnInputOfASubgraph",
     [](auto& j) {
       j["attrs"]["shape"][1][2] = {16, 4};
     },
     "subgraph 'sg00' has the input \"x\" of float32[4,16], but that value is float32[16,4]"},
    {"TypeOfAnOutputOfASubgraph", [](auto& j) { j["attrs"]["dltype"][1][4] = "int32"; },
     "value \"y\" is int32[4,16] in attrs, but float32[4,16] in tensor_map.json"},
    {"ConstantMissing", [](auto& j) { j["nodes"][1]["attrs"]["file"] = "gone.npy"; }, "gone.npy"},
    {"ConstantNoNpy", [](auto& j) { j["nodes"][1]["attrs"]["file"] = "neff.json"; }, "nodes[1].attrs.file"},
    {"NameTwice", [](auto& j) { j["nodes"][1]["name"] = "ids"; }, "nodes[1]: value \"ids\" is there twice"},
    {"NameOfAValueInside", [](auto& j) { j["nodes"][0]["name"] = "mid"; }, "value \"mid\" is there twice"},
    {"CpuNodeTwice", [](auto& j) { j["nodes"][4]["name"] = "embed"; }, "nodes[4].name is \"embed\", which is the name"},
    {"NoOutputNames", [](auto& j) { j["nodes"][3]["attrs"].erase("output_names"); }, "output_names is missing"},
    {"OutputNameUnknown", [](auto& j) { j["nodes"][3]["attrs"]["output_names"] = "mid,z"; },
     "output_names has \"z\", which no graph of kelf-0.json puts out"},
    {"OutputNameEmpty", [](auto& j) { j["nodes"][3]["attrs"]["output_names"] = "mid,"; }, "has 0 bytes"},
    {"OutputsCounted", [](auto& j) { j["nodes"][3]["attrs"]["num_outputs"] = "3"; }, "num_outputs is \"3\""},
    {"InputsCounted", [](auto& j) { j["nodes"][4]["attrs"]["num_inputs"] = "2"; },
     "num_inputs is \"2\", but inputs has 1"},
    {"NoInputs", [](auto& j) { j["nodes"][4].erase("inputs"); }, "nodes[4].inputs is missing"},
    {"InputOfNothing",
     [](auto& j) {
       j["nodes"][4]["inputs"][0] = {3, 7, 0};
     },
     "nodes[4].inputs[0][1] is 7, but nodes[3] puts out 2 values"},
    {"InputNotGiven",
     [](auto& j) {
       j["nodes"][3]["inputs"] = OrderedJson::array();
       j["nodes"][3]["attrs"]["num_inputs"] = "0";
     },
     "subgraph 'sg00' has the input \"x\", which is not among nodes[3].inputs"},
    {"Cycle",
     [](auto& j) {
       j["nodes"][2]["inputs"][1] = {4, 0, 0};
     },
     "the nodes form a cycle: 4 of 4 steps can never run, the first is CPU node 'embed'"},
    {"AttributeNumber", [](auto& j) { j["nodes"][4]["attrs"]["axis"] = 1; },
     "nodes[4].attrs.axis is 1, expected a text"},
};
INSTANTIATE_TEST_SUITE_P(All, NeffGraphRefusal, ::testing::ValuesIn(kRefusals),
                         [](const auto& test) { return test.param.name; });

TEST(NeffGraph, givenASubgraphWhoseInputNothingMakesWhenParsedThenItIsNamed) {
  auto neff = parse(
      ModelBuilder().input("in", {4, 16}).output("out", {4, 16}).subgraph(copy("sg00", "nowhere", "out")).build());
  ASSERT_FALSE(neff);
  EXPECT_THAT(neff.error().message, HasSubstr("subgraph 'sg00' has the input \"nowhere\", which nothing puts out"));
}

TEST(NeffGraph, givenDebugTensorsThatDoNotFitWhenParsedThenTheFieldIsNamed) {
  const auto refuse = [](const std::function<void(OrderedJson&)>& change, const std::string& text) {
    auto b = test::copy_program(4, 16);
    b.graph.debug_tensors.push_back({"a", "float32", {4, 16}, 256, b.variable("kept", VariableType::kTmpBuf, 256)});
    NeffBuilder files = NeffBuilder::of(b.graph);
    files.edit("sg00/def.json", [&](auto& j) { change(j["opennrt"]["debug_tensors"]); });
    auto neff = parse(files.build());
    ASSERT_FALSE(neff) << text;
    EXPECT_THAT(neff.error().message, HasSubstr(text));
  };
  refuse([](auto& j) { j[0]["variable"] = "gone"; }, "debug_tensors[0].variable is \"gone\", expected a variable");
  refuse([](auto& j) { j[0]["variable"] = "in"; }, "of type \"input\", expected a tmp-buf or an output");
  refuse([](auto& j) { j[0]["shape"] = {4, 17}; }, "make 272 bytes, but variable 'kept' has 256");
  refuse([](auto& j) { j[0]["dtype"] = "float"; }, "debug_tensors[0].dtype is \"float\"");
  refuse([](auto& j) { j.push_back(j[0]); }, "debug_tensors[1].name is \"a\", which is there twice");
  refuse([](auto& j) { j[0].erase("name"); }, "debug_tensors[0].name is missing");
}

}  // namespace
}  // namespace opennrt::neff
