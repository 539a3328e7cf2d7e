// SPDX-License-Identifier: Apache-2.0
//
// A model of one addition and its tensors, for tests and for the applications that tests start.
#pragma once

#include <nrt/nrt.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace fault_test {

constexpr std::uint32_t kPartitions = 4, kColumns = 16;
constexpr std::size_t kCount = std::size_t{kPartitions} * kColumns, kBytes = kCount * sizeof(float);

/// out = a + b; ACT loads, POOL adds, PE stores.
inline std::vector<std::byte> add_neff() {
  return opennrt::test::NeffBuilder::of(
             opennrt::test::binary_program(opennrt::isa::Alu::kAdd, kPartitions, kColumns).graph)
      .build();
}

/// The tensors of one model on one core; their values tell their place.
class Tensors {
 public:
  Tensors(int core, nrt_tensor_placement_t placement) {
    good_ = good_ && nrt_allocate_tensor_set(&in) == NRT_SUCCESS;
    good_ = good_ && nrt_allocate_tensor_set(&out) == NRT_SUCCESS;
    const char* names[] = {"a", "b", "out"};
    for (int i = 0; i < 3; ++i) {
      good_ = good_ && nrt_tensor_allocate(placement, core, kBytes, names[i], &tensors_[i]) == NRT_SUCCESS;
      good_ = good_ && nrt_add_tensor_to_tensor_set(i < 2 ? in : out, names[i], tensors_[i]) == NRT_SUCCESS;
    }
  }
  ~Tensors() {
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    for (nrt_tensor_t*& tensor : tensors_) nrt_tensor_free(&tensor);
  }
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;

  /// Whether there are tensors.
  bool good() const { return good_; }
  NRT_STATUS write(float seed) {
    seed_ = seed;
    std::vector<float> a(kCount), b(kCount, seed), none(kCount, -1.0f);
    for (std::size_t i = 0; i < kCount; ++i) a[i] = static_cast<float>(i);
    const std::vector<float>* data[] = {&a, &b, &none};
    for (int i = 0; i < 3; ++i)
      if (const NRT_STATUS status = nrt_tensor_write(tensors_[i], data[i]->data(), 0, kBytes); status != NRT_SUCCESS)
        return status;
    return NRT_SUCCESS;
  }
  std::vector<float> result() const {
    std::vector<float> result(kCount);
    if (nrt_tensor_read(tensors_[2], result.data(), 0, kBytes) != NRT_SUCCESS) result.clear();
    return result;
  }
  std::vector<float> untouched() const { return std::vector<float>(kCount, -1.0f); }  ///< as written
  std::vector<float> expected() const {
    std::vector<float> result(kCount);
    for (std::size_t i = 0; i < kCount; ++i) result[i] = static_cast<float>(i) + seed_;
    return result;
  }

  nrt_tensor_set_t *in = nullptr, *out = nullptr;

 private:
  nrt_tensor_t* tensors_[3] = {};
  float seed_ = 0;
  bool good_ = true;
};

inline NRT_STATUS run(nrt_model_t* model, Tensors& tensors, float seed) {
  if (const NRT_STATUS status = tensors.write(seed); status != NRT_SUCCESS) return status;
  return nrt_execute(model, tensors.in, tensors.out);
}

}  // namespace fault_test
