// SPDX-License-Identifier: Apache-2.0
// Requirements C1, C2: the format of a line, where lines go, and what malformed settings say.
#include "core/observe/log.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <stdarg.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {
std::mutex syslog_mutex;
std::vector<std::pair<int, std::string>> syslog_lines;
}  // namespace

// The library must use the C library's syslog(3): this one stands in for it in this program.
extern "C" void syslog(int priority, const char* format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  const std::lock_guard lock(syslog_mutex);
  syslog_lines.emplace_back(priority, text);
}

namespace opennrt::observe {
namespace {

using Values = std::map<std::string, std::string>;
Lookup lookup_in(const Values& values) {
  return [&values](const char* name) -> const char* {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  };
}

Route route_of(const Values& values, Component component) {
  const Result<Settings> settings = parse_settings(lookup_in(values));
  EXPECT_TRUE(settings) << settings.error().message;
  return settings ? settings->routes[static_cast<std::size_t>(component)] : Route{};
}

/// What is written to stderr while `body` runs.
template <typename Body>
std::string console_of(Body&& body) {
  char name[] = "/tmp/opennrt-log-XXXXXX";
  const int file = mkstemp(name);
  const int saved = dup(STDERR_FILENO);
  dup2(file, STDERR_FILENO);
  body();
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(file);
  std::ifstream stream(name);
  std::stringstream text;
  text << stream.rdbuf();
  std::filesystem::remove(name);
  return text.str();
}

struct Log : testing::Test {
  void SetUp() override {
    ASSERT_TRUE(configure(Settings{}));
    syslog_lines.clear();
  }
  void TearDown() override { ASSERT_TRUE(configure(Settings{})); }
};

TEST_F(Log, givenTheLinesOfTheDocumentationWhenFormattedThenEveryColumnIsTheSame) {
  EXPECT_EQ(format_line({2021, 8, 27, 23, 22, 12, 323, 28078, 28078}, Level::kError, Component::kNrt,
                        "nrt_allocate_neuron_cores", "NeuronCore(s) not available - Requested:nc1-nc1 Available:0"),
            "2021-Aug-27 23:22:12.0323 28078:28078 ERROR   NRT:nrt_allocate_neuron_cores               NeuronCore(s) "
            "not available - "
            "Requested:nc1-nc1 Available:0");
  EXPECT_EQ(format_line({2022, 9, 8, 17, 55, 23, 768, 19, 19}, Level::kError, Component::kTdrv, "tdrv_get_dev_info",
                        "No neuron device available"),
            "2022-Sep-08 17:55:23.0768    19:19    ERROR  TDRV:tdrv_get_dev_info                       No neuron "
            "device available");
  EXPECT_EQ(format_line({2023, 1, 26, 0, 25, 2, 183, 4057, 4131}, Level::kInfo, Component::kTdrv,
                        "pool_stdio_queue_consume_all_entries", "Printing stdout from GPSIMD:"),
            "2023-Jan-26 00:25:02.0183  4057:4131   INFO  TDRV:pool_stdio_queue_consume_all_entries    Printing stdout "
            "from GPSIMD:");
}

TEST_F(Log, givenControlCharactersInATextWhenFormattedThenTheLineStaysOneLine) {
  const std::string line = format_line({}, Level::kError, Component::kNrt, "f", "a\nb\tc\x1b[31m\x7f");
  EXPECT_NE(line.find("a?b?c?[31m?"), std::string::npos) << line;
}

TEST_F(Log, givenNothingSetWhenParsedThenErrorsGoToTheConsoleAndInfoToSyslog) {
  const Route route = route_of({}, Component::kNrt);
  EXPECT_EQ(route.console, Level::kError);
  EXPECT_EQ(route.syslog, Level::kInfo);
  EXPECT_EQ(route.file, Level::kQuiet);
}

TEST_F(Log, givenALevelWhenParsedThenItIsForConsoleAndSyslog) {
  for (const auto& [text, level] : std::map<std::string, Level>{{"ERROR", Level::kError},
                                                                {"WARN", Level::kWarn},
                                                                {"WARNING", Level::kWarn},
                                                                {"INFO", Level::kInfo},
                                                                {"DEBUG", Level::kDebug},
                                                                {"trace", Level::kTrace},
                                                                {"QUIET", Level::kQuiet}}) {
    const Route route = route_of({{"NEURON_RT_LOG_LEVEL", text}}, Component::kTdrv);
    EXPECT_EQ(route.console, level) << text;
    EXPECT_EQ(route.syslog, level) << text;
  }
}

TEST_F(Log, givenAComponentsOwnVariablesWhenParsedThenTheyWinOverTheGlobalOnes) {
  const Values values{{"NEURON_RT_LOG_LEVEL", "ERROR"},
                      {"NEURON_RT_LOG_LEVEL_TDRV", "DEBUG"},
                      {"NEURON_RT_LOG_LOCATION", "syslog"},
                      {"NEURON_RT_LOG_LOCATION_NMGR", "/tmp/nmgr.log"}};
  EXPECT_EQ(route_of(values, Component::kTdrv).syslog, Level::kDebug);
  EXPECT_EQ(route_of(values, Component::kTdrv).console, Level::kQuiet);
  EXPECT_EQ(route_of(values, Component::kNrt).syslog, Level::kError);
  const Route nmgr = route_of(values, Component::kNmgr);
  EXPECT_EQ(nmgr.path, "/tmp/nmgr.log");
  EXPECT_EQ(nmgr.file, Level::kError);
  EXPECT_EQ(nmgr.console, Level::kQuiet);
  EXPECT_EQ(nmgr.syslog, Level::kQuiet);
}

TEST_F(Log, givenALevelThatIsNoneWhenParsedThenTheErrorNamesVariableValueAndExpectation) {
  const Values values{{"NEURON_RT_LOG_LEVEL_NRT", "LOUD"}};
  const Result<Settings> settings = parse_settings(lookup_in(values));
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(settings.error().message,
            "NEURON_RT_LOG_LEVEL_NRT is \"LOUD\", expected ERROR, WARN, WARNING, INFO, DEBUG, TRACE or QUIET");
}

TEST_F(Log, givenDefaultsWhenLoggedThenOnlyErrorsReachTheConsoleAndInfoReachesSyslog) {
  const std::string console = console_of([] {
    log(Component::kNrt, Level::kError, "here", "bad {}", 1);
    log(Component::kNrt, Level::kWarn, "here", "odd {}", 2);
    log(Component::kNrt, Level::kInfo, "here", "fine {}", 3);
    log(Component::kNrt, Level::kDebug, "here", "detail {}", 4);
  });
  EXPECT_EQ(fnmatch("[0-9][0-9][0-9][0-9]-[A-Z][a-z][a-z]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].0[0-9][0-9][0-9] "
                    "*:* ERROR   NRT:here"
                    "                                    bad 1\n",
                    console.c_str(), 0),
            0)
      << console;
  ASSERT_EQ(syslog_lines.size(), 3u);
  EXPECT_EQ(syslog_lines[0].first, LOG_USER | LOG_ERR);
  EXPECT_EQ(syslog_lines[1].first, LOG_USER | LOG_WARNING);
  EXPECT_EQ(syslog_lines[2].first, LOG_USER | LOG_INFO);
  EXPECT_NE(syslog_lines[2].second.find("fine 3"), std::string::npos);
}

TEST_F(Log, givenQuietWhenLoggedThenNothingIsWrittenNotEvenANotice) {
  const Values values{{"NEURON_RT_LOG_LEVEL", "QUIET"}};
  ASSERT_TRUE(configure(*parse_settings(lookup_in(values))));
  const std::string console = console_of([] {
    log(Component::kNrt, Level::kError, "here", "bad");
    write_notice(Component::kNrt, "here", "simulated");
  });
  EXPECT_EQ(console, "");
  EXPECT_TRUE(syslog_lines.empty());
  EXPECT_FALSE(enabled(Component::kNrt, Level::kError));
}

TEST_F(Log, givenDefaultsWhenANoticeIsWrittenThenItIsOnTheConsoleAlthoughItIsNoError) {
  const std::string console = console_of([] { write_notice(Component::kNrt, "nrt_init", "simulated"); });
  EXPECT_NE(console.find(" WARN   NRT:nrt_init"), std::string::npos) << console;
}

TEST_F(Log, givenAFileAsLocationWhenManyThreadsLogThenEveryLineIsWholeAndNothingIsElsewhere) {
  const std::string path = std::filesystem::temp_directory_path() / ("opennrt-log-" + std::to_string(getpid()));
  const Values values{{"NEURON_RT_LOG_LOCATION", path}, {"NEURON_RT_LOG_LEVEL", "INFO"}};
  ASSERT_TRUE(configure(*parse_settings(lookup_in(values))));
  constexpr int kThreads = 8, kLines = 200;
  const std::string console = console_of([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < kLines; ++i) log(Component::kNrt, Level::kInfo, "worker", "thread {} line {} end", t, i);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(console, "");
  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines)
    EXPECT_EQ(fnmatch("[0-9]* INFO   NRT:worker *thread [0-9] line *[0-9] end", line.c_str(), 0), 0) << line;
  EXPECT_EQ(lines, kThreads * kLines);
  std::filesystem::remove(path);
}

TEST_F(Log, givenAFileThatCannotBeOpenedWhenConfiguredThenItIsRefusedByName) {
  const Values values{{"NEURON_RT_LOG_LOCATION", "/nonexistent-folder/x.log"}};
  const Status status = configure(*parse_settings(lookup_in(values)));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("/nonexistent-folder/x.log"), std::string::npos);
  EXPECT_NE(status.error().message.find("expected console, syslog or the path of a file"), std::string::npos);
  EXPECT_TRUE(enabled(Component::kNrt, Level::kInfo)) << "the settings before stay in force";
}

TEST_F(Log, givenErrnoOfTheCallerWhenLoggedThenItIsUntouched) {
  errno = EDOM;
  (void)console_of([] { log(Component::kNrt, Level::kError, "here", "text"); });
  errno = EDOM;
  log(Component::kNrt, Level::kInfo, "here", "text");
  EXPECT_EQ(errno, EDOM);
}

}  // namespace
}  // namespace opennrt::observe
