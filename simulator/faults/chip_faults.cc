// SPDX-License-Identifier: Apache-2.0
//
// Faults of a whole chip: its links and its firmware.
#include "simulator/chip/device.h"

namespace opennrt::sim {

using faults::Rule;

void Device::take_link_down(Link link, std::uint64_t ns) {
  const std::uint64_t until = ns == 0 ? 0 : context_.now_ps() + ns * 1000;
  const auto cut = [until](Device& device, Link of) {
    device.links_down_ |= 1u << of;
    device.links_return_ps_[of] = until;
  };
  cut(*this, link);
  if (link == kEastLink && east_ != nullptr) cut(*east_, kWestLink);
  if (link == kWestLink && west_ != nullptr) cut(*west_, kEastLink);
}

bool Device::link_is_down(Link link) {
  const std::uint32_t bit = 1u << link;
  if ((links_down_ & bit) == 0) return false;
  if (links_return_ps_[link] == 0 || context_.now_ps() < links_return_ps_[link]) return true;
  links_down_ &= ~bit;
  return false;
}

std::uint32_t Device::down_neighbours() {
  return (link_is_down(kEastLink) ? inf1::kFwEastLink : 0) | (link_is_down(kWestLink) ? inf1::kFwWestLink : 0);
}

bool Device::reset_by_firmware(std::uint32_t core_map) {
  // All of the device is reset by PCIe, too, and that trains the link anew.
  constexpr std::uint32_t kAll = 0xffff'ffff;
  if (core_map != kAll && links_down_ != 0 && link_is_down(kHostLink)) return false;
  if (context_.faults != nullptr && !mailbox_.answers()) return false;
  reset(core_map);
  return true;
}

bool Mailbox::answers() {
  constexpr std::uint64_t kAll = UINT64_MAX;
  context_.faults->at(Fault::kFirmwareSilent, {device_}, context_.now_ns(), [&](const Rule& rule) {
    const auto requests = static_cast<std::uint64_t>(faults::integer(rule, "requests"));
    ignored_ = requests == 0 ? kAll : requests;
  });
  if (ignored_ == 0) return true;
  if (ignored_ != kAll) --ignored_;
  return false;
}

}  // namespace opennrt::sim
