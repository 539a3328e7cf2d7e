// SPDX-License-Identifier: Apache-2.0
//
// A program on two cores, step by step, with a fault plan between its runtime and its driver.
#pragma once

#include <nrt/nrt.h>

#include <atomic>
#include <memory>
#include <string>

#include "tests/faults/chip_fixture.h"

namespace fault_test {

enum class Step { kInit, kLoad, kTensors, kWrite, kExecute, kRead, kUnload, kDone };

/// Three tensors of the model of chip_tensors.h on core kVictim; what could not be made can be tried again.
class RetriedTensors {
 public:
  explicit RetriedTensors(nrt_tensor_placement_t placement) : placement_(placement) {}
  ~RetriedTensors() {
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    for (nrt_tensor_t*& tensor : tensors_) nrt_tensor_free(&tensor);
  }
  NRT_STATUS make() {
    NRT_STATUS status = NRT_SUCCESS;
    for (nrt_tensor_set_t** set : {&in, &out})
      if (*set == nullptr && (status = nrt_allocate_tensor_set(set)) != NRT_SUCCESS) return status;
    for (int i = 0; i < 3; ++i) {
      if (tensors_[i] != nullptr) continue;
      status = nrt_tensor_allocate(placement_, kVictim, kBytes, kNames[i], &tensors_[i]);
      if (status != NRT_SUCCESS) return status;
      status = nrt_add_tensor_to_tensor_set(i < 2 ? in : out, kNames[i], tensors_[i]);
      if (status != NRT_SUCCESS) return status;
    }
    return NRT_SUCCESS;
  }
  NRT_STATUS write() {
    std::vector<float> values[3] = {std::vector<float>(kCount), std::vector<float>(kCount, 7.0f),
                                    std::vector<float>(kCount, -1.0f)};
    for (std::size_t i = 0; i < kCount; ++i) values[0][i] = static_cast<float>(i);
    for (int i = 0; i < 3; ++i)
      if (const NRT_STATUS status = nrt_tensor_write(tensors_[i], values[i].data(), 0, kBytes); status != NRT_SUCCESS)
        return status;
    return NRT_SUCCESS;
  }
  /// `right`: whether the sum is.
  NRT_STATUS read(bool& right) {
    std::vector<float> result(kCount);
    const NRT_STATUS status = nrt_tensor_read(tensors_[2], result.data(), 0, kBytes);
    right = status == NRT_SUCCESS;
    for (std::size_t i = 0; i < kCount; ++i) right = right && result[i] == static_cast<float>(i) + 7.0f;
    return status;
  }

  nrt_tensor_set_t *in = nullptr, *out = nullptr;

 private:
  static constexpr const char* kNames[] = {"a", "b", "out"};
  const nrt_tensor_placement_t placement_;
  nrt_tensor_t* tensors_[3] = {};
};

inline const char* name_of(Step step) {
  constexpr const char* kNames[] = {"nrt_init",    "nrt_load",        "nrt_tensor_allocate", "nrt_tensor_write",
                                    "nrt_execute", "nrt_tensor_read", "nrt_unload",          "the end"};
  return kNames[static_cast<int>(step)];
}

/// What a client does from nrt_init to nrt_unload, of which each step can be repeated when it fails. The model and its
/// tensors are on core kVictim.
class Program {
 public:
  explicit Program(nrt_tensor_placement_t placement = NRT_TENSOR_PLACEMENT_DEVICE) : placement_(placement) {}
  ~Program() { close(); }

  /// Goes on until a step fails or all are done; `at` is where it is then.
  NRT_STATUS go() {
    while (at != Step::kDone)
      if (const NRT_STATUS status = step(); status != NRT_SUCCESS) return status;
    return NRT_SUCCESS;
  }
  NRT_STATUS go_until(Step end) {
    while (at != end)
      if (const NRT_STATUS status = step(); status != NRT_SUCCESS) return status;
    return NRT_SUCCESS;
  }
  void close() {
    tensors.reset();
    nrt_close();
    model = nullptr;
    at = Step::kInit;
  }

  Step at = Step::kInit;
  nrt_model_t* model = nullptr;
  std::unique_ptr<RetriedTensors> tensors;
  bool right = false;  ///< the result, once it was read

 private:
  NRT_STATUS step() {
    const NRT_STATUS status = act();
    if (status == NRT_SUCCESS) at = static_cast<Step>(static_cast<int>(at) + 1);
    return status;
  }
  NRT_STATUS act() {
    switch (at) {
      case Step::kInit:
        return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
      case Step::kLoad: {
        static const auto neff = add_neff();
        return nrt_load(neff.data(), neff.size(), kVictim, 1, &model);
      }
      case Step::kTensors:
        if (tensors == nullptr) tensors = std::make_unique<RetriedTensors>(placement_);
        return tensors->make();
      case Step::kWrite:
        return tensors->write();
      case Step::kExecute:
        return nrt_execute(model, tensors->in, tensors->out);
      case Step::kRead:
        return tensors->read(right);
      case Step::kUnload:
        tensors.reset();
        return nrt_unload(model);
      case Step::kDone:
        break;
    }
    return NRT_SUCCESS;
  }

  const nrt_tensor_placement_t placement_;
};

class DriverFaults : public ChipFaults {
 protected:
  void SetUp() override {
    ChipFaults::SetUp();
    ::setenv("NEURON_RT_NUM_CORES", "2", 1);
  }
  void TearDown() override {
    ChipFaults::TearDown();
    ::unsetenv("NEURON_RT_NUM_CORES");
  }
  /// Puts the rules in force for the next nrt_init. No two plans of the process are the same, so that each counts from 1.
  static void inject(const std::string& rules) {
    static unsigned seed = 1000;
    ::setenv("OPENNRT_FAULTS", plan(rules, ++seed).c_str(), 1);
  }
  void forget_log() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.is_regular_file() && entry.path().filename().string().rfind("log", 0) == 0)
        std::filesystem::resize_file(entry.path(), 0);
  }
};

}  // namespace fault_test
