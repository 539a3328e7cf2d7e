// SPDX-License-Identifier: Apache-2.0
//
// What the driver does when it finds a device: configuration space, reset, identity, topology, all over the firmware's
// mailbox.
#include "tests/unit/chip/driver.h"

namespace opennrt::sim::test {
namespace {

constexpr std::uint32_t kId = 0x00, kCommand = 0x04, kRevision = 0x08, kExpansion = 0x28, kSubsystem = 0x2c;
constexpr std::uint32_t bar(std::uint32_t index) {
  return 0x10 + 4 * index;
}

TEST(Probe, givenConfigurationSpaceWhenItIsReadThenItIsAnInf1Device) {
  auto machine = power_on();
  EXPECT_EQ(machine->config_read(0, kId, 4), 0x7064'1d0fu);
  EXPECT_EQ(machine->config_read(0, kId, 2), 0x1d0fu);
  EXPECT_EQ(machine->config_read(0, kId + 2, 2), 0x7064u);
  EXPECT_EQ(machine->config_read(0, kRevision, 1), 0u);
  EXPECT_EQ(machine->config_read(0, kRevision + 2, 2), 0x0880u);
  EXPECT_EQ(machine->config_read(0, 0x0e, 1), 0u) << "header type 0, one function";
  EXPECT_EQ(machine->config_read(0, kExpansion, 4), 0u);
  EXPECT_EQ(machine->config_read(0, kSubsystem, 4), 0x7064'1d0fu);
  EXPECT_EQ(machine->config_read(0, 0x34, 1), 0u) << "no capabilities";
  EXPECT_EQ(machine->config_read(0, 0x3d, 1), 0u) << "no interrupt";
  machine->config_write(0, kId, 0, 4);
  EXPECT_EQ(machine->config_read(0, kId, 4), 0x7064'1d0fu) << "read only";
  machine->config_write(0, kCommand, 0xffff, 2);
  EXPECT_EQ(machine->config_read(0, kCommand, 2), 6u) << "memory space and bus master";
  EXPECT_EQ(machine->config_read(0, 0x101, 4), 0xffff'ffffu);
  EXPECT_EQ(machine->config_read(0, 2, 4), 0xffff'ffffu) << "not aligned";
  EXPECT_EQ(machine->config_read(1, kId, 2), 0xffffu) << "no such device";
}

TEST(Probe, givenBarsWhenTheyAreSizedThenEachHasItsSizeAndKeepsItsAddress) {
  auto machine = power_on();
  const std::uint32_t sizes[6] = {16u << 20, 0, 256u << 20, 0, 512u << 20, 0};
  for (std::uint32_t i = 0; i < 6; ++i) {
    machine->config_write(0, bar(i), 0xffff'ffff, 4);
    EXPECT_EQ(~machine->config_read(0, bar(i), 4) + 1, sizes[i]) << "BAR" << i;
    if (sizes[i] == 0) continue;
    machine->config_write(0, bar(i), 0xc000'0000u | i, 4);
    EXPECT_EQ(machine->config_read(0, bar(i), 4), 0xc000'0000u);
    machine->config_write(0, bar(i) + 3, 0xe0, 1);
    EXPECT_EQ(machine->config_read(0, bar(i), 4), 0xe000'0000u);
  }
}

TEST(Probe, givenARevisionWhenThePowerGoesOnThenTheDriverCanChooseItsPatience) {
  for (const std::uint8_t revision : {inf1::kPciRevisionQemu, inf1::kPciRevisionEmulator, std::uint8_t{0}}) {
    MachineConfig settings = config();
    settings.pci_revision = revision;
    auto machine = power_on(settings);
    EXPECT_EQ(machine->config_read(0, kRevision, 1), revision);
    EXPECT_EQ(machine->facts().pci_revision, revision);
  }
}

TEST(Probe, givenADeviceResetWhenTheDriverLooksAfterItsDelayThenTheDeviceIsReadyAndFresh) {
  auto machine = power_on();
  Driver driver(*machine);
  driver.firmware().write(inf1::kFwDeviceId, 9);
  EXPECT_EQ(driver.misc(inf1::kFwDeviceId), 9u);
  machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, 3, 7), 5);
  machine->bar_write(0, 4, 0x1000, 77);
  const std::uint64_t begin = machine->now_ns();

  driver.firmware().write(inf1::kFwReset, inf1::kFwResetDevice);
  driver.firmware().write(inf1::kFwDoorbell, 1);
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + inf1::kFwStatus), 0u) << "not ready";
  EXPECT_EQ(machine->bar_read(0, 0, inf1::udma_base(0)), 0xffff'ffffu) << "registers are in reset, too";
  EXPECT_EQ(machine->bar_read(0, 2, inf1::kSemaphoreRead), 0xffff'ffffu);
  EXPECT_EQ(driver.firmware().read({inf1::kApbBase + inf1::kMiscRam}), std::nullopt) << "firmware does not answer";
  driver.sleep(4900 * kMillisecond);
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + inf1::kFwStatus), 0u) << "6 s have not gone by";
  driver.sleep(begin + Driver::kDeviceResetDelay - machine->now_ns());
  EXPECT_EQ(driver.misc(inf1::kFwReset), 0u);
  EXPECT_EQ(driver.misc(inf1::kFwStatus), inf1::kFwReady);
  EXPECT_EQ(driver.misc(inf1::kFwDeviceId), 0u) << "a reset of the device wipes its id out";
  EXPECT_EQ(driver.read2(semaphore(inf1::kSemaphoreRead, 3, 7)), 0u);
  EXPECT_EQ(driver.read(0x1000), 77u) << "DRAM keeps its bytes";
  EXPECT_TRUE(driver.reset(true, 0));
}

TEST(Probe, givenACoreResetWhenItsMapNamesSomeThenOnlyTheyAreReset) {
  auto machine = power_on();
  Driver driver(*machine);
  for (std::uint32_t core = 0; core < 4; ++core) {
    machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, core, 0), core + 1);
  }
  driver.firmware().write(inf1::kFwDeviceId, 4);
  EXPECT_TRUE(driver.reset(false, 0b0110));
  const std::uint32_t expected[] = {1, 0, 0, 4};
  for (std::uint32_t core = 0; core < 4; ++core) {
    EXPECT_EQ(driver.read2(semaphore(inf1::kSemaphoreRead, core, 0)), expected[core]) << "core " << core;
  }
  // What the driver of this generation asks for: the handshake, and nobody is reset.
  EXPECT_TRUE(driver.reset(false, 0));
  EXPECT_EQ(driver.read2(semaphore(inf1::kSemaphoreRead, 0, 0)), 1u);
}

TEST(Probe, givenACoreInResetWhenDmaNamesItThenTheQueueAbortsAndTheOthersGoOn) {
  auto machine = power_on();
  Driver driver(*machine);
  HostBuffer buffer(*machine, 64);
  Queue queue(*machine, 0, 0);
  driver.firmware().write(inf1::kFwResetCores, 1 << 2);
  driver.firmware().write(inf1::kFwReset, inf1::kFwResetByMap);
  driver.firmware().write(inf1::kFwDoorbell, 1);
  queue.copy(buffer.address(), 0x1000, 64);
  EXPECT_EQ(queue.run(kMillisecond), Ran::kConditionMet);
  queue.copy(buffer.address(), sbuf_address(2, 0), 64);
  EXPECT_NE(queue.run(kMillisecond), Ran::kConditionMet);
  EXPECT_EQ(queue.reg(false, inf1::kQStatus) & 0xff,
            static_cast<std::uint32_t>(inf1::chosen::DmaAbortReason::kWriteAddress));
}

TEST(Probe, givenManyRegistersWhenTheyAreReadInOneRequestThenEachHasItsValue) {
  auto machine = power_on();
  Driver driver(*machine);
  std::vector<std::uint64_t> addresses;
  for (std::uint32_t i = 0; i < 100; ++i) {  // the driver's most
    machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, i % 4, i / 4 % 32), 1000 + i);
    addresses.push_back(inf1::kTpbBase + semaphore(inf1::kSemaphoreRead, i % 4, i / 4 % 32));
  }
  const auto values = driver.firmware().read(addresses);
  ASSERT_TRUE(values.has_value());
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ((*values)[i], 1000 + i);
  EXPECT_EQ(driver.read(0x30'0000'0000ull), 0xffff'ffffu) << "nobody answers there";
  EXPECT_EQ(driver.read0(0x7f'0000), 0xffff'ffffu);
  EXPECT_EQ(driver.read(inf1::kEastBase | inf1::kApbBase | inf1::kMiscRam), 0xffff'ffffu) << "no neighbour";
}

TEST(Probe, givenRequestsThatAreWrongWhenTheyAreServedThenTheyFailAndTheNextOneIsServed) {
  auto machine = power_on();
  Driver driver(*machine);
  const std::uint64_t address = inf1::kApbBase + inf1::kMiscRam;
  const auto expect = [&](std::optional<FirmwareClient::Answer> answer, std::uint8_t error) {
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->error, error);
    EXPECT_EQ(answer->data.size(), 0u);
  };
  expect(driver.firmware().execute(inf1::kFwCommandRead, &address, 8, 1), inf1::kFwFailed);
  expect(driver.firmware().execute(inf1::kFwCommandRead, &address, 7), inf1::kFwFailed);
  expect(driver.firmware().execute(3, &address, 8), inf1::kFwUnknownCommand);
  const std::vector<std::byte> metrics(129);
  expect(driver.firmware().execute(inf1::kFwCommandMetrics, metrics.data(), 128), inf1::kFwOk);
  expect(driver.firmware().execute(inf1::kFwCommandMetrics, metrics.data(), 129), inf1::kFwFailed);
  EXPECT_EQ(driver.misc(inf1::kFwApiVersion), 3u);
  // A request or a response where no host memory is registered is not answered; the firmware lives on.
  for (const std::uint32_t word : {inf1::kFwRequestLow, inf1::kFwResponseLow}) {
    driver.firmware().write(inf1::kFwRequestHigh, inf1::kHostBase >> 32);
    driver.firmware().write(inf1::kFwResponseHigh, inf1::kHostBase >> 32);
    driver.firmware().write(word, 0x40);
    driver.firmware().write(inf1::kFwDoorbell, 1);
    driver.sleep(kMillisecond);
    EXPECT_EQ(driver.misc(inf1::kFwApiVersion), 3u);
  }
}

TEST(Probe, givenTheChecksumOfTheProtocolWhenItIsComputedThenItIsTheStandardOne) {
  const char digits[] = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits, 9))), 0xe306'9283u);  // the catalogue's check value of CRC-32C
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Probe, givenInstancesOf1And4And16ChipsWhenTheDriverAsksForTheTopologyThenItIsAChain) {
  for (const auto& [name, count] : {std::pair{"xlarge", 1u}, {"6xlarge", 4u}, {"24xlarge", 16u}}) {
    auto machine = power_on(config(name));
    std::vector<std::unique_ptr<Driver>> drivers;
    for (std::uint32_t d = 0; d < count; ++d) {
      drivers.push_back(std::make_unique<Driver>(*machine, d));
      drivers[d]->firmware().write(inf1::kFwDeviceId, d);
    }
    for (std::uint32_t d = 0; d < count; ++d) {
      const std::uint32_t status = drivers[d]->misc(inf1::kFwStatus);
      std::vector<std::uint32_t> connected;
      const std::uint64_t id = inf1::kApbBase + inf1::kMiscRam + inf1::kFwDeviceId;
      if (status & inf1::kFwEastLink) connected.push_back(drivers[d]->read(inf1::kEastBase | id));
      if (status & inf1::kFwWestLink) connected.push_back(drivers[d]->read(inf1::kWestBase | id));
      std::vector<std::uint32_t> expected;
      if (d + 1 < count) expected.push_back(d + 1);
      if (d > 0) expected.push_back(d - 1);
      EXPECT_EQ(connected, expected) << name << " device " << d;
      const std::uint64_t serial =
          drivers[d]->misc(inf1::kFwSerialLow) | std::uint64_t{drivers[d]->misc(inf1::kFwSerialHigh)} << 32;
      EXPECT_EQ(serial, 7'064'000u + d);
    }
  }
}

TEST(Probe, givenMemoryErrorsWhenTheyHappenThenTheyAreCountedAndTheUncorrectedOnesReported) {
  using enum inf1::chosen::ErrorNotification;
  auto machine = power_on();
  Driver driver(*machine);
  Notifications errors(*machine, 1, inf1::NotificationType::kError);
  for (int i = 0; i < 3; ++i) machine->memory_error(0, MemoryKind::kDram, 1, true);
  EXPECT_FALSE(errors.available());
  machine->memory_error(0, MemoryKind::kDram, 1, false);
  machine->memory_error(0, MemoryKind::kSram, 0, false);
  EXPECT_EQ(driver.misc(inf1::kFwEccDram), 0u);
  EXPECT_EQ(driver.misc(inf1::kFwEccDram + 4), 3u << 16 | 1u);
  EXPECT_EQ(driver.misc(inf1::kFwEccSram), 1u);
  ASSERT_TRUE(errors.available());
  auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(kDramUncorrectable));
  EXPECT_EQ(entry.value, 1u);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(kSramUncorrectable));
  EXPECT_TRUE(driver.reset(true, 0));
  EXPECT_EQ(driver.misc(inf1::kFwEccDram + 4), 3u << 16 | 1u) << "a reset heals no memory";
  driver.firmware().write(inf1::kFwEccSram, 0);
  EXPECT_EQ(driver.misc(inf1::kFwEccSram), 1u) << "read only";
  for (int i = 0; i < 70'000; ++i) machine->memory_error(0, MemoryKind::kSram, 0, true);
  EXPECT_EQ(driver.misc(inf1::kFwEccSram), 0xffff'0001u) << "the counter stops";
}

TEST(Probe, givenHostMemoryAtAddressesOfTheHostsChoiceWhenItIsRegisteredThenDmaFindsItThere) {
  auto machine = power_on();
  std::vector<std::byte> guest(0x3000);
  ASSERT_TRUE(machine->host_register_at(0x1000, guest.data(), 0x1000));
  ASSERT_TRUE(machine->host_register_at(0x2000, guest.data() + 0x1000, 0x1000)) << "ranges may touch";
  EXPECT_FALSE(machine->host_register_at(0x2fff, guest.data(), 1)) << "taken";
  EXPECT_FALSE(machine->host_register_at(0, guest.data(), 0x1001)) << "overlaps";
  EXPECT_FALSE(machine->host_register_at(0x8000, guest.data(), 0));
  EXPECT_FALSE(machine->host_register_at(0x3fff'ffff'f000, guest.data(), 0x1001)) << "beyond bit 46";
  guest[0x1234] = std::byte{7};
  Queue queue(*machine, 0, 0);
  queue.copy(inf1::kHostBase | 0x2234, inf1::kHostBase | 0x1008, 1);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(guest[8], std::byte{7});
  machine->host_unregister(0x1000);
  machine->host_unregister(0x2000);
  queue.copy(inf1::kHostBase | 0x2234, inf1::kHostBase | 0x1008, 1);
  EXPECT_NE(queue.run(), Ran::kConditionMet);
}

}  // namespace
}  // namespace opennrt::sim::test
