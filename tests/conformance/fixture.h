// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the suite share. Everything goes through the public C API of the shared library.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/covered.h"  // the public headers; calls are recorded
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace conformance {

using Bytes = std::vector<std::byte>;

inline Bytes pattern(std::size_t bytes, unsigned seed = 1) {
  Bytes data(bytes);
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::byte& b : data) {
    state = state * 1664525u + 1013904223u;
    b = static_cast<std::byte>(state >> 24);
  }
  return data;
}

/// Floats without special values: small whole numbers, exact in every order of addition.
inline std::vector<float> numbers(std::size_t count, unsigned seed = 1) {
  std::vector<float> data(count);
  std::uint32_t state = seed * 2654435761u + 1;
  for (float& x : data) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int>(state >> 24) - 128);
  }
  return data;
}

inline Bytes neff_of(const opennrt::test::SubgraphBuilder& builder) {
  return opennrt::test::NeffBuilder::of(builder.graph).build();
}
inline Bytes copy_neff(std::uint32_t partitions = 4, std::uint32_t n = 16) {
  return neff_of(opennrt::test::copy_program(partitions, n));
}
inline Bytes add_neff(std::uint32_t partitions = 4, std::uint32_t n = 16) {
  return neff_of(opennrt::test::binary_program(opennrt::isa::Alu::kAdd, partitions, n));
}
/// PE waits for a semaphore that nobody signals.
inline Bytes hang_neff() {
  auto builder = opennrt::test::copy_program(4, 16);
  builder.wait(opennrt::isa::Engine::kPe, 9);
  return neff_of(builder);
}

/// A variable of the environment for the life of the object.
class Env {
 public:
  Env(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    had_ = before != nullptr;
    if (had_) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Env() {
    if (had_) {
      setenv(name_, before_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

 private:
  const char* name_;
  bool had_ = false;
  std::string before_;
};

inline std::string log_path() {
  return std::filesystem::temp_directory_path() / ("opennrt-conformance-" + std::to_string(getpid()) + ".log");
}

/// The library logs to a file of the program; `logged()` is what came since the test began.
class Logged : public testing::Test {
 protected:
  Logged() : path_(log_path()), location_("NEURON_RT_LOG_LOCATION", path_), level_("NEURON_RT_LOG_LEVEL", "INFO") {
    std::error_code error;
    const auto size = std::filesystem::file_size(path_, error);
    begin_ = error ? 0 : size;
  }
  std::string logged() const {
    std::ifstream file(path_);
    file.seekg(static_cast<std::streamoff>(begin_));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool has_logged(const std::string& text) const { return logged().find(text) != std::string::npos; }
  int times_logged(const std::string& text) const {
    const std::string all = logged();
    int count = 0;
    for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++count;
    return count;
  }

 private:
  std::string path_;
  Env location_, level_;
  std::uintmax_t begin_ = 0;
};

/// Open between SetUp and TearDown.
class Open : public Logged {
 protected:
  void SetUp() override { ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged(); }
  void TearDown() override { nrt_close(); }

  nrt_model_t* load(const Bytes& neff, int vnc = -1, int count = -1) {
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), vnc, count, &model), NRT_SUCCESS) << logged();
    return model;
  }
  nrt_tensor_t* allocate(nrt_tensor_placement_t placement, std::size_t bytes, int vnc = 0, const char* name = "t") {
    nrt_tensor_t* tensor = nullptr;
    EXPECT_EQ(nrt_tensor_allocate(placement, vnc, bytes, name, &tensor), NRT_SUCCESS) << logged();
    return tensor;
  }
  Bytes read(const nrt_tensor_t* tensor, std::size_t offset, std::size_t bytes) {
    Bytes data(bytes);
    EXPECT_EQ(nrt_tensor_read(tensor, data.data(), offset, bytes), NRT_SUCCESS) << logged();
    return data;
  }
  Bytes read(const nrt_tensor_t* tensor) { return read(tensor, 0, nrt_tensor_get_size(tensor)); }
};

/// A tensor set and its tensors, freed at the end.
class Set {
 public:
  Set() { EXPECT_EQ(nrt_allocate_tensor_set(&set_), NRT_SUCCESS); }
  ~Set() {
    for (nrt_tensor_t*& tensor : owned_) nrt_tensor_free(&tensor);
    nrt_destroy_tensor_set(&set_);
  }
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;
  nrt_tensor_set_t* get() const { return set_; }
  nrt_tensor_t* add(const char* name, nrt_tensor_t* tensor) {
    EXPECT_EQ(nrt_add_tensor_to_tensor_set(set_, name, tensor), NRT_SUCCESS);
    return tensor;
  }
  /// Allocates, fills and adds; the set frees it.
  template <typename T>
  nrt_tensor_t* add(const char* name, nrt_tensor_placement_t placement, const std::vector<T>& data, int vnc = 0) {
    nrt_tensor_t* tensor = nullptr;
    const std::size_t bytes = data.size() * sizeof(T);
    EXPECT_EQ(nrt_tensor_allocate(placement, vnc, bytes, name, &tensor), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_write(tensor, data.data(), 0, bytes), NRT_SUCCESS);
    owned_.push_back(tensor);
    return add(name, tensor);
  }

 private:
  nrt_tensor_set_t* set_ = nullptr;
  std::vector<nrt_tensor_t*> owned_;
};

template <typename T>
std::vector<T> values_of(const nrt_tensor_t* tensor) {
  std::vector<T> values(nrt_tensor_get_size(tensor) / sizeof(T));
  EXPECT_EQ(nrt_tensor_read(tensor, values.data(), 0, values.size() * sizeof(T)), NRT_SUCCESS);
  return values;
}

}  // namespace conformance
