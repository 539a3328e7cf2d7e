// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "simulator/chip/core.h"
#include "simulator/dma/udma.h"

namespace opennrt::sim {

using inf1::chosen::ErrorNotification;

namespace {

std::uint32_t completion_register(DmaQueue::Side side) {
  return side == DmaQueue::kTx ? inf1::kM2sCompletionCfg : inf1::kS2mCompletionCfg;
}

/// Not to be seen before what was written earlier, where memory is aligned as anybody who polls it has it.
void store_word(std::byte* memory, std::uint32_t value) {
  if (reinterpret_cast<std::uintptr_t>(memory) % sizeof value == 0) {
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(memory), value, __ATOMIC_RELEASE);
  } else {
    std::memcpy(memory, &value, sizeof value);
  }
}

}  // namespace

DmaQueue::DmaQueue(const char* name, const DmaEnvironment& environment, DmaEngine& engine, std::uint32_t index)
    : Unit(name), env_(environment), engine_(engine), index_(index) {}

// ---- registers ----

std::uint32_t DmaQueue::read(Side side, std::uint64_t offset) const {
  const Ring& ring = rings_[side];
  switch (offset) {
    case inf1::kQCfg:
      return ring.configuration;
    case inf1::kQStatus:
      return (aborted() ? inf1::chosen::kQStatusAbort : 0) | (busy() ? inf1::chosen::kQStatusBusy : 0) |
             static_cast<std::uint32_t>(ring.reason);
    case inf1::kQBaseLow:
      return static_cast<std::uint32_t>(ring.base);
    case inf1::kQBaseHigh:
      return static_cast<std::uint32_t>(ring.base >> 32);
    case inf1::kQLength:
      return ring.length;
    case inf1::kQHead:
    case inf1::kQCurrent:
      return ring.head | ring.head_id << 30;
    case inf1::kQTail:
      return ring.tail | ring.tail_id << 30;
    case inf1::kQTailIncrement:
      return 0;
    case inf1::kQCompletionLow:
      return static_cast<std::uint32_t>(ring.completion_base);
    case inf1::kQCompletionHigh:
      return static_cast<std::uint32_t>(ring.completion_base >> 32);
    case inf1::kQCompletionHead:
      return ring.completion_head | ring.completion_id << 30;
    default:
      break;
  }
  if (offset == completion_register(side)) return ring.completion_configuration;
  const auto it = storage_[side].find(offset);
  return it == storage_[side].end() ? 0 : it->second;
}

void DmaQueue::write(Side side, std::uint64_t offset, std::uint32_t value) {
  Ring& ring = rings_[side];
  switch (offset) {
    case inf1::kQCfg:
      ring.configuration = value;
      if (state_ == State::kIdle) poke();
      return;
    case inf1::kQBaseLow:
      ring.base = (ring.base & 0xffff'ffff'0000'0000ull) | (value & 0xffff'ffc0u);
      return;
    case inf1::kQBaseHigh:
      ring.base = (ring.base & 0xffff'ffffull) | (std::uint64_t{value} << 32);
      return;
    case inf1::kQLength:
      ring.length = value & 0xff'ffffu;
      return;
    case inf1::kQTailIncrement:
      add_tail(side, value & 0xff'ffffu);
      return;
    case inf1::kQCompletionLow:
      ring.completion_base = (ring.completion_base & 0xffff'ffff'0000'0000ull) | (value & 0xffff'ffc0u);
      return;
    case inf1::kQCompletionHigh:
      ring.completion_base = (ring.completion_base & 0xffff'ffffull) | (std::uint64_t{value} << 32);
      return;
    case inf1::kQCompletionHead:
    case inf1::kQStatus:
    case inf1::kQHead:
    case inf1::kQTail:
    case inf1::kQCurrent:
      return;  // read only
    default:
      break;
  }
  if (offset == completion_register(side)) {
    ring.completion_configuration = value;
    return;
  }
  const std::uint32_t control = side == kTx ? inf1::kM2sSwControl : inf1::kS2mSwControl;
  if (offset == control && (value & inf1::kQueueReset) != 0) {
    reset_side(side);
    return;  // the bit clears itself
  }
  storage_[side][offset] = value;
}

void DmaQueue::reset_side(Side side) {
  stop();
  Ring& ring = rings_[side];
  ring.head = ring.tail = ring.posted = 0;
  ring.head_id = ring.tail_id = inf1::kInitialRingId;
  ring.completion_head = 0;
  ring.completion_id = inf1::kInitialRingId;
  ring.reason = kNoReason;
}

void DmaQueue::stop() {
  // What is under way is abandoned; bytes that have not been written never will be.
  cancel();
  if (fifo_ != nullptr) fifo_->fifo_forget(*this);
  fifo_ = nullptr;
  state_ = State::kIdle;
  drop_packet();
  stall_end_ps_ = 0;
  warm_ = false;
}

void DmaQueue::drop_packet() {
  tx_.clear();
  rx_.clear();
  tx_total_ = rx_total_ = 0;
  tx_complete_ = false;
}

void DmaQueue::reset() {
  for (const Side side : {kTx, kRx}) {
    reset_side(side);
    rings_[side] = {};
    storage_[side].clear();
  }
}

bool DmaQueue::enabled() const {
  return (rings_[kTx].configuration & inf1::kQCfgEnable) == inf1::kQCfgEnable &&
         (rings_[kRx].configuration & inf1::kQCfgEnable) == inf1::kQCfgEnable;
}

void DmaQueue::add_tail(Side side, std::uint32_t count) {
  Ring& ring = rings_[side];
  if (count == 0 || aborted()) return;
  if (ring.length == 0 || count > ring.length - ring.posted) {
    abort(
        side, Reason::kRing,
        fmt::format("doorbell of {} descriptors, ring holds {} and {} are not done", count, ring.length, ring.posted));
    return;
  }
  ring.posted += count;
  ring.tail += count;
  if (ring.tail >= ring.length) {
    ring.tail -= ring.length;
    ring.tail_id = (ring.tail_id + 1) & 3;
  }
  if (state_ == State::kIdle) poke();
}

// ---- packets ----

bool DmaQueue::fetch(Side side, std::uint32_t ahead, std::uint32_t& control, std::uint64_t& address) {
  const Ring& ring = rings_[side];
  std::uint32_t slot = ring.head + ahead, id = ring.head_id;
  if (slot >= ring.length) {
    slot -= ring.length;
    id = (id + 1) & 3;
  }
  const std::uint64_t at = ring.base + std::uint64_t{slot} * inf1::kDescriptorBytes;
  const Target target = env_.bus.resolve(at, inf1::kDescriptorBytes);
  if (target.place != Place::kDram && target.place != Place::kHost) {
    abort(side, Reason::kRing, fmt::format("no memory at {:#x}, where descriptor {} should be", at, slot));
    return false;
  }
  std::memcpy(&control, target.memory, sizeof control);
  std::memcpy(&address, target.memory + 8, sizeof address);
  if (env_.context.faults != nullptr && !fault_at_fetch(side, control, address)) return false;
  if (const std::uint32_t found = (control >> inf1::kDescRingIdShift) & 3; found != id) {
    abort(side, Reason::kRingId, fmt::format("descriptor {} has ring id {}, expected {}", slot, found, id));
    return false;
  }
  return true;
}

bool DmaQueue::collect_tx() {
  while (!tx_complete_ && tx_.size() < rings_[kTx].posted) {
    std::uint32_t control = 0;
    std::uint64_t address = 0;
    const auto ahead = static_cast<std::uint32_t>(tx_.size());
    if (!fetch(kTx, ahead, control, address)) return false;
    const bool first = (control & inf1::kDescFirst) != 0;
    if (first != tx_.empty()) {
      abort(kTx, Reason::kDescriptor,
            fmt::format("descriptor {} of a packet {}", ahead, first ? "is marked FIRST" : "is not marked FIRST"),
            first ? inf1::kM2sLast : inf1::kM2sFirst);
      return false;
    }
    const std::uint32_t length = control & inf1::kDescLengthMask;
    tx_.push_back({address, length == 0 ? inf1::kDescMaxBytes : length, (control & inf1::kDescBarrier) != 0});
    tx_total_ += tx_.back().bytes;
    tx_complete_ = (control & inf1::kDescLast) != 0;
    if (!tx_complete_ && tx_.size() >= engine_.max_descriptors()) {
      abort(kTx, Reason::kDescriptor, fmt::format("a packet of more than {} descriptors", engine_.max_descriptors()),
            inf1::kM2sTooManyDescriptors);
      return false;
    }
    if (tx_total_ > engine_.max_packet_bytes()) {
      abort(kTx, Reason::kDescriptor, fmt::format("a packet of more than {} bytes", engine_.max_packet_bytes()),
            inf1::kM2sTooLong);
      return false;
    }
  }
  return tx_complete_;
}

bool DmaQueue::collect_rx() {
  while (rx_total_ < tx_total_ && rx_.size() < rings_[kRx].posted) {
    std::uint32_t control = 0;
    std::uint64_t address = 0;
    if (!fetch(kRx, static_cast<std::uint32_t>(rx_.size()), control, address)) return false;
    const std::uint32_t length = control & inf1::kDescLengthMask;
    rx_.push_back({address, length == 0 ? inf1::kDescMaxBytes : length, false});
    rx_total_ += rx_.back().bytes;
  }
  return rx_total_ >= tx_total_;
}

bool DmaQueue::try_start() {
  if (aborted() || !enabled() || !engine_.running() || !collect_tx() || !collect_rx()) return false;
  tx_at_ = rx_at_ = {};
  packet_start_ps_ = env_.context.now_ps();
  if (env_.context.faults != nullptr && !fault_at_packet()) return true;
  begin_chunk();
  return state_ != State::kIdle;
}

void DmaQueue::consume(Side side, std::size_t count) {
  Ring& ring = rings_[side];
  ring.posted -= static_cast<std::uint32_t>(count);
  ring.head += static_cast<std::uint32_t>(count);
  if (ring.head >= ring.length) {
    ring.head -= ring.length;
    ring.head_id = (ring.head_id + 1) & 3;
  }
}

void DmaQueue::end_packet() {
  env_.stats.dma_packets += 1;
  QueueStats& stats =
      env_.stats.queues[engine_.index() % inf1::kDmaEnginesPerCore * inf1::kQueuesPerDmaEngine + index_];
  stats.packets += 1;
  stats.bytes += tx_total_;
  stats.busy_ps += env_.context.now_ps() - packet_start_ps_;
  env_.stats.dma_descriptors += tx_.size() + rx_.size();
  if (env_.context.trace.on()) {
    env_.context.trace.span(
        env_.core.machine_index(),
        Trace::kDmaRow + engine_.index() % inf1::kDmaEnginesPerCore * inf1::kQueuesPerDmaEngine + index_, "dma",
        fmt::format("{} B", tx_total_), packet_start_ps_, env_.context.now_ps(),
        fmt::format("{} -> {} descriptors, {:#x} -> {:#x}", tx_.size(), rx_.size(), tx_.front().address,
                    rx_.front().address));
  }
  if (env_.context.faults != nullptr) fault_in_data();
  state_ = State::kIdle;
  warm_ = true;
  consume(kTx, tx_.size());
  consume(kRx, rx_.size());
  if (complete(kTx, tx_)) (void)complete(kRx, rx_);
  drop_packet();
}

/// One completion descriptor for each that is done: ring id, FIRST and LAST of the packet, and how many bytes it was.
bool DmaQueue::complete(Side side, const std::vector<Descriptor>& descriptors) {
  Ring& ring = rings_[side];
  if ((ring.completion_configuration & inf1::kCompletionEnable) == 0 || ring.completion_base == 0) return true;
  const std::uint32_t bytes = engine_.completion_bytes();
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const std::uint32_t control = (descriptors[i].bytes & inf1::kDescLengthMask) |
                                  ring.completion_id << inf1::kDescRingIdShift | (i == 0 ? inf1::kDescFirst : 0) |
                                  (i + 1 == descriptors.size() ? inf1::kDescLast : 0);
    const std::uint64_t at = ring.completion_base + std::uint64_t{ring.completion_head} * bytes;
    const Target target = env_.bus.resolve(at, bytes);
    if (target.place != Place::kHost && target.place != Place::kDram) {
      abort(side, Reason::kRing, fmt::format("no memory at {:#x}, where completion {} should go", at, i));
      return false;
    }
    std::memset(target.memory + 4, 0, bytes - 4);
    store_word(target.memory, control);  // last: the reader polls it
    if (++ring.completion_head == ring.length) {
      ring.completion_head = 0;
      ring.completion_id = (ring.completion_id + 1) & 3;
    }
    if (target.place == Place::kHost) env_.context.host_written();
  }
  return true;
}

// ---- bytes ----

std::uint64_t DmaQueue::link_end(const Target& target, bool reading, std::uint64_t start_ps) {
  const ChipConfig& config = env_.context.config;
  Server* link = reading ? target.link_read : target.link_write;
  const std::uint64_t end = link == nullptr ? start_ps : link->reserve(start_ps, chunk_, config.neighbour_ps_per_byte);
  switch (target.place) {
    case Place::kDram:
      return std::max(end, target.dram->reserve(start_ps, chunk_, config.dram_ps_per_byte));
    case Place::kHost:
      return (reading ? env_.links.host_read : env_.links.host_write)
          .reserve(start_ps, chunk_, config.host_ps_per_byte);
    default:
      return end;  // SBUF, PSUM, FIFOs and registers have ports of their own
  }
}

Target DmaQueue::resolve_destination() {
  const Descriptor& to = rx_[rx_at_.index];
  if (rx_at_.done != 0) {
    // A FIFO is a port: a descriptor longer than its window does not run into the next engine's.
    const Target first = env_.bus.resolve(to.address, 1);
    if (first.place == Place::kFifo) return first;
  }
  return env_.bus.resolve(to.address + rx_at_.done, chunk_);
}

void DmaQueue::begin_chunk() {
  const ChipConfig& config = env_.context.config;
  const Descriptor& from = tx_[tx_at_.index];
  const Descriptor& to = rx_[rx_at_.index];
  chunk_ = std::min(from.bytes - tx_at_.done, to.bytes - rx_at_.done);
  const std::uint64_t source = from.address + tx_at_.done, destination = to.address + rx_at_.done;
  const Target read = env_.bus.resolve(source, chunk_);
  if (read.place == Place::kNobody || read.place == Place::kFifo ||
      (read.place == Place::kRegister && chunk_ % 4 != 0)) {
    abort(kTx, Reason::kReadAddress, fmt::format("nobody answers a read of {} bytes at {:#x}", chunk_, source));
    return;
  }
  const Target write = resolve_destination();
  if (write.place == Place::kNobody || (write.place == Place::kRegister && chunk_ % 4 != 0)) {
    abort(kRx, Reason::kWriteAddress, fmt::format("nobody answers a write of {} bytes at {:#x}", chunk_, destination));
    return;
  }
  if (write.place == Place::kFifo) {
    // Only this queue waits for a full FIFO. It goes on when there is some room, so that a stream of instructions does
    // not wake it once for each of them.
    const std::uint32_t room = write.sequencer->fifo_room();
    const std::uint32_t enough = std::min(chunk_, config.fetch_bytes);
    if (room < enough) {
      fifo_ = write.sequencer;
      state_ = State::kFifoFull;
      fifo_->fifo_wait(*this, enough);
      return;
    }
    chunk_ = std::min(chunk_, room);
  }
  if (!warm_) {
    // Links are taken when the first byte is there, so that a queue which starts does not keep others from them.
    std::uint64_t latency = config.dma_start_ps;
    if (read.place == Place::kHost || write.place == Place::kHost) latency += config.host_latency_ps;
    if (read.link_read != nullptr || write.link_write != nullptr) latency += config.neighbour_latency_ps;
    warm_ = true;
    state_ = State::kStarting;
    schedule(std::max<std::uint64_t>(1, latency));
    return;
  }
  std::uint64_t start = env_.context.now_ps();
  if (tx_at_.done == 0) {
    start += config.dma_descriptor_ps;
    if (from.barrier) start += config.dma_barrier_ps;
  } else if (rx_at_.done == 0) {
    start += config.dma_descriptor_ps;
  }
  std::uint64_t end = start + static_cast<std::uint64_t>(chunk_ * config.dma_queue_ps_per_byte + 0.5);
  end = std::max(end, engine_.server().reserve(start, chunk_, config.dma_engine_ps_per_byte));
  end = std::max(end, link_end(read, true, start));
  end = std::max(end, link_end(write, false, start));
  state_ = State::kMoving;
  schedule(std::max<std::uint64_t>(1, end - env_.context.now_ps()));
}

void DmaQueue::count(const Target& target, bool reading) {
  CoreStats& stats = env_.stats;
  if ((reading ? target.link_read : target.link_write) != nullptr) {
    (reading ? stats.neighbour_read_bytes : stats.neighbour_write_bytes) += chunk_;
  }
  switch (target.place) {
    case Place::kDram:
      (reading ? stats.dram_read_bytes : stats.dram_write_bytes) += chunk_;
      return;
    case Place::kHost:
      (reading ? stats.host_read_bytes : stats.host_write_bytes) += chunk_;
      return;
    case Place::kCoreMemory:
      (reading ? stats.core_memory_read_bytes : stats.core_memory_write_bytes) += chunk_;
      return;
    case Place::kFifo:
      stats.instruction_bytes += chunk_;
      return;
    default:
      return;
  }
}

void DmaQueue::move(const Target& from, const Target& to) {
  std::vector<std::byte> words;
  const std::byte* data = from.memory;
  if (data == nullptr) {
    words.resize(chunk_);
    for (std::uint32_t i = 0; i < chunk_; i += 4) {
      const std::uint32_t value = from.chip->register_read(from.bar, from.offset + i);
      std::memcpy(words.data() + i, &value, 4);
    }
    data = words.data();
  }
  switch (to.place) {
    case Place::kHost:
      // The driver spins on a pattern of 4 bytes that is copied last: it must not be seen before what was written
      // earlier.
      if (chunk_ == 4) {
        std::uint32_t value;
        std::memcpy(&value, data, 4);
        store_word(to.memory, value);
      } else {
        std::memmove(to.memory, data, chunk_);
      }
      return;
    case Place::kFifo:
      to.sequencer->fifo_push({data, chunk_});
      return;
    case Place::kRegister:
      for (std::uint32_t i = 0; i < chunk_; i += 4) {
        std::uint32_t value;
        std::memcpy(&value, data + i, 4);
        to.chip->register_write(to.bar, to.offset + i, value);
      }
      return;
    default:
      std::memmove(to.memory, data, chunk_);
      return;
  }
}

void DmaQueue::finish_chunk() {
  Descriptor& from = tx_[tx_at_.index];
  Descriptor& to = rx_[rx_at_.index];
  // Decoded again: host memory may have been unregistered while the bytes were under way.
  const Target read = env_.bus.resolve(from.address + tx_at_.done, chunk_);
  const Target write = resolve_destination();
  if (read.place == Place::kNobody || write.place == Place::kNobody) {
    abort(
        read.place == Place::kNobody ? kTx : kRx,
        read.place == Place::kNobody ? Reason::kReadAddress : Reason::kWriteAddress,
        fmt::format("host memory was unregistered, or a link went down, during a copy of {} bytes from {:#x} to {:#x}",
                    chunk_, from.address, to.address));
    return;
  }
  if (write.place == Place::kFifo && write.sequencer->fifo_room() < chunk_) {
    // Another queue has filled the same FIFO meanwhile: the bytes wait at its door.
    fifo_ = write.sequencer;
    state_ = State::kFifoFull;
    fifo_->fifo_wait(*this, chunk_);
    return;
  }
  count(read, true);
  count(write, false);
  move(read, write);
  if (state_ != State::kMoving) return;  // the write was to a register that reset or aborted this queue
  tx_at_.done += chunk_;
  rx_at_.done += chunk_;
  if (tx_at_.done == from.bytes) tx_at_ = {tx_at_.index + 1, 0};
  if (rx_at_.done == to.bytes) rx_at_ = {rx_at_.index + 1, 0};
  if (tx_at_.index == tx_.size()) {
    end_packet();
  } else {
    begin_chunk();
  }
  // After the head has moved: who waits for these bytes sees the queue as it is now.
  if (write.place == Place::kHost) env_.context.host_written();
}

void DmaQueue::activate() {
  switch (state_) {
    case State::kIdle:
      break;
    case State::kMoving:
      finish_chunk();
      if (state_ != State::kIdle) return;
      break;
    case State::kStalled:
      if (env_.context.now_ps() < stall_end_ps_) return;
      stall_end_ps_ = 0;
      begin_chunk();
      return;
    case State::kStarting:
    case State::kFifoFull:
      fifo_ = nullptr;
      begin_chunk();
      return;
  }
  if (!try_start()) warm_ = false;
}

void DmaQueue::abort(Side side, Reason reason, const std::string& text, std::uint32_t cause) {
  if (cause == 0) {
    const bool tx = side == kTx;
    cause = reason == Reason::kRingId ? (tx ? inf1::kM2sRingId : inf1::kS2mRingId)
            : reason == Reason::kRing ? (tx ? inf1::kM2sPrefetchBus : inf1::kS2mPrefetchBus)
                                      : (tx ? inf1::kM2sDataBus : inf1::kS2mDataBus);
  }
  engine_.add_error(side, cause);
  cancel();
  if (fifo_ != nullptr) fifo_->fifo_forget(*this);
  fifo_ = nullptr;
  state_ = State::kIdle;
  rings_[side].reason = reason;
  ++env_.stats.dma_aborts;
  env_.context.log(LogLevel::kWarning, fmt::format("dma queue {}/{} aborts ({}): {}", engine_.index(), index_,
                                                   side == kTx ? "source" : "destination", text));
  env_.notifier.error(ErrorNotification::kDmaAbort, Notifier::kDmaSender,
                      static_cast<std::uint32_t>(side) << 16 | engine_.index() << 8 | index_);
}

std::string DmaQueue::describe() const {
  const std::string name = fmt::format("q {}/{}", engine_.index(), index_);
  if (aborted()) {
    return fmt::format("{} has aborted (reason {})", name,
                       static_cast<int>(rings_[kTx].reason != kNoReason ? rings_[kTx].reason : rings_[kRx].reason));
  }
  switch (state_) {
    case State::kFifoFull:
      return name + " waits for FIFO space";
    case State::kStalled:
      return name + " is stalled";
    case State::kStarting:
    case State::kMoving:
      return fmt::format("{} moves a packet of {} bytes", name, tx_total_);
    case State::kIdle:
      break;
  }
  if (rings_[kTx].posted == 0 && rings_[kRx].posted == 0) return {};
  if (!enabled()) return fmt::format("{} has descriptors but is not enabled", name);
  if (rings_[kTx].posted == 0)
    return fmt::format("{} has {} destination descriptors and no source", name, rings_[kRx].posted);
  if (!tx_complete_) return fmt::format("{} waits for the last descriptor of a packet ({} so far)", name, tx_.size());
  return fmt::format("{} waits for destination descriptors: {} of {} bytes", name, rx_total_, tx_total_);
}

}  // namespace opennrt::sim
