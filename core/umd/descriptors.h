// SPDX-License-Identifier: Apache-2.0
//
// DMA entries of a NEFF → UDMA descriptors (aws-neuron-driver udma/udma.h). Internal to this library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/common/error.h"
#include "core/isa/inf1.h"
#include "core/neff/neff.h"

namespace opennrt::umd {

/// An address, or an offset in a tensor whose place is known only when an inference binds it.
struct Place {
  std::uint64_t address = 0;  ///< device address, or with `tensor` an offset
  std::optional<std::uint32_t> tensor;
};

/// Both rings of a queue as bytes. Transmit and receive descriptors pair up one to one: descriptor n of one moves exactly the
/// bytes of descriptor n of the other, so that packets end on both sides together.
class RingImage {
 public:
  struct Patch {
    std::uint32_t descriptor = 0;
    bool receive = false;
    std::uint32_t tensor = 0;
    std::uint64_t offset = 0;
  };

  /// Descriptors that copy `bytes` (1 to 64 KiB). `flags` are of the transmit side.
  void add(const Place& from, const Place& to, std::uint32_t bytes, std::uint32_t flags);
  std::uint32_t count() const { return static_cast<std::uint32_t>(transmit_.size() / inf1::kDescriptorBytes); }
  /// Adds descriptors up to the size of a ring: a multiple of 16, at least 32, and one more than are used, so that the tail
  /// never meets the head. The added ones are never triggered.
  void pad();
  /// Marks descriptor `index` as the last of a packet.
  void close_packet(std::uint32_t index);
  void set_address(const Patch& patch, std::uint64_t address);

  std::span<const std::byte> transmit() const { return transmit_; }
  std::span<const std::byte> receive() const { return receive_; }
  const std::vector<Patch>& patches() const { return patches_; }

 private:
  void append(std::vector<std::byte>& ring, const Place& place, std::uint32_t control, bool receive);
  std::vector<std::byte> transmit_, receive_;
  std::vector<Patch> patches_;
};

/// Contiguous runs of an access pattern, in its order.
class Runs {
 public:
  explicit Runs(const neff::AccessPattern& pattern);
  std::uint64_t bytes_per_run() const { return run_; }
  std::uint64_t count() const { return count_; }
  /// Offset of the next run; call at most count() times.
  std::uint64_t next();

 private:
  struct Dimension {
    std::uint64_t size, index;
    std::int64_t step;
  };
  std::uint64_t run_ = 1, count_ = 1, offset_;
  std::vector<Dimension> outer_;
};

/// Where the variables of a program are.
struct Placement {
  std::vector<Place> variables;  ///< of each variable's first byte
  std::vector<bool> in_sbuf;     ///< it is in the state buffer: address = its window, checked against the partitions
  std::uint64_t core_base = 0;   ///< device address of the core's window
  std::uint32_t sbuf_bytes_per_partition = 0;
  std::uint64_t one_address = 0;  ///< 4 bytes in device memory that hold 1
};

/// Upper bound of the descriptors that `entry` will take.
std::uint64_t most_descriptors(const neff::DmaEntry& entry);

/// Appends the descriptors of `entry`: the copy in packets of at most 128, then, behind a barrier, the writes of 1 to the
/// event's and to the semaphore's increment register. kInvalidFile when it leaves the bytes that a partition has.
Status append_entry(const neff::DmaEntry& entry, const neff::Subgraph& subgraph, const Placement& placement,
                    RingImage& ring);

}  // namespace opennrt::umd
