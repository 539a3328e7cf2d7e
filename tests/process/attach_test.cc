// SPDX-License-Identifier: Apache-2.0
//
// The driver attaches 16 processes to a device, and closing one takes it a second (aws-neuron-driver neuron_pid.c,
// v1/neuron_dhal_v1.c): a process attaches to the devices of its own cores, and to no others (requirements B6, B8). Runs behind an
// emulated driver: 16 devices, 64 cores.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>

#include <algorithm>
#include <sstream>
#include <tuple>

#include "tests/process/client.h"
#include "tests/process/ioctl_client.h"
#include "tests/unit/tools/process.h"

namespace process_test {
namespace {

namespace abi = opennrt::neuron::abi;
using opennrt::test::Node;
using opennrt::test::Outcome;
using opennrt::test::read_text;
using opennrt::test::run_program;
using opennrt::test::TemporaryFolder;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kDevices = 16;

/// The devices that the driver has this process on its list of.
std::vector<int> attached(pid_t pid) {
  std::vector<int> devices;
  for (int device = 0; device < kDevices; ++device) {
    struct {
      abi::GetAppsInfo header{};
      abi::AppInfo processes[abi::kMaxProcessesPerDevice]{};
    } list;
    list.header.capacity = abi::kMaxProcessesPerDevice;
    EXPECT_EQ(Node(device).ask(abi::kDeviceGetAllAppsInfo, list), 0) << device;
    const auto end = list.processes + list.header.size;
    if (std::any_of(list.processes, end, [pid](const abi::AppInfo& process) { return process.pid == pid; }))
      devices.push_back(device);
  }
  return devices;
}

struct Attached : testing::Test {
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  const std::string tool = build + "/bin/opennrt", client = build + "/tests/process_client";
  TemporaryFolder folder;

  struct Recorded {
    Outcome outcome;
    std::vector<std::string> lines;
    /// Places of the lines that have `text` in them.
    std::vector<std::size_t> places(const std::string& text) const {
      std::vector<std::size_t> found;
      for (std::size_t i = 0; i < lines.size(); ++i)
        if (lines[i].find(text) != std::string::npos) found.push_back(i);
      return found;
    }
    /// The devices that it attached to, in order.
    std::vector<std::string> attached() const {
      std::vector<std::string> devices;
      for (const std::string& line : lines) {
        if (line.find(" open device=") == std::string::npos || line.find("O_WRONLY") != std::string::npos) continue;
        const std::size_t at = line.find('=') + 1;
        devices.push_back(line.substr(at, line.find(' ', at) - at));
      }
      return devices;
    }
  };
  Recorded record(const std::string& what, const Variables& variables) {
    const std::string file = (folder / "transcript").string();
    const std::string script = R"(exec "$0" ioctl record -o "$1" -- "$2" "$3" < /dev/null)";
    Recorded recorded{run_program({"/bin/sh", "-c", script, tool, file, client, what}, variables), {}};
    std::istringstream text(read_text(file));
    for (std::string line; std::getline(text, line);) recorded.lines.push_back(line);
    return recorded;
  }
};

TEST_F(Attached, givenMoreProcessesThanADeviceTakesWhenEachHasItsOwnCoreThenAllOfThemRun) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i)
    clients.push_back(std::make_unique<Client>(Arguments{"hold"}, Variables{{"NEURON_RT_NUM_CORES", "1"}}));
  for (const auto& process : clients) EXPECT_EQ(process->line(), "0 1");
  for (const auto& process : clients) EXPECT_EQ(attached(process->pid()).size(), 1u);
}

TEST_F(Attached, givenCoresOfSomeDevicesWhenOpenThenTheDriverHasTheProcessOnTheirListsOnly) {
  Client process({"hold"}, {{"NEURON_RT_VISIBLE_CORES", "7-9"}});
  ASSERT_EQ(process.line(), "0 3");
  EXPECT_THAT(attached(process.pid()), ElementsAre(1, 2));
}

TEST_F(Attached, givenCoresOfOneDeviceWhenRecordedThenNoOtherIsOpened) {
  const Recorded recorded = record("hold", {{"NEURON_RT_VISIBLE_CORES", "63"}});
  ASSERT_EQ(recorded.outcome.exit, 0) << recorded.outcome.err;
  EXPECT_THAT(recorded.attached(), ElementsAre("15"));
  const auto marked = recorded.places("CRWL_NC_RANGE_MARK"), opened = recorded.places("device=15 flags=O_RDWR");
  ASSERT_EQ(marked.size(), 1u);
  EXPECT_LT(marked[0], opened.at(0)) << "cores first";
}

TEST_F(Attached, givenQuestionsBeforeTheRuntimeIsOpenThenNoDeviceIs) {
  const Recorded recorded = record("facts", {{"NEURON_RT_NUM_CORES", "2"}});
  EXPECT_EQ(recorded.outcome.out, fmt::format("64 2 {} {} NDv1\n", static_cast<int>(NRT_INSTANCE_INF1),
                                              static_cast<int>(NRT_INSTANCE_SIZE_24XL)));
  EXPECT_THAT(recorded.attached(), IsEmpty());
}

// Only then, for the names of the holders, does it look at their devices.
TEST_F(Attached, givenCoresOfAnotherProcessWhenRefusedThenNoDeviceWasAttachedTo) {
  Client holder({"hold"}, {{"NEURON_RT_VISIBLE_CORES", "4-11"}});
  ASSERT_EQ(holder.line(), "0 8");
  const Recorded refused = record("hold", {{"NEURON_RT_VISIBLE_CORES", "6-8"}});
  EXPECT_EQ(refused.outcome.exit, NRT_RESOURCE);
  EXPECT_THAT(refused.outcome.err, AllOf(HasSubstr("Requested:nc6-nc8 Available:0"),
                                         HasSubstr(fmt::format("held: nc6,nc7,nc8 by pid {} (", holder.pid()))));
  const auto opened = refused.places("flags=O_RDWR");
  EXPECT_THAT(refused.attached(), ElementsAre("1", "2"));
  EXPECT_GT(opened.at(0), refused.places("CRWL_NC_RANGE_MARK").back());
  EXPECT_TRUE(refused.places("NC_RESET").empty());
}

TEST_F(Attached, givenADriverThatIsNewerThanAllThatWereCheckedWhenOpenedThenOneWarningSaysSo) {
  using Case = std::tuple<const char*, bool>;
  for (const auto& [version, newer] : {Case{"2.24", false}, Case{"2.25", true}, Case{"3.0", true}}) {
    const Outcome opened = run_program({tool, "emulate", "--driver", version, "--", client, "counts_before_init"},
                                       {{"NEURON_RT_LOG_LEVEL", "WARN"}});
    EXPECT_EQ(opened.exit, 0) << version << "\n" << opened.err;
    const std::string warning = fmt::format(
        "Neuron Driver {} is newer than the newest that this runtime was checked with, 2.24. It is used, because it "
        "says "
        "that it serves runtimes with compatibility ids 2 to 7\n",
        version);
    const std::size_t found = opened.err.find(warning);
    EXPECT_EQ(found != std::string::npos, newer) << version << "\n" << opened.err;
    EXPECT_EQ(opened.err.rfind("newer than"), opened.err.find("newer than")) << "once";
  }
}

}  // namespace
}  // namespace process_test
