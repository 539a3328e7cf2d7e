// SPDX-License-Identifier: Apache-2.0
//
// docs/fidelity.md, "The same cycles", requirement I3: several threads submit the digits network to several cores. In
// deterministic mode every inference takes the same simulated nanoseconds as when one thread does everything; the
// bytes are the same in either mode.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/neff/npy.h"
#include "core/umd/umd.h"
#include "models/compiler.h"
#include "tests/support/umd_fixture.h"

namespace opennrt::umd {
namespace {

constexpr std::size_t kCores = 4, kInferences = 12, kPixels = 64, kClasses = 10;
constexpr std::uint64_t kTimeoutNs = 30'000'000'000;

/// What one core did, in the order of its inferences.
struct CoreRecord {
  std::vector<std::uint64_t> device_ns;
  std::vector<std::vector<float>> logits, probabilities;
  std::string problem;  ///< not empty: it did not get through
};
using Round = std::array<CoreRecord, kCores>;

enum class Submit { kThreads, kOneThreadCoreByCore, kOneThreadLastCoreFirst };

class Deterministic : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::vector<std::byte> model = contents("digits.onnx");
    const auto file = compile::compile_onnx(model, {});
    ASSERT_TRUE(file) << file.error().message;
    auto parsed = neff::parse(*file);
    ASSERT_TRUE(parsed) << parsed.error().message;
    network_ = new neff::Subgraph(parsed->subgraphs.at(0));
    images_ = new std::vector<float>(floats("heldout_images.npy"));
    expected_ = new std::vector<float>(floats("heldout_logits.npy"));
    ASSERT_GE(images_->size(), kCores * kInferences * kPixels);
    ASSERT_GE(expected_->size(), kCores * kInferences * kClasses);
  }
  static void TearDownTestSuite() {
    delete network_;
    delete images_;
    delete expected_;
  }
  void SetUp() override { ASSERT_NE(expected_, nullptr); }

  /// Powers the machine on, loads the network on every core, runs all inferences. `seed` decides how the threads are
  /// held up between their inferences, so that who comes first differs from round to round.
  static Round run(bool deterministic, Submit submit, unsigned seed = 0) {
    Round round;
    test::Host host;
    host.config["OPENNRT_SIM_DETERMINISTIC"] = deterministic ? "1" : "0";
    const auto backend = Backend::open("sim", host.backend_dir(), host.host);
    if (!backend) {
      round[0].problem = backend.error().message;
      return round;
    }
    const auto device = Device::open(*backend, 0);
    if (!device) {
      round[0].problem = device.error().message;
      return round;
    }
    std::array<std::unique_ptr<Program>, kCores> programs;
    for (std::uint32_t core = 0; core < kCores; ++core) {
      auto program = Program::load(*device, core, *network_);
      if (!program) {
        round[core].problem = program.error().message;
        return round;
      }
      programs[core] = std::move(*program);
    }
    if (submit == Submit::kThreads) {
      std::vector<std::thread> threads;
      for (std::size_t core = 0; core < kCores; ++core)
        threads.emplace_back([&, core] { infer(*programs[core], core, round[core], seed * kCores + core + 1); });
      for (std::thread& thread : threads) thread.join();
      return round;
    }
    for (std::size_t i = 0; i < kCores; ++i) {
      const std::size_t core = submit == Submit::kOneThreadCoreByCore ? i : kCores - 1 - i;
      infer(*programs[core], core, round[core], 0);
    }
    return round;
  }

  static void expect_same_bytes(const Round& a, const Round& b) {
    for (std::size_t core = 0; core < kCores; ++core) {
      ASSERT_EQ(a[core].logits.size(), kInferences);
      ASSERT_EQ(b[core].logits.size(), kInferences);
      for (std::size_t i = 0; i < kInferences; ++i) {
        EXPECT_TRUE(same(a[core].logits[i], b[core].logits[i])) << "core " << core << " inference " << i;
        EXPECT_TRUE(same(a[core].probabilities[i], b[core].probabilities[i])) << "core " << core << " inference " << i;
      }
    }
  }
  static void expect_same_time(const Round& a, const Round& b) {
    for (std::size_t core = 0; core < kCores; ++core)
      EXPECT_EQ(a[core].device_ns, b[core].device_ns) << "core " << core;
  }
  /// All inferences were made, each took time, and each is of its own image: the logits are those of the reference.
  static void expect_whole(const Round& round) {
    for (std::size_t core = 0; core < kCores; ++core) {
      ASSERT_EQ(round[core].problem, "") << "core " << core;
      ASSERT_EQ(round[core].device_ns.size(), kInferences);
      for (std::size_t i = 0; i < kInferences; ++i) {
        EXPECT_GT(round[core].device_ns[i], 1000u);
        for (std::size_t k = 0; k < kClasses; ++k) {
          // fp32 sums of a few hundred products, logits of magnitude 10: a decade above fp32's rounding.
          ASSERT_NEAR(round[core].logits[i][k], expected_->at((core * kInferences + i) * kClasses + k), 1e-3)
              << "core " << core << " inference " << i;
        }
      }
    }
  }

 private:
  static std::vector<std::byte> contents(const std::string& name) {
    const char* source = std::getenv("OPENNRT_SOURCE_DIR");
    const std::string path = std::string(source != nullptr ? source : ".") + "/models/zoo/digits/" + name;
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_FALSE(text.empty()) << path;
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }
  static std::vector<float> floats(const std::string& name) {
    const auto array = neff::read_npy(contents(name));
    if (!array || array->dtype != "float32") return {};
    std::vector<float> values(array->data.size() / sizeof(float));
    std::memcpy(values.data(), array->data.data(), values.size() * sizeof(float));
    return values;
  }
  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  static void infer(Program& program, std::size_t core, CoreRecord& record, std::size_t seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    for (std::size_t i = 0; i < kInferences; ++i) {
      if (seed != 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
      const auto from = images_->begin() + static_cast<std::ptrdiff_t>((core * kInferences + i) * kPixels);
      std::vector<float> image(from, from + kPixels), logits(kClasses), probabilities(kClasses);
      const Binding in[] = {test::host_binding("image", image)};
      const Binding out[] = {test::host_binding("logits", logits), test::host_binding("probabilities", probabilities)};
      const auto report = program.execute(in, out, kTimeoutNs);
      if (!report || report->outcome != Outcome::kCompleted) {
        record.problem = report ? report->message : report.error().message;
        return;
      }
      record.device_ns.push_back(report->device_ns);
      record.logits.push_back(std::move(logits));
      record.probabilities.push_back(std::move(probabilities));
    }
  }

  static inline neff::Subgraph* network_ = nullptr;
  static inline std::vector<float>*images_ = nullptr, *expected_ = nullptr;
};

TEST_F(Deterministic, givenThreadsOnAllCoresWhenRunAgainThenEachInferenceTakesTheSameTimeAndGivesTheSameBytes) {
  const Round first = run(true, Submit::kThreads, 1), second = run(true, Submit::kThreads, 2);
  ASSERT_NO_FATAL_FAILURE(expect_whole(first));
  ASSERT_NO_FATAL_FAILURE(expect_whole(second));
  expect_same_time(first, second);
  expect_same_bytes(first, second);
}

TEST_F(Deterministic, givenThreadsOnAllCoresWhenOneThreadDoesTheSameWorkThenTimesAndBytesAreEqual) {
  const Round threads = run(true, Submit::kThreads, 3), one = run(true, Submit::kOneThreadCoreByCore);
  ASSERT_NO_FATAL_FAILURE(expect_whole(threads));
  ASSERT_NO_FATAL_FAILURE(expect_whole(one));
  expect_same_time(threads, one);
  expect_same_bytes(threads, one);
  // The order among the cores does not matter either.
  const Round backwards = run(true, Submit::kOneThreadLastCoreFirst);
  ASSERT_NO_FATAL_FAILURE(expect_whole(backwards));
  expect_same_time(threads, backwards);
}

TEST_F(Deterministic, givenTheDefaultModeWhenThreadsCompeteThenTheBytesAreThoseOfDeterministicMode) {
  const Round deterministic = run(true, Submit::kOneThreadCoreByCore), threads = run(false, Submit::kThreads, 4);
  ASSERT_NO_FATAL_FAILURE(expect_whole(deterministic));
  ASSERT_NO_FATAL_FAILURE(expect_whole(threads));
  expect_same_bytes(deterministic, threads);
}

TEST_F(Deterministic, givenTheDefaultModeWhenOneThreadDoesTheSameTwiceThenTimesAndBytesAreEqual) {
  const Round first = run(false, Submit::kOneThreadCoreByCore), second = run(false, Submit::kOneThreadCoreByCore);
  ASSERT_NO_FATAL_FAILURE(expect_whole(first));
  ASSERT_NO_FATAL_FAILURE(expect_whole(second));
  expect_same_time(first, second);
  expect_same_bytes(first, second);
}

}  // namespace
}  // namespace opennrt::umd
