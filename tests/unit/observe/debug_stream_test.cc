// SPDX-License-Identifier: Apache-2.0
// Requirement H3: debug streams, below the C API.
#include "core/observe/debug_stream.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace opennrt::observe::debug_stream {
namespace {

constexpr std::array<std::uint32_t, 2> kShape{2, 3};

DebugTensor tensor(const std::vector<std::byte>& data) {
  return {"t", "uint8", kShape, data};
}

TEST(DebugStreams, givenNobodyConnectedWhenATensorIsEmittedThenItIsGone) {
  const std::vector<std::byte> data(6);
  EXPECT_FALSE(wanted(0));
  emit(0, tensor(data));
  const auto stream = connect(0, 4);
  ASSERT_TRUE(stream);
  EXPECT_TRUE(wanted(0));
  EXPECT_FALSE(wanted(1));
  EXPECT_EQ(read(*stream, [](const Event&) { return Status(); }), false);
  ASSERT_TRUE(close(*stream));
  EXPECT_FALSE(wanted(0));
  EXPECT_EQ(close(*stream).error().code, ErrorCode::kInvalidHandle);
}

TEST(DebugStreams, givenATakerThatFailsWhenReadThenTheEventStays) {
  const std::vector<std::byte> data(6, std::byte{9});
  const auto stream = connect(0, 4);
  ASSERT_TRUE(stream);
  emit(0, tensor(data));
  const auto refused = read(*stream, [](const Event&) -> Status { return make_error(ErrorCode::kResource, "none"); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  const auto taken = read(*stream, [&](const Event& event) -> Status {
    EXPECT_EQ(event.data, data);
    EXPECT_EQ(event.shape, (std::array<std::uint64_t, 8>{2, 3}));
    return {};
  });
  EXPECT_EQ(taken, true);
  ASSERT_TRUE(close(*stream));
}

TEST(DebugStreams, givenAProducerAndAPollingConsumerWhenTheyRunThenNothingIsLostAndOrderIsKept) {
  constexpr int kEvents = 2000;
  const auto stream = connect(2, kEvents);
  ASSERT_TRUE(stream);
  std::thread producer([] {
    for (int i = 0; i < kEvents; ++i) {
      std::vector<std::byte> data(sizeof(int));
      std::memcpy(data.data(), &i, sizeof i);
      emit(2, tensor(data));
    }
  });
  int next = 0;
  while (next < kEvents) {
    pollfd entry{*stream, POLLIN, 0};
    ASSERT_EQ(poll(&entry, 1, -1), 1);
    const auto taken = read(*stream, [&](const Event& event) -> Status {
      int value = -1;
      std::memcpy(&value, event.data.data(), sizeof value);
      EXPECT_EQ(value, next);
      return {};
    });
    ASSERT_TRUE(taken);
    ASSERT_TRUE(*taken) << "it was readable";
    ++next;
  }
  producer.join();
  ASSERT_TRUE(close(*stream));
}

TEST(DebugStreams, givenAChildOfForkWhenItLooksThenItHasNoConnection) {
  const auto stream = connect(0, 4);
  ASSERT_TRUE(stream);
  const pid_t child = fork();
  if (child == 0) {
    const bool none = !wanted(0) && !read(*stream, [](const Event&) { return Status(); }).has_value();
    _exit(none && connect(0, 4).has_value() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(wanted(0));
  ASSERT_TRUE(close(*stream));
}

}  // namespace
}  // namespace opennrt::observe::debug_stream
