// SPDX-License-Identifier: Apache-2.0
//
// The program as a list of operations in an order in which they would be right one after another. What each reads and writes
// is derived here from its operands, so that no lowering can forget it; schedule.h turns the list into engine streams that run
// at the same time.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/common/error.h"
#include "core/isa/isa.h"
#include "core/neff/neff.h"
#include "models/lower/intervals.h"

namespace opennrt::compile::lower {

inline constexpr std::uint64_t kPartitionStride = 128 * 1024;  ///< in the state buffer (core/neff/README.md)
inline constexpr std::size_t kStateBufferVariable = 0;         ///< index of the state buffer among the variables
inline constexpr std::size_t kMaxOperations = 2'000'000;       ///< of one program

/// The queue sets of a program. Each has an owner that rings its doorbells: the engine that waits least for what it moves.
/// A queue moves about 4 GB/s (64 KiB in about 16 µs, aws-neuron-driver v1/neuron_dhal_v1.c): weights, most of the traffic, have
/// several.
enum class Queue : std::uint8_t { kIn, kOut, kLoad, kStore, kWeights };
inline constexpr std::size_t kWeightQueues = 4, kQueues = 4 + kWeightQueues;
inline constexpr Queue weight_queue(std::size_t i) {
  return static_cast<Queue>(4 + i % kWeightQueues);
}
struct QueueFacts {
  const char* name;
  neff::QueueType type;
  isa::Engine owner;
};
const QueueFacts& queue_facts(Queue queue);

enum class Memory : std::uint8_t { kSbuf, kPsum, kDram };
/// Bytes [begin, end): of every partition for SBUF and PSUM, of variable `variable` for DRAM.
struct Access {
  Memory memory = Memory::kSbuf;
  bool write = false;
  std::uint32_t variable = 0;
  std::uint64_t begin = 0, end = 0;
};

struct Transfer {
  neff::AccessPattern from, to;
};

struct Operation {
  bool is_dma = false;
  isa::Engine engine = isa::Engine::kPe;  ///< of an instruction; of a DMA operation the queue's owner
  Queue queue = Queue::kIn;
  isa::Instruction instruction;
  std::vector<Transfer> transfers;  ///< one trigger starts all of them
  std::vector<Access> accesses;
  std::uint64_t order = 0, sequence = 0;
};

class Recorder {
 public:
  explicit Recorder(const isa::Limits& limits) : limits_(limits) {}

  void instruction(isa::Engine engine, const isa::Instruction& instruction);
  /// With `early` the transfer is put right behind the last operation it conflicts with: a prefetch.
  void dma(Queue queue, std::vector<Transfer> transfers, bool early);
  /// Before everything else.
  void dma_first(Queue queue, std::vector<Transfer> transfers);

  /// The first thing that went wrong; every call after it does nothing.
  const Status& status() const { return status_; }
  bool failed() const { return !status_.has_value(); }
  void fail(Error error);
  const std::vector<Operation>& operations() const { return operations_; }
  /// Ordered, ready for the scheduler; the recorder is empty afterwards.
  std::vector<Operation> take();

 private:
  struct Last {
    std::uint64_t write = 0, read = 0;  ///< order of the last operation, 0: none
  };
  void add(Operation operation, bool early);
  IntervalMap<Last>& map_of(const Access& access);

  isa::Limits limits_;
  Status status_;
  std::vector<Operation> operations_;
  IntervalMap<Last> sbuf_, psum_;
  std::map<std::uint32_t, IntervalMap<Last>> dram_;
};

/// What the transfer reads and writes. A pattern on the state buffer has steps of whole partitions and steps inside one.
std::array<Access, 2> accesses_of(const Transfer& transfer);
std::vector<Access> accesses_of(const isa::Instruction& instruction);

}  // namespace opennrt::compile::lower
