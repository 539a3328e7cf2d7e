// SPDX-License-Identifier: Apache-2.0
//
// `opennrt run`, `bench`, `stats` and the demo: the digits model on the simulated chip against the float reference.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/unit/tools/fixture.h"

namespace opennrt::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::size_t kClasses = 10;

class Run : public Tool {
 protected:
  std::vector<float> reference(std::size_t index) const {
    const std::vector<float> all = floats(load(digits("heldout_logits.npy")));
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index * kClasses);
    return {begin, begin + kClasses};
  }
};

TEST_F(Run, GivenAHandMadeSumThenItIsExactAndMissingInputsAreZero) {
  const auto neff = NeffBuilder::of(binary_program(isa::Alu::kAdd, 8, 16).graph).build();
  write_text(folder_ / "sum.neff", std::string(reinterpret_cast<const char*>(neff.data()), neff.size()));
  std::vector<float> values(8 * 16);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.5f;
  const auto bytes = std::as_bytes(std::span(values));
  const std::string file = save("a.npy", {"float32", {8, 16}, {bytes.begin(), bytes.end()}}),
                    out = (folder_ / "out").string();
  const std::string model = (folder_ / "sum.neff").string();

  const Outcome both = opennrt({"run", model, "-i", "a=" + file, "-i", "b=" + file, "-d", out});
  ASSERT_EQ(both.exit, 0) << both.err;
  const std::vector<float> sum = floats(load(out + "/out.npy"));
  ASSERT_EQ(sum.size(), values.size());
  for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], 2 * values[i]) << i;

  const Outcome one = opennrt({"run", model, "-i", "a=" + file, "--zero-inputs", "-d", out});
  ASSERT_EQ(one.exit, 0) << one.err;
  EXPECT_EQ(floats(load(out + "/out.npy")), values);
  expect_failure(opennrt({"run", model, "-i", "a=" + file, "-d", out}), 1, HasSubstr("input b (float32 [8, 16])"));
}

TEST_F(Run, GivenImagesThenLogitsEqualTheFloatReference) {
  const std::string neff = compiled_digits();
  for (const std::size_t index : {0u, 17u, 359u}) {
    const std::string out = (folder_ / ("out" + std::to_string(index))).string();
    const Outcome outcome = opennrt({"run", neff, "--input", "image=" + image(index), "--output-dir", out});
    ASSERT_EQ(outcome.exit, 0) << outcome.err;
    const neff::NpyArray array = load(out + "/logits.npy");
    EXPECT_EQ(array.shape, (std::vector<std::uint64_t>{1, kClasses}));
    const std::vector<float> logits = floats(array), expected = reference(index);
    ASSERT_EQ(logits.size(), kClasses);
    // fp32 all the way, a few hundred products per sum, logits of magnitude 10: 1e-3 leaves a decade over fp32's rounding.
    for (std::size_t k = 0; k < kClasses; ++k)
      EXPECT_NEAR(logits[k], expected[k], 1e-3) << "image " << index << " class " << k;
    const std::vector<float> probabilities = floats(load(out + "/probabilities.npy"));
    double sum = 0;
    for (const float p : probabilities) sum += p;
    EXPECT_NEAR(sum, 1.0, 1e-4);
    for (std::size_t k = 1; k < kClasses; ++k)
      EXPECT_NEAR(std::log(probabilities[k] / probabilities[0]), expected[k] - expected[0], 1e-2);
  }
}

TEST_F(Run, GivenBf16ProductsThenLogitsAreNearTheFloatReference) {
  const std::string neff = compiled_digits("matmult"), out = (folder_ / "out").string();
  const Outcome outcome = opennrt({"run", neff, "--input", "image=" + image(5), "--output-dir", out});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  const std::vector<float> logits = floats(load(out + "/logits.npy")), expected = reference(5);
  double largest = 0, apart = 0;
  for (std::size_t k = 0; k < kClasses; ++k) {
    largest = std::max(largest, std::fabs(static_cast<double>(expected[k])));
    apart = std::max(apart, std::fabs(static_cast<double>(logits[k]) - expected[k]));
  }
  // bf16 keeps 8 bits: 2^-9 relative per operand, through four layers of products.
  EXPECT_LT(apart, 0.03 * largest);
  EXPECT_GT(apart, 0.0) << "bf16 was asked for, fp32 was computed";
}

TEST_F(Run, GivenTheSameRunTwiceThenSameBytesAndSameSimulatedTime) {
  const std::string neff = compiled_digits(), input = "image=" + image(3);
  std::string bytes[2], summary[2];
  for (int i = 0; i < 2; ++i) {
    const std::string out = (folder_ / ("out" + std::to_string(i))).string(), stats = out + ".json";
    const Outcome outcome =
        opennrt({"run", neff, "-i", input, "-d", out, "--repeat", "3"}, {{"OPENNRT_SIM_STATS", stats}});
    ASSERT_EQ(outcome.exit, 0) << outcome.err;
    bytes[i] = read_text(out + "/logits.npy") + read_text(out + "/probabilities.npy");
    summary[i] = read_text(stats);
  }
  EXPECT_EQ(bytes[0], bytes[1]);
  EXPECT_EQ(summary[0], summary[1]);
  EXPECT_NE(summary[0], "");
}

TEST_F(Run, GivenWrongShapeOrTypeThenTensorGotAndExpectedAreNamed) {
  const std::string neff = compiled_digits();
  const std::string flat = save("flat.npy", {"float32", {64}, std::vector<std::byte>(256)});
  expect_failure(opennrt({"run", neff, "-i", "image=" + flat}), 1,
                 AllOf(HasSubstr("image"), HasSubstr("float32 [64]"), HasSubstr("float32 [1, 1, 8, 8]")));
  const std::string whole = save("int.npy", {"int32", {1, 1, 8, 8}, std::vector<std::byte>(256)});
  expect_failure(opennrt({"run", neff, "-i", "image=" + whole}), 1,
                 AllOf(HasSubstr("image"), HasSubstr("int32 [1, 1, 8, 8]"), HasSubstr("expected float32")));
}

TEST_F(Run, GivenInputsThatDoNotFitTheModelThenTheyAreNamed) {
  const std::string neff = compiled_digits(), good = image(0);
  expect_failure(opennrt({"run", neff}), 1, AllOf(HasSubstr("input image"), HasSubstr("--zero-inputs")));
  expect_failure(opennrt({"run", neff, "-i", "image=" + good, "-i", "mask=" + good}), 1, HasSubstr("no input 'mask'"));
  expect_failure(opennrt({"run", neff, "-i", "logits=" + good, "--zero-inputs"}), 1, HasSubstr("no input 'logits'"));
  expect_failure(opennrt({"run", neff, "-i", "image=" + good, "-i", "image=" + good}), 1, HasSubstr("twice"));
  expect_failure(opennrt({"run", neff, "-i", "image"}), 1, HasSubstr("NAME=FILE.npy"));
  write_text(folder_ / "no.npy", "not an array");
  expect_failure(opennrt({"run", neff, "-i", "image=" + (folder_ / "no.npy").string()}), 1, HasSubstr("no.npy"));
}

TEST_F(Run, GivenZeroInputsThenItRunsAndWithoutFolderWritesNothing) {
  const Outcome outcome = opennrt({"run", compiled_digits(), "--zero-inputs"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 execution in"));
}

TEST_F(Run, GivenANeffThatCannotBeLoadedThenStatusAndFileAreNamed) {
  const std::string good = read_text(compiled_digits()), file = (folder_ / "bad.neff").string();
  write_text(file, good.substr(0, good.size() / 2));
  expect_failure(opennrt({"run", file, "--zero-inputs"}), 1, AllOf(HasSubstr("bad.neff"), HasSubstr("NRT_INVALID")));
  std::string newer = good;
  newer[24] = 2;  // major version, work-with-neff-files.rst
  write_text(file, newer);
  expect_failure(opennrt({"run", file, "--zero-inputs"}), 1, HasSubstr("NRT_UNSUPPORTED_NEFF_VERSION"));
}

TEST_F(Run, GivenACoreThatIsNotThereThenItFails) {
  expect_failure(opennrt({"run", compiled_digits(), "--zero-inputs", "--core", "900"}), 1, HasSubstr("NRT_"));
}

TEST_F(Run, GivenAnUnknownBackendThenItFails) {
  expect_failure(opennrt({"run", compiled_digits(), "--zero-inputs"}, {{"OPENNRT_BACKEND", "nonsense"}}), 1,
                 HasSubstr("nrt_init"));
}

TEST_F(Run, BenchMeasuresAsManyInferencesAsAskedFor) {
  const std::string neff = compiled_digits();
  const Outcome one = opennrt({"bench", neff, "--iterations", "5"});
  ASSERT_EQ(one.exit, 0) << one.err;
  EXPECT_THAT(one.out,
              AllOf(HasSubstr("5 inferences, 1 thread,"), HasSubstr("simulated time"), HasSubstr("inferences/s")));
  const Outcome several = opennrt({"bench", neff, "--iterations", "9", "--threads", "3", "--copies", "2"});
  ASSERT_EQ(several.exit, 0) << several.err;
  EXPECT_THAT(several.out, HasSubstr("9 inferences, 3 threads, 2 copies"));
  const Outcome timed = opennrt({"bench", neff, "--seconds", "0.05"});
  EXPECT_EQ(timed.exit, 0) << timed.err;
}

// E4
TEST_F(Run, GivenAPipelineThenResultsAreThoseOfOneCore) {
  const std::string one = compiled_digits(), two = (folder_ / "two.neff").string();
  ASSERT_EQ(opennrt({"compile", digits("digits.onnx").string(), "-o", two, "--cores", "2"}).exit, 0);
  const auto logits = [&](const std::string& neff, const std::string& out) {
    const Outcome done =
        opennrt({"run", neff, "-i", "image=" + image(3), "-d", (folder_ / out).string(), "--core", "1"});
    EXPECT_EQ(done.exit, 0) << done.err;
    return read_text(folder_ / out / "logits.npy");
  };
  EXPECT_EQ(logits(two, "out2"), logits(one, "out1"));
  EXPECT_GT(read_text(folder_ / "out2" / "logits.npy").size(), 40u);
  const Outcome bench = opennrt({"bench", two, "--iterations", "9", "--threads", "3", "--copies", "2"});
  EXPECT_EQ(bench.exit, 0) << bench.err;
  EXPECT_THAT(bench.out, AllOf(HasSubstr("on 4 cores"), HasSubstr("simulated throughput")));
  // The last core has no neighbour for the second stage.
  expect_failure(opennrt({"run", two, "--zero-inputs", "--core", "3"}), 1, HasSubstr("NRT_LOAD_NOT_ENOUGH_NC"));
}

TEST_F(Run, StatsShowsUtilisationOfEveryEngine) {
  const std::string stats = (folder_ / "stats.json").string();
  ASSERT_EQ(opennrt({"run", compiled_digits(), "--zero-inputs"}, {{"OPENNRT_SIM_STATS", stats}}).exit, 0);
  const Outcome outcome = opennrt({"stats", stats, "--inferences", "1"});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("pe "), HasSubstr("act "), HasSubstr("pool "), HasSubstr("per inference")));
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("waited for semaphores:"), HasSubstr("queue 0/"), HasSubstr("roofline: "),
                                 HasSubstr("memory-bound")));
  // The same at once, without a file.
  const Outcome at_once = opennrt({"run", compiled_digits(), "--zero-inputs", "--stats"});
  ASSERT_EQ(at_once.exit, 0) << at_once.err;
  EXPECT_THAT(at_once.out, HasSubstr(outcome.out));
  write_text(folder_ / "bad.json", "{\"cores\": 3}");
  expect_failure(opennrt({"stats", (folder_ / "bad.json").string()}), 1, HasSubstr("bad.json"));
  write_text(folder_ / "none.json", "");
  expect_failure(opennrt({"stats", (folder_ / "none.json").string()}), 1, HasSubstr("none.json"));
}

/// The demo's program over a data set of its own: the first images, and what is to be taken for their float reference.
class Demo : public Run {
 protected:
  static constexpr std::size_t kImages = 20;

  void dataset(const std::vector<float>& reference_logits) {
    const auto part = [&](const std::string& name, std::size_t bytes, std::vector<std::uint64_t> shape) {
      neff::NpyArray array = load(digits(name));
      array.data.resize(bytes);
      array.shape = std::move(shape);
      save(name, array);
    };
    part("heldout_images.npy", kImages * 64 * sizeof(float), {kImages, 1, 8, 8});
    part("heldout_labels.npy", kImages, {kImages});
    neff::NpyArray logits{"float32", {kImages, kClasses}, std::vector<std::byte>(kImages * kClasses * sizeof(float))};
    std::memcpy(logits.data.data(), reference_logits.data(), logits.data.size());
    save("heldout_logits.npy", logits);
  }
  Outcome demo(const std::string& neff) const {
    return run_program({bin("opennrt-demo-digits").string(), neff, folder_.path().string(), "3"},
                       {{"OPENNRT_BACKEND", "sim"}});
  }
};

TEST_F(Demo, GivenTheDigitsModelThenItAgreesWithTheReferenceAndSucceeds) {
  dataset(floats(load(digits("heldout_logits.npy"))));
  const Outcome outcome = demo(compiled_digits());
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("same answer           20 of 20"), HasSubstr("label "), HasSubstr("answer ")));
}

TEST_F(Demo, GivenAModelWorseThanTheReferenceThenItFails) {
  // Blank images get one answer for all of them; the reference is made to be always right.
  std::vector<float> perfect(kImages * kClasses, 0.0f);
  const neff::NpyArray labels = load(digits("heldout_labels.npy"));
  for (std::size_t i = 0; i < kImages; ++i) perfect[i * kClasses + static_cast<std::size_t>(labels.data[i])] = 1.0f;
  dataset(perfect);
  save("heldout_images.npy", {"float32", {kImages, 1, 8, 8}, std::vector<std::byte>(kImages * 64 * sizeof(float))});
  const Outcome outcome = demo(compiled_digits());
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("accuracy is"));
}

TEST_F(Demo, GivenBrokenDataOrModelThenItSaysSoAndFails) {
  dataset(floats(load(digits("heldout_logits.npy"))));
  write_text(folder_ / "bad.neff", "no NEFF");
  EXPECT_EQ(demo((folder_ / "bad.neff").string()).exit, 1);
  EXPECT_EQ(demo("/nowhere/x.neff").exit, 1);
  save("heldout_labels.npy", {"uint8", {kImages - 1}, std::vector<std::byte>(kImages - 1)});
  const Outcome outcome = demo(compiled_digits());
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("do not belong together"));
}

}  // namespace
}  // namespace opennrt::test
