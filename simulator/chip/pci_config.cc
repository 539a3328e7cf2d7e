// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/pci_config.h"

#include "core/isa/inf1.h"

namespace opennrt::sim {
namespace {

// PCI Local Bus Specification 3.0, chapter 6: type 0 header, in words of four bytes.
constexpr std::size_t kId = 0x00 / 4, kCommand = 0x04 / 4, kClass = 0x08 / 4, kCacheLine = 0x0c / 4, kBar0 = 0x10 / 4,
                      kSubsystem = 0x2c / 4, kInterrupt = 0x3c / 4;
constexpr std::uint32_t kMemorySpace = 1u << 1, kBusMaster = 1u << 2;

}  // namespace

void PciConfig::power_on(std::uint8_t revision, std::uint64_t bar4_bytes) {
  words_ = {};
  writable_ = {};
  words_[kId] = std::uint32_t{inf1::kPciDevice} << 16 | inf1::kPciVendor;
  words_[kSubsystem] = words_[kId];
  words_[kClass] = inf1::kPciClass << 8 | revision;
  writable_[kCommand] = kMemorySpace | kBusMaster;
  writable_[kCacheLine] = 0xff;
  writable_[kInterrupt] = 0xff;  // the line is the host's to remember
  // Memory, 32 bits, not prefetchable: only the bits above the size can be set.
  writable_[kBar0 + 0] = static_cast<std::uint32_t>(~(inf1::kBar0Bytes - 1));
  writable_[kBar0 + 2] = static_cast<std::uint32_t>(~(inf1::kBar2Bytes - 1));
  writable_[kBar0 + 4] = static_cast<std::uint32_t>(~(bar4_bytes - 1));
}

bool PciConfig::valid(std::uint32_t offset, std::uint32_t bytes) {
  return (bytes == 1 || bytes == 2 || bytes == 4) && offset % bytes == 0 && offset < kBytes;
}

std::uint32_t PciConfig::read(std::uint32_t offset, std::uint32_t bytes) const {
  if (!valid(offset, bytes)) return ones(bytes);
  return words_[offset / 4] >> (offset % 4 * 8) & ones(bytes);
}

void PciConfig::write(std::uint32_t offset, std::uint32_t value, std::uint32_t bytes) {
  if (!valid(offset, bytes)) return;
  const std::uint32_t shift = offset % 4 * 8;
  const std::uint32_t mask = (ones(bytes) << shift) & writable_[offset / 4];
  words_[offset / 4] = (words_[offset / 4] & ~mask) | (value << shift & mask);
}

}  // namespace opennrt::sim
