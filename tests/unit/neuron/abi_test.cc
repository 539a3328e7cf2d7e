// SPDX-License-Identifier: Apache-2.0
//
// The numbers of all requests, as a program that includes the driver's own header (aws-neuron-driver neuron_ioctl.h,
// 2.24.7.0) on x86-64 prints them.
#include "backends/neuron/abi.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace {

namespace abi = opennrt::neuron::abi;

struct Number {
  const char* name;
  unsigned long ours, driver;
};

constexpr Number kNumbers[] = {
    {"kMemAlloc", abi::kMemAlloc, 0x80084e15},
    {"kMemAllocV2", abi::kMemAllocV2, 0x80084e66},
    {"kMemAllocV2Mt", abi::kMemAllocV2Mt, 0x80304e66},
    {"kMemAllocV2Mt64", abi::kMemAllocV2Mt64, 0x80384e66},
    {"kMemFree", abi::kMemFree, 0x80084e16},
    {"kMemCopy", abi::kMemCopy, 0x80084e17},
    {"kMemCopy64", abi::kMemCopy64, 0x80284e17},
    {"kMemBufCopy", abi::kMemBufCopy, 0xc0084e18},
    {"kMemBufCopy64", abi::kMemBufCopy64, 0xc0284e18},
    {"kMemGetPa", abi::kMemGetPa, 0x80084e19},
    {"kMemGetInfo", abi::kMemGetInfo, 0x80084e1a},
    {"kProgramEngine", abi::kProgramEngine, 0xc0084e1b},
    {"kMemset", abi::kMemset, 0x80084e1c},
    {"kMemset64", abi::kMemset64, 0x80204e1c},
    {"kMemGetExtendedInfo", abi::kMemGetExtendedInfo, 0x80084e1d},
    {"kProgramEngineNc", abi::kProgramEngineNc, 0xc0084e69},
    {"kProgramEngineNc64", abi::kProgramEngineNc64, 0xc0284e69},
    {"kDmabufFd", abi::kDmabufFd, 0x80084e6b},
    {"kMemCopyAsync", abi::kMemCopyAsync, 0xc0304e6c},
    {"kMemCopyAsync64", abi::kMemCopyAsync64, 0xc0384e6c},
    {"kMemCopyAsyncWait", abi::kMemCopyAsyncWait, 0x40184e6d},
    {"kMemMcGetInfo", abi::kMemMcGetInfo, 0xc0184e6f},
    {"kMemMcGetInfoV2", abi::kMemMcGetInfoV2, 0xc0204e6f},
    {"kResourceMmapInfo", abi::kResourceMmapInfo, 0xc0204e70},
    {"kDumpMemChunks", abi::kDumpMemChunks, 0x80084e74},
    {"kMemBufZerocopy64", abi::kMemBufZerocopy64, 0xc0284e7c},
    {"kDmaEngInit", abi::kDmaEngInit, 0x80084e1e},
    {"kDmaEngSetState", abi::kDmaEngSetState, 0x80084e1f},
    {"kDmaEngGetState", abi::kDmaEngGetState, 0xc0084e20},
    {"kDmaQueueInit", abi::kDmaQueueInit, 0x80084e21},
    {"kDmaQueueInitBatch", abi::kDmaQueueInitBatch, 0xb0084e85},
    {"kDmaQueueRelease", abi::kDmaQueueRelease, 0x80084e22},
    {"kDmaQueueCopyStart", abi::kDmaQueueCopyStart, 0x80084e23},
    {"kDmaAckCompleted", abi::kDmaAckCompleted, 0x80084e24},
    {"kDmaQueueGetState", abi::kDmaQueueGetState, 0xc0084e25},
    {"kDmaCopyDescriptors", abi::kDmaCopyDescriptors, 0x80084e26},
    {"kDmaCopyDescriptors64", abi::kDmaCopyDescriptors64, 0x80284e26},
    {"kDmaDescriptorCopyout", abi::kDmaDescriptorCopyout, 0xc0084e27},
    {"kDmaQuiesceQueues", abi::kDmaQuiesceQueues, 0x80084e28},
    {"kSemaphoreIncrement", abi::kSemaphoreIncrement, 0x80084e29},
    {"kSemaphoreDecrement", abi::kSemaphoreDecrement, 0x80084e2a},
    {"kSemaphoreRead", abi::kSemaphoreRead, 0xc0084e2b},
    {"kSemaphoreWrite", abi::kSemaphoreWrite, 0x80084e2c},
    {"kEventSet", abi::kEventSet, 0x80084e2d},
    {"kEventGet", abi::kEventGet, 0xc0084e2e},
    {"kNotificationsInitV1", abi::kNotificationsInitV1, 0x80084e33},
    {"kNotificationsDestroyV1", abi::kNotificationsDestroyV1, 0x80084e34},
    {"kNotificationsInitV2", abi::kNotificationsInitV2, 0x80084e35},
    {"kNotificationsInitWithReallocV2", abi::kNotificationsInitWithReallocV2, 0x80084e36},
    {"kNotificationsQueueInfo", abi::kNotificationsQueueInfo, 0x80084e3a},
    {"kAcquireNeuronDs", abi::kAcquireNeuronDs, 0x80084e47},
    {"kReleaseNeuronDs", abi::kReleaseNeuronDs, 0x80084e48},
    {"kCrwlReaderEnter", abi::kCrwlReaderEnter, 0x40084e51},
    {"kCrwlReaderExit", abi::kCrwlReaderExit, 0x40084e52},
    {"kCrwlWriterEnter", abi::kCrwlWriterEnter, 0x40084e53},
    {"kCrwlWriterDowngrade", abi::kCrwlWriterDowngrade, 0x40084e54},
    {"kCrwlNcRangeMark", abi::kCrwlNcRangeMark, 0x40084e55},
    {"kCrwlNcRangeMarkExt0", abi::kCrwlNcRangeMarkExt0, 0xc0504e55},
    {"kCrwlNcRangeUnmark", abi::kCrwlNcRangeUnmark, 0x40084e56},
    {"kCrwlNcRangeUnmarkExt0", abi::kCrwlNcRangeUnmarkExt0, 0x40504e56},
    {"kCinitSetState", abi::kCinitSetState, 0x40084e5b},
    {"kNcModelStartedCount", abi::kNcModelStartedCount, 0x40084e5c},
    {"kNcReset", abi::kNcReset, 0x80084e67},
    {"kNcResetReady", abi::kNcResetReady, 0x80084e68},
    {"kNcPidStateDump", abi::kNcPidStateDump, 0xc0104e75},
    {"kDeviceReset", abi::kDeviceReset, 0x4e01},
    {"kDeviceReady", abi::kDeviceReady, 0x80014e02},
    {"kDeviceResetStatus", abi::kDeviceResetStatus, 0x80014e6a},
    {"kDeviceInfo", abi::kDeviceInfo, 0x80084e03},
    {"kDeviceInit", abi::kDeviceInit, 0x80084e04},
    {"kDeviceRelease", abi::kDeviceRelease, 0x4e05},
    {"kDeviceAppPid", abi::kDeviceAppPid, 0x80044e06},
    {"kDeviceGetAllAppsInfo", abi::kDeviceGetAllAppsInfo, 0x80084e07},
    {"kBarRead", abi::kBarRead, 0x80084e0b},
    {"kBarWrite", abi::kBarWrite, 0x40084e0c},
    {"kPostMetric", abi::kPostMetric, 0x40084e0d},
    {"kReadHwCounters", abi::kReadHwCounters, 0x80084e3d},
    {"kCompatibleVersion", abi::kCompatibleVersion, 0x40084e5d},
    {"kDeviceBasicInfo", abi::kDeviceBasicInfo, 0x40084e64},
    {"kDeviceBdf", abi::kDeviceBdf, 0x80084e65},
    {"kDeviceBdfExt", abi::kDeviceBdfExt, 0x80084e6a},
    {"kDriverInfoGet", abi::kDriverInfoGet, 0x80184e6e},
    {"kDriverInfoSet", abi::kDriverInfoSet, 0x40184e6e},
    {"kPrintk", abi::kPrintk, 0x40104e71},
    {"kHostDeviceId", abi::kHostDeviceId, 0x80044e72},
    {"kHostDeviceIdToRidMap", abi::kHostDeviceIdToRidMap, 0xc1044e73},
    {"kHbmScrubStart", abi::kHbmScrubStart, 0xc0104e76},
    {"kHbmScrubWait", abi::kHbmScrubWait, 0xc0084e77},
    {"kGetLogicalToPhysicalNcMap", abi::kGetLogicalToPhysicalNcMap, 0xc0104e78},
    {"kPodInfo", abi::kPodInfo, 0xc1044e79},
    {"kPodStatus", abi::kPodStatus, 0xc10c4e7a},
    {"kPodStatusV2", abi::kPodStatusV2, 0xc1144e7a},
    {"kPodCtrl", abi::kPodCtrl, 0xc0104e7b},
    {"kPodCtrlV2", abi::kPodCtrlV2, 0xc0144e7b},
};

TEST(NeuronAbi, givenTheDriversHeaderWhenComparedThenEveryNumberIsTheSame) {
  for (const Number& number : kNumbers) EXPECT_EQ(number.ours, number.driver) << number.name;
}

TEST(NeuronAbi, givenAllNumbersWhenComparedThenNoTwoRequestsShareOne) {
  std::map<unsigned long, std::string> seen;
  for (const Number& number : kNumbers) {
    const auto [at, fresh] = seen.emplace(number.ours, number.name);
    EXPECT_TRUE(fresh) << number.name << " and " << at->second;
  }
  EXPECT_EQ(std::size(kNumbers), 94u);
}

TEST(NeuronAbi, givenGenerationsOfARequestWhenComparedThenTheyShareTheirPlaceAndDifferInSize) {
  const std::pair<unsigned long, unsigned long> generations[] = {{abi::kMemAllocV2, abi::kMemAllocV2Mt},
                                                                 {abi::kMemAllocV2Mt, abi::kMemAllocV2Mt64},
                                                                 {abi::kMemCopy, abi::kMemCopy64},
                                                                 {abi::kMemBufCopy, abi::kMemBufCopy64},
                                                                 {abi::kMemset, abi::kMemset64},
                                                                 {abi::kDmaCopyDescriptors, abi::kDmaCopyDescriptors64},
                                                                 {abi::kProgramEngineNc, abi::kProgramEngineNc64},
                                                                 {abi::kMemMcGetInfo, abi::kMemMcGetInfoV2},
                                                                 {abi::kCrwlNcRangeMark, abi::kCrwlNcRangeMarkExt0}};
  for (const auto& [old, young] : generations) {
    EXPECT_EQ(_IOC_NR(old), _IOC_NR(young));
    EXPECT_NE(_IOC_SIZE(old), _IOC_SIZE(young));
  }
}

}  // namespace
