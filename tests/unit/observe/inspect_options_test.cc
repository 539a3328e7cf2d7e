// SPDX-License-Identifier: Apache-2.0
// Requirements A4, H1: the variables of an inspection.
#include <gtest/gtest.h>

#include <map>

#include "core/observe/inspect.h"

namespace opennrt::observe::inspect {
namespace {

using Given = std::map<std::string, std::string>;

Result<Environment> parsed(const Given& given) {
  return parse([&](const char* name) -> const char* {
    const auto found = given.find(name);
    return found == given.end() ? nullptr : found->second.c_str();
  });
}

TEST(InspectOptions, givenNoVariablesWhenParsedThenTheDefaultsAreThoseOfTheDocumentation) {
  const auto environment = parsed({});
  ASSERT_TRUE(environment);
  EXPECT_FALSE(environment->enable);
  const Options& options = environment->options;
  EXPECT_EQ(options.output_dir, "./output");
  EXPECT_TRUE(options.activities.test(kSystemProfile));
  EXPECT_FALSE(options.activities.test(kDeviceProfile));
  EXPECT_FALSE(options.on_fail);
  EXPECT_EQ(options.trace.max_events, 1'000'000u);
  EXPECT_TRUE(options.trace.types.all());
  EXPECT_TRUE(options.trace.disabled_cores.empty());
}

TEST(InspectOptions, givenValuesWhenParsedThenTheyAreTaken) {
  const auto environment = parsed({{"NEURON_RT_INSPECT_ENABLE", "1"},
                                   {"NEURON_RT_INSPECT_SYSTEM_PROFILE", "0"},
                                   {"NEURON_RT_INSPECT_DEVICE_PROFILE", "model"},
                                   {"NEURON_RT_INSPECT_ON_FAIL", "1"},
                                   {"NEURON_RT_INSPECT_EVENT_FILTER_NC", "0,2-3"},
                                   {"NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", "5000000000"}});
  ASSERT_TRUE(environment) << environment.error().message;
  EXPECT_TRUE(environment->enable);
  const Options& options = environment->options;
  EXPECT_FALSE(options.activities.test(kSystemProfile));
  EXPECT_TRUE(options.activities.test(kDeviceProfile));
  EXPECT_EQ(options.device_mode, profile::InspectMode::kModel);
  EXPECT_TRUE(options.on_fail);
  EXPECT_EQ(options.trace.max_events, 5'000'000'000u);
  for (const std::uint32_t core : {0u, 2u, 3u}) EXPECT_FALSE(options.trace.disabled_cores.contains(core)) << core;
  for (const std::uint32_t core : {1u, 4u, 255u}) EXPECT_TRUE(options.trace.disabled_cores.contains(core)) << core;
}

TEST(InspectOptions, givenCategoriesWhenParsedThenTheyMeanTheirTypes) {
  const auto hardware = parsed({{"NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "hardware,^cc_running,nrt_load"}});
  ASSERT_TRUE(hardware) << hardware.error().message;
  const auto& types = hardware->options.trace.types;
  EXPECT_TRUE(types.test(trace::kNcExecRunning));
  EXPECT_FALSE(types.test(*trace::type_of("cc_running")));
  EXPECT_TRUE(types.test(*trace::type_of("nrt_load")));
  EXPECT_FALSE(types.test(*trace::type_of("nrt_execute")));
  const auto software = parsed({{"NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "^nrt_load,software"}});
  ASSERT_TRUE(software);
  EXPECT_FALSE(software->options.trace.types.test(*trace::type_of("nrt_load"))) << "^ wins wherever it is";
  EXPECT_TRUE(software->options.trace.types.test(*trace::type_of("nrt_execute")));
  EXPECT_FALSE(software->options.trace.types.test(trace::kNcExecRunning));
}

TEST(InspectOptions, givenMalformedValuesWhenParsedThenVariableValueAndExpectationAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"NEURON_RT_INSPECT_ENABLE", "true"},           {"NEURON_RT_INSPECT_EVENT_FILTER_NC", "1,"},
      {"NEURON_RT_INSPECT_EVENT_FILTER_NC", "256"},   {"NEURON_RT_INSPECT_EVENT_FILTER_NC", "a-b"},
      {"NEURON_RT_INSPECT_EVENT_FILTER_TYPE", "^"},   {"NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", "-1"},
      {"NEURON_RT_INSPECT_DEVICE_PROFILE", "Session"}};
  for (const auto& [name, value] : cases) {
    const auto environment = parsed({{name, value}});
    ASSERT_FALSE(environment) << name << value;
    EXPECT_EQ(environment.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(environment.error().message.find(std::string(name) + " is \"" + value + "\""), std::string::npos);
    EXPECT_NE(environment.error().message.find("expected"), std::string::npos);
  }
}

}  // namespace
}  // namespace opennrt::observe::inspect
