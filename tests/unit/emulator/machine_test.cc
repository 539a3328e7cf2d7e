// SPDX-License-Identifier: Apache-2.0
//
// The machine of the emulated device as many processes have it: what each may do, what is left of one that ends
// (requirements A3, B6, B8; aws-neuron-driver neuron_cdev.c, neuron_pid.c, neuron_crwl.c, neuron_ds.c).
#include <atomic>
#include <list>
#include <memory>

#include "backends/emulator/machine/core_marks.h"
#include "backends/neuron/paravirtual.h"
#include "core/isa/inf1.h"
#include "core/observe/counters.h"
#include "tests/unit/emulator/machine_client.h"

namespace opennrt::emulator::test {
namespace {

constexpr std::uint64_t kRegion = inf1::kDramChannelSize / inf1::kDramRegions;
constexpr std::uint32_t kHost = OPENNRT_MEM_TENSORS_HOST, kDevice = OPENNRT_MEM_TENSORS_DEVICE;

int allocate(Channel& channel, const File& file, std::uint64_t bytes, bool host) {
  return channel.call(Op::kMemAlloc, file, {bytes, 0, host, 0, 0, 0, host ? kHost : kDevice});
}

TEST(EmulatedMachine, givenAMachineWhenItIsAskedThenItTellsItsDevicesAndItsDriver) {
  const MachineProcess machine("inf1.6xlarge", "2.10.11.0", "0,2");
  Channel channel(machine);
  ASSERT_EQ(channel.call(Op::kMachine, {}), 0);
  EXPECT_EQ(channel.reply.v[0], 2u);
  EXPECT_EQ(channel.reply.v[1], 4u);
  EXPECT_EQ(channel.reply.v[2], 2u);
  EXPECT_EQ(channel.reply.v[3], 10u);
  EXPECT_EQ(channel.reply.v[6], 0b101u);
  const std::string text(reinterpret_cast<const char*>(channel.window().data()), channel.reply.bytes);
  EXPECT_EQ(text, std::string("inf1.6xlarge\0"
                              "2.10.11.0\0",
                              23));
  EXPECT_EQ(open_device(machine, 1).error, -ENODEV) << "a device that this container does not see";
  EXPECT_EQ(open_device(machine, 2).error, 0);
}

TEST(EmulatedMachine, givenNoDriverWhenItIsAskedForThenThereIsNone) {
  const MachineProcess machine("inf1.xlarge", "none");
  Channel channel(machine);
  EXPECT_EQ(channel.call(Op::kMachine, {}), -ENODEV);
  EXPECT_EQ(open_device(machine).error, -ENODEV);
  EXPECT_EQ(channel.text("/sys/module/neuron/version"), "error -2");
}

TEST(EmulatedMachine, givenSysfsWhenItIsReadThenItHasTheDriversFilesAndNoneWithoutData) {
  const MachineProcess machine("inf1.6xlarge");
  Channel channel(machine);
  EXPECT_EQ(channel.text("/sys/module/neuron/version"), "2.24.7.0\n");
  EXPECT_EQ(channel.text("/sys/class/neuron_device"), std::string("neuron0\0neuron1\0neuron2\0neuron3\0", 32));
  EXPECT_EQ(channel.reply.error, -EISDIR);
  const std::string device = "/sys/devices/virtual/neuron_device/neuron1";
  EXPECT_EQ(channel.text(device + "/core_count"), "4");
  EXPECT_EQ(channel.text(device + "/connected_devices"), "2, 0\n");
  EXPECT_EQ(channel.text(device + "/dev"), "235:1\n");
  EXPECT_EQ(channel.text(device + "/info/architecture/arch_type"), "NDv1\n");
  EXPECT_EQ(channel.text(device + "/neuron_core3/info/architecture/arch_type"), "NCv1\n");
  EXPECT_EQ(channel.text(device + "/neuron_core3/info"), std::string("architecture\0", 13));
  EXPECT_EQ(channel.text(device + "/neuron_core4"), "error -2");
  EXPECT_EQ(channel.text(device + "/stats/power/utilization"), "error -2");
  EXPECT_EQ(channel.text("/sys/class/neuron_device/neuron4"), "error -2");
  EXPECT_EQ(channel.text("/sys/class/neuron_device/neuron01"), "error -2");

  const File file = open_device(machine, 1);
  ASSERT_EQ(allocate(channel, file, 5000, false), 0);
  const std::string memory = "/sys/class/neuron_device/neuron1/neuron_core0/stats/memory_usage/device_mem/";
  EXPECT_EQ(channel.text(memory + "total"), "8192\n");
  ASSERT_EQ(channel.call(Op::kMemFree, file, {channel.reply.v[0]}), -EINVAL) << "the reply was that of sysfs";
  EXPECT_EQ(channel.text(memory + "tensors/peak"), "8192\n");
}

TEST(EmulatedMachine, givenAChildThatInheritedAFileWhenItAllocatesThenThatIsRefusedAndItMayStillLook) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  ASSERT_EQ(file.error, 0);
  EXPECT_EQ(channel.call(Op::kCheckAttached, file), 0);
  const Child child([&] {
    Channel own(machine);
    if (own.call(Op::kCheckAttached, file) != -EACCES) return 1;
    if (allocate(own, file, 4096, true) != -EACCES) return 2;
    if (own.call(Op::kMemFree, file, {1}) != -EACCES) return 3;
    if (own.call(Op::kQueueInit, file, {0, 0, 64, 64, 1, 1, 0}) != -EACCES) return 4;
    if (own.call(Op::kBarWrite, file, {0, 0}) != -EACCES) return 5;
    if (own.call(Op::kNqInit, file, {0, 1, 0, 4096, 0}) != -EACCES) return 6;
    return own.call(Op::kSemaphoreRead, file, {0, 3});
  });
  EXPECT_EQ(child.result(), 0);
}

TEST(EmulatedMachine, givenAFileOpenedWriteOnlyWhenItIsUsedThenOnlyWhatNeedsNoDeviceIsServed) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine, 0, O_WRONLY);
  ASSERT_EQ(file.error, 0);
  EXPECT_EQ(allocate(channel, file, 4096, true), -EINVAL);
  EXPECT_EQ(channel.call(Op::kSemaphoreRead, file, {0, 0}), -EINVAL);
  EXPECT_EQ(channel.call(Op::kHello, file), 0) << "what the device is";
  ASSERT_EQ(channel.call(Op::kRangeMark, file, {2, 0, 3}), 0);
  std::uint64_t map = 0;
  std::memcpy(&map, channel.window().data(), sizeof(map));
  EXPECT_EQ(map, 0b0011u);
  EXPECT_EQ(channel.call(Op::kRangeMark, file, {3, 0, 3}), -EBUSY);
  EXPECT_EQ(channel.reply.v[0], 2u) << "the longest free run";
  EXPECT_EQ(channel.call(Op::kFlush, file), 0);
  EXPECT_EQ(channel.call(Op::kRangeMark, file, {4, 0, 3}), 0) << "closing the file gave its cores back";
}

TEST(EmulatedMachine, givenAProcessWithEverythingWhenItIsKilledThenItsMemoryCoresAndLocksAreFreeAtOnce) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine), free_access = open_device(machine, 0, O_WRONLY);
  for (int round = 0; round < 5; ++round) {
    Child child([&] {
      const File own = open_device(machine), marks = open_device(machine, 0, O_WRONLY);
      Channel mine(machine);
      if (allocate(mine, own, kRegion, false) != 0) return 1;
      if (mine.call(Op::kRangeMark, marks, {4, 0, 3}) != 0) return 2;
      std::memset(mine.window().data(), 7, 32);
      if (mine.call(Op::kWriterEnter, own, {0}, 32) != 0) return 3;
      if (mine.call(Op::kDsAcquire, own, {0}) != 0) return 4;
      if (mine.call(Op::kApps, own, {3}) != 0 || mine.reply.bytes != 2 * sizeof(AppInfo)) return 5;
      AppInfo apps[2];
      std::memcpy(apps, mine.window().data(), sizeof(apps));
      const AppInfo& app = apps[0].pid == ::getpid() ? apps[0] : apps[1];
      return app.device_bytes == kRegion && app.core_lock_map == 1 && app.uuid[0][31] == 7 ? 0 : 6;
    });
    ASSERT_EQ(child.result(), 0) << "round " << round;
    EXPECT_EQ(allocate(channel, file, kRegion, false), -ENOMEM);
    EXPECT_EQ(channel.call(Op::kRangeMark, free_access, {1, 0, 3}), -EBUSY);
    const pid_t pid = child.pid();
    EXPECT_EQ(channel.call(Op::kDsAcquire, file, {static_cast<std::uint64_t>(pid)}), 0);
    child.kill();
    ASSERT_EQ(channel.call(Op::kRangeMark, free_access, {4, 0, 3}), 0);
    ASSERT_EQ(channel.call(Op::kFlush, free_access), 0);
    ASSERT_EQ(allocate(channel, file, kRegion, false), 0);
    ASSERT_EQ(channel.call(Op::kMemFree, file, {channel.reply.v[0]}), 0);
    EXPECT_EQ(channel.call(Op::kDsAcquire, file, {static_cast<std::uint64_t>(pid)}), -ENOENT);
    std::memset(channel.window().data(), 8, 32);
    ASSERT_EQ(channel.call(Op::kWriterEnter, file, {0}, 32), 0);
    ASSERT_EQ(channel.call(Op::kWriterDowngrade, file, {0}, 32), 0);
    ASSERT_EQ(channel.call(Op::kReaderExit, file, {0}, 32), 0);
  }
}

TEST(EmulatedMachine, givenSixteenProcessesWhenAnotherOpensTheDeviceThenItIsBusyUntilOneOfThemEnds) {
  const MachineProcess machine;
  std::list<Child> children;
  for (std::size_t i = 0; i < kMaxProcesses; ++i) {
    children.emplace_back([&] { return open_device(machine).error; });
    ASSERT_EQ(children.back().result(), 0) << i;
  }
  EXPECT_EQ(open_device(machine).error, -EBUSY);
  EXPECT_EQ(open_device(machine, 0, O_WRONLY).error, 0);
  children.front().kill();
  EXPECT_EQ(open_device(machine).error, 0);
}

TEST(EmulatedMachine, givenAnOpenedDeviceWhenItsDescriptorIsClosedThenItsMemoryIsGoneAndTheProcessIsNotAttached) {
  const MachineProcess machine;
  Channel channel(machine);
  const File first = open_device(machine), second = open_device(machine);
  ASSERT_EQ(allocate(channel, first, 4096, true), 0);
  const std::uint64_t handle = channel.reply.v[0];
  EXPECT_EQ(channel.call(Op::kFlush, second), 0);
  EXPECT_EQ(channel.call(Op::kMemInfo, first, {handle}), 0) << "one descriptor is open";
  EXPECT_EQ(channel.call(Op::kFlush, first), 0);
  EXPECT_EQ(channel.call(Op::kMemInfo, first, {handle}), -EINVAL);
  EXPECT_EQ(channel.call(Op::kCheckAttached, first), -EACCES);
  ::close(first.fd);
  ::close(second.fd);
  const File again = open_device(machine);
  ASSERT_EQ(again.error, 0);
  EXPECT_EQ(allocate(channel, again, 4096, true), 0);
  EXPECT_NE(channel.reply.v[0], handle);
}

TEST(EmulatedMachine, givenMemoryOfOneProcessWhenAnotherUsesItThenHandlesWorkAndMappingsAreReadOnly) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  ASSERT_EQ(allocate(channel, file, 4096, true), 0);
  const std::uint64_t handle = channel.reply.v[0], offset = channel.reply.v[2];
  std::memset(channel.window().data(), 0x5a, 64);
  ASSERT_EQ(channel.call(Op::kMemWrite, file, {handle, 100, 64}, 64), 0);
  ASSERT_EQ(channel.call(Op::kMmap, file, {offset, 4096, 1}), 0);
  EXPECT_EQ(channel.reply.v[1], 1u);
  EXPECT_EQ(channel.map(channel.reply.v[0], 4096)[163], std::byte{0x5a});
  EXPECT_EQ(channel.call(Op::kMmap, file, {offset, 8192, 1}), -EPERM) << "a part or more is not mapped";
  EXPECT_EQ(channel.call(Op::kMmap, file, {offset + 4096 * 1000, 4096, 1}), -EPERM);
  ASSERT_EQ(channel.call(Op::kMemFind, file, {offset + 50}), 0);
  EXPECT_EQ(channel.reply.v[2], handle);
  const pid_t owner = ::getpid();
  const Child child([&] {
    const File own = open_device(machine);
    Channel mine(machine);
    if (mine.call(Op::kMemInfo, own, {handle}) != 0 || mine.reply.v[4] != static_cast<std::uint64_t>(owner)) return 1;
    if (mine.call(Op::kMemRead, own, {handle, 100, 64}) != 0 || mine.window()[63] != std::byte{0x5a}) return 2;
    if (mine.call(Op::kMmap, own, {offset, 4096, 1}) != 0 || mine.reply.v[1] != 0) return 3;
    if (mine.call(Op::kMemStats, own, {0}) != 0 || mine.reply.v[0] != 0) return 4;
    return mine.map(mine.reply.v[0], 4096) == nullptr ? 5 : 0;
  });
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(allocate(channel, file, 4096, false), 0);
  EXPECT_EQ(channel.call(Op::kMmap, file, {channel.reply.v[2], 4096, 0}), -EINVAL) << "DRAM is not shown";
}

TEST(EmulatedMachine, givenCountersOfAProcessWhenItEndsThenOthersHaveReadThemAndSysfsKeepsTheSum) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  Child child([&] {
    const File own = open_device(machine);
    Channel mine(machine);
    if (mine.call(Op::kDsAcquire, own, {0}) != 0) return 1;
    const std::uint64_t bytes = mine.reply.v[1];
    if (mine.call(Op::kMmap, own, {mine.reply.v[0], bytes, 1}) != 0 || mine.reply.v[1] != 1) return 2;
    const observe::CounterStore store(mine.map(mine.reply.v[0], bytes), bytes);
    store.begin();
    store.add(2, observe::CoreCounter::kInferences, 41);
    return 0;
  });
  ASSERT_EQ(child.result(), 0);
  ASSERT_EQ(channel.call(Op::kDsAcquire, file, {static_cast<std::uint64_t>(child.pid())}), 0);
  ASSERT_EQ(channel.call(Op::kMmap, file, {channel.reply.v[0], channel.reply.v[1], 0}), 0);
  const observe::CounterStore store(channel.map(channel.reply.v[0], observe::kCounterStoreBytes),
                                    observe::kCounterStoreBytes);
  EXPECT_TRUE(store.begun());
  EXPECT_EQ(store.get(2, observe::CoreCounter::kInferences), 41u);
  const std::string count = "/sys/class/neuron_device/neuron0/neuron_core2/stats/other_info/inference_count/total";
  EXPECT_EQ(channel.text(count), "0\n") << "added when the process gives them back";
  child.kill();
  EXPECT_EQ(channel.text(count), "41\n");
  EXPECT_FALSE(store.begun());
}

/// A DMA queue that copies 64 bytes from one page of host memory to another.
struct Copy {
  Copy(Channel& channel, const File& file) {
    std::uint64_t handles[4] = {}, addresses[4] = {};  // from, to, and their rings
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(allocate(channel, file, 4096, true), 0);
      handles[i] = channel.reply.v[0];
      addresses[i] = channel.reply.v[1];
    }
    EXPECT_EQ(channel.call(Op::kMmap, file, {addresses[1], 4096, 0}), 0);
    target = channel.map(channel.reply.v[0], 4096);
    std::memset(channel.window().data(), 0x33, 64);
    EXPECT_EQ(channel.call(Op::kMemWrite, file, {handles[0], 0, 64}, 64), 0);
    EXPECT_EQ(channel.call(Op::kQueueInit, file, {0, 3, 64, 64, handles[2], handles[3], 0}), 0);
    for (int side = 0; side < 2; ++side) {
      const std::uint32_t control =
          64 | inf1::kInitialRingId << inf1::kDescRingIdShift | (side == 0 ? inf1::kDescFirst | inf1::kDescLast : 0);
      std::memset(channel.window().data(), 0, 16);
      std::memcpy(channel.window().data(), &control, 4);
      std::memcpy(channel.window().data() + 8, &addresses[side], 8);
      EXPECT_EQ(
          channel.call(Op::kWriteDescriptors, file, {handles[2 + side], 0, 1, static_cast<std::uint64_t>(side)}, 16),
          0);
    }
  }
  bool arrived() const {
    return std::atomic_ref(*reinterpret_cast<std::uint8_t*>(target + 63)).load(std::memory_order_acquire) == 0x33;
  }
  std::byte* target = nullptr;
};

TEST(EmulatedMachine, givenAProgramThatOnlyPollsWhenItRingsADoorbellThenTheDeviceRunsByItself) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  const Copy copy(channel, file);
  ASSERT_FALSE(copy.arrived());
  ASSERT_EQ(channel.call(Op::kQueueStart, file, {0, 3, 1, 1}), 0);
  while (!copy.arrived()) ::usleep(1000);
  ASSERT_EQ(channel.call(Op::kReadDescriptors, file, {0, 3, OPENNRT_QUEUE_RX, 0, 1}), 0);
  EXPECT_EQ(channel.reply.bytes, 16u);
  EXPECT_EQ(channel.call(Op::kReadDescriptors, file, {0, 3, OPENNRT_QUEUE_RX, 63, 2}), -EFBIG);
}

TEST(EmulatedMachine, givenAProgramThatWaitsWhenItRingsADoorbellThenTheDeviceStandsStillUntilItDoes) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  ASSERT_EQ(channel.call(Op::kHello, file, {neuron::paravirtual::kVersion}), 0);
  neuron::paravirtual::Hello hello{};
  ASSERT_EQ(channel.reply.bytes, sizeof(hello));
  std::memcpy(&hello, channel.window().data(), sizeof(hello));
  EXPECT_EQ(hello.version, neuron::paravirtual::kVersion);
  EXPECT_STREQ(hello.instance_type, "inf1.xlarge");
  const Copy copy(channel, file);
  ASSERT_EQ(channel.call(Op::kClock, file, {neuron::paravirtual::kClockNow}), 0);
  const std::uint64_t before = channel.reply.v[0];
  ASSERT_EQ(channel.call(Op::kQueueStart, file, {0, 3, 1, 1}), 0);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(channel.call(Op::kClock, file, {neuron::paravirtual::kClockNow}), 0);
    EXPECT_EQ(channel.reply.v[0], before);
  }
  EXPECT_FALSE(copy.arrived());
  EXPECT_EQ(channel.call(Op::kWait, file, {0, 0, before + 1'000'000}), -ETIMEDOUT) << "no queue tells of it";
  EXPECT_TRUE(copy.arrived());
  const std::string reason(reinterpret_cast<const char*>(channel.window().data()), channel.reply.bytes);
  EXPECT_THAT(reason, testing::HasSubstr("nothing can happen any more"));
}

TEST(EmulatedMachine, givenOneProgramThatPollsAndAnotherThatWaitsWhenBothUseTheMachineThenBothGoOn) {
  const MachineProcess machine;
  const pid_t polling = ::fork();
  if (polling == 0) {
    const File own = open_device(machine);
    Channel mine(machine);
    for (int round = 0; round < 30; ++round) {
      const Copy copy(mine, own);
      if (mine.call(Op::kQueueStart, own, {0, 3, 1, 1}) != 0) ::_exit(1);
      // Without Hello it may wait as well, also for a moment that is past.
      if (mine.call(Op::kWait, own, {0, 0, 1}) != -ETIMEDOUT) ::_exit(2);
      while (!copy.arrived()) ::usleep(100);
    }
    ::_exit(0);
  }
  Channel channel(machine);
  const File file = open_device(machine);
  ASSERT_EQ(channel.call(Op::kHello, file, {neuron::paravirtual::kVersion}), 0);
  std::uint64_t waits = 0;
  int status = -1;
  while (::waitpid(polling, &status, WNOHANG) == 0) {
    ASSERT_EQ(channel.call(Op::kClock, file, {neuron::paravirtual::kClockNow}), 0);
    const std::uint64_t now = channel.reply.v[0], deadline = waits++ % 2 == 0 ? now / 2 : now + 50'000;
    ASSERT_EQ(channel.call(Op::kWait, file, {1, 0, deadline}), -ETIMEDOUT);
  }
  EXPECT_EQ(status, 0);
}

TEST(EmulatedMachine, givenAProcessWithRunningQueuesWhenItIsKilledThenNobodyElsesMemoryIsWritten) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  Child child([&] {
    const File own = open_device(machine);
    Channel mine(machine);
    if (mine.call(Op::kHello, own, {neuron::paravirtual::kVersion}) != 0) return 1;
    Copy copy(mine, own);
    return mine.call(Op::kQueueStart, own, {0, 3, 1, 1});
  });
  ASSERT_EQ(child.result(), 0);
  child.kill();
  std::vector<std::byte*> pages;
  for (int i = 0; i < 8; ++i) {  // the dead process's pages are among them
    ASSERT_EQ(allocate(channel, file, 4096, true), 0);
    ASSERT_EQ(channel.call(Op::kMmap, file, {channel.reply.v[2], 4096, 0}), 0);
    pages.push_back(channel.map(channel.reply.v[0], 4096));
    EXPECT_EQ(pages.back()[0], std::byte{0});
  }
  ASSERT_EQ(channel.call(Op::kWait, file, {0, 0, 1'000'000'000}), -ETIMEDOUT);
  for (const std::byte* page : pages) EXPECT_EQ(page[63], std::byte{0});
  opennrt_queue_state_t states[2];
  ASSERT_EQ(channel.call(Op::kQueueState, file, {0, 3}), 0);
  std::memcpy(states, channel.window().data(), sizeof(states));
  EXPECT_EQ(states[0].tail, 0u);
}

TEST(EmulatedMachine, givenAProcessThatHasStartedToInitialiseACoreWhenOthersAskThenTheyHearItsState) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  ASSERT_EQ(channel.call(Op::kInitState, file, {1, 1}), 0);
  EXPECT_EQ(channel.reply.v[0], 1u);
  ASSERT_EQ(channel.call(Op::kInitState, file, {1, 2}), 0);
  EXPECT_EQ(channel.reply.v[0], 2u);
  ASSERT_EQ(channel.call(Op::kResetStart, file, {0b10}), 0);
  EXPECT_EQ(channel.reply.v[0], static_cast<std::uint64_t>(::getpid()));
  EXPECT_EQ(channel.call(Op::kResetStart, file, {0b10}), 1) << "one at a time";
  ASSERT_EQ(channel.call(Op::kResetWait, file, {static_cast<std::uint64_t>(::getpid())}), 0);
  EXPECT_EQ(channel.reply.v[0], 0u);
  ASSERT_EQ(channel.call(Op::kResetWait, file, {static_cast<std::uint64_t>(::getpid())}), 0);
  EXPECT_EQ(channel.reply.v[0], 1u) << "nobody has asked for one";
  ASSERT_EQ(channel.call(Op::kResetWait, file, {0, 1}), 0);
  EXPECT_EQ(channel.reply.v[0], 0u) << "nor has this process, of which the older request thinks nothing";
  ASSERT_EQ(channel.call(Op::kResetStart, file, {0b10}), 0);
  ASSERT_EQ(channel.call(Op::kResetWait, file, {0, 1}), 0);
  EXPECT_EQ(channel.reply.v[0], 0u);
  EXPECT_EQ(channel.call(Op::kResetStart, file, {0b10}), 0) << "it was waited for";
  ASSERT_EQ(channel.call(Op::kResetWait, file, {0, 1}), 0);
  ASSERT_EQ(channel.call(Op::kInitState, file, {1, 2}), 0);
  EXPECT_EQ(channel.reply.v[0], 3u) << "the reset made it invalid";
  EXPECT_EQ(channel.call(Op::kInitState, file, {4, 1}), -EINVAL);
}

TEST(EmulatedMachine, givenClientsThatLieWhenTheySpeakThenEachIsRefusedAndTheMachineGoesOn) {
  const MachineProcess machine;
  Channel channel(machine);
  const File file = open_device(machine);
  const auto refused_hello = [&](const void* hello, std::size_t bytes, int descriptor) {
    const int fd = machine.connect();
    send(fd, hello, bytes, descriptor);
    const auto reply = receive(fd);
    ::close(fd);
    return reply ? reply->error : 0;
  };
  ChannelHello hello;
  const int unsealed = ::memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING), plain = ::open("/dev/null", O_RDWR);
  EXPECT_EQ(refused_hello(&hello, sizeof(hello), unsealed), -EINVAL);
  EXPECT_EQ(refused_hello(&hello, sizeof(hello), plain), -EINVAL);
  EXPECT_EQ(refused_hello(&hello, sizeof(hello), -1), -EINVAL);
  hello.protocol = 99;
  EXPECT_EQ(refused_hello(&hello, sizeof(hello), unsealed), -EPROTONOSUPPORT);
  const FileHello nameless;
  EXPECT_EQ(refused_hello(&nameless, sizeof(nameless), -1), -EINVAL);
  EXPECT_NE(refused_hello("x", 1, -1), 0);
  ::close(unsealed);
  ::close(plain);
  ::close(machine.connect());  // says nothing at all

  EXPECT_EQ(channel.raw("garbage", 7), -EINVAL);
  Request request;
  request.op = Op::kMemAlloc;
  request.file = file.number + 1;
  request.window = channel.window().size();
  EXPECT_EQ(channel.raw(&request, sizeof(request)), -EBADF);
  request.file = file.number;
  for (const std::uint32_t op : {0u, 19u, 999u, 0xffff'ffffu}) {
    request.op = static_cast<Op>(op);
    EXPECT_EQ(channel.raw(&request, sizeof(request)), -EINVAL) << op;
  }
  request.op = Op::kMemWrite;
  request.window = std::uint64_t{1} << 40;
  EXPECT_EQ(channel.raw(&request, sizeof(request)), -EINVAL) << "the file has fewer bytes";
  request.window = channel.window().size();
  request.bytes = channel.window().size() + 1;
  EXPECT_EQ(channel.raw(&request, sizeof(request)), -EINVAL);
  std::vector<char> long_packet(sizeof(request) + 100);
  EXPECT_EQ(channel.raw(long_packet.data(), long_packet.size()), -EINVAL);

  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    Request any;
    any.op = static_cast<Op>(random() % 170);
    // What waits or resets takes long, or takes away what the check below needs.
    if (any.op == Op::kFlush || any.op == Op::kInitState || any.op == Op::kWriterEnter || any.op == Op::kReaderEnter)
      continue;
    any.file = file.number;
    for (std::uint64_t& argument : any.a)
      argument = random() % 3 == 0 ? random() : random() % 3 == 0 ? random() % 5000 : random() % 5;
    any.bytes = random() % 2 == 0 ? random() % 100 : random();
    any.window = random() % 8 == 0 ? random() : channel.window().size();
    ASSERT_NE(channel.raw(&any, sizeof(any)), -ECONNRESET) << i;
  }
  Channel other(machine);
  EXPECT_EQ(allocate(other, file, 4096, true), 0);
  char junk[64] = {};
  send(file.fd, junk, sizeof(junk));  // a file is not spoken to
  EXPECT_EQ(allocate(other, file, 4096, true), 0);
}

TEST(CoreMarks, givenTheDriversSearchWhenACoreIsBusyThenTheOneBehindItStartsNoRun) {
  CoreMarks marks;
  opennrt_core_map_t taken{};
  std::uint32_t longest = 0;
  ASSERT_EQ(marks.mark(10, 1, 1, 1, taken, longest), 0);
  EXPECT_EQ(taken.bits[0], 0b10u);
  EXPECT_EQ(marks.mark(11, 2, 0, 3, taken, longest), -EBUSY) << "2 and 3 are free, but 2 is passed over";
  EXPECT_EQ(longest, 1u);
  EXPECT_EQ(marks.mark(11, 2, 2, 3, taken, longest), 0);
  EXPECT_EQ(taken.bits[0], 0b1100u);
  EXPECT_EQ(marks.mark(12, 1, 3, 2, taken, longest), -EINVAL);
  EXPECT_EQ(marks.mark(12, 1, 0, OPENNRT_MAX_CORES, taken, longest), -EINVAL);
  opennrt_core_map_t all{};
  all.bits[0] = ~0ull;
  EXPECT_EQ(marks.unmark(11, all), 2u) << "only its own";
  EXPECT_EQ(marks.holder(1), 10);
  EXPECT_EQ(marks.holder(2), 0);
}

TEST(DriverVersion, givenATextWhenItIsNoVersionThenItIsRefusedWithIt) {
  EXPECT_EQ(DriverVersion::parse("1.5")->major, 1u);
  EXPECT_EQ(DriverVersion::parse("1.5")->compatible_max, 1u);
  EXPECT_EQ(DriverVersion::parse("2.24.7.0")->minor, 24u);
  EXPECT_FALSE(DriverVersion::parse("none")->present);
  for (const char* text : {"", "2", "2.", "2.x", "two", "2.24.7.0.1", "2.24 ", "-1.2"}) {
    const auto version = DriverVersion::parse(text);
    ASSERT_FALSE(version) << text;
    EXPECT_THAT(version.error().message, testing::HasSubstr(std::string("'") + text + "'"));
  }
}

}  // namespace
}  // namespace opennrt::emulator::test
