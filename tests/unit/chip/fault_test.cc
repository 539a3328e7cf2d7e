// SPDX-License-Identifier: Apache-2.0
//
// Faults as the kernel driver sees them: ECC counters, links and firmware in registers, and what is counted as an event.
#include <gmock/gmock.h>

#include "core/faults/plan.h"
#include "tests/unit/chip/driver.h"

namespace opennrt::sim::test {
namespace {

using inf1::NotificationType;
using inf1::chosen::ErrorNotification;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int kInfo = 3;  ///< OPENNRT_LOG_INFO

class Fault : public testing::Test {
 protected:
  void start(const std::string& rules, const std::string& instance = "inf1.xlarge") {
    machine_.reset();
    MachineConfig settings = config(instance);
    auto plan = faults::parse_plan("{\"version\": 1, \"rules\": [" + rules + "]}", "test");
    ASSERT_TRUE(plan) << plan.error().message;
    settings.fault_plan = *plan;
    settings.log = [this](int level, const std::string& text) {
      if (level == kInfo) told_.push_back(text);
    };
    machine_ = power_on(settings);
  }
  std::uint32_t misc(std::uint32_t word, std::uint32_t device = 0) {
    return machine_->bar_read(device, 0, inf1::kMiscRam + word);
  }

  std::vector<std::string> told_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(Fault, givenAnUncorrectableDramErrorThenDataAndCounterShowItAndOnlyTheCoreThatReadItIsTold) {
  start(R"({"name": "u", "fault": "dram_uncorrectable", "when": {"nth": 2}, "detail": {"offset": 5, "bit": 3}},
           {"name": "c", "fault": "dram_correctable", "where": {"engine": "dma1"}, "times": 0})");
  Notifications errors(*machine_, 0, NotificationType::kError), others(*machine_, 1, NotificationType::kError);
  HostBuffer from(*machine_, 64), to(*machine_, 64);
  from.fill(1);
  Queue queue(*machine_, 1, 0);
  const std::uint64_t dram = inf1::kDramChannelBase[1] + 0x1000;
  queue.copy(from.address(), dram, 64);                               // reads no DRAM
  queue.copy(dram, to.address(), 64);                                 // event 1
  queue.packet({{dram, 32}, {dram + 32, 32}}, {{to.address(), 64}});  // events 2 and 3
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(misc(inf1::kFwEccDram + 4), 3u << 16 | 1u);
  EXPECT_EQ(misc(inf1::kFwEccDram), 0u);
  ASSERT_TRUE(errors.available());
  const auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(ErrorNotification::kDramUncorrectable));
  EXPECT_EQ(entry.value, 1u) << "channel";
  EXPECT_FALSE(others.available()) << "a core that did not read it";
  EXPECT_EQ(to.data()[5], from.data()[5] ^ std::byte{0x18});
  to.data()[5] = from.data()[5];
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 64), 0);
  EXPECT_EQ(told_.size(), 4u);
  EXPECT_THAT(told_, Contains(HasSubstr("rule 'u' (dram_uncorrectable) strikes at event 2 of device 0 core 0, ")));
  queue.copy(dram, to.address(), 64);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_NE(to.data()[5], from.data()[5]) << "what DRAM holds is damaged until it is written again";
}

TEST_F(Fault, givenTheLinkBetweenNeighboursIsDownThenBothEndsShowItDmaOverItAbortsAndItReturns) {
  start(
      R"({"name": "l", "fault": "link_down", "where": {"device": 0}, "when": {"nth": 2}, "detail": {"link": "east", "ns": 50000}})",
      "inf1.6xlarge");
  Notifications errors(*machine_, 0, NotificationType::kError);
  const std::uint32_t both = inf1::kFwEastLink | inf1::kFwWestLink;
  EXPECT_EQ(misc(inf1::kFwStatus, 0) & both, inf1::kFwEastLink);
  EXPECT_EQ(misc(inf1::kFwStatus, 1) & both, both);
  HostBuffer from(*machine_, 64);
  from.fill(1);
  Queue queue(*machine_, 0, 0), beside(*machine_, 0, 1), back(*machine_, 0, 0, 64, 1);
  queue.copy(from.address(), inf1::kEastBase | 0x1000, 64);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  queue.copy(from.address(), inf1::kEastBase | 0x1000, 64);
  EXPECT_NE(queue.run(1), Ran::kConditionMet);
  (void)machine_->run_until([&] { return errors.available(); }, machine_->now_ns() + 20'000);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kDmaAbort));
  EXPECT_EQ(misc(inf1::kFwStatus, 0) & both, 0u);
  EXPECT_EQ(misc(inf1::kFwStatus, 1) & both, inf1::kFwEastLink);
  beside.copy(from.address(), 0x1000, 64);
  EXPECT_EQ(beside.run(), Ran::kConditionMet) << "the chip's own memory is no affair of the link";
  (void)machine_->run_until([] { return false; }, machine_->now_ns() + 60'000);
  EXPECT_EQ(misc(inf1::kFwStatus, 0) & both, inf1::kFwEastLink);
  EXPECT_EQ(misc(inf1::kFwStatus, 1) & both, both);
  queue.init();
  queue.copy(from.address(), inf1::kEastBase | 0x1000, 64);
  EXPECT_EQ(queue.run(), Ran::kConditionMet);
  back.copy(from.address(), inf1::kWestBase | 0x2000, 64);
  EXPECT_EQ(back.run(), Ran::kConditionMet);
}

TEST_F(Fault, givenTheLinkToTheHostIsDownThenEverythingReadsAllOnesUntilTheDeviceIsReset) {
  start(R"({"name": "h", "fault": "link_down", "detail": {"link": "host"}})");
  HostBuffer from(*machine_, 64);
  Queue queue(*machine_, 0, 0);
  queue.copy(from.address(), 0x1000, 64);
  EXPECT_EQ(queue.run(), Ran::kIdle);
  EXPECT_EQ(misc(inf1::kFwStatus), 0xffff'ffffu);
  EXPECT_EQ(machine_->config_read(0, 0, 4), 0xffff'ffffu);
  machine_->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, 0, 3), 7);
  EXPECT_FALSE(machine_->reset_cores(0, 1)) << "nobody can be asked";
  EXPECT_TRUE(machine_->reset_cores(0, 0xffff'ffff));
  EXPECT_NE(misc(inf1::kFwStatus) & inf1::kFwReady, 0u);
  EXPECT_NE(machine_->config_read(0, 0, 4), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, 0, 3)), 0u) << "the write was lost";
  queue.init();
  queue.copy(from.address(), 0x1000, 64);
  EXPECT_EQ(queue.run(), Ran::kConditionMet);
}

TEST_F(Fault, givenASilentFirmwareThenRequestsAndResetsStayWithoutAnAnswerAsOftenAsAsked) {
  start(R"({"name": "f", "fault": "firmware_silent", "when": {"nth": 2}, "detail": {"requests": 3}})");
  Driver driver(*machine_);
  EXPECT_NE(driver.misc(inf1::kFwStatus) & inf1::kFwReady, 0u);
  const std::vector<std::uint64_t> address{inf1::kApbBase + inf1::kMiscRam + inf1::kFwStatus};
  EXPECT_FALSE(driver.firmware().read(address).has_value());
  EXPECT_FALSE(machine_->reset_cores(0, 1));
  driver.firmware().write(inf1::kFwReset, inf1::kFwResetDevice);
  driver.firmware().write(inf1::kFwDoorbell, 1);
  EXPECT_EQ(misc(inf1::kFwReset), inf1::kFwResetDevice) << "the driver sees that nobody has begun";
  machine_->bar_write(0, 0, inf1::kMiscRam + inf1::kFwReset, 0);
  EXPECT_TRUE(driver.firmware().read(address).has_value());
  EXPECT_TRUE(driver.reset(true, 0));
}

TEST_F(Fault, givenTheMachineIsPoweredOffAndOnWithTheSamePlanThenWhatHasStruckHasStruck) {
  const std::string rule = R"({"name": "once", "fault": "dma_abort"})";
  const auto copies = [&] {
    HostBuffer from(*machine_, 64);
    Queue queue(*machine_, 0, 0);
    queue.copy(from.address(), 0x1000, 64);
    return queue.run() == Ran::kConditionMet;
  };
  start(rule);
  EXPECT_FALSE(copies());
  start(rule);
  EXPECT_TRUE(copies());
  EXPECT_EQ(told_.size(), 1u);
  start(R"({"name": "another", "fault": "dma_abort"})");
  EXPECT_FALSE(copies());
  start(rule);
  EXPECT_FALSE(copies()) << "begun anew after another plan";
}

TEST_F(Fault, givenTheDriversOwnCopiesThenOnlyARuleThatNamesTheirQueueCountsThem) {
  const auto copies = [&] {
    HostBuffer from(*machine_, 64);
    Queue queue(*machine_, inf1::h2t_engine(0), inf1::kH2tQueue);
    queue.copy(from.address(), 0x1000, 64);
    return queue.run() == Ran::kConditionMet;
  };
  start(R"({"name": "programs", "fault": "dma_abort"})");
  EXPECT_TRUE(copies());
  start(fmt::format(R"({{"name": "copies", "fault": "dma_abort", "where": {{"queue": {}}}}})", inf1::kH2tQueue));
  EXPECT_FALSE(copies());
}

TEST_F(Fault, givenDetailsBeyondTheMemoriesThenNothingOutsideIsTouched) {
  start(
      R"({"name": "s", "fault": "sram_uncorrectable", "detail": {"memory": "psum", "partition": 127, "offset": 1048575, "bit": 7}},
           {"name": "d", "fault": "data_bit_flip", "where": {"queue": 1}, "detail": {"offset": 1000000, "bit": 7}},
           {"name": "n", "fault": "nan_produced", "detail": {"element": 1048575}})");
  Notifications errors(*machine_, 0, NotificationType::kError);
  isa::Instruction in;
  in.opcode = isa::Opcode::kMemset;
  in.partitions = 2;
  in.counts = {3, 1, 1, 1};
  in.dst.steps = {1, 0, 0, 0};
  in.dst.partition = 126;
  Code code(*machine_, {in});
  HostBuffer to(*machine_, 12);
  Queue queue(*machine_, 0, 0);
  code.send(queue, 0, isa::Engine::kPool);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  (void)machine_->run_until([] { return false; }, machine_->now_ns() + 1000);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kSramUncorrectable));
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kNumerical));
  Queue second(*machine_, 0, 1);
  second.copy(sbuf_address(0, 127), to.address(), 12);
  ASSERT_EQ(second.run(), Ran::kConditionMet);
  EXPECT_EQ(*to.as<std::uint32_t>(4), 0x80u) << "byte 1000000 modulo 12";
  EXPECT_EQ(*to.as<std::uint32_t>(8), 0x7fc0'0000u) << "the last element of the last partition";
  EXPECT_EQ(misc(inf1::kFwEccSram), 1u);
}

}  // namespace
}  // namespace opennrt::sim::test
