// SPDX-License-Identifier: Apache-2.0
//
// An application that does what the documentation tells a user to do when something fails: on core 1 it loads a model and
// runs inferences; a call that fails is made again, then the model is loaded anew, then the library is opened anew. Meanwhile a
// neighbour computes on core 0. A line for each thing that somebody outside may want to know.
//   door_client <tool> [host|still|queue|ranks]
// tool: opennrt, which tells what has been counted. host: where core 1 has its tensors, else on the device. still: the device executes nothing, so that an
// inference is as it should be when it ends with its time and has written nothing. queue: core 1 gets more
// requests than it can hold. ranks: the cores belong to two processes, which meet at a barrier.
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_sys_trace.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
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
constexpr int kQueueDepth = 1024;  ///< requests that an execution unit holds (core/runtime/execution_unit.h)
std::string tool;
bool executes = true;

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
  const NRT_STATUS well = executes ? NRT_SUCCESS : NRT_TIMEOUT;
  if (const NRT_STATUS status = nrt_execute(use.model, use.tensors->in, use.tensors->out); status != well) {
    if (aloud) say("nrt_execute", status);
    return false;
  }
  if (use.tensors->result() == (executes ? use.tensors->expected() : use.tensors->untouched())) return true;
  if (aloud) std::printf("wrong data\n");
  return false;
}

/// What has been counted for both cores since nrt_init, as another process sees it.
void tell_counters() {
  std::string text;
  FILE* const asked = popen(("'" + tool + "' ps --json").c_str(), "re");
  if (asked == nullptr) return;
  char part[4096];
  while (const std::size_t bytes = std::fread(part, 1, sizeof(part), asked)) text.append(part, bytes);
  pclose(asked);
  const auto all = nlohmann::json::parse(text, nullptr, false);
  if (all.is_discarded()) {
    std::printf("no counters: '%s ps --json' says \"%s\"\n", tool.c_str(), text.c_str());
    return;
  }
  for (const auto& process : all["processes"]) {
    if (process["pid"] != getpid()) continue;
    for (const auto& core : process["cores"])
      for (const char* summary : {"execution_summary", "error_summary"})
        for (const auto& [name, count] : core["counters"][summary].items())
          if (count != 0)
            std::printf("counted %d %s %s %llu\n", core["nc"].get<int>(), summary, name.c_str(),
                        count.get<unsigned long long>());
  }
}

/// What the system trace has of both cores, of all sessions.
void tell_events() {
  const char** types = nullptr;
  std::size_t count = 0;
  nrt_sys_trace_fetch_options_t* options = nullptr;
  if (nrt_sys_trace_get_event_types(&types, &count) != NRT_SUCCESS) return;
  if (nrt_sys_trace_fetch_options_allocate(&options) != NRT_SUCCESS) return;
  for (const int core : {kNeighbour, kVictim}) {
    char* buffer = nullptr;
    std::size_t bytes = 0;
    nrt_sys_trace_fetch_options_set_nc_idx(options, static_cast<std::uint64_t>(core));
    if (nrt_sys_trace_fetch_events(&buffer, &bytes, options) != NRT_SUCCESS) continue;
    const std::string text(buffer, bytes);
    nrt_sys_trace_buffer_free(buffer);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string wanted = "\"name\":\"" + std::string(types[i]) + "\"";
      std::size_t found = 0;
      for (std::size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) ++found;
      if (found != 0) std::printf("event %d %s %zu\n", core, types[i], found);
    }
  }
  nrt_sys_trace_fetch_options_free(options);
  nrt_sys_trace_free_event_types(types, count);
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
    int neighbour_inferences = 0;
    std::thread beside;
    if (good) {
      beside = std::thread([&] {
        float seed = 100;
        do neighbour_good = infer(neighbour, ++seed, false) && neighbour_good, ++neighbour_inferences;
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
      std::printf("neighbour %s %d\n", neighbour_good ? "right" : "affected", neighbour_inferences);
    }
    tell_counters();
  }
  nrt_close();
  return good;
}

/// One request more than an execution unit holds, at once; who is told that it is full comes again when there is room.
bool queue() {
  nrta_error_tracker_t* errors = nullptr;
  bool good = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS;
  Use use(kVictim, "victim");
  good = good && use.have() && use.tensors->write(1) == NRT_SUCCESS &&
         nrta_error_tracker_create(kVictim, &errors) == NRT_SUCCESS;
  nrta_seq_t last = 0;
  const auto wait = [&] {
    for (bool done = false; good && !done; usleep(1000)) good = nrta_is_completed(last, &done) == NRT_SUCCESS;
  };
  for (int i = 0; good && i < kQueueDepth + 1; ++i) {
    const auto schedule = [&] {
      return nrta_execute_schedule(use.model, use.tensors->in, use.tensors->out, 0, errors, &last);
    };
    NRT_STATUS status = schedule();
    say("nrta_execute_schedule", status);
    if (status == NRT_QUEUE_FULL) {
      wait();
      status = schedule();
      std::printf("recovery retry\n");
    }
    good = good && status == NRT_SUCCESS;
  }
  wait();
  const nrta_error_t* list = nullptr;
  std::size_t failed = 0;
  good = good && nrta_error_tracker_get_list(errors, &list, &failed) == NRT_SUCCESS && failed == 0 &&
         use.tensors->result() == use.tensors->expected();
  nrta_error_tracker_destroy(errors);
  tell_counters();
  use.drop();
  nrt_close();
  return good;
}

/// One of two ranks: an inference, then the barrier. Who fails before it leaves and comes again; who waits in vain there does so again.
bool rank(std::uint32_t number, bool& left) {
  bool good = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS;
  const NRT_STATUS joined = nrt_build_global_comm(0, number, 2);
  say("nrt_build_global_comm", joined);
  {
    Use use(0, number == 0 ? "neighbour" : "victim");
    left = good && !(use.have() && infer(use, 1, true));
    if (number == 0) std::printf("neighbour %s 1\n", left ? "affected" : "right");
    for (int i = 0; good && !left && i < kPatience; ++i) {
      const NRT_STATUS status = nrt_barrier(0, number, 2);
      say("nrt_barrier", status);
      good = status == NRT_SUCCESS;
      if (good) {
        if (i > 0) std::printf("recovery retry\n");
        break;
      }
      good = i + 1 < kPatience;
    }
    tell_counters();
  }
  nrt_close();
  return good && !left;
}

bool ranks() {
  setenv("NEURON_RT_ROOT_COMM_ID", ("localhost:" + std::to_string(1024 + getpid() % 60000)).c_str(), 1);
  const pid_t other = fork();
  const std::uint32_t number = other == 0 ? 1 : 0;
  if (other == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  setenv("NEURON_RT_VISIBLE_CORES", std::to_string(number).c_str(), 1);
  bool left = false;
  bool good = rank(number, left);
  if (left) good = rank(number, left);
  std::fflush(stdout);
  if (other == 0) _exit(good ? 0 : 1);
  int ended = 1;
  return waitpid(other, &ended, 0) == other && ended == 0 && good;
}

/// Whether all went well in the end.
bool sessions() {
  nrt_sys_trace_start(nullptr);
  int level = -1;
  bool good = session(-1, level);
  for (int again = 0; !good && again < kPatience; ++again) good = session(2, level);
  tell_events();
  if (level >= 0) std::printf("recovery %s\n", good ? kRecoveries[level] : "none");
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  tool = argv[1];
  const std::string how = argc > 2 ? argv[2] : "";
  executes = how != "still";
  if (how == "host") placement = NRT_TENSOR_PLACEMENT_HOST;
  const bool good = how == "queue" ? queue() : how == "ranks" ? ranks() : sessions();
  std::printf(good ? "well\n" : "not well\n");
  return good ? 0 : 1;
}
