// SPDX-License-Identifier: Apache-2.0
//
// Faults of DMA queues and of what they carry. The copies of the driver are events only for rules that name their
// queue: how many there are depends on how a device is driven, and a plan is to mean the same everywhere.
#include <algorithm>

#include "simulator/chip/core.h"
#include "simulator/chip/device.h"
#include "simulator/dma/udma.h"

namespace opennrt::sim {
namespace {

using faults::Rule;

bool is_memory(Place place) {
  return place == Place::kDram || place == Place::kHost || place == Place::kCoreMemory;
}

std::uint64_t link_of(const Rule& rule) {
  const std::string& link = faults::text(rule, "link");
  return link == "host" ? inf1::kHostBase : link == "east" ? inf1::kEastBase : inf1::kWestBase;
}

}  // namespace

/// An event of this queue. `act`: of a rule that strikes.
template <typename Applies, typename Act>
void DmaQueue::at_fault(Fault fault, const Applies& applies, const Act& act) {
  const FaultPlace place{env_.core.device_index(), env_.core.index(), dma_engine_name(engine_.index()), index_};
  const bool drivers = index_ == inf1::kH2tQueue && engine_.index() == inf1::h2t_engine(env_.core.index());
  env_.context.faults->at(
      fault, place, env_.context.now_ns(),
      [&](const Rule& rule) { return (!drivers || rule.where.queue.has_value()) && applies(rule); }, act);
}

bool DmaQueue::fault_at_fetch(Side side, std::uint32_t& control, std::uint64_t& address) {
  const auto any = [](const Rule&) { return true; };
  at_fault(Fault::kDescriptorCorrupt, any, [&](const Rule& rule) {
    const auto mask = faults::bits(rule, "mask");
    const std::string& field = faults::text(rule, "field");
    if (field == "address") {
      address ^= mask;
    } else if (field == "length") {
      control ^= static_cast<std::uint32_t>(mask) & inf1::kDescLengthMask;
    } else {
      control ^= (static_cast<std::uint32_t>(mask) & 3) << inf1::kDescRingIdShift;
    }
  });
  at_fault(Fault::kDmaStall, any, [&](const Rule& rule) {
    const auto ns = static_cast<std::uint64_t>(faults::integer(rule, "ns"));
    const std::uint64_t end = ns == 0 ? UINT64_MAX : env_.context.now_ps() + ns * 1000;
    stall_end_ps_ = std::max(stall_end_ps_, end);
  });
  bool aborts = false;
  at_fault(Fault::kDmaAbort, any, [&](const Rule&) { aborts = true; });
  if (aborts) abort(side, side == kTx ? Reason::kReadAddress : Reason::kWriteAddress, "a fault of the engine");
  return !aborts;
}

bool DmaQueue::fault_at_packet() {
  Faults& faults = *env_.context.faults;
  if (faults.wants(Fault::kDramCorrectable) || faults.wants(Fault::kDramUncorrectable)) {
    const auto any = [](const Rule&) { return true; };
    for (const Descriptor& from : tx_) {
      const Target source = env_.bus.resolve(from.address, from.bytes);
      if (source.place != Place::kDram || source.link_read != nullptr) continue;
      Device& device = env_.core.device();
      at_fault(Fault::kDramCorrectable, any,
               [&](const Rule&) { device.memory_error(MemoryKind::kDram, source.channel, true); });
      at_fault(Fault::kDramUncorrectable, any, [&](const Rule& rule) {
        source.memory[static_cast<std::uint64_t>(faults::integer(rule, "offset")) % from.bytes] ^= pair_of_bits(rule);
        device.memory_error(MemoryKind::kDram, source.channel, false, &env_.core);
      });
    }
  }
  if (faults.wants(Fault::kLinkDown)) {
    for (const auto* side : {&tx_, &rx_}) {
      for (const Descriptor& descriptor : *side) {
        const std::uint64_t link = descriptor.address & inf1::kWestBase;
        if (link == 0) continue;
        at_fault(
            Fault::kLinkDown, [&](const Rule& rule) { return link_of(rule) == link; },
            [&](const Rule& rule) {
              env_.core.device().take_link_down(link == inf1::kHostBase   ? Device::kHostLink
                                                : link == inf1::kEastBase ? Device::kEastLink
                                                                          : Device::kWestLink,
                                                static_cast<std::uint64_t>(faults::integer(rule, "ns")));
            });
      }
    }
  }
  if (stall_end_ps_ == 0) return true;
  state_ = State::kStalled;
  if (stall_end_ps_ == UINT64_MAX) return false;  // nobody wakes it: a reset of the queue ends it
  const std::uint64_t now = env_.context.now_ps();
  schedule(stall_end_ps_ > now ? stall_end_ps_ - now : 1);
  return false;
}

void DmaQueue::fault_in_data() {
  if (!env_.context.faults->wants(Fault::kDataBitFlip)) return;
  std::uint64_t left = tx_total_;
  for (const Descriptor& to : rx_) {
    const std::uint64_t bytes = std::min<std::uint64_t>(left, to.bytes);
    left -= bytes;
    if (bytes == 0) return;
    const Target target = env_.bus.resolve(to.address, bytes);
    if (!is_memory(target.place)) continue;
    at_fault(
        Fault::kDataBitFlip, [](const Rule& rule) { return faults::text(rule, "memory") == "dma"; },
        [&](const Rule& rule) {
          target.memory[static_cast<std::uint64_t>(faults::integer(rule, "offset")) % bytes] ^= one_bit(rule);
        });
  }
}

}  // namespace opennrt::sim
