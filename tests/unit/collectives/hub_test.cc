// SPDX-License-Identifier: Apache-2.0
// Requirement A2: how ranks meet, without threads, sockets or time.
#include "core/collectives/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

namespace opennrt::collectives {
namespace {

using testing::HasSubstr;

struct Answered {
  std::optional<Result<SharedBytes>> result;
  ErrorCode code() const { return result && !*result ? result->error().code : ErrorCode::kInternal; }
  std::string message() const { return result && !*result ? result->error().message : ""; }
  bool succeeded() const { return result && result->has_value(); }
};

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

struct HubTest : testing::Test {
  Hub hub;
  Hub::Owner a = hub.enter(100), b = hub.enter(200);
  std::uint64_t next = 1;
  std::uint64_t world = 0;

  std::shared_ptr<Answered> join(Hub::Owner owner, std::uint32_t rank, std::uint32_t count) {
    Request request;
    request.id = next++;
    request.rank = rank;
    request.count = count;
    return ask(owner, std::move(request));
  }
  std::shared_ptr<Answered> operate(Hub::Owner owner, std::uint32_t rank, Operation operation, Bytes data = {}) {
    Request request;
    request.type = Request::Type::kOperation;
    request.id = next++;
    request.rank = rank;
    request.world = world;
    request.operation = std::move(operation);
    request.data = std::move(data);
    return ask(owner, std::move(request));
  }
  void give_up(Hub::Owner owner, std::uint64_t id) {
    Request request;
    request.type = Request::Type::kGiveUp;
    request.id = id;
    request.waited_s = 7;
    hub.handle(owner, std::move(request), {});
  }
  std::shared_ptr<Answered> ask(Hub::Owner owner, Request request) {
    auto answered = std::make_shared<Answered>();
    hub.handle(owner, std::move(request), [answered](Result<SharedBytes> result) {
      EXPECT_FALSE(answered->result.has_value()) << "answered twice";
      answered->result = std::move(result);
    });
    return answered;
  }
  /// Ranks 0 (a), 1 and 2 (b).
  void form() {
    const auto zero = join(a, 0, 3), one = join(b, 1, 3);
    EXPECT_FALSE(zero->result || one->result);
    const auto two = join(b, 2, 3);
    ASSERT_TRUE(zero->succeeded() && one->succeeded() && two->succeeded());
    std::memcpy(&world, (**zero->result)->data(), sizeof(world));
  }
  static Operation gather(std::vector<std::uint32_t> group, Lane lane = Lane::kCalls) {
    return {Kind::kGather, lane, 0, 0, std::move(group)};
  }
};

TEST_F(HubTest, givenAllRanksWhenTheyGatherThenTheOrderIsTheGroupsWhoeverCameFirst) {
  form();
  const auto two = operate(b, 2, gather({2, 0, 1}), bytes_of({22}));
  const auto one = operate(b, 1, gather({2, 0, 1}), bytes_of({11}));
  EXPECT_FALSE(two->result.has_value());
  const auto zero = operate(a, 0, gather({2, 0, 1}), bytes_of({0}));
  for (const auto& answer : {zero, one, two}) {
    ASSERT_TRUE(answer->succeeded());
    EXPECT_EQ(***answer->result, bytes_of({22, 0, 11}));
  }
}

TEST_F(HubTest, givenGroupsAndLanesWhenTheyMeetThenTheyDoNotWaitForEachOther) {
  form();
  const auto alone = operate(a, 0, gather({0, 1, 2}), bytes_of({1}));
  const auto part = operate(b, 1, gather({1, 2}), bytes_of({2}));
  EXPECT_TRUE(!part->result.has_value());
  EXPECT_TRUE(operate(b, 2, gather({1, 2}), bytes_of({3}))->succeeded());
  EXPECT_TRUE(part->succeeded());
  EXPECT_FALSE(operate(b, 1, gather({0, 1, 2}, Lane::kQueue), bytes_of({4}))->result.has_value());
  EXPECT_FALSE(alone->result.has_value());
}

TEST_F(HubTest, givenTwoOperationsOfOneRankWhenOthersComeThenTheyMeetInOrder) {
  form();
  const auto first = operate(a, 0, gather({0, 1}), bytes_of({1})),
             second = operate(a, 0, gather({0, 1}), bytes_of({2}));
  operate(b, 1, gather({0, 1}), bytes_of({3}));
  ASSERT_TRUE(first->succeeded());
  EXPECT_FALSE(second->result.has_value());
  operate(b, 1, gather({0, 1}), bytes_of({4}));
  ASSERT_TRUE(second->succeeded());
  EXPECT_EQ(***second->result, bytes_of({2, 4}));
}

TEST_F(HubTest, givenRanksThatAskForDifferentThingsWhenTheyMeetThenAllAreToldAndCanGoOn) {
  form();
  const auto zero = operate(a, 0, gather({0, 1}), bytes_of({1})), one = operate(b, 1, gather({0, 1}), bytes_of({1, 2}));
  for (const auto& answer : {zero, one}) {
    EXPECT_EQ(answer->code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(answer->message(),
                HasSubstr("rank 1 calls for an all-gather of 2 bytes, rank 0 for an all-gather of 1"));
  }
  const auto order = operate(a, 0, gather({0, 1}), bytes_of({1}));
  operate(b, 1, gather({1, 0}), bytes_of({1}));
  EXPECT_THAT(order->message(), HasSubstr("rank 1 has the group 1 and 0, rank 0 has 0 and 1"));
  operate(a, 0, gather({0, 1}), bytes_of({1}));
  EXPECT_TRUE(operate(b, 1, gather({0, 1}), bytes_of({1}))->succeeded());
}

TEST_F(HubTest, givenARankThatDiesWhenOthersWaitThenTheyAreToldWhoAndLaterCallsToo) {
  form();
  const auto waiting = operate(a, 0, gather({0, 1, 2}), bytes_of({1}));
  hub.leave(b, "has died");
  EXPECT_EQ(waiting->code(), ErrorCode::kPeerLost);
  EXPECT_EQ(waiting->message(), "rank 1 (process 200) has died");
  const auto later = operate(a, 0, gather({0, 1, 2}), bytes_of({1}));
  EXPECT_EQ(later->code(), ErrorCode::kPeerLost);
  EXPECT_EQ(later->message(), "rank 1 (process 200) has died");
  const auto b2 = hub.enter(300);
  EXPECT_FALSE(join(a, 0, 2)->result.has_value());
  EXPECT_TRUE(join(b2, 1, 2)->succeeded());
}

TEST_F(HubTest, givenARankThatDiesBeforeAllHaveJoinedWhenOthersWaitThenTheyAreTold) {
  const auto waiting = join(a, 0, 3);
  join(b, 2, 3);
  hub.leave(b, "has died");
  EXPECT_EQ(waiting->message(), "rank 2 (process 200) has died");
}

TEST_F(HubTest, givenARankThatIsThereWhenAnotherComesWithItsNumberThenOnlyThatOneIsRefused) {
  const auto first = join(a, 0, 2);
  const auto second = join(b, 0, 2);
  EXPECT_EQ(second->code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(second->message(), HasSubstr("rank 0 (process 100) has joined already"));
  EXPECT_TRUE(join(b, 1, 2)->succeeded());
  EXPECT_TRUE(first->succeeded());
}

TEST_F(HubTest, givenDifferentNumbersOfRanksWhenTheyJoinThenAllWhoWaitAreTold) {
  const auto first = join(a, 0, 2), second = join(b, 1, 3);
  for (const auto& answer : {first, second}) {
    EXPECT_EQ(answer->code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(answer->message(),
                HasSubstr("rank 1 (process 200) says that there are 3 ranks, rank 0 (process 100) says 2"));
  }
  form();
  EXPECT_EQ(join(b, 1, 4)->code(), ErrorCode::kInvalidArgument);  // and a world that is formed stays
  operate(a, 0, gather({0, 1}), bytes_of({1}));
  EXPECT_TRUE(operate(b, 1, gather({0, 1}), bytes_of({1}))->succeeded());
}

TEST_F(HubTest, givenRanksThatDoNotComeWhenAJoinIsGivenUpThenTheyAreNamed) {
  const std::uint64_t id = next;
  const auto first = join(a, 1, 4);
  const auto second = join(b, 2, 4);
  give_up(a, id);
  EXPECT_EQ(first->code(), ErrorCode::kTimeout);
  EXPECT_EQ(first->message(), "rank 1 of 4 has waited for 7 s: rank 0 and 3 have not joined");
  EXPECT_FALSE(second->result.has_value());
  EXPECT_FALSE(join(a, 1, 4)->result.has_value()) << "it may come again";
}

TEST_F(HubTest, givenARankThatDoesNotComeWhenAnOperationIsGivenUpThenTheWorldEndsAndItIsNamed) {
  form();
  const std::uint64_t id = next;
  const auto zero = operate(a, 0, gather({0, 1, 2}), bytes_of({1})),
             one = operate(b, 1, gather({0, 1, 2}), bytes_of({1}));
  give_up(a, id + 5);  // no such request: nothing happens
  EXPECT_FALSE(zero->result.has_value());
  give_up(a, id);
  for (const auto& answer : {zero, one}) {
    EXPECT_EQ(answer->code(), ErrorCode::kPeerLost);
    EXPECT_THAT(answer->message(), HasSubstr("rank 0 (process 100) has waited for 7 s"));
    EXPECT_THAT(answer->message(), HasSubstr("rank 2 has not come"));
  }
}

TEST_F(HubTest, givenWhatNobodyMayAskForWhenAskedThenItIsRefused) {
  EXPECT_EQ(join(a, 3, 3)->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(join(a, 0, 0)->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(join(a, 0, kMaxRanks + 1)->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(operate(a, 0, gather({0}))->code(), ErrorCode::kPeerLost);  // no world
  form();
  EXPECT_THAT(operate(a, 1, gather({0, 1}))->message(), HasSubstr("rank 1 is not one of the process"));
  for (const std::vector<std::uint32_t>& group : {std::vector<std::uint32_t>{}, {1, 2}, {0, 0}, {0, 3}}) {
    EXPECT_EQ(operate(a, 0, gather(group))->code(), ErrorCode::kInvalidArgument);
  }
}

TEST(Enumerate, givenRanksWhenEnumeratedThenAPersonCanReadThem) {
  EXPECT_EQ(enumerate({4}), "4");
  EXPECT_EQ(enumerate({4, 2}), "4 and 2");
  EXPECT_EQ(enumerate({0, 1, 3}), "0, 1 and 3");
}

}  // namespace
}  // namespace opennrt::collectives
