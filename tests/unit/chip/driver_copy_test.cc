// SPDX-License-Identifier: Apache-2.0
//
// The driver's copies between host and device: every core and channel, descriptors of 64 KiB, rings that wrap, the
// marker that it spins on, and its time-outs on silicon.
#include "tests/unit/chip/driver.h"

namespace opennrt::sim::test {
namespace {

class Copy : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(driver_.reset(true, 0));
    for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerDevice; ++e) driver_.init_engine(e);
  }
  CopyQueue own_ring(std::uint32_t core) { return {driver_, inf1::h2t_engine(core), inf1::kH2tQueue}; }

  std::unique_ptr<Machine> machine_ = power_on();
  Driver driver_{*machine_};
};

TEST_F(Copy, givenEveryCoreAndChannelWhenABufferGoesThereAndBackThenItIsTheSame) {
  constexpr std::uint64_t kBytes = 5 * 65536 + 4321;
  HostBuffer from(*machine_, kBytes), to(*machine_, kBytes);
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    CopyQueue ring = own_ring(core);
    for (const std::uint64_t base : inf1::kDramChannelBase) {
      // The last bytes of the channel, through both ports.
      for (const std::uint64_t port : {std::uint64_t{0}, inf1::kPort1}) {
        const std::uint64_t dram = (base + inf1::kDramChannelSize - kBytes) | port;
        from.fill(static_cast<std::uint32_t>(core * 8 + (base != 0 ? 4 : 0) + (port != 0 ? 1 : 0)));
        ASSERT_TRUE(ring.copy(from.address(), dram, kBytes)) << machine_->describe_core(0, core);
        ASSERT_TRUE(ring.copy(dram, to.address(), kBytes)) << machine_->describe_core(0, core);
        ASSERT_EQ(std::memcmp(from.data(), to.data(), kBytes), 0) << "core " << core << " at " << dram;
      }
      ASSERT_TRUE(ring.copy(from.address(), base + inf1::kDramChannelSize - 4, 4));
      EXPECT_EQ(driver_.read(base + inf1::kDramChannelSize - 4), *from.as<std::uint32_t>());
    }
  }
}

TEST_F(Copy, givenACopyOf256MegabytesWhenItNeedsSeveralBatchesThenEachEndsInItsTime) {
  constexpr std::uint64_t kBytes = 256ull << 20;  // 4096 descriptors of 64 KiB, three batches
  CopyQueue ring = own_ring(1);
  HostBuffer mark(*machine_, 65536), back(*machine_, 65536);
  mark.fill(3);
  ASSERT_TRUE(ring.copy(mark.address(), kBytes - 65536, 65536));
  const std::uint64_t begin = machine_->now_ns();
  ASSERT_TRUE(ring.copy(0, inf1::kDramChannelBase[1], kBytes));
  EXPECT_NEAR(static_cast<double>(machine_->now_ns() - begin), 4096 * 16'000.0, 4096 * 160.0);  // 16 us each
  ASSERT_TRUE(ring.copy(inf1::kDramChannelBase[1] + kBytes - 65536, back.address(), 65536));
  EXPECT_EQ(std::memcmp(mark.data(), back.data(), 65536), 0);
}

TEST_F(Copy, givenManySmallDescriptorsWhenTheRingWrapsFiveTimesThenEveryRingIdIsFollowed) {
  constexpr std::uint32_t kPiece = 8, kBytes = 60'000;
  HostBuffer from(*machine_, kBytes), to(*machine_, kBytes);
  CopyQueue ring = own_ring(2);
  std::uint32_t descriptors = 0;
  for (std::uint32_t round = 0; round < 6; ++round) {
    from.fill(round);
    ASSERT_TRUE(ring.copy(from.address(), to.address(), kBytes, kPiece)) << machine_->describe_core(0, 2);
    ASSERT_EQ(std::memcmp(from.data(), to.data(), kBytes), 0) << "round " << round;
    descriptors +=
        kBytes / kPiece + (kBytes / kPiece + Driver::kDescriptorsPerBatch) / (Driver::kDescriptorsPerBatch + 1);
  }
  EXPECT_EQ(ring.next(), descriptors % Driver::kCopyDescriptors);
  EXPECT_GE(descriptors / Driver::kCopyDescriptors, 5u);
  for (const bool tx : {true, false}) {
    EXPECT_EQ(driver_.read0(ring.reg(tx, inf1::kQHead)), ring.next() | ring.id() << 30);
    EXPECT_EQ(driver_.read0(ring.reg(tx, inf1::kQTail)), ring.next() | ring.id() << 30);
    EXPECT_EQ(driver_.read0(ring.reg(tx, inf1::kQLength)), Driver::kCopyDescriptors);
  }
}

TEST_F(Copy, givenOneKilobyteWhenItIsSetAllOverAMegabyteThenTheSourceMayStayWhereItIs) {
  // ndma_memset: the first 64 KiB from the host, the rest from those, within the device.
  HostBuffer pattern(*machine_, 65536), back(*machine_, 1 << 20);
  std::memset(pattern.data(), 0x5a, pattern.size());
  CopyQueue ring = own_ring(0);
  ASSERT_TRUE(ring.copy(pattern.address(), 0x10'0000, 65536));
  for (std::uint32_t i = 1; i < 16; ++i) ring.put(0x10'0000, 0x10'0000 + i * 65536ull, 65536, i == 15);
  ASSERT_TRUE(ring.finish(15));
  ASSERT_TRUE(ring.copy(0x10'0000, back.address(), back.size()));
  for (const std::byte byte : std::span(back.data(), back.size())) ASSERT_EQ(byte, std::byte{0x5a});
}

TEST_F(Copy, givenMemoryThatIsNotRegisteredWhenItIsCopiedThenTheMarkerNeverComesAndANewRingHealsIt) {
  CopyQueue ring = own_ring(3);
  HostBuffer buffer(*machine_, 64);
  EXPECT_FALSE(ring.copy(inf1::kHostBase | 0x10, 0x1000, 64));
  EXPECT_EQ(driver_.read0(inf1::udma_base(11) + inf1::kM2sState), inf1::kUdmaStateAbort);
  EXPECT_EQ(driver_.read0(inf1::udma_base(11) + inf1::kM2sErrors), inf1::kM2sDataBus);
  ring.init();
  EXPECT_TRUE(ring.copy(buffer.address(), 0x1000, 64));
  EXPECT_EQ(driver_.read0(inf1::udma_base(11) + inf1::kM2sState), 0u);
}

TEST_F(Copy, givenSbufAndPsumWhenEveryCoreCopiesThereThenItsOwnWindowHasTheBytes) {
  HostBuffer from(*machine_, 1024);
  for (std::uint32_t core = 0; core < inf1::kCoresPerDevice; ++core) {
    from.fill(core + 1);
    CopyQueue ring = own_ring(core);
    const std::uint64_t psum =
        inf1::core_base(core) + inf1::chosen::kPsumOffset + 127 * inf1::chosen::kPsumPartitionStride;
    ASSERT_TRUE(ring.copy(from.address(), sbuf_address(core, 127, 80 * 1024 - 1024), 1024));
    ASSERT_TRUE(ring.copy(from.address(4), psum + 16 * 1024 - 1020, 1020));
    EXPECT_EQ(driver_.read(sbuf_address(core, 127, 80 * 1024 - 4)), *from.as<std::uint32_t>(1020));
    EXPECT_EQ(driver_.read(psum + 16 * 1024 - 4), *from.as<std::uint32_t>(1020));
  }
}

TEST(Neighbour, givenAChainOfChipsWhenDataGoesEastAndWestThenItIsInTheNeighboursMemory) {
  auto machine = power_on(config("6xlarge"));
  Driver first(*machine, 0), second(*machine, 1);
  HostBuffer from(*machine, 65536), to(*machine, 65536);
  from.fill(8);
  CopyQueue east(first, 2, 15), west(second, 2, 15);
  const std::uint64_t dram = inf1::kDramChannelBase[1] + 0x5000;
  ASSERT_TRUE(east.copy(from.address(), inf1::kEastBase | dram, 65536));
  EXPECT_EQ(second.read(dram + 64), *from.as<std::uint32_t>(64));
  EXPECT_EQ(first.read(dram + 64), 0u);
  ASSERT_TRUE(west.copy(dram, inf1::kWestBase | 0x9000, 65536));
  ASSERT_TRUE(east.copy(0x9000, to.address(), 65536));
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 65536), 0);
  // A semaphore of the neighbour, as one chip tells another that data has arrived.
  *from.as<std::uint32_t>() = 3;
  ASSERT_TRUE(east.copy(from.address(), inf1::kEastBase | (inf1::core_base(2) + inf1::kSemaphoreIncrement + 4 * 5), 4));
  EXPECT_EQ(second.read2(semaphore(inf1::kSemaphoreRead, 2, 5)), 3u);
  EXPECT_FALSE(east.copy(from.address(), inf1::kWestBase | dram, 64)) << "the chain begins here";
}

TEST(Neighbour, givenManyQueuesWhenTheyAllGoEastThenTheLinkIsTheLimit) {
  auto machine = power_on(config("6xlarge"));
  std::vector<std::unique_ptr<Queue>> queues;
  for (std::uint32_t q = 0; q < 8; ++q) {
    queues.push_back(std::make_unique<Queue>(*machine, q, 0));
    for (std::uint32_t i = 0; i < 16; ++i) {
      queues[q]->copy(q * 0x100'0000ull + i * 65536, inf1::kEastBase | (q * 0x100'0000ull + i * 65536), 65536);
    }
    queues[q]->mark();
    queues[q]->doorbell();
  }
  for (auto& queue : queues) {
    ASSERT_EQ(machine->run_until([&] { return queue->marked(); }, kSecond), Ran::kConditionMet);
  }
  EXPECT_NEAR(8.0 * 16 * 65536 / static_cast<double>(machine->now_ns()), 8.59, 8.59 * 0.02);
}

}  // namespace
}  // namespace opennrt::sim::test
