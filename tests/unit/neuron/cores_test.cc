// SPDX-License-Identifier: Apache-2.0
//
// Reservation of cores with both generations of NC_RANGE_MARK, and who holds them (requirements B1 to B8).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/neuron/fake_driver.h"

namespace opennrt::neuron::test {
namespace {

using testing::HasSubstr;

constexpr std::int32_t kOther = 4242;

struct Cores : testing::Test {
  FakeDriver driver;
  FakeHost host;
  opennrt_core_map_t taken{};
  std::uint32_t available = 99;

  static abi::AppInfo other(std::uint8_t locks) {
    abi::AppInfo info{};
    info.pid = kOther;
    info.nc_lock_map = locks;
    return info;
  }
  /// A reservation that another process is in the way of: what its holders are asked for after.
  void refuse(Backend& backend) {
    driver.marks[7] = kOther;
    EXPECT_EQ(backend.cores_reserve(8, 0, 7, taken, available), -EBUSY);
    driver.marks.clear();
  }
};

TEST_F(Cores, givenFreeCoresWhenReservedThenTheyAreMarkedResetAndSigned) {
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(2, 3, 4, taken, available), 0);
  EXPECT_EQ(taken.bits[0], 0b11000u);
  EXPECT_EQ(driver.marks, (std::map<std::uint32_t, std::int32_t>{{3, ::getpid()}, {4, ::getpid()}}));
  EXPECT_TRUE(driver.asked(abi::kCrwlNcRangeMarkExt0));
  EXPECT_EQ(std::count(driver.requests.begin(), driver.requests.end(), abi::kNcReset), 2);  // two devices
  EXPECT_EQ((driver.locks[{"/dev/neuron0", 3}].readers), 1u);
  EXPECT_EQ((driver.locks[{"/dev/neuron1", 0}].readers), 1u);
  ASSERT_EQ(backend.cores_release(taken), 0);
  EXPECT_TRUE(driver.marks.empty());
  EXPECT_EQ((driver.locks[{"/dev/neuron0", 3}].readers), 0u);
}

TEST_F(Cores, givenADriverOf64CoresWhenReservedThenTheOlderFormDoesTheSame) {
  driver.knows.clear();
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(8, 0, 7, taken, available), 0);
  EXPECT_TRUE(driver.asked(abi::kCrwlNcRangeMark));
  EXPECT_FALSE(driver.asked(abi::kCrwlNcRangeMarkExt0));
  EXPECT_EQ(taken.bits[0], 0xffu);
  EXPECT_EQ(backend.cores_release(taken), 0);
  EXPECT_TRUE(driver.asked(abi::kCrwlNcRangeUnmark));
  EXPECT_TRUE(driver.marks.empty());
}

TEST_F(Cores, givenCoresOfAnotherProcessWhenReservedThenTheLongestFreeRunIsTold) {
  for (const bool old : {false, true}) {
    FakeDriver busy;
    if (old) busy.knows.clear();
    busy.marks[2] = kOther;
    Backend backend(host.get(), busy);
    EXPECT_EQ(backend.cores_reserve(8, 0, 7, taken, available), -EBUSY);  // B6
    EXPECT_EQ(available, 5u);
    EXPECT_EQ(taken.bits[0], 0u);
    EXPECT_FALSE(busy.asked(abi::kNcReset)) << "cores of others are left alone";
  }
}

TEST_F(Cores, givenAContainerWhoseFirstDeviceIsNotTheHostsWhenReservedThenCoresCountFromIt) {
  driver.nodes = {"neuron2", "neuron3"};
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(1, 9, 9, taken, available), 0);
  EXPECT_EQ(taken.bits[0], 1u << 9);
  EXPECT_EQ(driver.marks.begin()->first, 1u) << "the driver counts from the device that it is asked through";
  EXPECT_EQ((driver.locks[{"/dev/neuron2", 1}].readers), 1u);
}

TEST_F(Cores, givenCoresThatAreNotThereWhenReservedThenTheyAreRefused) {
  Backend backend(host.get(), driver);
  EXPECT_EQ(backend.cores_reserve(1, 8, 8, taken, available), -EINVAL);
  EXPECT_EQ(backend.cores_reserve(1, 3, 2, taken, available), -EINVAL);
  EXPECT_EQ(backend.cores_reserve(0, 0, 7, taken, available), -EINVAL);
}

TEST_F(Cores, givenNoResetIsWantedWhenReservedThenTheCoresAreLeftAsTheyWere) {
  host.variables["NEURON_RT_RESET_CORES"] = "0";
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(2, 0, 1, taken, available), 0);
  EXPECT_FALSE(driver.asked(abi::kNcReset));
  EXPECT_FALSE(driver.asked(abi::kSemaphoreWrite));
  EXPECT_EQ((driver.locks[{"/dev/neuron0", 1}].readers), 1u) << "signed all the same";
  // One that is asked for later is another matter.
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  std::uint32_t request = 0;
  EXPECT_EQ(device->reset_start(1, request), 0);
  EXPECT_TRUE(driver.asked(abi::kNcReset));
}

TEST_F(Cores, givenAResetThatFailsWhenReservedThenTheCoresAreGivenBack) {
  driver.reset_result = 1;
  Backend backend(host.get(), driver);
  EXPECT_EQ(backend.cores_reserve(4, 0, 3, taken, available), -EIO);
  EXPECT_TRUE(driver.marks.empty());
  EXPECT_THAT(host.errors, HasSubstr("the reset of cores 0xf failed with 1"));
}

TEST_F(Cores, givenADriverThatResetsDevicesOnlyWhenReservedThenCoresOfOthersAreSpared) {
  driver.knows.clear();
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(2, 0, 1, taken, available), 0);
  EXPECT_FALSE(driver.asked(abi::kDeviceReset)) << "two cores may be somebody else's";
  EXPECT_EQ(std::count(driver.requests.begin(), driver.requests.end(), abi::kSemaphoreWrite), 2 * 32);
  EXPECT_EQ(std::count(driver.requests.begin(), driver.requests.end(), abi::kEventSet), 2 * 256);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  std::uint32_t request = 0;
  EXPECT_EQ(device->reset_start(1, request), -ENOTSUP);
  opennrt_core_map_t more{};
  ASSERT_EQ(backend.cores_reserve(4, 4, 7, more, available), 0);
  EXPECT_TRUE(driver.asked(abi::kDeviceReset)) << "a whole device";
  EXPECT_TRUE(driver.asked(abi::kDeviceReady));
}

TEST_F(Cores, givenTwoBackendsInOneProcessWhenOneClosesThenTheOthersCoresStay) {
  Backend holder(host.get(), driver);
  ASSERT_EQ(holder.cores_reserve(1, 0, 0, taken, available), 0);
  {
    Backend counting(host.get(), driver);
    std::vector<std::uint32_t> numbers;
    ASSERT_EQ(counting.devices(numbers), 0);
  }
  EXPECT_EQ(driver.marks.size(), 1u) << "closing a file for requests that need no device gives all cores back";
}

TEST_F(Cores, givenABackendWhenItClosesThenItsCoresAreFreeAndNothingIsOpen) {
  {
    Backend backend(host.get(), driver);
    ASSERT_EQ(backend.cores_reserve(5, 0, 7, taken, available), 0);
  }
  EXPECT_TRUE(driver.marks.empty());
  EXPECT_TRUE(driver.opened.empty());
}

// B8: the driver attaches 16 processes to a device, and closing it takes it a second.
TEST_F(Cores, givenCoresOfOneDeviceWhenReservedThenNoOtherIsAttachedTo) {
  Backend backend(host.get(), driver);
  opennrt_core_holder_t holder{};
  ASSERT_EQ(backend.core_holder(7, holder), 0);  // there is such a core
  EXPECT_TRUE(driver.attached.empty()) << "nothing was refused";
  ASSERT_EQ(backend.cores_reserve(2, 4, 7, taken, available), 0);
  EXPECT_THAT(driver.attached, testing::ElementsAre("/dev/neuron1"));
}

TEST_F(Cores, givenCoresOfOthersWhenRefusedThenTheirDevicesAreLookedAtOneAtATimeAndOnlyForAWhile) {
  Backend backend(host.get(), driver);
  refuse(backend);
  EXPECT_TRUE(driver.attached.empty()) << "who is refused has attached to nothing";
  opennrt_core_holder_t holder{};
  for (std::uint32_t core = 0; core < 8; ++core) EXPECT_EQ(backend.core_holder(core, holder), 0);
  EXPECT_THAT(driver.attached, testing::ElementsAre("/dev/neuron0", "/dev/neuron1"));
  EXPECT_EQ(driver.opened.size(), 2u) << "the last one, and the file for requests that need no device";
  driver.now += 5'000'000'000;
  EXPECT_EQ(backend.core_holder(0, holder), 0);
  EXPECT_EQ(driver.attached.size(), 2u);
}

TEST_F(Cores, givenAnOwnerWhenAskedForThenItIsNamedByItsLocks) {
  driver.others = {other(0b0010)};
  driver.files["/proc/4242/cmdline"] = std::string("python3\0serve.py\0", 17);
  Backend backend(host.get(), driver);
  refuse(backend);
  opennrt_core_holder_t holder{};
  ASSERT_EQ(backend.core_holder(1, holder), 0);
  EXPECT_EQ(holder.pid, kOther);
  EXPECT_STREQ(holder.command, "python3 serve.py");
  ASSERT_EQ(backend.core_holder(2, holder), 0);
  EXPECT_EQ(holder.pid, 0) << "it holds another core";
  EXPECT_EQ(backend.core_holder(8, holder), -EINVAL);
}

TEST_F(Cores, givenTheOnlyProcessOfADeviceWithoutLocksWhenAskedForThenItIsTheOne) {
  driver.others = {other(0)};
  driver.files["/proc/4242/comm"] = "neuron-app\n";
  Backend backend(host.get(), driver);
  refuse(backend);
  opennrt_core_holder_t holder{};
  ASSERT_EQ(backend.core_holder(0, holder), 0);
  EXPECT_EQ(holder.pid, kOther);
  EXPECT_STREQ(holder.command, "neuron-app");
  driver.others.push_back(other(0));
  driver.others.back().pid = kOther + 1;
  ASSERT_EQ(backend.core_holder(0, holder), 0);
  EXPECT_EQ(holder.pid, 0) << "two of them: nobody is accused";
}

TEST_F(Cores, givenADeviceThatIsFullForAMomentWhenReservedThenItIsWaitedFor) {
  driver.open_errors["/dev/neuron0"] = EBUSY;
  driver.open_errors_for_control = false;
  driver.while_polling = [&] { driver.open_errors.clear(); };
  Backend backend(host.get(), driver);
  EXPECT_EQ(backend.cores_reserve(1, 0, 0, taken, available), 0);
  EXPECT_EQ(host.errors, "");
}

TEST_F(Cores, givenADeviceThatIsFullWhenItsHolderIsAskedForThenNobodyIsNamedAndNothingLogged) {
  driver.open_errors["/dev/neuron0"] = EBUSY;
  driver.open_errors_for_control = false;
  Backend backend(host.get(), driver);
  refuse(backend);
  opennrt_core_holder_t holder{};
  EXPECT_EQ(backend.core_holder(0, holder), 0);
  EXPECT_EQ(holder.pid, 0);
  EXPECT_EQ(host.errors, "");
}

TEST_F(Cores, givenOwnCoresWhenAskedForThenThisProcessHoldsThem) {
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(1, 5, 5, taken, available), 0);
  opennrt_core_holder_t holder{};
  ASSERT_EQ(backend.core_holder(5, holder), 0);
  EXPECT_EQ(holder.pid, ::getpid());
}

TEST_F(Cores, givenAModelWhenItsLockIsTakenThenTheOwnersSignMakesWay) {
  Backend backend(host.get(), driver);
  ASSERT_EQ(backend.cores_reserve(1, 0, 0, taken, available), 0);
  Device* device = nullptr;
  ASSERT_EQ(backend.device_open(0, device), 0);
  const std::uint8_t model[32] = {1, 2, 3}, another[32] = {4};
  EXPECT_EQ(device->core_lock(0, OPENNRT_LOCK_WRITE, model), 0);
  EXPECT_EQ(device->core_unlock(0, OPENNRT_LOCK_WRITE, model), 0);
  EXPECT_EQ(device->core_lock(0, OPENNRT_LOCK_READ, model), 0);
  EXPECT_EQ(device->core_lock(0, OPENNRT_LOCK_READ, another), -ENOENT);
  EXPECT_EQ(device->core_unlock(0, OPENNRT_LOCK_READ, model), 0);
  EXPECT_EQ(device->core_unlock(0, OPENNRT_LOCK_READ, model), 0);
  EXPECT_EQ(device->core_unlock(0, OPENNRT_LOCK_READ, model), -EINVAL);
  EXPECT_EQ(device->core_lock(4, OPENNRT_LOCK_READ, model), -EINVAL);
}

}  // namespace
}  // namespace opennrt::neuron::test
