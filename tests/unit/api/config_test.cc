// SPDX-License-Identifier: Apache-2.0
// Requirements A4, B1 to B4, B7, D4: the environment as it is read once.
#include "core/runtime/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "core/runtime/handles.h"
#include "core/runtime/machine.h"

namespace opennrt {
namespace {

Configuration accept(Variables variables, bool mxnet = false) {
  Result<Configuration> configuration = Configuration::parse(std::move(variables), mxnet);
  EXPECT_TRUE(configuration) << configuration.error().message;
  return configuration ? *configuration : Configuration{};
}

std::string refuse(Variables variables, bool mxnet = false) {
  const Result<Configuration> configuration = Configuration::parse(std::move(variables), mxnet);
  EXPECT_FALSE(configuration);
  if (configuration) return "";
  EXPECT_EQ(configuration.error().code, ErrorCode::kInvalidArgument);
  return configuration.error().message;
}

TEST(Config, givenNothingWhenParsedThenAllCoresAreAskedFor) {
  EXPECT_EQ(accept({}).cores, (CoreRequest{CoreRequest::Kind::kAll, 0, 0, 0}));
  EXPECT_EQ(accept({{"NEURON_RT_NUM_CORES", "0"}}).cores.kind, CoreRequest::Kind::kAll);
  EXPECT_EQ(accept({{"NEURON_RT_NUM_CORES", ""}, {"NEURON_RT_VISIBLE_CORES", ""}}).cores.kind, CoreRequest::Kind::kAll);
}

TEST(Config, givenTheFormsOfVisibleCoresWhenParsedThenTheyAreTheRange) {
  const auto range = [](const char* text) { return accept({{"NEURON_RT_VISIBLE_CORES", text}}).cores; };
  EXPECT_EQ(range("3"), (CoreRequest{CoreRequest::Kind::kRange, 1, 3, 3}));
  EXPECT_EQ(range("0-3"), (CoreRequest{CoreRequest::Kind::kRange, 4, 0, 3}));
  EXPECT_EQ(range("3,4,5"), (CoreRequest{CoreRequest::Kind::kRange, 3, 3, 5}));
  EXPECT_EQ(range("3-5,6"), (CoreRequest{CoreRequest::Kind::kRange, 4, 3, 6}));
  EXPECT_EQ(range("0,1-2,3-63"), (CoreRequest{CoreRequest::Kind::kRange, 64, 0, 63}));
  EXPECT_EQ(range("2-2"), (CoreRequest{CoreRequest::Kind::kRange, 1, 2, 2}));
}

TEST(Config, givenAnythingElseAsVisibleCoresWhenParsedThenItIsRefusedByNameValueAndExpectation) {
  for (const char* text : {"a",   "-1",    "1-",  "-",  ",",  "1,",  ",1",    "3,5",         "3,5,6", "3,3", "5,4",
                           "5-3", "1-2-3", "0x1", " 1", "1 ", "1;2", "0-3,3", "99999999999", "+1",    "1.0"}) {
    const std::string message = refuse({{"NEURON_RT_VISIBLE_CORES", text}});
    EXPECT_EQ(message.rfind(std::string("NEURON_RT_VISIBLE_CORES is \"") + text + "\"", 0), 0u) << message;
    EXPECT_NE(message.find("expected"), std::string::npos) << message;
  }
}

TEST(Config, givenBothVariablesWhenParsedThenVisibleCoresWin) {
  EXPECT_EQ(accept({{"NEURON_RT_VISIBLE_CORES", "2-3"}, {"NEURON_RT_NUM_CORES", "4"}}).cores,
            (CoreRequest{CoreRequest::Kind::kRange, 2, 2, 3}));
}

TEST(Config, givenNumCoresWhenParsedThenThatManyFreeOnesAreAskedFor) {
  EXPECT_EQ(accept({{"NEURON_RT_NUM_CORES", "3"}}).cores, (CoreRequest{CoreRequest::Kind::kAny, 3, 0, 0}));
  for (const char* text : {"-1", "x", "1x", "2147483648", "1-2"}) {
    EXPECT_EQ(refuse({{"NEURON_RT_NUM_CORES", text}}),
              std::string("NEURON_RT_NUM_CORES is \"") + text + "\", expected an integer from 0 to 2147483647");
  }
}

TEST(Config, givenGroupSizesWhenParsedThenTheyWarnAndRulesByFrameworkHold) {
  const Configuration alone = accept({{"NEURONCORE_GROUP_SIZES", "2x2,1"}});
  EXPECT_EQ(alone.cores, (CoreRequest{CoreRequest::Kind::kAny, 5, 0, 0}));
  ASSERT_FALSE(alone.remarks.empty());
  EXPECT_EQ(alone.remarks.front().level, observe::Level::kWarn);
  EXPECT_NE(alone.remarks.front().text.find("NEURON_RT_VISIBLE_CORES"), std::string::npos);
  EXPECT_EQ(accept({{"NEURONCORE_GROUP_SIZES", "1,1"}, {"NEURON_RT_VISIBLE_CORES", "0-1"}}).cores.count, 2u);
  EXPECT_NE(refuse({{"NEURONCORE_GROUP_SIZES", "3"}, {"NEURON_RT_VISIBLE_CORES", "0-1"}}).find("at most the 2"),
            std::string::npos);
  EXPECT_NE(refuse({{"NEURONCORE_GROUP_SIZES", "1"}, {"NEURON_RT_VISIBLE_CORES", "0-1"}}, true).find("MXNet"),
            std::string::npos);
  EXPECT_NE(refuse({{"NEURONCORE_GROUP_SIZES", "1,,2"}}).find("NEURONCORE_GROUP_SIZES is \"1,,2\""), std::string::npos);
  EXPECT_NE(refuse({{"NEURONCORE_GROUP_SIZES", "999999999x999999999"}}).find("is not a group"), std::string::npos);
}

TEST(Config, givenModelVariablesWhenParsedThenDefaultsAndLimitsHold) {
  EXPECT_EQ(ModelConfiguration::parse({})->timeout_ns, 30'000'000'000u);
  EXPECT_FALSE(ModelConfiguration::parse({})->validate_hash);
  EXPECT_EQ(ModelConfiguration::parse({{"NEURON_RT_EXEC_TIMEOUT", "5"}})->timeout_ns, 5'000'000'000u);
  EXPECT_EQ(ModelConfiguration::parse({{"NEURON_RT_EXEC_TIMEOUT", "0"}})->timeout_ns, kNoTimeout);
  EXPECT_EQ(ModelConfiguration::parse({{"NEURON_RT_EXEC_TIMEOUT", "2147483647"}})->timeout_ns,
            2'147'483'647'000'000'000u);
  EXPECT_TRUE(ModelConfiguration::parse({{"NEURON_RT_VALIDATE_HASH", "TRUE"}})->validate_hash);
  EXPECT_FALSE(ModelConfiguration::parse({{"NEURON_RT_VALIDATE_HASH", "yes"}}));
  EXPECT_TRUE(Configuration::parse({{"NEURON_RT_RESET_CORES", "0"}}));
  EXPECT_FALSE(Configuration::parse({{"NEURON_RT_RESET_CORES", "never"}}));
  EXPECT_EQ(ModelConfiguration::parse({})->dump_inputs_on, 0u);
  EXPECT_EQ(ModelConfiguration::parse({{"NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", "1006"}})->dump_inputs_on, 1006u);
  EXPECT_EQ(refuse({{"NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", "-1"}}),
            "NEURON_RT_DBG_DUMP_INPUTS_ON_ERR is \"-1\", expected an integer from 0 to 2147483647");
  EXPECT_EQ(refuse({{"NEURON_RT_EXEC_TIMEOUT", "5s"}}),
            "NEURON_RT_EXEC_TIMEOUT is \"5s\", expected an integer from 0 to 2147483647");
}

TEST(Config, givenAnUnknownVariableWhenParsedThenItIsIgnoredAtDebug) {
  const Configuration configuration = accept({{"NEURON_RT_NOT_A_THING", "1"}});
  ASSERT_EQ(configuration.remarks.size(), 1u);
  EXPECT_EQ(configuration.remarks[0].level, observe::Level::kDebug);
  EXPECT_NE(configuration.remarks[0].text.find("NEURON_RT_NOT_A_THING"), std::string::npos);
}

TEST(Config, givenTheEnvironmentWhenReadThenOnlyNeuronAndOpennrtVariablesAreKept) {
  setenv("NEURON_RT_NUM_CORES", "2", 1);
  setenv("OPENNRT_BACKEND", "null", 1);
  const Configuration configuration = accept(read_environment());
  EXPECT_STREQ(configuration.get("OPENNRT_BACKEND"), "null");
  EXPECT_EQ(configuration.get("PATH"), nullptr);
  EXPECT_EQ(configuration.cores.count, 2u);
  unsetenv("NEURON_RT_NUM_CORES");
  unsetenv("OPENNRT_BACKEND");
}

TEST(Config, givenNoBackendChosenWhenNoDeviceIsThereThenTheSimulatorStandsInWithANotice) {
  const auto choice = choose_backend(accept({}), false);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->name_or_path, "sim");
  EXPECT_NE(choice->notice.find("OPENNRT_BACKEND=sim"), std::string::npos);
  EXPECT_EQ(choose_backend(accept({}), true)->name_or_path, "neuron");
  EXPECT_EQ(choose_backend(accept({{"OPENNRT_BACKEND", "sim"}}), false)->notice, "");
  EXPECT_EQ(choose_backend(accept({{"OPENNRT_BACKEND", "/x/y.so"}}), false)->name_or_path, "/x/y.so");
}

TEST(Config, givenNeuronAskedForWhenNoDeviceIsThereThenItIsRefusedNotReplaced) {
  const auto choice = choose_backend(accept({{"OPENNRT_BACKEND", "neuron"}}), false);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code, ErrorCode::kDeviceGone);
  EXPECT_NE(choice.error().message.find("This instance has no neuron devices"), std::string::npos);
}

TEST(Config, givenTheHostContractWhenReadThenItListsExactlyTheVariablesThatTheLibraryKnows) {
  std::ifstream file(std::filesystem::path(std::getenv("OPENNRT_SOURCE_DIR")) / "docs" / "host-contract.md");
  ASSERT_TRUE(file);
  std::set<std::string> documented;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| `NEURON", 0) != 0 && line.rfind("| `OPENNRT_", 0) != 0) continue;
    documented.insert(line.substr(3, line.find('`', 3) - 3));
  }
  std::set<std::string> known;
  for (const VariableInfo& variable : known_variables()) known.emplace(variable.name);
  EXPECT_EQ(documented, known);
}

TEST(Handles, givenAHandleThatWasFreedWhenLookedUpThenItIsRefusedAndNeverReused) {
  HandleTable<int> table(HandleKind::kTensor, "tensor");
  void* first = table.add(std::make_shared<int>(1));
  ASSERT_TRUE(table.get(first));
  EXPECT_EQ(*table.remove(first), 1);
  EXPECT_EQ(table.remove(first), nullptr);
  for (int i = 0; i < 1000; ++i) EXPECT_NE(table.add(std::make_shared<int>(i)), first);
  const auto stale = table.get(first);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, ErrorCode::kInvalidHandle);
  EXPECT_EQ(table.get(nullptr).error().code, ErrorCode::kInvalidArgument);
  int local = 0;
  EXPECT_EQ(table.get(&local).error().code, ErrorCode::kInvalidHandle);
}

TEST(Handles, givenHandlesOfTwoKindsWhenMixedUpThenNeitherTableKnowsTheOthers) {
  HandleTable<int> tensors(HandleKind::kTensor, "tensor"), models(HandleKind::kModel, "model");
  void* tensor = tensors.add(std::make_shared<int>(1));
  void* model = models.add(std::make_shared<int>(2));
  EXPECT_FALSE(models.get(tensor));
  EXPECT_FALSE(tensors.get(model));
}

}  // namespace
}  // namespace opennrt
