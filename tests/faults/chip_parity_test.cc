// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-table.md: the same plan on `sim` and on an emulated /dev/neuron: the same statuses, the same recoveries and
// neighbours, inference by inference.
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
    {"none", "", "opened: 0 right, neighbour 0 right"},
    {"sram_correctable", R"({"fault": "sram_correctable", "where": {"core": 1}})",
     "opened: 0 right, neighbour 0 right"},
    {"sram_uncorrectable", R"({"fault": "sram_uncorrectable", "where": {"core": 1}})",
     "opened: 1202 not right, neighbour 0 right"},
    {"dram_correctable", R"({"fault": "dram_correctable", "where": {"core": 1}})",
     "opened: 0 right, neighbour 0 right"},
    {"dram_uncorrectable", R"({"fault": "dram_uncorrectable", "where": {"core": 1}})",
     "opened: 1201 not right, neighbour 0 right"},
    {"data_bit_flip", R"({"fault": "data_bit_flip", "where": {"core": 1}, "detail": {"offset": 7, "bit": 7}})",
     "opened: 0 not right, neighbour 0 right"},
    {"dma_abort", R"({"fault": "dma_abort", "where": {"core": 1}, "when": {"nth": 3}})",
     "opened: 1203 not right, neighbour 0 right"},
    {"dma_stall", R"({"fault": "dma_stall", "where": {"core": 1}, "when": {"nth": 3}})",
     "opened: 5 not right, neighbour 0 right"},
    {"descriptor_corrupt", R"({"fault": "descriptor_corrupt", "where": {"core": 1}, "when": {"nth": 4}})",
     "opened: 1203 not right, neighbour 0 right"},
    {"engine_hang", R"({"fault": "engine_hang", "where": {"core": 1}})", "opened: 5 not right, neighbour 0 right"},
    {"engine_slow", R"({"fault": "engine_slow", "where": {"core": 1}})", "opened: 0 right, neighbour 0 right"},
    {"nan_produced", R"({"fault": "nan_produced", "where": {"core": 1}})", "opened: 1003 not right, neighbour 0 right"},
    {"notification_overflow", R"({"fault": "notification_overflow", "where": {"core": 1}})",
     "opened: 1204 not right, neighbour 0 right"},
    {"semaphore_stuck", R"({"fault": "semaphore_stuck", "where": {"core": 1}})",
     "opened: 5 not right, neighbour 0 right"},
    // The third model that it loads: core 1 anew.
    {"between_markers",
     R"({"fault": "engine_hang", "where": {"core": 1}, "when": {"between": ["nrt_load:3", "nrt_close"]}})",
     "opened: 0 right, neighbour 0 right\nagain: 0 right, neighbour 0 right\nloaded anew: 5 not right"},
};

Outcome run(const std::string& backend, const std::string& rules) {
  const TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  std::vector<std::string> command{build + "/tests/chip_client"};
  std::map<std::string, std::string> environment{{"OPENNRT_RUNTIME_DIR", folder.path()},
                                                 {"OPENNRT_BACKEND", backend},
                                                 {"OPENNRT_FAULTS", R"({"version": 1, "rules": [)" + rules + "]}"},
                                                 {"NEURON_RT_LOG_LEVEL", "QUIET"}};
  if (backend == "neuron") command.insert(command.begin(), {build + "/bin/opennrt", "emulate", "--"});
  return run_program(command, environment);
}

class ChipParity : public ::testing::TestWithParam<Case> {};

TEST_P(ChipParity, givenTheSamePlanOnSimAndOnEmulatedDeviceThenTheApplicationSeesTheSame) {
  const Case& c = GetParam();
  const Outcome sim = run("sim", c.rules);
  EXPECT_EQ(sim.exit, 0) << sim.err;
  EXPECT_EQ(sim.out.substr(0, std::string(c.says).size()), c.says);
  const Outcome emulated = run("neuron", c.rules);
  EXPECT_EQ(emulated.exit, 0) << emulated.err;
  EXPECT_EQ(emulated.out, sim.out) << emulated.err;
}

TEST(ChipOnEmulatedDevice, givenASilentFirmwareWhenACoreNeedsAResetThenItIsAsOnSimButForTheResetsOfOpening) {
  // Who takes all cores of a device from the kernel driver resets it first: a request to the firmware before the first inference.
  const auto plan = [](const char* nth) {
    return std::string(R"({"fault": "engine_hang", "where": {"core": 1}},
                          {"fault": "firmware_silent", "when": {"nth": )") +
           nth + R"(}, "detail": {"requests": 1}})";
  };
  const Outcome sim = run("sim", plan("1")), emulated = run("neuron", plan("2"));
  EXPECT_EQ(sim.out.substr(0, sim.out.find("loaded")),
            "opened: 5 not right, neighbour 0 right\nagain: 101 not right, neighbour 0 right\n");
  EXPECT_NE(sim.out.find("opened anew: 0 right, neighbour 0 right"), std::string::npos);
  EXPECT_EQ(emulated.out, sim.out) << emulated.err;
}

TEST(ChipOnEmulatedDevice, givenASilentFirmwareWhenCoresAreTakenThenTheRuntimeDoesNotOpen) {
  const Outcome emulated = run("neuron", R"({"fault": "firmware_silent", "detail": {"requests": 1}})");
  EXPECT_EQ(emulated.exit, 1);
  EXPECT_EQ(emulated.out.substr(0, 10), "nrt_init: ") << emulated.out;
}

/// A client with a plan of its own, on a machine that was started under another one.
Outcome run_apart(const std::string& machine, const std::string& client) {
  const TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  const auto plan = [](const std::string& rules) {
    return rules.empty() ? rules : R"({"version": 1, "rules": [)" + rules + "]}";
  };
  return run_program(
      {build + "/bin/opennrt", "emulate", "--", "env", "OPENNRT_FAULTS=" + plan(client), build + "/tests/chip_client"},
      {{"OPENNRT_RUNTIME_DIR", folder.path()}, {"OPENNRT_BACKEND", "neuron"}, {"OPENNRT_FAULTS", plan(machine)}});
}

constexpr const char* kHang = R"({"name": "hang", "fault": "engine_hang", "where": {"core": 1}})";

TEST(ChipOnEmulatedDevice, givenAMachineStartedWithoutThePlanThenFaultsOfTheChipAreRefusedAndNotLost) {
  for (const std::string machine : {"", R"({"fault": "drv_missing", "where": {"process": "nobody"}})"}) {
    const Outcome alone = run_apart(machine, kHang);
    EXPECT_EQ(alone.out, "nrt_init: 2\n") << alone.err;
    EXPECT_NE(
        alone.err.find("OPENNRT_FAULTS has faults of the chip, and they would never strike: this emulated machine was "
                       "started without any. Expected that `opennrt emulate` itself runs under the plan"),
        std::string::npos)
        << alone.err;
  }
  const Outcome other = run_apart(R"({"fault": "dma_abort", "where": {"core": 1}})", kHang);
  EXPECT_EQ(other.out, "nrt_init: 2\n") << other.err;
  EXPECT_NE(other.err.find("was started with others"), std::string::npos) << other.err;
}

TEST(ChipOnEmulatedDevice, givenAMachineWithTheSameFaultsOfTheChipThenAClientMayHaveOthersOfTheDriver) {
  const Outcome same =
      run_apart(kHang, std::string(kHang) + R"(, {"fault": "drv_slow", "where": {"operation": "mem_free"}})");
  EXPECT_EQ(same.out.substr(0, 20), "opened: 5 not right,") << same.err;
  const Outcome none = run_apart(kHang, "");
  EXPECT_EQ(none.out.substr(0, 20), "opened: 5 not right,") << none.err;
}

INSTANTIATE_TEST_SUITE_P(, ChipParity, ::testing::ValuesIn(kCases),
                         [](const auto& c) { return std::string(c.param.name); });

}  // namespace
