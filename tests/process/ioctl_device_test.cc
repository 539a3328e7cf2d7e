// SPDX-License-Identifier: Apache-2.0
//
// ioctls about the emulated device and its driver, and what holds for every ioctl (docs/backend.md, docs/fidelity.md).
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "backends/neuron/paravirtual.h"
#include "core/isa/inf1.h"
#include "tests/process/ioctl_client.h"
#include "tests/process/ioctl_requests.h"

namespace opennrt::test {
namespace {

namespace pv = neuron::paravirtual;

class IoctlDevice : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_GE(node.fd(), 0) << std::strerror(errno); }
  Node node;
  Border border;
};

class EveryRequest : public ::testing::TestWithParam<RequestRow> {};

TEST_P(EveryRequest, givenAPointerToNothingWhenAskedThenItsErrnoAndNoCrash) {
  const RequestRow& row = GetParam();
  Node node;
  Border border;
  EXPECT_EQ(node.raw(row.command, border.unmapped()), row.unmapped);
  EXPECT_EQ(node.raw(row.command, 0), row.unmapped);
  EXPECT_EQ(node.raw(row.command, ~0ull - 7), row.unmapped);
  if (row.bytes > 1) {
    EXPECT_EQ(node.raw(row.command, border.address(row.bytes - 1)), row.unmapped) << "one byte missing";
  }
}

INSTANTIATE_TEST_SUITE_P(Driver, EveryRequest, ::testing::ValuesIn(kRequests),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_F(IoctlDevice, givenRequestsThatNoDriverKnowsWhenAskedThenInvalid) {
  std::uint64_t something[64] = {};
  for (const unsigned long request : std::initializer_list<unsigned long>{
           _IO('N', 0), _IO('N', 10), _IO('N', 200), _IOR('N', 21, int), _IO('X', 21), 0ul, 0x5401ul}) {
    EXPECT_EQ(node.raw(request, Node::address(something)), -EINVAL) << request;
  }
}

TEST_F(IoctlDevice, givenWhatOnlyAnEmulatorServesWhenPointersLeadNowhereThenFault) {
  for (const unsigned long request :
       {pv::kHello, pv::kWait, pv::kClock, pv::kConsume, pv::kMemStats, pv::kQuiesce, pv::kMarker}) {
    EXPECT_EQ(node.raw(request, border.unmapped()), -EFAULT) << request;
  }
}

TEST_F(IoctlDevice, givenAMarkerOfAFaultPlanWhenPassedThenItsNameIsRead) {
  std::string name(pv::kLongestMarker + 1, 'm');
  pv::Marker marker{Node::address(name.data()), pv::kLongestMarker, 0};
  EXPECT_EQ(node.ask(pv::kMarker, marker), 0);
  marker.bytes = 0;
  EXPECT_EQ(node.ask(pv::kMarker, marker), 0);
  marker.bytes = pv::kLongestMarker + 1;
  EXPECT_EQ(node.ask(pv::kMarker, marker), -EINVAL);
  marker = {border.address(3), 4, 0};
  EXPECT_EQ(node.ask(pv::kMarker, marker), -EFAULT);
}

TEST_F(IoctlDevice, givenTheDeviceWhenAskedWhatItIsThenInferentia) {
  abi::DeviceBasicInfo basic{};
  EXPECT_EQ(node.ask(abi::kDeviceBasicInfo, basic), 0);
  EXPECT_EQ(basic.architecture, 1u);
  abi::DeviceInfo info{};
  EXPECT_EQ(node.ask(abi::kDeviceInfo, info), 0);
  EXPECT_EQ(info.architecture, 1u);
  EXPECT_EQ(info.revision, basic.revision);
  EXPECT_GE(info.connected_device_count, 1u);
  EXPECT_EQ(info.bar_size[0], inf1::kBar0Bytes);
  abi::DeviceDriverInfo driver{};
  EXPECT_EQ(node.ask(abi::kDriverInfoGet, driver), 0);
  EXPECT_EQ(driver.size, sizeof(driver));
  EXPECT_TRUE(driver.feature_flags1 & abi::kFeatureMemAlloc64);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ, 'N', 110, 8), Node::address(&driver)), -EINVAL) << "shorter than any version";
  EXPECT_EQ(node.ask(abi::kDriverInfoSet, driver), kNotSupported);
  abi::CompatibleVersion version{};
  EXPECT_EQ(node.ask(abi::kCompatibleVersion, version), 0);
  EXPECT_EQ(version.min, 2u);
  EXPECT_EQ(version.max, 7u);
  abi::HostDeviceId id{99};
  EXPECT_EQ(Node(1).ask(abi::kHostDeviceId, id), 0);
  EXPECT_EQ(id.host_device_id, 1u);
  abi::HostDeviceIdToRidMap map{};
  EXPECT_EQ(node.ask(abi::kHostDeviceIdToRidMap, map), 0);
  EXPECT_EQ(map.count, 4u);
  EXPECT_EQ(map.host_did_to_rid_map[3], 3u);
  EXPECT_EQ(node.raw(_IOC(_IOC_READ | _IOC_WRITE, 'N', 115, 8), Node::address(&map)), -EINVAL);
}

TEST_F(IoctlDevice, givenPciAddressesWhenAskedThenTheyDifferByDevice) {
  abi::DeviceBdf own{};
  EXPECT_EQ(node.ask(abi::kDeviceBdf, own), 0);
  abi::DeviceBdfExt first{0, 9, 9, 0, 0}, second{1, 9, 9, 0, 0};
  EXPECT_EQ(node.ask(abi::kDeviceBdfExt, first), 0);
  EXPECT_EQ(node.ask(abi::kDeviceBdfExt, second), 0);
  EXPECT_EQ(first.bus_number, own.bus_number);
  EXPECT_EQ(first.slot, own.slot);
  EXPECT_TRUE(first.bus_number != second.bus_number || first.slot != second.slot);
  EXPECT_EQ(node.ask(abi::kDeviceBdfExt, abi::DeviceBdfExt{64, 0, 0, 0, 0}), -EINVAL);
  EXPECT_EQ(node.ask(abi::kDeviceBdfExt, abi::DeviceBdfExt{~0u, 0, 0, 0, 0}), -EINVAL);
}

TEST_F(IoctlDevice, givenItsProcessesWhenListedThenEachWithWhatItUses) {
  const std::uint64_t memory = node.allocate(1 << 20, false);
  struct {
    abi::GetAppsInfo head;
    abi::AppInfo apps[4];
  } list{};
  list.head = {abi::kAppInfoAll, 4, 0, 0};
  EXPECT_EQ(node.ask(abi::kDeviceGetAllAppsInfo, list), 0);
  ASSERT_EQ(list.head.size, 1u);
  EXPECT_EQ(list.apps[0].pid, ::getpid());
  EXPECT_GE(list.apps[0].device_mem_size, 1u << 20);
  list.head.capacity = 0;
  EXPECT_EQ(node.ask(abi::kDeviceGetAllAppsInfo, list), 0);
  EXPECT_EQ(list.head.size, 0u);
  list.head.capacity = ~0u;
  EXPECT_EQ(node.ask(abi::kDeviceGetAllAppsInfo, list), 0) << "more room than there can be processes";
  EXPECT_EQ(list.head.size, 1u);
  std::int32_t pid = 0;
  EXPECT_EQ(node.ask(abi::kDeviceAppPid, pid), 0);
  EXPECT_EQ(pid, ::getpid());
  EXPECT_EQ(node.release(memory), 0);
}

TEST_F(IoctlDevice, givenRegistersWhenReadAndWrittenThenOnlyWithinTheBars) {
  abi::DeviceInfo info{};
  ASSERT_EQ(node.ask(abi::kDeviceInfo, info), 0);
  std::uint64_t addresses[2] = {info.bar_address[0] + inf1::kMiscRam + inf1::kFwDeviceId,
                                info.bar_address[0] + inf1::kMiscRam};
  std::uint32_t values[2] = {};
  const auto rw = [&](unsigned long request, std::uint32_t bar, std::uint64_t at, std::uint64_t data,
                      std::uint32_t count) {
    return node.ask(request, abi::BarRw{bar, 0, at, data, count, 0});
  };
  const std::uint64_t at = Node::address(addresses), data = Node::address(values);
  EXPECT_EQ(rw(abi::kBarRead, 0, at, data, 2), 0);
  EXPECT_NE(values[1], 0u) << "the firmware's version";
  EXPECT_EQ(rw(abi::kBarRead, 0, at, border.unmapped(), 2), -EFAULT);
  EXPECT_EQ(rw(abi::kBarRead, 0, border.unmapped(), data, 2), -EFAULT);
  EXPECT_EQ(rw(abi::kBarWrite, 0, at, border.unmapped(), 2), -EFAULT);
  EXPECT_EQ(rw(abi::kBarRead, 4, at, data, 1), -EINVAL) << "not by registers";
  EXPECT_EQ(rw(abi::kBarRead, 0, at, data, ~0u), -ENOMEM) << "no such array";
  EXPECT_EQ(rw(abi::kBarRead, 0, at, data, 0), 0);
  addresses[0] = info.bar_address[0] + info.bar_size[0];
  EXPECT_EQ(rw(abi::kBarRead, 0, at, data, 1), -EINVAL) << "behind the last";
  addresses[0] = info.bar_address[0] - 4;
  EXPECT_EQ(rw(abi::kBarWrite, 0, at, data, 1), -EINVAL);
  addresses[0] = 0;
  EXPECT_EQ(rw(abi::kBarRead, 0, at, data, 1), -EINVAL);
  // BAR 2: one address, a row of words; SBUF of core 0 begins it.
  addresses[0] = info.bar_address[1];
  values[0] = 0x11, values[1] = 0x22;
  EXPECT_EQ(rw(abi::kBarWrite, 2, at, data, 2), 0);
  values[0] = values[1] = 0;
  EXPECT_EQ(rw(abi::kBarRead, 2, at, data, 2), 0);
  EXPECT_EQ(values[1], 0x22u);
}

TEST_F(IoctlDevice, givenCountersMetricsAndLogWhenUsedThenTheirLimits) {
  std::uint64_t address = 0;
  std::uint32_t value = 0;
  EXPECT_EQ(node.ask(abi::kReadHwCounters, abi::ReadHwCounters{Node::address(&address), Node::address(&value), 0, 0}),
            0);
  EXPECT_EQ(node.ask(abi::kReadHwCounters, abi::ReadHwCounters{border.unmapped(), Node::address(&value), 1, 0}),
            -EFAULT);
  EXPECT_EQ(node.ask(abi::kReadHwCounters, abi::ReadHwCounters{Node::address(&address), 0, ~0u, 0}), -ENOMEM);
  std::uint8_t metric[256] = {};
  EXPECT_EQ(node.ask(abi::kPostMetric, abi::PostMetric{Node::address(metric), 128, 0}), 0);
  EXPECT_EQ(node.ask(abi::kPostMetric, abi::PostMetric{Node::address(metric), 129, 0}), -E2BIG);
  EXPECT_EQ(node.ask(abi::kPostMetric, abi::PostMetric{border.unmapped(), 8, 0}), -EFAULT);
  EXPECT_EQ(node.ask(abi::kPostMetric, abi::PostMetric{Node::address(metric), ~0u, 0}), -ENOMEM);
  char text[600] = "hello";
  EXPECT_EQ(node.ask(abi::kPrintk, abi::Printk{Node::address(text), 6, 0}), 0);
  EXPECT_EQ(node.ask(abi::kPrintk, abi::Printk{Node::address(text), 5, 0}), -EBADMSG) << "no end";
  EXPECT_EQ(node.ask(abi::kPrintk, abi::Printk{Node::address(text), 0, 0}), -EBADMSG);
  EXPECT_EQ(node.ask(abi::kPrintk, abi::Printk{Node::address(text), 513, 0}), -EFAULT)
      << "too long, in the driver's words";
  EXPECT_EQ(node.ask(abi::kPrintk, abi::Printk{border.address(4), 6, 0}), -EFAULT);
}

TEST_F(IoctlDevice, givenWhatOtherChipsHaveWhenAskedThenTheAnswerOfInf1) {
  EXPECT_EQ(node.ask(abi::kHbmScrubStart, abi::HbmScrubStart{}), -EPERM);
  EXPECT_EQ(node.ask(abi::kHbmScrubWait, abi::HbmScrubWait{0, 99}), -EPERM);
  EXPECT_EQ(node.ask(abi::kGetLogicalToPhysicalNcMap, abi::GetLogicalToPhysicalNcMap{}), kNotSupported);
  abi::PodInfo info{};
  EXPECT_EQ(node.ask(abi::kPodInfo, info), -EINVAL) << "size 0";
  info.sz = sizeof(info);
  EXPECT_EQ(node.ask(abi::kPodInfo, info), 0);
  EXPECT_EQ(info.pod_sz, 0);
  abi::PodStatus status{};
  status.sz = sizeof(status);
  EXPECT_EQ(node.ask(abi::kPodStatus, status), 0);
  EXPECT_EQ(status.state, 4u) << "a single node";
  EXPECT_EQ(status.node_id, -1);
  abi::PodStatusV2 second{};
  EXPECT_EQ(node.ask(abi::kPodStatusV2, second), -EINVAL);
  second.v1.sz = sizeof(second);
  EXPECT_EQ(node.ask(abi::kPodStatusV2, second), 0);
  abi::PodCtrl control{sizeof(control), 0, 0, 0, 0};
  EXPECT_EQ(node.ask(abi::kPodCtrl, control), 0);
  EXPECT_EQ(control.state, 4u);
  abi::PodCtrlV2 control2{};
  EXPECT_EQ(node.ask(abi::kPodCtrlV2, control2), -EINVAL);
}

class FreeAccess : public ::testing::TestWithParam<int> {};

TEST_P(FreeAccess, givenAFileOpenedWithTheBitOfWritingOnlyWhenAskedThenOnlyWhatNeedsNoDevice) {
  Node free(0, GetParam() | O_CLOEXEC);
  ASSERT_GE(free.fd(), 0);
  abi::DeviceBasicInfo basic{};
  EXPECT_EQ(free.ask(abi::kDeviceBasicInfo, basic), 0);
  abi::CompatibleVersion version{};
  EXPECT_EQ(free.ask(abi::kCompatibleVersion, version), 0);
  abi::CrwlNcMapExt map{1, 0, 3, 0, {}};
  EXPECT_EQ(free.ask(abi::kCrwlNcRangeMarkExt0, map), 0);
  EXPECT_EQ(free.ask(abi::kCrwlNcRangeUnmarkExt0, map), 0);
  std::uint64_t handle = 0;
  EXPECT_EQ(free.ask(abi::kMemAlloc, abi::MemAlloc{4096, 1, 0, 0, 0, Node::address(&handle)}), -EINVAL);
  EXPECT_EQ(free.raw(abi::kDeviceInit, 0), -EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Driver, FreeAccess, ::testing::Values(O_WRONLY, O_ACCMODE));

}  // namespace
}  // namespace opennrt::test
