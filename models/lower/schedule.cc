// SPDX-License-Identifier: Apache-2.0
#include "models/lower/schedule.h"

#include <algorithm>

#include "core/isa/footprint.h"
#include "core/isa/inf1.h"

namespace opennrt::compile::lower {
namespace {

constexpr std::size_t kAgents = isa::kEngines + kQueues;
/// Per agent, how many of its operations are known to be complete.
using Clock = std::array<std::uint32_t, kAgents>;

struct Touched {
  std::uint32_t writer = 0, write = 0;  ///< agent and its operation number, 0: nobody
  Clock reads{};
};

struct Issued {  // by an engine
  isa::Instruction instruction;
  std::vector<std::uint8_t> waits, signals;  ///< semaphores
  Clock known{};                             ///< what is complete when it retires
};
struct Queued {  // by a DMA queue
  const Operation* operation = nullptr;
  std::uint32_t id = 0, trigger = 0;  ///< number of the owner's instruction
  int observer = -1;                  ///< engine that waits for it
  std::uint32_t observed = 0;         ///< number of the observer's instruction that does
  std::uint8_t semaphore = 0;
};

class Scheduler {
 public:
  Result<Schedule> run(const std::vector<Operation>& operations) {
    for (const Operation& op : operations) {
      if (auto s = place(op); !s) return tl::unexpected(s.error());
    }
    // Nothing may be on its way when the program ends.
    Clock everything{};
    for (std::size_t q = 0; q < kQueues; ++q)
      everything[isa::kEngines + q] = static_cast<std::uint32_t>(queues_[q].size());
    if (auto s = issue(static_cast<std::size_t>(isa::Engine::kAct), isa::Instruction{}, everything); !s)
      return tl::unexpected(s.error());
    return finish();
  }

 private:
  IntervalMap<Touched>& map_of(const Access& a) {
    return a.memory == Memory::kSbuf ? sbuf_ : a.memory == Memory::kPsum ? psum_ : dram_[a.variable];
  }

  Status place(const Operation& op) {
    Clock need{};
    for (const Access& a : op.accesses) {
      map_of(a).visit(a.begin, a.end, [&](const Touched& t) {
        need[t.writer] = std::max(need[t.writer], t.write);
        for (std::size_t i = 0; a.write && i < kAgents; ++i) need[i] = std::max(need[i], t.reads[i]);
      });
    }
    const auto engine = static_cast<std::size_t>(op.engine);
    const std::size_t agent = agent_of(op);
    if (op.is_dma) {
      isa::Instruction trigger;
      trigger.opcode = isa::Opcode::kPseudoDmaTrigger;
      trigger.immediate_u32 = next_id_;
      if (auto s = issue(engine, trigger, need); !s) return s;
      auto& queue = queues_[static_cast<std::size_t>(op.queue)];
      queue.push_back({&op, next_id_++, static_cast<std::uint32_t>(engines_[engine].size())});
    } else {
      if (auto s = issue(engine, op.instruction, need); !s) return s;
    }
    const auto number = static_cast<std::uint32_t>(agent < isa::kEngines ? engines_[agent].size()
                                                                         : queues_[agent - isa::kEngines].size());
    for (const Access& a : op.accesses) {
      if (!a.write) map_of(a).update(a.begin, a.end, [&](Touched& t) { t.reads[agent] = number; });
    }
    for (const Access& a : op.accesses) {
      if (a.write) map_of(a).assign(a.begin, a.end, Touched{static_cast<std::uint32_t>(agent), number, {}});
    }
    return {};
  }

  Status issue(std::size_t engine, const isa::Instruction& instruction, Clock need) {
    Issued issued;
    issued.instruction = instruction;
    Clock& known = known_[engine];
    const auto number = static_cast<std::uint32_t>(engines_[engine].size()) + 1;
    const auto learn = [&](std::size_t agent, std::uint32_t count, const Clock& its) {
      for (std::size_t i = 0; i < kAgents; ++i) known[i] = std::max(known[i], its[i]);
      known[agent] = std::max(known[agent], count);
    };
    // A transfer that another engine has waited for is complete when that engine is past its wait.
    for (std::size_t q = 0; q < kQueues; ++q) {
      const std::uint32_t count = need[isa::kEngines + q];
      if (count == 0 || known[isa::kEngines + q] >= count) continue;
      const Queued& entry = queues_[q][count - 1];
      if (entry.observer >= 0) {
        auto& n = need[static_cast<std::size_t>(entry.observer)];
        n = std::max(n, entry.observed);
      }
    }
    for (std::size_t other = 0; other < isa::kEngines; ++other) {
      if (other == engine || known[other] >= need[other]) continue;
      auto semaphore = semaphore_for(other, engine);
      if (!semaphore) return tl::unexpected(semaphore.error());
      Issued& producer = engines_[other][need[other] - 1];
      producer.signals.push_back(*semaphore);
      issued.waits.push_back(*semaphore);
      learn(other, need[other], producer.known);
    }
    for (std::size_t q = 0; q < kQueues; ++q) {
      const std::size_t agent = isa::kEngines + q;
      if (known[agent] >= need[agent]) continue;
      Queued& entry = queues_[q][need[agent] - 1];
      if (entry.observer >= 0) return make_error(ErrorCode::kInternal, "transfer {} is waited for twice", entry.id);
      auto semaphore = semaphore_for(agent, engine);
      if (!semaphore) return tl::unexpected(semaphore.error());
      entry.observer = static_cast<int>(engine);
      entry.observed = number;
      entry.semaphore = *semaphore;
      issued.waits.push_back(*semaphore);
      const auto owner = static_cast<std::size_t>(entry.operation->engine);
      learn(agent, need[agent], engines_[owner][entry.trigger - 1].known);
      known[owner] = std::max(known[owner], entry.trigger);
    }
    known[engine] = number;
    issued.known = known;
    engines_[engine].push_back(std::move(issued));
    return {};
  }

  /// Counts from `agent` to `engine`; made when first needed.
  Result<std::uint8_t> semaphore_for(std::size_t agent, std::size_t engine) {
    int& s = semaphores_[agent][engine];
    if (s == 0) {
      if (used_semaphores_ == inf1::kSemaphores)
        return make_error(ErrorCode::kResource, "the program needs more than {} semaphores", inf1::kSemaphores);
      s = static_cast<int>(++used_semaphores_);
    }
    return static_cast<std::uint8_t>(s - 1);
  }

  Result<Schedule> finish() {
    Schedule out;
    std::array<std::size_t, kQueues> index{};
    for (std::size_t q = 0; q < kQueues; ++q) {
      if (queues_[q].empty()) continue;
      const QueueFacts& facts = queue_facts(static_cast<Queue>(q));
      index[q] = out.queues.size();
      neff::QueueSet set;
      set.name = facts.name;
      set.type = facts.type;
      set.owner = facts.owner;
      out.queues.push_back(std::move(set));
      auto& program = out.engines[static_cast<std::size_t>(facts.owner)];
      for (const Queued& entry : queues_[q]) {
        for (std::size_t i = 0; i < entry.operation->transfers.size(); ++i) {
          const Transfer& t = entry.operation->transfers[i];
          neff::DmaEntry dma;
          dma.id = entry.id;
          dma.queue = index[q];
          // Entries of a queue complete in order: the last one speaks for all of its id.
          if (entry.observer >= 0 && i + 1 == entry.operation->transfers.size()) dma.semaphore = entry.semaphore;
          dma.from = t.from;
          dma.to = t.to;
          program.dma.push_back(std::move(dma));
          ++out.dma_entries;
        }
      }
    }
    for (std::size_t e = 0; e < isa::kEngines; ++e) {
      for (const Issued& issued : engines_[e]) {
        if (auto s = emit(out, e, issued); !s) return tl::unexpected(s.error());
      }
    }
    return out;
  }

  static Status emit(Schedule& out, std::size_t engine, const Issued& issued) {
    const auto append = [&](const isa::Instruction& instruction) -> Status {
      auto bytes = isa::encode(instruction);
      if (!bytes) return make_error(ErrorCode::kInternal, "an instruction does not encode: {}", bytes.error().message);
      auto& stream = out.engines[engine].instructions;
      stream.insert(stream.end(), bytes->begin(), bytes->end());
      ++out.instructions[engine];
      return {};
    };
    const auto wait = [](std::uint8_t semaphore) { return isa::Wait{isa::WaitMode::kConsume, semaphore, 1}; };
    const auto signal = [](std::uint8_t semaphore) { return isa::Signal{isa::SignalMode::kIncrement, semaphore, 1}; };
    for (std::size_t i = 0; i + 1 < issued.waits.size(); ++i) {
      isa::Instruction nop;
      nop.wait = wait(issued.waits[i]);
      if (auto s = append(nop); !s) return s;
    }
    isa::Instruction instruction = issued.instruction;
    if (!issued.waits.empty()) instruction.wait = wait(issued.waits.back());
    if (!issued.signals.empty()) instruction.signal = signal(issued.signals[0]);
    if (auto s = append(instruction); !s) return s;
    for (std::size_t i = 1; i < issued.signals.size(); ++i) {
      isa::Instruction nop;
      nop.signal = signal(issued.signals[i]);
      if (auto s = append(nop); !s) return s;
    }
    return {};
  }

  std::array<std::vector<Issued>, isa::kEngines> engines_;
  std::array<std::vector<Queued>, kQueues> queues_;
  std::array<Clock, isa::kEngines> known_{};
  int semaphores_[kAgents][isa::kEngines] = {};  ///< number + 1
  std::size_t used_semaphores_ = 0;
  std::uint32_t next_id_ = 0;
  IntervalMap<Touched> sbuf_, psum_;
  std::map<std::uint32_t, IntervalMap<Touched>> dram_;
};

// nki/api: an access to SBUF or PSUM takes about 60 cycles, no operand less than 64, products of fp32 four times as long.
constexpr std::uint64_t kAccessCycles = 60, kMinCycles = 64, kFp32Passes = 4, kColumns = 64;
// 64 KiB in about 16 us (aws-neuron-driver v1/neuron_dhal_v1.c), at close to 1 cycle per ns.
constexpr std::uint64_t kQueueBytesPerCycle = 4;
constexpr std::uint64_t kDescriptorCycles = 60;

}  // namespace

std::uint64_t transfer_cycles(std::uint64_t bytes) {
  return bytes / kQueueBytesPerCycle;
}

std::uint64_t cycles_of(const Operation& op) {
  if (op.is_dma) {
    std::uint64_t cycles = 0;
    for (const Transfer& t : op.transfers) {
      std::uint64_t rows = 1;
      for (std::size_t i = 1; i < t.from.sizes.size(); ++i) rows *= t.from.sizes[i];
      cycles += transfer_cycles(rows * t.from.sizes[0]) + rows * kDescriptorCycles;
    }
    return cycles;
  }
  const isa::Instruction& in = op.instruction;
  const std::uint64_t elements = std::max<std::uint64_t>(kMinCycles, isa::element_count(in.counts));
  if (in.opcode == isa::Opcode::kMatmul)
    return elements * (in.src0.dtype == isa::DataType::kFp32 ? kFp32Passes : 1) * ((in.op1 + kColumns - 1) / kColumns);
  return op.engine == isa::Engine::kPe ? elements : elements + kAccessCycles;
}

Result<Schedule> schedule(const std::vector<Operation>& operations) {
  return Scheduler().run(operations);
}

}  // namespace opennrt::compile::lower
