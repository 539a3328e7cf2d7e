// SPDX-License-Identifier: Apache-2.0
// Requirement H2: another process reads what this one counts, while it runs. The applications are forked children that open the
// library; this program never does, it runs `opennrt ps`. Over `sim`, and over an emulated /dev/neuron<N> (OPENNRT_BACKEND=neuron).
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/process/helpers.h"
#include "tests/support/model_builder.h"
#include "tests/unit/tools/process.h"

/// Asked by LeakSanitizer's runtime, where there is one, before it looks for leaks.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace process_test {
namespace {

using nlohmann::json;
using opennrt::test::NeffBuilder;
using opennrt::test::run_program;
using opennrt::test::TemporaryFolder;

constexpr std::size_t kCount = 64;  // floats of a tensor
constexpr std::size_t kBytes = kCount * sizeof(float);

std::string tool() {
  return std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/bin/opennrt";
}

/// A child that goes from step to step: in between, it waits for its parent.
class Application {
 public:
  /// Says in the child that a step is done, and waits. The parent's end ends the child.
  using Step = std::function<void()>;

  explicit Application(const std::function<bool(const Step&)>& body) {
    int up[2], down[2];
    EXPECT_EQ(pipe(up) + pipe(down), 0);
    pid_ = fork();
    if (pid_ == 0) {
      forked_child = true;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(up[0]);
      close(down[1]);
      const bool well = body([&] {
        char go = 0;
        if (write(up[1], "s", 1) != 1 || read(down[0], &go, 1) != 1) _exit(3);
      });
      _exit(well ? 0 : 1);
    }
    close(up[1]);
    close(down[0]);
    up_ = up[0];
    down_ = down[1];
  }
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;
  ~Application() {
    if (pid_ > 0) kill();
    close(up_);
    close(down_);
  }

  pid_t pid() const { return pid_; }
  /// Whether the next step was done.
  bool done() const {
    char step = 0;
    return read(up_, &step, 1) == 1;
  }
  void go_on() const { EXPECT_EQ(write(down_, "g", 1), 1); }
  bool ended_well() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int up_ = -1, down_ = -1;
};

struct Set {
  nrt_tensor_set_t* set = nullptr;
  std::vector<nrt_tensor_t*> tensors;
  Set() { nrt_allocate_tensor_set(&set); }
  bool add(const char* name, nrt_tensor_placement_t placement, int vnc, const std::vector<float>& data) {
    nrt_tensor_t* tensor = nullptr;
    if (nrt_tensor_allocate(placement, vnc, data.size() * 4, name, &tensor) != NRT_SUCCESS) return false;
    tensors.push_back(tensor);
    return nrt_tensor_write(tensor, data.data(), 0, data.size() * 4) == NRT_SUCCESS &&
           nrt_add_tensor_to_tensor_set(set, name, tensor) == NRT_SUCCESS;
  }
  bool add_empty(const char* name) {
    nrt_tensor_t* tensor = nullptr;
    if (nrt_tensor_allocate_empty(name, &tensor) != NRT_SUCCESS) return false;
    tensors.push_back(tensor);
    return nrt_add_tensor_to_tensor_set(set, name, tensor) == NRT_SUCCESS;
  }
  void free() {
    nrt_destroy_tensor_set(&set);
    for (nrt_tensor_t*& tensor : tensors) nrt_tensor_free(&tensor);
  }
};

nrt_model_t* load(const std::vector<std::byte>& neff, int vnc, int count) {
  nrt_model_t* model = nullptr;
  return nrt_load(neff.data(), neff.size(), vnc, count, &model) == NRT_SUCCESS ? model : nullptr;
}

std::vector<std::byte> add_neff() {
  return NeffBuilder::of(opennrt::test::binary_program(opennrt::isa::Alu::kAdd, 4, 16).graph).build();
}
/// PE waits for a semaphore that nobody signals.
std::vector<std::byte> hang_neff() {
  auto program = opennrt::test::binary_program(opennrt::isa::Alu::kAdd, 4, 16);
  program.wait(opennrt::isa::Engine::kPe, 5);
  return NeffBuilder::of(program.graph).build();
}

const std::string kBackend = std::getenv("OPENNRT_BACKEND") != nullptr ? std::getenv("OPENNRT_BACKEND") : "sim";
const bool kDevices = kBackend == "neuron";

struct Counters : testing::Test {
  TemporaryFolder runtime;
  void SetUp() override {
    for (const char* name : {"NEURON_RT_NUM_CORES", "NEURON_RT_VISIBLE_CORES", "NEURON_RT_LOG_LEVEL"}) unsetenv(name);
    setenv("OPENNRT_BACKEND", kBackend.c_str(), 1);
    setenv("OPENNRT_SIM_INSTANCE", "inf1.2xlarge", 1);
    setenv("OPENNRT_RUNTIME_DIR", runtime.path().c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"NEURON_RT_NUM_CORES", "NEURON_RT_VISIBLE_CORES", "NEURON_RT_LOG_LEVEL"}) unsetenv(name);
  }
  static std::string ps(const std::vector<std::string>& more) {
    std::vector<std::string> arguments{tool(), "ps"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = run_program(arguments);
    EXPECT_EQ(outcome.exit, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return outcome.out;
  }
  static json processes() { return json::parse(ps({"--json"})).at("processes"); }
  /// Of backend `sim`; the driver keeps datastores itself.
  static std::size_t expected_files(std::size_t of_sim) { return kDevices ? 0 : of_sim; }
  std::size_t files() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(runtime.path()))
      count += entry.path().extension() == ".counters";
    return count;
  }
};

TEST_F(Counters, givenNothingThatRunsWhenAskedThenItSaysSo) {
  EXPECT_EQ(ps({}), kDevices ? "no process holds a NeuronCore of /dev/neuron*, and none of this user holds a simulated "
                               "NeuronCore\n"
                             : "no process of this user holds a simulated NeuronCore\n");
  EXPECT_EQ(processes(), json::array());
}

TEST_F(Counters, givenAnApplicationThatRunsWhenAskedInBetweenThenTheNumbersAreWhatItDid) {
  setenv("NEURON_RT_NUM_CORES", "2", 1);
  setenv("NEURON_RT_LOG_LEVEL", "QUIET", 1);
  setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
  Application application([](const Application::Step& step) {
    if (nrt_init(NRT_FRAMEWORK_TYPE_PYTORCH, "2.1.3", "1.0") != NRT_SUCCESS) return false;
    step();
    nrt_model_t *model = load(add_neff(), 1, 1), *hangs = load(hang_neff(), 1, 1);
    if (model == nullptr || hangs == nullptr) return false;
    Set in, odd, bad, out;
    std::vector<float> numbers(kCount, 2.0f), with_nan = numbers;
    with_nan[7] = std::numeric_limits<float>::quiet_NaN();
    bool well = in.add("a", NRT_TENSOR_PLACEMENT_DEVICE, 1, numbers) &&
                in.add("b", NRT_TENSOR_PLACEMENT_HOST, 1, numbers) &&
                odd.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, 1, with_nan) &&
                odd.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, 1, numbers) && bad.add_empty("a") &&
                bad.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, 1, numbers) &&
                out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, 1, numbers);
    for (int i = 0; i < 4; ++i) well = well && nrt_execute(model, in.set, out.set) == NRT_SUCCESS;
    well = well && nrt_execute_repeat(model, in.set, out.set, 3) == NRT_SUCCESS;
    for (int i = 0; i < 2; ++i) well = well && nrt_execute(model, odd.set, out.set) == NRT_EXEC_COMPLETED_WITH_NUM_ERR;
    for (int i = 0; i < 3; ++i) well = well && nrt_execute(model, bad.set, out.set) == NRT_EXEC_BAD_INPUT;
    well = well && nrt_execute(model, in.set, in.set) == NRT_INVALID;  // no "out" in there
    well = well && nrt_execute(hangs, in.set, out.set) == NRT_TIMEOUT;
    well = well && load({std::byte{1}}, 1, 1) == nullptr;
    if (!well) return false;
    step();
    // A child that uses the library and exits as any process does changes nothing.
    if (const pid_t child = fork(); child == 0) {
      std::uint32_t cores = 0;
      exit(nrt_get_total_nc_count(&cores) == NRT_SUCCESS && cores == 4 ? 0 : 1);
    } else {
      int status = 0;
      if (waitpid(child, &status, 0) != child || status != 0) return false;
    }
    step();
    if (nrt_execute(model, in.set, out.set) != NRT_SUCCESS) return false;
    for (Set* set : {&in, &odd, &bad, &out}) set->free();
    if (nrt_unload(model) != NRT_SUCCESS || nrt_unload(hangs) != NRT_SUCCESS) return false;
    step();
    nrt_close();
    step();
    return true;
  });
  unsetenv("NEURON_RT_EXEC_TIMEOUT");

  ASSERT_TRUE(application.done());
  json all = processes();
  ASSERT_EQ(all.size(), 1u) << all.dump(2);
  EXPECT_EQ(all[0].at("pid"), application.pid());
  EXPECT_EQ(all[0].at("instance"), "inf1.2xlarge");
  EXPECT_NE(all[0].at("command").get<std::string>().find("process_counters_"), std::string::npos);
  EXPECT_EQ(all[0].at("framework"), "PyTorch 2.1.3");
  EXPECT_TRUE(all[0].at("runtime_version").get<std::string>().starts_with("2.")) << all[0].at("runtime_version");
  ASSERT_EQ(all[0].at("cores").size(), 2u);
  for (unsigned i = 0; i < 2; ++i) {
    EXPECT_EQ(all[0].at("cores")[i].at("nc"), i);
    EXPECT_EQ(all[0].at("cores")[i].at("counters").at("inferences"), 0);
    EXPECT_EQ(all[0].at("cores")[i].at("counters").at("mean_device_latency_ns"), nullptr);
    EXPECT_EQ(all[0].at("cores")[i].at("counters").at("device_memory_bytes").at("tensors"), 0);
  }

  application.go_on();
  ASSERT_TRUE(application.done());
  all = processes();
  const json before = all[0].at("cores")[1].at("counters");
  EXPECT_EQ(before.at("inferences"), 7);
  EXPECT_EQ(before.at("model_loads"), 2);
  EXPECT_EQ(before.at("errors"), 2 + 3 + 1 + 1 + 1);
  json expected;
  for (const auto& [name, value] : before.at("execution_summary").items()) expected[name] = 0;
  expected["completed"] = 7;
  expected["completed_with_num_err"] = 2;
  expected["incorrect_input"] = 3;
  expected["invalid_error"] = 2;  // the execution without an output, the NEFF that is none
  expected["timed_out"] = 1;
  EXPECT_EQ(before.at("execution_summary"), expected);
  EXPECT_EQ(before.at("error_summary").at("numerical"), 2);
  EXPECT_EQ(before.at("error_summary").at("generic"), 1);
  EXPECT_EQ(before.at("error_summary").at("hardware"), 0);
  EXPECT_EQ(before.at("device_memory_bytes").at("tensors"), 2 * kBytes);
  EXPECT_GT(before.at("device_memory_bytes").at("model_code"), 0);
  EXPECT_GT(before.at("mean_device_latency_ns"), 0.0);
  EXPECT_GT(before.at("mean_total_latency_ns"), 0.0);
  EXPECT_GE(before.at("nc_time_in_use_us"), 7 * before.at("mean_device_latency_ns").get<double>() / 1000 - 1);
  EXPECT_EQ(all[0].at("cores")[0].at("counters").at("inferences"), 0) << "nothing ran there";
  const std::string table = ps({});
  EXPECT_NE(table.find("pid " + std::to_string(application.pid()) + "  "), std::string::npos) << table;
  EXPECT_NE(table.find("completed_with_num_err: 2\n"), std::string::npos) << table;
  EXPECT_NE(table.find("framework PyTorch 2.1.3\n"), std::string::npos) << table;

  application.go_on();
  ASSERT_TRUE(application.done());
  EXPECT_EQ(processes(), all) << "a forked child disturbs nothing";

  application.go_on();
  ASSERT_TRUE(application.done());
  all = processes();
  const json after = all[0].at("cores")[1].at("counters");
  EXPECT_EQ(after.at("inferences"), 8);
  EXPECT_EQ(after.at("errors"), before.at("errors"));
  EXPECT_EQ(after.at("model_loads"), 2) << "loads, not loaded models";
  for (const char* use : {"tensors", "model_code", "constants", "scratchpad"})
    EXPECT_EQ(after.at("device_memory_bytes").at(use), 0) << use;

  application.go_on();
  ASSERT_TRUE(application.done());
  EXPECT_EQ(processes(), json::array());
  EXPECT_EQ(files(), 0u);
  application.go_on();
  EXPECT_TRUE(application.ended_well());
}

TEST_F(Counters, givenAPipelineWhenExecutedThenItCountsOnceAndEveryCoreHasItsTime) {
  setenv("NEURON_RT_NUM_CORES", "2", 1);
  Application application([](const Application::Step& step) {
    const auto neff =
        opennrt::test::sum_pipeline({std::vector<float>(kCount, 1.0f), std::vector<float>(kCount, 2.0f)}, 4, 16)
            .build();
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return false;
    nrt_model_t* model = load(neff, 0, 2);
    Set in, out;
    const std::vector<float> numbers(kCount, 2.0f);
    bool well = model != nullptr && in.add("in", NRT_TENSOR_PLACEMENT_DEVICE, 0, numbers) &&
                out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, 0, numbers);
    for (int i = 0; i < 5; ++i) well = well && nrt_execute(model, in.set, out.set) == NRT_SUCCESS;
    if (!well) return false;
    step();
    return true;
  });
  ASSERT_TRUE(application.done());
  const json all = processes();
  EXPECT_EQ(all[0].at("framework"), "none");
  const json first = all[0].at("cores")[0].at("counters"), second = all[0].at("cores")[1].at("counters");
  EXPECT_EQ(first.at("inferences"), 5);
  EXPECT_EQ(second.at("inferences"), 0);
  EXPECT_EQ(first.at("model_loads"), 1);
  EXPECT_EQ(second.at("model_loads"), 1);
  EXPECT_GT(first.at("nc_time_in_use_us"), 0);
  EXPECT_GT(second.at("nc_time_in_use_us"), 0);
  EXPECT_EQ(first.at("device_memory_bytes").at("tensors"), 2 * kBytes);
  EXPECT_GE(second.at("device_memory_bytes").at("constants"), kBytes);
}

TEST_F(Counters, givenTwoProcessesOnOneDeviceWhenOneIsKilledThenTheOtherGoesOnAndTheNextOneRemovesWhatIsLeft) {
  setenv("NEURON_RT_NUM_CORES", "1", 1);
  const auto body = [](int inferences) {
    return [inferences](const Application::Step& step) {
      if (nrt_init(NRT_FRAMEWORK_TYPE_MXNET, NULL, NULL) != NRT_SUCCESS) return false;
      nrt_model_t* model = load(add_neff(), 0, 1);
      Set in, out;
      const std::vector<float> numbers(kCount, 2.0f);
      bool well = model != nullptr && in.add("a", NRT_TENSOR_PLACEMENT_DEVICE, 0, numbers) &&
                  in.add("b", NRT_TENSOR_PLACEMENT_DEVICE, 0, numbers) &&
                  out.add("out", NRT_TENSOR_PLACEMENT_DEVICE, 0, numbers);
      for (int i = 0; i < inferences; ++i) well = well && nrt_execute(model, in.set, out.set) == NRT_SUCCESS;
      if (well) step();
      return well;
    };
  };
  Application first(body(2));
  ASSERT_TRUE(first.done());
  Application second(body(5));
  ASSERT_TRUE(second.done());
  const auto inferences_of = [](pid_t pid) {
    for (const json& process : processes())
      if (process.at("pid") == pid) return process.at("cores")[0].at("counters").at("inferences").get<int>();
    return -1;
  };
  EXPECT_EQ(inferences_of(first.pid()), 2);
  EXPECT_EQ(inferences_of(second.pid()), 5);
  const pid_t dead = first.pid();
  first.kill();
  EXPECT_EQ(inferences_of(dead), -1);
  EXPECT_EQ(inferences_of(second.pid()), 5);
  EXPECT_EQ(files(), expected_files(2)) << "nobody could remove it yet";
  Application third(body(1));
  ASSERT_TRUE(third.done());
  EXPECT_EQ(inferences_of(third.pid()), 1);
  EXPECT_EQ(processes()[0].at("cores")[0].at("nc"), 0) << "the core of the dead";
  EXPECT_EQ(files(), expected_files(2));
  second.go_on();
  EXPECT_TRUE(second.ended_well());
}

TEST_F(Counters, givenABackendWithoutCountersWhenItRunsThenNothingIsMissedAndNothingWritten) {
  setenv("OPENNRT_BACKEND", "null", 1);
  Application application([](const Application::Step& step) {
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return false;
    Set set;
    const bool well = set.add("x", NRT_TENSOR_PLACEMENT_DEVICE, 0, std::vector<float>(kCount));
    step();
    set.free();
    nrt_close();
    return well;
  });
  ASSERT_TRUE(application.done());
  EXPECT_EQ(processes(), json::array());
  EXPECT_EQ(files(), 0u);
  application.go_on();
  EXPECT_TRUE(application.ended_well());
}

TEST_F(Counters, givenARuntimeFolderThatIsNoPathWhenAskedThenTheVariableIsNamed) {
  const auto outcome = run_program({tool(), "ps"}, {{"OPENNRT_RUNTIME_DIR", "relative"}});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "opennrt: error: OPENNRT_RUNTIME_DIR is 'relative', expected an absolute path\n");
}

}  // namespace
}  // namespace process_test
