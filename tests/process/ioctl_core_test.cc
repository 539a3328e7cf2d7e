// SPDX-License-Identifier: Apache-2.0
//
// ioctls about NeuronCores on the emulated device: ownership, semaphores, events, notification queues, reset, datastore
// (docs/backend.md, docs/fidelity.md).
#include <gmock/gmock.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "tests/process/ioctl_client.h"

namespace opennrt::test {
namespace {

class IoctlCore : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_GE(node.fd(), 0) << std::strerror(errno); }
  /// 0 or a negative errno; `map` gets what was taken.
  int mark(std::uint32_t count, std::uint32_t first, std::uint32_t last, abi::CrwlNcMapExt& map) const {
    map = {count, first, last, 0, {}};
    return free.ask(abi::kCrwlNcRangeMarkExt0, map);
  }
  int unmark(std::uint64_t bits) const {
    abi::CrwlNcMapExt map{};
    map.bitmap[0] = bits;
    return free.ask(abi::kCrwlNcRangeUnmarkExt0, map);
  }
  Node node;
  /// As the public runtime marks cores: the driver gives them back when such a file is closed (ncdev_misc_flush).
  Node free{0, O_WRONLY | O_CLOEXEC};
  Border border;
};

TEST_F(IoctlCore, givenCoresWhenMarkedThenNobodyElseGetsThemUntilTheirHolderIsGone) {
  abi::CrwlNcMapExt map{};
  ASSERT_EQ(mark(2, 0, 15, map), 0);
  EXPECT_EQ(map.bitmap[0], 0b11u);
  const auto refused_to_child = [&] {
    abi::CrwlNcMapExt own{};
    const int error = mark(2, 0, 1, own);
    return error == -EBUSY && own.max_nc_available == 0;
  };
  EXPECT_EQ(in_child(refused_to_child), 0);
  EXPECT_EQ(in_child([&] {
              abi::CrwlNcMapExt own{4, 0, 15, 0, {}};
              const Node file(0, O_WRONLY | O_CLOEXEC);
              const bool taken = file.ask(abi::kCrwlNcRangeMarkExt0, own) == 0 && own.bitmap[0] == 0b111100u;
              ::_exit(taken ? 0 : 1);  // with the cores
              return false;
            }),
            0);
  // The child has ended without giving them back.
  ASSERT_EQ(mark(14, 0, 15, map), 0) << "free as soon as waitpid returned";
  EXPECT_EQ(map.bitmap[0], 0xfffcu);
  EXPECT_EQ(mark(1, 0, 15, map), -EBUSY);
  EXPECT_EQ(map.max_nc_available, 0u);
  EXPECT_EQ(in_child([&] { return unmark(0xffff) == 0; }), 0) << "of another process: nothing is given back";
  EXPECT_EQ(mark(1, 0, 15, map), -EBUSY);
  EXPECT_EQ(unmark(0xffff), 0);
}

TEST_F(IoctlCore, givenTheOlderMapWhenUsedThenItDoesTheSameForItsCores) {
  abi::CrwlNcMap map{3, 0, 15, 0, 0};
  EXPECT_EQ(node.ask(abi::kCrwlNcRangeMark, map), 0);
  EXPECT_EQ(map.bitmap, 0b111u);
  EXPECT_EQ(node.ask(abi::kCrwlNcRangeUnmark, map), 0);
  EXPECT_EQ(in_child([&] {
              abi::CrwlNcMap own{1, 0, 0, 0, 0};
              return Node(0, O_WRONLY).ask(abi::kCrwlNcRangeMark, own) == 0;
            }),
            0);
}

TEST_F(IoctlCore, givenASecondDeviceWhenItsNodeIsAskedThenItsCoresCountFromZero) {
  Node second(1);
  ASSERT_GE(second.fd(), 0);
  abi::CrwlNcMapExt map{1, 0, 0, 0, {}};
  EXPECT_EQ(second.ask(abi::kCrwlNcRangeMarkExt0, map), 0);
  EXPECT_EQ(map.bitmap[0], 1u);
  abi::CrwlNcMapExt other{};
  EXPECT_EQ(mark(1, 4, 4, other), -EBUSY) << "the same core by the first device's node";
  EXPECT_EQ(second.ask(abi::kCrwlNcRangeUnmarkExt0, map), 0);
  EXPECT_EQ(mark(1, 4, 4, other), 0);
  EXPECT_EQ(unmark(0xffff), 0);
}

TEST_F(IoctlCore, givenRangesThatAreNoneWhenMarkedThenInvalid) {
  abi::CrwlNcMapExt map{};
  EXPECT_EQ(mark(1, 3, 2, map), -EINVAL);
  EXPECT_EQ(mark(1, 512, 513, map), -EINVAL);
  EXPECT_EQ(mark(1, 0, ~0u, map), -EINVAL);
  EXPECT_EQ(mark(~0u, 0, 3, map), -EBUSY) << "more than there are";
  EXPECT_EQ(node.raw(_IOC(_IOC_WRITE, 'N', 85, 12), Node::address(&map)), -EINVAL);
  EXPECT_EQ(node.raw(abi::kCrwlNcRangeMarkExt0, border.address(40)), -EFAULT);
}

TEST_F(IoctlCore, givenSemaphoresAndEventsWhenSetThenTheyReadBack) {
  const auto semaphore = [&](unsigned long request, std::uint32_t core, std::uint32_t index, std::uint32_t value) {
    abi::Semaphore arg{core, index, value};
    const int error = node.ask(request, arg);
    return error != 0 ? error : static_cast<int>(arg.value);
  };
  EXPECT_EQ(semaphore(abi::kSemaphoreWrite, 0, 5, 100), 100);
  EXPECT_EQ(semaphore(abi::kSemaphoreIncrement, 0, 5, 7), 7);
  EXPECT_EQ(semaphore(abi::kSemaphoreDecrement, 0, 5, 3), 3);
  EXPECT_EQ(semaphore(abi::kSemaphoreRead, 0, 5, 0), 104);
  EXPECT_EQ(semaphore(abi::kSemaphoreWrite, 0, 5, 0), 0);
  EXPECT_EQ(semaphore(abi::kSemaphoreRead, 4, 0, 0), -E2BIG) << "no such core";
  EXPECT_EQ(semaphore(abi::kSemaphoreWrite, ~0u, 0, 0), -E2BIG);
  EXPECT_EQ(semaphore(abi::kSemaphoreRead, 0, 4096, 0), -EINVAL) << "no such semaphore";
  EXPECT_EQ(semaphore(abi::kSemaphoreIncrement, 0, ~0u, 1), -EINVAL);
  abi::Event event{1, 9, 1};
  EXPECT_EQ(node.ask(abi::kEventSet, event), 0);
  event.value = 0;
  EXPECT_EQ(node.ask(abi::kEventGet, event), 0);
  EXPECT_EQ(event.value, 1u);
  EXPECT_EQ(node.ask(abi::kEventSet, abi::Event{1, 9, 0}), 0);
  EXPECT_EQ(node.ask(abi::kEventGet, abi::Event{0, 4096, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kEventSet, abi::Event{77, 0, 1}), -EINVAL);
}

TEST_F(IoctlCore, givenNotificationQueuesWhenInitialisedThenTheyCanBeMapped) {
  abi::NotificationsInitV1 first{0, 1, 0, 4096, 0};
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, first), 0);
  EXPECT_NE(first.mmap_offset, 0u);
  abi::NotificationsInitV2 second{0, abi::kNqDeviceNeuronCore, 3, 0, 8192, 1, 0, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kNotificationsInitV2, second), 0);
  EXPECT_EQ(node.info(second.mem_handle).mmap_offset, second.mmap_offset);
  void* map = ::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, node.fd(), static_cast<off_t>(second.mmap_offset));
  EXPECT_NE(map, MAP_FAILED) << std::strerror(errno);
  ::munmap(map, 8192);
  abi::NotificationsInitWithReallocV2 third{0, abi::kNqDeviceNeuronCore, 3, 0, 16384, 1, 0, 0, 1, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kNotificationsInitWithReallocV2, third), 0);
  EXPECT_EQ(node.info(third.mem_handle).size, 16384u);
  EXPECT_EQ(node.ask(abi::kNotificationsDestroyV1, abi::NotificationsDestroy{first.mmap_offset}), 0);

  second.nq_dev_type = abi::kNqDeviceTopSp;
  EXPECT_EQ(node.ask(abi::kNotificationsInitV2, second), -ENOSYS) << "not on Inf1";
  third.nq_dev_type = 7;
  EXPECT_EQ(node.ask(abi::kNotificationsInitWithReallocV2, third), -ENOSYS);
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, abi::NotificationsInitV1{99, 1, 0, 4096, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, abi::NotificationsInitV1{0, 99, 0, 4096, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, abi::NotificationsInitV1{0, 1, 99, 4096, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, abi::NotificationsInitV1{1, 1, 0, 4097, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kNotificationsInitV1, abi::NotificationsInitV1{1, 1, 0, 0, 0}), -ENOMEM) << "of nothing";
  EXPECT_EQ(node.ask(abi::kNotificationsQueueInfo, abi::NotificationsQueueInfo{}), -EPERM);
}

TEST_F(IoctlCore, givenAModelsLockWhenTakenAndGivenBackThenAsTheDriverCounts) {
  abi::Crwl model{2, {{1, 2, 3}}}, other{2, {{9}}};
  EXPECT_EQ(node.ask(abi::kCrwlReaderEnter, model), -ENOENT) << "not loaded";
  EXPECT_EQ(node.ask(abi::kCrwlWriterDowngrade, model), -EINVAL) << "not entered";
  EXPECT_EQ(node.ask(abi::kCrwlWriterEnter, model), 0);
  EXPECT_EQ(node.ask(abi::kCrwlWriterDowngrade, other), -ENOENT);
  EXPECT_EQ(node.ask(abi::kCrwlWriterDowngrade, model), 0);
  EXPECT_EQ(node.ask(abi::kCrwlReaderEnter, model), 0);
  EXPECT_EQ(node.ask(abi::kCrwlReaderExit, model), 0);
  EXPECT_EQ(node.ask(abi::kCrwlReaderExit, model), 0);
  EXPECT_EQ(node.ask(abi::kCrwlReaderExit, model), -EINVAL) << "nobody reads";
  for (const std::uint32_t core : {4u, 7u}) {  // the driver has as many locks for every chip
    model.nc_id = core;
    EXPECT_EQ(node.ask(abi::kCrwlReaderEnter, model), -ENOENT);
    EXPECT_EQ(node.ask(abi::kCrwlWriterEnter, model), 0);
    EXPECT_EQ(node.ask(abi::kCrwlWriterDowngrade, model), 0);
    EXPECT_EQ(node.ask(abi::kCrwlReaderExit, model), 0);
  }
  model.nc_id = 8;
  EXPECT_EQ(node.ask(abi::kCrwlReaderEnter, model), -EINVAL);
  model.nc_id = 99;
  EXPECT_EQ(node.ask(abi::kCrwlReaderEnter, model), -EINVAL);
  EXPECT_EQ(node.ask(abi::kCrwlWriterEnter, model), -EINVAL);
}

TEST_F(IoctlCore, givenACoresStateWhenSetThenTheFirstStartsAndTheOthersSeeIt) {
  abi::CinitSet started{3, 1, 0};
  EXPECT_EQ(node.ask(abi::kCinitSetState, started), 0);
  EXPECT_EQ(started.new_state, 1u);
  abi::CinitSet completed{3, 2, 0};
  EXPECT_EQ(node.ask(abi::kCinitSetState, completed), 0);
  EXPECT_EQ(completed.new_state, 2u);
  EXPECT_EQ(node.ask(abi::kCinitSetState, abi::CinitSet{4, 1, 0}), -E2BIG);
  abi::NcModelStartedCount count{3, 0, ~0ull};
  EXPECT_EQ(node.ask(abi::kNcModelStartedCount, count), 0);
  EXPECT_EQ(count.started_count, 0u);
  count.nc_id = 4;
  EXPECT_EQ(node.ask(abi::kNcModelStartedCount, count), -E2BIG);
  EXPECT_EQ(node.ask(abi::kNcPidStateDump, abi::NcPidStateDump{16, 0, 0, 0}), 0);
  EXPECT_EQ(node.ask(abi::kNcPidStateDump, abi::NcPidStateDump{16, 512, 0, 0}), -ENOENT);
}

TEST_F(IoctlCore, givenAResetWhenAskedForThenItIsDoneWhenWaitedFor) {
  abi::DeviceReset reset{1, 0};
  EXPECT_EQ(node.ask(abi::kNcReset, reset), 0);
  EXPECT_NE(reset.request_id, 0u);
  abi::DeviceReady ready{reset.request_id, -1};
  EXPECT_EQ(node.ask(abi::kNcResetReady, ready), 0);
  EXPECT_EQ(ready.result, 0);
  EXPECT_EQ(node.raw(abi::kDeviceReset, 0), 0);
  std::uint8_t result = 0;
  EXPECT_EQ(node.ask(abi::kDeviceReady, result), 0);
  EXPECT_EQ(result, 1);
  result = 0;
  EXPECT_EQ(node.ask(abi::kDeviceReady, result), 0);
  EXPECT_EQ(result, 1) << "also when no reset is outstanding";
  ready = {static_cast<std::uint32_t>(::getpid()), -1};
  EXPECT_EQ(node.ask(abi::kNcResetReady, ready), 0);
  EXPECT_EQ(ready.result, 1) << "which the newer request tells";
  result = 0;
  EXPECT_EQ(node.ask(abi::kDeviceResetStatus, result), 0);
  EXPECT_EQ(result, 1);
}

// A container's processes have other numbers for themselves than the driver has.
TEST_F(IoctlCore, givenAProcessInAPidNamespaceWhenItWaitsForItsResetThenItIsItsOwn) {
  constexpr int kNoNamespace = 77;
  const int result = in_child([] {
    if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) ::_exit(kNoNamespace);
    const int inside = in_child([] {
      const Node own;
      std::uint8_t ready = 0;
      abi::DeviceReset reset{1, 0};
      return ::getpid() == 1 && own.raw(abi::kDeviceReset, 0) == 0 && own.ask(abi::kDeviceReady, ready) == 0 &&
             ready == 1 && ::ioctl(own.fd(), abi::kNcReset, &reset) == 0 &&  // 1: the first one is not waited for
             reset.request_id != 1;
    });
    return inside == 0;
  });
  if (result == kNoNamespace) GTEST_SKIP() << "this user can have no pid namespaces";
  EXPECT_EQ(result, 0);
}

TEST_F(IoctlCore, givenResetsOfTheWholeDeviceWhenAnotherThreadCopiesThenEachCopyIsBeforeOrAfterOne) {
  const std::uint64_t memory = node.allocate(4096, false);
  std::atomic<bool> stop = false;
  std::atomic<int> copies = 0, error = 0;
  std::thread copier([&] {
    while (!stop && error == 0) {
      error = node.write(memory, {1, 2, 3, 4});
      ++copies;
    }
  });
  for (int i = 0; i < 50; ++i) {
    abi::DeviceReset reset{abi::kNcMapDevice, 0};
    EXPECT_EQ(node.ask(abi::kNcReset, reset), 0);
    abi::DeviceReady ready{reset.request_id, -1};
    EXPECT_EQ(node.ask(abi::kNcResetReady, ready), 0);
    EXPECT_EQ(ready.result, 0);
    for (const int before = copies; copies == before && error == 0;) std::this_thread::yield();
  }
  stop = true;
  copier.join();
  EXPECT_EQ(error, 0);
  EXPECT_EQ(node.release(memory), 0);
}

TEST_F(IoctlCore, givenADatastoreWhenAcquiredThenAnotherProcessReadsIt) {
  abi::NeuronDsInfo own{};
  EXPECT_EQ(node.ask(abi::kAcquireNeuronDs, own), 0);
  EXPECT_EQ(own.size % 4096, 0u);
  auto* map = static_cast<std::uint64_t*>(
      ::mmap(nullptr, own.size, PROT_READ | PROT_WRITE, MAP_SHARED, node.fd(), static_cast<off_t>(own.mmap_offset)));
  ASSERT_NE(map, MAP_FAILED) << std::strerror(errno);
  map[100] = 4711;
  const pid_t pid = ::getpid();
  EXPECT_EQ(in_child([&] {
              Node monitor;
              abi::NeuronDsInfo of{pid, 0, 0, 0, 0};
              if (monitor.ask(abi::kAcquireNeuronDs, of) != 0) return false;
              auto* seen = static_cast<const std::uint64_t*>(
                  ::mmap(nullptr, of.size, PROT_READ, MAP_SHARED, monitor.fd(), static_cast<off_t>(of.mmap_offset)));
              return seen != MAP_FAILED && seen[100] == 4711;
            }),
            0);
  abi::NeuronDsInfo nobody{1, 0, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kAcquireNeuronDs, nobody), -ENOENT);
  ::munmap(map, own.size);
  EXPECT_EQ(node.ask(abi::kReleaseNeuronDs, own), 0);
}

}  // namespace
}  // namespace opennrt::test
