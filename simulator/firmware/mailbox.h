// SPDX-License-Identifier: Apache-2.0
//
// The part of the firmware that the kernel driver meets in MISC RAM (aws-neuron-driver neuron_fw_io.h, v1/fw_io.h).
//
// What is here: API version, device ready and link bits, the reset handshake, plain storage for every other word.
// What is not: requests through the mailbox (register reads, metrics) are not answered; their doorbell is ignored.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

namespace opennrt::sim {

class Mailbox {
 public:
  static constexpr std::uint64_t kBytes = 0x1000;
  /// `reset(core_map)`: bit per core; 0xffffffff: the device.
  explicit Mailbox(std::function<void(std::uint32_t)> reset) : reset_(std::move(reset)) {}

  void power_on(std::uint32_t api_version);
  /// `offset` below kBytes, in MISC RAM.
  std::uint32_t read(std::uint64_t offset) const { return words_[offset % kBytes / 4]; }
  void write(std::uint64_t offset, std::uint32_t value);

 private:
  std::function<void(std::uint32_t)> reset_;
  std::array<std::uint32_t, kBytes / 4> words_{};
};

}  // namespace opennrt::sim
