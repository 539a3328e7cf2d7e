// SPDX-License-Identifier: Apache-2.0
//
// Section B of the requirements (and D5) among processes, through the public C API, on an inf1.6xlarge, simulated or (with
// OPENNRT_BACKEND=neuron) behind an emulated driver: 4 devices, 16 cores.
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/process/client.h"
#include "tests/process/helpers.h"
#include "tests/unit/tools/process.h"

namespace process_test {
namespace {

using opennrt::test::TemporaryFolder;

constexpr const char* kLine = "ERROR   NRT:nrt_allocate_neuron_cores               ";

struct Ownership : testing::Test {
  TemporaryFolder runtime;
  Variables with(Variables more) const {
    const char* backend = std::getenv("OPENNRT_BACKEND");
    more.insert({{"OPENNRT_BACKEND", backend != nullptr ? backend : "sim"},
                 {"OPENNRT_SIM_INSTANCE", "inf1.6xlarge"},
                 {"OPENNRT_RUNTIME_DIR", runtime.path().string()}});
    return more;
  }
  Ended run(const char* what, const Variables& more) const {
    Client client({what}, with(more));
    return client.end();
  }
};

// The two examples of the SDK's archive/appnotes/neuron1x/introducing-libnrt.rst.
TEST_F(Ownership, givenTheMigrationDocumentsVisibleCoresWhenBothRunThenEachHasItsOwn) {
  Client first({"hold"}, with({{"NEURON_RT_VISIBLE_CORES", "0-3"}}));
  Client second({"hold"}, with({{"NEURON_RT_VISIBLE_CORES", "4-11"}}));
  EXPECT_EQ(first.line(), "0 4");
  EXPECT_EQ(second.line(), "0 8");
  EXPECT_EQ(first.end().err, "");
  EXPECT_EQ(second.end().err, "");
}

TEST_F(Ownership, givenTheMigrationDocumentsNumberOfCoresWhenBothRunThenEachHasItsOwn) {
  Client first({"hold"}, with({{"NEURON_RT_NUM_CORES", "3"}}));
  Client second({"hold"}, with({{"NEURON_RT_NUM_CORES", "4"}}));
  EXPECT_EQ(first.line(), "0 3");
  EXPECT_EQ(second.line(), "0 4");
  EXPECT_TRUE(first.end().exited(0));
  EXPECT_TRUE(second.end().exited(0));
}

// B6: 16 cores are five times three, and one.
TEST_F(Ownership, givenFiveProcessesOfThreeCoresWhenASixthComesThenTheDocumentedLineNamesAllHolders) {
  std::vector<std::unique_ptr<Client>> five;
  for (int i = 0; i < 5; ++i) {
    five.push_back(std::make_unique<Client>(Arguments{"hold"}, with({{"NEURON_RT_NUM_CORES", "3"}})));
    EXPECT_EQ(five.back()->line(), "0 3");
  }
  const Ended sixth = run("hold", {{"NEURON_RT_NUM_CORES", "3"}});
  EXPECT_TRUE(sixth.exited(NRT_RESOURCE)) << sixth.status;
  EXPECT_NE(sixth.err.find(std::string(kLine) + "NeuronCore(s) not available - Requested:3 Available:1 - held: "),
            std::string::npos)
      << sixth.err;
  for (int i = 0; i < 5; ++i) {
    const std::string held = fmt::format("nc{},nc{},nc{} by pid {} (", 3 * i, 3 * i + 1, 3 * i + 2,
                                         five[static_cast<std::size_t>(i)]->pid());
    EXPECT_NE(sixth.err.find(held), std::string::npos) << held << "\n" << sixth.err;
  }
  EXPECT_NE(sixth.err.find("client hold)"), std::string::npos) << sixth.err;
  // Three cores in a row are free again the moment their process is dead, and no others.
  five[2]->kill(SIGKILL);
  const Ended next = run("hold", {{"NEURON_RT_NUM_CORES", "3"}, {"NEURON_RT_LOG_LEVEL", "INFO"}});
  EXPECT_TRUE(next.exited(0)) << next.err;
  EXPECT_NE(next.err.find("Visible cores: 6, 7, 8\n"), std::string::npos) << next.err;
}

// The driver gives a process consecutive cores or none (aws-neuron-driver neuron_crwl.c, ncrwl_nc_range_mark).
TEST_F(Ownership, givenFreeCoresThatAreNotInARowWhenAskedForThenTheyAreNotEnough) {
  Client middle({"hold"}, with({{"NEURON_RT_VISIBLE_CORES", "6-9"}}));
  ASSERT_EQ(middle.line(), "0 4");
  const Ended seven = run("hold", {{"NEURON_RT_NUM_CORES", "7"}});
  EXPECT_TRUE(seven.exited(NRT_RESOURCE));
  EXPECT_NE(seven.err.find("Requested:7 Available:6"), std::string::npos) << seven.err;
  EXPECT_TRUE(run("hold", {{"NEURON_RT_NUM_CORES", "6"}}).exited(0));
}

TEST_F(Ownership, givenEachFormOfTheVariablesWhenOpenedThenExactlyThoseCoresAreTheProcesss) {  // B1 to B5
  const std::string all = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15";
  const std::pair<Variables, std::string> cases[] = {
      {{{"NEURON_RT_VISIBLE_CORES", "3"}}, "3"},
      {{{"NEURON_RT_VISIBLE_CORES", "0-3"}}, "0, 1, 2, 3"},
      {{{"NEURON_RT_VISIBLE_CORES", "3,4,5"}}, "3, 4, 5"},
      {{{"NEURON_RT_VISIBLE_CORES", "3-5,6"}}, "3, 4, 5, 6"},
      {{{"NEURON_RT_NUM_CORES", "5"}}, "0, 1, 2, 3, 4"},
      {{{"NEURON_RT_VISIBLE_CORES", "14-15"}, {"NEURON_RT_NUM_CORES", "5"}}, "14, 15"},
      {{{"NEURON_RT_NUM_CORES", "0"}}, all},
      {{{"NEURON_RT_VISIBLE_CORES", ""}, {"NEURON_RT_NUM_CORES", ""}}, all},
      {{}, all}};
  for (auto [variables, cores] : cases) {
    variables["NEURON_RT_LOG_LEVEL"] = "INFO";
    const Ended ended = run("hold", variables);
    EXPECT_TRUE(ended.exited(0)) << ended.err;
    EXPECT_NE(ended.err.find("Visible cores: " + cores + "\n"), std::string::npos) << cores << "\n" << ended.err;
  }
  for (const char* wrong : {"1,3", "3-1", "2,1", "a", "1-", "-1", "1,,2", "1,1"}) {
    const Ended ended = run("hold", {{"NEURON_RT_VISIBLE_CORES", wrong}});
    EXPECT_TRUE(ended.exited(NRT_INVALID)) << wrong;
    EXPECT_NE(ended.err.find("NEURON_RT_VISIBLE_CORES is \"" + std::string(wrong) + "\""), std::string::npos)
        << ended.err;
  }
}

TEST_F(Ownership, givenGroupSizesWhenOpenedThenTheRulesOfEachFrameworkApply) {  // B7
  struct Case {
    const char *framework, *groups, *visible;
    int status;
  };
  for (const Case& c : {Case{"hold", "1,1", nullptr, 0},
                        {"hold", "2x2", "0-3", 0},
                        {"hold", "1,2", "0-3", 0},
                        {"hold", "2,2,1", "0-3", NRT_INVALID},
                        {"as_mxnet", "2,2", nullptr, 0},
                        {"as_mxnet", "1", "0-3", NRT_INVALID}}) {
    Variables variables{{"NEURONCORE_GROUP_SIZES", c.groups}, {"NEURON_RT_LOG_LEVEL", "WARN"}};
    if (c.visible != nullptr) variables["NEURON_RT_VISIBLE_CORES"] = c.visible;
    const Ended ended = run(c.framework, variables);
    EXPECT_TRUE(ended.exited(c.status)) << c.framework << " " << c.groups << "\n" << ended.err;
    if (c.status == 0) {
      EXPECT_NE(ended.err.find("NEURONCORE_GROUP_SIZES is deprecated, use NEURON_RT_VISIBLE_CORES"), std::string::npos)
          << ended.err;
    } else {
      EXPECT_NE(ended.err.find("NEURONCORE_GROUP_SIZES is \"" + std::string(c.groups) + "\""), std::string::npos)
          << ended.err;
    }
  }
}

TEST_F(Ownership, givenAContainerWithSomeDevicesWhenOpenedThenThoseAreTheMachineAndAGapIsRefused) {  // B5, B10
  const Ended gap = run("hold", {{"OPENNRT_SIM_DEVICES", "0,2"}});
  EXPECT_TRUE(gap.exited(NRT_INVALID)) << gap.status;
  EXPECT_NE(gap.err.find(std::string(kLine) + "Neuron cores are not contiguous"), std::string::npos) << gap.err;
  Client container({"hold"}, with({{"OPENNRT_SIM_DEVICES", "2,3"}, {"NEURON_RT_LOG_LEVEL", "INFO"}}));
  EXPECT_EQ(container.line(), "0 8");
  const Ended beyond = run("hold", {{"OPENNRT_SIM_DEVICES", "1"}, {"NEURON_RT_VISIBLE_CORES", "4"}});
  EXPECT_TRUE(beyond.exited(NRT_INVALID));
  EXPECT_NE(beyond.err.find("expected cores of this instance, nc0-nc3"), std::string::npos) << beyond.err;
  EXPECT_TRUE(run("hold", {{"OPENNRT_SIM_DEVICES", "0,1"}}).exited(0)) << "other devices are free";
  const Ended same = run("hold", {{"OPENNRT_SIM_DEVICES", "3"}});
  EXPECT_TRUE(same.exited(NRT_RESOURCE));
  EXPECT_NE(same.err.find("Requested:nc0-nc3 Available:0"), std::string::npos) << same.err;
  EXPECT_NE(container.end().err.find("Visible cores: 8, 9, 10, 11, 12, 13, 14, 15\n"), std::string::npos);
}

TEST_F(Ownership, givenMoreProcessesThanCoresWhenTheyRaceThenExactlyAsManyWinAsThereAreCores) {  // B8
  const std::tuple<const char*, int, int> cases[] = {{"1", 24, 16}, {"3", 12, 5}, {"8", 6, 2}};
  for (const auto& [cores, processes, expected] : cases) {
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < processes; ++i)
      clients.push_back(std::make_unique<Client>(Arguments{"hold"}, with({{"NEURON_RT_NUM_CORES", cores}})));
    int winners = 0;
    for (const auto& client : clients) {
      const std::string line = client->line();
      if (line == "0 " + std::string(cores)) {
        ++winners;
      } else {
        EXPECT_EQ(line, std::to_string(NRT_RESOURCE) + " 0");
      }
    }
    EXPECT_EQ(winners, expected) << cores << " each";
  }
}

TEST_F(Ownership, givenProcessesOnDisjointCoresWhenTheyStartAtOnceThenAllOfThemRun) {  // B8
  std::vector<std::unique_ptr<Client>> clients;
  for (int core = 0; core < 16; ++core) {
    clients.push_back(
        std::make_unique<Client>(Arguments{"hold"}, with({{"NEURON_RT_VISIBLE_CORES", std::to_string(core)}})));
  }
  for (const auto& client : clients) EXPECT_EQ(client->line(), "0 1");
}

// B8: no lock is held while a process starts: one that is stopped anywhere in nrt_init holds up nobody else.
TEST_F(Ownership, givenAProcessThatIsStoppedInInitWhenOthersStartThenTheyGetTheirCores) {
  for (int round = 0; round < 12; ++round) {
    Client stopped({"hold"}, with({{"NEURON_RT_NUM_CORES", "4"}}));
    std::this_thread::sleep_for(std::chrono::milliseconds(2 * round));
    stopped.kill(SIGSTOP);
    EXPECT_TRUE(run("hold", {{"NEURON_RT_VISIBLE_CORES", "4-15"}}).exited(0)) << round;
    EXPECT_TRUE(run("hold", {{"NEURON_RT_NUM_CORES", "12"}}).exited(0)) << round;
    stopped.kill(SIGCONT);
    EXPECT_EQ(stopped.line(), "0 4") << round;
  }
}

TEST_F(Ownership, givenEveryWayToEndWhenAProcessIsGoneThenItsCoresAreFreeAtOnce) {  // A3
  for (const int signal : {SIGKILL, SIGSEGV, SIGABRT, SIGTERM}) {
    Client client({"hold"}, with({}));
    ASSERT_EQ(client.line(), "0 16");
    client.kill(signal);
    const Ended next = run("hold", {});
    EXPECT_TRUE(next.exited(0)) << signal << "\n" << next.err;
  }
}

TEST_F(Ownership, givenAnUnsafeRuntimeFolderWhenOpenedThenItIsRefusedByItsPath) {
  TemporaryFolder elsewhere;
  const std::filesystem::path link = elsewhere / "link";
  std::filesystem::create_directory_symlink(runtime.path(), link);
  const Ended linked = run("hold", {{"OPENNRT_RUNTIME_DIR", link.string()}});
  EXPECT_TRUE(linked.exited(NRT_FAILURE)) << linked.status;
  EXPECT_NE(linked.err.find("runtime folder " + link.string() + " is a symbolic link"), std::string::npos)
      << linked.err;
  ASSERT_EQ(::chmod(elsewhere.path().c_str(), 0777), 0);
  const Ended open = run("hold", {{"OPENNRT_RUNTIME_DIR", elsewhere.path().string()}});
  EXPECT_TRUE(open.exited(NRT_FAILURE));
  EXPECT_NE(open.err.find("has mode 777, expected it not to be writable for others"), std::string::npos) << open.err;
}

/// A process that is called neuron-rtd, as the daemon of Neuron Runtime 1.x is, until it is killed.
pid_t fake_runtime_1() {
  int ready[2];
  EXPECT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "neuron-rtd");
    (void)!write(ready[1], "x", 1);
    for (;;) pause();
  }
  char byte = 0;
  EXPECT_EQ(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(ready[1]);
  return pid;
}

TEST_F(Ownership, givenARunningRuntime1WhenTheDevicesAreRealThenOneWarningSaysSo) {  // D5
  // Its devices have a clock of their own, as silicon has.
  const std::string real = std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/tests/libtest_backend_scripted.so";
  const std::string warning = "neuron-rtd (Neuron Runtime 1.x) is running as pid ";
  const Ended without = run("hold", {{"OPENNRT_BACKEND", real}});
  EXPECT_TRUE(without.exited(0)) << without.err;
  const bool one_runs_here = without.err.find(warning) != std::string::npos;
  const pid_t daemon = fake_runtime_1();
  const Ended with_it = run("hold", {{"OPENNRT_BACKEND", real}});
  const Ended simulated = run("hold", {});
  ::kill(daemon, SIGKILL);
  waitpid(daemon, nullptr, 0);
  const Ended after = run("hold", {{"OPENNRT_BACKEND", real}});
  EXPECT_TRUE(with_it.exited(0)) << "a warning, no refusal";
  const std::size_t found = with_it.err.find(" WARN   NRT:nrt_init ");
  ASSERT_NE(found, std::string::npos) << with_it.err;
  EXPECT_NE(with_it.err.find(warning), std::string::npos) << with_it.err;
  EXPECT_NE(with_it.err.find(std::to_string(daemon)), std::string::npos) << with_it.err;
  EXPECT_EQ(with_it.err.find(" WARN ", found + 1), std::string::npos) << "once";
  EXPECT_EQ(simulated.err, "") << "it has no hold on simulated devices";
  EXPECT_EQ(after.err.find(warning) != std::string::npos, one_runs_here);
}

}  // namespace
}  // namespace process_test
