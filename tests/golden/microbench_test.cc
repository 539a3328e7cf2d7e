// SPDX-License-Identifier: Apache-2.0
//
// The chip file's numbers as they come out at the other end, within 2%. All times are simulated.
#include <cmath>

#include "tests/golden/chip_numbers.h"

namespace opennrt::sim {
namespace {

using test::ChipMeter;

constexpr double kTolerance = 0.02;

class Microbench : public testing::Test {
 protected:
  std::unique_ptr<Machine> machine_ = test::power_on();
  ChipMeter meter_{*machine_};
};

void expect_all(const std::vector<test::ChipNumber>& numbers) {
  for (const auto& number : numbers) {
    std::printf("  %-58s %10.3f %-6s (%+.2f%%)\n", number.what.c_str(), number.measured, number.unit.c_str(),
                100 * number.error());
    EXPECT_LE(std::abs(number.error()), kTolerance)
        << number.what << ": " << number.measured << " " << number.unit << ", expected " << number.expected;
  }
}

TEST_F(Microbench, givenDmaWhenMeasuredThenItIsWhatTheChipFileSays) {
  expect_all(meter_.dma());
}
TEST_F(Microbench, givenEnginesWhenMeasuredThenTheyAreWhatTheChipFileSays) {
  expect_all(meter_.engines());
}

TEST_F(Microbench, givenTheTensorEngineWhenMeasuredThenItReachesThePublishedPeak) {
  // neuron-core-v1.rst: 16 TFLOPS per core.
  EXPECT_NEAR(meter_.engines().front().measured, 16, 16 * kTolerance);
}

TEST_F(Microbench, givenTwoStreamsOnOneChannelWhenTheyRunThenTheyShareItFairly) {
  const auto channel = [](std::uint32_t) { return ChipMeter::kDram; };
  std::vector<std::unique_ptr<test::Queue>> streams;
  std::vector<std::uint64_t> ends(16, 0);
  for (std::uint32_t i = 0; i < ends.size(); ++i) {
    streams.push_back(std::make_unique<test::Queue>(*machine_, i % 4 * 3, i / 4, 256));
    for (int piece = 0; piece < 32; ++piece) streams[i]->copy(channel(i), ChipMeter::into_sbuf(i), ChipMeter::kPiece);
    streams[i]->mark();
  }
  const std::uint64_t begin = machine_->now_ns();
  for (auto& stream : streams) stream->doorbell();
  const auto all_done = [&] {
    for (std::size_t i = 0; i < ends.size(); ++i)
      if (ends[i] == 0 && streams[i]->marked()) ends[i] = machine_->now_ns() - begin;
    return std::count(ends.begin(), ends.end(), 0u) == 0;
  };
  ASSERT_EQ(machine_->run_until(all_done, begin + test::kSecond), Ran::kConditionMet);
  const auto [first, last] = std::minmax_element(ends.begin(), ends.end());
  EXPECT_NEAR(static_cast<double>(*first), static_cast<double>(*last), 0.05 * static_cast<double>(*last));
}

TEST_F(Microbench, givenDmaAndComputeWhenBothRunThenTheyOverlap) {
  const auto from = [](std::uint32_t) { return ChipMeter::kDram; };
  const double alone = meter_.stream_ns(4, 32, from, ChipMeter::into_sbuf);
  // A program on another core's engine while the stream runs: neither takes longer for the other.
  isa::Instruction work;
  work.opcode = isa::Opcode::kActivate;
  work.partitions = 128;
  work.counts = {4096, 1, 1, 1};
  work.src0.steps = work.dst.steps = {1, 0, 0, 0};
  work.dst.offset = 16384;
  test::Queue queue(*machine_, 11, 0, 64);
  test::Notifications ends(*machine_, 3, inf1::NotificationType::kNotify, 1);
  std::vector<isa::Instruction> program(100, work);
  isa::Instruction notify;
  notify.opcode = isa::Opcode::kNotify;
  program.push_back(notify);
  test::Code code(*machine_, program);
  code.send(queue, 3, isa::Engine::kAct);
  queue.doorbell();
  const std::uint64_t begin = machine_->now_ns();
  const double together = meter_.stream_ns(4, 32, from, ChipMeter::into_sbuf);
  ASSERT_EQ(machine_->run_until([&] { return ends.available(); }, begin + test::kSecond), Ran::kConditionMet);
  const double compute = static_cast<double>(ends.next().time_ns - begin);
  EXPECT_NEAR(together, alone, 0.001 * alone);
  EXPECT_GT(compute, 100 * 4096 / machine_->facts().clock_ghz);
  EXPECT_LT(compute, 1.02 * 100 * 4096 / machine_->facts().clock_ghz);
}

// Every number of the machine says where it is from.
void expect_sources(const nlohmann::json& node, const std::string& path, int& numbers) {
  if (!node.is_object()) return;
  for (const auto& [key, child] : node.items()) {
    const std::string at = path.empty() ? key : path + "." + key;
    if (child.is_number()) {
      ++numbers;
      ASSERT_TRUE(node.contains("source") && node["source"].is_string()) << at << " has no source or reason";
      EXPECT_GE(node["source"].get<std::string>().size(), 8u) << at;
      EXPECT_TRUE(key != "value" || (node.contains("unit") && !node["unit"].get<std::string>().empty())) << at;
    }
    EXPECT_FALSE(child.is_array()) << at << ": numbers in a list would have no source each";
    expect_sources(child, at, numbers);
  }
}

TEST(ChipFile, givenEveryNumberThenItHasASourceOrAReason) {
  const auto chip = nlohmann::json::parse(std::ifstream(test::chips_dir() + "/inf1.json"));
  int numbers = 0;
  expect_sources(chip, "", numbers);
  EXPECT_GT(numbers, 30);
}

}  // namespace
}  // namespace opennrt::sim
