// SPDX-License-Identifier: Apache-2.0
#include "core/observe/log.h"

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/common/per_process.h"

namespace opennrt::observe {
namespace {

constexpr std::array<std::string_view, 6> kLevelNames = {"QUIET", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
constexpr std::array<std::string_view, kComponents> kComponentNames = {"NRT", "NMGR", "TDRV"};
constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
// Widths measured from the lines in the SDK's documentation: pid right-aligned to 5, tid left-aligned to 5, level and
// component
// right-aligned to 5, function left-aligned to 39 and a space.
constexpr int kNumberWidth = 5, kLevelWidth = 5, kComponentWidth = 5, kFunctionWidth = 39;

/// Settings in force, with the descriptors of their files. Never freed: a line may be under way in another thread.
struct Active {
  Settings settings;
  std::array<int, kComponents> files{-1, -1, -1};
  std::array<Level, kComponents> highest{};
};

std::atomic<const Active*> active{nullptr};

struct Store {
  std::mutex mutex;
  std::vector<std::unique_ptr<const Active>> all;
  std::map<std::string, int> files;
};
Store& store() {
  return per_process<Store>();  // outlives static destruction: lines are logged at exit, too
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return result;
}

Result<Level> parse_level(const std::string& variable, std::string_view value) {
  const std::string name = upper(value);
  if (name == "WARNING") return Level::kWarn;
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (name == kLevelNames[i]) return static_cast<Level>(i);
  }
  return make_error(ErrorCode::kInvalidArgument,
                    "{} is \"{}\", expected ERROR, WARN, WARNING, INFO, DEBUG, TRACE or QUIET", variable, value);
}

const char* non_empty(const Lookup& lookup, const std::string& name) {
  const char* value = lookup(name.c_str());
  return value != nullptr && *value != '\0' ? value : nullptr;
}

Result<const Active*> install(const Settings& settings) {
  Store& s = store();
  const std::lock_guard lock(s.mutex);
  for (const auto& known : s.all) {
    if (known->settings == settings) {
      active.store(known.get(), std::memory_order_release);
      return known.get();
    }
  }
  auto next = std::make_unique<Active>();
  next->settings = settings;
  for (std::size_t i = 0; i < kComponents; ++i) {
    const Route& route = settings.routes[i];
    next->highest[i] = std::max({route.console, route.syslog, route.file});
    if (route.file == Level::kQuiet) continue;
    auto [entry, fresh] = s.files.try_emplace(route.path, -1);
    if (fresh) entry->second = ::open(route.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (entry->second < 0) {
      const int reason = errno;
      s.files.erase(entry);
      return make_error(
          ErrorCode::kInvalidArgument,
          "NEURON_RT_LOG_LOCATION of {} is \"{}\", which cannot be opened for writing: {}; expected console, syslog or "
          "the path of a file",
          kComponentNames[i], route.path, std::strerror(reason));
    }
    next->files[i] = entry->second;
  }
  s.all.push_back(std::move(next));
  active.store(s.all.back().get(), std::memory_order_release);
  return s.all.back().get();
}

/// Lines may come before the first configure(): then the environment decides, and what is malformed there counts as
/// unset.
const Active& current() {
  const Active* found = active.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  Result<Settings> settings = parse_settings([](const char* name) { return std::getenv(name); });
  Result<const Active*> installed = install(settings ? *settings : Settings{});
  if (!installed) installed = install(Settings{});
  return **installed;  // the defaults open no file, so they cannot fail
}

LineStamp stamp_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  return {local.tm_year + 1900,
          local.tm_mon + 1,
          local.tm_mday,
          local.tm_hour,
          local.tm_min,
          local.tm_sec,
          static_cast<int>(now.tv_nsec / 1'000'000),
          getpid(),
          gettid()};
}

void write_line(int fd, std::string_view line) {
  while (!line.empty()) {
    const ssize_t n = ::write(fd, line.data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody to tell
    line.remove_prefix(static_cast<std::size_t>(n));
  }
}

int syslog_priority(Level level) {
  switch (level) {
    case Level::kError:
      return LOG_ERR;
    case Level::kWarn:
      return LOG_WARNING;
    case Level::kInfo:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

void deliver(Component component, Level level, std::string_view function, std::string_view text, bool force_console) {
  const int saved_errno = errno;
  const Active& now = current();
  const auto index = static_cast<std::size_t>(component);
  const Route& route = now.settings.routes[index];
  std::string line = format_line(stamp_now(), level, component, function, text);
  if (level <= route.syslog) ::syslog(LOG_USER | syslog_priority(level), "%s", line.c_str());
  line += '\n';
  if (level <= route.console || (force_console && route.console != Level::kQuiet)) write_line(STDERR_FILENO, line);
  if (level <= route.file) write_line(now.files[index], line);
  errno = saved_errno;
}

}  // namespace

std::string_view component_name(Component component) {
  return kComponentNames[static_cast<std::size_t>(component)];
}

Result<Settings> parse_settings(const Lookup& lookup) {
  Settings settings;
  for (std::size_t i = 0; i < kComponents; ++i) {
    const std::string suffix = "_" + std::string(kComponentNames[i]);
    Route& route = settings.routes[i];
    route = {};
    std::string level_name = "NEURON_RT_LOG_LEVEL" + suffix;
    const char* level_text = non_empty(lookup, level_name);
    if (level_text == nullptr) level_text = non_empty(lookup, level_name = "NEURON_RT_LOG_LEVEL");
    Level file = Level::kInfo;
    if (level_text != nullptr) {
      const Result<Level> level = parse_level(level_name, level_text);
      if (!level) return tl::unexpected(level.error());
      route.console = route.syslog = file = *level;
    }
    const char* location = non_empty(lookup, "NEURON_RT_LOG_LOCATION" + suffix);
    if (location == nullptr) location = non_empty(lookup, "NEURON_RT_LOG_LOCATION");
    if (location == nullptr) continue;
    const std::string place = upper(location);
    if (place == "CONSOLE") {
      route.syslog = Level::kQuiet;
    } else if (place == "SYSLOG") {
      route.console = Level::kQuiet;
    } else {
      route.console = route.syslog = Level::kQuiet;
      route.file = file;
      if (file != Level::kQuiet) route.path = location;
    }
  }
  return settings;
}

Status configure(const Settings& settings) {
  const Result<const Active*> installed = install(settings);
  if (!installed) return tl::unexpected(installed.error());
  return {};
}

bool enabled(Component component, Level level) {
  return level <= current().highest[static_cast<std::size_t>(component)];
}

void write(Component component, Level level, std::string_view function, std::string_view text) {
  if (enabled(component, level)) deliver(component, level, function, text, false);
}

void write_notice(Component component, std::string_view function, std::string_view text) {
  deliver(component, Level::kWarn, function, text, true);
}

std::string format_line(const LineStamp& stamp, Level level, Component component, std::string_view function,
                        std::string_view text) {
  std::string line =
      fmt::format("{:04}-{}-{:02} {:02}:{:02}:{:02}.{:04} {:>{}}:{:<{}} {:>{}} {:>{}}:{:<{}} {}", stamp.year,
                  kMonths[static_cast<std::size_t>(std::clamp(stamp.month, 1, 12) - 1)], stamp.day, stamp.hour,
                  stamp.minute, stamp.second, stamp.milliseconds, stamp.pid, kNumberWidth, stamp.tid, kNumberWidth,
                  kLevelNames[static_cast<std::size_t>(level)], kLevelWidth, component_name(component), kComponentWidth,
                  function, kFunctionWidth, text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return line;
}

}  // namespace opennrt::observe
