// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "tests/unit/chip/testbench.h"

namespace opennrt::sim::test {
namespace {

namespace fs = std::filesystem;

double resident_megabytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A folder that goes with the test.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("opennrt_machine_test_" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// First in this program: the elaboration of all 16 chips is part of what is measured.
TEST(Machine, given16ChipsWhenTheyAreIdleThenTheyCostLittleMemoryAndTime) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const double time_limit = 20, memory_limit = 2000;  // a sanitizer's shadow memory is resident, too
#else
  const double time_limit = 1, memory_limit = 300;
#endif
  const auto start = std::chrono::steady_clock::now();
  auto machine = power_on(config("24xlarge"));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(machine->facts().instance, "inf1.24xlarge");
  EXPECT_EQ(machine->facts().devices, 16u);
  EXPECT_EQ(machine->facts().cores_per_device, 4u);
  EXPECT_EQ(machine->facts().dram_channel_bytes, 4ull << 30);
  EXPECT_EQ(machine->facts().limits.sbuf_bytes_per_partition, 80u * 1024);
  EXPECT_LT(took.count(), time_limit);
  EXPECT_LT(resident_megabytes(), memory_limit);
  for (std::uint32_t device = 0; device < 16; ++device) {
    machine->bar_write(device, 2, semaphore(inf1::kSemaphoreSet, 3, 1), device + 1);
    machine->bar_write(device, 4, inf1::kDramChannelSize + 4096, device + 100);
  }
  for (std::uint32_t device = 0; device < 16; ++device) {
    EXPECT_EQ(machine->bar_read(device, 2, semaphore(inf1::kSemaphoreRead, 3, 1)), device + 1);
    EXPECT_EQ(machine->bar_read(device, 4, inf1::kDramChannelSize + 4096), device + 100);
  }
  HostBuffer from(*machine, 4096), to(*machine, 4096);
  from.fill(15);
  Queue queue(*machine, 11, 15, 32, 15);
  queue.copy(from.address(), to.address(), 4096);
  EXPECT_EQ(queue.run(), Ran::kConditionMet);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 4096), 0);
  EXPECT_LT(resident_megabytes(), memory_limit);
}

TEST(Machine, givenAMachineThatIsOnWhenItIsPoweredOnAgainThenThatIsRefused) {
  auto machine = power_on();
  const auto second = Machine::power_on(config());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kState);
}

TEST(Machine, givenPowerCyclesWhenMemoryAndRegistersWereUsedThenEachBeginsFreshAtTimeZero) {
  for (int cycle = 0; cycle < 5; ++cycle) {
    auto machine = power_on(config(cycle % 2 == 0 ? "inf1.xlarge" : "inf1.6xlarge"));
    EXPECT_EQ(machine->facts().devices, cycle % 2 == 0 ? 1u : 4u);
    EXPECT_EQ(machine->now_ns(), 0u);
    EXPECT_EQ(machine->bar_read(0, 4, 0x1000), 0u);
    EXPECT_EQ(machine->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, 0, 3)), 0u);
    machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, 0, 3), 5);
    HostBuffer from(*machine, 65536);
    from.fill(static_cast<std::uint32_t>(cycle));
    Queue queue(*machine, 0, 0);
    queue.copy(from.address(), 0x1000, 65536);
    ASSERT_EQ(queue.run(), Ran::kConditionMet);
    EXPECT_GT(machine->now_ns(), 16000u);
    // Power off with work under way and descriptors left.
    queue.copy(from.address(), 0x1000, 65536);
    queue.copy(from.address(), 0x1000, 65536);
    queue.doorbell();
    EXPECT_EQ(machine->run_until([] { return false; }, machine->now_ns() + 3000), Ran::kDeadline);
  }
}

TEST(Machine, givenTheSameCommandsWhenTheyRunTwiceThenBytesAndTimeAreTheSame) {
  std::vector<std::byte> bytes[2];
  std::vector<std::uint64_t> times[2];
  for (int run = 0; run < 2; ++run) {
    auto machine = power_on();
    HostBuffer from(*machine, 1 << 20), to(*machine, 1 << 20);
    from.fill(77);
    std::vector<std::unique_ptr<Queue>> queues;
    for (std::uint32_t q = 0; q < 24; ++q) {
      queues.push_back(std::make_unique<Queue>(*machine, q % 12, q / 12));
      for (std::uint32_t i = 0; i < 10; ++i) {
        const std::uint32_t at = (q * 10 + i) * 4096, size = 100 + q * 131 + i * 17;
        queues[q]->copy(from.address(at), to.address(at), size);
      }
      queues[q]->mark();
      queues[q]->doorbell();
    }
    for (auto& queue : queues) {
      ASSERT_EQ(machine->run_until([&] { return queue->marked(); }, kSecond), Ran::kConditionMet);
      times[run].push_back(machine->now_ns());
    }
    bytes[run].assign(to.data(), to.data() + to.size());
  }
  EXPECT_EQ(times[0], times[1]);
  EXPECT_EQ(bytes[0], bytes[1]);
}

TEST(Machine, givenSeveralThreadsWhenAllRunThenEachReturnsForItsOwnCondition) {
  auto machine = power_on();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      HostBuffer from(*machine, 20000), to(*machine, 20000);
      Queue queue(*machine, t, t);
      for (std::uint32_t round = 0; round < 50; ++round) {
        from.fill(t * 1000 + round);
        const std::uint64_t dram = (t + 1) * 0x10'0000ull;
        queue.copy(from.address(), dram, 20000);
        queue.copy(dram, to.address(), 20000);
        if (queue.run(10 * kSecond) != Ran::kConditionMet) ++wrong;
        if (std::memcmp(from.data(), to.data(), 20000) != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Machine, givenDeadlinesWhenNothingHappensThenTimeJumpsToEachOfThem) {
  auto machine = power_on();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(machine->run_until([] { return true; }, 1000), Ran::kConditionMet);
  EXPECT_EQ(machine->now_ns(), 0u);
  EXPECT_EQ(machine->run_until([] { return false; }, 30 * kSecond), Ran::kIdle);
  EXPECT_EQ(machine->now_ns(), 30 * kSecond);
  EXPECT_EQ(machine->run_until([] { return false; }, 20 * kSecond), Ran::kDeadline);
  EXPECT_EQ(machine->run_until([] { return false; }, UINT64_MAX), Ran::kIdle);
  EXPECT_EQ(machine->now_ns(), 30 * kSecond);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 1.0);
}

TEST(Machine, givenAConditionWhenADeviceMakesItTrueThenTimeStopsAtThatVeryMoment) {
  auto machine = power_on();
  HostBuffer from(*machine, 65536), to(*machine, 65536);
  Queue queue(*machine, 0, 0);
  *from.as<std::uint32_t>() = 1;
  queue.copy(from.address(), to.address(), 4);
  for (int i = 0; i < 20; ++i) queue.copy(from.address(), 0x1000, 65536);
  queue.doorbell();
  ASSERT_EQ(machine->run_until([&] { return *to.as<std::uint32_t>() == 1; }, kSecond), Ran::kConditionMet);
  EXPECT_GT(machine->now_ns(), 1300u);
  EXPECT_LT(machine->now_ns(), 3000u);
}

TEST(Machine, givenAChipFileThatIsWrongWhenThePowerGoesOnThenTheFieldIsNamed) {
  Folder folder;
  const std::string good = read_text(fs::path(chips_dir()) / "inf1.json");
  struct Case {
    std::string pointer;
    nlohmann::json value;  ///< null: the field is removed
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"/dma/queue_bandwidth/value", "fast", "dma.queue_bandwidth.value"},
      {"/dma/queue_bandwidth/value", -1, "dma.queue_bandwidth.value"},
      {"/dma/queue_bandwidth/unit", "MB/s", "dma.queue_bandwidth.unit"},
      {"/dma/start_latency", nullptr, "dma.start_latency"},
      {"/core/partitions/value", 129, "core.partitions.value"},
      {"/core/instruction_fifo_bytes/value", 100, "core.instruction_fifo_bytes.value"},
      {"/engines/min_free_cycles/value", 1.5, "engines.min_free_cycles"},
      {"/engines/min_free_cycles/source", nullptr, "engines.min_free_cycles"},
      {"/instances/inf1.xlarge/chips", 17, "instances.inf1.xlarge.chips"},
      {"/dram", nullptr, "dram"},
  };
  MachineConfig settings = config();
  settings.chips_dir = folder.path.string();
  for (const Case& c : cases) {
    nlohmann::json chip = nlohmann::json::parse(good);
    const nlohmann::json::json_pointer pointer(c.pointer);
    if (c.value.is_null()) {
      chip[pointer.parent_pointer()].erase(pointer.back());
    } else {
      chip[pointer] = c.value;
    }
    std::ofstream(folder.path / "inf1.json") << chip.dump();
    const auto machine = Machine::power_on(settings);
    ASSERT_FALSE(machine.has_value()) << c.pointer;
    EXPECT_EQ(machine.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(machine.error().message.find(c.expected), std::string::npos) << machine.error().message;
  }
  std::ofstream(folder.path / "inf1.json") << good.substr(0, good.size() / 2);
  EXPECT_FALSE(Machine::power_on(settings).has_value());
  settings.chips_dir = (folder.path / "none").string();
  EXPECT_FALSE(Machine::power_on(settings).has_value());
  const auto unknown = Machine::power_on(config("inf1.3xlarge"));
  ASSERT_FALSE(unknown.has_value());
  EXPECT_NE(unknown.error().message.find("inf1.3xlarge"), std::string::npos) << unknown.error().message;
  EXPECT_NE(unknown.error().message.find("inf1.24xlarge"), std::string::npos) << unknown.error().message;
}

TEST(Machine, givenTraceAndStatsFilesWhenThePowerGoesOffThenTheyTellWhatHappened) {
  Folder folder;
  MachineConfig settings = config();
  settings.trace_file = (folder.path / "trace.json").string();
  settings.stats_file = (folder.path / "stats.json").string();
  {
    auto machine = power_on(settings);
    HostBuffer from(*machine, 8192);
    Queue queue(*machine, 5, 3);
    queue.copy(from.address(), 0x1000, 8192);
    queue.copy(0x1000, sbuf_address(1, 0), 4096);
    isa::Instruction wait, fill;
    wait.wait = {isa::WaitMode::kConsume, 2, 1};
    fill.opcode = isa::Opcode::kMemset;
    fill.counts = {1000, 1, 1, 1};
    fill.dst.steps = {1, 0, 0, 0};
    Code pool(*machine, {wait, fill}), act(*machine, {[] {
      isa::Instruction i;
      i.signal = {isa::SignalMode::kIncrement, 2, 1};
      return i;
    }()});
    pool.send(queue, 1, isa::Engine::kPool);
    act.send(queue, 1, isa::Engine::kAct);
    ASSERT_EQ(queue.run(), Ran::kConditionMet);
    EXPECT_EQ(machine->run_until([] { return false; }, 100'000), Ran::kIdle);
  }
  const auto stats = nlohmann::json::parse(read_text(settings.stats_file));
  EXPECT_EQ(stats["instance"], "inf1.xlarge");
  EXPECT_EQ(stats["simulated_ns"], 100'000);
  ASSERT_EQ(stats["cores"].size(), 1u);
  const auto& core = stats["cores"][0];
  EXPECT_EQ(core["device"], 0);
  EXPECT_EQ(core["core"], 1);
  EXPECT_EQ(core["engines"]["pool"]["instructions"], 2);
  EXPECT_EQ(core["engines"]["act"]["instructions"], 1);
  EXPECT_EQ(core["engines"]["pe"]["instructions"], 0);
  EXPECT_GE(core["engines"]["pool"]["busy_cycles"], 1000);
  EXPECT_EQ(core["engines"]["pool"]["useful_operations"], 1000);
  EXPECT_GT(core["engines"]["pool"]["stalled_semaphore_ns"], 0);
  EXPECT_EQ(core["engines"]["act"]["stalled_semaphore_ns"], 0);
  EXPECT_EQ(core["dma"]["packets"], 5);
  EXPECT_EQ(core["dma"]["descriptors"], 10);
  EXPECT_EQ(core["dma"]["host_read_bytes"], 8192 + 2 * 64 + 64 + 4);
  EXPECT_EQ(core["dma"]["host_write_bytes"], 4);
  EXPECT_EQ(core["dma"]["dram_write_bytes"], 8192);
  EXPECT_EQ(core["dma"]["dram_read_bytes"], 4096);
  EXPECT_EQ(core["dma"]["core_memory_write_bytes"], 4096);
  EXPECT_EQ(core["dma"]["instruction_bytes"], 3 * 64);
  EXPECT_LT(core["first_start_ns"], core["last_end_ns"]);

  const auto trace = nlohmann::json::parse(read_text(settings.trace_file));
  double pool_busy = 0, pool_wait = 0;
  int dma = 0;
  std::vector<std::string> names;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "M" && event["name"] == "thread_name") names.push_back(event["args"]["name"]);
    if (event["ph"] != "X") continue;
    EXPECT_EQ(event["pid"], 1);
    if (event["cat"] == "dma") ++dma;
    if (event["tid"] == 2 && event["cat"] == "busy" && event["name"] == "memset")
      pool_busy += event["dur"].get<double>();
    if (event["tid"] == 2 && event["cat"] == "wait") pool_wait += event["dur"].get<double>();
  }
  EXPECT_EQ(dma, 5);
  EXPECT_NE(std::find(names.begin(), names.end(), "pool"), names.end());
  EXPECT_NE(std::find(names.begin(), names.end(), "dma 2/3"), names.end());
  EXPECT_NEAR(pool_busy, 1000 / 0.98 / 1000, 0.1);  // us
  EXPECT_GT(pool_wait, 0.0);
}

TEST(Machine, givenATraceFileThatCannotBeWrittenWhenThePowerGoesOffThenThatIsLogged) {
  MachineConfig settings = config();
  settings.trace_file = "/nonexistent/trace.json";
  std::string logged;
  settings.log = [&](int level, const std::string& text) {
    if (level == 1) logged += text;
  };
  power_on(settings).reset();
  EXPECT_NE(logged.find("/nonexistent/trace.json"), std::string::npos) << logged;
}

TEST(Machine, givenTheFirmwaresResetHandshakeWhenTheHostPlaysItThenTheCoreIsResetAndTheDeviceReady) {
  auto machine = power_on();
  machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, 1, 0), 4);
  machine->bar_write(0, 2, semaphore(inf1::kSemaphoreSet, 2, 0), 5);
  machine->bar_write(0, 0, inf1::kMiscRam + 0x1d8, 1u << 1);
  machine->bar_write(0, 0, inf1::kMiscRam + 0x1ec, 2);
  machine->bar_write(0, 0, inf1::kMiscRam + 0x800, 1);
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + 0x1ec), 0u);
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + 0x1c), 0u) << "not ready";
  EXPECT_EQ(machine->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, 1, 0)), 0xffff'ffffu) << "in reset";
  EXPECT_EQ(machine->run_until([] { return false; }, 3 * kSecond), Ran::kIdle);
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + 0x1c), 1u << 31);
  EXPECT_EQ(machine->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, 1, 0)), 0u);
  EXPECT_EQ(machine->bar_read(0, 2, semaphore(inf1::kSemaphoreRead, 2, 0)), 5u);
  machine->bar_write(0, 0, inf1::kMiscRam + 0x24, 6);  // the driver leaves its device index here
  EXPECT_EQ(machine->bar_read(0, 0, inf1::kMiscRam + 0x24), 6u);
}

}  // namespace
}  // namespace opennrt::sim::test
