// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <opennrt/backend.h>

#include <string>

namespace opennrt::driver {

/// The host's log, with formatting that costs nothing when nobody listens. Thread-safe as the host's function is.
class Log {
 public:
  explicit Log(const opennrt_host_t* host) : host_(host) {}

  template <typename... Args>
  void error(const char* function, fmt::format_string<Args...> text, Args&&... args) const {
    write(OPENNRT_LOG_ERROR, function, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void warning(const char* function, fmt::format_string<Args...> text, Args&&... args) const {
    write(OPENNRT_LOG_WARNING, function, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void debug(const char* function, fmt::format_string<Args...> text, Args&&... args) const {
    write(OPENNRT_LOG_DEBUG, function, text, std::forward<Args>(args)...);
  }
  void text(int level, const char* function, const std::string& line) const {
    const auto severity = static_cast<opennrt_log_level_t>(level);
    if (enabled(severity)) host_->log(host_->context, severity, function, line.c_str());
  }

 private:
  bool enabled(opennrt_log_level_t level) const {
    return host_->log != nullptr && (host_->log_enabled == nullptr || host_->log_enabled(host_->context, level));
  }
  template <typename... Args>
  void write(opennrt_log_level_t level, const char* function, fmt::format_string<Args...> text, Args&&... args) const {
    if (!enabled(level)) return;
    const std::string line = fmt::format(text, std::forward<Args>(args)...);
    host_->log(host_->context, level, function, line.c_str());
  }

  const opennrt_host_t* host_;
};

}  // namespace opennrt::driver
