// SPDX-License-Identifier: Apache-2.0
//
// Whole networks on the simulated chip against plain loops. Errors of many layers add up: the tolerance is that of one operator
// times the number of roundings in a row, which grows slower than the depth.
#include "models/onnx/builder.h"
#include "tests/unit/models/on_chip.h"

namespace opennrt::compile {
namespace {

using Cast = Options::AutoCast;

class Networks : public ::testing::TestWithParam<Cast> {};

TEST_P(Networks, GivenLenetWhenRunThenItEqualsPlainLoops) {
  test::expect_equals_reference(make_lenet(), GetParam(), 0, 1, 2);
}
TEST_P(Networks, GivenLenetWithABatchWhenRunThenItEqualsPlainLoops) {
  test::expect_equals_reference(make_lenet(5), GetParam(), 0, 1, 2);
}
TEST_P(Networks, GivenResnet8WhenRunThenItEqualsPlainLoops) {
  test::expect_equals_reference(make_resnet_small(1), GetParam(), 0, 1, 3);
}
TEST_P(Networks, GivenResnet20WithABatchWhenRunThenItEqualsPlainLoops) {
  test::expect_equals_reference(make_resnet_small(3, 2), GetParam(), 0, 1, 4);
}

TEST_P(Networks, GivenLessThanHalfTheSbufWhenResnet8RunsThenStreamedTensorsGiveTheSameResults) {
  // Much less SBUF than the chip has: tensors go through DRAM in bands. The program touches only what it was told of.
  Options options;
  options.limits.sbuf_bytes_per_partition = 36 * 1024;
  test::expect_equals_reference(make_resnet_small(1), GetParam(), 0, 1, 3, options);
}

TEST_P(Networks, GivenResnet50ShapesAtASmallImageWhenRunThenItEqualsPlainLoops) {
  // The channels, strides and depth of ResNet-50 on 32x32 images: every weight is used, and plain loops end in seconds.
  test::expect_equals_reference(make_resnet50_shape(1, 1, 32), GetParam(), 0, 1, 6);
}

// NeuronCore Pipeline: a network over several cores gives what it gives on one.
TEST_P(Networks, GivenLenetOverThreeCoresWhenRunThenItEqualsPlainLoops) {
  Options options;
  options.cores = 3;
  test::expect_equals_reference(make_lenet(2), GetParam(), 0, 1, 2, options);
}
TEST_P(Networks, GivenResnet8OverFourCoresWhenRunThenItEqualsPlainLoops) {
  Options options;
  options.cores = 4;
  test::expect_equals_reference(make_resnet_small(1), GetParam(), 0, 1, 3, options);
}
TEST_P(Networks, GivenOneToFourCoresWhenRunThenResultsAreTheSameBitForBit) {
  for (const auto& model : {make_lenet(), make_resnet_small(1)}) {
    const auto inputs = test::random_inputs(*onnx_model::import_model(model), 0, 1);
    std::map<std::string, std::vector<float>> one;
    for (const std::size_t cores : {1, 2, 3, 4}) {
      Options options;
      options.auto_cast = GetParam();
      options.cores = cores;
      const auto file = compile_onnx(model, options);
      ASSERT_TRUE(file) << file.error().message;
      const auto results = test::OnChip::instance().run(*file, inputs);
      ASSERT_FALSE(results.empty());
      if (cores == 1) one = results;
      EXPECT_EQ(results, one) << cores << " cores";
    }
  }
}

std::string cast_name(const ::testing::TestParamInfo<Cast>& info) {
  static constexpr const char* kNames[] = {"fp32", "matmult", "all"};
  return kNames[static_cast<int>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(All, Networks, ::testing::Values(Cast::kNone, Cast::kMatmult, Cast::kAll), cast_name);

}  // namespace
}  // namespace opennrt::compile
