// SPDX-License-Identifier: Apache-2.0
//
// One engine of a core as time sees it: takes instructions from its FIFO, waits, is busy, retires. What an
// instruction computes is in simulator/engines.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/isa/isa.h"
#include "simulator/chip/context.h"
#include "simulator/chip/unit.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

class Core;

/// Somebody who waits for room in a FIFO.
class FifoWriter {
 public:
  virtual ~FifoWriter() = default;
  virtual void fifo_has_room() = 0;
};

class Sequencer : public Unit {
 public:
  Sequencer(const char* name, Context& context, Core& core, isa::Engine engine);

  // ---- the FIFO, as DMA and BAR2 write it ----
  std::uint32_t fifo_room() const;
  /// Bytes beyond fifo_room() are dropped.
  void fifo_push(std::span<const std::byte> data);
  /// Calls writer.fifo_has_room() once, when `bytes` (at most the FIFO's size) fit.
  void fifo_wait(FifoWriter& writer, std::uint32_t bytes);
  void fifo_forget(FifoWriter& writer);

  void semaphore_changed(std::uint32_t semaphore);
  void event_changed(std::uint32_t event);
  void reset();
  std::string describe() const;

 protected:
  void activate() override;

 private:
  enum class State { kEmpty, kWaitSemaphore, kWaitEvent, kBusy, kHalted };
  struct Waiting {
    FifoWriter* writer;
    std::uint32_t bytes;
  };

  bool fetch();
  bool may_start(const isa::Wait& wait) const;
  /// Decodes the instruction behind the one that has started, when it is there: what it may do ahead of its turn.
  void look_ahead();
  void start();
  void retire();
  void trace(inf1::chosen::TraceCode code);  ///< of the current instruction, when somebody listens
  void halt(inf1::chosen::ErrorNotification error, const std::string& reason);
  void end_wait(std::uint64_t& counter);
  void peek(std::span<std::byte> to) const;  ///< the instruction that is first in the FIFO
  void pop();                                ///< takes it out

  // ---- simulator/faults/engine_faults.cc; only where there are faults ----
  FaultPlace place() const;
  /// Of the current instruction, which takes `ps`. False: it never ends.
  bool fault_at_start(std::uint64_t& ps);
  void fault_in_result(Effect& effect);

  Context& context_;
  Core& core_;
  const isa::Engine engine_;
  State state_ = State::kEmpty;
  isa::Instruction current_;
  std::uint32_t fetched_ = 0;             ///< instructions since reset; the current one has index fetched_ - 1
  std::uint64_t since_ps_ = 0;            ///< when the present state began
  std::optional<isa::Instruction> next_;  ///< is still in the FIFO
  std::uint64_t overlap_ps_ = 0;          ///< what of `next_` may pass while the current instruction is busy
  std::uint64_t next_ready_ps_ = 0;       ///< since when nothing but its turn keeps it
  std::uint64_t head_start_ps_ = 0;       ///< of the current instruction: what has passed before its turn
  std::string halt_reason_;
  std::vector<std::byte> fifo_;  ///< a ring, allocated with the first instruction
  std::uint32_t fifo_read_ = 0, fifo_bytes_ = 0;
  std::vector<Waiting> waiting_;
};

/// True when a valid opcode's operand reaches outside SBUF or PSUM; tells kOutOfBounds from other reasons to refuse an
/// instruction.
bool out_of_bounds(const isa::Instruction& instruction, const isa::Limits& limits);

}  // namespace opennrt::sim
