// SPDX-License-Identifier: Apache-2.0
//
// A backend opened for a test, with configuration variables that the test sets.
#pragma once

#include <opennrt/backend.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/umd/umd.h"

namespace opennrt::test {

/// The host side of a backend: keeps what it logs. Must outlive the backend.
class Host {
 public:
  std::map<std::string, std::string> config;
  opennrt_host_t host{sizeof(opennrt_host_t), this, log, log_enabled, get_config, nullptr};

  /// Data files as the build tree (or OPENNRT_TEST_LIB_DIR) has them.
  Host() : lib_dir_(find_lib_dir()), data_dir_(lib_dir_ + "/opennrt") { host.data_dir = data_dir_.c_str(); }
  std::string backend_dir() const { return lib_dir_ + "/opennrt/backends"; }
  std::string logged() const {
    std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  static std::string find_lib_dir() {
    if (const char* dir = std::getenv("OPENNRT_TEST_LIB_DIR")) return dir;
    const char* build = std::getenv("OPENNRT_BUILD_DIR");
    return std::string(build != nullptr ? build : ".") + "/lib";
  }
  static void log(void* context, opennrt_log_level_t level, const char*, const char* text) {
    auto* self = static_cast<Host*>(context);
    std::lock_guard lock(self->mutex_);
    if (level <= OPENNRT_LOG_WARNING) self->text_ += std::string(text) + "\n";
  }
  static bool log_enabled(void*, opennrt_log_level_t level) { return level <= OPENNRT_LOG_WARNING; }
  static const char* get_config(void* context, const char* name) {
    auto* self = static_cast<Host*>(context);
    auto found = self->config.find(name);
    return found == self->config.end() ? nullptr : found->second.c_str();
  }

  std::string lib_dir_, data_dir_;
  mutable std::mutex mutex_;
  std::string text_;
};

inline umd::Binding host_binding(std::string_view name, std::vector<float>& data) {
  return {name, nullptr, 0, std::as_writable_bytes(std::span(data))};
}
inline umd::Binding device_binding(std::string_view name, std::shared_ptr<umd::Memory> memory,
                                   std::uint64_t offset = 0) {
  return {name, std::move(memory), offset, {}};
}

}  // namespace opennrt::test
