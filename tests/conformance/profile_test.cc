// SPDX-License-Identifier: Apache-2.0
// Requirement H1: device profiles and inspections.
#include <fcntl.h>

#include "core/isa/isa.h"
#include "tests/conformance/observe_fixture.h"

namespace conformance {
namespace {

constexpr const char* kEngines[] = {"pe", "act", "pool"};

/// Instructions of each engine as they run: those of the NEFF and the notification that the loader appends.
std::array<std::size_t, 3> instructions_of(const opennrt::test::SubgraphBuilder& builder) {
  std::array<std::size_t, 3> counts{};
  for (std::size_t e = 0; e < counts.size(); ++e)
    counts[e] = builder.graph.engines[e].instructions.size() / opennrt::isa::kInstructionBytes + 1;
  return counts;
}

double end_of(const Json& span) {
  return span.at("ts").get<double>() + span.at("dur").get<double>();
}

class Profile : public Open {
 protected:
  void TearDown() override {
    (void)nrt_inspect_stop();
    (void)nrt_profile_continuous_stop();
    Open::TearDown();
  }
  Folder folder_;
};

TEST_F(Profile, givenAProfiledModelWhenItRunsThenEveryInstructionIsThereWithinTheInference) {
  const auto builder = opennrt::test::binary_program(opennrt::isa::Alu::kAdd, 4, 16);
  const auto counts = instructions_of(builder);
  nrt_model_t* model = load(neff_of(builder), 1);
  nrt_model_t* other = load(neff_of(builder), 1);
  const std::string path = folder_.file("model.json");
  ASSERT_EQ(nrt_profile_start(model, path.c_str()), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_sys_trace_start(nullptr), NRT_SUCCESS);
  ASSERT_EQ(run_add(model, 3), NRT_SUCCESS) << logged();
  ASSERT_EQ(run_add(other), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_profile_stop(path.c_str()), NRT_SUCCESS) << logged();
  char* text = nullptr;
  std::size_t bytes = 0;
  ASSERT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, nullptr), NRT_SUCCESS);
  const auto events = Json::parse(text).at("trace_events").get<std::vector<Json>>();
  nrt_sys_trace_buffer_free(text);
  EXPECT_EQ(nrt_sys_trace_stop(), NRT_SUCCESS);
  ASSERT_EQ(run_add(model), NRT_SUCCESS) << "not recorded any more";

  const Json trace = read_json(path);
  ASSERT_FALSE(trace.is_discarded());
  EXPECT_EQ(trace.at("otherData").at("inferences"), 3) << "of this model only";
  const auto inferences = spans(trace, "nc_exec_running");
  ASSERT_EQ(inferences.size(), 3u);
  const auto traced = named(events, "nc_exec_running");
  ASSERT_EQ(traced.size(), 4u);
  for (std::size_t i = 0; i < 3; ++i) {
    const Json& inference = inferences[i];
    // The same inference as the system trace has it.
    EXPECT_EQ(inference.at("args").at("exec_id"), traced[i].at("exec_id"));
    EXPECT_EQ(inference.at("args").at("device_ns"), traced[i].at("duration"));
    EXPECT_EQ(inference.at("args").at("nc_timestamp_ns"), traced[i].at("nc_timestamp_ns"));
    EXPECT_EQ(inference.at("args").at("lost_notifications"), 0);
    EXPECT_EQ(inference.at("pid"), 2) << "core 1";
    const auto begin = traced[i].at("nc_timestamp_ns").get<std::uint64_t>();
    const auto device_ns = traced[i].at("duration").get<std::uint64_t>();
    double last = 0;
    for (std::size_t e = 0; e < 3; ++e) {
      std::vector<Json> mine;
      for (const Json& span : spans(trace, kEngines[e]))
        if (span.at("args").at("exec_id") == inference.at("args").at("exec_id")) mine.push_back(span);
      ASSERT_EQ(mine.size(), counts[e]) << kEngines[e];
      for (std::size_t k = 0; k < mine.size(); ++k) {
        EXPECT_EQ(mine[k].at("args").at("index"), k);
        const auto at = mine[k].at("args").at("nc_timestamp_ns").get<std::uint64_t>();
        EXPECT_GE(at, begin);
        EXPECT_LE(at, begin + device_ns);
        if (k > 0) {
          EXPECT_GE(mine[k].at("ts").get<double>(), end_of(mine[k - 1]) - 1e-6) << "engines are in order";
        }
        last = std::max(last, end_of(mine[k]));
      }
      EXPECT_EQ(mine.back().at("name"), "notify");
    }
    // The inference ends with the last end notification.
    EXPECT_NEAR(last, end_of(inference), 1e-3);
  }
  std::set<std::string> names;
  for (const Json& span : spans(trace, "pool")) names.insert(span.at("name"));
  EXPECT_EQ(names, (std::set<std::string>{"tensor_tensor", "notify"}));
  for (const Json& span : spans(trace, "pool"))
    if (span.at("name") == "tensor_tensor") {
      EXPECT_NE(span.at("args").at("instruction").get<std::string>().find("op0 add"), std::string::npos);
      EXPECT_GT(span.at("dur").get<double>(), 0.0);
    }
}

TEST_F(Profile, givenAWaitWhenItIsProfiledThenTheInstructionBeginsAfterIt) {
  nrt_model_t* model = load(add_neff(4, 1024), 0);
  const std::string path = folder_.file("wait.json");
  ASSERT_EQ(nrt_profile_start(model, path.c_str()), NRT_SUCCESS);
  Set in, out;
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(4096, 1));
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(4096, 2));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(4096));
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_profile_stop(path.c_str()), NRT_SUCCESS);
  const Json trace = read_json(path);
  // The sum waits for both inputs; PE's store waits for the sum.
  const Json sum = named(spans(trace, "pool"), "tensor_tensor").at(0);
  const Json load_trigger = named(spans(trace, "act"), "dma_trigger").at(0);
  const Json store_trigger = named(spans(trace, "pe"), "dma_trigger").at(0);
  EXPECT_GE(sum.at("ts").get<double>(), end_of(load_trigger));
  EXPECT_GE(store_trigger.at("ts").get<double>(), end_of(sum) - 1e-6);
  // 1024 elements per partition, one per cycle at 0.98 GHz.
  EXPECT_GE(sum.at("dur").get<double>(), 1.04);
  EXPECT_LT(sum.at("dur").get<double>(), spans(trace, "nc_exec_running").at(0).at("dur").get<double>());
}

TEST_F(Profile, givenProfilingWhenItIsOnThenTheInferenceTakesTheSameDeviceTime) {
  nrt_model_t* model = load(add_neff(), 0);
  ASSERT_EQ(nrt_sys_trace_start(nullptr), NRT_SUCCESS);
  ASSERT_EQ(run_add(model, 2), NRT_SUCCESS);
  ASSERT_EQ(nrt_profile_start(model, folder_.file("x").c_str()), NRT_SUCCESS);
  ASSERT_EQ(run_add(model, 2), NRT_SUCCESS);
  ASSERT_EQ(nrt_profile_stop(folder_.file("x").c_str()), NRT_SUCCESS);
  char* text = nullptr;
  std::size_t bytes = 0;
  ASSERT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, nullptr), NRT_SUCCESS);
  const auto runs = named(Json::parse(text).at("trace_events").get<std::vector<Json>>(), "nc_exec_running");
  nrt_sys_trace_buffer_free(text);
  EXPECT_EQ(nrt_sys_trace_stop(), NRT_SUCCESS);
  ASSERT_EQ(runs.size(), 4u);
  // Both clocks begin at a fraction of a nanosecond.
  EXPECT_NEAR(runs[1].at("duration").get<double>(), runs[3].at("duration").get<double>(), 2.0);
}

TEST_F(Profile, givenWrongArgumentsWhenAProfileIsStartedThenTheyAreNamed) {
  nrt_model_t* model = load(add_neff(), 0);
  const std::string path = folder_.file("p.json");
  EXPECT_EQ(nrt_profile_start(nullptr, path.c_str()), NRT_INVALID);
  EXPECT_EQ(nrt_profile_start(reinterpret_cast<nrt_model_t*>(0x1234), path.c_str()), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_profile_start(model, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_profile_start(model, ""), NRT_INVALID);
  EXPECT_EQ(nrt_profile_stop(path.c_str()), NRT_INVALID) << "not started";
  EXPECT_EQ(nrt_profile_stop(nullptr), NRT_INVALID);
  ASSERT_EQ(nrt_profile_start(model, path.c_str()), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_start(model, path.c_str()), NRT_INVALID) << "in use";
  EXPECT_TRUE(has_logged("which a profile that is under way uses")) << logged();
  ASSERT_EQ(nrt_profile_stop(path.c_str()), NRT_SUCCESS);
  EXPECT_TRUE(read_json(path).at("traceEvents").empty()) << "nothing has run";
  const std::string nowhere = folder_.file("no/folder/p.json");
  ASSERT_EQ(nrt_profile_start(model, nowhere.c_str()), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_stop(nowhere.c_str()), NRT_RESOURCE);
  EXPECT_EQ(nrt_profile_stop(nowhere.c_str()), NRT_INVALID) << "it has ended";
}

TEST_F(Profile, givenContinuousProfilingWhenItIsSavedThenTheFileHasTheLatestInference) {
  nrt_profile_continuous_options_t* options = nullptr;
  ASSERT_EQ(nrt_profile_continuous_options_allocate(&options), NRT_SUCCESS);
  const std::string below = folder_.file("a/b");
  ASSERT_EQ(nrt_profile_continuous_options_set_output_dir(options, below.c_str()), NRT_SUCCESS);
  nrt_model_t* model = load(add_neff(), 1);
  ASSERT_EQ(nrt_profile_continuous_start(options), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_profile_continuous_save(1, options), NRT_INVALID) << "nothing has run";
  ASSERT_EQ(run_add(model, 2), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_profile_continuous_save(1, options), NRT_SUCCESS) << logged();
  ASSERT_EQ(run_add(model, 1), NRT_SUCCESS);
  ASSERT_EQ(nrt_profile_continuous_save(1, options), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_profile_continuous_save(0, options), NRT_INVALID);
  EXPECT_EQ(nrt_profile_continuous_stop(), NRT_SUCCESS);
  std::set<int> executions;
  const auto files = folder_.files();
  EXPECT_EQ(files.size(), 2u) << "names that do not collide";
  for (const auto& [name, path] : files) {
    EXPECT_NE(name.find("_instid_0_vnc_1"), std::string::npos);
    const auto inferences = spans(read_json(path), "nc_exec_running");
    ASSERT_EQ(inferences.size(), 1u);
    executions.insert(inferences[0].at("args").at("exec_id").get<int>());
  }
  EXPECT_EQ(executions.size(), 2u);
  EXPECT_EQ(nrt_profile_continuous_options_free(options), NRT_SUCCESS);
}

TEST_F(Profile, givenTheWrongMomentOrOptionsWhenContinuousProfilingIsAskedForThenItIsRefused) {
  nrt_profile_continuous_options_t* options = nullptr;
  EXPECT_EQ(nrt_profile_continuous_options_allocate(nullptr), NRT_INVALID);
  ASSERT_EQ(nrt_profile_continuous_options_allocate(&options), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_continuous_options_set_output_dir(options, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_profile_continuous_options_set_output_dir(options, ""), NRT_INVALID);
  EXPECT_EQ(nrt_profile_continuous_stop(), NRT_INVALID);
  EXPECT_EQ(nrt_profile_continuous_save(0, options), NRT_INVALID);
  ASSERT_EQ(nrt_profile_continuous_start(nullptr), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_continuous_start(nullptr), NRT_INVALID);
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_enable_inspect(config, true), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_begin_with_options(config), NRT_INVALID) << "device profiles have one owner";
  EXPECT_TRUE(has_logged("continuous profiling is on")) << logged();
  EXPECT_EQ(nrt_profile_continuous_stop(), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_output_dir(config, folder_.path().c_str()), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_begin_with_options(config), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_profile_continuous_start(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_inspect_stop(), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_continuous_options_free(options), NRT_SUCCESS);
  EXPECT_EQ(nrt_profile_continuous_options_free(options), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_profile_continuous_options_set_output_dir(options, "x"), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_profile_continuous_start(options), NRT_INVALID_HANDLE);
}

TEST_F(Profile, givenAnInspectionWithOptionsWhenModelsRunThenEachNeffHasOneProfilePerCore) {
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_defaults(config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_enable_inspect(config, true), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_output_dir(config, folder_.path().c_str()), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_session_id(config, 7), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_sys_trace_max_events_per_nc(config, 1000), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_capture_enabled_for_nc(config, 3, false), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_capture_enabled_for_event_type_string(config, "nrt_tensor_free", false),
            NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_begin_with_options(config), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS) << "it was copied";
  nrt_model_t* first = load(add_neff(), 0);
  nrt_model_t* second = load(add_neff(), 1);
  ASSERT_EQ(run_add(first, 3), NRT_SUCCESS) << logged();
  ASSERT_EQ(run_add(second, 3), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_inspect_stop(), NRT_SUCCESS) << logged();
  const auto files = folder_.files();
  ASSERT_EQ(files.size(), 3u);
  int profiles = 0;
  for (const auto& [name, path] : files) {
    EXPECT_NE(path.find("_pid_" + std::to_string(getpid()) + "_session_7/"), std::string::npos) << path;
    const Json trace = read_json(path);
    ASSERT_FALSE(trace.is_discarded()) << path;
    if (name == "system_profile.json") {
      EXPECT_EQ(trace.at("otherData").at("session_id"), 7);
      EXPECT_EQ(named(spans(trace, "software"), "nrt_execute").size(), 6u);
      EXPECT_EQ(named(spans(trace, "hardware"), "nc_exec_running").size(), 6u);
      EXPECT_TRUE(named(spans(trace, "software"), "nrt_tensor_free").empty());
      std::set<std::string> counters;
      for (const Json& event : trace.at("traceEvents"))
        if (event.at("ph") == "C") counters.insert(event.at("name"));
      EXPECT_EQ(counters, (std::set<std::string>{"cpu_util", "mem_usage"}));
    } else {
      EXPECT_EQ(spans(trace, "nc_exec_running").size(), 1u) << "the first inference";
      EXPECT_FALSE(spans(trace, "pool").empty());
      ++profiles;
    }
  }
  EXPECT_EQ(profiles, 2);
}

TEST_F(Profile, givenInspectionOnFailWhenAnInferenceFailsThenItsProfileIsWritten) {
  const Env limit("NEURON_RT_EXEC_TIMEOUT", "1");
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_enable_inspect_on_fail(config, true), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_output_dir(config, folder_.path().c_str()), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_begin_with_options(config), NRT_SUCCESS) << logged();
  nrt_model_t* good = load(add_neff(), 0);
  nrt_model_t* bad = load(hang_neff(), 0);
  ASSERT_EQ(run_add(good), NRT_SUCCESS) << logged();
  EXPECT_TRUE(folder_.files().empty()) << "a success is not written";
  Set in, out;
  in.add("in", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(64));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(64));
  EXPECT_EQ(nrt_execute(bad, in.get(), out.get()), NRT_TIMEOUT);
  const auto files = folder_.files();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_NE(files.begin()->first.find("_vnc_0_failed.json"), std::string::npos);
  const Json trace = read_json(files.begin()->second);
  const auto inferences = spans(trace, "nc_exec_running");
  ASSERT_EQ(inferences.size(), 1u);
  EXPECT_NE(inferences[0].at("args").at("failed").get<std::string>().find("inference timeout"), std::string::npos);
  // POOL came to its end, PE still waits for its semaphore.
  EXPECT_EQ(named(spans(trace, "pool"), "notify").size(), 1u);
  EXPECT_TRUE(spans(trace, "pe").empty());
  ASSERT_EQ(run_add(good), NRT_SUCCESS) << "the core was brought back: " << logged();
  EXPECT_EQ(nrt_inspect_stop(), NRT_SUCCESS);
  EXPECT_EQ(folder_.files().size(), 1u) << "nothing else was asked for";
  EXPECT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS);
}

TEST_F(Profile, givenTheEnvironmentWhenAnInspectionBeginsThenItsOptionsAreTaken) {
  const Env where("NEURON_RT_INSPECT_OUTPUT_DIR", folder_.path());
  const Env types("NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "nrt_tensor_write,nrt_tensor_read,^nrt_tensor_read");
  const Env cores("NEURON_RT_INSPECT_EVENT_FILTER_NC", "1-2");
  ASSERT_EQ(nrt_inspect_begin(), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_inspect_begin(), NRT_INVALID) << "one at a time";
  for (int vnc : {0, 1}) {
    nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, vnc);
    EXPECT_EQ(nrt_tensor_write(tensor, "x", 0, 1), NRT_SUCCESS);
    (void)read(tensor);
    nrt_tensor_free(&tensor);
  }
  ASSERT_EQ(nrt_inspect_stop(), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_inspect_stop(), NRT_INVALID);
  const auto files = folder_.files();
  ASSERT_EQ(files.size(), 1u) << "no device profile unless it is asked for";
  const auto calls = spans(read_json(files.begin()->second), "software");
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].at("name"), "nrt_tensor_write");
  EXPECT_EQ(calls[0].at("args").at("lnc_idx"), "1");
}

TEST_F(Profile, givenMalformedVariablesWhenAnInspectionBeginsThenTheyAreNamed) {
  const std::pair<const char*, const char*> cases[] = {{"NEURON_RT_INSPECT_SYSTEM_PROFILE", "yes"},
                                                       {"NEURON_RT_INSPECT_DEVICE_PROFILE", "2"},
                                                       {"NEURON_RT_INSPECT_ON_FAIL", "maybe"},
                                                       {"NEURON_RT_INSPECT_EVENT_FILTER_NC", "3-1"},
                                                       {"NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "hardware,^nonsense"},
                                                       {"NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", "0"}};
  for (const auto& [name, value] : cases) {
    const Env variable(name, value);
    EXPECT_EQ(nrt_inspect_begin(), NRT_INVALID) << name;
    EXPECT_TRUE(has_logged(std::string(name) + " is \"" + value + "\"")) << logged();
  }
}

TEST_F(Profile, givenActivitiesWhenTheyAreChosenThenOnlyTheyAreRecorded) {
  const char** names = nullptr;
  std::size_t count = 0;
  ASSERT_EQ(nrt_inspect_config_get_all_activity_types(&names, &count), NRT_SUCCESS);
  ASSERT_EQ(count, 4u);
  const char* expected[] = {"system_profile", "device_profile", "host_memory", "cpu_util"};
  for (std::size_t i = 0; i < count; ++i) EXPECT_STREQ(names[i], expected[i]);
  nrt_inspect_config_free_activity_types(names, count);
  nrt_inspect_config_free_activity_types(nullptr, 0);
  EXPECT_EQ(nrt_inspect_config_get_all_activity_types(nullptr, &count), NRT_INVALID);
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_activity(config, "all", false), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_get_enabled_activity_types(config, &names, &count), NRT_SUCCESS);
  EXPECT_EQ(count, 0u);
  nrt_inspect_config_free_activity_types(names, count);
  ASSERT_EQ(nrt_inspect_config_set_activity(config, "host_memory", true), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_get_enabled_activity_types(config, &names, &count), NRT_SUCCESS);
  ASSERT_EQ(count, 1u);
  EXPECT_STREQ(names[0], "host_memory");
  nrt_inspect_config_free_activity_types(names, count);
  EXPECT_EQ(nrt_inspect_config_set_activity(config, "gpu", true), NRT_INVALID);
  EXPECT_EQ(nrt_inspect_config_set_activity(config, nullptr, true), NRT_INVALID);
  ASSERT_EQ(nrt_inspect_config_set_enable_inspect(config, true), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_output_dir(config, folder_.path().c_str()), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_begin_with_options(config), NRT_SUCCESS);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16);
  nrt_tensor_free(&tensor);
  ASSERT_EQ(nrt_inspect_stop(), NRT_SUCCESS);
  ASSERT_EQ(folder_.files().size(), 1u);
  const Json trace = read_json(folder_.files().begin()->second);
  EXPECT_GE(trace.at("traceEvents").size(), 2u) << "a sample at both ends";
  for (const Json& event : trace.at("traceEvents")) {
    EXPECT_EQ(event.at("name"), "mem_usage");
    EXPECT_GT(event.at("args").at("usage").get<double>(), 0.0);
  }
  EXPECT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS);
}

TEST_F(Profile, givenNothingEnabledWhenAnInspectionEndsThenNothingIsWritten) {
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_config_set_output_dir(config, folder_.path().c_str()), NRT_SUCCESS);
  ASSERT_EQ(nrt_inspect_begin_with_options(config), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_stop(), NRT_SUCCESS);
  EXPECT_TRUE(folder_.files().empty());
  EXPECT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_begin_with_options(config), NRT_INVALID_HANDLE);
}

TEST_F(Profile, givenAFolderThatCannotBeWhenAnInspectionEndsThenTheReasonIsSaid) {
  const std::string blocked = folder_.file("file");
  std::ofstream(blocked) << "not a folder";
  const Env where("NEURON_RT_INSPECT_OUTPUT_DIR", blocked);
  ASSERT_EQ(nrt_inspect_begin(), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_stop(), NRT_RESOURCE);
  EXPECT_TRUE(has_logged("cannot be made: Not a directory")) << logged();
}

TEST_F(Profile, givenAStaleOrMissingConfigWhenItIsChangedThenItIsRefused) {
  EXPECT_EQ(nrt_inspect_config_allocate(nullptr), NRT_INVALID);
  nrt_inspect_config_t* config = nullptr;
  ASSERT_EQ(nrt_inspect_config_allocate(&config), NRT_SUCCESS);
  EXPECT_EQ(nrt_inspect_config_set_output_dir(config, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_inspect_config_set_output_dir(config, ""), NRT_INVALID);
  EXPECT_EQ(nrt_inspect_config_set_sys_trace_max_events_per_nc(config, 0), NRT_INVALID);
  EXPECT_EQ(nrt_inspect_config_set_capture_enabled_for_event_type_string(config, "nope", true), NRT_INVALID);
  ASSERT_EQ(nrt_inspect_config_free(config), NRT_SUCCESS);
  const char** names = nullptr;
  std::size_t count = 0;
  for (nrt_inspect_config_t* wrong : {config, static_cast<nrt_inspect_config_t*>(nullptr)}) {
    const NRT_STATUS expected = wrong == nullptr ? NRT_INVALID : NRT_INVALID_HANDLE;
    EXPECT_EQ(nrt_inspect_config_set_defaults(wrong), expected);
    EXPECT_EQ(nrt_inspect_config_free(wrong), expected);
    EXPECT_EQ(nrt_inspect_config_set_session_id(wrong, 1), expected);
    EXPECT_EQ(nrt_inspect_config_set_output_dir(wrong, "x"), expected);
    EXPECT_EQ(nrt_inspect_config_set_sys_trace_max_events_per_nc(wrong, 1), expected);
    EXPECT_EQ(nrt_inspect_config_set_capture_enabled_for_nc(wrong, 0, true), expected);
    EXPECT_EQ(nrt_inspect_config_set_capture_enabled_for_event_type_string(wrong, "nrt_load", true), expected);
    EXPECT_EQ(nrt_inspect_config_set_enable_inspect(wrong, true), expected);
    EXPECT_EQ(nrt_inspect_config_set_enable_inspect_on_fail(wrong, true), expected);
    EXPECT_EQ(nrt_inspect_config_set_activity(wrong, "all", true), expected);
    EXPECT_EQ(nrt_inspect_config_get_enabled_activity_types(wrong, &names, &count), expected);
  }
}

class InspectEnvironment : public Logged {
 protected:
  Folder folder_;
};

TEST_F(InspectEnvironment, givenInspectEnableWhenTheRuntimeClosesThenTheSessionIsWritten) {
  const Env enable("NEURON_RT_INSPECT_ENABLE", "1");
  const Env where("NEURON_RT_INSPECT_OUTPUT_DIR", folder_.path());
  const Env device("NEURON_RT_INSPECT_DEVICE_PROFILE", "session");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_inspect_begin(), NRT_INVALID) << "it has begun";
  nrt_model_t* model = nullptr;
  const Bytes neff = add_neff();
  ASSERT_EQ(nrt_load(neff.data(), neff.size(), 0, 1, &model), NRT_SUCCESS) << logged();
  EXPECT_EQ(run_add(model, 4), NRT_SUCCESS) << logged();
  EXPECT_TRUE(folder_.files().empty());
  nrt_close();
  const auto files = folder_.files();
  ASSERT_TRUE(files.contains("device_session.json")) << logged();
  ASSERT_TRUE(files.contains("system_profile.json")) << logged();
  EXPECT_EQ(spans(read_json(files.at("device_session.json")), "nc_exec_running").size(), 4u);
  EXPECT_EQ(named(spans(read_json(files.at("system_profile.json")), "software"), "nrt_execute").size(), 4u);
}

TEST_F(InspectEnvironment, givenNoInspectEnableWhenTheRuntimeClosesThenNothingIsWritten) {
  const Env where("NEURON_RT_INSPECT_OUTPUT_DIR", folder_.path());
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  nrt_close();
  EXPECT_TRUE(folder_.files().empty());
}

TEST_F(InspectEnvironment, givenAMalformedVariableWhenInitialisedThenItIsRefused) {
  const Env enable("NEURON_RT_INSPECT_ENABLE", "on");
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID);
}

}  // namespace
}  // namespace conformance
