// SPDX-License-Identifier: Apache-2.0
//
// The part of the firmware that the kernel driver meets in MISC RAM (aws-neuron-driver neuron_fw_io.c, v1/fw_io.h):
// requests through host memory, reset of the device or of cores, links, serial number, ECC counters. Every other word
// is plain storage.
//
// A doorbell with the reset word set is a reset: what is reset stops at once, does not answer while the firmware works
// on it, and is ready (bit 31 of the status) after the chip file's time; requests meanwhile are not answered. Any other
// doorbell is a request: after the mailbox's latency the request is read, carried out, and its response written by DMA,
// sequence number last. A doorbell during a request is a second one.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "core/isa/inf1.h"
#include "simulator/chip/bus.h"
#include "simulator/chip/context.h"
#include "simulator/chip/unit.h"

namespace opennrt::sim {

class Mailbox : public Unit {
 public:
  static constexpr std::uint64_t kBytes = 0x1000;
  static constexpr std::uint32_t kDevice = 0xffff'ffff;  ///< in a map of cores: all of the device

  /// `reset(core_map)`: bit per core, or kDevice.
  Mailbox(const char* name, Context& context, Bus& bus, std::uint32_t device, std::function<void(std::uint32_t)> reset);

  /// `links`: kFwEastLink, kFwWestLink.
  void power_on(std::uint32_t links);
  void power_off();
  /// As after power on but for the ECC counters: what a reset of the device does to MISC RAM, at once.
  void clear();
  /// A request reaches the firmware: false when a fault keeps it from answering; only where there are faults.
  bool answers();
  /// What the firmware has in reset: bit per core, kDevice, or 0.
  std::uint32_t in_reset() const { return in_reset_; }

  /// `word`: kFwEccSram or kFwEccDram + 4 * channel. Counters stop at 65535.
  void count_memory_error(std::uint32_t word, bool corrected);

  /// `offset` below kBytes, in MISC RAM.
  std::uint32_t read(std::uint64_t offset) const { return words_[offset % kBytes / 4]; }
  void write(std::uint64_t offset, std::uint32_t value);

 protected:
  void activate() override;

 private:
  void doorbell();
  void start_reset(std::uint32_t core_map, std::uint64_t picoseconds);
  void serve();
  void respond(std::uint8_t sequence, std::uint8_t error, std::span<const std::byte> data);
  std::uint32_t read_word(std::uint64_t address);
  std::uint32_t& word(std::uint32_t offset) { return words_[offset / 4]; }
  std::uint64_t address(std::uint32_t high, std::uint32_t low) const {
    return std::uint64_t{words_[high / 4]} << 32 | words_[low / 4];
  }

  Context& context_;
  Bus& bus_;
  const std::uint32_t device_;
  const std::function<void(std::uint32_t)> reset_;
  std::array<std::uint32_t, kBytes / 4> words_{};
  std::uint32_t links_ = 0, in_reset_ = 0;
  std::uint32_t requests_ = 0;  ///< doorbells that have not been served
  std::uint64_t ignored_ = 0;   ///< requests that will stay without an answer: a fault
};

}  // namespace opennrt::sim
