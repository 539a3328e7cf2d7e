// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/sequencer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/isa/footprint.h"
#include "core/isa/table.h"
#include "simulator/chip/core.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

using inf1::chosen::ErrorNotification;
using inf1::chosen::TraceCode;
using isa::Opcode;

namespace {

constexpr std::uint64_t kNotReady = UINT64_MAX;

bool reaches_outside(const isa::Operand& operand, std::uint32_t partitions, const isa::Instruction& instruction,
                     const isa::Limits& limits) {
  if (std::uint32_t{operand.partition} + partitions > limits.partitions) return true;
  const isa::Footprint range = isa::footprint(operand, instruction.counts);
  return range.begin < 0 || range.end > static_cast<std::int64_t>(isa::bytes_per_partition(operand.space, limits));
}

}  // namespace

bool out_of_bounds(const isa::Instruction& instruction, const isa::Limits& limits) {
  const isa::OpcodeInfo* info = isa::find_opcode(instruction.opcode);
  if (info == nullptr) return false;
  auto outside = [&](isa::Field field, const isa::Operand& operand, isa::Partitions rule) {
    return info->uses(field) && reaches_outside(operand, isa::partition_count(rule, instruction), instruction, limits);
  };
  return outside(isa::kFieldDst, instruction.dst, info->dst_partitions) ||
         outside(isa::kFieldSrc0, instruction.src0, info->src0_partitions) ||
         (isa::reads_src1(*info, instruction) &&
          reaches_outside(instruction.src1, isa::partition_count(info->src1_partitions, instruction), instruction,
                          limits));
}

Sequencer::Sequencer(const char* name, Context& context, Core& core, isa::Engine engine)
    : Unit(name), context_(context), core_(core), engine_(engine) {}

std::uint32_t Sequencer::fifo_room() const {
  return context_.config.fifo_bytes - fifo_bytes_;
}

void Sequencer::fifo_push(std::span<const std::byte> data) {
  const std::uint32_t capacity = context_.config.fifo_bytes;
  if (fifo_.size() != capacity) fifo_.assign(capacity, std::byte{0});
  const auto bytes = static_cast<std::uint32_t>(std::min<std::size_t>(data.size(), fifo_room()));
  const std::uint32_t write = (fifo_read_ + fifo_bytes_) % capacity;
  const std::uint32_t first = std::min(bytes, capacity - write);
  std::memcpy(fifo_.data() + write, data.data(), first);
  std::memcpy(fifo_.data(), data.data() + first, bytes - first);
  fifo_bytes_ += bytes;
  if (state_ == State::kEmpty && fifo_bytes_ >= isa::kInstructionBytes) poke();
  if (state_ == State::kBusy && !next_) look_ahead();
}

void Sequencer::look_ahead() {
  next_.reset();
  if (fifo_bytes_ < isa::kInstructionBytes) return;
  std::array<std::byte, isa::kInstructionBytes> bytes;
  peek(bytes);
  const auto decoded = isa::decode(bytes);
  if (!decoded) return;  // fetch() will say so
  next_ = *decoded;
  const CostModel& cost = context_.config.cost;
  overlap_ps_ = context_.config.cycles_to_ps(overlap_cycles(current_, *next_, cost));
  next_ready_ps_ = may_start(next_->wait) ? context_.now_ps() : kNotReady;
}

void Sequencer::peek(std::span<std::byte> to) const {
  const std::uint32_t capacity = context_.config.fifo_bytes;
  const std::uint32_t first = std::min(static_cast<std::uint32_t>(to.size()), capacity - fifo_read_);
  std::memcpy(to.data(), fifo_.data() + fifo_read_, first);
  std::memcpy(to.data() + first, fifo_.data(), to.size() - first);
}

void Sequencer::pop() {
  fifo_read_ = (fifo_read_ + isa::kInstructionBytes) % context_.config.fifo_bytes;
  fifo_bytes_ -= isa::kInstructionBytes;
  if (waiting_.empty()) return;
  const std::uint32_t room = fifo_room();
  // In the order in which they came; each is told once and asks again when it is still not served.
  for (std::size_t i = 0; i < waiting_.size();) {
    if (waiting_[i].bytes > room) {
      ++i;
      continue;
    }
    FifoWriter* writer = waiting_[i].writer;
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    writer->fifo_has_room();
  }
}

void Sequencer::fifo_wait(FifoWriter& writer, std::uint32_t bytes) {
  waiting_.push_back({&writer, std::min(bytes, context_.config.fifo_bytes)});
}

void Sequencer::fifo_forget(FifoWriter& writer) {
  std::erase_if(waiting_, [&](const Waiting& w) { return w.writer == &writer; });
}

void Sequencer::semaphore_changed(std::uint32_t semaphore) {
  if (state_ == State::kWaitSemaphore && current_.wait.semaphore == semaphore && may_start(current_.wait)) poke();
  if (next_ && next_ready_ps_ == kNotReady && next_->wait.semaphore == semaphore && may_start(next_->wait)) {
    next_ready_ps_ = context_.now_ps();
  }
}

void Sequencer::event_changed(std::uint32_t event) {
  if (state_ == State::kWaitEvent && current_.immediate_u32 == event && core_.event(event)) poke();
}

void Sequencer::reset() {
  cancel();
  state_ = State::kEmpty;
  current_ = {};
  fetched_ = 0;
  since_ps_ = 0;
  next_.reset();
  head_start_ps_ = 0;
  halt_reason_.clear();
  fifo_ = {};
  fifo_read_ = fifo_bytes_ = 0;
  // Queues of this core were reset before; one of another core finds an empty FIFO.
  for (const Waiting& waiting : std::exchange(waiting_, {})) waiting.writer->fifo_has_room();
}

void Sequencer::end_wait(std::uint64_t& counter) {
  const std::uint64_t now = context_.now_ps();
  counter += now - since_ps_;
  if (state_ == State::kWaitSemaphore) {
    EngineStats& stats = core_.stats().engines[static_cast<std::size_t>(engine_)];
    stats.semaphore_wait_each_ps[current_.wait.semaphore % inf1::kSemaphores] += now - since_ps_;
  }
  if (context_.trace.on() && now > since_ps_) {
    const std::string what =
        state_ == State::kWaitSemaphore
            ? fmt::format("wait s{} {} {}", current_.wait.semaphore,
                          current_.wait.mode == isa::WaitMode::kEqual ? "==" : ">=", current_.wait.value)
            : fmt::format("wait event {}", current_.immediate_u32);
    context_.trace.span(core_.machine_index(), static_cast<std::uint32_t>(engine_), "wait", what, since_ps_, now);
  }
}

void Sequencer::halt(ErrorNotification error, const std::string& reason) {
  state_ = State::kHalted;
  since_ps_ = context_.now_ps();
  halt_reason_ = reason;
  if (error == ErrorNotification::kNone) return;
  context_.log(LogLevel::kWarning, fmt::format("{}: {} stops at instruction {}: {}", core_.name(),
                                               isa::engine_name(engine_), fetched_ - 1, reason));
  core_.notifier().error(error, static_cast<std::uint8_t>(engine_), fetched_ - 1);
}

bool Sequencer::fetch() {
  if (fifo_bytes_ < isa::kInstructionBytes) {
    state_ = State::kEmpty;
    since_ps_ = context_.now_ps();
    return false;
  }
  EngineStats& stats = core_.stats().engines[static_cast<std::size_t>(engine_)];
  if (state_ == State::kEmpty && fetched_ > 0) stats.starved_ps += context_.now_ps() - since_ps_;
  ++fetched_;
  ++stats.instructions;
  head_start_ps_ = 0;
  if (next_) {
    current_ = *next_;
    next_.reset();
    if (const std::uint64_t now = context_.now_ps(); next_ready_ps_ < now) {
      head_start_ps_ = std::min(overlap_ps_, now - next_ready_ps_);
    }
    pop();
  } else {
    std::array<std::byte, isa::kInstructionBytes> bytes;
    peek(bytes);
    pop();
    const auto decoded = isa::decode(bytes);
    if (!decoded) {
      halt(ErrorNotification::kIllegalInstruction, decoded.error().message);
      return false;
    }
    current_ = *decoded;
  }
  if (const auto valid = isa::validate(current_, engine_, context_.config.limits); !valid) {
    halt(out_of_bounds(current_, context_.config.limits) ? ErrorNotification::kOutOfBounds
                                                         : ErrorNotification::kIllegalInstruction,
         valid.error().message);
    return false;
  }
  // The validator accepts what a NEFF may hold; a pseudo instruction must have been replaced by the loader.
  if (current_.opcode == Opcode::kPseudoDmaTrigger) {
    halt(ErrorNotification::kIllegalInstruction, "pseudo_dma_trigger is for NEFF files, the loader must replace it");
    return false;
  }
  if (current_.opcode == Opcode::kDmaTrigger && !core_.owns_queue(current_.dma.engine, current_.dma.queue)) {
    halt(ErrorNotification::kIllegalInstruction,
         fmt::format("dma_trigger of queue {}/{}, which is not one of this core's", current_.dma.engine,
                     current_.dma.queue));
    return false;
  }
  return true;
}

bool Sequencer::may_start(const isa::Wait& wait) const {
  switch (wait.mode) {
    case isa::WaitMode::kNone:
      return true;
    case isa::WaitMode::kEqual:
      return core_.semaphore(wait.semaphore) == wait.value;
    case isa::WaitMode::kGreaterEqual:
    case isa::WaitMode::kConsume:
      return core_.semaphore(wait.semaphore) >= wait.value;
  }
  return true;
}

void Sequencer::start() {
  if (current_.wait.mode == isa::WaitMode::kConsume) {
    core_.semaphore_take(current_.wait.semaphore, current_.wait.value);
  }
  EngineStats& stats = core_.stats().engines[static_cast<std::size_t>(engine_)];
  const ChipConfig& config = context_.config;
  const std::uint64_t whole = config.cycles_to_ps(busy_cycles(current_, engine_, config.cost));
  std::uint64_t ps = std::max(config.cycles_to_ps(1), whole - std::min(whole, head_start_ps_));
  if (context_.faults != nullptr && !fault_at_start(ps)) return;
  stats.busy_cycles += config.ps_to_cycles(ps);
  stats.busy_ps += ps;
  state_ = State::kBusy;
  since_ps_ = context_.now_ps();
  core_.mark_start(since_ps_);
  trace(TraceCode::kStarted);
  schedule(ps);
  look_ahead();
}

void Sequencer::trace(TraceCode code) {
  const auto sender = static_cast<std::uint8_t>(engine_);
  if (!core_.notifier().enabled(inf1::NotificationType::kTrace, sender)) return;
  core_.notifier().post(inf1::NotificationType::kTrace, sender, static_cast<std::uint8_t>(code), fetched_ - 1);
}

void Sequencer::retire() {
  const std::uint64_t now = context_.now_ps();
  const auto sender = static_cast<std::uint8_t>(engine_);
  core_.mark_end(now);
  if (context_.trace.on()) {
    const isa::OpcodeInfo* info = isa::find_opcode(current_.opcode);
    context_.trace.span(core_.machine_index(), sender, "busy", std::string(info != nullptr ? info->mnemonic : "?"),
                        since_ps_, now, fmt::format("#{} {}", fetched_ - 1, isa::disassemble(current_)));
  }
  trace(TraceCode::kRetired);  // before what it does: who sees that finds the entry there
  bool stop = false;
  switch (current_.opcode) {
    case Opcode::kNop:
      break;
    case Opcode::kNotify:
      core_.notifier().post(inf1::NotificationType::kNotify, sender, 0, current_.immediate_u32);
      break;
    case Opcode::kEventSet:
      core_.event_write(current_.immediate_u32, true, sender);
      break;
    case Opcode::kEventClear:
      core_.event_write(current_.immediate_u32, false, sender);
      break;
    case Opcode::kEventWait:
      break;
    case Opcode::kDmaTrigger:
      core_.ring_doorbell(current_.dma);
      break;
    case Opcode::kPseudoDmaTrigger:
      break;  // refused in fetch()
    case Opcode::kHalt:
      stop = true;
      break;
    default: {
      Effect effect = execute(current_, core_.memory(), core_.stationary());
      if (effect.error == ErrorNotification::kOutOfBounds || effect.error == ErrorNotification::kIllegalInstruction) {
        halt(effect.error, "refused by the engine: " + isa::disassemble(current_));
        return;
      }
      if (context_.faults != nullptr) fault_in_result(effect);
      if (effect.error != ErrorNotification::kNone) core_.notifier().error(effect.error, sender, fetched_ - 1);
      core_.stats().engines[sender].useful_operations += useful_operations(current_, engine_);
      break;
    }
  }
  const isa::Signal& signal = current_.signal;
  switch (signal.mode) {
    case isa::SignalMode::kNone:
      break;
    case isa::SignalMode::kIncrement:
      core_.semaphore_add(signal.semaphore, signal.value, sender);
      break;
    case isa::SignalMode::kDecrement:
      core_.semaphore_add(signal.semaphore, -std::int64_t{signal.value}, sender);
      break;
    case isa::SignalMode::kSet:
      core_.semaphore_set(signal.semaphore, signal.value);
      break;
  }
  if (stop) halt(ErrorNotification::kNone, "halt instruction");
}

void Sequencer::activate() {
  EngineStats& stats = core_.stats().engines[static_cast<std::size_t>(engine_)];
  switch (state_) {
    case State::kHalted:
      return;
    case State::kBusy:
      retire();
      if (state_ == State::kHalted || !fetch()) return;
      break;
    case State::kEmpty:
      if (!fetch()) return;
      break;
    case State::kWaitSemaphore:
      if (!may_start(current_.wait)) return;  // another engine was faster
      end_wait(stats.semaphore_wait_ps);
      break;
    case State::kWaitEvent:
      if (!core_.event(current_.immediate_u32)) return;
      end_wait(stats.event_wait_ps);
      start();
      return;
  }
  if (!may_start(current_.wait)) {
    head_start_ps_ = 0;
    state_ = State::kWaitSemaphore;
    since_ps_ = context_.now_ps();
    return;
  }
  if (current_.opcode == Opcode::kEventWait && !core_.event(current_.immediate_u32)) {
    state_ = State::kWaitEvent;
    since_ps_ = context_.now_ps();
    return;
  }
  start();
}

std::string Sequencer::describe() const {
  const auto name = isa::engine_name(engine_);
  switch (state_) {
    case State::kEmpty:
      return fetched_ == 0 ? fmt::format("{} has received no instruction", name)
                           : fmt::format("{} waits for instructions after {}", name, fetched_);
    case State::kWaitSemaphore:
      return fmt::format("{} waits for semaphore {} {} {} (now {}) at instruction {}: {}", name,
                         current_.wait.semaphore,
                         current_.wait.mode == isa::WaitMode::kEqual ? "==" : ">=", current_.wait.value,
                         core_.semaphore(current_.wait.semaphore), fetched_ - 1, isa::disassemble(current_));
    case State::kWaitEvent:
      return fmt::format("{} waits for event {} at instruction {}", name, current_.immediate_u32, fetched_ - 1);
    case State::kBusy:
      return fmt::format("{} runs instruction {}: {}", name, fetched_ - 1, isa::disassemble(current_));
    case State::kHalted:
      return fmt::format("{} stopped at instruction {}: {}", name, fetched_ - 1, halt_reason_);
  }
  return {};
}

}  // namespace opennrt::sim
