// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/dram_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace opennrt::driver {
namespace {

TEST(DramPool, givesTheFirstFitAndAligns) {
  DramPool pool(0x10'0000'0000, 1 << 20);
  EXPECT_EQ(pool.allocate(1, 0), 0x10'0000'0000u);
  EXPECT_EQ(pool.allocate(4096, 0), 0x10'0000'1000u);
  EXPECT_EQ(pool.allocate(10, 0x1'0000), 0x10'0001'0000u);
  EXPECT_EQ(pool.allocate(4097, 0), 0x10'0000'2000u) << "the gap before an aligned block is used";
  EXPECT_EQ(pool.free_bytes(), (1u << 20) - 5 * 4096);
  pool.release(0x10'0000'0000, 1);
  EXPECT_EQ(pool.allocate(4096, 0), 0x10'0000'0000u);
}

TEST(DramPool, sizesThatOverflowDoNotFit) {
  DramPool pool(0, 1 << 20);
  EXPECT_FALSE(pool.allocate(UINT64_MAX, 0));
  EXPECT_FALSE(pool.allocate((1 << 20) + 1, 0));
  EXPECT_TRUE(pool.allocate(1 << 20, 1ull << 63)) << "address 0 is a multiple of anything";
}

TEST(DramPool, neverOverlapsAndJoinsWhatIsFreed) {
  constexpr std::uint64_t kBase = 0x4000, kBytes = 4 << 20;
  DramPool pool(kBase, kBytes);
  std::map<std::uint64_t, std::uint64_t> held;
  std::mt19937 random(42);
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const std::uint64_t bytes = 1 + random() % 100'000, alignment = std::uint64_t{1} << random() % 16;
      const auto address = pool.allocate(bytes, alignment);
      if (!address) continue;
      ASSERT_EQ(*address % alignment, 0u);
      ASSERT_GE(*address, kBase);
      ASSERT_LE(*address + DramPool::rounded(bytes), kBase + kBytes);
      const auto next = held.upper_bound(*address);
      if (next != held.end()) {
        ASSERT_LE(*address + DramPool::rounded(bytes), next->first);
      }
      if (next != held.begin()) {
        const auto before = std::prev(next);
        ASSERT_LE(before->first + DramPool::rounded(before->second), *address);
      }
      held.emplace(*address, bytes);
    } else if (!held.empty()) {
      auto it = std::next(held.begin(), static_cast<long>(random() % held.size()));
      pool.release(it->first, it->second);
      held.erase(it);
    }
  }
  for (const auto& [address, bytes] : held) pool.release(address, bytes);
  EXPECT_EQ(pool.free_bytes(), kBytes);
  EXPECT_EQ(pool.largest_free(), kBytes);
}

}  // namespace
}  // namespace opennrt::driver
