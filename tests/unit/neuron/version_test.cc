// SPDX-License-Identifier: Apache-2.0
//
// Requirements D1 to D3: what the runtime says about the driver that a backend has found.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "core/runtime/machine.h"

namespace opennrt {
namespace {

Error refusal(const char* driver) {
  setenv("TEST_DRIVER", driver, 1);
  Variables variables;
  variables["OPENNRT_BACKEND"] = OPENNRT_TEST_VERSION_BACKEND;
  auto configuration = Configuration::parse(variables, false);
  EXPECT_TRUE(configuration);
  const auto machine = Machine::open(*configuration, Machine::Detail::kCoreCount);
  EXPECT_FALSE(machine) << "it has no devices";
  return machine ? Error{} : machine.error();
}

TEST(DriverVersion, givenNoDriverWhenOpenedThenTheDocumentedLineIsTheError) {  // D1
  const Error error = refusal("absent");
  EXPECT_EQ(error.code, ErrorCode::kDeviceGone);
  EXPECT_EQ(error.message,
            "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is installed.");
}

TEST(DriverVersion, givenADriverBefore2WhenOpenedThenTheDocumentedLineIsTheError) {  // D2
  EXPECT_EQ(refusal("1 1 2").message,
            "This runtime requires Neuron Driver version 2.0 or greater. Please upgrade aws-neuron-dkms package.");
}

TEST(DriverVersion, givenADriverThatServesOtherRuntimesWhenOpenedThenBothSidesAreNamed) {  // D3
  for (const char* driver : {"2 8 11", "2 1 1"}) {
    const Error error = refusal(driver);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_EQ(error.message,
              "This Neuron Runtime (compatibility id: 7) is not compatible with the installed aws-neuron-dkms package: "
              "version 2.5.1.0 of the driver serves ids " +
                  std::string(driver + 2, 1) + " to " + (driver + 4));
  }
}

TEST(DriverVersion, givenADriverWhoseRangeReachesOursWhenOpenedThenItsDevicesAreLookedFor) {
  for (const char* driver : {"2 2 7", "2 7 11", "2 1 2", "2 0 0"})
    EXPECT_NE(refusal(driver).message.find("cannot enumerate its devices: /dev/neuron0 is a device of architecture 2"),
              std::string::npos)
        << driver;
}

TEST(DriverVersion, givenAReasonInTheLogWhenTheVersionIsNotToBeHadThenItIsTheError) {
  EXPECT_EQ(refusal("unasked").message, "/dev/neuron0 cannot be opened: Permission denied");
}

}  // namespace
}  // namespace opennrt
