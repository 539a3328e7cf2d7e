// SPDX-License-Identifier: Apache-2.0
// Requirements C2, C3, D4: what a process that loads the library prints and sends to syslog(3), each case in a process of its own.
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/process/helpers.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace {
std::mutex syslog_mutex;
std::vector<std::pair<int, std::string>> syslog_lines;
}  // namespace

// libnrt.so.1 must use the C library's syslog(3): this one stands in for it in this program.
extern "C" __attribute__((visibility("default"))) void syslog(int priority, const char* format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  const std::lock_guard lock(syslog_mutex);
  syslog_lines.emplace_back(priority, text);
}

/// See forked_child.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace {

using process_test::Ended;
using process_test::in_child;

/// How many lines of syslog have the text, at this priority.
long sent(int priority, const std::string& text) {
  return std::count_if(syslog_lines.begin(), syslog_lines.end(), [&](const auto& line) {
    return line.first == (LOG_USER | priority) && line.second.find(text) != std::string::npos;
  });
}

/// Opens, runs a model on the simulated device, closes; nothing in it fails.
bool whole_flow() {
  const auto neff = opennrt::test::NeffBuilder::of(opennrt::test::copy_program(4, 16).graph).build();
  constexpr std::size_t kBytes = 4 * 16 * sizeof(float);
  bool good = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS;
  nrt_model_t* model = nullptr;
  good = good && nrt_load(neff.data(), neff.size(), 0, 1, &model) == NRT_SUCCESS;
  nrt_tensor_set_t *inputs = nullptr, *outputs = nullptr;
  nrt_tensor_t *in = nullptr, *out = nullptr;
  good = good && nrt_allocate_tensor_set(&inputs) == NRT_SUCCESS && nrt_allocate_tensor_set(&outputs) == NRT_SUCCESS;
  good = good && nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, kBytes, "in", &in) == NRT_SUCCESS;
  good = good && nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, kBytes, "out", &out) == NRT_SUCCESS;
  good = good && nrt_add_tensor_to_tensor_set(inputs, "in", in) == NRT_SUCCESS;
  good = good && nrt_add_tensor_to_tensor_set(outputs, "out", out) == NRT_SUCCESS;
  good = good && nrt_execute(model, inputs, outputs) == NRT_SUCCESS;
  nrt_tensor_free(&in);
  nrt_tensor_free(&out);
  nrt_destroy_tensor_set(&inputs);
  nrt_destroy_tensor_set(&outputs);
  good = good && nrt_unload(model) == NRT_SUCCESS;
  nrt_close();
  return good;
}

struct Console : testing::Test {
  void SetUp() override {
    for (const char* name : {"NEURON_RT_LOG_LEVEL", "NEURON_RT_LOG_LOCATION"}) unsetenv(name);
    setenv("OPENNRT_BACKEND", "sim", 1);
  }
};

TEST_F(Console, givenNothingAskedForWhenAModelRunsThenNotOneByteIsPrinted) {
  const Ended ended = in_child([] { return whole_flow() ? 0 : 1; });
  EXPECT_TRUE(ended.exited(0)) << ended.err;
  EXPECT_EQ(ended.err, "");
  EXPECT_EQ(ended.out, "");
}

TEST_F(Console, givenNoBackendChosenWhenTheSimulatorStandsInThenOneWarningIsAllThatIsPrinted) {
  if (std::filesystem::exists("/dev/neuron0")) GTEST_SKIP() << "this machine has a Neuron Device";
  unsetenv("OPENNRT_BACKEND");
  const Ended ended = in_child([] {
    bool good = whole_flow();
    good = whole_flow() && good;  // said once per process
    return good ? 0 : 1;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.err;
  EXPECT_EQ(fnmatch("20[0-9][0-9]-* WARN   NRT:nrt_init *OPENNRT_BACKEND=sim*\n", ended.err.c_str(), 0), 0)
      << ended.err;
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_EQ(ended.out, "");
}

TEST_F(Console, givenAnErrorWhenItHappensThenItIsOneLineOnStderrAndOneInSyslog) {
  const Ended ended = in_child([] {
    if (nrt_init(static_cast<nrt_framework_type_t>(77), "", "") != NRT_INVALID) return 1;
    return sent(LOG_ERR, "framework is 77, expected 1 to 5") == 1 ? 0 : 2;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status;
  EXPECT_EQ(fnmatch("20[0-9][0-9]-* ERROR   NRT:nrt_init *framework is 77, expected 1 to 5\n", ended.err.c_str(), 0), 0)
      << ended.err;
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
}

TEST_F(Console, givenQuietWhenAnErrorHappensThenNothingIsPrintedNorSent) {
  setenv("NEURON_RT_LOG_LEVEL", "QUIET", 1);
  const Ended ended = in_child([] {
    if (nrt_init(static_cast<nrt_framework_type_t>(77), "", "") != NRT_INVALID || !whole_flow()) return 1;
    return syslog_lines.empty() ? 0 : 2;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
  EXPECT_EQ(ended.err, "");
}

TEST_F(Console, givenDefaultsWhenOpenedThenTheInformationBlockIsInSyslogOncePerOpening) {
  const Ended ended = in_child([] {
    for (long opened = 1; opened <= 2; ++opened) {
      if (!whole_flow()) return 1;
      for (const char* line : {"please include in any support request", "NRT version: OpenNRT", "Driver version:",
                               "Backend: sim", "Instance: inf1.xlarge", "Visible cores: 0, 1, 2, 3"}) {
        if (sent(LOG_INFO, line) != opened) return 2;
      }
    }
    // DEBUG and TRACE stay out of syslog by default.
    return std::any_of(syslog_lines.begin(), syslog_lines.end(),
                       [](const auto& line) { return line.first == (LOG_USER | LOG_DEBUG); })
               ? 3
               : 0;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

TEST_F(Console, givenOnlyTheConsoleAsLocationWhenOpenedAtInfoThenTheBlockIsThereAndSyslogIsLeftAlone) {
  setenv("NEURON_RT_LOG_LOCATION", "console", 1);
  setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
  const Ended ended = in_child([] { return whole_flow() && syslog_lines.empty() ? 0 : 1; });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
  EXPECT_NE(ended.err.find("please include in any support request"), std::string::npos) << ended.err;
  EXPECT_EQ(ended.out, "");
}

TEST_F(Console, givenAFileAsLocationWhenProcessesShareItThenEveryLineIsWholeAndNoneIsLost) {
  const std::string path = std::filesystem::temp_directory_path() / ("opennrt-shared-" + std::to_string(getpid()));
  std::ofstream(path) << "what was there before\n";
  setenv("NEURON_RT_LOG_LOCATION", path.c_str(), 1);
  constexpr int kProcesses = 4, kLines = 100;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t pid = fork();
    if (pid == 0) {
      process_test::forked_child = true;
      for (int i = 0; i < kLines; ++i) (void)nrt_init(static_cast<nrt_framework_type_t>(77), "", "");
      _exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "what was there before");
  int lines = 0;
  for (; std::getline(file, line); ++lines)
    EXPECT_EQ(fnmatch("20[0-9][0-9]-* ERROR   NRT:nrt_init *framework is 77, expected 1 to 5", line.c_str(), 0), 0)
        << line;
  EXPECT_EQ(lines, kProcesses * kLines);
  std::filesystem::remove(path);
}

}  // namespace
