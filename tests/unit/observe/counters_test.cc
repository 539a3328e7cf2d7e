// SPDX-License-Identifier: Apache-2.0
// Requirement H2: the layout of the driver's datastore, and counting from many threads.
#include "core/observe/counters.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace opennrt::observe {
namespace {

struct Counters : testing::Test {
  std::vector<std::uint64_t> memory = std::vector<std::uint64_t>(kCounterStoreBytes / 8);
  CounterStore store{memory.data(), kCounterStoreBytes};
  std::uint64_t word(std::size_t offset) const { return memory[offset / 8]; }
};

// Offsets as aws-neuron-driver share/neuron_driver_shared.h computes them.
TEST_F(Counters, givenEveryKindOfCounterWhenWrittenThenItIsWhereTheDriverLooks) {
  EXPECT_FALSE(store.begun());
  store.begin();
  EXPECT_TRUE(store.begun());
  EXPECT_EQ(std::memcmp(memory.data(), "nds\0", 4), 0);
  store.set(DeviceCounter::kRuntimeVersion, 11);
  store.set(DeviceCounter::kMiscHost, 12);
  store.add(0, CoreCounter::kTimeInUse, 13);
  store.add(3, CoreCounter::kOutOfBounds, 14);
  store.add(0, CoreCounter::kHbmUncorrectable, 15);
  store.add(3, CoreCounter::kNotificationOverflow, 16);
  EXPECT_EQ(word(8), 11u);
  EXPECT_EQ(word(8 + 10 * 8), 12u);
  EXPECT_EQ(word(256), 13u);
  EXPECT_EQ(word(256 + (3 * 31 + 30) * 8), 14u);
  EXPECT_EQ(word(55936 + 1 * 8), 15u);
  EXPECT_EQ(word(55936 + (3 * 64 + 4) * 8), 16u);
  std::uint64_t others = 0;
  for (std::size_t i = 1; i < memory.size(); ++i) others += memory[i];
  EXPECT_EQ(others, 11u + 12 + 13 + 14 + 15 + 16) << "nothing else is touched";
}

TEST_F(Counters, givenNoMemoryOrTooLittleWhenCountedThenNothingHappens) {
  const CounterStore little(memory.data(), kCounterStoreBytes - 1);
  for (const CounterStore& none : {CounterStore(), little}) {
    EXPECT_FALSE(none);
    none.begin();
    EXPECT_FALSE(none.begun());
    EXPECT_EQ(none.add(0, CoreCounter::kInferences), 0u);
    none.add_time(0, 5);
    none.set(DeviceCounter::kFalVersion, 5);
    EXPECT_EQ(none.get(0, CoreCounter::kInferences), 0u);
    EXPECT_EQ(none.get(DeviceCounter::kFalVersion), 0u);
  }
  EXPECT_EQ(std::set<std::uint64_t>(memory.begin(), memory.end()), std::set<std::uint64_t>{0});
}

TEST_F(Counters, givenACoreThatNoDeviceHasWhenCountedThenItIsIgnored) {
  store.add(kCountedCores, CoreCounter::kInferences);
  EXPECT_EQ(store.get(kCountedCores, CoreCounter::kInferences), 0u);
  EXPECT_EQ(std::set<std::uint64_t>(memory.begin(), memory.end()), std::set<std::uint64_t>{0});
}

TEST_F(Counters, givenManyThreadsWhenTheyCountThenNothingIsLostNorRoundedAway) {
  constexpr int kThreads = 4, kTimes = 20'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kTimes; ++i) {
        store.add(1, CoreCounter::kInferences);
        store.add_time(1, 300);
        store.add(1, CoreCounter::kTensorsDevice, 64);
        store.add(1, CoreCounter::kTensorsDevice, -64);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store.get(1, CoreCounter::kInferences), 80'000u);
  EXPECT_EQ(store.get(1, CoreCounter::kCoreTime), 24'000'000u);
  EXPECT_EQ(store.get(1, CoreCounter::kTimeInUse), 24'000u);
  EXPECT_EQ(store.get(1, CoreCounter::kTensorsDevice), 0u);
  EXPECT_EQ(store.get(0, CoreCounter::kInferences), 0u);
}

TEST(CounterVersions, givenTextsWhenPackedThenTheyAreAsTheDriverReadsThem) {
  EXPECT_EQ(packed_version("2.31.7", 3), (3ull << 48) | (2ull << 40) | (31ull << 32) | 7u);
  EXPECT_EQ(packed_version("1.8", 4), (4ull << 48) | (1ull << 40) | (8ull << 32));
  EXPECT_EQ(packed_version("2.1.0+cpu", 0), (2ull << 40) | (1ull << 32));
  EXPECT_EQ(packed_version("", 1), 1ull << 48);
  EXPECT_EQ(packed_version("next", 0), 0u);
  EXPECT_EQ(packed_version("99999999999999999999999", 0), 0u);
}

TEST(CounterNames, givenTheListsThenNoCounterIsTwiceInOne) {
  std::set<CoreCounter> counters;
  for (const NamedCounter& named : kEndings) EXPECT_TRUE(counters.insert(named.counter).second) << named.name;
  for (const NamedCounter& named : kErrorKinds) EXPECT_TRUE(counters.insert(named.counter).second) << named.name;
  for (const NamedCounter& named : kDeviceMemory) EXPECT_TRUE(counters.insert(named.counter).second) << named.name;
}

}  // namespace
}  // namespace opennrt::observe
