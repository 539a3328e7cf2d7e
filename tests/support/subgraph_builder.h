// SPDX-License-Identifier: Apache-2.0
//
// Subgraphs put together by hand, for tests that must not depend on the compiler.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "core/isa/inf1.h"
#include "core/isa/isa.h"
#include "core/neff/neff.h"
#include "core/neff/npy.h"

namespace opennrt::test {

class SubgraphBuilder {
 public:
  neff::Subgraph graph;

  SubgraphBuilder() {
    graph.name = "sg00";
    graph.isa_version = isa::kVersion;
  }

  std::size_t variable(const std::string& name, neff::VariableType type, std::uint64_t size) {
    neff::Variable v;
    v.name = name;
    v.type = type;
    v.id = graph.variables.size() + 1;
    v.size = size;
    graph.variables.push_back(v);
    return graph.variables.size() - 1;
  }
  std::size_t tensor(const std::string& name, neff::TensorKind kind, const std::string& dtype,
                     std::vector<std::uint32_t> shape) {
    neff::TensorInfo t{name, kind, dtype, shape, neff::dtype_bytes(dtype)};
    for (auto n : shape) t.bytes *= n;
    // Inputs come before outputs, as the parser hands them out.
    auto at = graph.tensors.end();
    if (kind == neff::TensorKind::kInput)
      for (at = graph.tensors.begin(); at != graph.tensors.end() && at->kind == neff::TensorKind::kInput;) ++at;
    graph.tensors.insert(at, t);
    return variable(name, kind == neff::TensorKind::kInput ? neff::VariableType::kInput : neff::VariableType::kOutput,
                    t.bytes);
  }
  std::size_t input(const std::string& name, std::vector<std::uint32_t> shape, const std::string& dtype = "float32") {
    return tensor(name, neff::TensorKind::kInput, dtype, std::move(shape));
  }
  std::size_t output(const std::string& name, std::vector<std::uint32_t> shape, const std::string& dtype = "float32") {
    return tensor(name, neff::TensorKind::kOutput, dtype, std::move(shape));
  }
  std::size_t constant(const std::string& name, std::vector<std::byte> data, const std::string& file_name) {
    auto v = variable(name, neff::VariableType::kFile, data.size());
    graph.variables[v].file_name = file_name;
    graph.variables[v].data = std::move(data);
    return v;
  }
  /// All of SBUF: use offsets partition * stride + byte.
  std::size_t sbuf(const std::string& name = "sbuf") {
    return variable(name, neff::VariableType::kStateBuffer,
                    inf1::chosen::kSbufPartitionStride * inf1::chosen::kPartitions);
  }
  static std::uint64_t sbuf_at(std::uint64_t partition, std::uint64_t byte) {
    return partition * inf1::chosen::kSbufPartitionStride + byte;
  }

  std::size_t queue(const std::string& name, neff::QueueType type, isa::Engine owner) {
    graph.queues.push_back({name, type, owner, std::nullopt, false});
    return graph.queues.size() - 1;
  }
  neff::DmaEntry& dma(std::size_t queue, std::uint32_t id, neff::AccessPattern from, neff::AccessPattern to) {
    auto& list = engine(graph.queues[queue].owner).dma;
    list.push_back({id, queue, std::nullopt, std::nullopt, std::move(from), std::move(to)});
    return list.back();
  }
  neff::EngineProgram& engine(isa::Engine e) { return graph.engines[static_cast<std::size_t>(e)]; }
  void add(isa::Engine e, const isa::Instruction& instruction) {
    auto bytes = isa::encode(instruction);
    if (!bytes) throw std::runtime_error("encode: " + bytes.error().message);
    auto& stream = engine(e).instructions;
    stream.insert(stream.end(), bytes->begin(), bytes->end());
  }
  void trigger(isa::Engine e, std::uint32_t id, isa::Wait wait = {}) {
    isa::Instruction i;
    i.opcode = isa::Opcode::kPseudoDmaTrigger;
    i.immediate_u32 = id;
    i.wait = wait;
    add(e, i);
  }
  void wait(isa::Engine e, std::uint8_t semaphore, std::uint16_t value = 1) {
    isa::Instruction i;
    i.wait = {isa::WaitMode::kConsume, semaphore, value};
    add(e, i);
  }

  static neff::AccessPattern flat(std::size_t variable, std::uint64_t bytes, std::uint64_t offset = 0) {
    return {variable, offset, {bytes}, {1}};
  }
  /// `rows` runs of `bytes`, `step` apart.
  static neff::AccessPattern rows(std::size_t variable, std::uint64_t bytes, std::uint64_t rows, std::int64_t step,
                                  std::uint64_t offset = 0) {
    return {variable, offset, {bytes, rows}, {1, step}};
  }
};

/// `in` [partitions, n] float32 goes to SBUF and from there to `out`; all by POOL's queues.
inline SubgraphBuilder copy_program(std::uint32_t partitions, std::uint32_t n) {
  using B = SubgraphBuilder;
  B b;
  auto in = b.input("in", {partitions, n}), out = b.output("out", {partitions, n}), sbuf = b.sbuf();
  auto load = b.queue("load", neff::QueueType::kIn, isa::Engine::kPool),
       store = b.queue("store", neff::QueueType::kOut, isa::Engine::kPool);
  constexpr std::int64_t kStride = inf1::chosen::kSbufPartitionStride;
  b.dma(load, 1, B::flat(in, std::uint64_t{4} * n * partitions),
        B::rows(sbuf, std::uint64_t{4} * n, partitions, kStride))
      .semaphore = 0;
  b.dma(store, 2, B::rows(sbuf, std::uint64_t{4} * n, partitions, kStride),
        B::flat(out, std::uint64_t{4} * n * partitions))
      .semaphore = 1;
  b.trigger(isa::Engine::kPool, 1);
  b.trigger(isa::Engine::kPool, 2, {isa::WaitMode::kConsume, 0, 1});
  b.wait(isa::Engine::kPool, 1);
  return b;
}

/// `out` = `a` op `b`, all [partitions, n] float32. Loads are ACT's, the sum is POOL's, the store is PE's: all three engines work.
inline SubgraphBuilder binary_program(isa::Alu op, std::uint32_t partitions, std::uint32_t n) {
  using B = SubgraphBuilder;
  B b;
  auto x = b.input("a", {partitions, n}), y = b.input("b", {partitions, n}), out = b.output("out", {partitions, n}),
       sbuf = b.sbuf();
  auto load = b.queue("load", neff::QueueType::kIn, isa::Engine::kAct),
       store = b.queue("store", neff::QueueType::kOut, isa::Engine::kPe);
  constexpr std::int64_t kStride = inf1::chosen::kSbufPartitionStride;
  const std::uint64_t row = std::uint64_t{4} * n, all = row * partitions;
  b.dma(load, 1, B::flat(x, all), B::rows(sbuf, row, partitions, kStride, 0)).semaphore = 0;
  b.dma(load, 1, B::flat(y, all), B::rows(sbuf, row, partitions, kStride, row)).semaphore = 0;
  b.dma(store, 1, B::rows(sbuf, row, partitions, kStride, 2 * row), B::flat(out, all)).semaphore = 2;
  b.trigger(isa::Engine::kAct, 1);
  isa::Instruction add;
  add.opcode = isa::Opcode::kTensorTensor;
  add.wait = {isa::WaitMode::kConsume, 0, 2};
  add.signal = {isa::SignalMode::kIncrement, 1, 1};
  add.partitions = static_cast<std::uint8_t>(partitions);
  add.counts = {static_cast<std::uint16_t>(n), 1, 1, 1};
  add.op0 = static_cast<std::uint8_t>(op);
  add.src0.steps = add.src1.steps = add.dst.steps = {1, 0, 0, 0};
  add.src1.offset = static_cast<std::uint32_t>(row);
  add.dst.offset = static_cast<std::uint32_t>(2 * row);
  b.add(isa::Engine::kPool, add);
  b.trigger(isa::Engine::kPe, 1, {isa::WaitMode::kConsume, 1, 1});
  b.wait(isa::Engine::kPe, 2);
  return b;
}

}  // namespace opennrt::test
