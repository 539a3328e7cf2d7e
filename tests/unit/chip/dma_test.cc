// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/chip/testbench.h"

namespace opennrt::sim::test {
namespace {

constexpr std::uint64_t kChannel1 = inf1::kDramChannelBase[1];

class Dma : public testing::Test {
 protected:
  std::unique_ptr<Machine> machine_ = power_on();
};

TEST_F(Dma, givenABufferWhenItGoesToDramAndBackThenItIsTheSame) {
  for (const std::uint32_t bytes : {1u, 3u, 64u, 4096u, 65535u, 65536u}) {
    for (const std::uint64_t dram :
         {std::uint64_t{0x1000}, kChannel1 + 12345, inf1::kPort1 | std::uint64_t{0x7000'0000}}) {
      HostBuffer from(*machine_, bytes), to(*machine_, bytes);
      from.fill(bytes);
      Queue queue(*machine_, inf1::h2t_engine(1), inf1::kH2tQueue);
      queue.copy(from.address(), dram, bytes);
      queue.copy(dram, to.address(), bytes);
      ASSERT_EQ(queue.run(), Ran::kConditionMet) << machine_->describe_core(0, 1);
      ASSERT_EQ(std::memcmp(from.data(), to.data(), bytes), 0) << bytes << " bytes at " << dram;
    }
  }
}

TEST_F(Dma, givenPort1WhenItIsWrittenThenTheSameDramIsReadThroughPort0) {
  HostBuffer from(*machine_, 64);
  from.fill(5);
  Queue queue(*machine_, 0, 0);
  queue.copy(from.address(), inf1::kPort1 | kChannel1, 64);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  std::uint32_t expected;
  std::memcpy(&expected, from.data() + 8, 4);
  EXPECT_EQ(machine_->bar_read(0, 4, inf1::kDramChannelSize + 8), expected);
}

TEST_F(Dma, givenAPacketWhenItsSidesAreCutDifferentlyThenTheBytesFlowAsOneStream) {
  HostBuffer from(*machine_, 1000), to(*machine_, 1200);
  from.fill(1);
  Queue queue(*machine_, 0, 3);
  queue.packet({{from.address(0), 300}, {from.address(600), 400}, {from.address(300), 300}},
               {{to.address(200), 128}, {to.address(1000), 200}, {to.address(328), 672}});
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  std::vector<std::byte> stream;
  for (const auto& [at, n] : {std::pair{0, 300}, {600, 400}, {300, 300}}) {
    stream.insert(stream.end(), from.data() + at, from.data() + at + n);
  }
  EXPECT_EQ(std::memcmp(to.data() + 200, stream.data(), 128), 0);
  EXPECT_EQ(std::memcmp(to.data() + 1000, stream.data() + 128, 200), 0);
  EXPECT_EQ(std::memcmp(to.data() + 328, stream.data() + 328, 672), 0);
  EXPECT_EQ(to.data()[0], std::byte{0});
}

TEST_F(Dma, givenSbufPartitionsWhenTheyAreScatteredAndGatheredThenEveryByteIsInItsPlace) {
  HostBuffer from(*machine_, 128 * 64), to(*machine_, 128 * 64);
  from.fill(9);
  Queue queue(*machine_, 7, 2, 512);
  std::vector<Piece> partitions, tall;
  for (std::uint32_t p = 0; p < 128; ++p) partitions.push_back({sbuf_address(2, p, 80 * 1024 - 64), 64});
  queue.packet({{from.address(), 128 * 64}}, partitions);
  queue.packet(partitions, {{to.address(), 128 * 64}});
  ASSERT_EQ(queue.run(), Ran::kConditionMet) << machine_->describe_core(0, 2);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), from.size()), 0);
  std::uint32_t word;
  std::memcpy(&word, from.data() + 5 * 64, 4);
  EXPECT_EQ(machine_->bar_read(0, 2, sbuf_address(2, 5, 80 * 1024 - 64) - inf1::kTpbBase), word);
}

TEST_F(Dma, givenAShortRingWhenItWrapsManyTimesThenRingIdsAreFollowed) {
  HostBuffer from(*machine_, 4096), to(*machine_, 4096);
  Queue queue(*machine_, 4, 1, inf1::kRingMinDescriptors);
  for (std::uint32_t round = 0; round < 100; ++round) {
    from.fill(round);
    for (std::uint32_t i = 0; i < 8; ++i) queue.copy(from.address(i * 512), to.address(i * 512), 512);
    ASSERT_EQ(queue.run(), Ran::kConditionMet) << "round " << round;
    ASSERT_EQ(std::memcmp(from.data(), to.data(), 4096), 0) << "round " << round;
  }
  const std::uint32_t done = 100 * 9;
  EXPECT_EQ(queue.reg(true, inf1::kQHead), done % 32 | ((1 + done / 32) & 3) << 30);
  EXPECT_EQ(queue.reg(true, inf1::kQTail), queue.reg(true, inf1::kQHead));
  EXPECT_EQ(queue.reg(false, inf1::kQHead), queue.reg(true, inf1::kQHead));
}

TEST_F(Dma, givenAPacketThatLiesAcrossTheEndOfItsRingsWhenItRunsThenItsLaterDescriptorsHaveTheNextRingId) {
  HostBuffer from(*machine_, 4000), to(*machine_, 4000);
  Queue queue(*machine_, 4, 1, 32);
  for (std::uint32_t round = 0; round < 40; ++round) {
    from.fill(round);
    std::vector<Piece> source, destination;
    for (std::uint32_t i = 0; i < 10; ++i) source.push_back({from.address(i * 400), 400});
    for (std::uint32_t i = 0; i < 8; ++i) destination.push_back({to.address(i * 500), 500});
    queue.packet(source, destination);
    ASSERT_EQ(queue.run(), Ran::kConditionMet) << "round " << round << ": " << machine_->describe_core(0, 1);
    ASSERT_EQ(std::memcmp(from.data(), to.data(), 4000), 0) << "round " << round;
  }
}

TEST_F(Dma, givenARingWhenItIsFilledToTheLastDescriptorThenAllOfItRuns) {
  HostBuffer from(*machine_, 32 * 8), to(*machine_, 32 * 8);
  from.fill(3);
  Queue queue(*machine_, 4, 1, 32);
  for (std::uint32_t i = 0; i < 31; ++i) queue.copy(from.address(i * 8), to.address(i * 8), 8);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 31 * 8), 0);
}

void expect_abort(Machine& machine, Queue& queue, bool tx, inf1::chosen::DmaAbortReason reason, std::uint32_t value,
                  Notifications& errors) {
  EXPECT_EQ(queue.run(), Ran::kIdle);
  EXPECT_NE(queue.reg(tx, inf1::kQStatus) & inf1::chosen::kQStatusAbort, 0u);
  EXPECT_EQ(queue.reg(tx, inf1::kQStatus) & inf1::chosen::kQStatusReasonMask, static_cast<std::uint32_t>(reason));
  ASSERT_TRUE(errors.available()) << machine.describe_core(0, 0);
  const auto entry = errors.next();
  EXPECT_EQ(entry.type, static_cast<std::uint8_t>(inf1::NotificationType::kError));
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(inf1::chosen::ErrorNotification::kDmaAbort));
  EXPECT_EQ(entry.engine, 3);
  EXPECT_EQ(entry.value, value | (tx ? 0u : 1u << 16));
}

TEST_F(Dma, givenHostMemoryThatIsNotRegisteredWhenItIsReadThenTheQueueAbortsAndAResetHealsIt) {
  Notifications errors(*machine_, 0, inf1::NotificationType::kError);
  HostBuffer buffer(*machine_, 4096);
  Queue queue(*machine_, 1, 5), neighbour(*machine_, 1, 6);
  queue.copy(buffer.address(4000), 0x1000, 97);  // one byte too far
  expect_abort(*machine_, queue, true, inf1::chosen::DmaAbortReason::kReadAddress, 1 << 8 | 5, errors);
  EXPECT_NE(machine_->describe_core(0, 0).find("q 1/5 has aborted"), std::string::npos);
  buffer.fill(1);
  neighbour.copy(buffer.address(), 0x1000, 4096);
  EXPECT_EQ(neighbour.run(), Ran::kConditionMet);
  queue.init();
  queue.copy(0x1000, buffer.address(2048), 2048);
  EXPECT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(queue.reg(true, inf1::kQStatus), 0u);
  EXPECT_EQ(std::memcmp(buffer.data(), buffer.data() + 2048, 2048), 0);
}

TEST_F(Dma, givenBadDescriptorsWhenTheyAreFetchedThenEachAbortsWithItsReason) {
  using enum inf1::chosen::DmaAbortReason;
  Notifications errors(*machine_, 0, inf1::NotificationType::kError);
  HostBuffer buffer(*machine_, 4096);
  Queue queue(*machine_, 0, 0);
  queue.copy(buffer.address(), 0x20'0000'0000ull, 64);  // beyond both channels
  expect_abort(*machine_, queue, false, kWriteAddress, 0, errors);
  queue.init();
  queue.copy(buffer.address(), sbuf_address(0, 3, 80 * 1024 - 32), 64);  // over the end of a partition
  expect_abort(*machine_, queue, false, kWriteAddress, 0, errors);
  queue.init();
  queue.id_error = 1;
  queue.copy(buffer.address(), 0x1000, 64);
  expect_abort(*machine_, queue, true, kRingId, 0, errors);
  queue.id_error = 0;
  queue.init();
  queue.descriptor(false, 0x1000, 64, 0);
  queue.descriptor(true, buffer.address(), 64, inf1::kDescLast);  // no FIRST
  expect_abort(*machine_, queue, true, kDescriptor, 0, errors);
  queue.init();
  queue.descriptor(true, buffer.address(), 64, inf1::kDescFirst);
  queue.descriptor(true, buffer.address(), 64, inf1::kDescFirst | inf1::kDescLast);
  expect_abort(*machine_, queue, true, kDescriptor, 0, errors);
  queue.init();
  machine_->bar_write(0, 0, queue.block(true) + inf1::kQTailIncrement, 65);  // the ring has 64
  expect_abort(*machine_, queue, true, kRing, 0, errors);
  EXPECT_FALSE(errors.available());
}

TEST_F(Dma, givenAPacketOfMoreThan128DescriptorsWhenItIsFetchedThenTheQueueAborts) {
  Notifications errors(*machine_, 0, inf1::NotificationType::kError);
  HostBuffer buffer(*machine_, 4096), target(*machine_, 4096);
  Queue queue(*machine_, 0, 0, 256);
  std::vector<Piece> from;
  for (std::uint32_t i = 0; i < 128; ++i) from.push_back({buffer.address(i * 32), 32});
  buffer.fill(4);
  queue.packet(from, {{target.address(), 4096}});
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(buffer.data(), target.data(), 4096), 0);
  from.push_back({buffer.address(), 32});
  queue.init();
  queue.packet(from, {{target.address(), 4096}});
  expect_abort(*machine_, queue, true, inf1::chosen::DmaAbortReason::kDescriptor, 0, errors);
}

TEST_F(Dma, givenNoDestinationDescriptorsWhenTheSourceIsReadyThenTheQueueWaitsForThem) {
  HostBuffer from(*machine_, 64), to(*machine_, 64);
  from.fill(2);
  Queue queue(*machine_, 0, 0);
  queue.descriptor(true, from.address(), 64, inf1::kDescFirst | inf1::kDescLast);
  queue.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, 5000), Ran::kIdle);
  EXPECT_EQ(machine_->now_ns(), 5000u);
  EXPECT_NE(machine_->describe_core(0, 0).find("q 0/0 waits for destination descriptors"), std::string::npos)
      << machine_->describe_core(0, 0);
  queue.descriptor(false, to.address(), 64, 0);
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 64), 0);
}

TEST_F(Dma, givenABarrierWhenACopyDependsOnTheOneBeforeThenItSeesItsBytesAndCostsTime) {
  HostBuffer from(*machine_, 4096), to(*machine_, 4096);
  std::uint64_t took[2];
  for (const bool barrier : {false, true}) {
    from.fill(barrier ? 7 : 8);
    Queue queue(*machine_, 0, barrier ? 1 : 2);
    queue.copy(from.address(), 0x4000, 4096);
    queue.packet({{0x4000, 4096}}, {{to.address(), 4096}}, barrier);
    const std::uint64_t start = machine_->now_ns();
    ASSERT_EQ(queue.run(), Ran::kConditionMet);
    took[barrier] = machine_->now_ns() - start;
    EXPECT_EQ(std::memcmp(from.data(), to.data(), 4096), 0);
  }
  EXPECT_NEAR(static_cast<double>(took[1] - took[0]), 500.0, 1.0);  // dma.barrier_cost of the chip file
}

TEST_F(Dma, givenOneQueueWhenItStreamsThenItMovesAtItsPublishedRate) {
  constexpr std::uint32_t kDescriptors = 100;
  Queue queue(*machine_, 0, 0, 256);
  for (std::uint32_t i = 0; i < kDescriptors; ++i) queue.copy(i * 65536ull, kChannel1 + i * 65536ull, 65536);
  const std::uint64_t start = machine_->now_ns();
  ASSERT_EQ(queue.run(), Ran::kConditionMet);
  const double per_descriptor = static_cast<double>(machine_->now_ns() - start) / kDescriptors;
  EXPECT_NEAR(per_descriptor, 16000.0, 200.0);  // "64 KiB in about 16 us"
}

TEST_F(Dma, givenAllQueuesOfTheChipWhenTheyStreamFromOneChannelThenItsBandwidthIsTheLimit) {
  std::vector<std::unique_ptr<Queue>> queues;
  constexpr std::uint32_t kEach = 4;
  for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerDevice; ++e) {
    for (std::uint32_t q = 0; q < 4; ++q) {
      queues.push_back(std::make_unique<Queue>(*machine_, e, q));
      for (std::uint32_t i = 0; i < kEach; ++i) {
        queues.back()->copy(queues.size() * 0x100'0000ull + i * 65536, kChannel1 + queues.size() * 0x100'0000ull,
                            65536);
      }
      queues.back()->mark();
      queues.back()->doorbell();
    }
  }
  ASSERT_EQ(machine_->run_until(
                [&] {
                  for (auto& queue : queues) {
                    if (!queue->marked()) return false;
                  }
                  return true;
                },
                kSecond),
            Ran::kConditionMet);
  const double bytes = static_cast<double>(queues.size()) * kEach * 65536;
  EXPECT_NEAR(bytes / static_cast<double>(machine_->now_ns()), 26.84, 26.84 * 0.05);  // bytes per ns = GB/s
}

TEST_F(Dma, givenALinkToTheHostWhenManyQueuesUseItThenItsBandwidthIsTheLimit) {
  HostBuffer buffer(*machine_, 65536);
  std::vector<std::unique_ptr<Queue>> queues;
  for (std::uint32_t q = 0; q < 8; ++q) {
    queues.push_back(std::make_unique<Queue>(*machine_, q, 0));
    for (std::uint32_t i = 0; i < 16; ++i) queues[q]->copy(buffer.address(), q * 0x100'0000ull + i * 65536, 65536);
    queues[q]->mark();
    queues[q]->doorbell();
  }
  ASSERT_EQ(machine_->run_until(
                [&] {
                  for (auto& queue : queues) {
                    if (!queue->marked()) return false;
                  }
                  return true;
                },
                kSecond),
            Ran::kConditionMet);
  EXPECT_NEAR(8.0 * 16 * 65536 / static_cast<double>(machine_->now_ns()), 7.877, 7.877 * 0.02);
}

TEST_F(Dma, givenADisabledQueueWhenTheDoorbellRingsThenNothingMovesUntilItIsEnabled) {
  HostBuffer from(*machine_, 64), to(*machine_, 64);
  from.fill(2);
  Queue queue(*machine_, 3, 0);
  machine_->bar_write(0, 0, queue.block(true) + inf1::kQCfg, 0);
  queue.copy(from.address(), to.address(), 64);
  EXPECT_EQ(queue.run(1000), Ran::kIdle);
  EXPECT_EQ(to.data()[0], std::byte{0});
  machine_->bar_write(0, 0, queue.block(true) + inf1::kQCfg, inf1::kQCfgEnable);
  EXPECT_EQ(machine_->run_until([&] { return queue.marked(); }, kSecond), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 64), 0);
}

TEST_F(Dma, givenAnAddressNobodyHasWhenABarIsReadThenAllBitsAreSet) {
  EXPECT_EQ(machine_->bar_read(0, 0, 0x7f'0000), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(0, 2, 0x300'0000), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(0, 4, 2 * inf1::kDramChannelSize), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(0, 1, 0), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(7, 0, inf1::kMiscRam), 0xffff'ffffu);
  EXPECT_EQ(machine_->bar_read(0, 0, inf1::kMiscRam), 3u);               // API version
  EXPECT_EQ(machine_->bar_read(0, 0, inf1::kMiscRam + 0x1c), 1u << 31);  // device ready
}

}  // namespace
}  // namespace opennrt::sim::test
