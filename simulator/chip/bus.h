// SPDX-License-Identifier: Apache-2.0
//
// What DMA and notification writers see of a chip: its address map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace opennrt::sim {

class Bus;
class Sequencer;
class Server;

/// Who answers at a device address.
enum class Place {
  kNobody,
  kDram,        ///< memory, channel
  kHost,        ///< memory
  kCoreMemory,  ///< memory: SBUF or PSUM
  kFifo,        ///< sequencer
  kRegister,    ///< bar 0 or 2, offset; 32-bit accesses only
};

struct Target {
  Place place = Place::kNobody;
  std::byte* memory = nullptr;
  std::uint32_t channel = 0;
  Sequencer* sequencer = nullptr;
  std::uint32_t bar = 0;
  std::uint64_t offset = 0;
  Bus* chip = nullptr;     ///< whose registers they are
  Server* dram = nullptr;  ///< the channel as a shared resource
  /// The link to the neighbour that has it, per direction; null when it is the chip's own.
  Server *link_read = nullptr, *link_write = nullptr;
};

/// Address decoding of one chip. Simulation thread only.
class Bus {
 public:
  virtual ~Bus() = default;
  /// Who answers at all of [address, address + bytes); kNobody when nobody or several do.
  virtual Target resolve(std::uint64_t address, std::uint64_t bytes) = 0;
  virtual std::uint32_t register_read(std::uint32_t bar, std::uint64_t offset) = 0;
  virtual void register_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t value) = 0;

  /// Copies into memory or registers; tells whoever waits for host memory. False when nobody answers.
  virtual bool write(std::uint64_t address, std::span<const std::byte> data) = 0;
};

}  // namespace opennrt::sim
