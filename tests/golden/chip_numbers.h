// SPDX-License-Identifier: Apache-2.0
//
// Measures the simulated chip from outside, as a microbenchmark measures silicon, against what its chip file promises. Rates are
// those of the steady state: of two runs of different length, the difference.
#pragma once

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/chip/testbench.h"

namespace opennrt::sim::test {

struct ChipNumber {
  std::string what, unit;
  double expected = 0, measured = 0;
  double error() const { return measured / expected - 1; }
};

class ChipMeter {
 public:
  /// `machine` must be on and idle; DRAM, SBUF and PSUM are written to.
  explicit ChipMeter(Machine& machine)
      : machine_(machine), host_(machine, kHostBytes), chip_(nlohmann::json::parse(std::ifstream(file()))) {}

  std::vector<ChipNumber> all() {
    std::vector<ChipNumber> numbers = dma();
    for (ChipNumber& number : engines()) numbers.push_back(std::move(number));
    return numbers;
  }

  std::vector<ChipNumber> dma() {
    const double queue = value("dma", "queue_bandwidth"), engine = value("dma", "engine_bandwidth"),
                 channel = value("dram", "channel_bandwidth"), link = value("host_link", "bandwidth"),
                 start = value("dma", "start_latency"), descriptor = value("dma", "descriptor_cost");
    const auto from_dram = [](std::uint32_t) { return kDram; };
    const auto from_host = [this](std::uint32_t) { return host_.address(); };
    const auto both_channels = [](std::uint32_t i) { return i % 2 == 0 ? kDram : inf1::kDramChannelBase[1]; };
    return {
        {"one DMA queue", "GB/s", queue, rate(1, from_dram, into_sbuf)},
        {"sixteen queues of one DMA engine", "GB/s", engine, rate(16, from_dram, into_sbuf)},
        {"sixteen queues of three DMA engines, one DRAM channel", "GB/s", channel,
         rate(16, from_dram, into_sbuf, /*engines=*/3)},
        {"DRAM stream, both channels, all twelve DMA engines", "GB/s", 2 * channel,
         rate(24, both_channels, into_sbuf, /*engines=*/12)},
        {"host link, from the host", "GB/s", link,
         rate(6, from_host, [](std::uint32_t i) { return kDram + i * kPiece; })},
        {"host link, to the host", "GB/s", link,
         rate(6, from_dram, [this](std::uint32_t i) { return host_.address(i % 8 * kPiece); })},
        {"latency of a DMA within the chip", "ns",
         start + descriptor + kWord / queue + value("engines", "dispatch_cycles") / clock(), latency_to_engine()},
        {"latency of a DMA to the host", "ns", start + value("host_link", "latency") + descriptor + kWord / queue,
         latency_to_host(false)},
        {"... that is a barrier", "ns",
         start + value("host_link", "latency") + descriptor + value("dma", "barrier_cost") + kWord / queue,
         latency_to_host(true)},
        {"a descriptor of 64 bytes in a stream", "ns", descriptor + 64 / queue, small_descriptor()},
    };
  }

  std::vector<ChipNumber> engines() {
    using isa::Alu;
    using isa::Engine;
    using isa::Opcode;
    const double clock = this->clock(), lanes = value("core", "partitions"),
                 floor = value("engines", "min_free_cycles"), access = value("engines", "fixed_access_cycles");
    const double peak = value("core", "pe_rows") * value("core", "pe_columns") * 2 * clock / 1000;
    const auto add = static_cast<std::uint8_t>(Alu::kAdd);
    const auto flops = [&](double per_element) { return lanes * per_element * clock; };
    // Operations per element as NeuronCore-v1's documentation counts them: 512 of Scalar and 256 of Vector engine a cycle
    // (neuron-core-v1.rst), which is 4 and 2 in each of 128 lanes.
    const isa::Instruction activation = shaped(Opcode::kActivate, 4096, 0, 16384);
    isa::Instruction scalar = shaped(Opcode::kTensorScalar, 4096, 0, 16384),
                     sum = shaped(Opcode::kTensorTensor, 4096, 0, 32768);
    scalar.op0 = static_cast<std::uint8_t>(Alu::kMult);
    scalar.op1 = add;
    sum.op0 = add;
    sum.src1 = sum.src0;
    sum.src1.offset = 16384;
    isa::Instruction small = shaped(Opcode::kTensorCopy, 16, 0, 1024),
                     dependent = shaped(Opcode::kTensorCopy, 16, 0, 0);
    isa::Instruction load, product;
    load.opcode = Opcode::kLoadStationary;
    load.partitions = static_cast<std::uint8_t>(value("core", "pe_rows"));
    load.counts = {static_cast<std::uint16_t>(value("core", "pe_columns")), 1, 1, 1};
    load.src0.dtype = isa::DataType::kBf16;
    load.src0.steps = {1, 0, 0, 0};
    product = load;
    product.opcode = Opcode::kMatmul;
    product.op1 = static_cast<std::uint8_t>(load.counts[0]);
    product.counts[0] = static_cast<std::uint16_t>(value("core", "matmul_max_moving"));
    product.src0.offset = 4096;
    product.dst.space = isa::Space::kPsum;
    product.dst.steps = {1, 0, 0, 0};
    const double operations = 2.0 * load.partitions * load.counts[0] * product.counts[0];
    isa::Instruction fp32 = product, fp32_load = load;
    fp32.src0.dtype = fp32_load.src0.dtype = isa::DataType::kFp32;
    return {
        {"matrix products, bf16, a new matrix for each", "TFLOPS", peak,
         operations / interval(Engine::kPe, {load, product}) / 1000},
        {"matrix products, fp32", "TFLOPS", peak / value("engines", "fp32_matmul_passes"),
         operations / interval(Engine::kPe, {fp32_load, fp32}) / 1000},
        {"Scalar engine, activation", "GFLOPS", flops(4), 4 * 4096 * lanes / interval(Engine::kAct, {activation})},
        {"Vector engine, tensor_scalar", "GFLOPS", flops(2), 2 * 4096 * lanes / interval(Engine::kPool, {scalar})},
        {"Vector engine, tensor_tensor from SBUF", "GFLOPS",
         flops(1) / value("engines", "tensor_tensor_cycles_per_element"),
         4096 * lanes / interval(Engine::kPool, {sum})},
        {"interval of small instructions", "ns", floor / clock, interval(Engine::kPool, {small})},
        {"interval of small instructions that wait for each other", "ns", (floor + access) / clock,
         interval(Engine::kPool, {dependent})},
    };
  }

  /// Time for `pieces` of 64 KiB over each of `queues`, spread over the DMA engines from 0 on, all started at once.
  double stream_ns(std::uint32_t queues, std::uint32_t pieces, const std::function<std::uint64_t(std::uint32_t)>& from,
                   const std::function<std::uint64_t(std::uint32_t)>& to, std::uint32_t engines = 1) {
    std::vector<std::unique_ptr<Queue>> streams;
    for (std::uint32_t i = 0; i < queues; ++i) {
      // The last engine's queue 15 is left to the driver.
      streams.push_back(std::make_unique<Queue>(machine_, i % engines, i / engines, 256));
      for (std::uint32_t piece = 0; piece < pieces; ++piece) streams.back()->copy(from(i), to(i), kPiece);
      streams.back()->mark();
    }
    const std::uint64_t begin = machine_.now_ns();
    for (auto& stream : streams) stream->doorbell();
    const auto done = [&] {
      return std::all_of(streams.begin(), streams.end(), [](auto& stream) { return stream->marked(); });
    };
    EXPECT_EQ(machine_.run_until(done, begin + 10 * kSecond), Ran::kConditionMet);
    return static_cast<double>(machine_.now_ns() - begin);
  }
  /// Time of one repetition of `body` in a long sequence, in nanoseconds.
  double interval(isa::Engine engine, const std::vector<isa::Instruction>& body) {
    constexpr int kRepeat = 40;
    Queue queue(machine_, kCore * inf1::kDmaEnginesPerCore, 0, 64);
    Notifications ends(machine_, kCore, inf1::NotificationType::kNotify, static_cast<std::uint32_t>(engine));
    std::vector<isa::Instruction> program;
    isa::Instruction notify;
    notify.opcode = isa::Opcode::kNotify;
    for (const int repeat : {1, kRepeat, 2 * kRepeat}) {
      program.push_back(notify);
      for (int i = 0; i < repeat; ++i) program.insert(program.end(), body.begin(), body.end());
    }
    program.push_back(notify);
    Code code(machine_, program);
    code.send(queue, kCore, engine);
    EXPECT_EQ(queue.run(), Ran::kConditionMet);
    std::vector<std::uint64_t> times;
    while (times.size() < 4) {
      if (machine_.run_until([&] { return ends.available(); }, machine_.now_ns() + kSecond) != Ran::kConditionMet) {
        ADD_FAILURE() << "the program did not end: " << machine_.describe_core(0, kCore);
        return 1;
      }
      times.push_back(ends.next().time_ns);
    }
    return (static_cast<double>(times[3] - times[2]) - static_cast<double>(times[2] - times[1])) / kRepeat;
  }

  /// Partition 0 and on, one for each queue.
  static std::uint64_t into_sbuf(std::uint32_t i) { return sbuf_address(i % inf1::kCoresPerDevice, i); }
  static constexpr std::uint64_t kDram = inf1::kDramChannelBase[0];
  static constexpr std::uint32_t kPiece = inf1::kDescMaxBytes;

 private:
  static constexpr std::uint32_t kCore = 1, kWord = 4;
  static constexpr std::size_t kHostBytes = 8 * kPiece;

  static std::string file() { return chips_dir() + "/inf1.json"; }
  double clock() const { return chip_.at("clock").at("value"); }
  double value(const char* group, const char* name) const { return chip_.at(group).at(name).at("value"); }

  double rate(std::uint32_t queues, const std::function<std::uint64_t(std::uint32_t)>& from,
              const std::function<std::uint64_t(std::uint32_t)>& to, std::uint32_t engines = 1) {
    constexpr std::uint32_t kPieces = 16;
    const double once = stream_ns(queues, kPieces, from, to, engines),
                 twice = stream_ns(queues, 2 * kPieces, from, to, engines);
    return static_cast<double>(queues) * kPieces * kPiece / (twice - once);
  }
  /// Of one word from DRAM into the semaphore for which an engine waits, to the engine's notification.
  double latency_to_engine() {
    Queue code_queue(machine_, kCore * inf1::kDmaEnginesPerCore, 0, 64), queue(machine_, 0, 0, 64);
    Notifications ends(machine_, kCore, inf1::NotificationType::kNotify,
                       static_cast<std::uint32_t>(isa::Engine::kPool));
    isa::Instruction notify;
    notify.opcode = isa::Opcode::kNotify;
    notify.wait = {isa::WaitMode::kConsume, 0, 1};
    Code code(machine_, {notify});
    code.send(code_queue, kCore, isa::Engine::kPool);
    EXPECT_EQ(code_queue.run(), Ran::kConditionMet);
    machine_.bar_write(0, 4, 0, 1);  // what is added to the semaphore
    queue.copy(kDram, inf1::core_base(kCore) + inf1::kSemaphoreIncrement, kWord);
    const std::uint64_t begin = machine_.now_ns();
    queue.doorbell();
    EXPECT_EQ(machine_.run_until([&] { return ends.available(); }, begin + kSecond), Ran::kConditionMet);
    return static_cast<double>(ends.next().time_ns - begin);
  }
  double latency_to_host(bool barrier) {
    Queue queue(machine_, 0, 0, 64);
    *host_.as<std::uint32_t>() = 0;
    machine_.bar_write(0, 4, 0, 0x600d);
    queue.packet({{kDram, kWord}}, {{host_.address(), kWord}}, barrier);
    const std::uint64_t begin = machine_.now_ns();
    queue.doorbell();
    const auto arrived = [&] { return __atomic_load_n(host_.as<std::uint32_t>(), __ATOMIC_ACQUIRE) == 0x600d; };
    EXPECT_EQ(machine_.run_until(arrived, begin + kSecond), Ran::kConditionMet);
    return static_cast<double>(machine_.now_ns() - begin);
  }
  double small_descriptor() {
    const auto time = [this](std::uint32_t count) {
      Queue queue(machine_, 0, 0, 256);
      for (std::uint32_t i = 0; i < count; ++i) queue.copy(kDram + 64 * i, sbuf_address(0, 0, 64 * i), 64);
      const std::uint64_t begin = machine_.now_ns();
      EXPECT_EQ(queue.run(), Ran::kConditionMet);
      return static_cast<double>(machine_.now_ns() - begin);
    };
    return (time(200) - time(100)) / 100;
  }

  static isa::Instruction shaped(isa::Opcode opcode, std::uint16_t n, std::uint32_t from, std::uint32_t to) {
    isa::Instruction in;
    in.opcode = opcode;
    in.partitions = 128;
    in.counts = {n, 1, 1, 1};
    in.src0.offset = from;
    in.dst.offset = to;
    in.src0.steps = in.dst.steps = {1, 0, 0, 0};
    return in;
  }

  Machine& machine_;
  HostBuffer host_;
  nlohmann::json chip_;
};

}  // namespace opennrt::sim::test
