// SPDX-License-Identifier: Apache-2.0
// Requirement A2: ranks of several communicators over real sockets, in one program, where sanitizers see both ends. Ends of
// processes: tests/process/collectives_test.cc.
#include "core/collectives/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "core/collectives/sendrecv.h"

namespace opennrt::collectives {
namespace {

using testing::HasSubstr;

std::uint16_t own_port() {
  static int tests = 0;
  return static_cast<std::uint16_t>(1024 + (getpid() * 16 + tests++) % 60000);
}

void together(std::uint32_t ranks, const std::function<void(std::uint32_t)>& body) {
  std::vector<std::thread> threads;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

Operation gather() {
  Operation operation;
  operation.kind = Kind::kGather;
  return operation;
}

struct Processes : testing::Test {
  Settings settings{RootId{"localhost", own_port()}, 60, 1};
};

TEST_F(Processes, givenRanksBehindSocketsWhenTheyGatherThenEachHasAllInOrder) {
  constexpr std::uint32_t kRanks = 4, kRounds = 50;
  std::vector<std::unique_ptr<Communicator>> communicators;  // ranks 0 and 1 are in one, each other one is by itself
  for (int i = 0; i < 3; ++i) communicators.push_back(std::make_unique<Communicator>(settings));
  std::atomic<int> wrong{0};
  together(kRanks, [&](std::uint32_t rank) {
    Communicator& mine = *communicators[rank == 0 ? 0 : rank - 1];
    if (!mine.join(rank, rank, kRanks)) ++wrong;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const auto all = mine.run(rank, gather(), Bytes(1 + round * 1000, static_cast<std::byte>(rank + round)));
      Bytes expected;
      for (std::uint32_t i = 0; i < kRanks; ++i)
        expected.resize(expected.size() + 1 + round * 1000, std::byte(i + round));
      if (!all || **all != expected) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST_F(Processes, givenACommunicatorThatGoesWhenOthersWaitThenTheyAreTold) {
  for (const std::uint32_t goes : {0u, 2u}) {
    SCOPED_TRACE(goes);
    std::vector<std::unique_ptr<Communicator>> communicators;
    for (int i = 0; i < 3; ++i) communicators.push_back(std::make_unique<Communicator>(settings));
    together(3, [&](std::uint32_t rank) { EXPECT_TRUE(communicators[rank]->join(0, rank, 3)); });
    together(3, [&](std::uint32_t rank) {
      if (rank == goes) return communicators[rank].reset();
      const auto result = communicators[rank]->run(0, {}, {});
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
      EXPECT_THAT(result.error().message, HasSubstr("has closed"));
      EXPECT_FALSE(communicators[rank]->membership(0).has_value());
    });
  }
}

TEST_F(Processes, givenAWaitWhenInterruptedThenItEndsAndSoDoesEverythingLater) {
  Communicator root(settings), other(settings);
  together(2, [&](std::uint32_t i) {
    if (i == 1) return other.interrupt();
    const Status joined = other.join(0, 1, 2);
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error().code, ErrorCode::kClosed);
  });
  EXPECT_EQ(other.join(0, 1, 2).error().code, ErrorCode::kClosed);
}

TEST_F(Processes, givenRequestsThatAreGivenUpBehindASocketWhenAnsweredThenRanksAreNamed) {
  settings.timeout_s = 1;
  Communicator root(settings), other(settings);
  together(2, [&](std::uint32_t rank) {
    const Status joined = (rank == 0 ? root : other).join(0, rank, 3);
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error().code, ErrorCode::kTimeout);
    EXPECT_THAT(joined.error().message, HasSubstr("2 ha"));
  });
}

TEST(SendRecvSockets, givenTwoProcessesWhenTheyExchangeThenEverythingArrivesInOrder) {
  const std::uint16_t port = own_port();
  SendRecv left(port, 60), right(port, 60);
  ASSERT_TRUE(left.open(1));
  ASSERT_TRUE(right.open(2));
  EXPECT_FALSE(right.open(1)) << "somebody else has it";
  constexpr int kMessages = 200;
  const auto connected = [](const std::shared_ptr<Channel>& channel) {
    for (;;) {
      const Result<bool> there = channel->test();
      if (!there || *there) return there.has_value();
      std::this_thread::yield();
    }
  };
  const auto done = [](const std::shared_ptr<Transfer>& transfer) -> std::uint64_t {
    for (;;) {
      const auto bytes = Channel::test(transfer);
      if (!bytes) return ~std::uint64_t{0};
      if (*bytes) return **bytes;
      std::this_thread::yield();
    }
  };
  together(2, [&](std::uint32_t side) {
    if (side == 0) {
      const auto channel = left.connect(2, 1, true);
      ASSERT_TRUE(channel && connected(*channel));
      for (int i = 0; i < kMessages; ++i) {
        const auto sent = (*channel)->send([i] { return Result<Bytes>(Bytes(100, static_cast<std::byte>(i))); });
        ASSERT_TRUE(sent);
        ASSERT_EQ(done(*sent), 100u);
      }
    } else {
      const auto channel = right.connect(1, 2, false);
      ASSERT_TRUE(channel && connected(*channel));
      for (int i = 0; i < kMessages; ++i) {
        Bytes got;
        const auto received = (*channel)->receive(
            [&got](std::span<const std::byte> bytes) -> Status {
              got.assign(bytes.begin(), bytes.end());
              return {};
            },
            100);
        ASSERT_TRUE(received);
        ASSERT_EQ(done(*received), 100u);
        ASSERT_EQ(got, Bytes(100, static_cast<std::byte>(i)));
      }
    }
  });
  EXPECT_TRUE(left.close(1).status);
  EXPECT_TRUE(right.close(2).status);
}

}  // namespace
}  // namespace opennrt::collectives
