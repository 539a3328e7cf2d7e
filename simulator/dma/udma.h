// SPDX-License-Identifier: Apache-2.0
//
// A UDMA engine: 16 queues, each a pair of descriptor rings (TX = memory to stream, RX = stream to memory), as the
// public kernel driver programs them (aws-neuron-driver udma/*).
//
// What a queue does: when its TX ring holds a whole packet (FIRST..LAST) and its RX ring holds room for as many
// bytes, the packet's bytes are read in the order of the TX descriptors and written in the order of the RX
// descriptors; the two sides may be cut differently. An RX descriptor that the end of a packet leaves partly filled
// is closed. Packets of a queue run one after another; queues run side by side and share engine, DRAM channels and
// host link.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/isa/inf1.h"
#include "simulator/chip/bus.h"
#include "simulator/chip/context.h"
#include "simulator/chip/notifier.h"
#include "simulator/chip/sequencer.h"
#include "simulator/chip/stats.h"
#include "simulator/chip/unit.h"

namespace opennrt::sim {

/// Links of one chip that all its DMA shares.
struct Links {
  std::array<Server, inf1::kDramChannels> dram;
  Server host_read, host_write;  ///< PCIe is full duplex
  Server to_east, from_east;     ///< the link to the east neighbour; the one to the west belongs to that neighbour
  void reset() { *this = {}; }
};

/// What a DMA queue needs of the chip and of the core that its engine belongs to.
struct DmaEnvironment {
  Context& context;
  Bus& bus;
  Links& links;
  Notifier& notifier;
  CoreStats& stats;
  Core& core;
};

class Core;
class DmaEngine;

class DmaQueue : public Unit, public FifoWriter {
 public:
  enum Side { kTx = 0, kRx = 1 };

  DmaQueue(const char* name, const DmaEnvironment& environment, DmaEngine& engine, std::uint32_t index);

  /// The doorbell: `count` more descriptors are in the ring.
  void add_tail(Side side, std::uint32_t count);
  /// Queue registers, `offset` within the queue's block of 4 KiB.
  std::uint32_t read(Side side, std::uint64_t offset) const;
  void write(Side side, std::uint64_t offset, std::uint32_t value);
  void reset();
  /// The engine was stopped: what is under way is dropped, and begins again from its first descriptor at resume().
  void stop();
  void resume() {
    if (state_ == State::kIdle) poke();
  }

  bool aborted() const { return rings_[kTx].reason != kNoReason || rings_[kRx].reason != kNoReason; }
  bool busy() const { return state_ != State::kIdle; }
  /// Empty when there is nothing to say.
  std::string describe() const;

 protected:
  void activate() override;
  void fifo_has_room() override { poke(); }

 private:
  using Reason = inf1::chosen::DmaAbortReason;
  static constexpr Reason kNoReason = Reason::kNone;
  enum class State { kIdle, kStarting, kMoving, kFifoFull, kStalled };

  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t length = 0, configuration = 0;
    std::uint32_t head = 0, tail = 0;
    std::uint32_t head_id = inf1::kInitialRingId, tail_id = inf1::kInitialRingId;
    std::uint32_t posted = 0;  ///< descriptors between head and tail
    std::uint64_t completion_base = 0;
    std::uint32_t completion_configuration = 0;
    std::uint32_t completion_head = 0, completion_id = inf1::kInitialRingId;
    Reason reason = kNoReason;
  };
  struct Descriptor {
    std::uint64_t address;
    std::uint32_t bytes;
    bool barrier;
  };
  struct Cursor {
    std::size_t index = 0;
    std::uint32_t done = 0;  ///< bytes of descriptor `index`
  };

  void reset_side(Side side);
  bool enabled() const;
  bool try_start();
  /// Reads the descriptor that is `ahead` of the head.
  bool fetch(Side side, std::uint32_t ahead, std::uint32_t& control, std::uint64_t& address);
  bool collect_tx();
  bool collect_rx();
  Target resolve_destination();
  void begin_chunk();
  void finish_chunk();
  void end_packet();
  void consume(Side side, std::size_t count);
  void drop_packet();
  bool complete(Side side, const std::vector<Descriptor>& descriptors);
  std::uint64_t link_end(const Target& target, bool reading, std::uint64_t start_ps);
  void move(const Target& from, const Target& to);
  void count(const Target& target, bool reading);
  /// `cause`: bit of the engine's error register, 0: the one that goes with the reason.
  void abort(Side side, Reason reason, const std::string& text, std::uint32_t cause = 0);

  // ---- simulator/faults/dma_faults.cc; only where there are faults ----
  template <typename Applies, typename Act>
  void at_fault(Fault fault, const Applies& applies, const Act& act);
  /// False: the queue has aborted.
  bool fault_at_fetch(Side side, std::uint32_t& control, std::uint64_t& address);
  /// The packet is collected. False: it does not begin now.
  bool fault_at_packet();
  void fault_in_data();

  DmaEnvironment env_;
  DmaEngine& engine_;
  const std::uint32_t index_;
  std::array<Ring, 2> rings_;
  std::array<std::unordered_map<std::uint64_t, std::uint32_t>, 2> storage_;  ///< registers without a function here
  State state_ = State::kIdle;

  std::vector<Descriptor> tx_, rx_;  ///< of the packet that is being collected or moved
  std::uint64_t tx_total_ = 0, rx_total_ = 0;
  bool tx_complete_ = false;  ///< LAST has been seen
  Cursor tx_at_, rx_at_;
  std::uint32_t chunk_ = 0;  ///< bytes under way
  bool warm_ = false;        ///< the previous packet ended at this very moment: no start latency
  std::uint64_t packet_start_ps_ = 0;
  Sequencer* fifo_ = nullptr;       ///< in kFifoFull
  std::uint64_t stall_end_ps_ = 0;  ///< 0: the next packet need not wait
};

class DmaEngine {
 public:
  /// `index` of the device, 0..11.
  DmaEngine(const DmaEnvironment& environment, std::uint32_t device, std::uint32_t index);

  DmaQueue& queue(std::uint32_t index) { return *queues_[index]; }
  std::uint32_t index() const { return index_; }
  Server& server() { return server_; }
  /// False while the host has it disabled or aborted: no queue starts a packet.
  bool running() const { return requested_[0] == inf1::kUdmaToNormal && requested_[1] == inf1::kUdmaToNormal; }
  /// Limits of a packet as the host has configured them.
  std::uint32_t max_descriptors() const;
  std::uint32_t max_packet_bytes() const;
  std::uint32_t completion_bytes() const;
  void add_error(DmaQueue::Side side, std::uint32_t cause) { errors_[side] |= cause; }

  /// Registers, `offset` within the engine's block (inf1::kUdmaEngineStride).
  std::uint32_t read(std::uint64_t offset) const;
  void write(std::uint64_t offset, std::uint32_t value);
  void reset();

 private:
  std::uint32_t stored(std::uint64_t offset) const;
  std::uint32_t state(DmaQueue::Side side) const;
  void change_state(DmaQueue::Side side, std::uint32_t value);

  const std::uint32_t index_;
  Server server_;
  std::array<std::uint32_t, 2> requested_{inf1::kUdmaToNormal, inf1::kUdmaToNormal};  ///< by side
  std::array<std::uint32_t, 2> errors_{};
  std::array<std::unique_ptr<DmaQueue>, inf1::kQueuesPerDmaEngine> queues_;
  std::unordered_map<std::uint64_t, std::uint32_t> storage_;
};

}  // namespace opennrt::sim
