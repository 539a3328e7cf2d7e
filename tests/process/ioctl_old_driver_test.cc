// SPDX-License-Identifier: Apache-2.0
//
// A driver of the first 2.x releases, as `opennrt emulate --driver 2.0` presents it: the original requests, and EINVAL for
// those that came later, which is how a runtime tells its generation (backends/emulator/preload/cdev.cc).
#include <fstream>

#include "tests/process/ioctl_client.h"

namespace opennrt::test {
namespace {

TEST(IoctlOldDriver, givenTheFirstReleaseWhenAskedThenOnlyTheOriginalRequests) {
  std::string version;
  std::ifstream file("/sys/module/neuron/version");
  std::getline(file, version);
  EXPECT_TRUE(version.starts_with("2.0")) << version;
  Node node;
  ASSERT_GE(node.fd(), 0);
  std::uint64_t handle = 0;
  const std::uint64_t where = Node::address(&handle);
  EXPECT_EQ(node.ask(abi::kMemAllocV2Mt64, abi::MemAllocV2Mt64{4096, 0, 0, 0, 0, 0, 9, 0, where, 0, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemAllocV2Mt, abi::MemAllocV2Mt{4096, 0, 0, 0, 0, 0, 9, 0, where}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemAllocV2, abi::MemAllocV2{4096, 0, 0, 0, 0, 0, where}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemAlloc, abi::MemAlloc{4096, 0, 0, 0, 0, where}), 0);
  std::uint8_t byte = 42;
  EXPECT_EQ(node.copy(handle, &byte, 1, 0, true), -EINVAL) << "64 bits";
  EXPECT_EQ(node.ask(abi::kMemBufCopy, abi::MemBufCopy{handle, Node::address(&byte), 1, 0, 1, 0}), 0);
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{handle, handle, 1, 0, 8}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy, abi::MemCopy{handle, handle, 1, 0, 8, 0}), 0);
  EXPECT_EQ(node.ask(abi::kMemset64, abi::Memset64{handle, 0, 0, 0, 1}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{handle, 0, 0, 1}), 0);
  EXPECT_EQ(node.ask(abi::kMemFree, abi::MemFree{handle}), 0);
  Node free(0, O_WRONLY);
  abi::CrwlNcMapExt large{1, 0, 3, 0, {}};
  EXPECT_EQ(free.ask(abi::kCrwlNcRangeMarkExt0, large), -EINVAL);
  abi::CrwlNcMap small{1, 0, 3, 0, 0};
  EXPECT_EQ(free.ask(abi::kCrwlNcRangeMark, small), 0);
  EXPECT_EQ(free.ask(abi::kCrwlNcRangeUnmark, small), 0);
  abi::DeviceDriverInfo info{};
  EXPECT_EQ(node.ask(abi::kDriverInfoGet, info), -EINVAL);
  EXPECT_EQ(node.ask(abi::kNcReset, abi::DeviceReset{1, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaQuiesceQueues, abi::DmaQuiesceQueues{}), 0) << "which later drivers no longer do";
}

}  // namespace
}  // namespace opennrt::test
