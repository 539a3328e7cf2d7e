// SPDX-License-Identifier: Apache-2.0
//
// The log: lines in the format of the Neuron runtime (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst), to the
// console
// (stderr), to syslog(3) and to files. It is the only place of the library that prints.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "core/common/error.h"

namespace opennrt::observe {

enum class Level { kQuiet = 0, kError = 1, kWarn = 2, kInfo = 3, kDebug = 4, kTrace = 5 };

/// Who speaks. Levels and locations can be set for each (NEURON_RT_LOG_LEVEL_TDRV …).
enum class Component : std::size_t { kNrt = 0, kNmgr = 1, kTdrv = 2 };
inline constexpr std::size_t kComponents = 3;
std::string_view component_name(Component component);

/// Where a component's lines go and up to which level. kQuiet: nowhere.
struct Route {
  Level console = Level::kError;
  Level syslog = Level::kInfo;
  Level file = Level::kQuiet;
  std::string path;  ///< of the file
  bool operator==(const Route&) const = default;
};
struct Settings {
  std::array<Route, kComponents> routes;
  bool operator==(const Settings&) const = default;
};

/// Value of a configuration variable, or nullptr.
using Lookup = std::function<const char*(const char* name)>;
/// NEURON_RT_LOG_LEVEL and _LOCATION, global and per component. kInvalidArgument names variable, value and what was
/// expected.
Result<Settings> parse_settings(const Lookup& lookup);

/// Puts the settings in force and opens their files. kInvalidArgument when one cannot be opened; then nothing changes.
/// Thread-safe. Files stay open for the life of the process.
Status configure(const Settings& settings);

/// Whether a line of this level would go anywhere. Cheap; thread-safe.
bool enabled(Component component, Level level);

/// Writes one line, with one write(2) for each place. Control characters in the text become '?'. Thread-safe; never
/// fails.
void write(Component component, Level level, std::string_view function, std::string_view text);

/// A line on the console at kWarn even when the console's level is kError, unless it is kQuiet: for what nobody may
/// miss.
void write_notice(Component component, std::string_view function, std::string_view text);

template <typename... Args>
void log(Component component, Level level, std::string_view function, fmt::format_string<Args...> text,
         Args&&... args) {
  if (enabled(component, level)) write(component, level, function, fmt::format(text, std::forward<Args>(args)...));
}

/// The line as it is printed, without the newline. For tests and for write().
struct LineStamp {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, milliseconds = 0;
  int pid = 0, tid = 0;
};
std::string format_line(const LineStamp& stamp, Level level, Component component, std::string_view function,
                        std::string_view text);

}  // namespace opennrt::observe
