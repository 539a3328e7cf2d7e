// SPDX-License-Identifier: Apache-2.0
//
// A loaded subgraph. Internal to this library: umd.h has the interface.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/umd/core_context.h"
#include "core/umd/descriptors.h"
#include "core/umd/umd.h"
#include "core/umd/watch.h"

namespace opennrt::umd {

/// A physical queue of the core, and what its rings hold.
struct QueuePlan {
  std::uint32_t engine = 0, queue = 0;  ///< of the device: 0..11, 0..15
  std::string name;                     ///< of the NEFF's queue set, or "instructions of pe"
  RingImage image;
  bool bound() const { return !image.patches().empty(); }  ///< it has descriptors whose addresses an inference binds
};

/// Rings in memory that the device reads.
struct Ring {
  std::shared_ptr<Memory> transmit, receive;
  opennrt_queue_init_t init{};
  bool written = false;  ///< a slot's: all of its descriptors are in memory
};

/// What an inference that is being prepared, runs or is being finished has for itself: the next one is staged while this one
/// runs.
struct Slot {
  static constexpr std::uint64_t kUnbound = UINT64_MAX;  ///< no address; 0 is one: device memory begins there
  std::vector<std::shared_ptr<Memory>> staging;  ///< per tensor; made when it is first bound to a buffer of the process
  std::vector<std::uint64_t> bound;              ///< per tensor: the device address in the rings, or kUnbound
  std::vector<RingImage> images;                 ///< of the bound queues, in their order
  std::vector<Ring> rings;
  std::vector<opennrt_queue_init_t> inits;  ///< of all queues of the program
};

struct IoTensor {
  std::string name;
  bool output = false;
  std::uint64_t bytes = 0;
};

class LoadedProgram final : public Program {
 public:
  LoadedProgram(std::shared_ptr<Device> device, std::uint32_t core, CoreContext& context);

  using Program::execute;
  Result<ExecutionReport> execute(std::span<const Binding> inputs, std::span<const Binding> outputs,
                                  const Run& run) override;
  Status read_variable(std::string_view name, std::span<std::byte> to) override;
  std::uint32_t core() const override { return core_; }
  const std::shared_ptr<Device>& device() const override { return device_; }
  MemoryUse memory_use() const override;

  /// Instructions as the device reads them: a block of 64 bytes, then the streams of pe, act and pool. For tests that damage them.
  Memory& code() { return *code_; }
  /// Builds everything from `subgraph`. Called once, before the program is handed out.
  Status build(const neff::Subgraph& subgraph, SharedConstants* shared);

 private:
  // load.cc
  Status place_variables(const neff::Subgraph& subgraph, SharedConstants* shared);
  Status place_constants(const neff::Subgraph& subgraph, std::uint64_t bytes, std::uint64_t alignment,
                         SharedConstants* shared);
  Status plan_queues(const neff::Subgraph& subgraph);
  Status plan_instructions(const neff::Subgraph& subgraph);
  Status write_fixed_rings();
  Result<std::unique_ptr<Slot>> make_slot();
  Result<Ring> make_ring(const QueuePlan& plan, bool in_host_memory);
  // execute.cc
  Result<std::vector<const Binding*>> match(std::span<const Binding> inputs, std::span<const Binding> outputs) const;
  Result<std::unique_ptr<Slot>> take_slot();
  void give_slot(std::unique_ptr<Slot> slot);
  Status bind(Slot& slot, const std::vector<const Binding*>& bindings);
  Result<ExecutionReport> run(Slot& slot, const std::vector<const Binding*>& bindings, const Run& how);
  std::string queue_name(std::uint32_t engine, std::uint32_t queue) const;
  /// Disassembled when first asked for; under context_.order.
  const ProgramText& text();

  std::shared_ptr<Device> device_;
  std::uint32_t core_;
  CoreContext& context_;
  std::uint32_t end_value_;        ///< of this program's end notifications
  std::vector<IoTensor> tensors_;  ///< inputs, then outputs
  std::shared_ptr<Memory> constants_, scratchpad_, code_;
  Placement placement_;
  std::vector<QueuePlan> queues_;          ///< of the NEFF's queue sets
  std::vector<std::size_t> queue_of_set_;  ///< queue set → index in queues_
  /// Per engine: groups of descriptors that one trigger starts, in the order of the file.
  struct Group {
    std::uint32_t id;
    std::size_t queue;
    std::uint32_t descriptors;
  };
  std::array<std::vector<Group>, isa::kEngines> groups_;
  std::array<std::size_t, isa::kEngines> instructions_{};  ///< of each engine, the end notification included
  ProgramText text_;
  std::array<QueuePlan, isa::kEngines> feeds_;  ///< queues that feed instructions
  std::vector<Ring> fixed_rings_;
  std::uint64_t ring_bytes_ = 0;  ///< of fixed rings and of the slots' (under slots_mutex_)

  /// Where debug variables are found (read_variable).
  struct Readable {
    std::uint64_t offset = 0, bytes = 0;  ///< in the scratchpad, or
    std::optional<std::size_t> tensor;    ///< an output
  };
  std::map<std::string, Readable, std::less<>> readable_;
  /// The inference that has the core; under context_.order.
  const Slot* running_slot_ = nullptr;
  const std::vector<const Binding*>* running_bindings_ = nullptr;

  FifoSemaphore slots_;
  mutable std::mutex slots_mutex_;
  std::vector<std::unique_ptr<Slot>> free_slots_;
  bool first_done_ = false;  ///< under context_.order: whether the semaphores were looked at after the first inference
  bool leaves_semaphores_ = false;  ///< they were not 0 then: looked at after each
};

}  // namespace opennrt::umd
