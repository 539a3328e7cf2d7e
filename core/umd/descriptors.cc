// SPDX-License-Identifier: Apache-2.0
#include "core/umd/descriptors.h"

#include <algorithm>

#include "core/common/bytes.h"

namespace opennrt::umd {
namespace {

constexpr std::size_t kAddressAt = 8;
constexpr std::uint32_t kRingUnit = inf1::kRingAlignment / inf1::kDescriptorBytes;  // 16 descriptors

constexpr std::uint32_t length_field(std::uint32_t bytes) {
  return bytes == inf1::kDescMaxBytes ? 0 : bytes;
}

Place at(const Place& base, std::uint64_t offset) {
  return {base.address + offset, base.tensor};
}

/// SBUF's window has gaps: only the first bytes of each partition's stride exist.
Status check_partition(const neff::Variable& variable, std::uint64_t offset, std::uint64_t bytes,
                       std::uint32_t bytes_per_partition) {
  std::uint64_t address = variable.address + offset;
  std::uint64_t partition = address / inf1::chosen::kSbufPartitionStride,
                in_partition = address % inf1::chosen::kSbufPartitionStride;
  if (in_partition + bytes <= bytes_per_partition) return {};
  return make_error(
      ErrorCode::kInvalidFile,
      "variable '{}': a transfer touches bytes {} to {} of partition {}, but a partition of this device has {}",
      variable.name, in_partition, in_partition + bytes - 1, partition, bytes_per_partition);
}

}  // namespace

// ---- RingImage ----

void RingImage::append(std::vector<std::byte>& ring, const Place& place, std::uint32_t control, bool receive) {
  std::size_t start = ring.size();
  if (place.tensor)
    patches_.push_back(
        {static_cast<std::uint32_t>(start / inf1::kDescriptorBytes), receive, *place.tensor, place.address});
  ring.resize(start + inf1::kDescriptorBytes);
  store_le<std::uint32_t>(ring.data() + start, control | inf1::kInitialRingId << inf1::kDescRingIdShift);
  store_le<std::uint64_t>(ring.data() + start + kAddressAt, place.tensor ? 0 : place.address);
}

void RingImage::add(const Place& from, const Place& to, std::uint32_t bytes, std::uint32_t flags) {
  append(transmit_, from, length_field(bytes) | flags, false);
  append(receive_, to, length_field(bytes), true);
}

void RingImage::pad() {
  std::size_t descriptors =
      std::max<std::size_t>(inf1::kRingMinDescriptors, round_up(count() + std::size_t{1}, kRingUnit));
  transmit_.resize(descriptors * inf1::kDescriptorBytes);
  receive_.resize(descriptors * inf1::kDescriptorBytes);
}

void RingImage::close_packet(std::uint32_t index) {
  std::byte* control = transmit_.data() + std::size_t{index} * inf1::kDescriptorBytes;
  store_le<std::uint32_t>(control, load_le<std::uint32_t>(control) | inf1::kDescLast);
}

void RingImage::set_address(const Patch& patch, std::uint64_t address) {
  auto& ring = patch.receive ? receive_ : transmit_;
  store_le<std::uint64_t>(ring.data() + std::size_t{patch.descriptor} * inf1::kDescriptorBytes + kAddressAt,
                          address + patch.offset);
}

// ---- Runs ----

Runs::Runs(const neff::AccessPattern& pattern) : offset_(pattern.offset) {
  for (std::size_t i = 0; i < pattern.sizes.size(); ++i) {
    std::uint64_t size = pattern.sizes[i];
    if (size == 1) continue;
    if (outer_.empty() && pattern.steps[i] > 0 && static_cast<std::uint64_t>(pattern.steps[i]) == run_)
      run_ *= size;
    else
      outer_.push_back({size, 0, pattern.steps[i]});
  }
  for (const Dimension& dimension : outer_) count_ *= dimension.size;
}

std::uint64_t Runs::next() {
  std::uint64_t current = offset_;
  for (Dimension& dimension : outer_) {
    offset_ += static_cast<std::uint64_t>(dimension.step);
    if (++dimension.index < dimension.size) break;
    offset_ -= static_cast<std::uint64_t>(dimension.step) * dimension.size;
    dimension.index = 0;
  }
  return current;
}

// ---- entries ----

std::uint64_t most_descriptors(const neff::DmaEntry& entry) {
  Runs from(entry.from), to(entry.to);
  std::uint64_t bytes = from.count() * from.bytes_per_run();
  return from.count() + to.count() + bytes / inf1::kDescMaxBytes + 2;
}

Status append_entry(const neff::DmaEntry& entry, const neff::Subgraph& subgraph, const Placement& placement,
                    RingImage& ring) {
  Runs from(entry.from), to(entry.to);
  const Place& source = placement.variables[entry.from.variable];
  const Place& target = placement.variables[entry.to.variable];
  std::uint64_t left = from.count() * from.bytes_per_run();
  std::uint64_t from_at = 0, from_left = 0, to_at = 0, to_left = 0;
  std::uint32_t in_packet = 0;
  while (left > 0) {
    if (from_left == 0) {
      from_at = from.next();
      from_left = from.bytes_per_run();
      if (placement.in_sbuf[entry.from.variable])
        if (auto s = check_partition(subgraph.variables[entry.from.variable], from_at, from_left,
                                     placement.sbuf_bytes_per_partition);
            !s)
          return s;
    }
    if (to_left == 0) {
      to_at = to.next();
      to_left = to.bytes_per_run();
      if (placement.in_sbuf[entry.to.variable])
        if (auto s = check_partition(subgraph.variables[entry.to.variable], to_at, to_left,
                                     placement.sbuf_bytes_per_partition);
            !s)
          return s;
    }
    std::uint64_t bytes = std::min({from_left, to_left, std::uint64_t{inf1::kDescMaxBytes}});
    ring.add(at(source, from_at), at(target, to_at), static_cast<std::uint32_t>(bytes),
             in_packet == 0 ? inf1::kDescFirst : 0);
    from_at += bytes, from_left -= bytes, to_at += bytes, to_left -= bytes, left -= bytes;
    if (++in_packet == inf1::kDescPerPacket || left == 0) {
      ring.close_packet(ring.count() - 1);
      in_packet = 0;
    }
  }
  constexpr std::uint32_t kAlone = inf1::kDescFirst | inf1::kDescLast | inf1::kDescBarrier;
  if (entry.event)
    ring.add({placement.one_address, {}}, {placement.core_base + inf1::kEventOffset + 4ull * *entry.event, {}}, 4,
             kAlone);
  if (entry.semaphore)
    ring.add({placement.one_address, {}},
             {placement.core_base + inf1::kSemaphoreIncrement + 4ull * *entry.semaphore, {}}, 4, kAlone);
  return {};
}

}  // namespace opennrt::umd
