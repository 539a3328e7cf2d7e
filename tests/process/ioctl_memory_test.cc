// SPDX-License-Identifier: Apache-2.0
//
// ioctls about memory, on the emulated device (docs/backend.md, docs/fidelity.md).
#include <gmock/gmock.h>

#include "core/isa/inf1.h"
#include "tests/process/ioctl_client.h"

namespace opennrt::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

class IoctlMemory : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_GE(node.fd(), 0) << std::strerror(errno); }
  Node node;
  Border border;
};

TEST_F(IoctlMemory, givenEachGenerationOfAllocationWhenAskedThenMemoryOfThatSizeIsThere) {
  for (const bool host : {true, false}) {
    std::uint64_t handles[4] = {};
    abi::MemAlloc first{4096, host, 0, 0, 0, Node::address(&handles[0])};
    abi::MemAllocV2 second{8192, host ? 0u : 4096u, host, 0, 0, 0, Node::address(&handles[1])};
    abi::MemAllocV2Mt third{4096, 0, host, 1, 0, 1, host ? 2u : 9u, 0, Node::address(&handles[2])};
    abi::MemAllocV2Mt64 fourth{4096, 0, host, 0, 0, 2, host ? 2u : 9u, 0, Node::address(&handles[3]), 0, 0};
    EXPECT_EQ(node.ask(abi::kMemAlloc, first), 0);
    EXPECT_EQ(node.ask(abi::kMemAllocV2, second), 0);
    EXPECT_EQ(node.ask(abi::kMemAllocV2Mt, third), 0);
    EXPECT_EQ(node.ask(abi::kMemAllocV2Mt64, fourth), 0);
    EXPECT_EQ(node.info(handles[1]).size, 8192u);
    EXPECT_EQ(node.info(handles[1]).pa % 4096, 0u);
    second.align = 4096;
    if (host) {
      EXPECT_EQ(node.ask(abi::kMemAllocV2, second), -EINVAL) << "the driver aligns device memory only";
    }
    for (const std::uint64_t handle : handles) {
      const auto info = node.info(handle);
      EXPECT_EQ(info.host_memory, host ? 1u : 0u);
      EXPECT_EQ(info.pid, static_cast<std::uint64_t>(::getpid()));
      EXPECT_EQ(node.release(handle), 0);
      EXPECT_EQ(node.release(handle), -EINVAL) << "a handle that was freed";
    }
  }
}

TEST_F(IoctlMemory, givenAllocationsThatCannotBeWhenAskedThenTheirErrno) {
  std::uint64_t handle = 0;
  const auto allocate = [&](std::uint64_t bytes, std::uint32_t channel, std::uint64_t where) {
    return node.ask(abi::kMemAllocV2Mt64, abi::MemAllocV2Mt64{bytes, 0, 0, channel, 0, 0, 9, 0, where, 0, 0});
  };
  EXPECT_EQ(allocate(~0ull, 0, Node::address(&handle)), -EINVAL) << "more than there is, and a sum that would overflow";
  EXPECT_EQ(allocate(1ull << 40, 0, Node::address(&handle)), -ENOMEM);
  EXPECT_EQ(allocate(4096, 99, Node::address(&handle)), -EINVAL) << "no such channel";
  EXPECT_EQ(allocate(0, 0, Node::address(&handle)), -ENOMEM) << "nothing";
  EXPECT_EQ(allocate(4096, 0, border.unmapped()), -EFAULT) << "the handle cannot be stored";
  EXPECT_EQ(allocate(4096, 0, border.address(4)), -EFAULT) << "half of it cannot";
  EXPECT_EQ(handle, 0u);
  EXPECT_EQ(node.raw(abi::kMemAlloc, border.unmapped()), -EACCES) << "so the driver";
  EXPECT_EQ(node.raw(_IOC(_IOC_READ, 'N', 102, 24), Node::address(&handle)), -EINVAL) << "no generation has this size";
}

TEST_F(IoctlMemory, givenNoRoomForTheHandleWhenAllocatedManyTimesThenNothingIsLost) {
  // 1 GiB of it would be gone after a few, had the driver kept what it could not tell about.
  for (int i = 0; i < 64; ++i) {
    ASSERT_EQ(
        node.ask(abi::kMemAllocV2Mt64, abi::MemAllocV2Mt64{1 << 30, 0, 0, 0, 0, 0, 9, 0, border.unmapped(), 0, 0}),
        -EFAULT);
  }
  EXPECT_EQ(node.release(node.allocate(1 << 30, false)), 0);
}

TEST_F(IoctlMemory, givenAHandleWhenInformationIsAskedThenAllRequestsAgree) {
  const std::uint64_t host = node.allocate(8192, true), device = node.allocate(8192, false);
  for (const std::uint64_t handle : {host, device}) {
    const auto info = node.info(handle);
    std::uint64_t pa = 0, offset = 0, only = 0;
    EXPECT_EQ(node.ask(abi::kMemGetInfo, abi::MemGetInfo{handle, Node::address(&offset), Node::address(&pa)}), 0);
    EXPECT_EQ(node.ask(abi::kMemGetPa, abi::MemGetPa{handle, Node::address(&only)}), 0);
    EXPECT_EQ(offset, info.mmap_offset);
    EXPECT_EQ(pa, only);
    abi::MemGetMcMmapInfo where{};
    where.pa = info.pa + 100;  // within
    EXPECT_EQ(node.ask(abi::kMemMcGetInfo, where), 0);
    EXPECT_EQ(where.size, 8192u);
    EXPECT_EQ(where.mmap_offset, info.mmap_offset);
    abi::MemGetMcMmapInfoV2 named{};
    named.pa = info.pa;
    EXPECT_EQ(node.ask(abi::kMemMcGetInfoV2, named), 0);
    EXPECT_EQ(named.mem_handle, handle);
  }
  std::uint64_t out = 0;
  EXPECT_EQ(node.ask(abi::kMemGetPa, abi::MemGetPa{kBadHandle, Node::address(&out)}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemGetPa, abi::MemGetPa{host, border.unmapped()}), -EFAULT);
  EXPECT_EQ(node.ask(abi::kMemGetInfo, abi::MemGetInfo{kBadHandle, 0, Node::address(&out)}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemGetInfo, abi::MemGetInfo{host, border.unmapped(), Node::address(&out)}), -EFAULT);
  EXPECT_EQ(node.ask(abi::kMemGetInfo, abi::MemGetInfo{host, 0, Node::address(&out)}), 0) << "no offset wanted";
  abi::MemGetExtendedInfo bad{};
  bad.mem_handle = kBadHandle;
  EXPECT_EQ(node.ask(abi::kMemGetExtendedInfo, bad), -EINVAL);
  abi::MemGetMcMmapInfo nowhere{0x7fff'0000'0000, 0, 0};
  EXPECT_EQ(node.ask(abi::kMemMcGetInfo, nowhere), -ENOMEM);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ | _IOC_WRITE, 'N', 111, 8), Node::address(&out)), -EINVAL);
  EXPECT_EQ(node.release(host), 0);
  EXPECT_EQ(node.release(device), 0);
}

TEST_F(IoctlMemory, givenBothGenerationsWhenCopiedThenBytesArriveWhereTheyShould) {
  const std::uint64_t a = node.allocate(4096, false), b = node.allocate(4096, true);
  std::uint8_t in[4] = {1, 2, 3, 4}, out[4] = {};
  EXPECT_EQ(node.ask(abi::kMemBufCopy, abi::MemBufCopy{a, Node::address(in), 4, 8, 1, 0}), 0);
  EXPECT_EQ(node.ask(abi::kMemCopy, abi::MemCopy{a, b, 4, 8, 100, 0}), 0);
  EXPECT_EQ(node.ask(abi::kMemBufCopy, abi::MemBufCopy{b, Node::address(out), 4, 100, 0, 0}), 0);
  EXPECT_THAT(out, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{b, a, 4, 100, 2000}), 0);
  EXPECT_THAT(node.read(a, 4, 2000), ElementsAre(1, 2, 3, 4));
  abi::MemBufCopy64 zero{a, Node::address(in), 2, 3000, 1, 0};
  EXPECT_EQ(node.ask(abi::kMemBufZerocopy64, zero), 0);
  EXPECT_THAT(node.read(a, 2, 3000), ElementsAre(1, 2));
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{a, 0, 7, 64}), 0);
  EXPECT_THAT(node.read(a, 64), Each(7));
  EXPECT_EQ(node.ask(abi::kMemset64, abi::Memset64{b, 64, 9, 0, 64}), 0);
  EXPECT_THAT(node.read(b, 64, 64), Each(9));
  EXPECT_EQ(node.release(a), 0);
  EXPECT_EQ(node.release(b), 0);
}

TEST_F(IoctlMemory, givenCopiesThatCannotBeWhenAskedThenTheirErrno) {
  const std::uint64_t h = node.allocate(4096, false);
  std::uint8_t byte[64] = {};
  const std::uint64_t buffer = Node::address(byte);
  const auto copy = [&](std::uint64_t handle, std::uint64_t from, std::uint64_t bytes, std::uint64_t offset, bool in) {
    return node.ask(abi::kMemBufCopy64, abi::MemBufCopy64{handle, from, bytes, offset, in, 0});
  };
  for (const bool in : {true, false}) {
    EXPECT_EQ(copy(kBadHandle, buffer, 4, 0, in), -EINVAL);
    EXPECT_EQ(copy(h, buffer, 64, 4090, in), -EINVAL) << "beyond the end";
    EXPECT_EQ(copy(h, buffer, ~0ull, 1, in), -EINVAL) << "a sum that overflows";
    EXPECT_EQ(copy(h, buffer, 2, ~0ull, in), -EINVAL);
    EXPECT_EQ(copy(h, border.unmapped(), 16, 0, in), -EFAULT);
    EXPECT_EQ(copy(h, border.address(8), 16, 0, in), -EFAULT) << "half of it mapped";
    EXPECT_EQ(copy(h, border.address(8), 8, 0, in), 0) << "all of it";
    EXPECT_EQ(copy(kBadHandle, border.unmapped(), 16, 0, in), -EINVAL) << "the handle is looked at first";
    EXPECT_EQ(node.ask(abi::kMemBufZerocopy64, abi::MemBufCopy64{h, border.unmapped(), 16, 0, in, 0}), -EFAULT);
    EXPECT_EQ(node.ask(abi::kMemBufZerocopy64, abi::MemBufCopy64{kBadHandle, buffer, 16, 0, in, 0}), -EINVAL);
  }
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{h, kBadHandle, 4, 0, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{kBadHandle, h, 4, 0, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{h, h, 16, 4090, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{h, h, 16, 0, 4090}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy64, abi::MemCopy64{h, h, ~0ull, 1, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy, abi::MemCopy{h, h, ~0u, 1, 0, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{kBadHandle, 0, 0, 4}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{h, 4095, 0, 4}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemset64, abi::Memset64{h, 1, 0, 0, ~0ull}), -EINVAL);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ, 'N', 23, 12), buffer), -EINVAL) << "no generation has this size";
  EXPECT_EQ(node.raw(_IOC(_IOC_READ | _IOC_WRITE, 'N', 24, 12), buffer), -EINVAL);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ, 'N', 28, 12), buffer), -EINVAL);
  EXPECT_EQ(node.release(h), 0);
}

TEST_F(IoctlMemory, givenAnotherDevicesHandleWhenUsedThenItMeansNothing) {
  Node other(1);
  ASSERT_GE(other.fd(), 0);
  std::vector<std::uint64_t> made;
  for (int i = 0; i < 8; ++i) made.push_back(other.allocate(4096, false));
  const std::uint64_t foreign = made.back();  // device 0 has not made as many
  const std::uint64_t own = node.allocate(4096, false);
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{foreign, 0, 0, 4}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopy, abi::MemCopy{own, foreign, 4, 0, 0, 0}), -EINVAL);
  EXPECT_EQ(node.release(foreign), -EINVAL);
  for (const std::uint64_t handle : made) EXPECT_EQ(other.release(handle), 0);
  EXPECT_EQ(node.release(own), 0);
}

TEST_F(IoctlMemory, givenAsynchronousCopiesWhenChainedThenTheHandlesAlternateAndEndWithAWait) {
  const std::uint64_t a = node.allocate(64, false), b = node.allocate(64, true);
  EXPECT_EQ(node.write(a, {5, 6, 7, 8}), 0);
  constexpr std::uint32_t kNone = ~0u;
  abi::MemCopyAsync first{a, b, 4, 0, 0, 0, 0, kNone, 0};
  EXPECT_EQ(node.ask(abi::kMemCopyAsync, first), 0);
  EXPECT_EQ(first.wait_handle, 1u);
  abi::MemCopyAsync64 second{a, b, 4, 0, 32, 0, first.wait_handle, 0};
  EXPECT_EQ(node.ask(abi::kMemCopyAsync64, second), 0);
  EXPECT_EQ(second.wait_handle, 2u);
  EXPECT_EQ(node.ask(abi::kMemCopyAsyncWait, abi::MemCopyAsyncWait{a, b, second.wait_handle, 0}), 0);
  EXPECT_THAT(node.read(b, 4, 32), ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(node.ask(abi::kMemCopyAsyncWait, abi::MemCopyAsyncWait{a, b, second.wait_handle, 0}), -EINVAL)
      << "waited for";
  EXPECT_EQ(node.ask(abi::kMemCopyAsyncWait, abi::MemCopyAsyncWait{a, b, 7, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kMemCopyAsyncWait, abi::MemCopyAsyncWait{kBadHandle, b, 1, 0}), -EINVAL);
  abi::MemCopyAsync bad = first;
  bad.pwait_handle = 9;
  EXPECT_EQ(node.ask(abi::kMemCopyAsync, bad), -EINVAL);
  bad = first;
  bad.dst_mem_handle = kBadHandle;
  EXPECT_EQ(node.ask(abi::kMemCopyAsync, bad), -EINVAL);
  second.size = ~0ull;
  second.src_offset = 8;
  EXPECT_EQ(node.ask(abi::kMemCopyAsync64, second), -EINVAL);
  EXPECT_EQ(node.release(a), 0);
  EXPECT_EQ(node.release(b), 0);
}

TEST_F(IoctlMemory, givenAProcessThatIsNotAttachedWhenItCopiesAsynchronouslyThenThatIsAskedFirst) {
  EXPECT_EQ(in_child([&] {
              return node.ask(abi::kMemCopyAsync, abi::MemCopyAsync{}) == -EACCES &&
                     node.ask(abi::kMemCopyAsyncWait, abi::MemCopyAsyncWait{kBadHandle, kBadHandle, 1, 0}) == -EACCES &&
                     node.raw(abi::kMemCopyAsyncWait, border.unmapped()) == -EACCES;
            }),
            0);
}

TEST_F(IoctlMemory, givenTheCoresWindowWhenProgrammedThenOutsideOfItIsRefused) {
  std::uint8_t instruction[64] = {};
  const std::uint64_t buffer = Node::address(instruction);
  const std::uint64_t end = inf1::kTpbBase + (4ull << 26);
  EXPECT_EQ(node.ask(abi::kProgramEngine, abi::ProgramEngine{4096, buffer, 64, 0}), -ENOMEM);
  EXPECT_EQ(node.ask(abi::kProgramEngine, abi::ProgramEngine{end - 32, buffer, 64, 0}), -ENOMEM);
  EXPECT_EQ(node.ask(abi::kProgramEngineNc, abi::ProgramEngineNc{0, 0, ~0ull - 8, buffer, 64, 0}), -ENOMEM);
  EXPECT_EQ(node.ask(abi::kProgramEngineNc64, abi::ProgramEngineNc64{0, 0, inf1::kTpbBase, buffer, ~0ull, 64}),
            -ENOMEM);
  EXPECT_EQ(node.ask(abi::kProgramEngineNc64, abi::ProgramEngineNc64{0, 0, inf1::kTpbBase, border.unmapped(), 64, 0}),
            -EFAULT);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ | _IOC_WRITE, 'N', 105, 12), buffer), -EINVAL);
  // SBUF begins the window of core 0.
  EXPECT_EQ(node.ask(abi::kProgramEngine, abi::ProgramEngine{inf1::kTpbBase, buffer, 64, 0}), 0);
  EXPECT_EQ(node.ask(abi::kProgramEngineNc, abi::ProgramEngineNc{0, 0, inf1::kTpbBase, buffer, 64, 0}), 0);
  EXPECT_EQ(node.ask(abi::kProgramEngineNc64, abi::ProgramEngineNc64{0, 0, inf1::kTpbBase, buffer, 64, 0}), 0);
}

TEST_F(IoctlMemory, givenWhatInf1DoesNotHaveWhenAskedThenTheDriversAnswer) {
  int fd = -1;
  EXPECT_EQ(node.ask(abi::kDmabufFd, abi::DmabufFd{4096, 4096, Node::address(&fd)}), -EPROTONOSUPPORT);
  abi::ResourceMmapInfo semaphores{};
  EXPECT_EQ(node.ask(abi::kResourceMmapInfo, semaphores), 0);
  EXPECT_EQ(semaphores.size, 0u);
  abi::ResourceMmapInfo other{9, 0, 0, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kResourceMmapInfo, other), -EINVAL);
}

// ---- mmap ----

TEST_F(IoctlMemory, givenHostMemoryWhenMappedThenTheDeviceAndTheProgramSeeTheSameBytes) {
  const std::uint64_t h = node.allocate(8192, true);
  const auto offset = static_cast<off_t>(node.info(h).mmap_offset);
  auto* map = static_cast<std::uint8_t*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, node.fd(), offset));
  ASSERT_NE(map, MAP_FAILED) << std::strerror(errno);
  map[5000] = 42;
  EXPECT_THAT(node.read(h, 1, 5000), ElementsAre(42));
  EXPECT_EQ(node.ask(abi::kMemset, abi::Memset{h, 0, 3, 8}), 0);
  EXPECT_EQ(map[7], 3);
  EXPECT_EQ(::munmap(map, 8192), 0);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, node.fd(), offset), MAP_FAILED) << "not the whole of it";
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, node.fd(), 1), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(::mmap(nullptr, 0, PROT_READ, MAP_SHARED, node.fd(), offset), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(node.release(h), 0);
  EXPECT_EQ(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, node.fd(), offset), MAP_FAILED) << "freed";
  EXPECT_EQ(errno, EPERM);
}

TEST_F(IoctlMemory, givenAFileOpenedForLessWhenMappedThenTheKernelsAnswer) {
  const std::uint64_t h = node.allocate(4096, true);
  const auto offset = static_cast<off_t>(node.info(h).mmap_offset);
  const auto mapped = [&](int mode, int protection, int kind) {
    const Node file(0, mode | O_CLOEXEC);
    void* map = ::mmap(nullptr, 4096, protection, kind, file.fd(), offset);
    if (map == MAP_FAILED) return -errno;
    ::munmap(map, 4096);
    return 0;
  };
  EXPECT_EQ(mapped(O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED), 0);
  EXPECT_EQ(mapped(O_RDONLY, PROT_READ, MAP_SHARED), 0);
  EXPECT_EQ(mapped(O_RDONLY, PROT_READ | PROT_WRITE, MAP_SHARED), -EACCES);
  EXPECT_EQ(mapped(O_WRONLY, PROT_READ | PROT_WRITE, MAP_SHARED), -EACCES);
  EXPECT_EQ(mapped(O_WRONLY, PROT_WRITE, MAP_SHARED), -EACCES);
  EXPECT_EQ(mapped(O_ACCMODE, PROT_READ, MAP_SHARED), -EACCES);
  EXPECT_EQ(mapped(O_RDWR, PROT_READ, 0), -EINVAL) << "neither shared nor private";
  EXPECT_EQ(node.release(h), 0);
}

TEST_F(IoctlMemory, givenAnotherProcessWhenItMapsThenItCannotWriteAndIsNotHandedTheMappingByFork) {
  const std::uint64_t h = node.allocate(4096, true);
  const auto offset = static_cast<off_t>(node.info(h).mmap_offset);
  auto* map =
      static_cast<volatile std::uint8_t*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, node.fd(), offset));
  ASSERT_NE(map, MAP_FAILED);
  map[0] = 17;
  EXPECT_EQ(in_child([&] { return map[0] == 17; }), 128 + SIGSEGV) << "VM_DONTCOPY";
  const auto child_map = [&] {
    Node own;
    return static_cast<volatile std::uint8_t*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own.fd(), offset));
  };
  EXPECT_EQ(in_child([&] { return child_map()[0] == 17; }), 0);
  EXPECT_EQ(in_child([&] { return child_map()[0] = 1, true; }), 128 + SIGSEGV) << "without VM_WRITE";
  EXPECT_EQ(map[0], 17);
  ::munmap(const_cast<std::uint8_t*>(map), 4096);
  EXPECT_EQ(node.release(h), 0);
}

}  // namespace
}  // namespace opennrt::test
