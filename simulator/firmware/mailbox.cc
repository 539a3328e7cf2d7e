// SPDX-License-Identifier: Apache-2.0
#include "simulator/firmware/mailbox.h"

namespace opennrt::sim {
namespace {

constexpr std::uint64_t kApiVersion = 0x00, kStatus = 0x1c, kResetCoreMap = 0x1d8, kReset = 0x1ec, kDoorbell = 0x800;
constexpr std::uint32_t kDeviceReady = 1u << 31;
constexpr std::uint32_t kResetDevice = 1, kResetCores = 2;

}  // namespace

void Mailbox::power_on(std::uint32_t api_version) {
  words_ = {};
  words_[kApiVersion / 4] = api_version;
  words_[kStatus / 4] = kDeviceReady;  // neighbours' links are down: bits 0 and 1
}

void Mailbox::write(std::uint64_t offset, std::uint32_t value) {
  offset %= kBytes;
  if (offset == kApiVersion || offset == kStatus) return;  // the firmware's own
  words_[offset / 4] = value;
  if (offset != kDoorbell) return;
  // A reset takes no simulated time: the device is ready again before the host can look.
  const std::uint32_t request = words_[kReset / 4], cores = words_[kResetCoreMap / 4];
  words_[kReset / 4] = 0;
  words_[kDoorbell / 4] = 0;
  if (request == kResetDevice) reset_(0xffff'ffff);
  if (request == kResetCores) reset_(cores);
}

}  // namespace opennrt::sim
