// SPDX-License-Identifier: Apache-2.0
//
// A backend plug-in as the runtime has it: found by name in the build tree, opened with dlopen, spoken to through its
// table.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <opennrt/backend.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace opennrt::test {

inline std::string build_dir() {
  const char* dir = std::getenv("OPENNRT_BUILD_DIR");
  return dir != nullptr ? dir : ".";
}

/// A folder of its own, gone with the object.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "opennrt-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// What the runtime offers a backend: configuration from a map, log lines kept.
class Host {
 public:
  Host() {
    table_.size = sizeof(table_);
    table_.context = this;
    table_.log = [](void* self, opennrt_log_level_t level, const char*, const char* text) {
      auto* host = static_cast<Host*>(self);
      const std::lock_guard guard(host->mutex_);
      host->lines_.emplace_back(level, text);
    };
    table_.log_enabled = [](void*, opennrt_log_level_t) { return true; };
    table_.config = [](void* self, const char* name) -> const char* {
      auto* host = static_cast<Host*>(self);
      const auto it = host->config_.find(name);
      return it == host->config_.end() ? nullptr : it->second.c_str();
    };
    data_dir_ = build_dir() + "/lib/opennrt";
    table_.data_dir = data_dir_.c_str();
    set("OPENNRT_RUNTIME_DIR", runtime_.path());
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void set(const std::string& name, const std::string& value) { config_[name] = value; }
  const opennrt_host_t* table() const { return &table_; }
  const std::string& runtime_dir() const { return runtime_.path(); }
  /// All lines at `level` or more severe, one after the other.
  std::string log(opennrt_log_level_t level = OPENNRT_LOG_ERROR) {
    const std::lock_guard guard(mutex_);
    std::string text;
    for (const auto& [severity, line] : lines_) {
      if (severity <= level) text += line + "\n";
    }
    return text;
  }

 private:
  opennrt_host_t table_{};
  std::string data_dir_;
  TempDir runtime_;
  std::map<std::string, std::string> config_;
  std::mutex mutex_;
  std::vector<std::pair<opennrt_log_level_t, std::string>> lines_;
};

inline const opennrt_backend_api_t& plugin(const std::string& name) {
  const std::string path = build_dir() + "/lib/opennrt/backends/libopennrt_backend_" + name + ".so";
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) throw std::runtime_error(::dlerror());
  const auto entry = reinterpret_cast<opennrt_backend_entry_t>(::dlsym(library, OPENNRT_BACKEND_ENTRY));
  if (entry == nullptr) throw std::runtime_error(::dlerror());
  const opennrt_backend_api_t* api = entry(OPENNRT_BACKEND_ABI_MAJOR);
  if (api == nullptr) throw std::runtime_error(path + " does not serve ABI 1");
  return *api;
}

/// An opened backend with its device 0.
class Opened {
 public:
  explicit Opened(const std::string& name, const std::map<std::string, std::string>& config = {}) : api(plugin(name)) {
    for (const auto& [key, value] : config) host.set(key, value);
    if (const int error = api.open(host.table(), &backend); error != 0) {
      throw std::runtime_error("open: " + std::to_string(error) + " " + host.log());
    }
    if (const int error = api.device_open(backend, 0, &device); error != 0) {
      throw std::runtime_error("device_open: " + std::to_string(error) + " " + host.log());
    }
  }
  ~Opened() { api.close(backend); }  // with whatever a test has forgotten
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  opennrt_mem_t allocate(std::uint64_t bytes, bool host_memory, std::uint32_t core = 0,
                         std::uint64_t alignment = 0) const {
    opennrt_mem_params_t params{};
    params.bytes = bytes;
    params.alignment = alignment;
    params.host_memory = host_memory;
    params.core = core;
    params.category = host_memory ? OPENNRT_MEM_TENSORS_HOST : OPENNRT_MEM_TENSORS_DEVICE;
    opennrt_mem_t memory = 0;
    EXPECT_EQ(api.mem_alloc(device, &params, &memory), 0);
    EXPECT_NE(memory, 0u);
    return memory;
  }
  std::uint64_t address(opennrt_mem_t memory) const {
    opennrt_mem_info_t info{};
    EXPECT_EQ(api.mem_info(device, memory, &info), 0);
    return info.device_address;
  }
  std::byte* map(opennrt_mem_t memory) const {
    void* at = nullptr;
    EXPECT_EQ(api.mem_map(device, memory, &at), 0);
    return static_cast<std::byte*>(at);
  }
  std::uint64_t now() const {
    std::uint64_t ns = 0;
    EXPECT_EQ(api.clock(device, &ns), 0);
    return ns;
  }

  const opennrt_backend_api_t& api;
  Host host;
  opennrt_backend_t* backend = nullptr;
  opennrt_device_t* device = nullptr;
};

inline std::vector<std::byte> pattern(std::size_t bytes, unsigned seed = 1) {
  std::vector<std::byte> data(bytes);
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::byte& b : data) {
    state = state * 1664525u + 1013904223u;
    b = static_cast<std::byte>(state >> 24);
  }
  return data;
}

}  // namespace opennrt::test
