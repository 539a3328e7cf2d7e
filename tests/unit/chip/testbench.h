// SPDX-License-Identifier: Apache-2.0
//
// Drives the simulated machine as the kernel driver drives the silicon: BAR accesses, rings in memory, doorbells.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/isa/inf1.h"
#include "core/isa/isa.h"
#include "simulator/machine.h"

namespace opennrt::sim::test {

inline constexpr std::uint64_t kSecond = 1'000'000'000;

inline std::string chips_dir() {
  const char* root = std::getenv("OPENNRT_SOURCE_DIR");
  return std::string(root != nullptr ? root : OPENNRT_TEST_SOURCE_DIR) + "/simulator/chips";
}

inline MachineConfig config(const std::string& instance = "inf1.xlarge") {
  MachineConfig result;
  result.instance = instance;
  result.chips_dir = chips_dir();
  return result;
}

inline std::unique_ptr<Machine> power_on(const MachineConfig& settings = config()) {
  auto machine = Machine::power_on(settings);
  if (!machine) {
    ADD_FAILURE() << machine.error().message;
    std::abort();
  }
  return std::move(*machine);
}

/// Host memory that is registered while it lives.
class HostBuffer {
 public:
  HostBuffer(Machine& machine, std::size_t bytes) : machine_(&machine), memory_(bytes) {
    bus_ = machine.host_register(memory_.data(), bytes);
    EXPECT_NE(bus_, 0u);
  }
  ~HostBuffer() {
    if (machine_ != nullptr) machine_->host_unregister(bus_);
  }
  HostBuffer(HostBuffer&& other) noexcept
      : machine_(std::exchange(other.machine_, nullptr)), memory_(std::move(other.memory_)), bus_(other.bus_) {}
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() { return memory_.data(); }
  std::size_t size() const { return memory_.size(); }
  std::uint64_t bus() const { return bus_; }
  std::uint64_t address(std::uint64_t offset = 0) const { return inf1::kHostBase | (bus_ + offset); }
  template <typename T>
  T* as(std::size_t offset = 0) {
    return reinterpret_cast<T*>(memory_.data() + offset);
  }
  /// Bytes that tell their place and `seed`.
  void fill(std::uint32_t seed) {
    std::uint32_t state = seed * 2654435761u + 1;
    for (std::byte& b : memory_) {
      state = state * 1664525u + 1013904223u;
      b = static_cast<std::byte>(state >> 24);
    }
  }

 private:
  Machine* machine_;
  std::vector<std::byte> memory_;
  std::uint64_t bus_;
};

struct Piece {
  std::uint64_t address;
  std::uint32_t bytes;
};

/// One DMA queue with its rings in host memory.
class Queue {
 public:
  Queue(Machine& machine, std::uint32_t engine, std::uint32_t queue, std::uint32_t length = 64,
        std::uint32_t device = 0)
      : machine_(machine),
        device_(device),
        engine_(engine),
        index_(queue),
        length_(length),
        tx_(machine, length * inf1::kDescriptorBytes),
        rx_(machine, length * inf1::kDescriptorBytes),
        flag_(machine, 8) {
    init();
  }

  std::uint64_t block(bool tx) const {
    return inf1::udma_base(engine_) + (tx ? inf1::kM2sQueues : inf1::kS2mQueues) + index_ * inf1::kUdmaQueueStride;
  }
  /// The driver's sequence: reset, ring addresses, length, enable.
  void init() {
    for (const bool tx : {true, false}) {
      const std::uint64_t at = block(tx), base = (tx ? tx_ : rx_).address();
      machine_.bar_write(device_, 0, at + (tx ? inf1::kM2sSwControl : inf1::kS2mSwControl), inf1::kQueueReset);
      machine_.bar_write(device_, 0, at + inf1::kQBaseLow, static_cast<std::uint32_t>(base));
      machine_.bar_write(device_, 0, at + inf1::kQBaseHigh, static_cast<std::uint32_t>(base >> 32));
      machine_.bar_write(device_, 0, at + inf1::kQLength, length_);
      machine_.bar_write(device_, 0, at + inf1::kQCfg, inf1::kQCfgEnable);
    }
    side_[0] = side_[1] = {};
  }
  void descriptor(bool tx, std::uint64_t address, std::uint32_t bytes, std::uint32_t flags) {
    Side& side = side_[tx ? 0 : 1];
    const std::uint32_t control =
        (bytes & inf1::kDescLengthMask) | (side.id + id_error) << inf1::kDescRingIdShift | flags;
    std::byte* at = (tx ? tx_ : rx_).data() + side.next * inf1::kDescriptorBytes;
    const std::uint32_t meta = 0;
    std::memcpy(at, &control, 4);
    std::memcpy(at + 4, &meta, 4);
    std::memcpy(at + 8, &address, 8);
    if (++side.next == length_) {
      side.next = 0;
      side.id = (side.id + 1) & 3;
    }
    ++side.unannounced;
  }
  /// One packet.
  void packet(const std::vector<Piece>& from, const std::vector<Piece>& to, bool barrier = false) {
    for (const Piece& piece : to) descriptor(false, piece.address, piece.bytes, 0);
    for (std::size_t i = 0; i < from.size(); ++i) {
      descriptor(true, from[i].address, from[i].bytes,
                 (i == 0 ? inf1::kDescFirst : 0) | (i + 1 == from.size() ? inf1::kDescLast : 0) |
                     (barrier && i == 0 ? inf1::kDescBarrier : 0));
    }
  }
  void copy(std::uint64_t from, std::uint64_t to, std::uint32_t bytes) { packet({{from, bytes}}, {{to, bytes}}); }
  void doorbell() {
    for (const bool tx : {false, true}) {
      Side& side = side_[tx ? 0 : 1];
      machine_.bar_write(device_, 0, block(tx) + inf1::kQTailIncrement, side.unannounced);
      side.unannounced = 0;
    }
  }
  /// The driver's way to see that everything before is done: a last copy of a pattern to where it spins.
  void mark() {
    *flag_.as<std::uint32_t>(0) = 0xabcdef01;
    __atomic_store_n(flag_.as<std::uint32_t>(4), 0u, __ATOMIC_RELAXED);
    copy(flag_.address(0), flag_.address(4), 4);
  }
  bool marked() { return __atomic_load_n(flag_.as<std::uint32_t>(4), __ATOMIC_ACQUIRE) == 0xabcdef01; }
  Ran run(std::uint64_t timeout_ns = kSecond) {
    mark();
    doorbell();
    return machine_.run_until([this] { return marked(); }, machine_.now_ns() + timeout_ns);
  }
  std::uint32_t reg(bool tx, std::uint32_t offset) { return machine_.bar_read(device_, 0, block(tx) + offset); }

  std::uint32_t id_error = 0;  ///< added to ring ids, to make wrong ones

 private:
  struct Side {
    std::uint32_t next = 0, id = inf1::kInitialRingId, unannounced = 0;
  };
  Machine& machine_;
  const std::uint32_t device_, engine_, index_, length_;
  HostBuffer tx_, rx_, flag_;
  Side side_[2];
};

/// One notification queue in host memory.
class Notifications {
 public:
  Notifications(Machine& machine, std::uint32_t core, inf1::NotificationType type, std::uint32_t engine = 0,
                std::uint32_t entries = 64, std::uint32_t device = 0, bool flow_control = true)
      : machine_(machine),
        device_(device),
        entries_(entries),
        memory_(machine, entries * sizeof(inf1::chosen::Notification)) {
    std::uint64_t base = 0;
    switch (type) {
      case inf1::NotificationType::kTrace:
        base = inf1::kNqTraceBaseLow + engine * inf1::kNqEngineStride;
        break;
      case inf1::NotificationType::kNotify:
        base = inf1::kNqNotifyBaseLow + engine * inf1::kNqEngineStride;
        break;
      case inf1::NotificationType::kEvent:
        base = inf1::kNqEventBaseLow;
        break;
      case inf1::NotificationType::kError:
        base = inf1::kNqErrorBaseLow;
        break;
    }
    block_ = inf1::kPutilsBase + core * inf1::kPutilsStride + base;
    machine.bar_write(device, 0, block_, static_cast<std::uint32_t>(memory_.address()));
    machine.bar_write(device, 0, block_ + 4, static_cast<std::uint32_t>(memory_.address() >> 32));
    machine.bar_write(device, 0, block_ + 8, static_cast<std::uint32_t>(memory_.size()));
    if (flow_control) consumed();
  }
  const inf1::chosen::Notification& entry(std::uint32_t index) {
    return memory_.as<inf1::chosen::Notification>()[index % entries_];
  }
  /// True when the entry that is next to be read has been written in this pass.
  bool available() {
    return __atomic_load_n(&entry(read_).phase, __ATOMIC_ACQUIRE) == (read_ / entries_ % 2 == 0 ? 1 : 0);
  }
  inf1::chosen::Notification next() { return entry(read_++); }
  void consumed() { machine_.bar_write(device_, 0, block_ + inf1::chosen::kNqConsumedAfterBaseLow, read_); }
  std::uint32_t head() { return machine_.bar_read(device_, 0, block_ + inf1::kNqHeadAfterBaseLow); }

 private:
  Machine& machine_;
  const std::uint32_t device_, entries_;
  HostBuffer memory_;
  std::uint64_t block_ = 0;
  std::uint32_t read_ = 0;
};

inline std::uint64_t sbuf_address(std::uint32_t core, std::uint32_t partition, std::uint32_t offset = 0) {
  return inf1::core_base(core) + inf1::chosen::kSbufOffset + partition * inf1::chosen::kSbufPartitionStride + offset;
}
inline std::uint64_t fifo_address(std::uint32_t core, isa::Engine engine) {
  const std::uint64_t offsets[] = {inf1::kPeFifoOffset, inf1::chosen::kActFifoOffset, inf1::chosen::kPoolFifoOffset};
  return inf1::core_base(core) + offsets[static_cast<std::size_t>(engine)];
}
inline std::uint64_t semaphore(std::uint64_t block, std::uint32_t core, std::uint32_t index) {
  return core * inf1::kCoreWindow + block + 4 * index;
}

/// A stream of instructions in registered host memory.
class Code {
 public:
  Code(Machine& machine, const std::vector<isa::Instruction>& instructions)
      : memory_(machine, instructions.size() * isa::kInstructionBytes) {
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      const auto encoded = isa::encode(instructions[i]);
      if (!encoded) {
        ADD_FAILURE() << "instruction " << i << ": " << encoded.error().message;
        continue;
      }
      std::memcpy(memory_.data() + i * isa::kInstructionBytes, encoded->data(), isa::kInstructionBytes);
    }
  }
  /// Copies the stream into an engine's FIFO.
  void send(Queue& queue, std::uint32_t core, isa::Engine engine) {
    for (std::size_t at = 0; at < memory_.size(); at += inf1::kFifoBytes) {
      const auto bytes = static_cast<std::uint32_t>(std::min<std::size_t>(inf1::kFifoBytes, memory_.size() - at));
      queue.copy(memory_.address(at), fifo_address(core, engine), bytes);
    }
  }

 private:
  HostBuffer memory_;
};

}  // namespace opennrt::sim::test
