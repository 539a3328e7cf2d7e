// SPDX-License-Identifier: Apache-2.0
//
// `opennrt ioctl`: a program's conversation with the emulated device is recorded, and replayed without it (docs/ioctl-recording.md).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "tests/process/running.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/unit/tools/process.h"

namespace process_test {
namespace {

using opennrt::test::Outcome;
using opennrt::test::read_text;
using opennrt::test::run_program;
using Words = std::vector<std::string>;

struct Recording : testing::Test {
  opennrt::test::TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  const std::string tool = build + "/bin/opennrt", client = build + "/tests/record_client";
  std::map<std::string, std::string> environment{{"OPENNRT_RUNTIME_DIR", folder.path().string()}};

  Outcome run(Words words) { return run_program(words, environment); }
  std::string file(const std::string& name) const { return (folder / name).string(); }
  /// Records a command against an emulated device.
  Outcome record(const std::string& name, const Words& command, bool payload = false) {
    Words words{tool, "emulate", "--", tool, "ioctl", "record", "-o", file(name)};
    if (payload) words.emplace_back("--payload");
    words.emplace_back("--");
    words.insert(words.end(), command.begin(), command.end());
    return run(words);
  }
  Outcome replay(const std::string& name, const Words& command) {
    Words words{tool, "ioctl", "replay", file(name), "--"};
    words.insert(words.end(), command.begin(), command.end());
    return run(words);
  }
};

TEST_F(Recording, givenARecordedProgramThenItIsReplayedWithoutADeviceWithTheSameResults) {
  const Outcome then = record("t", {client}, true);
  ASSERT_EQ(then.exit, 0) << then.err;
  EXPECT_NE(then.out.find("driver 2.24.7.0\nopen: ok\nalloc: ok\ninfo: ok\n4096 bytes of mine\n"), std::string::npos)
      << then.out;
  EXPECT_EQ(then.err, "data SECRET-TENSOR\n");
  const Outcome now = replay("t", {client});
  EXPECT_EQ(now.exit, 0);
  EXPECT_EQ(now.out, then.out);
  EXPECT_EQ(now.err, then.err);
}

// The runtime itself: set up, load, execute, read results, close; with the waits for notifications in between.
TEST_F(Recording, givenOurRuntimeThenAnInferenceIsReplayedWithTheSameOutput) {
  const auto bytes = opennrt::test::NeffBuilder::of(opennrt::test::copy_program(4, 16).graph).build();
  opennrt::test::write_text(folder / "copy.neff", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  environment["OPENNRT_BACKEND"] = "neuron";
  const auto inference = [&](const std::string& output) {
    return Words{tool, "run", file("copy.neff"), "--zero-inputs", "-d", file(output)};
  };
  for (const std::string& name : {std::string("one"), std::string("two")}) {
    const Outcome recorded = record(name, inference(name + "-out"), true);
    ASSERT_EQ(recorded.exit, 0) << recorded.err;
  }
  EXPECT_EQ(read_text(file("one")), read_text(file("two")));
  const Outcome replayed = replay("one", inference("replayed-out"));
  ASSERT_EQ(replayed.exit, 0) << replayed.err;
  EXPECT_EQ(replayed.err.find("opennrt ioctl replay"), std::string::npos) << replayed.err;
  int outputs = 0;
  for (const auto& output : std::filesystem::directory_iterator(folder / "one-out")) {
    EXPECT_EQ(read_text(output.path()), read_text(folder / "replayed-out" / output.path().filename().string()));
    ++outputs;
  }
  EXPECT_GT(outputs, 0);
}

TEST_F(Recording, givenTwoRecordingsOfOneProgramThenTheyAreTheSameBytes) {
  ASSERT_EQ(record("one", {client}).exit, 0);
  ASSERT_EQ(record("two", {client}).exit, 0);
  EXPECT_EQ(read_text(file("one")), read_text(file("two")));
  EXPECT_NE(read_text(file("one")).find("1.1 again 9\n"), std::string::npos) << "polls are folded";
}

TEST_F(Recording, givenNoPayloadIsAskedForThenNothingOfTheUsersIsInTheTranscript) {
  ASSERT_EQ(record("t", {client}).exit, 0);
  const std::string text = read_text(file("t"));
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  // As text and as hexadecimal digits.
  for (const std::string& secret : {std::string("SECRET"), std::string("534543524554"), std::string(host.data()),
                                    std::string("record_client"), folder.path().string()})
    EXPECT_EQ(text.find(secret), std::string::npos) << secret << " in\n" << text;
  EXPECT_NE(text.find("buffer=<64 bytes>"), std::string::npos);
  EXPECT_NE(text.find("uuid=<32 bytes>"), std::string::npos);
}

TEST_F(Recording, givenAChangedProgramThenTheFirstDifferenceIsNamed) {
  ASSERT_EQ(record("t", {client}).exit, 0);
  const Outcome changed = replay("t", {client, "changed"});
  EXPECT_NE(changed.out.find("alloc: EIO\n"), std::string::npos) << changed.out;
  EXPECT_NE(changed.err.find("opennrt ioctl replay: " + file("t") +
                             ":8: expected 'ioctl fd1 MEM_ALLOC_V2 size=4096 align=0 host_memory=0 dram_channel=0 "
                             "dram_region=0 nc_id=0', the program did 'ioctl fd1 MEM_ALLOC_V2 size=8192 "),
            std::string::npos)
      << changed.err;
}

TEST_F(Recording, givenATranscriptThenItsCallsAreCounted) {
  ASSERT_EQ(record("t", {client}).exit, 0);
  const Outcome shown = run({tool, "ioctl", "show", file("t")});
  EXPECT_EQ(shown.exit, 0) << shown.err;
  EXPECT_NE(shown.out.find("driver 2.24.7.0, payload left out\nprocess 1, 1 thread\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("  SEMAPHORE_READ                             10\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("  MEM_FREE                                    2  1 failed: EINVAL\n"), std::string::npos)
      << shown.out;
}

TEST_F(Recording, givenABrokenTranscriptThenLineAndColumnAreNamedAndNothingIsRun) {
  opennrt::test::write_text(folder / "t", "opennrt-ioctl-transcript 1\ndriver \"\"\npayload no\n1.1 ioctl fd1\n");
  for (const Words& words :
       {Words{tool, "ioctl", "show", file("t")}, Words{tool, "ioctl", "replay", file("t"), "--", "/bin/echo", "ran"}}) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err, "opennrt: error: " + file("t") +
                               ":4:14: expected ioctl fd<n> NAME fields -> result fields, found 'end of the words'\n");
  }
}

TEST_F(Recording, givenACommandThenItsExitStatusIsTheTools) {
  const Outcome outcome = run({tool, "ioctl", "record", "-o", file("t"), "--", "/bin/sh", "-c", "exit 7"});
  EXPECT_EQ(outcome.exit, 7);
  EXPECT_EQ(run({tool, "ioctl", "record", "-o", file("t"), "--", "/bin/sh", "-c", "kill -9 $$"}).exit, 137);
  const Outcome missing = run({tool, "ioctl", "record", "-o", file("t"), "--", "/nowhere"});
  EXPECT_EQ(missing.exit, 1);
  EXPECT_EQ(missing.err, "opennrt: error: cannot start /nowhere: No such file or directory\n");
  EXPECT_EQ(run({tool, "ioctl", "record", "-o", "/nowhere/t", "--", "/bin/true"}).err,
            "opennrt: error: cannot write /nowhere/t: No such file or directory\n");
}

TEST_F(Recording, givenAFileThatOthersCouldReadThenTheTranscriptIsItsOwnersOnly) {
  opennrt::test::write_text(folder / "t", "earlier contents");
  ASSERT_EQ(::chmod(file("t").c_str(), 0644), 0);
  ASSERT_EQ(record("t", {client}, true).exit, 0);
  struct stat status {};
  ASSERT_EQ(::stat(file("t").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(read_text(file("t")).find("earlier"), std::string::npos);
}

TEST_F(Recording, givenASignalThenItIsTheCommands) {
  opennrt::test::write_text(folder / "nothing", "opennrt-ioctl-transcript 1\ndriver \"\"\npayload no\n");
  const std::string script =
      "trap 'echo told; exit 5' TERM HUP INT USR1 USR2; echo ready; while :; do sleep 0.01; done";
  for (const Words& how :
       {Words{tool, "ioctl", "record", "-o", file("t")}, Words{tool, "ioctl", "replay", file("nothing")}}) {
    for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2}) {
      Words words = how;
      for (const std::string& word : {std::string("--"), std::string("/bin/sh"), std::string("-c"), script})
        words.push_back(word);
      opennrt::test::Running running(words);
      EXPECT_EQ(running.line(), "ready");
      EXPECT_EQ(::kill(running.pid(), signal), 0);
      EXPECT_EQ(running.line(), "told");
      EXPECT_EQ(running.wait(), 5);
    }
  }
}

}  // namespace
}  // namespace process_test
