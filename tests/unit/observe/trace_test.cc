// SPDX-License-Identifier: Apache-2.0
// Requirement H1: the system trace, below the C API.
#include "core/observe/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "core/observe/chrome_trace.h"

namespace opennrt::observe::trace {
namespace {

using ::testing::HasSubstr;

class Trace : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const Client client : {Client::kFetch, Client::kFile, Client::kInspect}) (void)stop(client);
  }
};

Event event(std::int32_t vnc, std::uint64_t at_ns) {
  Event made;
  made.type = kDeviceExec;
  made.timestamp_ns = at_ns;
  made.subject.vnc = vnc;
  return made;
}

TEST_F(Trace, givenTheExportedFunctionsWhenComparedThenEveryOneIsATypeButThoseThatSteerTracing) {
  const char* source = std::getenv("OPENNRT_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  std::ifstream map(std::string(source) + "/core/api/nrt.map");
  std::set<std::string> exported, types;
  for (std::string word; map >> word;) {
    if (!word.starts_with("nrt_") && !word.starts_with("nrta_")) continue;
    word.pop_back();  // ';'
    bool steers = word == "nrt_get_status_as_str";
    for (const char* family : {"nrt_sys_trace_", "nrt_profile_", "nrt_inspect_", "nrt_debug_client_", "nrt_trace_"})
      steers = steers || word.starts_with(family);
    if (!steers) exported.insert(word);
  }
  ASSERT_GT(exported.size(), 50u);
  for (const TypeInfo& type : event_types())
    if (!type.hardware && type.name != "device_exec" && type.name != "model_load") types.insert(std::string(type.name));
  EXPECT_EQ(types, exported);
  for (std::size_t i = 0; i < event_types().size(); ++i) EXPECT_EQ(type_of(event_types()[i].name), i);
  EXPECT_EQ(type_of("nrt_sys_trace_start"), std::nullopt);
}

TEST_F(Trace, givenNestedSpansWhenTheyEndThenEachKnowsItsParent) {
  ASSERT_TRUE(start(Client::kFetch, {}));
  {
    const Span outer("nrt_load");
    note({Subject::Kind::kModel, 2, "m", 7, 0});
    { const Span inner(kModelLoad); }
    const Span unknown("not a type");
    EXPECT_NE(parent(), 0u);
  }
  EXPECT_EQ(parent(), 0u);
  const auto taken = stop(Client::kFetch);
  ASSERT_TRUE(taken);
  ASSERT_EQ(taken->events.size(), 2u);
  const Event &outer = taken->events[0], &inner = taken->events[1];
  EXPECT_EQ(event_types()[outer.type].name, "nrt_load");
  EXPECT_EQ(outer.subject.vnc, 2);
  EXPECT_EQ(inner.parent_id, outer.id);
  EXPECT_EQ(inner.subject.vnc, kNoCore) << "the note was for the outer one";
  EXPECT_LE(outer.timestamp_ns, inner.timestamp_ns);
  EXPECT_GE(outer.duration_ns, inner.duration_ns);
}

TEST_F(Trace, givenASpanThatBeganBeforeTheTraceWhenItEndsThenItIsNotRecorded) {
  {
    const Span span("nrt_load");
    ASSERT_TRUE(start(Client::kFetch, {}));
  }
  EXPECT_TRUE(stop(Client::kFetch)->events.empty());
}

TEST_F(Trace, givenARingThatWrapsWhenPartsAreTakenThenOrderAndDropsAreRight) {
  Config config;
  config.max_events = 4;
  ASSERT_TRUE(start(Client::kFetch, config));
  for (std::uint64_t i = 1; i <= 6; ++i) record(event(5, i));
  auto taken = take(Client::kFetch, 2);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->dropped, 2u);
  ASSERT_EQ(taken->events.size(), 2u);
  EXPECT_EQ(taken->events[0].timestamp_ns, 3u);
  EXPECT_EQ(taken->events[1].timestamp_ns, 4u);
  for (std::uint64_t i = 7; i <= 9; ++i) record(event(5, i));
  taken = take(Client::kFetch);
  EXPECT_EQ(taken->dropped, 1u);
  ASSERT_EQ(taken->events.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(taken->events[i].timestamp_ns, 6 + i);
}

TEST_F(Trace, givenSeveralClientsWhenOneTakesThenTheOthersKeepTheirs) {
  Config config;
  config.disabled_cores.insert(1);
  ASSERT_TRUE(start(Client::kFetch, {}));
  ASSERT_TRUE(start(Client::kFile, config));
  record(event(1, 10));
  record(event(kNoCore, 20));
  EXPECT_EQ(take(Client::kFetch)->events.size(), 2u);
  EXPECT_EQ(take(Client::kFetch)->events.size(), 0u);
  EXPECT_EQ(take(Client::kFile)->events.size(), 1u) << "core 1 is disabled there";
  EXPECT_FALSE(take(Client::kInspect));
  ASSERT_TRUE(stop(Client::kFetch));
  EXPECT_TRUE(on());
  ASSERT_TRUE(stop(Client::kFile));
  EXPECT_FALSE(on());
}

TEST_F(Trace, givenACoreNumberBeyondAllWhenTakenThenThereIsNothing) {
  ASSERT_TRUE(start(Client::kFetch, {}));
  record(event(3, 1));
  EXPECT_TRUE(take(Client::kFetch, UINT64_MAX, UINT64_MAX)->events.empty());
  EXPECT_TRUE(take(Client::kFetch, UINT64_MAX, 256)->events.empty());
  EXPECT_EQ(take(Client::kFetch, UINT64_MAX, 3)->events.size(), 1u);
}

TEST_F(Trace, givenAChildOfForkWhenItCallsThenItRecordsNothingAndTouchesNoLock) {
  ASSERT_TRUE(start(Client::kFetch, {}));
  record(event(0, 1));
  const pid_t child = fork();
  if (child == 0) {
    { const Span span("nrt_load"); }
    const bool refused = !take(Client::kFetch).has_value();
    const bool fresh = start(Client::kFetch, {}).has_value() && take(Client::kFetch)->events.empty();
    _exit(refused && fresh ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(take(Client::kFetch)->events.size(), 1u);
}

TEST_F(Trace, givenThreadsWhenTheyRecordWhileSessionsComeAndGoThenEachSeesWholeEvents) {
  std::atomic<bool> go_on{true};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      while (go_on) {
        const Span span("nrt_execute");
        if (on()) note({Subject::Kind::kModel, t, "model", static_cast<std::uint64_t>(t), 0});
      }
    });
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(start(Client::kFetch, {}));
    std::this_thread::yield();
    const auto taken = stop(Client::kFetch);
    ASSERT_TRUE(taken);
    for (const Event& seen : taken->events) {
      if (seen.subject.kind == Subject::Kind::kNone) continue;  // the trace began between its begin and its note
      EXPECT_EQ(seen.subject.id, static_cast<std::uint64_t>(seen.subject.vnc));
      EXPECT_EQ(seen.subject.name, "model");
    }
  }
  go_on = false;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Trace, givenBytesThatAreNoTextWhenWrittenThenTheJsonIsStillJson) {
  Taken taken;
  Event one = event(0, 1);
  one.subject = {Subject::Kind::kTensor, 0, "a\"b\\\n\x01\xff", 1, 2};
  taken.events.push_back(one);
  const auto json = nlohmann::json::parse(to_json(taken), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json.at("trace_events")[0].at("tensor_name"), "a\"b\\\n\x01\xEF\xBF\xBD");
}

TEST_F(Trace, givenTimesSince1970WhenAChromeTraceIsWrittenThenNanosecondsSurvive) {
  const std::uint64_t origin = 1'900'000'000'123'456'789;
  ChromeTrace trace(origin);
  trace.span(0, 0, "c", "first", origin, 7, "");
  trace.span(0, 0, "c", "second", origin + 1'234'567, 1'001, "\"x\":1");
  const std::string path = ::testing::TempDir() + "/opennrt-chrome-trace.json";
  ASSERT_TRUE(trace.write(path, ""));
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file);
  EXPECT_EQ(json.at("otherData").at("origin_ns"), origin);
  EXPECT_DOUBLE_EQ(json.at("traceEvents")[0].at("dur").get<double>(), 0.007);
  EXPECT_DOUBLE_EQ(json.at("traceEvents")[1].at("ts").get<double>(), 1234.567);
  EXPECT_EQ(json.at("traceEvents")[1].at("args").at("x"), 1);
  std::remove(path.c_str());
  const Status refused = trace.write("/nonexistent/folder/x", "");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("\"/nonexistent/folder/x\" cannot be opened for writing"));
}

}  // namespace
}  // namespace opennrt::observe::trace
