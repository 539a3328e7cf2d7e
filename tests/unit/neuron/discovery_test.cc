// SPDX-License-Identifier: Apache-2.0
//
// Finding the driver and its devices, and refusing what cannot be used (requirements B10, D1 to D4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/neuron/fake_driver.h"

namespace opennrt::neuron::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Discovery : testing::Test {
  FakeDriver driver;
  FakeHost host;
};

TEST_F(Discovery, givenDeviceNodesWhenListedThenTheirNumbersComeAscendingAndNothingElse) {
  driver.nodes = {"neuron11", "null", "neuron2", "neuron", "neuron0", "neuron1x", "neuron_ctl", "neuron99"};
  EXPECT_THAT(device_numbers(driver), ElementsAre(0u, 2u, 11u));
}

TEST_F(Discovery, givenTheModulesVersionWhenReadThenItIsTakenApart) {
  const auto version = driver_version(driver);
  ASSERT_TRUE(version);
  EXPECT_EQ(version->major, 2u);
  EXPECT_EQ(version->minor, 24u);
  EXPECT_STREQ(version->text, "2.24.7.0");
}

TEST_F(Discovery, givenNoModuleOrNoVersionWhenReadThenThereIsNone) {
  for (const char* text : {"", "x", "2", "2.", ".3"}) {
    driver.files[kVersionFile] = text;
    EXPECT_FALSE(driver_version(driver)) << text;
  }
  driver.files.clear();
  EXPECT_FALSE(driver_version(driver));
  Backend backend(host.get(), driver);
  opennrt_driver_version_t version{};
  EXPECT_EQ(backend.version(version), -ENOENT);  // D1 is what the core says to that
}

TEST_F(Discovery, givenADriverOfRuntime1WhenItsVersionIsAskedThenNoRequestIsMade) {
  driver.files[kVersionFile] = "1.5.0";
  Backend backend(host.get(), driver);
  opennrt_driver_version_t version{};
  ASSERT_EQ(backend.version(version), 0);
  EXPECT_EQ(version.major, 1u);  // D2
  EXPECT_TRUE(driver.opened.empty());
}

TEST_F(Discovery, givenADriverWhenItsVersionIsAskedThenItSaysWhichRuntimesItServes) {
  driver.compatible_min = 3;
  driver.compatible_max = 5;
  Backend backend(host.get(), driver);
  opennrt_driver_version_t version{};
  ASSERT_EQ(backend.version(version), 0);
  EXPECT_EQ(version.compatible_min, 3u);  // D3
  EXPECT_EQ(version.compatible_max, 5u);
}

TEST_F(Discovery, givenNoDevicesWhenListedThenThereAreNone) {
  driver.nodes = {"null"};
  Backend backend(host.get(), driver);
  std::vector<std::uint32_t> numbers = {7};
  EXPECT_EQ(backend.devices(numbers), 0);
  EXPECT_TRUE(numbers.empty());
}

TEST_F(Discovery, givenAnotherArchitectureWhenListedThenItIsRefusedByName) {
  const std::pair<std::uint32_t, const char*> others[] = {{2, "Inf2, Trn1"}, {3, "Trn2"}, {4, "Trn3"}, {9, "unknown"}};
  for (const auto& [architecture, name] : others) {
    FakeDriver other;
    other.architecture = architecture;
    FakeHost log;
    Backend backend(log.get(), other);
    std::vector<std::uint32_t> numbers;
    EXPECT_EQ(backend.devices(numbers), -ENOTSUP);
    EXPECT_THAT(log.errors, HasSubstr("architecture " + std::to_string(architecture)));
    EXPECT_THAT(log.errors, HasSubstr(name));
    EXPECT_THAT(log.errors, HasSubstr("Inferentia (Inf1) only"));
  }
}

TEST_F(Discovery, givenADriverWithoutDriverInfoWhenProbedThenItsArchitectureIsFoundTheOldWay) {
  driver.knows.clear();
  Backend backend(host.get(), driver);
  std::vector<std::uint32_t> numbers;
  EXPECT_EQ(backend.devices(numbers), 0);
  EXPECT_TRUE(driver.asked(abi::kDeviceBasicInfo));
  EXPECT_THAT(numbers, ElementsAre(0u, 1u));
}

TEST_F(Discovery, givenNoPermissionWhenOpenedThenNodeModeGroupAndUserAreNamed) {
  driver.open_errors["/dev/neuron0"] = EACCES;
  Backend backend(host.get(), driver);
  std::vector<std::uint32_t> numbers;
  EXPECT_EQ(backend.devices(numbers), -EACCES);
  for (const char* part : {"/dev/neuron0 cannot be opened: Permission denied", "mode 0660", "root:neuron", "uid 1000",
                           "add the user to group neuron"})
    EXPECT_THAT(host.errors, HasSubstr(part));
}

TEST_F(Discovery, givenADeviceThatIsFullWhenOpenedThenTheLimitIsNamed) {
  driver.open_errors["/dev/neuron1"] = EBUSY;
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  EXPECT_EQ(backend.device_open(1, device), -EBUSY);
  EXPECT_THAT(host.errors, HasSubstr("at most 16 processes"));
}

TEST_F(Discovery, givenAnUnknownNumberWhenOpenedThenThereIsNoSuchDevice) {
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  EXPECT_EQ(backend.device_open(2, device), -ENODEV);
}

TEST_F(Discovery, givenAContainerWithAGapBehindItsNamesWhenDevicesAreListedThenItIsRefused) {
  driver.host_numbers = {{"/dev/neuron0", 2}, {"/dev/neuron1", 5}};  // B10
  Backend backend(host.get(), driver);
  std::vector<std::uint32_t> numbers;
  EXPECT_EQ(backend.devices(numbers), -EINVAL);
  EXPECT_THAT(host.errors,
              HasSubstr("Neuron cores are not contiguous: /dev/neuron1 is device 5 of the host, expected 3"));
}

TEST_F(Discovery, givenADeviceWhenDescribedThenNeighboursAreNumberedAsThisProcessSeesThem) {
  driver.host_shift = 4;
  driver.files["/sys/devices/virtual/dmi/id/product_name"] = "inf1.6xlarge\n";
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(1, device), 0);
  opennrt_device_info_t info{};
  ASSERT_EQ(device->info(info), 0);
  EXPECT_EQ(info.architecture, 1u);
  EXPECT_EQ(info.core_count, 4u);
  EXPECT_EQ(info.first_core, 4u);
  EXPECT_EQ(info.dram_channels, 2u);
  EXPECT_EQ(info.dram_channel_bytes, std::uint64_t{4} << 30);
  EXPECT_EQ(info.connected_count, 1u);
  EXPECT_EQ(info.connected[0], 2u);
  EXPECT_EQ(info.pci_domain, 1u);
  EXPECT_EQ(info.pci_slot, 3u);
  EXPECT_STREQ(info.instance_type, "inf1.6xlarge");
  EXPECT_EQ(info.open_isa_version, 0u) << "silicon does not execute our instructions";
  EXPECT_FALSE(info.virtual_time);
}

TEST_F(Discovery, givenADeviceThatIsNotOpenWhenDescribedThenNobodyIsAttachedToIt) {
  driver.files["/sys/devices/virtual/dmi/id/product_name"] = "inf1.6xlarge\n";
  for (const bool emulated : {false, true}) {
    driver.emulated = emulated;
    Backend backend(host.get(), driver);
    opennrt_device_info_t info{};
    ASSERT_EQ(backend.device_info(1, info), 0);
    EXPECT_EQ(info.architecture, 1u);
    EXPECT_EQ(info.core_count, 4u);
    EXPECT_EQ(info.first_core, 4u);
    EXPECT_EQ(info.dram_channel_bytes, std::uint64_t{4} << 30);
    EXPECT_EQ(info.pci_domain, 1u);
    EXPECT_STREQ(info.instance_type, emulated ? "inf1.2xlarge" : "inf1.6xlarge");
    EXPECT_EQ(info.open_isa_version, emulated ? 1u : 0u);
    EXPECT_EQ(info.virtual_time, emulated);
    EXPECT_EQ(info.connected_count, 0u) << "only an attached process is told";
    EXPECT_TRUE(driver.attached.empty());
    EXPECT_EQ(backend.device_info(2, info), -ENODEV);
  }
}

TEST_F(Discovery, givenADriverWithoutBdfExtWhenDescribedThenTheOldRequestIsUsed) {
  driver.knows.erase(abi::kDeviceBdfExt);
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  opennrt_device_info_t info{};
  ASSERT_EQ(device->info(info), 0);
  EXPECT_EQ(info.pci_bus, 9u);
  EXPECT_EQ(info.pci_slot, 8u);
}

TEST_F(Discovery, givenAnEmulatedDeviceWhenDescribedThenItSaysWhichInstructionsItUnderstands) {
  driver.emulated = true;
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  opennrt_device_info_t info{};
  ASSERT_EQ(device->info(info), 0);
  EXPECT_EQ(info.open_isa_version, 1u);
  EXPECT_STREQ(info.instance_type, "inf1.2xlarge");
  EXPECT_TRUE(info.virtual_time);
}

TEST_F(Discovery, givenInterruptionsWhenRequestsAreMadeThenTheyAreMadeAgain) {
  driver.interruptions = 3;
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  EXPECT_EQ(backend.device_open(0, device), 0);
}

TEST_F(Discovery, givenADeviceOpenedTwiceWhenClosedThenOnlyTheLastCloseClosesIt) {
  Backend backend(host.get(), driver);
  Device *one = nullptr, *other = nullptr;
  ASSERT_EQ(backend.device_open(0, one), 0);
  ASSERT_EQ(backend.device_open(0, other), 0);
  EXPECT_EQ(one, other);
  const std::size_t open = driver.opened.size();
  backend.device_close(one);
  EXPECT_EQ(driver.opened.size(), open);
  backend.device_close(other);
  EXPECT_EQ(driver.opened.size(), open - 1);
}

}  // namespace
}  // namespace opennrt::neuron::test
