// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md, "A plan": faults of the chip are refused where the device will not have them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/faults/plan.h"
#include "tests/unit/neuron/fake_driver.h"

namespace opennrt::neuron::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kChip = R"({"version": 1, "rules": [{"name": "hang", "fault": "engine_hang"}]})";

struct PlanOfFaults : testing::Test {
  int check(const std::string& plan) {
    host.errors.clear();
    host.variables["OPENNRT_FAULTS"] = plan;
    return Backend(host.get(), driver).check_plan();
  }
  FakeDriver driver;
  FakeHost host;
};

TEST_F(PlanOfFaults, givenSiliconThenFaultsOfTheChipAreRefusedAndOthersAskNothing) {
  EXPECT_EQ(check(kChip), -EINVAL);
  EXPECT_THAT(host.errors,
              HasSubstr("OPENNRT_FAULTS:1: rules[0] (hang): backend neuron cannot have engine_hang: silicon "
                        "cannot be told to fail"));
  driver.opened.clear();
  EXPECT_EQ(check(R"({"version": 1, "rules": [{"fault": "drv_error"}]})"), 0);
  EXPECT_EQ(check(""), 0);
  EXPECT_TRUE(driver.opened.empty());
  EXPECT_THAT(host.errors, IsEmpty());
}

TEST_F(PlanOfFaults, givenAnEmulatedMachineThenItMustHaveBeenStartedWithTheSameFaultsOfTheChip) {
  driver.emulated = true;
  EXPECT_EQ(check(kChip), -EINVAL);
  EXPECT_THAT(host.errors, HasSubstr("this emulated machine was started without any"));
  driver.fault_plan = 5;
  EXPECT_EQ(check(kChip), -EINVAL);
  EXPECT_THAT(host.errors, HasSubstr("this emulated machine was started with others"));
  driver.fault_plan = faults::chip_identity(*faults::parse_plan(kChip, "p"));
  EXPECT_EQ(check(kChip), 0);
}

TEST_F(PlanOfFaults, givenNoDeviceThenItIsNotThePlanThatIsRefused) {
  driver.nodes.clear();
  EXPECT_EQ(check(kChip), 0);
  EXPECT_THAT(host.errors, IsEmpty());
}

}  // namespace
}  // namespace opennrt::neuron::test
