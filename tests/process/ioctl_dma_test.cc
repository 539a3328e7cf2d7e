// SPDX-License-Identifier: Apache-2.0
//
// ioctls about DMA engines, queues and descriptors, on the emulated device (docs/backend.md, docs/fidelity.md).
#include <gmock/gmock.h>

#include <array>
#include <memory>

#include "core/isa/inf1.h"
#include "tests/process/ioctl_client.h"

namespace opennrt::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

struct Descriptor {
  std::uint32_t control, meta;
  std::uint64_t address;
};
static_assert(sizeof(Descriptor) == inf1::kDescriptorBytes);

constexpr std::uint32_t kRing = 64, kEngine = 0, kQueue = 3;

Descriptor whole(std::uint64_t address, std::uint32_t bytes) {
  return {bytes | inf1::kInitialRingId << inf1::kDescRingIdShift | inf1::kDescFirst | inf1::kDescLast, 0, address};
}

class IoctlDma : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_GE(node.fd(), 0) << std::strerror(errno);
    tx = node.allocate(kRing * sizeof(Descriptor), true);
    rx = node.allocate(kRing * sizeof(Descriptor), true);
  }
  void TearDown() override {
    EXPECT_EQ(node.release(tx), 0);
    EXPECT_EQ(node.release(rx), 0);
  }
  int init(std::uint32_t engine = kEngine, std::uint32_t queue = kQueue) const {
    return node.ask(abi::kDmaQueueInit, abi::DmaQueueInit{engine, queue, kRing, kRing, tx, rx, 0, 0, 0});
  }
  template <class T>
  int put(std::uint64_t ring, const T& descriptors, abi::QueueType type) const {
    return node.ask(abi::kDmaCopyDescriptors64,
                    abi::DmaCopyDescriptors64{ring, Node::address(descriptors.data()),
                                              static_cast<std::uint32_t>(descriptors.size()), 0, 0, type, 0});
  }
  Node node;
  Border border;
  std::uint64_t tx = 0, rx = 0;
};

TEST_F(IoctlDma, givenAQueueWhenACopyIsStartedThenItsBytesArriveWhileTheProgramOnlyPolls) {
  const std::uint64_t from = node.allocate(4096, true), to = node.allocate(4096, false);
  EXPECT_EQ(node.write(from, std::vector<std::uint8_t>(256, 0x5a)), 0);
  EXPECT_EQ(node.ask(abi::kDmaEngInit, abi::DmaEngInit{kEngine}), 0);
  EXPECT_EQ(node.ask(abi::kDmaEngSetState, abi::DmaEngSetState{kEngine, 2}), 0);  // normal
  ASSERT_EQ(init(), 0);
  const std::array<Descriptor, 1> source{whole(node.info(from).pa, 256)}, target{whole(node.info(to).pa, 256)};
  EXPECT_EQ(put(tx, source, abi::QueueType::kTx), 0);
  const abi::DmaCopyDescriptors old{rx, Node::address(target.data()), 1, 0, abi::QueueType::kRx, 0};
  EXPECT_EQ(node.ask(abi::kDmaCopyDescriptors, old), 0);

  std::array<Descriptor, 1> back{};
  EXPECT_EQ(node.ask(abi::kDmaDescriptorCopyout, abi::DmaDescriptorCopyout{kEngine, kQueue, abi::QueueType::kTx, 0, 1,
                                                                           0, Node::address(back.data())}),
            0);
  EXPECT_EQ(back[0].address, source[0].address);

  EXPECT_EQ(node.ask(abi::kDmaQueueCopyStart, abi::DmaQueueCopyStart{kEngine, kQueue, 1, 1}), 0);
  abi::DmaQueueState txs{}, rxs{};
  const abi::DmaQueueGetState state{kEngine, kQueue, Node::address(&txs), Node::address(&rxs)};
  for (int i = 0; i < 10000 && rxs.head_pointer != 1; ++i) ASSERT_EQ(node.ask(abi::kDmaQueueGetState, state), 0);
  EXPECT_EQ(rxs.head_pointer, 1u);
  EXPECT_EQ(rxs.length, kRing);
  EXPECT_THAT(node.read(to, 256), Each(0x5a));
  EXPECT_EQ(node.ask(abi::kDmaAckCompleted, abi::DmaAckCompleted{kEngine, kQueue, 1}), 0);
  EXPECT_EQ(node.ask(abi::kDmaQueueRelease, abi::DmaQueueRelease{kEngine, kQueue}), 0);
  EXPECT_EQ(node.release(from), 0);
  EXPECT_EQ(node.release(to), 0);
}

TEST_F(IoctlDma, givenEnginesAndQueuesThatAreNotThereWhenAskedThenTheyAreRefused) {
  abi::DmaEngState engine{};
  EXPECT_EQ(node.ask(abi::kDmaEngGetState, abi::DmaEngGetState{kEngine, 0, Node::address(&engine)}), 0);
  EXPECT_EQ(engine.max_queues, 16u);
  EXPECT_EQ(node.ask(abi::kDmaEngGetState, abi::DmaEngGetState{kEngine, 0, border.unmapped()}), -EFAULT);
  EXPECT_EQ(node.ask(abi::kDmaEngGetState, abi::DmaEngGetState{99, 0, Node::address(&engine)}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaEngSetState, abi::DmaEngSetState{99, 2}), -EINVAL);
  EXPECT_EQ(init(99, 0), -EINVAL);
  EXPECT_EQ(init(0, 99), -EINVAL);
  EXPECT_EQ(init(~0u, ~0u), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaQueueCopyStart, abi::DmaQueueCopyStart{99, 0, 1, 1}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaQueueCopyStart, abi::DmaQueueCopyStart{0, 99, 1, 1}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaAckCompleted, abi::DmaAckCompleted{99, 0, 1}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDmaQueueRelease, abi::DmaQueueRelease{99, 0}), 0) << "the driver does not look";
  abi::DmaQueueState state{};
  EXPECT_EQ(
      node.ask(abi::kDmaQueueGetState, abi::DmaQueueGetState{99, 0, Node::address(&state), Node::address(&state)}),
      -EINVAL);
}

TEST_F(IoctlDma, givenABatchWhenAskedThenAllItsQueuesAreInitialisedOrItIsRefused) {
  auto batch = std::make_unique<abi::DmaQueueInitBatch>();
  *batch = {};
  batch->count = 2;
  batch->entries[0] = {kEngine, 1, kRing, kRing, tx, rx, 0, 0, 0};
  batch->entries[1] = {kEngine, 2, kRing, kRing, tx, rx, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kDmaQueueInitBatch, *batch), 0);
  abi::DmaQueueState txs{}, rxs{};
  EXPECT_EQ(
      node.ask(abi::kDmaQueueGetState, abi::DmaQueueGetState{kEngine, 2, Node::address(&txs), Node::address(&rxs)}), 0);
  EXPECT_EQ(txs.length, kRing);
  batch->count = 256;
  EXPECT_EQ(node.ask(abi::kDmaQueueInitBatch, *batch), -E2BIG);
  batch->count = ~0u;
  EXPECT_EQ(node.ask(abi::kDmaQueueInitBatch, *batch), -E2BIG);
  batch->count = 0;
  EXPECT_EQ(node.ask(abi::kDmaQueueInitBatch, *batch), 0);
  EXPECT_EQ(node.raw(abi::kDmaQueueInitBatch, border.address(100)), -EACCES) << "so the driver";
}

TEST_F(IoctlDma, givenDescriptorsThatCannotBeCopiedWhenAskedThenTheirErrno) {
  const std::array<Descriptor, 2> two{};
  const auto copy = [&](std::uint64_t handle, std::uint64_t from, std::uint32_t count, std::uint64_t offset) {
    return node.ask(abi::kDmaCopyDescriptors64,
                    abi::DmaCopyDescriptors64{handle, from, count, 0, offset, abi::QueueType::kTx, 0});
  };
  const std::uint64_t buffer = Node::address(two.data());
  EXPECT_EQ(copy(kBadHandle, buffer, 2, 0), -EINVAL);
  EXPECT_EQ(copy(tx, buffer, 2, node.info(tx).size - 16), -EINVAL);
  EXPECT_EQ(copy(tx, buffer, 2, ~0ull - 15), -EINVAL) << "a sum that overflows";
  EXPECT_EQ(copy(tx, buffer, ~0u, 0), -EINVAL) << "64 GiB of them";
  EXPECT_EQ(copy(tx, border.unmapped(), 2, 0), -EFAULT);
  EXPECT_EQ(copy(tx, border.address(16), 2, 0), -EFAULT);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ, 'N', 38, 12), buffer), -EINVAL);

  ASSERT_EQ(init(), 0);
  const auto out = [&](abi::QueueType type, std::uint32_t first, std::uint32_t count, std::uint64_t to) {
    return node.ask(abi::kDmaDescriptorCopyout, abi::DmaDescriptorCopyout{kEngine, kQueue, type, first, count, 0, to});
  };
  std::array<Descriptor, 2> back{};
  EXPECT_EQ(out(abi::QueueType::kTx, 0, 0, Node::address(back.data())), -EINVAL);
  EXPECT_EQ(out(abi::QueueType::kRx, kRing - 1, 2, Node::address(back.data())), -EFBIG);
  EXPECT_EQ(out(abi::QueueType::kTx, 1, ~0u, Node::address(back.data())), -EFBIG);
  EXPECT_EQ(out(abi::QueueType::kCompletion, 0, 1, Node::address(back.data())), -EINVAL);
  EXPECT_EQ(out(abi::QueueType::kTx, 0, 2, border.unmapped()), -EFAULT);
  EXPECT_EQ(out(abi::QueueType::kTx, 0, 2, Node::address(back.data())), 0);
  EXPECT_EQ(node.ask(abi::kDmaQueueRelease, abi::DmaQueueRelease{kEngine, kQueue}), 0);
}

TEST_F(IoctlDma, givenTheDriverOfTodayWhenAskedToQuiesceThenItNoLongerDoes) {
  EXPECT_EQ(node.ask(abi::kDmaQuiesceQueues, abi::DmaQuiesceQueues{}), -ENOTTY);
}

TEST_F(IoctlDma, givenAProcessThatHasNotOpenedTheDeviceWhenItAsksThenItMayNot) {
  EXPECT_EQ(in_child([&] { return node.ask(abi::kDmaEngInit, abi::DmaEngInit{0}) == -EACCES; }), 0);
  EXPECT_EQ(in_child([&] { return init() == -EACCES; }), 0);
  EXPECT_EQ(in_child([&] { return node.ask(abi::kMemFree, abi::MemFree{tx}) == -EACCES; }), 0);
  EXPECT_EQ(in_child([&] { return Node().ask(abi::kDmaEngInit, abi::DmaEngInit{0}) == 0; }), 0) << "but one of its own";
}

}  // namespace
}  // namespace opennrt::test
