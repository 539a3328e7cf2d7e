// SPDX-License-Identifier: Apache-2.0
//
// Notification queues, semaphores and events of every core as the driver sets them up and works them.
#include "tests/unit/chip/driver.h"

namespace opennrt::sim::test {
namespace {

using inf1::NotificationType;
using isa::Instruction;
using isa::Opcode;

constexpr std::uint32_t kEntries = 8, kBytes = kEntries * sizeof(inf1::chosen::Notification);

Instruction notify(std::uint32_t value) {
  Instruction i;
  i.opcode = Opcode::kNotify;
  i.immediate_u32 = value;
  return i;
}

class Notify : public testing::Test {
 protected:
  const inf1::chosen::Notification& entry(HostBuffer& ring, std::uint32_t index) {
    return ring.as<inf1::chosen::Notification>()[index];
  }
  std::uint32_t head(std::uint32_t core, NotificationType type, std::uint32_t engine) {
    return driver_.read0(Driver::notification_register(core, type, engine) + inf1::kNqHeadAfterBaseLow);
  }
  /// Runs instructions on an engine of a core to their end.
  void run(std::uint32_t core, isa::Engine engine, const std::vector<Instruction>& instructions) {
    code_.emplace_back(*machine_, instructions);
    Queue queue(*machine_, core * 3, 0, 128);
    code_.back().send(queue, core, engine);
    ASSERT_EQ(queue.run(), Ran::kConditionMet);
    driver_.sleep(kMillisecond);
  }

  std::unique_ptr<Machine> machine_ = power_on();
  Driver driver_{*machine_};
  std::vector<Code> code_;
};

TEST_F(Notify, givenEveryCoreTypeAndEngineWhenAQueueIsSetUpThenItsEntriesAndItsHeadAreItsOwn) {
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    for (std::uint32_t engine = 0; engine < inf1::kNotificationEngines; ++engine) {
      HostBuffer trace(*machine_, kBytes), explicit_(*machine_, kBytes);
      driver_.set_notifications(core, NotificationType::kTrace, engine, trace.address(), kBytes);
      driver_.set_notifications(core, NotificationType::kNotify, engine, explicit_.address(), kBytes);
      const std::uint64_t at = Driver::notification_register(core, NotificationType::kNotify, engine);
      EXPECT_EQ(driver_.read0(at) | std::uint64_t{driver_.read0(at + 4)} << 32, explicit_.address());
      EXPECT_EQ(driver_.read0(at + 8), kBytes);
      if (engine < isa::kEngines) {  // the fourth has no instructions
        const std::uint32_t value = 100 * core + engine;
        run(core, static_cast<isa::Engine>(engine), {notify(value)});
        EXPECT_EQ(entry(explicit_, 0).value, value);
        EXPECT_EQ(entry(explicit_, 0).phase, 1);
        EXPECT_EQ(entry(explicit_, 0).engine, engine);
        EXPECT_EQ(entry(explicit_, 0).type, static_cast<std::uint8_t>(NotificationType::kNotify));
        EXPECT_EQ(entry(explicit_, 1).phase, 0);
        EXPECT_EQ(entry(trace, 1).code, static_cast<std::uint8_t>(inf1::chosen::TraceCode::kRetired));
        EXPECT_EQ(head(core, NotificationType::kNotify, engine), 1u);
        EXPECT_EQ(head(core, NotificationType::kTrace, engine), 2u);  // start and retirement
      }
      driver_.set_notifications(core, NotificationType::kTrace, engine, 0, 0);
      driver_.set_notifications(core, NotificationType::kNotify, engine, 0, 0);
      EXPECT_EQ(head(core, NotificationType::kNotify, engine), 0u);
    }
    HostBuffer events(*machine_, kBytes), errors(*machine_, kBytes);
    driver_.set_notifications(core, NotificationType::kEvent, 0, events.address(), kBytes);
    driver_.set_notifications(core, NotificationType::kError, 0, errors.address(), kBytes);
    Instruction set;
    set.opcode = Opcode::kEventSet;
    set.immediate_u32 = 10 + core;
    run(core, isa::Engine::kAct, {set, set});
    EXPECT_EQ(entry(events, 0).value, 10 + core);
    EXPECT_EQ(head(core, NotificationType::kEvent, 0), 1u);
    EXPECT_EQ(entry(errors, 0).code, static_cast<std::uint8_t>(inf1::chosen::ErrorNotification::kEvent));
    EXPECT_EQ(head(core, NotificationType::kError, 0), 1u);
    driver_.set_notifications(core, NotificationType::kEvent, 0, 0, 0);
    driver_.set_notifications(core, NotificationType::kError, 0, 0, 0);
  }
}

// A reader that only knows the public driver's registers never says how far it has come.
TEST_F(Notify, givenAReaderThatNeverWritesTheConsumedRegisterWhenTheRingIsFullThenItGoesOnOverTheOldest) {
  HostBuffer ring(*machine_, kBytes), errors(*machine_, kBytes);
  driver_.set_notifications(1, NotificationType::kNotify, 2, ring.address(), kBytes);
  driver_.set_notifications(1, NotificationType::kError, 0, errors.address(), kBytes);
  std::vector<Instruction> program;
  for (std::uint32_t i = 0; i < 3 * kEntries + 2; ++i) program.push_back(notify(i));
  run(1, isa::Engine::kPool, program);
  for (std::uint32_t i = 0; i < kEntries; ++i) {
    EXPECT_EQ(entry(ring, i).value, i < 2 ? 3 * kEntries + i : 2 * kEntries + i);
    EXPECT_EQ(entry(ring, i).phase, i < 2 ? 0 : 1) << "fourth and third pass";
  }
  EXPECT_EQ(head(1, NotificationType::kNotify, 2), 2u);
  EXPECT_EQ(head(1, NotificationType::kError, 0), 0u) << "nothing was lost that anybody had asked to keep";
  // From the first time that it is written, nothing is overwritten any more.
  machine_->bar_write(
      0, 0, Driver::notification_register(1, NotificationType::kNotify, 2) + inf1::chosen::kNqConsumedAfterBaseLow,
      3 * kEntries + 2);
  run(1, isa::Engine::kPool, {program.begin(), program.begin() + kEntries + 1});
  EXPECT_EQ(entry(ring, 2).value, 0u);
  EXPECT_EQ(entry(ring, 1).value, kEntries - 1);
  EXPECT_EQ(entry(errors, 0).code, static_cast<std::uint8_t>(inf1::chosen::ErrorNotification::kQueueOverflow));
}

TEST_F(Notify, givenAQueueInDramWhenEntriesComeThenTheyAreThere) {
  driver_.set_notifications(3, NotificationType::kNotify, 0, inf1::kDramChannelBase[1] + 0x4000, kBytes);
  run(3, isa::Engine::kPe, {notify(0xcafe)});
  EXPECT_EQ(driver_.read(inf1::kDramChannelBase[1] + 0x4004), 0xcafeu);
}

TEST_F(Notify, givenAQueueWhereNobodyAnswersWhenAnEntryComesThenItIsLostAndTheEngineGoesOn) {
  driver_.set_notifications(3, NotificationType::kNotify, 0, inf1::kHostBase | 0x10, kBytes);
  run(3, isa::Engine::kPe, {notify(1)});
  EXPECT_EQ(head(3, NotificationType::kNotify, 0), 0u);
  HostBuffer ring(*machine_, kBytes);
  driver_.set_notifications(3, NotificationType::kNotify, 0, ring.address(), kBytes);
  run(3, isa::Engine::kPe, {notify(2)});
  EXPECT_EQ(entry(ring, 0).value, 2u);
}

// neuron_core.c: nc_semaphore_*, nc_event_*.
TEST_F(Notify, givenEverySemaphoreOfEveryCoreWhenTheDriverWorksItThenItCountsForItselfAlone) {
  const auto write = [&](std::uint64_t block, std::uint32_t core, std::uint32_t index, std::uint32_t value) {
    machine_->bar_write(0, 2, semaphore(block, core, index), value);
  };
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    for (std::uint32_t i = 0; i < inf1::kSemaphores; ++i) {
      write(inf1::kSemaphoreSet, core, i, 1000 * core + 10 * i + 5);
      write(inf1::kSemaphoreIncrement, core, i, 4);
      write(inf1::kSemaphoreDecrement, core, i, 2);
    }
  }
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    for (std::uint32_t i = 0; i < inf1::kSemaphores; ++i) {
      ASSERT_EQ(driver_.read2(semaphore(inf1::kSemaphoreRead, core, i)), 1000 * core + 10 * i + 7);
    }
  }
}

TEST_F(Notify, givenEveryEventOfEveryCoreWhenTheDriverSetsItThenItIsSetForItselfAlone) {
  const auto at = [](std::uint32_t core, std::uint32_t event) {
    return core * inf1::kCoreWindow + inf1::kEventOffset + 4 * event;
  };
  const auto wanted = [](std::uint32_t core, std::uint32_t event) { return (event * 7 + core) % 3 == 0 ? 1u : 0u; };
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    for (std::uint32_t i = 0; i < inf1::kEvents; ++i) machine_->bar_write(0, 2, at(core, i), 1);
    for (std::uint32_t i = 0; i < inf1::kEvents; ++i) machine_->bar_write(0, 2, at(core, i), wanted(core, i));
  }
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    for (std::uint32_t i = 0; i < inf1::kEvents; ++i) ASSERT_EQ(driver_.read2(at(core, i)), wanted(core, i));
  }
}

}  // namespace
}  // namespace opennrt::sim::test
