// SPDX-License-Identifier: Apache-2.0
//
// The digits application, whole: compiled, loaded and run through the public C API in processes of their own. The same
// run twice gives the same outputs, statistics and trace to the last byte, and the chip classifies the held-out images
// as well as the float model does. The test's own process never opens the library.
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/neff/npy.h"
#include "models/compiler.h"
#include "tests/process/helpers.h"
#include "tests/unit/tools/process.h"

namespace process_test {
namespace {

using opennrt::test::read_text;
using opennrt::test::TemporaryFolder;
using opennrt::test::write_text;
using AutoCast = opennrt::compile::Options::AutoCast;

constexpr std::size_t kPixels = 64, kClasses = 10, kCores = 4;

std::string digits(const std::string& name) {
  return read_text(std::filesystem::path(std::getenv("OPENNRT_SOURCE_DIR")) / "models" / "zoo" / "digits" / name);
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

template <typename T>
std::vector<T> array_of(const std::string& name, const char* dtype) {
  const auto array = opennrt::neff::read_npy(bytes_of(digits(name)));
  EXPECT_TRUE(array) << name << ": " << (array ? "" : array.error().message);
  if (!array) return {};
  EXPECT_EQ(array->dtype, dtype);
  std::vector<T> values(array->data.size() / sizeof(T));
  std::memcpy(values.data(), array->data.data(), values.size() * sizeof(T));
  return values;
}

/// One model, its tensors and what comes out of them; a step that fails is the exit code of the process.
class Classifier {
 public:
  int open(const std::vector<std::byte>& neff, int core) {
    if (nrt_load(neff.data(), neff.size(), core, 1, &model_) != NRT_SUCCESS) return 11;
    if (nrt_allocate_tensor_set(&in_) != NRT_SUCCESS || nrt_allocate_tensor_set(&out_) != NRT_SUCCESS) return 12;
    const auto make = [&](const char* name, std::size_t count, nrt_tensor_set_t* set, nrt_tensor_t*& tensor) {
      return nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, core, count * sizeof(float), name, &tensor) ==
                 NRT_SUCCESS &&
             nrt_add_tensor_to_tensor_set(set, name, tensor) == NRT_SUCCESS;
    };
    return make("image", kPixels, in_, image_) && make("logits", kClasses, out_, logits_) &&
                   make("probabilities", kClasses, out_, probabilities_)
               ? 0
               : 13;
  }
  /// Appends the logits and the probabilities of an image.
  int classify(const float* image, std::vector<float>& logits, std::vector<float>& probabilities) {
    if (nrt_tensor_write(image_, image, 0, kPixels * sizeof(float)) != NRT_SUCCESS) return 14;
    if (nrt_execute(model_, in_, out_) != NRT_SUCCESS) return 15;
    const auto take = [](const nrt_tensor_t* tensor, std::vector<float>& to) {
      to.resize(to.size() + kClasses);
      return nrt_tensor_read(tensor, &*(to.end() - kClasses), 0, kClasses * sizeof(float)) == NRT_SUCCESS;
    };
    return take(logits_, logits) && take(probabilities_, probabilities) ? 0 : 16;
  }
  int close() {
    for (nrt_tensor_t** tensor : {&image_, &logits_, &probabilities_}) nrt_tensor_free(tensor);
    nrt_destroy_tensor_set(&in_);
    nrt_destroy_tensor_set(&out_);
    return nrt_unload(model_) == NRT_SUCCESS ? 0 : 17;
  }

 private:
  nrt_model_t* model_ = nullptr;
  nrt_tensor_set_t *in_ = nullptr, *out_ = nullptr;
  nrt_tensor_t *image_ = nullptr, *logits_ = nullptr, *probabilities_ = nullptr;
};

void save(const std::filesystem::path& path, const std::vector<float>& values) {
  write_text(path, std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
}

/// Classifies `images` on each of `cores` cores, each by a thread of its own when there are several. Core n begins with
/// image n, so that no two do the same. Outputs go to files `<core>.logits` and `<core>.probabilities` of `folder`.
int application(const std::vector<std::byte>& neff, const std::vector<float>& images, std::size_t cores,
                const std::filesystem::path& folder) {
  if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 10;
  std::array<Classifier, kCores> classifiers;
  std::array<int, kCores> wrong{};
  for (std::size_t core = 0; core < cores; ++core) {
    if (const int failed = classifiers[core].open(neff, static_cast<int>(core))) return failed;
  }
  const auto work = [&](std::size_t core) {
    std::vector<float> logits, probabilities;
    const std::size_t count = images.size() / kPixels;
    for (std::size_t i = 0; i < count && wrong[core] == 0; ++i)
      wrong[core] = classifiers[core].classify(&images[(i + core) % count * kPixels], logits, probabilities);
    save(folder / (std::to_string(core) + ".logits"), logits);
    save(folder / (std::to_string(core) + ".probabilities"), probabilities);
  };
  if (cores == 1) {
    work(0);
  } else {
    std::vector<std::thread> threads;
    for (std::size_t core = 0; core < cores; ++core) threads.emplace_back(work, core);
    for (std::thread& thread : threads) thread.join();
  }
  for (std::size_t core = 0; core < cores; ++core) {
    if (wrong[core] != 0) return wrong[core];
    if (const int failed = classifiers[core].close()) return failed;
  }
  nrt_close();
  return 0;
}

class Digits : public ::testing::Test {
 protected:
  static std::vector<std::byte> compile(AutoCast cast = AutoCast::kNone) {
    opennrt::compile::Options options;
    options.auto_cast = cast;
    auto neff = opennrt::compile::compile_onnx(bytes_of(digits("digits.onnx")), options);
    EXPECT_TRUE(neff) << neff.error().message;
    return neff ? *neff : std::vector<std::byte>{};
  }

  /// Runs the application in a process of its own, which leaves stats.json and trace.json in `folder`, too.
  static void run(const std::vector<std::byte>& neff, const std::vector<float>& images, std::size_t cores,
                  const std::filesystem::path& folder, bool deterministic = false) {
    const Ended ended = in_child([&] {
      setenv("OPENNRT_BACKEND", "sim", 1);
      setenv("OPENNRT_SIM_DETERMINISTIC", deterministic ? "1" : "0", 1);
      setenv("OPENNRT_SIM_STATS", (folder / "stats.json").c_str(), 1);
      setenv("OPENNRT_SIM_TRACE", (folder / "trace.json").c_str(), 1);
      return application(neff, images, cores, folder);
    });
    ASSERT_TRUE(ended.exited(0)) << "status " << ended.status << "\n" << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_EQ(ended.err, "");
  }

  static std::vector<float> some_images(std::size_t count) {
    auto images = array_of<float>("heldout_images.npy", "float32");
    images.resize(count * kPixels);
    return images;
  }

  /// Equal, and not both missing. Where they part is said in a few words, not in megabytes.
  static void expect_same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
    const std::string left = read_text(a), right = read_text(b);
    EXPECT_FALSE(left.empty()) << a;
    EXPECT_EQ(left.size(), right.size()) << a;
    const auto apart = std::mismatch(
        left.begin(), left.begin() + static_cast<std::ptrdiff_t>(std::min(left.size(), right.size())), right.begin());
    const auto at = static_cast<std::size_t>(apart.first - left.begin());
    if (at == std::min(left.size(), right.size())) return;
    const std::size_t from = at < 60 ? 0 : at - 60;
    ADD_FAILURE() << a << " differs at byte " << at << ": ..." << left.substr(from, 120) << "...\nand ..."
                  << right.substr(from, 120) << "...";
  }

  /// Classifies all held-out images on one core and compares with labels and float reference. `tolerance` is relative
  /// to the largest logit of the set.
  void expect_accurate(AutoCast cast, double tolerance) const {
    const auto images = array_of<float>("heldout_images.npy", "float32");
    const auto expected = array_of<float>("heldout_logits.npy", "float32");
    const auto labels = array_of<std::uint8_t>("heldout_labels.npy", "uint8");
    const std::size_t count = labels.size();
    ASSERT_EQ(count, 360u);
    ASSERT_EQ(images.size(), count * kPixels);
    ASSERT_EQ(expected.size(), count * kClasses);
    ASSERT_NO_FATAL_FAILURE(run(compile(cast), images, 1, folder_.path()));
    std::vector<float> logits(count * kClasses);
    const std::string text = read_text(folder_ / "0.logits");
    ASSERT_EQ(text.size(), logits.size() * sizeof(float));
    std::memcpy(logits.data(), text.data(), text.size());

    const auto answer = [](const std::vector<float>& all, std::size_t image) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(image * kClasses);
      return static_cast<std::size_t>(std::max_element(begin, begin + kClasses) - begin);
    };
    std::size_t chip_right = 0, float_right = 0;
    double largest = 0, apart = 0;
    for (std::size_t i = 0; i < count; ++i) {
      chip_right += answer(logits, i) == labels[i] ? 1 : 0;
      float_right += answer(expected, i) == labels[i] ? 1 : 0;
    }
    for (std::size_t k = 0; k < logits.size(); ++k) {
      ASSERT_TRUE(std::isfinite(logits[k])) << k;
      largest = std::max(largest, std::fabs(static_cast<double>(expected[k])));
      apart = std::max(apart, std::fabs(static_cast<double>(logits[k]) - expected[k]));
    }
    EXPECT_EQ(float_right, 355u);  // models/zoo/digits/README.md: 98.61 %
    EXPECT_GE(100.0 * static_cast<double>(chip_right), 100.0 * static_cast<double>(float_right) - 0.5 * 360)
        << chip_right << " of 360 right, the float model has " << float_right;
    EXPECT_LT(apart, tolerance * largest) << "largest logit " << largest;
    RecordProperty("chip_right", static_cast<int>(chip_right));
    RecordProperty("largest_error_ppm", static_cast<int>(apart / largest * 1e6));
    if (cast != AutoCast::kNone) {
      EXPECT_GT(apart, 1e-5 * largest) << "bf16 was asked for, fp32 was computed";
    }
  }

  TemporaryFolder folder_;
};

TEST_F(Digits, givenTheSameRunInTwoProcessesThenOutputsStatisticsAndTraceAreByteForByteTheSame) {
  const auto neff = compile();
  const auto images = some_images(12);
  const TemporaryFolder other;
  ASSERT_NO_FATAL_FAILURE(run(neff, images, 1, folder_.path()));
  ASSERT_NO_FATAL_FAILURE(run(neff, images, 1, other.path()));
  for (const char* name : {"0.logits", "0.probabilities", "stats.json", "trace.json"})
    expect_same_file(folder_ / name, other / name);
  const auto stats = nlohmann::json::parse(read_text(folder_ / "stats.json"));
  EXPECT_GT(stats.at("simulated_ns"), 1000);
  EXPECT_GT(stats.at("cores").at(0).at("engines").at("pe").at("busy_cycles"), 0);
  EXPECT_GT(nlohmann::json::parse(read_text(folder_ / "trace.json")).at("traceEvents").size(), 100u);
}

TEST_F(Digits, givenOtherImagesThenTheComparisonWouldHaveSeenIt) {
  // The twin of the test above: it must not be able to pass on files that are always the same.
  const auto neff = compile();
  const auto images = some_images(3);
  const TemporaryFolder other;
  ASSERT_NO_FATAL_FAILURE(run(neff, images, 1, folder_.path()));
  ASSERT_NO_FATAL_FAILURE(run(neff, some_images(2), 1, other.path()));
  for (const char* name : {"0.logits", "stats.json", "trace.json"})
    EXPECT_NE(read_text(folder_ / name), read_text(other / name)) << name;
}

TEST_F(Digits, givenThreadsOnFourCoresInDeterministicModeThenTwoProcessesAgreeInBytesAndInCyclesOfEveryEngine) {
  const auto neff = compile();
  const auto images = some_images(8);
  const TemporaryFolder other;
  ASSERT_NO_FATAL_FAILURE(run(neff, images, kCores, folder_.path(), true));
  ASSERT_NO_FATAL_FAILURE(run(neff, images, kCores, other.path(), true));
  for (std::size_t core = 0; core < kCores; ++core)
    for (const char* name : {".logits", ".probabilities"})
      expect_same_file(folder_ / (std::to_string(core) + name), other / (std::to_string(core) + name));
  // Absolute times depend on which core was let in first: when a core's first work began and its last ended, and how
  // long its engines stood without instructions while another core had the machine.
  const auto work_of = [](const std::filesystem::path& file) {
    auto cores = nlohmann::json::parse(read_text(file)).at("cores");
    for (auto& core : cores) {
      for (const char* absolute : {"first_start_ns", "last_end_ns"}) EXPECT_EQ(core.erase(absolute), 1u);
      EXPECT_EQ(core.at("roofline").erase("achieved_gflops"), 1u);  // work over those
      for (auto& engine : core.at("engines")) EXPECT_EQ(engine.erase("stalled_instructions_ns"), 1u);
    }
    return cores;
  };
  const auto left = work_of(folder_ / "stats.json"), right = work_of(other / "stats.json");
  ASSERT_EQ(left.size(), kCores);
  ASSERT_EQ(right.size(), kCores);
  for (std::size_t core = 0; core < kCores; ++core) {
    EXPECT_GT(left[core].at("engines").at("pe").at("busy_cycles"), 0);
    EXPECT_GT(left[core].at("engines").at("pe").at("stalled_semaphore_ns"), 0);
    EXPECT_EQ(left[core], right[core]) << nlohmann::json::diff(left[core], right[core]);
  }
}

TEST_F(Digits, givenThreadsOnFourCoresInTheDefaultModeThenTwoProcessesAgreeInBytes) {
  const auto neff = compile();
  const auto images = some_images(8);
  const TemporaryFolder other;
  ASSERT_NO_FATAL_FAILURE(run(neff, images, kCores, folder_.path()));
  ASSERT_NO_FATAL_FAILURE(run(neff, images, kCores, other.path(), true));
  for (std::size_t core = 0; core < kCores; ++core)
    for (const char* name : {".logits", ".probabilities"})
      expect_same_file(folder_ / (std::to_string(core) + name), other / (std::to_string(core) + name));
}

TEST_F(Digits, givenFloat32ThenAllHeldOutImagesAreClassifiedAsByTheFloatModel) {
  // Single precision has 2^-24 a rounding; four layers of at most 288 products each, in an order of the chip's own, add
  // up to some 1e-6 of the largest logit. A factor of ten above that.
  expect_accurate(AutoCast::kNone, 2e-5);
}

TEST_F(Digits, givenBf16ProductsThenAllHeldOutImagesAreClassifiedNearlyAsByTheFloatModel) {
  // bf16 keeps 8 significant bits: 2^-9 of each operand and each product's two operands, in four layers one after
  // another; the images themselves are exact. Errors of many products average out: 3 % leaves room, a lost layer does
  // not fit in.
  expect_accurate(AutoCast::kMatmult, 3e-2);
}

}  // namespace
}  // namespace process_test
