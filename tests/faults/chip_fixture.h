// SPDX-License-Identifier: Apache-2.0
//
// A runtime over the simulated chip with a fault plan: what an application sees, and what it can look up afterwards.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <nrt/nrt_sys_trace.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/observe/counters.h"
#include "tests/faults/chip_tensors.h"

namespace fault_test {

using opennrt::observe::CoreCounter;

constexpr int kVictim = 1, kNeighbour = 0;  ///< cores

class ChipFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = std::filesystem::temp_directory_path() / "opennrt-faults-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    ::setenv("OPENNRT_BACKEND", "sim", 1);
    ::setenv("OPENNRT_RUNTIME_DIR", folder_.c_str(), 1);
    ::setenv("NEURON_RT_LOG_LOCATION", (folder_ + "/log").c_str(), 1);
    ::setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    for (const char* name : {"NEURON_RT_EXEC_TIMEOUT", "OPENNRT_SIM_INSTANCE", "NEURON_RT_NUM_CORES"}) ::unsetenv(name);
  }
  void TearDown() override {
    nrt_close();
    ::unsetenv("OPENNRT_FAULTS");
    ::unsetenv("OPENNRT_FAULTS_REPORT");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  static std::string plan(const std::string& rules, unsigned seed) {
    return "{\"version\": 1, \"seed\": " + std::to_string(seed) + ", \"rules\": [" + rules + "]}";
  }
  void start(const std::string& rules, unsigned seed = 1) {
    // An earlier plan of the same text must not have struck already.
    ::unsetenv("OPENNRT_FAULTS");
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
    nrt_close();
    ::setenv("OPENNRT_FAULTS", plan(rules, seed).c_str(), 1);
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  }
  static nrt_model_t* load(int core) {
    const auto neff = add_neff();
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), core, 1, &model), NRT_SUCCESS);
    return model;
  }
  static void expect_well(nrt_model_t* model, Tensors& tensors, float seed) {
    ASSERT_EQ(run(model, tensors, seed), NRT_SUCCESS);
    EXPECT_EQ(tensors.result(), tensors.expected());
  }

  /// What this process has counted for a core, as another process would read it; before nrt_close.
  std::uint64_t counted(int core, CoreCounter counter) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() != ".counters") continue;
      const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
      void* memory = ::mmap(nullptr, opennrt::observe::kCounterStoreBytes, PROT_READ, MAP_SHARED, file, 0);
      ::close(file);
      if (memory == MAP_FAILED) break;
      const opennrt::observe::CounterStore store(memory, opennrt::observe::kCounterStoreBytes);
      const std::uint64_t value = store.get(static_cast<std::uint32_t>(core), counter);
      ::munmap(memory, opennrt::observe::kCounterStoreBytes);
      return value;
    }
    ADD_FAILURE() << "no counters in " << folder_;
    return 0;
  }
  std::string logged() const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (!entry.is_regular_file() || entry.path().filename().string().rfind("log", 0) != 0) continue;
      std::ifstream file(entry.path());
      std::stringstream text;
      text << file.rdbuf();
      all += text.str();
    }
    return all;
  }

  std::string folder_;
};

}  // namespace fault_test
