// SPDX-License-Identifier: Apache-2.0
//
// Memory, DMA, notifications, registers, reset and waiting over drivers of several releases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "tests/unit/neuron/fake_driver.h"

namespace opennrt::neuron::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Releases of the driver, oldest first.
enum class Release { kFirst, kAligned, kTyped, kToday };

FakeDriver driver_of(Release release) {
  FakeDriver driver;
  if (release == Release::kToday) return driver;
  driver.knows.clear();
  if (release >= Release::kAligned) driver.knows.insert(abi::kMemAllocV2);
  if (release >= Release::kTyped) {
    driver.knows.insert({abi::kMemAllocV2Mt, abi::kDriverInfoGet});
    driver.feature_flags = abi::kFeatureMemAllocType;
  }
  return driver;
}

struct Opened {
  explicit Opened(FakeDriver& driver) : backend(host.get(), driver) { EXPECT_EQ(backend.device_open(0, device), 0); }
  FakeHost host;
  Backend backend;
  Device* device = nullptr;
};

opennrt_mem_params_t dram(std::uint64_t bytes) {
  return {bytes, 0, false, 0, 0, 0, OPENNRT_MEM_TENSORS_DEVICE};
}
opennrt_mem_params_t host_memory(std::uint64_t bytes) {
  return {bytes, 4096, true, 0, 0, 0, OPENNRT_MEM_TENSORS_HOST};  // pages, as host memory of the driver always is
}

class EveryRelease : public testing::TestWithParam<Release> {
 protected:
  FakeDriver driver = driver_of(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Releases, EveryRelease,
                         testing::Values(Release::kFirst, Release::kAligned, Release::kTyped, Release::kToday));

TEST_P(EveryRelease, givenMemoryWhenAllocatedThenTheNewestRequestThatTheDriverHasIsUsed) {
  Opened open(driver);
  opennrt_mem_t memory = 0;
  ASSERT_EQ(open.device->mem_alloc(dram(100), memory), 0);
  EXPECT_NE(memory, 0u);
  constexpr unsigned long kForms[] = {abi::kMemAlloc, abi::kMemAllocV2, abi::kMemAllocV2Mt, abi::kMemAllocV2Mt64};
  EXPECT_EQ(driver.requests.back(), kForms[static_cast<int>(GetParam())]);
  // And from then on at once.
  const std::size_t before = driver.requests.size();
  ASSERT_EQ(open.device->mem_alloc(dram(100), memory), 0);
  EXPECT_EQ(driver.requests.size(), before + 1);
  EXPECT_EQ(driver.memories.at(memory).category,
            GetParam() >= Release::kTyped ? static_cast<std::uint32_t>(OPENNRT_MEM_TENSORS_DEVICE) : 0u);
}

TEST_P(EveryRelease, givenMemoryWhenWrittenCopiedSetAndReadThenTheBytesArrive) {
  Opened open(driver);
  opennrt_mem_t one = 0, other = 0;
  ASSERT_EQ(open.device->mem_alloc(dram(64), one), 0);
  ASSERT_EQ(open.device->mem_alloc(dram(64), other), 0);
  const std::array<char, 8> data = {'I', 'n', 'f', 'e', 'r', 'e', 'n', 't'};
  ASSERT_EQ(open.device->mem_write(one, 8, data.data(), data.size()), 0);
  ASSERT_EQ(open.device->mem_copy(one, 8, other, 16, 8), 0);
  ASSERT_EQ(open.device->mem_set(other, 22, 0x1ff, 2), 0);
  std::array<unsigned char, 8> back{};
  ASSERT_EQ(open.device->mem_read(other, 16, back.data(), back.size()), 0);
  EXPECT_THAT(back, ElementsAre('I', 'n', 'f', 'e', 'r', 'e', 0xff, 0xff));
  EXPECT_EQ(driver.asked(abi::kMemBufCopy64), GetParam() == Release::kToday);
  EXPECT_EQ(driver.asked(abi::kMemCopy), GetParam() != Release::kToday);
}

TEST_P(EveryRelease, givenANotificationQueueWhenMadeAgainAfterUseThenItBeginsAtItsStart) {
  Opened open(driver);
  opennrt_nq_t queue{};
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_NOTIFY, 2, 8192, queue), 0);
  EXPECT_EQ(queue.bytes, 8192u);
  driver.notify(queue.memory, 0);
  driver.notify(queue.memory, 1);
  EXPECT_EQ(open.device->wait(0, 1, 0), 0);
  ASSERT_EQ(open.device->nq_destroy(0, OPENNRT_NQ_NOTIFY, 2), 0);
  EXPECT_EQ(driver.registers[inf1::kPutilsBase + inf1::kNqNotifyBaseLow + 2 * inf1::kNqEngineStride + 8], 0u)
      << "the device must not write to it any more";
  EXPECT_EQ(open.device->wait(0, 0, 0), -ETIMEDOUT) << "queues that are gone do not count";
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_NOTIFY, 2, 8192, queue), 0);
  EXPECT_EQ(*static_cast<const volatile std::uint8_t*>(queue.entries), 0u);
  EXPECT_EQ(open.device->wait(0, 0, 0), -ETIMEDOUT);
  if (GetParam() != Release::kToday) {
    EXPECT_EQ(driver.registers[inf1::kPutilsBase + inf1::kNqNotifyBaseLow + 2 * inf1::kNqEngineStride + 8], 8192u);
    EXPECT_EQ(driver.registers[inf1::kPutilsBase + inf1::kNqNotifyBaseLow + 2 * inf1::kNqEngineStride + 4],
              inf1::kHostBase >> 32);
  }
}

TEST_P(EveryRelease, givenSeveralQueuesWhenInitialisedThenABatchIsUsedWhereThereIsOne) {
  Opened open(driver);
  const std::vector<opennrt_queue_init_t> queues(300, opennrt_queue_init_t{0, 3, 32, 32, 1, 2});
  EXPECT_EQ(open.device->queue_init(queues), 0);
  if (GetParam() == Release::kToday)
    EXPECT_THAT(driver.batches, ElementsAre(255u, 45u));  // the driver refuses 256
  else
    EXPECT_EQ(std::count(driver.requests.begin(), driver.requests.end(), abi::kDmaQueueInit), 300);
}

TEST_P(EveryRelease, givenDescriptorsWhenWrittenThenTheWiderFormIsUsedWhereThereIsOne) {
  Opened open(driver);
  const std::array<std::byte, 32> descriptors{};
  EXPECT_EQ(open.device->write_descriptors(1, 0, descriptors.data(), 2, OPENNRT_QUEUE_RX), 0);
  EXPECT_EQ(driver.requests.back(),
            GetParam() == Release::kToday ? abi::kDmaCopyDescriptors64 : abi::kDmaCopyDescriptors);
}

TEST_P(EveryRelease, given4GiBWhenAllocatedThenADriverThatCouldNotCopyItRefuses) {
  Opened open(driver);
  opennrt_mem_t memory = 0;
  if (GetParam() == Release::kToday) return;  // 4 GiB in a test
  EXPECT_EQ(open.device->mem_alloc(dram(std::uint64_t{4} << 30), memory), -ENOMEM);
  EXPECT_THAT(open.host.errors, HasSubstr("serves less than 4 GiB"));
}

struct DeviceTest : testing::Test {
  FakeDriver driver;
};

TEST_F(DeviceTest, givenAlignmentWhenADriverCannotDoItThenItIsRefused) {
  FakeDriver first = driver_of(Release::kFirst);
  Opened open(first);
  opennrt_mem_t memory = 0;
  opennrt_mem_params_t params = dram(64);
  params.alignment = 65536;
  EXPECT_EQ(open.device->mem_alloc(params, memory), -EINVAL);
  params.alignment = 4096;
  EXPECT_EQ(open.device->mem_alloc(params, memory), 0) << "the driver's memory lies on pages";
}

TEST_F(DeviceTest, givenBadArgumentsWhenAllocatingThenTheDriverIsNotAsked) {
  Opened open(driver);
  const std::size_t before = driver.requests.size();
  opennrt_mem_t memory = 1;
  for (auto [bytes, alignment, core, channel, region] : {std::array<std::uint32_t, 5>{0, 0, 0, 0, 0},
                                                         {8, 3, 0, 0, 0},
                                                         {8, 0, 4, 0, 0},
                                                         {8, 0, 0, 2, 0},
                                                         {8, 0, 0, 0, 4}}) {
    opennrt_mem_params_t params{bytes, alignment, false, channel, region, core, OPENNRT_MEM_MISC_DEVICE};
    EXPECT_EQ(open.device->mem_alloc(params, memory), -EINVAL);
    EXPECT_EQ(memory, 0u);
  }
  EXPECT_EQ(driver.requests.size(), before);
}

TEST_F(DeviceTest, givenHostMemoryWhenMappedThenItIsWholePagesAndSharedWithTheDriver) {
  Opened open(driver);
  opennrt_mem_t memory = 0;
  ASSERT_EQ(open.device->mem_alloc(host_memory(100), memory), 0);
  EXPECT_EQ(driver.memories.at(memory).bytes.size(), 4096u);
  void *address = nullptr, *again = nullptr;
  ASSERT_EQ(open.device->mem_map(memory, address), 0);
  ASSERT_EQ(open.device->mem_map(memory, again), 0);
  EXPECT_EQ(address, again);
  static_cast<char*>(address)[99] = 'x';
  EXPECT_EQ(static_cast<char>(driver.memories.at(memory).bytes[99]), 'x');
  char byte = 0;
  EXPECT_EQ(open.device->mem_read(memory, 99, &byte, 1), 0);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(open.device->mem_read(memory, 100, &byte, 1), -EINVAL) << "of the 100 bytes that were asked for";
  opennrt_mem_info_t info{};
  ASSERT_EQ(open.device->mem_info(memory, info), 0);
  EXPECT_EQ(info.bytes, 100u);
  EXPECT_TRUE(info.host_memory);
  EXPECT_NE(info.device_address & inf1::kHostBase, 0u);
  EXPECT_EQ(open.device->mem_unmap(memory), 0);
  EXPECT_EQ(open.device->mem_unmap(memory), 0);
  EXPECT_EQ(open.device->mem_unmap(memory), -EINVAL);
  EXPECT_TRUE(driver.mapped.empty());
}

TEST_F(DeviceTest, givenDramWhenMappedThenItIsNotSupported) {
  Opened open(driver);
  opennrt_mem_t memory = 0;
  ASSERT_EQ(open.device->mem_alloc(dram(64), memory), 0);
  void* address = nullptr;
  EXPECT_EQ(open.device->mem_map(memory, address), -ENOTSUP);
}

TEST_F(DeviceTest, givenAHandleThatIsNoneWhenUsedThenItIsInvalid) {
  Opened open(driver);
  opennrt_mem_info_t info{};
  char byte = 0;
  void* address = nullptr;
  EXPECT_EQ(open.device->mem_info(99, info), -EINVAL);  // the driver answers with a positive number
  EXPECT_EQ(open.device->mem_write(99, 0, &byte, 1), -EINVAL);
  EXPECT_EQ(open.device->mem_set(99, 0, 0, 1), -EINVAL);
  EXPECT_EQ(open.device->mem_map(99, address), -EINVAL);
  EXPECT_EQ(open.device->mem_free(99), -EINVAL);
}

TEST_F(DeviceTest, givenForgottenMemoryWhenTheDeviceClosesThenNothingStays) {
  {
    Opened open(driver);
    opennrt_mem_t memory = 0;
    void* address = nullptr;
    ASSERT_EQ(open.device->mem_alloc(host_memory(64), memory), 0);
    ASSERT_EQ(open.device->mem_map(memory, address), 0);
    opennrt_nq_t queue{};
    ASSERT_EQ(open.device->nq_init(1, OPENNRT_NQ_ERROR, 0, 4096, queue), 0);
    open.backend.device_close(open.device);
    EXPECT_EQ(driver.memories.size(), 1u) << "but the queue, which the driver keeps";
  }
  EXPECT_TRUE(driver.mapped.empty());
}

TEST_F(DeviceTest, givenRegistersWhenReadAndWrittenThenTheyAreNamedByTheAddressOfTheirBar) {
  Opened open(driver);
  const std::uint64_t scattered[] = {0x10, 0x4000, 0x20}, row[] = {0x100, 0x104, 0x108, 0x200};
  const std::uint32_t values[] = {1, 2, 3, 4};
  ASSERT_EQ(open.device->bar_write(0, scattered, values), 0);
  EXPECT_EQ(driver.registers[0x4000], 2u);
  ASSERT_EQ(open.device->bar_write(2, row, values), 0);
  EXPECT_EQ(std::count(driver.requests.begin(), driver.requests.end(), abi::kBarWrite), 3) << "two runs in BAR 2";
  std::uint32_t back[4] = {};
  ASSERT_EQ(open.device->bar_read(2, row, back), 0);
  EXPECT_THAT(back, ElementsAre(1u, 2u, 3u, 4u));
  const std::vector<std::uint64_t> many(250, 0x20);
  std::vector<std::uint32_t> all(many.size());
  ASSERT_EQ(open.device->bar_read(0, many, all.data()), 0) << "in parts that the firmware takes";
  EXPECT_EQ(all.back(), 3u);
  EXPECT_EQ(open.device->bar_read(4, scattered, back), -EINVAL);
}

TEST_F(DeviceTest, givenNoQuiesceInTheDriverWhenAskedThenItIsNotSupported) {
  Opened open(driver);
  EXPECT_EQ(open.device->quiesce(0), -ENOTSUP);
  driver.quiesces = true;
  EXPECT_EQ(open.device->quiesce(0), 0);
  EXPECT_EQ(open.device->quiesce(4), -EINVAL);
}

TEST_F(DeviceTest, givenTwoResetsAtOnceWhenStartedThenTheDriverSeesOneAtATime) {
  Opened open(driver);
  std::uint32_t one = 0, other = 0;
  std::int32_t result = 7;
  ASSERT_EQ(open.device->reset_start(1, one), 0);
  ASSERT_EQ(open.device->reset_start(2, other), 0);
  EXPECT_EQ(open.device->reset_wait(other, result), 0);
  EXPECT_EQ(result, 0);
  EXPECT_EQ(open.device->reset_wait(one, result), 0);
  EXPECT_EQ(open.device->reset_wait(one, result), -EINVAL);
  EXPECT_EQ(open.device->reset_start(0, one), -EINVAL);
  EXPECT_EQ(open.device->reset_start(16, one), -EINVAL);
}

TEST_F(DeviceTest, givenAResetWhenDoneThenQueuesOfTheCoreStartAgain) {
  Opened open(driver);
  opennrt_nq_t queue{};
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_ERROR, 0, 4096, queue), 0);
  driver.notify(queue.memory, 0);
  std::uint32_t request = 0;
  // The fake forgets its memory at a reset, and this process must not look at it: the queue is not there any more.
  ASSERT_EQ(open.device->reset_start(0xffff'ffff, request), 0);
  EXPECT_EQ(open.device->nq_consume(0, OPENNRT_NQ_ERROR, 0, 1), -EINVAL);
  EXPECT_EQ(open.device->wait(0, 0, 0), -ETIMEDOUT);
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_ERROR, 0, 4096, queue), 0);
  driver.notify(queue.memory, 0);
  EXPECT_EQ(open.device->wait(0, 0, 0), 0);
  EXPECT_EQ(open.device->nq_consume(0, OPENNRT_NQ_ERROR, 0, 1), 0) << "silicon has nothing to be told";
  EXPECT_EQ(open.device->nq_consume(0, OPENNRT_NQ_ERROR, 0, 2), -EINVAL);
}

TEST_F(DeviceTest, givenANotificationThatComesLateWhenWaitingThenPausesGrowAndItIsFound) {
  Opened open(driver);
  opennrt_nq_t queue{};
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_NOTIFY, 0, 4096, queue), 0);
  const std::uint64_t begin = driver.now;
  driver.while_polling = [&] {
    if (driver.now > begin + 5'000'000) driver.notify(queue.memory, 0);
  };
  EXPECT_EQ(open.device->wait(0, 0, begin + 1'000'000'000), 0);
  EXPECT_LT(driver.now, begin + 8'000'000) << "a pause is a tenth of what has passed";
}

TEST_F(DeviceTest, givenNothingWhenWaitingThenItEndsAtTheDeadline) {
  Opened open(driver);
  const std::uint64_t deadline = driver.now + 50'000'000;
  EXPECT_EQ(open.device->wait(0, 0, deadline), -ETIMEDOUT);
  EXPECT_GE(driver.now, deadline);
  EXPECT_EQ(open.device->wait(4, 0, 0), -EINVAL);
}

TEST_F(DeviceTest, givenDoorbellsWhenRungThenWorkStartedAtTheFirstSinceTheLastWait) {
  Opened open(driver);
  std::uint64_t first = 0, again = 0;
  ASSERT_EQ(open.device->queue_start(0, 0, 1, 1), 0);
  ASSERT_EQ(open.device->work_started(0, first), 0);
  ASSERT_EQ(open.device->queue_start(1, 0, 1, 1), 0);
  ASSERT_EQ(open.device->work_started(0, again), 0);
  EXPECT_EQ(first, again);
  EXPECT_EQ(open.device->wait(0, 0, 0), -ETIMEDOUT);
  ASSERT_EQ(open.device->queue_start(0, 0, 1, 1), 0);
  ASSERT_EQ(open.device->work_started(0, again), 0);
  EXPECT_GT(again, first);
}

TEST_F(DeviceTest, givenAnEmulatorWhenWaitingThenItIsToldWhatItHasCountedAndWhatItSaysIsLogged) {
  driver.emulated = true;
  Opened open(driver);
  opennrt_nq_t queue{};
  ASSERT_EQ(open.device->nq_init(0, OPENNRT_NQ_TRACE, 1, 4096, queue), 0);
  driver.notify(queue.memory, 0);
  driver.notify(queue.memory, 1);
  driver.notify(queue.memory, 2);
  ASSERT_EQ(open.device->nq_destroy(0, OPENNRT_NQ_TRACE, 1), 0);
  EXPECT_EQ(open.device->wait(0, 5, 1234), 0);
  EXPECT_EQ(driver.last_wait.seen, 8u) << "three were written to a queue that only the driver still has";
  EXPECT_EQ(driver.last_wait.deadline, 1234u);
  driver.wait_text = "nd0 nc0: nothing can happen any more";
  EXPECT_EQ(open.device->wait(0, 5, 1234), -ETIMEDOUT);
  EXPECT_THAT(open.host.errors, HasSubstr("nothing can happen any more"));
  std::uint64_t now = 0;
  ASSERT_EQ(open.device->clock(now), 0);
  EXPECT_EQ(now, 4711u);
}

TEST_F(DeviceTest, givenAnEmulatorToBePolledWhenUsedThenTimeIsThisMachines) {
  driver.emulated = true;
  FakeHost host;
  host.variables["OPENNRT_NEURON_POLL"] = "1";
  Backend backend(host.get(), driver);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  opennrt_device_info_t info{};
  ASSERT_EQ(device->info(info), 0);
  EXPECT_FALSE(info.virtual_time);
  EXPECT_EQ(info.open_isa_version, 1u);
  EXPECT_EQ(device->wait(0, 0, 0), -ETIMEDOUT);
  EXPECT_FALSE(driver.asked(paravirtual::kWait));
}

TEST_F(DeviceTest, givenMemoryOfSeveralProcessesWhenCountedThenWhatOthersHaveIsNotFree) {
  Opened open(driver);
  opennrt_mem_t memory = 0;
  ASSERT_EQ(open.device->mem_alloc(dram(1000), memory), 0);
  abi::AppInfo own{}, other{};
  own.device_mem_size = 1000;
  other.device_mem_size = 5000;
  driver.others = {own, other};
  opennrt_mem_stats_t stats{};
  ASSERT_EQ(open.device->mem_stats(0, stats), 0);
  EXPECT_EQ(stats.used_by_process, 1000u);
  EXPECT_EQ(stats.capacity - stats.used, (std::uint64_t{8} << 30) - 6000);
}

TEST_F(DeviceTest, givenCountersWhenMappedTwiceThenOnlyTheLastGivesThemBack) {
  Opened open(driver);
  void *one = nullptr, *other = nullptr;
  std::size_t bytes = 0;
  ASSERT_EQ(open.device->counters_map(0, one, bytes), 0);
  EXPECT_EQ(bytes, 4096u);
  ASSERT_EQ(open.device->counters_map(0, other, bytes), 0);
  EXPECT_EQ(open.device->counters_map(12, other, bytes), -ENOENT) << "no such process";
  EXPECT_EQ(open.device->counters_unmap(one), 0);
  EXPECT_FALSE(driver.asked(abi::kReleaseNeuronDs));
  EXPECT_EQ(open.device->counters_unmap(one), -EINVAL);
}

}  // namespace
}  // namespace opennrt::neuron::test
