// SPDX-License-Identifier: Apache-2.0
//
// The user-mode driver over the null backend: memory is real, programs load, and nothing ever executes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/subgraph_builder.h"
#include "tests/support/umd_fixture.h"

namespace opennrt::umd {
namespace {

using ::testing::HasSubstr;

TEST(UmdNull, givenAProgramWhenExecutedThenItTimesOutAndAllIsFreedAfterwards) {
  test::Host host;
  auto backend = Backend::open("null", host.backend_dir(), host.host);
  ASSERT_TRUE(backend) << backend.error().message;
  EXPECT_EQ((*backend)->name(), "null");
  auto device = Device::open(*backend, 0);
  ASSERT_TRUE(device) << device.error().message;
  opennrt_mem_stats_t before{}, after{};
  ASSERT_EQ((*device)->api().mem_stats((*device)->handle(), 0, &before), 0);
  {
    auto program = Program::load(*device, 0, test::copy_program(4, 8).graph);
    ASSERT_TRUE(program) << program.error().message;
    ASSERT_EQ((*device)->api().mem_stats((*device)->handle(), 0, &after), 0);
    EXPECT_GE(after.used, before.used + (*program)->memory_use().code);
    std::vector<float> in(32), out(32, 5.0f);
    for (int i = 0; i < 3; ++i) {
      auto report = (*program)->execute(std::vector{test::host_binding("in", in)},
                                        std::vector{test::host_binding("out", out)}, 2'000'000'000);
      ASSERT_TRUE(report) << report.error().message;
      EXPECT_EQ(report->outcome, Outcome::kTimeout) << report->message;
      EXPECT_THAT(report->message, HasSubstr("inference timeout (2000 ms) on Neuron Device 0 NC 0"));
      EXPECT_EQ(out[0], 5.0f);  // outputs of an inference that did not end are not touched
    }
  }
  ASSERT_EQ((*device)->api().mem_stats((*device)->handle(), 0, &after), 0);
  EXPECT_EQ(after.used, before.used);
}

TEST(UmdNull, givenMoreThanTheDeviceHasWhenAllocatedThenTheAmountsAreNamed) {
  test::Host host;
  auto backend = Backend::open("null", host.backend_dir(), host.host);
  ASSERT_TRUE(backend);
  auto device = Device::open(*backend, 0);
  ASSERT_TRUE(device);
  auto memory = (*device)->allocate_device(1ull << 40, 2, OPENNRT_MEM_TENSORS_DEVICE);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::kResource);
  EXPECT_THAT(memory.error().message, HasSubstr("1099511627776 bytes asked for (tensors)"));
  EXPECT_FALSE(Device::open(*backend, 99));
}

}  // namespace
}  // namespace opennrt::umd
