// SPDX-License-Identifier: Apache-2.0
//
// An application that does what the documentation tells a user to do when something fails: on core 1 it loads a model and
// runs inferences; a call that fails is made again, then the model is loaded anew, then the library is opened anew. Meanwhile a
// neighbour computes on core 0. A line for each thing that somebody outside may want to know.
//   door_client [host]: where core 1 has its tensors, else on the device
#include <nrt/nrt.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/chip_tensors.h"

namespace {

using fault_test::Tensors;

constexpr int kInferences = 3;
constexpr int kVictim = 1, kNeighbour = 0;
constexpr int kPatience = 3;  ///< how often a call is made again, and the library opened again
nrt_tensor_placement_t placement = NRT_TENSOR_PLACEMENT_DEVICE;
constexpr const char* kRecoveries[] = {"retry", "reload", "reinit"};

void say(const char* function, NRT_STATUS status) {
  if (status != NRT_SUCCESS) std::printf("status %s %s\n", function, nrt_get_status_as_str(status));
}

NRT_STATUS load(int core, const char* name, nrt_model_t** model) {
  auto builder = opennrt::test::NeffBuilder::of(
      opennrt::test::binary_program(opennrt::isa::Alu::kAdd, fault_test::kPartitions, fault_test::kColumns).graph);
  builder.header.name = name;
  const auto neff = builder.build();
  const NRT_STATUS status = nrt_load(neff.data(), neff.size(), core, 1, model);
  say("nrt_load", status);
  return status;
}

/// One core's model and tensors; nothing is left when they could not be had.
struct Use {
  Use(int number, const char* called) : core(number), name(called) {}
  ~Use() { drop(); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  bool have() {
    if (model == nullptr && load(core, name, &model) != NRT_SUCCESS) {
      model = nullptr;
      return false;
    }
    if (tensors == nullptr) {
      auto fresh = std::make_unique<Tensors>(core, core == kVictim ? placement : NRT_TENSOR_PLACEMENT_DEVICE);
      if (!fresh->good()) {
        std::printf("no tensors\n");
        return false;
      }
      tensors = std::move(fresh);
    }
    return true;
  }
  void drop_model() {
    if (model != nullptr && nrt_unload(model) != NRT_SUCCESS && nrt_unload(model) != NRT_SUCCESS)
      std::printf("not unloaded\n");
    model = nullptr;
  }
  void drop() {
    tensors.reset();
    drop_model();
  }

  const int core;
  const char* const name;
  nrt_model_t* model = nullptr;
  std::unique_ptr<Tensors> tensors;
};

/// An inference whose result is looked at.
bool infer(Use& use, float seed, bool aloud) {
  if (const NRT_STATUS status = use.tensors->write(seed); status != NRT_SUCCESS) {
    if (aloud) say("nrt_tensor_write", status);
    return false;
  }
  if (const NRT_STATUS status = nrt_execute(use.model, use.tensors->in, use.tensors->out); status != NRT_SUCCESS) {
    if (aloud) say("nrt_execute", status);
    return false;
  }
  if (use.tensors->result() == use.tensors->expected()) return true;
  if (aloud) std::printf("wrong data\n");
  return false;
}

/// From nrt_init to nrt_close, with what help the recoveries up to `level` are. Whether all inferences were right.
bool session(int first_level, int& level) {
  level = first_level;
  NRT_STATUS opened = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
  say("nrt_init", opened);
  if (opened != NRT_SUCCESS) {
    level = 2;  // what else than nrt_init could be made again
    opened = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    say("nrt_init", opened);
    if (opened != NRT_SUCCESS) return false;
  }
  bool good = true, neighbour_good = true;
  {
    Use victim(kVictim, "victim"), neighbour(kNeighbour, "neighbour");
    const auto have = [&](Use& use) {
      bool there = use.have();
      for (int again = 0; !there && again < kPatience; ++again) {
        if (level < 0) level = 0;
        there = use.have();
      }
      return there;
    };
    good = have(victim) && have(neighbour);
    std::atomic<bool> stop = false;
    std::thread beside;
    if (good) {
      beside = std::thread([&] {
        float seed = 100;
        do neighbour_good = infer(neighbour, ++seed, false) && neighbour_good;
        while (!stop);
      });
    }
    for (int i = 0; good && i < kInferences; ++i) {
      if (infer(victim, static_cast<float>(i), true)) continue;
      if (level < 0) level = 0;
      if (infer(victim, static_cast<float>(i), true)) continue;
      level = 1;
      victim.drop_model();
      good = victim.have() && infer(victim, static_cast<float>(i), true);
    }
    stop = true;
    if (beside.joinable()) {
      beside.join();
      std::printf("neighbour %s\n", neighbour_good ? "right" : "affected");
    }
  }
  nrt_close();
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "host") placement = NRT_TENSOR_PLACEMENT_HOST;
  int level = -1;
  bool good = session(-1, level);
  for (int again = 0; !good && again < kPatience; ++again) good = session(2, level);
  if (level >= 0) std::printf("recovery %s\n", good ? kRecoveries[level] : "none");
  std::printf(good ? "well\n" : "not well\n");
  return good ? 0 : 1;
}
