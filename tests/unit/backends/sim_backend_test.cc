// SPDX-License-Identifier: Apache-2.0
//
// What only the simulated device has: its configuration, its registers, and work that really happens.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "core/isa/inf1.h"
#include "core/isa/isa.h"
#include "tests/unit/backends/plugin.h"

namespace opennrt::test {
namespace {

struct Descriptor {
  std::uint32_t control, meta;
  std::uint64_t address;
};

std::uint32_t control(std::uint32_t bytes, bool tx, bool barrier = false) {
  return (bytes & inf1::kDescLengthMask) | inf1::kInitialRingId << inf1::kDescRingIdShift |
         (tx ? inf1::kDescFirst | inf1::kDescLast : 0) | (barrier ? inf1::kDescBarrier : 0);
}

/// A pair of rings in host memory with transfers for one queue.
class Transfers {
 public:
  Transfers(Opened& opened, std::uint32_t engine, std::uint32_t queue)
      : b_(opened),
        engine_(engine),
        queue_(queue),
        tx_(b_.allocate(kCount * 16, true)),
        rx_(b_.allocate(kCount * 16, true)) {}

  void add(std::uint64_t from, std::uint64_t to, std::uint32_t bytes, bool barrier = false) {
    const Descriptor tx{control(bytes, true, barrier), 0, from}, rx{control(bytes, false), 0, to};
    ASSERT_EQ(b_.api.dma_write_descriptors(b_.device, tx_, count_ * 16, &tx, 1, OPENNRT_QUEUE_TX), 0);
    ASSERT_EQ(b_.api.dma_write_descriptors(b_.device, rx_, count_ * 16, &rx, 1, OPENNRT_QUEUE_RX), 0);
    ++count_;
  }
  void start() {
    const opennrt_queue_init_t init{engine_, queue_, kCount, kCount, tx_, rx_};
    ASSERT_EQ(b_.api.dma_queue_init(b_.device, &init, 1), 0);
    ASSERT_EQ(b_.api.dma_queue_start(b_.device, engine_, queue_, count_, count_), 0);
  }

 private:
  static constexpr std::uint32_t kCount = 64;
  Opened& b_;
  const std::uint32_t engine_, queue_;
  const opennrt_mem_t tx_, rx_;
  std::uint32_t count_ = 0;
};

/// A stream for the tensor engine of a core, fed through queue 0 of the core's first DMA engine.
class Stream {
 public:
  Stream(Opened& opened, std::uint32_t core, const std::vector<isa::Instruction>& program)
      : transfers_(opened, core * inf1::kDmaEnginesPerCore, 0) {
    std::vector<std::byte> code;
    for (const isa::Instruction& instruction : program) {
      const auto encoded = isa::encode(instruction);
      EXPECT_TRUE(encoded.has_value());
      code.insert(code.end(), encoded->begin(), encoded->end());
    }
    const opennrt_mem_t memory = opened.allocate(code.size(), false, core);
    EXPECT_EQ(opened.api.mem_write(opened.device, memory, 0, code.data(), code.size()), 0);
    transfers_.add(opened.address(memory), inf1::core_base(core) + inf1::kPeFifoOffset,
                   static_cast<std::uint32_t>(code.size()));
  }
  void start() { transfers_.start(); }

 private:
  Transfers transfers_;
};

isa::Instruction notify(std::uint32_t value) {
  isa::Instruction instruction;
  instruction.opcode = isa::Opcode::kNotify;
  instruction.immediate_u32 = value;
  return instruction;
}

isa::Instruction notify_after(std::uint8_t semaphore, std::uint32_t value) {
  isa::Instruction instruction = notify(value);
  instruction.wait = {isa::WaitMode::kConsume, semaphore, 1};
  return instruction;
}

inf1::chosen::Notification entry(const opennrt_nq_t& queue, std::size_t index) {
  inf1::chosen::Notification n{};
  std::memcpy(&n,
              const_cast<const std::byte*>(static_cast<const volatile std::byte*>(queue.entries)) + index * sizeof(n),
              sizeof(n));
  return n;
}

TEST(SimBackend, givenAMalformedVariableThenOpenNamesItItsValueAndWhatWasExpected) {
  const auto& api = plugin("sim");
  const std::pair<const char*, const char*> cases[] = {
      {"OPENNRT_SIM_INSTANCE", "inf2.xlarge"}, {"OPENNRT_SIM_DETERMINISTIC", "yes"},
      {"OPENNRT_SIM_REALTIME", "fast"},        {"OPENNRT_SIM_REALTIME", "-1"},
      {"OPENNRT_SIM_REALTIME", "1000001"},     {"OPENNRT_SIM_DEVICES", "1"},
      {"OPENNRT_SIM_DEVICES", "0,"},           {"OPENNRT_RUNTIME_DIR", "relative/path"}};
  for (const auto& [name, value] : cases) {
    Host host;
    host.set(name, value);
    opennrt_backend_t* backend = nullptr;
    EXPECT_EQ(api.open(host.table(), &backend), -EINVAL);
    EXPECT_EQ(backend, nullptr);
    const std::string log = host.log();
    EXPECT_NE(log.find(name), std::string::npos) << log;
    EXPECT_NE(log.find(value), std::string::npos) << log;
    EXPECT_NE(log.find("expected"), std::string::npos) << log;
  }
}

TEST(SimBackend, instancesDifferInTheirChain) {
  const std::pair<const char*, std::uint32_t> instances[] = {
      {"inf1.xlarge", 1}, {"2xlarge", 1}, {"inf1.6xlarge", 4}, {"inf1.24xlarge", 16}};
  for (const auto& [name, devices] : instances) {
    Opened b("sim", {{"OPENNRT_SIM_INSTANCE", name}});
    std::vector<uint32_t> numbers(64);
    uint32_t count = 64;
    ASSERT_EQ(b.api.devices(b.backend, numbers.data(), &count), 0);
    ASSERT_EQ(count, devices);
    std::uint32_t previous_slot = 0;
    for (std::uint32_t number = 0; number < count; ++number) {
      EXPECT_EQ(numbers[number], number);
      opennrt_device_t* device = nullptr;
      ASSERT_EQ(b.api.device_open(b.backend, number, &device), 0);
      opennrt_device_info_t info{};
      ASSERT_EQ(b.api.device_info(device, &info), 0);
      EXPECT_EQ(info.first_core, number * 4);
      EXPECT_NE(std::string(name).find(std::string(info.instance_type).substr(5)), std::string::npos)
          << info.instance_type;
      std::vector<uint32_t> expected;
      if (number + 1 < count) expected.push_back(number + 1);
      if (number > 0) expected.push_back(number - 1);
      EXPECT_EQ(std::vector<uint32_t>(info.connected, info.connected + info.connected_count), expected);
      EXPECT_GT(info.pci_slot, previous_slot);
      EXPECT_LT(info.pci_slot, 0x20u);
      previous_slot = info.pci_slot;
      EXPECT_EQ(info.open_isa_version, isa::kVersion);
    }
  }
}

TEST(SimBackend, givenAHandleOfAnotherDeviceThenItIsRefused) {
  Opened b("sim", {{"OPENNRT_SIM_INSTANCE", "inf1.6xlarge"}});
  opennrt_device_t* other = nullptr;
  ASSERT_EQ(b.api.device_open(b.backend, 1, &other), 0);
  const opennrt_mem_t mine = b.allocate(64, false);
  char byte = 0;
  EXPECT_EQ(b.api.mem_read(other, mine, 0, &byte, 1), -EINVAL);
  EXPECT_EQ(b.api.mem_free(other, mine), -EINVAL);
  EXPECT_EQ(b.api.mem_read(b.device, mine, 0, &byte, 1), 0);
}

TEST(SimBackend, aQueueOfOnesOwnCopiesWhatItsDescriptorsSay) {
  Opened b("sim");
  const auto data = pattern(200'000);
  const opennrt_mem_t from = b.allocate(data.size(), true), dram = b.allocate(data.size(), false),
                      to = b.allocate(data.size(), true);
  ASSERT_EQ(b.api.mem_write(b.device, from, 0, data.data(), data.size()), 0);
  Transfers transfers(b, 4, 7);
  for (std::uint64_t offset = 0; offset < data.size(); offset += 0x1'0000) {
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(0x1'0000, data.size() - offset));
    transfers.add(b.address(from) + offset, b.address(dram) + offset, part);
  }
  for (std::uint64_t offset = 0; offset < data.size(); offset += 0x1'0000) {
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(0x1'0000, data.size() - offset));
    transfers.add(b.address(dram) + offset, b.address(to) + offset, part, offset == 0);
  }
  transfers.start();
  const std::uint64_t begin = b.now();
  EXPECT_EQ(b.api.wait(b.device, 1, 0, begin + 5'000'000), -ETIMEDOUT) << "no notification was asked for";
  std::vector<std::byte> back(data.size());
  ASSERT_EQ(b.api.mem_read(b.device, to, 0, back.data(), back.size()), 0);
  EXPECT_TRUE(back == data);
  opennrt_queue_state_t tx{}, rx{};
  ASSERT_EQ(b.api.dma_queue_get_state(b.device, 4, 7, &tx, &rx), 0);
  EXPECT_EQ(tx.length, 64u);
  EXPECT_EQ(tx.tail, 8u);
  EXPECT_EQ(rx.tail, 8u);
  EXPECT_EQ(tx.software_status, 2u);
}

TEST(SimBackend, waitReturnsForEveryNotificationOverManyPassesOfTheQueue) {
  Opened b("sim");
  opennrt_nq_t queue{};
  ASSERT_EQ(b.api.nq_init(b.device, 2, OPENNRT_NQ_NOTIFY, 0, 8 * 16, &queue), 0);
  std::uint64_t seen = 0;
  for (std::uint32_t round = 0; round < 10; ++round) {
    Stream stream(b, 2, {notify(round * 10), notify(round * 10 + 1), notify(round * 10 + 2)});
    stream.start();
    for (std::uint32_t i = 0; i < 3; ++i) {
      ASSERT_EQ(b.api.wait(b.device, 2, seen, b.now() + 1'000'000'000), 0) << b.host.log();
      const auto n = entry(queue, seen % 8);
      EXPECT_EQ(n.phase, 1 - (seen / 8) % 2);
      EXPECT_EQ(n.value, round * 10 + i);
      EXPECT_EQ(n.type, static_cast<std::uint8_t>(inf1::NotificationType::kNotify));
      ++seen;
      ASSERT_EQ(b.api.nq_consume(b.device, 2, OPENNRT_NQ_NOTIFY, 0, seen), 0);
    }
  }
  EXPECT_EQ(b.host.log(), "");
  EXPECT_EQ(b.api.wait(b.device, 2, seen, b.now() + 1'000'000'000), -ETIMEDOUT);
}

TEST(SimBackend, givenAHangThenItIsKnownAtOnceAndTheLogSaysWhoWaitsForWhat) {
  Opened b("sim");
  opennrt_nq_t queue{};
  ASSERT_EQ(b.api.nq_init(b.device, 0, OPENNRT_NQ_NOTIFY, 0, 4096, &queue), 0);
  Stream stream(b, 0, {notify_after(9, 1)});
  stream.start();
  const std::uint64_t before = b.now();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(b.api.wait(b.device, 0, 0, before + 30'000'000'000), -ETIMEDOUT);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_LT(b.now(), before + 100'000'000) << "the clock ran away from the neighbours' deadlines";
  const std::string log = b.host.log();
  EXPECT_NE(log.find("pe"), std::string::npos) << log;
  EXPECT_NE(log.find("semaphore 9"), std::string::npos) << log;
  // The semaphore comes after all, from outside: the program goes on.
  ASSERT_EQ(b.api.semaphore_increment(b.device, 0, 9, 1), 0);
  EXPECT_EQ(b.api.wait(b.device, 0, 0, b.now() + 1'000'000'000), 0);
  EXPECT_EQ(entry(queue, 0).value, 1u);
}

TEST(SimBackend, givenAnUnansweredAddressThenTheQueueStopsAndTheErrorQueueSaysSo) {
  Opened b("sim");
  opennrt_nq_t queue{};
  ASSERT_EQ(b.api.nq_init(b.device, 0, OPENNRT_NQ_ERROR, 0, 4096, &queue), 0);
  const opennrt_mem_t to = b.allocate(4096, false);
  Transfers transfers(b, 1, 3);
  transfers.add(0x8'0000'0000, b.address(to), 4096);  // between the channels
  transfers.start();
  ASSERT_EQ(b.api.wait(b.device, 0, 0, b.now() + 1'000'000'000), 0) << b.host.log();
  EXPECT_EQ(entry(queue, 0).code, static_cast<std::uint8_t>(inf1::chosen::ErrorNotification::kDmaAbort));
  EXPECT_EQ(entry(queue, 0).value, 1u << 8 | 3u);
}

TEST(SimBackend, registersAreThereButNotThoseThatWouldGetAroundTheChecks) {
  Opened b("sim");
  ASSERT_EQ(b.api.semaphore_write(b.device, 1, 4, 77), 0);
  const std::uint64_t semaphore = inf1::kCoreWindow + inf1::kSemaphoreRead + 16;
  uint32_t value = 0;
  ASSERT_EQ(b.api.bar_read(b.device, 2, &semaphore, &value, 1), 0);
  EXPECT_EQ(value, 77u);
  const std::uint64_t blocked[] = {
      inf1::udma_base(0) + inf1::kM2sQueues + inf1::kQBaseLow,
      inf1::udma_base(11) + inf1::kS2mQueues + 15 * inf1::kUdmaQueueStride + inf1::kQTailIncrement};
  const uint32_t one = 1;
  for (const std::uint64_t offset : blocked) EXPECT_EQ(b.api.bar_write(b.device, 0, &offset, &one, 1), -EINVAL);
  const std::uint64_t odd = 2, far = 0x100'0000, zero = 0;
  EXPECT_EQ(b.api.bar_read(b.device, 0, &odd, &value, 1), -EINVAL);
  EXPECT_EQ(b.api.bar_read(b.device, 0, &far, &value, 1), -EINVAL);
  EXPECT_EQ(b.api.bar_read(b.device, 4, &zero, &value, 1), -EINVAL) << "the driver serves no direct access to DRAM";
  EXPECT_EQ(b.api.bar_read(b.device, 1, &zero, &value, 1), -EINVAL);
}

TEST(SimBackend, theDriversOwnQueueIsNotForOthers) {
  Opened b("sim");
  const opennrt_mem_t ring = b.allocate(64 * 16, true);
  for (std::uint32_t core = 0; core < 4; ++core) {
    const opennrt_queue_init_t init{inf1::h2t_engine(core), inf1::kH2tQueue, 64, 64, ring, ring};
    EXPECT_EQ(b.api.dma_queue_init(b.device, &init, 1), -EPERM);
    EXPECT_EQ(b.api.dma_queue_start(b.device, init.engine, init.queue, 1, 1), -EPERM);
  }
}

TEST(SimBackend, givenAFreedRingThenTheQueueDoesNotStart) {
  Opened b("sim");
  const opennrt_mem_t tx = b.allocate(64 * 16, true), rx = b.allocate(64 * 16, true);
  const opennrt_queue_init_t init{0, 0, 64, 64, tx, rx};
  ASSERT_EQ(b.api.dma_queue_init(b.device, &init, 1), 0);
  ASSERT_EQ(b.api.mem_free(b.device, rx), 0);
  EXPECT_EQ(b.api.dma_queue_start(b.device, 0, 0, 1, 1), -EINVAL);
}

TEST(SimBackend, afterAResetCopiesAndNotificationsWorkAgain) {
  Opened b("sim");
  opennrt_nq_t queue{}, again{};
  ASSERT_EQ(b.api.nq_init(b.device, 0, OPENNRT_NQ_NOTIFY, 0, 4096, &queue), 0);
  Stream hung(b, 0, {notify(5), notify_after(9, 1)});
  hung.start();
  ASSERT_EQ(b.api.wait(b.device, 0, 0, b.now() + 1'000'000'000), 0);
  uint32_t request = 0;
  int32_t result = -1;
  ASSERT_EQ(b.api.reset_start(b.device, 1, &request), 0);
  ASSERT_EQ(b.api.reset_wait(b.device, request, &result), 0);
  EXPECT_EQ(b.api.dma_queue_start(b.device, 0, 0, 1, 1), -EINVAL) << "a reset queue is to be initialised again";
  ASSERT_EQ(b.api.nq_init(b.device, 0, OPENNRT_NQ_NOTIFY, 0, 4096, &again), 0);
  EXPECT_EQ(again.memory, queue.memory);
  EXPECT_EQ(entry(again, 0).phase, 0) << "an old entry is taken for a new one";
  Stream next(b, 0, {notify(6)});
  next.start();
  ASSERT_EQ(b.api.wait(b.device, 0, 0, b.now() + 1'000'000'000), 0) << b.host.log();
  EXPECT_EQ(entry(again, 0).value, 6u);
}

TEST(SimBackend, modelLocksFollowTheDriver) {
  Opened b("sim");
  const uint8_t first[32] = {1}, second[32] = {2};
  EXPECT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_READ, first), -ENOENT);
  ASSERT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_WRITE, first), 0);
  EXPECT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_READ, first), -EBUSY) << "the writer has it";
  ASSERT_EQ(b.api.core_unlock(b.device, 0, OPENNRT_LOCK_WRITE, first), 0);
  ASSERT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_READ, first), 0);
  EXPECT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_READ, second), -ENOENT);
  EXPECT_EQ(b.api.core_unlock(b.device, 0, OPENNRT_LOCK_READ, first), 0);
  EXPECT_EQ(b.api.core_unlock(b.device, 0, OPENNRT_LOCK_READ, first), 0) << "the writer became a reader";
  EXPECT_EQ(b.api.core_unlock(b.device, 0, OPENNRT_LOCK_READ, first), -EINVAL);
  EXPECT_EQ(b.api.core_lock(b.device, 0, OPENNRT_LOCK_WRITE, first), -EALREADY);
  EXPECT_EQ(b.api.core_unlock(b.device, 0, OPENNRT_LOCK_WRITE, first), 0);
  EXPECT_EQ(b.api.core_lock(b.device, 4, OPENNRT_LOCK_READ, first), -EINVAL);
}

TEST(SimBackend, givenAForkedChildThenEveryOperationIsRefusedAndTheParentGoesOn) {
  Opened b("sim");
  const opennrt_mem_t memory = b.allocate(4096, false);
  opennrt_core_map_t taken{};
  uint32_t available = 0;
  ASSERT_EQ(b.api.cores_reserve(b.backend, 2, 0, 3, &taken, &available), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    uint64_t ns = 0;
    opennrt_device_info_t info{};
    int bad = 0;
    bad |= b.api.mem_read(b.device, memory, 0, &byte, 1) != -EACCES;
    bad |= b.api.device_info(b.device, &info) != -EACCES;
    bad |= b.api.clock(b.device, &ns) != -EACCES;
    bad |= b.api.wait(b.device, 0, 0, 1) != -EACCES;
    bad |= b.api.cores_release(b.backend, &taken) != -EACCES;
    b.api.device_close(b.device);
    b.api.close(b.backend);
    opennrt_backend_t* own = nullptr;
    opennrt_device_t* device = nullptr;
    bad |= b.api.open(b.host.table(), &own) != 0;
    bad |= b.api.cores_reserve(own, 1, 0, 0, &taken, &available) != -EBUSY;
    bad |= b.api.cores_reserve(own, 1, 0, 3, &taken, &available) != 0;
    bad |= b.api.device_open(own, 0, &device) != -EACCES;
    ::_exit(bad);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  char byte = 0;
  EXPECT_EQ(b.api.mem_read(b.device, memory, 0, &byte, 1), 0);
}

TEST(SimBackend, threadsCopyOnAllCoresAtOnce) {
  Opened b("sim");
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint32_t core = 0; core < 4; ++core) {
    threads.emplace_back([&, core] {
      const opennrt_mem_t memory = b.allocate(200'000, false, core);
      for (unsigned round = 0; round < 20; ++round) {
        const auto data = pattern(200'000, core * 100 + round);
        std::vector<std::byte> back(data.size());
        if (b.api.mem_write(b.device, memory, 0, data.data(), data.size()) != 0 ||
            b.api.mem_read(b.device, memory, 0, back.data(), back.size()) != 0 || back != data) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

/// How long each of `rounds` took: a transfer of 1 MiB from the host, then a semaphore, then a notification.
std::vector<std::uint64_t> run_on_core(Opened& b, std::uint32_t core, int rounds) {
  opennrt_nq_t queue{};
  EXPECT_EQ(b.api.nq_init(b.device, core, OPENNRT_NQ_NOTIFY, 0, 4096, &queue), 0);
  const opennrt_mem_t from = b.allocate(1 << 20, true, core), to = b.allocate(1 << 20, false, core),
                      one = b.allocate(4, true, core);
  const std::uint32_t value = 1;
  EXPECT_EQ(b.api.mem_write(b.device, one, 0, &value, 4), 0);
  std::vector<std::uint64_t> durations;
  Transfers load(b, core * 3 + 1, 2);
  for (std::uint32_t i = 0; i < 16; ++i)
    load.add(b.address(from) + i * 0x1'0000, b.address(to) + i * 0x1'0000, 0x1'0000);
  load.add(b.address(one), inf1::core_base(core) + inf1::kSemaphoreIncrement, 4, true);
  Stream stream(b, core, {notify_after(0, 1)});
  for (int round = 0; round < rounds; ++round) {
    stream.start();
    load.start();
    EXPECT_EQ(b.api.wait(b.device, core, static_cast<std::uint64_t>(round), b.now() + 1'000'000'000), 0)
        << b.host.log();
    std::uint64_t started = 0;
    EXPECT_EQ(b.api.work_started(b.device, core, &started), 0);
    durations.push_back(entry(queue, static_cast<std::size_t>(round)).time_ns - started);
  }
  return durations;
}

TEST(SimBackend, inDeterministicModeAnInferenceTakesWhatItTakesAlone) {
  constexpr int kRounds = 8;
  std::vector<std::uint64_t> alone;
  {
    Opened b("sim", {{"OPENNRT_SIM_DETERMINISTIC", "1"}});
    alone = run_on_core(b, 0, kRounds);
  }
  EXPECT_EQ(alone, std::vector<std::uint64_t>(kRounds, alone.front()));
  EXPECT_GT(alone.front(), 100'000u) << "1 MiB from the host cannot be that fast";
  Opened b("sim", {{"OPENNRT_SIM_DETERMINISTIC", "1"}});
  std::vector<std::thread> threads;
  std::vector<std::vector<std::uint64_t>> together(4);
  for (std::uint32_t core = 0; core < 4; ++core) {
    threads.emplace_back([&, core] { together[core] = run_on_core(b, core, kRounds); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& durations : together) EXPECT_EQ(durations, alone);
}

}  // namespace
}  // namespace opennrt::test
