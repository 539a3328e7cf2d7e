// SPDX-License-Identifier: Apache-2.0
//
// Seeing inside: the VCD is read back by a parser of its own, the summary adds up, and real time is kept.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/chip/testbench.h"

namespace opennrt::sim {
namespace {

using isa::Engine;
using isa::Opcode;
using test::kSecond;

struct Dump {
  struct Edge {
    std::uint64_t ps;
    bool high;
  };
  std::map<std::string, std::vector<Edge>> wires;  ///< by path, "device0_core1.act.busy"
  std::string problem;

  std::uint64_t high_ps(const std::string& path) const {
    std::uint64_t sum = 0;
    const auto& edges = wires.at(path);
    for (std::size_t i = 0; i + 1 < edges.size(); ++i)
      if (edges[i].high) sum += edges[i + 1].ps - edges[i].ps;
    return sum;
  }
};

/// The part of IEEE 1364-2005, 18.2, that one-bit wires need; says what breaks it.
Dump parse_vcd(const std::string& path) {
  Dump dump;
  std::ifstream file(path);
  std::map<std::string, std::string> paths;  // by identifier
  std::vector<std::string> scopes;
  std::string word;
  bool defined = false;
  std::uint64_t now = 0;
  bool timed = false;
  const auto to_end = [&] {
    std::vector<std::string> words;
    while (file >> word && word != "$end") words.push_back(word);
    if (!file) dump.problem = "no $end";
    return words;
  };
  while (dump.problem.empty() && file >> word) {
    if (word == "$comment") {
      to_end();
    } else if (word == "$timescale") {
      if (to_end() != std::vector<std::string>{"1", "ps"}) dump.problem = "timescale";
    } else if (word == "$scope") {
      const auto words = to_end();
      if (words.size() != 2 || words[0] != "module")
        dump.problem = "scope";
      else
        scopes.push_back(words[1]);
    } else if (word == "$upscope") {
      to_end();
      if (scopes.empty())
        dump.problem = "upscope without scope";
      else
        scopes.pop_back();
    } else if (word == "$var") {
      const auto words = to_end();
      if (defined || words.size() != 4 || words[0] != "wire" || words[1] != "1") {
        dump.problem = "var";
        break;
      }
      std::string name;
      for (const std::string& scope : scopes) name += scope + ".";
      if (!paths.emplace(words[2], name + words[3]).second) dump.problem = "identifier " + words[2] + " twice";
      dump.wires[name + words[3]];
    } else if (word == "$enddefinitions") {
      to_end();
      if (!scopes.empty()) dump.problem = "scope left open";
      defined = true;
    } else if (word == "$dumpvars" || word == "$end") {
      if (!timed) dump.problem = "values without a time";
    } else if (word[0] == '#') {
      const std::uint64_t next = std::stoull(word.substr(1));
      if (timed && next <= now) dump.problem = "time goes back at " + word;
      now = next;
      timed = true;
    } else if (word[0] == '0' || word[0] == '1') {
      const auto found = paths.find(word.substr(1));
      if (!defined || !timed || found == paths.end()) {
        dump.problem = "change " + word;
        break;
      }
      auto& edges = dump.wires[found->second];
      if (!edges.empty() && edges.back().high == (word[0] == '1')) dump.problem = "no edge: " + word;
      edges.push_back({now, word[0] == '1'});
    } else {
      dump.problem = "unknown: " + word;
    }
  }
  return dump;
}

class Seeing : public testing::Test {
 protected:
  static constexpr std::uint32_t kCore = 1;

  /// Ten activations after a copy that takes a while; act waits for semaphore 5, pool for nothing.
  void run(Machine& machine) {
    isa::Instruction work;
    work.opcode = Opcode::kActivate;
    work.partitions = 128;
    work.counts = {1000, 1, 1, 1};
    work.src0.steps = work.dst.steps = {1, 0, 0, 0};
    work.dst.offset = 8192;
    std::vector<isa::Instruction> act(10, work);
    act[0].wait = {isa::WaitMode::kConsume, 5, 1};
    isa::Instruction notify;
    notify.opcode = Opcode::kNotify;
    act.push_back(notify);
    test::Code code(machine, act);
    test::Queue queue(machine, 3, 7, 64);
    test::Notifications ends(machine, kCore, inf1::NotificationType::kNotify, 1);
    code.send(queue, kCore, Engine::kAct);
    for (int i = 0; i < 4; ++i) queue.copy(inf1::kDramChannelBase[0], test::sbuf_address(kCore, 2), 65536);
    machine.bar_write(0, 4, 0, 1);
    queue.copy(0, inf1::core_base(kCore) + inf1::kSemaphoreIncrement + 4 * 5, 4);
    EXPECT_EQ(queue.run(), Ran::kConditionMet);
    EXPECT_EQ(machine.run_until([&] { return ends.available(); }, machine.now_ns() + kSecond), Ran::kConditionMet);
  }
  std::string file(const std::string& name) {
    return (std::filesystem::temp_directory_path() / ("opennrt-seeing-" + std::to_string(::getpid()) + name)).string();
  }
};

TEST_F(Seeing, givenAVcdFileWhenParsedThenItSaysWhatTheSummarySays) {
  MachineConfig settings = test::config();
  settings.vcd_file = file(".vcd");
  settings.stats_file = file(".json");
  run(*test::power_on(settings));
  const Dump dump = parse_vcd(settings.vcd_file);
  const auto stats = nlohmann::json::parse(std::ifstream(settings.stats_file));
  std::filesystem::remove(settings.vcd_file);
  std::filesystem::remove(settings.stats_file);
  ASSERT_EQ(dump.problem, "");
  std::vector<std::string> names;
  for (const auto& [name, edges] : dump.wires) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"device0_core1.act.busy", "device0_core1.act.wait",
                                             "device0_core1.dma0_q7.busy"}));
  ASSERT_EQ(stats["cores"].size(), 1u);
  const auto& act = stats["cores"][0]["engines"]["act"];
  EXPECT_EQ(dump.high_ps("device0_core1.act.busy") / 1000, act["busy_ns"].get<std::uint64_t>());
  EXPECT_EQ(dump.high_ps("device0_core1.act.wait") / 1000, act["stalled_semaphore_ns"].get<std::uint64_t>());
  // The wait is over before the first activation begins; all ten of them and the notification are one busy stretch.
  const auto& busy = dump.wires.at("device0_core1.act.busy");
  ASSERT_EQ(busy.size(), 3u);
  EXPECT_EQ(busy[1].ps, dump.wires.at("device0_core1.act.wait").back().ps);
  const auto& queues = stats["cores"][0]["dma"]["queues"];
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0]["engine"], 0);
  EXPECT_EQ(queues[0]["queue"], 7);
  EXPECT_EQ(queues[0]["packets"], 7);
  EXPECT_EQ(queues[0]["bytes"], 11 * 64 + 4 * 65536 + 4 + 4);
  EXPECT_EQ(dump.high_ps("device0_core1.dma0_q7.busy") / 1000, queues[0]["busy_ns"].get<std::uint64_t>());
}

TEST_F(Seeing, givenASummaryThenStallsNameTheirSemaphoreAndTheRoofIsTheChipFiles) {
  MachineConfig settings = test::config();
  settings.stats_file = file(".json");
  double clock = 0;
  {
    auto machine = test::power_on(settings);
    clock = machine->facts().clock_ghz;
    run(*machine);
  }
  const auto stats = nlohmann::json::parse(std::ifstream(settings.stats_file));
  std::filesystem::remove(settings.stats_file);
  const auto& core = stats["cores"][0];
  const auto& act = core["engines"]["act"];
  EXPECT_GT(act["stalled_on_semaphore_ns"]["5"], 60000) << "four copies of 64 KiB over one queue";
  EXPECT_EQ(act["stalled_on_semaphore_ns"].size(), 1u);
  EXPECT_EQ(act["stalled_on_semaphore_ns"]["5"], act["stalled_semaphore_ns"]);
  EXPECT_EQ(core["engines"]["pool"]["stalled_on_semaphore_ns"].size(), 0u);
  const auto& roof = core["roofline"];
  EXPECT_DOUBLE_EQ(roof["peak_gflops"], 128 * 64 * 2 * clock);
  EXPECT_NEAR(roof["dram_gigabytes_per_second"].get<double>(), 3 * 16.384, 1e-6)
      << "three DMA engines: less than two channels";
  EXPECT_EQ(roof["dram_bytes"], 4 * 65536 + 4);
  EXPECT_EQ(roof["operations"], 0) << "no matrix product";
  EXPECT_EQ(roof["attainable_gflops"], 0);
  EXPECT_EQ(roof["bound"], "memory");
}

TEST_F(Seeing, givenAFileThatCannotBeWrittenThenTheLogSaysIt) {
  MachineConfig settings = test::config();
  settings.vcd_file = "/nonexistent/folder/x.vcd";
  std::string log;
  settings.log = [&](int level, const std::string& text) {
    if (level <= 1) log += text;
  };
  run(*test::power_on(settings));
  EXPECT_NE(log.find("cannot write the VCD file /nonexistent/folder/x.vcd: No such file or directory"),
            std::string::npos)
      << log;
}

TEST_F(Seeing, givenRealTimeWhenSimulatedThenTheWallClockIsNeverAhead) {
  MachineConfig settings = test::config();
  std::uint64_t plain_ns = 0, paced_ns = 0;
  {
    auto machine = test::power_on(settings);
    run(*machine);
    plain_ns = machine->now_ns();
  }
  settings.realtime = 1000;  // slow motion: about 80 us of the chip
  auto machine = test::power_on(settings);
  const auto begin = std::chrono::steady_clock::now();
  run(*machine);
  const auto wall = std::chrono::steady_clock::now() - begin;
  paced_ns = machine->now_ns();
  EXPECT_EQ(paced_ns, plain_ns) << "pacing changes nothing on the chip";
  EXPECT_GE(std::chrono::duration_cast<std::chrono::nanoseconds>(wall).count(),
            static_cast<std::int64_t>(1000 * paced_ns));
  std::printf("  %.3f ms simulated took %.3f ms\n", static_cast<double>(paced_ns) * 1e-6,
              std::chrono::duration<double, std::milli>(wall).count());
}

}  // namespace
}  // namespace opennrt::sim
