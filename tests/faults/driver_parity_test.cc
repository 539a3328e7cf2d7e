// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-table.md: the same plan between runtime and driver, on `sim` and on an emulated /dev/neuron: the same statuses,
// recoveries and neighbours.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/unit/tools/process.h"

namespace {

using opennrt::test::Outcome;
using opennrt::test::run_program;
using opennrt::test::TemporaryFolder;

struct Case {
  const char* name;
  const char* rules;
  const char* says;  ///< the first line of the application
};

const Case kCases[] = {
    {"open_fail", R"({"fault": "drv_open_fail"})", "nrt_init: 1\n"},
    {"open_busy", R"({"fault": "drv_open_fail", "detail": {"errno": "EBUSY"}})", "nrt_init: 4\n"},
    {"probe_absent", R"({"fault": "drv_probe_fail"})", "nrt_init: 1\n"},
    {"probe_info", R"({"fault": "drv_probe_fail", "detail": {"how": "info"}})", "nrt_init: 6\n"},
    {"missing", R"({"fault": "drv_missing"})", "nrt_init: 1\n"},
    {"old", R"({"fault": "drv_old"})", "nrt_init: 1\n"},
    {"cores_taken", R"({"fault": "drv_cores_taken"})", "nrt_init: 4\n"},
    {"allocation", R"({"fault": "drv_allocation_limit", "where": {"core": 1}})", "nrt_load on core 1: 4\n"},
    {"error_in_load", R"({"fault": "drv_error", "where": {"core": 1}, "when": {"nth": 5}})", "nrt_load on core 1: 6\n"},
    {"error_in_execute", R"({"fault": "drv_error", "where": {"core": 1, "operation": "dma_queue_start"}})",
     "opened: 6 not right, neighbour 0 right\n"},
    {"not_yet",
     R"({"fault": "drv_error", "where": {"core": 1, "operation": "mem_read"}, "when": {"after_us": 60000000}})",
     "opened: 0 right, neighbour 0 right\n"},
    {"slow", R"({"fault": "drv_slow", "where": {"core": 1}, "times": 0, "detail": {"us": 1}})",
     "opened: 0 right, neighbour 0 right\n"},
    {"lost", R"({"fault": "drv_notification_lost", "where": {"core": 1}, "when": {"nth": 2}})",
     "opened: 5 not right, neighbour 0 right\n"},
    {"delayed", R"({"fault": "drv_notification_delayed", "where": {"core": 1}})",
     "opened: 0 right, neighbour 0 right\n"},
    {"delayed_for_long",
     R"({"fault": "drv_notification_delayed", "where": {"core": 1}, "detail": {"ns": 60000000000}})",
     "opened: 5 not right, neighbour 0 right\nagain: 0 right, neighbour 0 right\n"},
    {"duplicated", R"({"fault": "drv_notification_duplicated", "where": {"core": 1}, "times": 0})",
     "opened: 0 right, neighbour 0 right\n"},
    {"corrupted", R"({"fault": "drv_notification_corrupted", "where": {"core": 1}, "detail": {"mask": 67109376}})",
     "opened: 1202 not right, neighbour 0 right\n"},
    {"corrupted_phase", R"({"fault": "drv_notification_corrupted", "where": {"core": 1}})",
     "opened: 5 not right, neighbour 0 right\nagain: 0 right, neighbour 0 right\n"},
    {"removed", R"({"fault": "drv_device_removed", "where": {"core": 1, "operation": "dma_queue_start"},
                    "detail": {"return_after": 9}})",
     "opened: 1 not right, neighbour 1 not right\n"},
    {"reset_fail", R"({"fault": "drv_notification_lost", "where": {"core": 1}}, {"fault": "drv_reset_fail"})",
     "opened: 5 not right, neighbour 0 right\nagain: 101 not right, neighbour 0 right\n"},
    {"reset_slow", R"({"fault": "drv_notification_lost", "where": {"core": 1}}, {"fault": "drv_reset_slow"})",
     "opened: 5 not right, neighbour 0 right\nagain: 0 right, neighbour 0 right\n"},
};

using Environment = std::map<std::string, std::string>;

Outcome run(const std::string& backend, const std::string& rules, const Environment& more = {}) {
  const TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  std::vector<std::string> command{build + "/tests/chip_client"};
  Environment environment{{"OPENNRT_RUNTIME_DIR", folder.path()},
                          {"OPENNRT_BACKEND", backend},
                          {"OPENNRT_FAULTS", R"({"version": 1, "rules": [)" + rules + "]}"},
                          {"NEURON_RT_LOG_LEVEL", "QUIET"}};
  environment.insert(more.begin(), more.end());
  if (backend == "neuron") command.insert(command.begin(), {build + "/bin/opennrt", "emulate", "--"});
  return run_program(command, environment);
}

class DriverParity : public ::testing::TestWithParam<Case> {};

TEST_P(DriverParity, givenTheSamePlanOnSimAndOnEmulatedDeviceThenTheApplicationSeesTheSame) {
  const Case& c = GetParam();
  const Outcome sim = run("sim", c.rules);
  EXPECT_EQ(sim.out.substr(0, std::string(c.says).size()), c.says) << sim.err;
  const Outcome emulated = run("neuron", c.rules);
  EXPECT_EQ(emulated.out, sim.out) << emulated.err;
  EXPECT_EQ(emulated.exit, sim.exit) << emulated.err;
}

class PolledParity : public DriverParity {};

// As on silicon: the queues are looked at, in this machine's time. What lasts to the time limit takes a second.
TEST_P(PolledParity, givenTheEmulatedDeviceIsPolledThenTheApplicationSeesTheSame) {
  const Case& c = GetParam();
  const Environment limit{{"NEURON_RT_EXEC_TIMEOUT", "1"}};
  const Outcome sim = run("sim", c.rules, limit);
  EXPECT_EQ(sim.out.substr(0, std::string(c.says).size()), c.says) << sim.err;
  const Outcome polled = run("neuron", c.rules, {{"NEURON_RT_EXEC_TIMEOUT", "1"}, {"OPENNRT_NEURON_POLL", "1"}});
  EXPECT_EQ(polled.out, sim.out) << polled.err;
  EXPECT_EQ(polled.exit, sim.exit) << polled.err;
}

/// Those in which the clock or the queues have a part.
std::vector<Case> cases_of_waiting() {
  std::vector<Case> some;
  for (const Case& c : kCases)
    for (const char* part : {"drv_notification", "after_us"})
      if (std::string(c.rules).find(part) != std::string::npos) some.push_back(c);
  return some;
}

INSTANTIATE_TEST_SUITE_P(, DriverParity, ::testing::ValuesIn(kCases),
                         [](const auto& one) { return std::string(one.param.name); });
INSTANTIATE_TEST_SUITE_P(, PolledParity, ::testing::ValuesIn(cases_of_waiting()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
