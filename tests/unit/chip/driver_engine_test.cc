// SPDX-License-Identifier: Apache-2.0
//
// All 12 DMA engines and their 16 queues as the driver initialises, uses, stops and queries them.
#include "tests/unit/chip/driver.h"

namespace opennrt::sim::test {
namespace {

using inf1::kUdmaToAbort, inf1::kUdmaToDisabled, inf1::kUdmaToNormal;

class Engine : public testing::Test {
 protected:
  void SetUp() override {
    for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerDevice; ++e) driver_.init_engine(e);
  }
  void change_state(std::uint32_t engine, std::uint32_t to) {
    machine_->bar_write(0, 0, inf1::udma_base(engine) + inf1::kM2sChangeState, to);
    machine_->bar_write(0, 0, inf1::udma_base(engine) + inf1::kS2mChangeState, to);
  }
  std::uint32_t state(std::uint32_t engine, bool tx = true) {
    return driver_.read0(inf1::udma_base(engine) + (tx ? inf1::kM2sState : inf1::kS2mState));
  }

  std::unique_ptr<Machine> machine_ = power_on();
  Driver driver_{*machine_};
};

TEST_F(Engine, givenEveryEngineAndQueueWhenItsRingWrapsThenItCopiesAndItsStateIsAsTheDriverReadsIt) {
  HostBuffer from(*machine_, 65536), to(*machine_, 65536);
  for (std::uint32_t engine = 0; engine < inf1::kDmaEnginesPerDevice; ++engine) {
    for (std::uint32_t q = 0; q < inf1::kQueuesPerDmaEngine; ++q) {
      CopyQueue queue(driver_, engine, q, inf1::kRingMinDescriptors);
      from.fill(engine * 16 + q);
      const std::uint64_t dram = inf1::kDramChannelBase[q % 2] + (engine * 16 + q) * 65536ull;
      ASSERT_TRUE(queue.copy(from.address(), dram, 65536)) << "queue " << engine << "/" << q;
      ASSERT_TRUE(queue.copy(dram, to.address(), 65536, 1500))
          << "queue " << engine << "/" << q;  // 44 pieces: it wraps
      ASSERT_EQ(std::memcmp(from.data(), to.data(), 65536), 0) << "queue " << engine << "/" << q;
      // neuron_dma.c, NEURON_IOCTL_DMA_QUEUE_GET_STATE.
      for (const bool tx : {true, false}) {
        EXPECT_EQ(driver_.read0(queue.reg(tx, inf1::kQStatus)), 0u);
        EXPECT_EQ(driver_.read0(queue.reg(tx, inf1::kQLength)), inf1::kRingMinDescriptors);
        EXPECT_EQ(driver_.read0(queue.reg(tx, inf1::kQHead)), queue.next() | queue.id() << 30);
        EXPECT_EQ(driver_.read0(queue.reg(tx, inf1::kQTail)), queue.next() | queue.id() << 30);
        EXPECT_EQ(driver_.read0(queue.reg(tx, inf1::kQTailIncrement)), 0u);
      }
      EXPECT_NE(queue.id(), inf1::kInitialRingId);
    }
    EXPECT_EQ(state(engine), 0u);
  }
}

TEST_F(Engine, givenQueuesOfEveryCoreWhenAllRunAtOnceThenNoneSeesAnother) {
  std::vector<HostBuffer> from, to;
  std::vector<std::unique_ptr<Queue>> queues;
  for (std::uint32_t i = 0; i < inf1::kDmaEnginesPerDevice * inf1::kQueuesPerDmaEngine; ++i) {
    from.emplace_back(*machine_, 512);
    to.emplace_back(*machine_, 512);
    from.back().fill(i);
    queues.push_back(std::make_unique<Queue>(*machine_, i / 16, i % 16, 32));
    queues.back()->copy(from.back().address(), i * 0x1000, 512);
    queues.back()->copy(i * 0x1000, to.back().address(), 512);
    queues.back()->mark();
    queues.back()->doorbell();
  }
  for (std::size_t i = 0; i < queues.size(); ++i) {
    ASSERT_EQ(machine_->run_until([&] { return queues[i]->marked(); }, kSecond), Ran::kConditionMet) << i;
    ASSERT_EQ(std::memcmp(from[i].data(), to[i].data(), 512), 0) << i;
  }
}

TEST_F(Engine, givenAnEngineThatIsDisabledWhenTheDoorbellRingsThenItStartsWithNormal) {
  HostBuffer from(*machine_, 64), to(*machine_, 64);
  from.fill(1);
  Queue queue(*machine_, 4, 2), neighbour(*machine_, 5, 2);
  change_state(4, kUdmaToDisabled);
  queue.copy(from.address(), to.address(), 64);
  EXPECT_EQ(queue.run(kMillisecond), Ran::kIdle);
  EXPECT_EQ(state(4), 0u) << "idle";
  neighbour.copy(from.address(), 0x1000, 64);
  EXPECT_EQ(neighbour.run(), Ran::kConditionMet);
  change_state(4, kUdmaToNormal);
  EXPECT_EQ(machine_->run_until([&] { return queue.marked(); }, machine_->now_ns() + kSecond), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 64), 0);
}

TEST_F(Engine, givenAnEngineWhoseStateIsAbortWhenItIsMovingThenItStopsAtOnceAndNormalBeginsThePacketAgain) {
  HostBuffer from(*machine_, 65536), to(*machine_, 65536);
  from.fill(6);
  Queue queue(*machine_, 7, 0);
  queue.copy(from.address(), to.address(), 65536);
  queue.mark();
  queue.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + 5'000), Ran::kDeadline);
  EXPECT_EQ(machine_->bar_read(0, 0, inf1::udma_base(7) + inf1::kM2sState), inf1::kUdmaStateNormal) << "16 us of work";
  change_state(7, kUdmaToAbort);
  EXPECT_EQ(state(7, true), inf1::kUdmaStateAbort);
  EXPECT_EQ(state(7, false), inf1::kUdmaStateAbort);
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + kMillisecond), Ran::kIdle);
  EXPECT_EQ(to.data()[0], std::byte{0});
  change_state(7, kUdmaToNormal);
  ASSERT_EQ(machine_->run_until([&] { return queue.marked(); }, machine_->now_ns() + kSecond), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 65536), 0);
  EXPECT_EQ(state(7), 0u);
}

TEST_F(Engine, givenAQueueThatIsPausedWhenItIsMovingThenThePacketEndsAndNoOtherBegins) {
  HostBuffer from(*machine_, 65536), to(*machine_, 65536);
  from.fill(6);
  Queue queue(*machine_, 7, 0);
  queue.copy(from.address(), to.address(), 65536);
  queue.mark();
  queue.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + 5'000), Ran::kDeadline);
  for (const bool tx : {true, false}) machine_->bar_write(0, 0, queue.block(tx) + inf1::kQCfg, 3u << 24);
  EXPECT_EQ(machine_->run_until([&] { return queue.marked(); }, machine_->now_ns() + kMillisecond), Ran::kIdle);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 65536), 0);
  EXPECT_EQ(queue.reg(true, inf1::kQHead) & 0xff'ffff, 1u);
  EXPECT_EQ(queue.reg(true, inf1::kQTail) & 0xff'ffff, 2u);
}

TEST_F(Engine, givenErrorsWhenTheyStopAQueueThenTheEnginesCauseBitsSayWhichAndCanBeCleared) {
  HostBuffer buffer(*machine_, 4096);
  const auto causes = [&](std::uint32_t engine) {
    return std::pair{driver_.read0(inf1::udma_base(engine) + inf1::kM2sErrors),
                     driver_.read0(inf1::udma_base(engine) + inf1::kS2mErrors)};
  };
  const auto clear = [&](std::uint32_t engine) {
    machine_->bar_write(0, 0, inf1::udma_base(engine) + inf1::kM2sErrors, 0);
    machine_->bar_write(0, 0, inf1::udma_base(engine) + inf1::kS2mErrors, 0);
  };
  Queue queue(*machine_, 9, 4);
  EXPECT_EQ(causes(9), (std::pair{0u, 0u}));
  queue.copy(0x20'0000'0000ull, buffer.address(), 64);
  EXPECT_NE(queue.run(kMillisecond), Ran::kConditionMet);
  EXPECT_EQ(causes(9), (std::pair{inf1::kM2sDataBus, 0u}));
  clear(9);
  queue.init();
  queue.copy(buffer.address(), 0x20'0000'0000ull, 64);
  EXPECT_NE(queue.run(kMillisecond), Ran::kConditionMet);
  EXPECT_EQ(causes(9), (std::pair{0u, inf1::kS2mDataBus}));
  clear(9);
  queue.init();
  queue.id_error = 1;
  queue.copy(buffer.address(), 0x1000, 64);
  EXPECT_NE(queue.run(kMillisecond), Ran::kConditionMet);
  EXPECT_EQ(causes(9), (std::pair{inf1::kM2sRingId, 0u}));
  clear(9);
  queue.id_error = 0;
  queue.init();
  queue.descriptor(true, buffer.address(), 64, inf1::kDescLast);
  queue.doorbell();
  EXPECT_EQ(causes(9), (std::pair{inf1::kM2sFirst, 0u}));
  clear(9);
  queue.init();
  // A limit of the driver's choice: packets of at most 100 bytes.
  machine_->bar_write(0, 0, inf1::udma_base(9) + inf1::kM2sLengthCfg, 1u << 24 | 100);
  queue.copy(buffer.address(), 0x1000, 100);
  EXPECT_EQ(queue.run(), Ran::kConditionMet);
  queue.copy(buffer.address(), 0x1000, 101);
  EXPECT_NE(queue.run(kMillisecond), Ran::kConditionMet);
  EXPECT_EQ(causes(9), (std::pair{inf1::kM2sTooLong, 0u}));
  EXPECT_EQ(state(9), inf1::kUdmaStateAbort);
  clear(9);
  machine_->bar_write(0, 0, inf1::udma_base(9) + inf1::kM2sErrors + inf1::kErrorCauseSet, 1);
  EXPECT_EQ(causes(9).first, 1u);
}

TEST_F(Engine, givenCompletionRingsWhenPacketsEndThenEachDescriptorIsReportedWithItsRingId) {
  constexpr std::uint32_t kLength = inf1::kRingMinDescriptors;
  HostBuffer from(*machine_, 1024), done(*machine_, kLength * 16);
  Queue queue(*machine_, 3, 8, kLength);
  const std::uint64_t at = queue.block(false);
  machine_->bar_write(0, 0, at + inf1::kQCompletionLow, static_cast<std::uint32_t>(done.address()));
  machine_->bar_write(0, 0, at + inf1::kQCompletionHigh, static_cast<std::uint32_t>(done.address() >> 32));
  machine_->bar_write(0, 0, at + inf1::kS2mCompletionCfg, inf1::kCompletionEnable | 2);
  const auto control = [&](std::uint32_t index) { return *done.as<std::uint32_t>(index * 16); };
  queue.packet({{from.address(), 300}}, {{0x1000, 100}, {0x2000, 200}});
  ASSERT_EQ(queue.run(), Ran::kConditionMet);  // and the marker's
  EXPECT_EQ(control(0), 100u | 1u << 24 | inf1::kDescFirst);
  EXPECT_EQ(control(1), 200u | 1u << 24 | inf1::kDescLast);
  EXPECT_EQ(control(2), 4u | 1u << 24 | inf1::kDescFirst | inf1::kDescLast);
  EXPECT_EQ(control(3), 0u);
  EXPECT_EQ(driver_.read0(at + inf1::kQCompletionHead), 3u | 1u << 30);
  for (std::uint32_t i = 0; i < kLength - 1; ++i) queue.copy(from.address(), 0x3000, 8);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(control(0), 8u | 2u << 24 | inf1::kDescFirst | inf1::kDescLast) << "the next pass";
  EXPECT_EQ(driver_.read0(at + inf1::kQCompletionHead), 3u | 2u << 30);
}

TEST_F(Engine, givenTheTdmaWrapperWhenItIsConfiguredThenEveryEngineKeepsItsOwn) {
  for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerDevice; ++e) {
    const std::uint64_t tdma = e / 3 * inf1::kTdmaCoreStride + e % 3 * inf1::kTdmaEngineStride;
    EXPECT_EQ(driver_.read0(tdma + 0x1c), 1u);
    EXPECT_EQ(driver_.read0(tdma + 0x20), ~1u);
    EXPECT_EQ(driver_.read0(tdma), 1u);
    machine_->bar_write(0, 0, tdma + 0x20, e);
  }
  for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerDevice; ++e) {
    EXPECT_EQ(driver_.read0(e / 3 * inf1::kTdmaCoreStride + e % 3 * inf1::kTdmaEngineStride + 0x20), e);
  }
}

TEST_F(Engine, givenAProcessThatEndsWhenTheDriverGivesItsQueuesADummyRingThenTheyAreQuietAndUsable) {
  // neuron_ring.c, ndmar_handle_process_exit.
  HostBuffer dummy(*machine_, 64 * inf1::kDescriptorBytes), from(*machine_, 65536);
  Queue queue(*machine_, 6, 3);
  for (int i = 0; i < 8; ++i) queue.copy(from.address(), 0x1000, 65536);
  queue.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + 20'000), Ran::kDeadline);
  driver_.init_queue(6, 3, dummy.address(), dummy.address(), 64);
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + kMillisecond), Ran::kIdle);
  EXPECT_EQ(queue.reg(true, inf1::kQHead), inf1::kInitialRingId << 30);
  CopyQueue next(driver_, 6, 3, 64);
  EXPECT_TRUE(next.copy(from.address(), 0x1000, 65536));
}

}  // namespace
}  // namespace opennrt::sim::test
