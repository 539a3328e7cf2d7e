// SPDX-License-Identifier: Apache-2.0
#include "core/umd/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/common/bytes.h"
#include "tests/support/subgraph_builder.h"

namespace opennrt::umd {
namespace {

using test::SubgraphBuilder;
using ::testing::HasSubstr;

constexpr std::uint64_t kSource = 0x1000'0000, kTarget = 0x10'2000'0000;

struct Descriptor {
  std::uint32_t bytes, flags, ring_id;
  std::uint64_t address;
};
std::vector<Descriptor> read(std::span<const std::byte> ring) {
  std::vector<Descriptor> out;
  for (std::size_t at = 0; at < ring.size(); at += 16) {
    auto control = load_le<std::uint32_t>(ring.data() + at);
    std::uint32_t length = control & 0xffff;
    out.push_back({length == 0 ? 65536 : length, control & (inf1::kDescFirst | inf1::kDescLast | inf1::kDescBarrier),
                   control >> 24 & 3, load_le<std::uint64_t>(ring.data() + at + 8)});
  }
  return out;
}

struct Fixture {
  neff::Subgraph graph;
  Placement placement;
  RingImage ring;
  Status append(neff::AccessPattern from, neff::AccessPattern to, std::optional<std::uint32_t> semaphore = {},
                std::optional<std::uint32_t> event = {}) {
    return append_entry({1, 0, semaphore, event, std::move(from), std::move(to)}, graph, placement, ring);
  }
};

Fixture two_variables(std::uint64_t bytes) {
  Fixture f;
  for (std::uint64_t i = 0; i < 2; ++i) {
    neff::Variable v;
    v.size = bytes;
    f.graph.variables.push_back(v);
    f.placement.variables.push_back({i == 0 ? kSource : kTarget, {}});
    f.placement.in_sbuf.push_back(false);
  }
  f.placement.core_base = inf1::core_base(2);
  f.placement.sbuf_bytes_per_partition = 80 * 1024;
  f.placement.one_address = 0x77000;
  return f;
}

TEST(Descriptors, givenAFlatCopyWhenExpandedThenItIsCutAt64KiB) {
  auto f = two_variables(200'000);
  ASSERT_TRUE(f.append(SubgraphBuilder::flat(0, 200'000), SubgraphBuilder::flat(1, 200'000)));
  auto tx = read(f.ring.transmit()), rx = read(f.ring.receive());
  ASSERT_EQ(tx.size(), 4u);
  ASSERT_EQ(rx.size(), 4u);
  EXPECT_EQ(tx[0].bytes, 65536u);
  EXPECT_EQ(tx[3].bytes, 200'000u - 3 * 65536u);
  EXPECT_EQ(tx[3].address, kSource + 3 * 65536);
  EXPECT_EQ(rx[3].address, kTarget + 3 * 65536);
  EXPECT_EQ(tx[0].flags, inf1::kDescFirst);
  EXPECT_EQ(tx[1].flags, 0u);
  EXPECT_EQ(tx[3].flags, inf1::kDescLast);
  for (const auto& d : rx) EXPECT_EQ(d.flags, 0u);
  for (const auto& d : tx) EXPECT_EQ(d.ring_id, inf1::kInitialRingId);
}

TEST(Descriptors, givenManyRunsWhenExpandedThenPacketsHaveAtMost128) {
  auto f = two_variables(100'000);
  ASSERT_TRUE(f.append(SubgraphBuilder::flat(0, 8 * 300), SubgraphBuilder::rows(1, 8, 300, 64)));
  auto tx = read(f.ring.transmit());
  ASSERT_EQ(tx.size(), 300u);
  for (std::size_t i = 0; i < tx.size(); ++i) {
    EXPECT_EQ((tx[i].flags & inf1::kDescFirst) != 0, i % 128 == 0) << i;
    EXPECT_EQ((tx[i].flags & inf1::kDescLast) != 0, i % 128 == 127 || i == 299) << i;
  }
}

TEST(Descriptors, givenASemaphoreAndAnEventWhenExpandedThenWordsOfOneFollowBehindABarrier) {
  auto f = two_variables(64);
  ASSERT_TRUE(f.append(SubgraphBuilder::flat(0, 64), SubgraphBuilder::flat(1, 64), 7u, 250u));
  auto tx = read(f.ring.transmit()), rx = read(f.ring.receive());
  ASSERT_EQ(tx.size(), 3u);
  EXPECT_EQ(tx[0].flags, inf1::kDescFirst | inf1::kDescLast);
  for (int i : {1, 2}) {
    EXPECT_EQ(tx[i].bytes, 4u);
    EXPECT_EQ(tx[i].address, 0x77000u);
    EXPECT_EQ(tx[i].flags, inf1::kDescFirst | inf1::kDescLast | inf1::kDescBarrier);
  }
  EXPECT_EQ(rx[1].address, inf1::kTpbBase + 2 * inf1::kCoreWindow + 0x270'0000 + 4 * 250);
  EXPECT_EQ(rx[2].address, inf1::kTpbBase + 2 * inf1::kCoreWindow + 0x270'1200 + 4 * 7);
}

TEST(Descriptors, givenARingWhenPaddedThenItsSizeIsOneThatHardwareTakesAndNeverFull) {
  for (std::uint32_t n : {1u, 31u, 32u, 33u, 47u, 48u}) {
    RingImage ring;
    for (std::uint32_t i = 0; i < n; ++i) ring.add({}, {}, 4, 0);
    ring.pad();
    EXPECT_EQ(ring.count() % 16, 0u);
    EXPECT_GE(ring.count(), 32u);
    EXPECT_GT(ring.count(), n);
    EXPECT_LE(ring.count(), std::max(32u, n + 16));
  }
}

TEST(Descriptors, givenATensorWhenBoundThenOnlyItsAddressesChange) {
  auto f = two_variables(1024);
  f.placement.variables[1] = {0, 5u};
  ASSERT_TRUE(f.append(SubgraphBuilder::flat(0, 64), SubgraphBuilder::rows(1, 32, 2, 100, 8), 1u));
  ASSERT_EQ(f.ring.patches().size(), 2u);
  for (const auto& patch : f.ring.patches()) {
    EXPECT_EQ(patch.tensor, 5u);
    EXPECT_TRUE(patch.receive);
    f.ring.set_address(patch, 0x4000'1234'0000);
  }
  auto rx = read(f.ring.receive());
  EXPECT_EQ(rx[0].address, 0x4000'1234'0008u);
  EXPECT_EQ(rx[1].address, 0x4000'1234'0008u + 100);
  EXPECT_EQ(rx[2].address, inf1::core_base(2) + inf1::kSemaphoreIncrement + 4);
}

TEST(Descriptors, givenATransferBeyondAPartitionWhenExpandedThenItIsRefused) {
  auto f = two_variables(1 << 24);
  f.placement.in_sbuf[1] = true;
  f.graph.variables[1].name = "sb";
  EXPECT_TRUE(f.append(SubgraphBuilder::flat(0, 16), SubgraphBuilder::flat(1, 16, 80 * 1024 - 16)));
  auto status = f.append(SubgraphBuilder::flat(0, 16), SubgraphBuilder::flat(1, 16, 131072 * 3 + 80 * 1024 - 15));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidFile);
  EXPECT_THAT(
      status.error().message,
      HasSubstr(
          "'sb': a transfer touches bytes 81905 to 81920 of partition 3, but a partition of this device has 81920"));
}

/// Offsets of every byte of a pattern, in order, by the definition in neff.h.
std::vector<std::int64_t> bytes_of(const neff::AccessPattern& p) {
  std::vector<std::int64_t> out{static_cast<std::int64_t>(p.offset)};
  for (std::size_t i = p.sizes.size(); i-- > 0;) {
    std::vector<std::int64_t> next;
    for (std::int64_t base : out)
      for (std::uint64_t k = 0; k < p.sizes[i]; ++k) next.push_back(base + static_cast<std::int64_t>(k) * p.steps[i]);
    out = next;
  }
  return out;
}

TEST(Descriptors, givenRandomPatternsWhenExpandedThenEveryByteGoesWhereTheDefinitionSays) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    auto pattern = [&](std::size_t variable, std::uint64_t total) {
      // A random factorisation of the total into up to 4 dimensions.
      neff::AccessPattern p{variable, 40'000, {}, {}};
      std::size_t dims = 1 + random() % 4;
      for (std::size_t i = 0; i + 1 < dims; ++i) {
        static constexpr std::uint64_t kFactors[] = {1, 2, 3, 4, 6};
        std::uint64_t f = kFactors[random() % 5];
        if (total % f != 0) f = 1;
        p.sizes.push_back(f);
        total /= f;
      }
      p.sizes.push_back(total);
      std::uint64_t dense = 1;
      for (std::size_t i = 0; i < dims; ++i) {
        p.steps.push_back(random() % 2 ? static_cast<std::int64_t>(dense)
                                       : static_cast<std::int64_t>(random() % 21) - 10);
        dense *= p.sizes[i];
      }
      return p;
    };
    std::uint64_t total = 72 * (1 + random() % 3);
    auto from = pattern(0, total), to = pattern(1, total);
    auto f = two_variables(1 << 20);
    std::uint64_t most = most_descriptors({1, 0, {}, {}, from, to});
    ASSERT_TRUE(f.append(from, to));
    EXPECT_LE(f.ring.count(), most);
    auto tx = read(f.ring.transmit()), rx = read(f.ring.receive());
    std::vector<std::int64_t> got_from, got_to;
    for (std::size_t i = 0; i < tx.size(); ++i) {
      ASSERT_EQ(tx[i].bytes, rx[i].bytes);
      for (std::uint32_t k = 0; k < tx[i].bytes; ++k) {
        got_from.push_back(static_cast<std::int64_t>(tx[i].address - kSource + k));
        got_to.push_back(static_cast<std::int64_t>(rx[i].address - kTarget + k));
      }
    }
    EXPECT_EQ(got_from, bytes_of(from));
    EXPECT_EQ(got_to, bytes_of(to));
  }
}

}  // namespace
}  // namespace opennrt::umd
