// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <limits>

#include "tests/unit/chip/testbench.h"

namespace opennrt::sim::test {
namespace {

using inf1::NotificationType;
using inf1::chosen::ErrorNotification;
using inf1::chosen::TraceCode;
using isa::Engine;
using isa::Instruction;
using isa::Opcode;
using isa::SignalMode;
using isa::WaitMode;

Instruction nop(isa::Wait wait = {}, isa::Signal signal = {}) {
  Instruction i;
  i.wait = wait;
  i.signal = signal;
  return i;
}
Instruction notify(std::uint32_t value, isa::Wait wait = {}) {
  Instruction i;
  i.opcode = Opcode::kNotify;
  i.immediate_u32 = value;
  i.wait = wait;
  return i;
}
Instruction event(Opcode opcode, std::uint32_t index) {
  Instruction i;
  i.opcode = opcode;
  i.immediate_u32 = index;
  return i;
}
Instruction memset_sbuf(std::uint32_t offset, float value, std::uint16_t count) {
  Instruction i;
  i.opcode = Opcode::kMemset;
  i.counts = {count, 1, 1, 1};
  i.dst.offset = offset;
  i.dst.steps = {1, 0, 0, 0};
  i.imm0 = value;
  return i;
}

class Core : public testing::Test {
 protected:
  static constexpr std::uint32_t kCore = 2;

  void send(Engine engine, const std::vector<Instruction>& instructions) {
    code_.emplace_back(*machine_, instructions);
    code_.back().send(queue_, kCore, engine);
  }
  Ran run() { return queue_.run(); }
  bool wait_for(Notifications& notifications, std::uint64_t timeout_ns = kSecond) {
    return machine_->run_until([&] { return notifications.available(); }, machine_->now_ns() + timeout_ns) ==
           Ran::kConditionMet;
  }
  std::uint32_t semaphore_value(std::uint32_t index) {
    return machine_->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, kCore, index));
  }
  void semaphore_write(std::uint64_t block, std::uint32_t index, std::uint32_t value) {
    machine_->bar_write(0, 2, semaphore(block, kCore, index), value);
  }

  std::unique_ptr<Machine> machine_ = power_on();
  std::vector<Code> code_;
  Queue queue_{*machine_, kCore * 3, 0, 128};
};

TEST_F(Core, givenSemaphoreRegistersWhenTheyAreWrittenThenTheyCountAndStopAtTheirLimits) {
  Notifications errors(*machine_, kCore, NotificationType::kError);
  semaphore_write(inf1::kSemaphoreSet, 31, 10);
  semaphore_write(inf1::kSemaphoreIncrement, 31, 5);
  semaphore_write(inf1::kSemaphoreDecrement, 31, 3);
  EXPECT_EQ(semaphore_value(31), 12u);
  EXPECT_EQ(semaphore_value(30), 0u);
  EXPECT_FALSE(errors.available());
  semaphore_write(inf1::kSemaphoreDecrement, 31, 13);
  EXPECT_EQ(semaphore_value(31), 0u);
  ASSERT_TRUE(errors.available());
  auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(ErrorNotification::kSemaphore));
  EXPECT_EQ(entry.value, 31u);
  semaphore_write(inf1::kSemaphoreSet, 0, 65535);
  semaphore_write(inf1::kSemaphoreIncrement, 0, 1);
  EXPECT_EQ(semaphore_value(0), 65535u);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().value, 0u);
}

TEST_F(Core, givenInstructionsWhenTheyWaitAndSignalThenSemaphoresOrderThem) {
  Notifications done(*machine_, kCore, NotificationType::kNotify, 1);
  send(Engine::kPe,
       {nop({}, {SignalMode::kIncrement, 3, 2}), nop({WaitMode::kEqual, 4, 1}, {SignalMode::kSet, 5, 77})});
  send(Engine::kAct, {nop({WaitMode::kConsume, 3, 2}, {SignalMode::kIncrement, 4, 1}),
                      notify(1234, {WaitMode::kGreaterEqual, 5, 77})});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(done)) << machine_->describe_core(0, kCore);
  const auto entry = done.next();
  EXPECT_EQ(entry.value, 1234u);
  EXPECT_EQ(entry.engine, 1);
  EXPECT_EQ(entry.type, static_cast<std::uint8_t>(NotificationType::kNotify));
  EXPECT_LE(entry.time_ns, machine_->now_ns());
  EXPECT_GT(entry.time_ns, 1300u);
  EXPECT_EQ(semaphore_value(3), 0u);
  EXPECT_EQ(semaphore_value(4), 1u);
  EXPECT_EQ(semaphore_value(5), 77u);
}

TEST_F(Core, givenEventsWhenInstructionsAndTheHostUseThemThenEnginesWakeAndMisuseIsReported) {
  Notifications events(*machine_, kCore, NotificationType::kEvent), errors(*machine_, kCore, NotificationType::kError);
  Notifications done(*machine_, kCore, NotificationType::kNotify, 2);
  send(Engine::kPool, {event(Opcode::kEventWait, 200), event(Opcode::kEventClear, 200), event(Opcode::kEventClear, 200),
                       event(Opcode::kEventSet, 7), notify(5)});
  ASSERT_EQ(run(), Ran::kConditionMet);
  EXPECT_FALSE(wait_for(done, 1000));
  EXPECT_NE(machine_->describe_core(0, kCore).find("pool waits for event 200 at instruction 0"), std::string::npos)
      << machine_->describe_core(0, kCore);
  machine_->bar_write(0, 2, kCore * inf1::kCoreWindow + inf1::kEventOffset + 4 * 200, 1);
  ASSERT_TRUE(wait_for(done));
  EXPECT_EQ(machine_->bar_read(0, 2, kCore * inf1::kCoreWindow + inf1::kEventOffset + 4 * 200), 0u);
  EXPECT_EQ(machine_->bar_read(0, 2, kCore * inf1::kCoreWindow + inf1::kEventOffset + 4 * 7), 1u);
  ASSERT_TRUE(errors.available());
  const auto error = errors.next();
  EXPECT_EQ(error.code, static_cast<std::uint8_t>(ErrorNotification::kEvent));
  EXPECT_EQ(error.value, 200u);
  EXPECT_EQ(error.engine, 2);
  EXPECT_FALSE(errors.available());
  ASSERT_TRUE(events.available());
  auto entry = events.next();
  EXPECT_EQ(entry.value, 200u);
  EXPECT_EQ(entry.code, 0);  // cleared
  entry = events.next();
  EXPECT_EQ(entry.value, 7u);
  EXPECT_EQ(entry.code, 1);  // set
}

// relu(A * B + bias) * 0.5 with all three engines: PE multiplies, ACT applies, POOL scales; DMA brings operands and
// takes the result.
TEST_F(Core, givenAProgramOfThreeEnginesWhenItRunsThenItsValuesEqualPlainLoops) {
  constexpr std::uint32_t kK = 24, kM = 16, kN = 40;
  HostBuffer a(*machine_, kK * kM * 4), b(*machine_, kK * kN * 4), bias(*machine_, kM * 4), out(*machine_, kM * kN * 4);
  auto value = [](std::uint32_t i) { return static_cast<float>(static_cast<int>(i * 37 % 41) - 20) / 8; };
  for (std::uint32_t i = 0; i < kK * kM; ++i) a.as<float>()[i] = value(i);
  for (std::uint32_t i = 0; i < kK * kN; ++i) b.as<float>()[i] = value(i + 11);
  for (std::uint32_t i = 0; i < kM; ++i) bias.as<float>()[i] = value(i + 5);

  constexpr std::uint32_t kA = 0, kB = 4096, kBias = 8192, kActOut = 16384, kOut = 32768;
  auto rows = [](std::uint32_t offset, std::uint32_t count, std::uint32_t bytes) {
    std::vector<Piece> pieces;
    for (std::uint32_t p = 0; p < count; ++p) pieces.push_back({sbuf_address(kCore, p, offset), bytes});
    return pieces;
  };
  Instruction load;
  load.opcode = Opcode::kLoadStationary;
  load.partitions = kK;
  load.counts = {kM, 1, 1, 1};
  load.src0 = {isa::Space::kSbuf, isa::DataType::kFp32, 0, kA, {1, 0, 0, 0}};
  load.wait = {WaitMode::kConsume, 0, 1};
  Instruction matmul;
  matmul.opcode = Opcode::kMatmul;
  matmul.partitions = kK;
  matmul.counts = {kN, 1, 1, 1};
  matmul.op1 = kM;
  matmul.src0 = {isa::Space::kSbuf, isa::DataType::kFp32, 0, kB, {1, 0, 0, 0}};
  matmul.dst = {isa::Space::kPsum, isa::DataType::kFp32, 0, 0, {1, 0, 0, 0}};
  matmul.signal = {SignalMode::kIncrement, 1, 1};
  Instruction activate;
  activate.opcode = Opcode::kActivate;
  activate.partitions = kM;
  activate.counts = {kN, 1, 1, 1};
  activate.op0 = static_cast<std::uint8_t>(isa::Activation::kRelu);
  activate.imm0 = 1.0f;
  activate.src1_per_partition = true;
  activate.src0 = matmul.dst;
  activate.src1 = {isa::Space::kSbuf, isa::DataType::kFp32, 0, kBias, {0, 0, 0, 0}};
  activate.dst = {isa::Space::kSbuf, isa::DataType::kFp32, 0, kActOut, {1, 0, 0, 0}};
  activate.wait = {WaitMode::kConsume, 1, 1};
  activate.signal = {SignalMode::kIncrement, 2, 1};
  Instruction scale;
  scale.opcode = Opcode::kTensorScalar;
  scale.partitions = kM;
  scale.counts = {kN, 1, 1, 1};
  scale.op0 = static_cast<std::uint8_t>(isa::Alu::kMult);
  scale.op1 = static_cast<std::uint8_t>(isa::Alu::kBypass);
  scale.imm0 = 0.5f;
  scale.src0 = activate.dst;
  scale.dst = {isa::Space::kSbuf, isa::DataType::kFp32, 0, kOut, {1, 0, 0, 0}};
  scale.wait = {WaitMode::kConsume, 2, 1};
  Instruction store;
  store.opcode = Opcode::kDmaTrigger;
  Instruction end = notify(99, {WaitMode::kConsume, 6, 1});

  // The output queue is started by the program; its last packet raises semaphore 6 by a write to its register.
  Queue output(*machine_, kCore * 3 + 1, 4, 64);
  HostBuffer one(*machine_, 4);
  *one.as<std::uint32_t>() = 1;
  output.packet(rows(kOut, kM, kN * 4), {{out.address(), kM * kN * 4}});
  output.copy(one.address(), inf1::core_base(kCore) + inf1::kSemaphoreIncrement + 4 * 6, 4);
  store.dma = {kCore * 3 + 1, 4, kM + 1, 2};

  Notifications done(*machine_, kCore, NotificationType::kNotify, 2),
      errors(*machine_, kCore, NotificationType::kError);
  send(Engine::kPe, {load, matmul});
  send(Engine::kAct, {activate});
  send(Engine::kPool, {scale, store, end});
  queue_.doorbell();
  Queue input(*machine_, kCore * 3 + 1, 0, 256);
  input.packet({{a.address(), kK * kM * 4}}, rows(kA, kK, kM * 4));
  input.packet({{b.address(), kK * kN * 4}}, rows(kB, kK, kN * 4));
  input.packet({{bias.address(), kM * 4}}, rows(kBias, kM, 4));
  input.copy(one.address(), inf1::core_base(kCore) + inf1::kSemaphoreIncrement + 4 * 0, 4);
  input.doorbell();
  ASSERT_TRUE(wait_for(done)) << machine_->describe_core(0, kCore);
  EXPECT_EQ(done.next().value, 99u);
  EXPECT_FALSE(errors.available());
  for (std::uint32_t m = 0; m < kM; ++m) {
    for (std::uint32_t n = 0; n < kN; ++n) {
      double sum = bias.as<float>()[m];
      for (std::uint32_t k = 0; k < kK; ++k) {
        sum += static_cast<double>(a.as<float>()[k * kM + m]) * b.as<float>()[k * kN + n];
      }
      ASSERT_NEAR(out.as<float>()[m * kN + n], std::max(sum, 0.0) * 0.5, 1e-4) << m << "," << n;
    }
  }
  for (std::uint32_t s : {0u, 1u, 2u, 6u}) EXPECT_EQ(semaphore_value(s), 0u) << "semaphore " << s;
}

TEST_F(Core, givenAFullFifoWhenInstructionsArriveThenOnlyThatQueueWaits) {
  constexpr std::uint32_t kCount = 600;  // the FIFO holds 256
  std::vector<Instruction> instructions(kCount, nop({}, {SignalMode::kIncrement, 9, 1}));
  instructions[0].wait = {WaitMode::kGreaterEqual, 8, 1};
  send(Engine::kAct, instructions);
  ASSERT_EQ(queue_.run(10'000'000), Ran::kIdle);
  const std::string text = machine_->describe_core(0, kCore);
  EXPECT_NE(text.find("q 6/0 waits for FIFO space"), std::string::npos) << text;
  EXPECT_NE(text.find("act waits for semaphore 8 >= 1 (now 0) at instruction 0"), std::string::npos) << text;
  HostBuffer from(*machine_, 256), to(*machine_, 256);
  from.fill(1);
  Queue other(*machine_, kCore * 3, 1);
  other.copy(from.address(), to.address(), 256);
  ASSERT_EQ(other.run(), Ran::kConditionMet);
  EXPECT_EQ(semaphore_value(9), 0u);
  semaphore_write(inf1::kSemaphoreSet, 8, 1);
  ASSERT_EQ(machine_->run_until([&] { return queue_.marked(); }, machine_->now_ns() + kSecond), Ran::kConditionMet);
  Notifications done(*machine_, kCore, NotificationType::kNotify, 1);
  send(Engine::kAct, {notify(1)});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(done));
  EXPECT_EQ(semaphore_value(9), kCount);
}

TEST_F(Core, givenADescriptorLongerThanTheFifosWindowWhenItIsWrittenThenAllOfItGoesToThatEngine) {
  const std::vector<Instruction> instructions(1024,
                                              nop({}, {SignalMode::kIncrement, 9, 1}));  // 64 KiB, 16 KiB of window
  std::vector<std::byte> bytes;
  for (const Instruction& i : instructions) {
    const auto encoded = isa::encode(i);
    ASSERT_TRUE(encoded.has_value());
    bytes.insert(bytes.end(), encoded->begin(), encoded->end());
  }
  HostBuffer code(*machine_, bytes.size());
  std::memcpy(code.data(), bytes.data(), bytes.size());
  queue_.copy(code.address(), fifo_address(kCore, Engine::kPe), 65536);
  ASSERT_EQ(run(), Ran::kConditionMet);
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + 10'000'000), Ran::kIdle);
  EXPECT_EQ(semaphore_value(9), 1024u);
  EXPECT_NE(machine_->describe_core(0, kCore).find("act has received no instruction"), std::string::npos);
}

TEST_F(Core, givenANotificationQueueWhenItWrapsThenThePhaseFlips) {
  Notifications done(*machine_, kCore, NotificationType::kNotify, 0, 4);
  std::uint32_t expected = 0;
  for (std::uint32_t round = 0; round < 5; ++round) {
    send(Engine::kPe, {notify(round * 3), notify(round * 3 + 1), notify(round * 3 + 2)});
    queue_.doorbell();
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(wait_for(done)) << "round " << round;
      EXPECT_EQ(done.next().value, expected++);
    }
    done.consumed();
  }
  EXPECT_EQ(done.head(), 15u % 4);
  EXPECT_EQ(done.entry(0).phase, 0);  // fourth pass
  EXPECT_EQ(done.entry(3).phase, 1);  // third pass
}

TEST_F(Core, givenANotificationQueueThatNobodyReadsWhenItIsFullThenEntriesAreLostAndThatIsReported) {
  Notifications done(*machine_, kCore, NotificationType::kNotify, 0, 4),
      errors(*machine_, kCore, NotificationType::kError);
  send(Engine::kPe, {notify(0), notify(1), notify(2), notify(3), notify(4), notify(5)});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(errors));
  const auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(ErrorNotification::kQueueOverflow));
  EXPECT_EQ(entry.value, static_cast<std::uint32_t>(NotificationType::kNotify) << 8);
  ASSERT_EQ(run(), Ran::kConditionMet);
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(done.entry(i).value, i);
}

TEST_F(Core, givenAFullErrorQueueWhenItIsReadThenTheOverflowIsReportedAsSoonAsThereIsRoom) {
  Notifications errors(*machine_, kCore, NotificationType::kError, 0, 2);
  for (int i = 0; i < 4; ++i) semaphore_write(inf1::kSemaphoreDecrement, 3, 1);
  (void)semaphore_value(3);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().value, 3u);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().value, 3u);
  EXPECT_FALSE(errors.available());
  errors.consumed();
  (void)semaphore_value(3);
  ASSERT_TRUE(errors.available());
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kQueueOverflow));
}

TEST_F(Core, givenInstructionTracingWhenItIsSetUpThenEveryStartAndRetirementIsNoted) {
  Notifications trace(*machine_, kCore, NotificationType::kTrace, 2);
  send(Engine::kPool, {nop(), nop(), nop()});
  queue_.doorbell();
  for (std::uint32_t i = 0; i < 3; ++i) {
    for (const TraceCode code : {TraceCode::kStarted, TraceCode::kRetired}) {
      ASSERT_TRUE(trace.available() || wait_for(trace));
      const auto entry = trace.next();
      EXPECT_EQ(entry.value, i);
      EXPECT_EQ(entry.code, static_cast<std::uint8_t>(code));
    }
  }
}

TEST_F(Core, givenANanWhenItIsProducedThenItIsReportedAndTheEngineGoesOn) {
  Notifications errors(*machine_, kCore, NotificationType::kError),
      done(*machine_, kCore, NotificationType::kNotify, 2);
  send(Engine::kPool, {nop(), memset_sbuf(0, std::numeric_limits<float>::quiet_NaN(), 8), notify(1)});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(done));
  ASSERT_TRUE(errors.available());
  const auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(ErrorNotification::kNumerical));
  EXPECT_EQ(entry.engine, 2);
  EXPECT_EQ(entry.value, 1u);
}

TEST_F(Core, givenAnIllegalInstructionWhenItIsFetchedThenOnlyThatEngineStopsUntilReset) {
  Notifications errors(*machine_, kCore, NotificationType::kError), act(*machine_, kCore, NotificationType::kNotify, 1);
  HostBuffer garbage(*machine_, 64);
  garbage.data()[0] = std::byte{0xee};
  send(Engine::kPe, {nop()});
  queue_.copy(garbage.address(), fifo_address(kCore, Engine::kPe), 64);
  send(Engine::kPe, {nop({}, {SignalMode::kIncrement, 1, 1})});
  send(Engine::kAct, {notify(3)});
  ASSERT_EQ(run(), Ran::kConditionMet);
  ASSERT_TRUE(act.available() || wait_for(act));
  ASSERT_TRUE(errors.available());
  const auto entry = errors.next();
  EXPECT_EQ(entry.code, static_cast<std::uint8_t>(ErrorNotification::kIllegalInstruction));
  EXPECT_EQ(entry.engine, 0);
  EXPECT_EQ(entry.value, 1u);
  EXPECT_EQ(semaphore_value(1), 0u);
  EXPECT_NE(machine_->describe_core(0, kCore).find("pe stopped at instruction 1"), std::string::npos);

  machine_->reset_cores(0, 1u << kCore);
  queue_.init();
  send(Engine::kPe, {nop({}, {SignalMode::kIncrement, 1, 1})});
  ASSERT_EQ(run(), Ran::kConditionMet);
  EXPECT_EQ(machine_->run_until([] { return false; }, machine_->now_ns() + 1000), Ran::kIdle);
  EXPECT_EQ(semaphore_value(1), 1u);
}

TEST_F(Core, givenAnOperandOutsideSbufWhenItIsFetchedThenOutOfBoundsIsReported) {
  Notifications errors(*machine_, kCore, NotificationType::kError);
  send(Engine::kPool, {memset_sbuf(80 * 1024 - 4 * 4, 1.0f, 5)});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(errors)) << machine_->describe_core(0, kCore);
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kOutOfBounds));
}

TEST_F(Core, givenADoorbellForAnotherCoresQueueWhenItIsFetchedThenItIsIllegal) {
  Notifications errors(*machine_, kCore, NotificationType::kError);
  Instruction trigger;
  trigger.opcode = Opcode::kDmaTrigger;
  trigger.dma = {0, 0, 1, 1};
  send(Engine::kPool, {trigger});
  queue_.doorbell();
  ASSERT_TRUE(wait_for(errors)) << machine_->describe_core(0, kCore);
  EXPECT_EQ(errors.next().code, static_cast<std::uint8_t>(ErrorNotification::kIllegalInstruction));
}

TEST_F(Core, givenASemaphoreNobodyRaisesWhenAProgramWaitsThenTheHangIsKnownAtOnceAndNamed) {
  send(Engine::kPe, {nop({WaitMode::kGreaterEqual, 3, 1})});
  queue_.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, 30 * kSecond), Ran::kIdle);
  EXPECT_EQ(machine_->now_ns(), 30 * kSecond);
  EXPECT_NE(machine_->describe_core(0, kCore).find("pe waits for semaphore 3 >= 1 (now 0) at instruction 0: nop"),
            std::string::npos)
      << machine_->describe_core(0, kCore);
}

TEST_F(Core, givenInstructionsWhenTheyRunThenTheyTakeTheCyclesOfTheCostModel) {
  Notifications trace(*machine_, kCore, NotificationType::kTrace, 2);
  send(Engine::kPool, {memset_sbuf(0, 1.0f, 1000), memset_sbuf(0, 1.0f, 2000)});
  queue_.doorbell();
  std::vector<std::uint64_t> retired;
  while (retired.size() < 2) {
    ASSERT_TRUE(trace.available() || wait_for(trace));
    const auto entry = trace.next();
    if (entry.code == static_cast<std::uint8_t>(TraceCode::kRetired)) retired.push_back(entry.time_ns);
  }
  const std::uint64_t first = retired[0], second = retired[1];
  // 2000 elements per partition, one per cycle at 0.98 GHz, and at most the fixed latency on top.
  EXPECT_GE(second - first, 2040u);
  EXPECT_LE(second - first, 2040u + 70u);
}

TEST_F(Core, givenAResetWhenTheCoreIsBusyThenItIsAsAfterPowerOn) {
  semaphore_write(inf1::kSemaphoreSet, 3, 9);
  machine_->bar_write(0, 2, kCore * inf1::kCoreWindow + 64, 0x12345678);
  Notifications done(*machine_, kCore, NotificationType::kNotify, 2);
  send(Engine::kPool, {memset_sbuf(0, 1.0f, 20000), notify(1)});
  queue_.doorbell();
  EXPECT_EQ(machine_->run_until([] { return false; }, 5000), Ran::kDeadline);
  EXPECT_NE(machine_->describe_core(0, kCore).find("pool runs instruction 0"), std::string::npos);
  EXPECT_EQ(machine_->bar_read(0, 2, kCore * inf1::kCoreWindow + 64), 0x12345678u);
  machine_->bar_write(0, 4, 0x100, 7);
  machine_->reset_cores(0, 0xffff'ffff);
  EXPECT_EQ(semaphore_value(3), 0u);
  EXPECT_EQ(machine_->bar_read(0, 2, kCore * inf1::kCoreWindow + 64), 0u);
  EXPECT_EQ(machine_->bar_read(0, 4, 0x100), 7u);  // DRAM keeps its contents
  EXPECT_EQ(machine_->run_until([] { return false; }, 100'000), Ran::kIdle);
  EXPECT_FALSE(done.available());
}

}  // namespace
}  // namespace opennrt::sim::test
