// SPDX-License-Identifier: Apache-2.0
// Requirement H1: trace notifications become instructions with a begin and an end.
#include <gtest/gtest.h>

#include "core/umd/watch.h"

namespace opennrt::umd {
namespace {

using inf1::chosen::Notification;
using inf1::chosen::TraceCode;

Notification entry(TraceCode code, std::uint32_t index, std::uint64_t at_ns) {
  Notification made{};
  made.code = static_cast<std::uint8_t>(code);
  made.value = index;
  made.time_ns = at_ns;
  return made;
}

std::shared_ptr<const std::vector<std::string>> text(std::size_t instructions) {
  return std::make_shared<const std::vector<std::string>>(instructions, "nop");
}

TEST(Activity, givenAllEntriesWhenReadThenIndexesBeginAt0AndWaitsAreNoTimeOfTheInstruction) {
  // The device's count goes on from earlier inferences.
  const auto activity = activity_of(isa::Engine::kAct,
                                    {entry(TraceCode::kStarted, 40, 110), entry(TraceCode::kRetired, 40, 120),
                                     entry(TraceCode::kStarted, 41, 170), entry(TraceCode::kRetired, 41, 200)},
                                    100, text(2));
  EXPECT_EQ(activity.name, "act");
  EXPECT_EQ(activity.program_instructions, 2u);
  EXPECT_EQ(activity.lost_entries, 0u);
  ASSERT_EQ(activity.instructions.size(), 2u);
  EXPECT_EQ(activity.instructions[0].index, 0u);
  EXPECT_EQ(activity.instructions[0].begin_ns, 110u);
  EXPECT_EQ(activity.instructions[0].end_ns, 120u);
  EXPECT_EQ(activity.instructions[1].index, 1u);
  EXPECT_EQ(activity.instructions[1].begin_ns, 170u);
}

TEST(Activity, givenLostEntriesWhenReadThenTheyAreCountedAndTheRestIsRight) {
  const auto activity = activity_of(isa::Engine::kPe,
                                    {entry(TraceCode::kStarted, 0, 110), entry(TraceCode::kRetired, 0, 120),
                                     entry(TraceCode::kStarted, 1, 130), entry(TraceCode::kRetired, 3, 200)},
                                    100, text(4));
  EXPECT_EQ(activity.lost_entries, 4u);
  ASSERT_EQ(activity.instructions.size(), 2u);
  EXPECT_EQ(activity.instructions[1].index, 3u);
  EXPECT_EQ(activity.instructions[1].begin_ns, 120u) << "its own start is lost; the other is not its";
}

TEST(Activity, givenTheIndexWrapsAroundWhenReadThenItGoesOn) {
  const auto activity =
      activity_of(isa::Engine::kPool,
                  {entry(TraceCode::kStarted, 0xffffffff, 1), entry(TraceCode::kRetired, 0xffffffff, 2),
                   entry(TraceCode::kStarted, 0, 3), entry(TraceCode::kRetired, 0, 4)},
                  0, text(2));
  ASSERT_EQ(activity.instructions.size(), 2u);
  EXPECT_EQ(activity.instructions[1].index, 1u);
}

TEST(Activity, givenNoEntriesWhenReadThenAllAreLost) {
  const auto activity = activity_of(isa::Engine::kPe, {}, 100, text(3));
  EXPECT_TRUE(activity.instructions.empty());
  EXPECT_EQ(activity.lost_entries, 6u);
}

}  // namespace
}  // namespace opennrt::umd
