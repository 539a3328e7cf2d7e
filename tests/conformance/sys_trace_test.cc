// SPDX-License-Identifier: Apache-2.0
// Requirement H1: the system trace.
#include <atomic>
#include <thread>

#include "tests/conformance/observe_fixture.h"

namespace conformance {
namespace {

/// Ends what a failing test has left on.
class SysTrace : public Open {
 protected:
  void SetUp() override {
    Open::SetUp();
    ASSERT_EQ(nrt_sys_trace_config_allocate(&config_), NRT_SUCCESS);
  }
  void TearDown() override {
    (void)nrt_sys_trace_stop();
    nrt_sys_trace_config_free(config_);
    Open::TearDown();
  }

  void start(nrt_sys_trace_config_t* config = nullptr) {
    ASSERT_EQ(nrt_sys_trace_start(config), NRT_SUCCESS) << logged();
  }
  /// What the trace holds; taken out of it.
  Json fetch(const nrt_sys_trace_fetch_options_t* options = nullptr) {
    char* text = nullptr;
    std::size_t bytes = 0;
    EXPECT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, options), NRT_SUCCESS) << logged();
    if (text == nullptr) return {};
    EXPECT_EQ(std::strlen(text), bytes);
    const Json all = Json::parse(text, nullptr, false);
    nrt_sys_trace_buffer_free(text);
    EXPECT_FALSE(all.is_discarded());
    return all;
  }
  std::vector<Json> events(const nrt_sys_trace_fetch_options_t* options = nullptr) {
    return fetch(options).at("trace_events").get<std::vector<Json>>();
  }
  void only(const std::vector<std::string>& types) {
    const char** all = nullptr;
    std::size_t count = 0;
    ASSERT_EQ(nrt_sys_trace_get_event_types(&all, &count), NRT_SUCCESS);
    for (std::size_t i = 0; i < count; ++i)
      EXPECT_EQ(nrt_sys_trace_config_set_capture_enabled_for_event_type(config_, all[i], false), NRT_SUCCESS);
    nrt_sys_trace_free_event_types(all, count);
    for (const std::string& type : types)
      EXPECT_EQ(nrt_sys_trace_config_set_capture_enabled_for_event_type(config_, type.c_str(), true), NRT_SUCCESS);
  }

  nrt_sys_trace_config_t* config_ = nullptr;
};

TEST_F(SysTrace, givenATensorWhenItIsWrittenThenTheEventSaysWhichWhereAndHowMuch) {
  start();
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 4096, 1, "weights \"w\"");
  const Bytes data = pattern(100);
  ASSERT_EQ(nrt_tensor_write(tensor, data.data(), 8, data.size()), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
  const auto all = events();
  const auto writes = named(all, "nrt_tensor_write");
  ASSERT_EQ(writes.size(), 1u);
  const Json& write = writes.front();
  // The keys and the kinds of their values are those of the public JSON.
  EXPECT_EQ(write.at("lnc_idx"), "1");
  EXPECT_EQ(write.at("group"), "nrt-nc-001");
  EXPECT_EQ(write.at("size"), "100");
  EXPECT_EQ(write.at("tensor_name"), "weights \"w\"");
  EXPECT_EQ(write.at("process_id"), std::to_string(getpid()));
  EXPECT_EQ(write.at("thread_id"), gettid());
  EXPECT_EQ(write.at("parent_id"), 0);
  const auto allocations = named(all, "nrt_tensor_allocate");
  ASSERT_EQ(allocations.size(), 1u);
  EXPECT_EQ(allocations.front().at("size"), "4096");
  EXPECT_EQ(allocations.front().at("tensor_id"), write.at("tensor_id"));
  EXPECT_LT(allocations.front().at("id").get<std::uint64_t>(), write.at("id").get<std::uint64_t>());
  EXPECT_LE(allocations.front().at("timestamp").get<std::uint64_t>() +
                allocations.front().at("duration").get<std::uint64_t>(),
            write.at("timestamp").get<std::uint64_t>() + write.at("duration").get<std::uint64_t>());
}

TEST_F(SysTrace, givenEventsWhenTheyAreFetchedThenTheyAreGone) {
  start();
  for (int vnc : {0, 1}) {
    nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, vnc);
    for (char value = 0; value < 5; ++value) EXPECT_EQ(nrt_tensor_write(tensor, &value, 0, 1), NRT_SUCCESS);
    nrt_tensor_free(&tensor);
  }
  nrt_sys_trace_fetch_options_t* options = nullptr;
  ASSERT_EQ(nrt_sys_trace_fetch_options_allocate(&options), NRT_SUCCESS);
  nrt_sys_trace_fetch_options_set_nc_idx(options, 1);
  nrt_sys_trace_fetch_options_set_max_events_per_nc(options, 4);
  const auto first = events(options);
  ASSERT_EQ(first.size(), 4u);
  for (const Json& event : first) EXPECT_EQ(event.at("lnc_idx"), "1");
  EXPECT_EQ(first[0].at("name"), "nrt_tensor_allocate");
  const auto second = events(options);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_GT(second[0].at("id").get<std::uint64_t>(), first[3].at("id").get<std::uint64_t>());
  EXPECT_TRUE(events(options).empty());
  nrt_sys_trace_fetch_options_set_defaults(options);
  EXPECT_EQ(named(events(options), "nrt_tensor_write").size(), 5u) << "those of core 0";
  EXPECT_TRUE(events().empty());
  nrt_sys_trace_fetch_options_free(options);
  char* text = nullptr;
  std::size_t bytes = 0;
  EXPECT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, options), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_sys_trace_fetch_events(nullptr, &bytes, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_sys_trace_fetch_events(&text, nullptr, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_sys_trace_fetch_options_allocate(nullptr), NRT_INVALID);
}

TEST_F(SysTrace, givenAFullRingWhenEventsComeThenTheOldestGoAndAreCounted) {
  only({"nrt_tensor_write"});
  nrt_sys_trace_config_set_max_events_per_nc(config_, 3);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 0);
  start(config_);
  for (char value = 1; value <= 8; ++value) EXPECT_EQ(nrt_tensor_write(tensor, "12345678", 0, value), NRT_SUCCESS);
  const Json all = fetch();
  EXPECT_EQ(all.at("dropped_events"), 5);
  ASSERT_EQ(all.at("trace_events").size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(all.at("trace_events")[i].at("size"), std::to_string(6 + i));
  EXPECT_EQ(fetch().at("dropped_events"), 0) << "counted once";
  nrt_tensor_free(&tensor);
}

TEST_F(SysTrace, givenFiltersWhenEventsComeThenOnlyThoseEnabledAreKept) {
  only({"nrt_tensor_write", "nrt_tensor_read"});
  nrt_sys_trace_config_set_capture_enabled_for_nc(config_, 0, false);
  const char** enabled = nullptr;
  std::size_t count = 0;
  ASSERT_EQ(nrt_sys_trace_config_get_enabled_event_types(config_, &enabled, &count), NRT_SUCCESS);
  ASSERT_EQ(count, 2u);
  EXPECT_STREQ(enabled[0], "nrt_tensor_read");
  EXPECT_STREQ(enabled[1], "nrt_tensor_write");
  for (std::size_t i = 0; i < count; ++i) free(const_cast<char*>(enabled[i]));  // as the header allows
  free(enabled);
  EXPECT_EQ(nrt_sys_trace_config_get_enabled_event_types(config_, nullptr, &count), NRT_INVALID);
  EXPECT_EQ(nrt_sys_trace_config_set_capture_enabled_for_event_type(config_, "no_such_event", true), NRT_INVALID);
  EXPECT_TRUE(has_logged("event_type is \"no_such_event\", expected a name")) << logged();
  start(config_);
  for (int vnc : {0, 1}) {
    nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, vnc);
    EXPECT_EQ(nrt_tensor_write(tensor, "x", 0, 1), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_memset(tensor, 0, 0, 16), NRT_SUCCESS);
    (void)read(tensor);
    nrt_tensor_free(&tensor);
  }
  const auto all = events();
  ASSERT_EQ(all.size(), 2u);
  for (const Json& event : all) EXPECT_EQ(event.at("lnc_idx"), "1");
  EXPECT_EQ(named(all, "nrt_tensor_read").size(), 1u);
}

TEST_F(SysTrace, givenTheListOfTypesWhenItIsAskedForThenDocumentedNamesAreInIt) {
  const char** types = nullptr;
  std::size_t count = 0;
  ASSERT_EQ(nrt_sys_trace_get_event_types(&types, &count), NRT_SUCCESS);
  std::set<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.insert(types[i]);
  EXPECT_EQ(names.size(), count) << "a name twice";
  for (const char* name :
       {"nc_exec_running", "cc_running", "cc_exec_barrier", "numerical_err", "nrt_model_switch", "timestamp_sync_point",
        "hw_notify", "device_exec", "model_load", "nrt_load", "nrt_execute", "nrt_tensor_write", "nrt_tensor_read"})
    EXPECT_TRUE(names.contains(name)) << name;
  nrt_sys_trace_free_event_types(types, count);
  nrt_sys_trace_free_event_types(nullptr, 0);
  EXPECT_EQ(nrt_sys_trace_get_event_types(nullptr, &count), NRT_INVALID);
  EXPECT_EQ(nrt_sys_trace_get_event_types(&types, nullptr), NRT_INVALID);
}

TEST_F(SysTrace, givenTheWrongMomentOrOptionsWhenCalledThenItIsRefused) {
  char* text = nullptr;
  std::size_t bytes = 0;
  EXPECT_EQ(nrt_sys_trace_stop(), NRT_INVALID);
  EXPECT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, nullptr), NRT_INVALID);
  EXPECT_TRUE(has_logged("the system trace does not record")) << logged();
  start(config_);
  EXPECT_EQ(nrt_sys_trace_start(config_), NRT_INVALID);
  EXPECT_TRUE(has_logged("the system trace records already")) << logged();
  EXPECT_EQ(nrt_sys_trace_stop(), NRT_SUCCESS);
  EXPECT_EQ(nrt_sys_trace_config_allocate(nullptr), NRT_INVALID);
  nrt_sys_trace_config_t* stale = nullptr;
  ASSERT_EQ(nrt_sys_trace_config_allocate(&stale), NRT_SUCCESS);
  nrt_sys_trace_config_free(stale);
  EXPECT_EQ(nrt_sys_trace_start(stale), NRT_INVALID_HANDLE);
  nrt_sys_trace_config_set_defaults(stale);  // logs, does nothing
  nrt_sys_trace_config_set_defaults(nullptr);
  EXPECT_TRUE(has_logged("nrt_sys_trace_config_set_defaults")) << logged();
}

TEST_F(SysTrace, givenDefaultsWhenTheyAreSetAgainThenEverythingIsEnabled) {
  only({});
  nrt_sys_trace_config_set_capture_enabled_for_nc(config_, 0, false);
  nrt_sys_trace_config_set_max_events_per_nc(config_, 1);
  nrt_sys_trace_config_set_defaults(config_);
  start(config_);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 0);
  nrt_tensor_free(&tensor);
  const auto all = events();
  EXPECT_EQ(named(all, "nrt_tensor_allocate").size(), 1u);
  EXPECT_EQ(named(all, "nrt_tensor_free").size(), 1u);
}

TEST_F(SysTrace, givenNoTraceWhenCallsAreMadeThenNothingIsKept) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 0);
  start();
  EXPECT_TRUE(events().empty());
  nrt_tensor_free(&tensor);
}

TEST_F(SysTrace, givenManyThreadsWhenTheyCallWhileEventsAreFetchedThenNoneIsLost) {
  constexpr int kThreads = 8, kWrites = 500;
  only({"nrt_tensor_write"});
  start(config_);
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      nrt_tensor_t* tensor = nullptr;
      EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, t % 4, 16, "t", &tensor), NRT_SUCCESS);
      for (int i = 0; i < kWrites; ++i) EXPECT_EQ(nrt_tensor_write(tensor, "x", 0, 1), NRT_SUCCESS);
      nrt_tensor_free(&tensor);
      --left;
    });
  }
  std::set<std::uint64_t> ids;
  std::size_t count = 0;
  for (bool last = false; !last;) {
    last = left == 0;
    for (const Json& event : events()) {
      ids.insert(event.at("id").get<std::uint64_t>());
      ++count;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, std::size_t{kThreads} * kWrites);
  EXPECT_EQ(ids.size(), count);
}

TEST_F(SysTrace, givenAnExecutionWhenItEndsThenDeviceEventsLieWithinTheCallAndAgreeWithTheSyncPoint) {
  nrt_model_t* model = load(add_neff(), 1);
  nrt_model_t* other = load(add_neff(), 1);
  start();
  ASSERT_EQ(run_add(model), NRT_SUCCESS) << logged();
  ASSERT_EQ(run_add(other), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_unload(other), NRT_SUCCESS);
  const auto all = events();
  const auto calls = named(all, "nrt_execute"), runs = named(all, "nc_exec_running"),
             syncs = named(all, "timestamp_sync_point"), submits = named(all, "device_exec");
  ASSERT_EQ(calls.size(), 2u);
  ASSERT_EQ(runs.size(), 2u);
  ASSERT_EQ(syncs.size(), 2u);
  ASSERT_EQ(submits.size(), 2u);
  EXPECT_EQ(named(all, "nrt_model_switch").size(), 1u);
  EXPECT_EQ(named(all, "nrt_unload").size(), 1u);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto field = [](const Json& event, const char* name) { return event.at(name).get<std::uint64_t>(); };
    EXPECT_EQ(calls[i].at("lnc_idx"), "1");
    EXPECT_EQ(calls[i].at("model_name"), runs[i].at("model_name"));
    for (const Json& event : {runs[i], syncs[i], submits[i]}) {
      EXPECT_EQ(event.at("parent_id"), calls[i].at("id"));
      EXPECT_EQ(event.at("exec_id"), runs[i].at("exec_id"));
    }
    EXPECT_GT(field(runs[i], "duration"), 0u);
    EXPECT_EQ(field(syncs[i], "cpu_timestamp_ns"), field(syncs[i], "timestamp"));
    // adjusted = sync_cpu + (event_device - sync_device)
    EXPECT_EQ(field(runs[i], "timestamp"), field(syncs[i], "cpu_timestamp_ns") + field(runs[i], "nc_timestamp_ns") -
                                               field(syncs[i], "nc_timestamp_ns"));
    EXPECT_LE(field(runs[i], "nc_timestamp_ns") + field(runs[i], "duration"), field(syncs[i], "nc_timestamp_ns"));
    EXPECT_GE(field(submits[i], "timestamp"), field(calls[i], "timestamp"));
    EXPECT_LE(field(submits[i], "duration"), field(calls[i], "duration"));
  }
}

TEST_F(SysTrace, givenAModelWhenItIsLoadedThenEveryCoreIsNamed) {
  start();
  nrt_model_t* model = load(add_neff(), 0, 2);
  const auto all = events();
  const auto loads = named(all, "nrt_load"), places = named(all, "model_load");
  ASSERT_EQ(loads.size(), 1u);
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].at("lnc_idx"), "0");
  EXPECT_EQ(places[1].at("lnc_idx"), "1");
  EXPECT_EQ(places[0].at("parent_id"), loads[0].at("id"));
  EXPECT_EQ(places[0].at("model_id"), loads[0].at("model_id"));
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
}

TEST_F(SysTrace, givenARefusedCallWhenItIsTracedThenItIsAnEventToo) {
  start();
  EXPECT_EQ(nrt_unload(nullptr), NRT_INVALID);
  EXPECT_EQ(named(events(), "nrt_unload").size(), 1u);
}

using TraceFile = Open;

TEST_F(TraceFile, givenATraceToAFileWhenItIsStoppedThenTheFileHasTheCalls) {
  const Folder folder;
  for (const bool memory : {false, true}) {
    const std::string path = folder.file("trace.json");
    ASSERT_EQ(nrt_trace_start(memory), NRT_SUCCESS) << logged();
    EXPECT_EQ(nrt_trace_start(memory), NRT_INVALID);
    nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 1);
    EXPECT_EQ(nrt_tensor_write(tensor, "x", 0, 1), NRT_SUCCESS);
    nrt_tensor_free(&tensor);
    ASSERT_EQ(nrt_trace_stop(path.c_str()), NRT_SUCCESS) << logged();
    const Json trace = read_json(path);
    ASSERT_FALSE(trace.is_discarded());
    const auto calls = spans(trace, "software");
    ASSERT_EQ(named(calls, "nrt_tensor_write").size(), 1u);
    EXPECT_EQ(named(calls, "nrt_tensor_allocate").size(), memory ? 1u : 0u);
    EXPECT_EQ(named(calls, "nrt_tensor_free").size(), memory ? 1u : 0u);
    const Json write = named(calls, "nrt_tensor_write").front();
    EXPECT_EQ(write.at("pid"), 2) << "core 1";
    EXPECT_EQ(write.at("tid"), gettid());
    EXPECT_EQ(write.at("args").at("size"), "1");
    EXPECT_GE(write.at("ts").get<double>(), 0.0);
    EXPECT_EQ(trace.at("otherData").at("dropped_events"), 0);
  }
}

TEST_F(TraceFile, givenABadFileWhenTheTraceIsStoppedThenTheReasonIsSaid) {
  const Folder folder;
  EXPECT_EQ(nrt_trace_stop(folder.file("x").c_str()), NRT_INVALID) << "nothing records";
  ASSERT_EQ(nrt_trace_start(true), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_trace_stop(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_trace_stop(""), NRT_INVALID);
  EXPECT_EQ(nrt_trace_stop(folder.file("no/such/folder").c_str()), NRT_RESOURCE);
  EXPECT_TRUE(has_logged("cannot be opened for writing: No such file or directory")) << logged();
  EXPECT_EQ(nrt_trace_stop(folder.file("x").c_str()), NRT_INVALID) << "it has ended";
}

}  // namespace
}  // namespace conformance
