// SPDX-License-Identifier: Apache-2.0
//
// An application on two cores, for a fault plan in its environment: says on each line what core 1 answers and whether
// core 0 is well beside it. The recoveries that are documented follow one after another: again, loaded anew, opened anew.
#include <nrt/nrt.h>

#include <cstdio>
#include <vector>

#include "tests/faults/chip_tensors.h"

namespace {

using fault_test::Tensors;

bool well(NRT_STATUS status, const Tensors& tensors) {
  return status == NRT_SUCCESS && tensors.result() == tensors.expected();
}

nrt_model_t* load(int core) {
  const auto neff = fault_test::add_neff();
  nrt_model_t* model = nullptr;
  const NRT_STATUS status = nrt_load(neff.data(), neff.size(), core, 1, &model);
  if (status != NRT_SUCCESS) std::printf("nrt_load on core %d: %d\n", core, status);
  return model;
}

void infer(const char* when, nrt_model_t* model, Tensors& tensors, nrt_model_t* beside, Tensors& own) {
  static float seed = 0;
  seed += 1;
  const NRT_STATUS status = run(model, tensors, seed), other = run(beside, own, seed);
  std::printf("%s: %d %s, neighbour %d %s\n", when, status, well(status, tensors) ? "right" : "not right", other,
              well(other, own) ? "right" : "not right");
}

}  // namespace

int main() {
  for (const char* session : {"opened", "opened anew"}) {
    if (const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""); status != NRT_SUCCESS) {
      std::printf("nrt_init: %d\n", status);
      return 1;
    }
    {
      nrt_model_t *victim = load(1), *neighbour = load(0);
      if (victim == nullptr || neighbour == nullptr) return 1;
      Tensors tensors(1, NRT_TENSOR_PLACEMENT_DEVICE), own(0, NRT_TENSOR_PLACEMENT_DEVICE);
      infer(session, victim, tensors, neighbour, own);
      infer("again", victim, tensors, neighbour, own);
      nrt_unload(victim);
      victim = load(1);
      if (victim == nullptr) return 1;
      infer("loaded anew", victim, tensors, neighbour, own);
    }
    nrt_close();
  }
  return 0;
}
