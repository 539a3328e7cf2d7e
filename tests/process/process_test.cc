// SPDX-License-Identifier: Apache-2.0
// docs/host-contract.md, requirements A1, A3, B6, C2, D4: the library and the process around it. This program never
// opens the library itself: every test does so in children.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <signal.h>

#include <algorithm>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "tests/process/helpers.h"

/// Asked by LeakSanitizer's runtime, where there is one, before it looks for leaks.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace process_test {
namespace {

std::string library() {
  return std::filesystem::path(std::getenv("OPENNRT_BUILD_DIR")) / "lib" / "libnrt.so.1";
}

struct Loaded {
  explicit Loaded(const char* name) : handle(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) return;
    init = reinterpret_cast<decltype(init)>(dlsym(handle, "nrt_init"));
    close = reinterpret_cast<decltype(close)>(dlsym(handle, "nrt_close"));
    total = reinterpret_cast<decltype(total)>(dlsym(handle, "nrt_get_total_nc_count"));
    visible = reinterpret_cast<decltype(visible)>(dlsym(handle, "nrt_get_visible_nc_count"));
    allocate = reinterpret_cast<decltype(allocate)>(dlsym(handle, "nrt_tensor_allocate"));
  }
  void* handle;
  decltype(&nrt_init) init = nullptr;
  decltype(&nrt_close) close = nullptr;
  decltype(&nrt_get_total_nc_count) total = nullptr;
  decltype(&nrt_get_visible_nc_count) visible = nullptr;
  decltype(&nrt_tensor_allocate) allocate = nullptr;
};

int open_and_use(Loaded& nrt) {
  if (nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 10;
  nrt_tensor_t* tensor = nullptr;
  return nrt.allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "x", &tensor) == NRT_SUCCESS ? 0 : 11;
}

struct Process : testing::Test {
  void SetUp() override {
    unsetenv("NEURON_RT_NUM_CORES");
    unsetenv("NEURON_RT_VISIBLE_CORES");
    unsetenv("NEURON_RT_LOG_LEVEL");
  }
};

TEST_F(Process, givenAProcessThatNeverClosesWhenItExitsThenNothingIsPrintedAndTheNextOneGetsTheCores) {
  for (int round = 0; round < 3; ++round) {
    const Ended ended = in_child(
        [] {
          Loaded nrt(library().c_str());
          return open_and_use(nrt);
        },
        true);
    EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_EQ(ended.err, "");
  }
}

TEST_F(Process, givenAProcessThatIsKilledWhenTheNextOneComesThenTheCoresAreFree) {
  for (int round = 0; round < 3; ++round) {
    const Ended ended = in_child([] {
      Loaded nrt(library().c_str());
      if (const int wrong = open_and_use(nrt)) return wrong;
      raise(SIGKILL);
      return 0;
    });
    EXPECT_TRUE(WIFSIGNALED(ended.status)) << ended.status << ended.err;
  }
}

TEST_F(Process, givenDlcloseWithoutCloseWhenTheLibraryIsLoadedAgainThenItGoesOn) {
  const Ended ended = in_child(
      [] {
        for (int round = 0; round < 3; ++round) {
          Loaded nrt(library().c_str());
          if (nrt.handle == nullptr) return 1;
          if (const int wrong = open_and_use(nrt)) return wrong;
          dlclose(nrt.handle);
        }
        return 0;
      },
      true);
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

TEST_F(Process, givenCountsAskedForWhenForkedThenEachChildOpensTheLibraryForItself) {
  const Ended ended = in_child([] {
    Loaded nrt(library().c_str());
    std::uint32_t total = 0, visible = 0;
    if (nrt.total(&total) != NRT_SUCCESS || nrt.visible(&visible) != NRT_SUCCESS || total < 4) return 1;
    pid_t ranks[4];
    for (int rank = 0; rank < 4; ++rank) {
      ranks[rank] = fork();
      if (ranks[rank] == 0) {
        setenv("NEURON_RT_VISIBLE_CORES", std::to_string(rank).c_str(), 1);
        const int wrong = open_and_use(nrt);
        if (wrong == 0) nrt.close();
        _exit(wrong);
      }
    }
    int wrong = 0;
    for (const pid_t rank : ranks) {
      int status = -1;
      waitpid(rank, &status, 0);
      if (status != 0) ++wrong;
    }
    return wrong;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

TEST_F(Process, givenAnOpenLibraryWhenForkedThenTheChildIsNotOpenAndTheParentGoesOn) {
  const Ended ended = in_child([] {
    Loaded nrt(library().c_str());
    if (const int wrong = open_and_use(nrt)) return wrong;
    const pid_t child = fork();
    if (child == 0) {
      nrt_tensor_t* tensor = nullptr;
      const NRT_STATUS status = nrt.allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "x", &tensor);
      nrt.close();
      exit(status == NRT_UNINITIALIZED ? 0 : 20);
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 21;
    nrt_tensor_t* tensor = nullptr;
    if (nrt.allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "x", &tensor) != NRT_SUCCESS) return 22;
    nrt.close();
    return 0;
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

TEST_F(Process, givenAnOpenLibraryWhenAForkedChildOpensItThenItGetsCoresOrAReasonAndTheyAreFreeAfterIt) {
  const bool sim = std::getenv("OPENNRT_BACKEND") == std::string("sim");
  const Ended ended = in_child([sim] {
    setenv("NEURON_RT_VISIBLE_CORES", "0", 1);
    Loaded nrt(library().c_str());
    if (const int wrong = open_and_use(nrt)) return wrong;
    setenv("NEURON_RT_VISIBLE_CORES", "1-3", 1);
    const pid_t child = fork();
    if (child == 0) {
      const NRT_STATUS status = nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
      nrt.close();
      _exit((status == NRT_SUCCESS) == sim);
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0) return 30;
    nrt.close();
    setenv("NEURON_RT_VISIBLE_CORES", "0-3", 1);
    return open_and_use(nrt);
  });
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
  EXPECT_EQ(ended.err.find("open the runtime only after the fork") != std::string::npos, sim) << ended.err;
}

TEST_F(Process, givenCoresThatAnotherProcessHasWhenAskedForThenTheDocumentedLineNamesTheHolder) {
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    close(done[1]);
    setenv("NEURON_RT_VISIBLE_CORES", "1", 1);
    Loaded nrt(library().c_str());
    const char result = nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS ? 'y' : 'n';
    if (write(ready[1], &result, 1) != 1) _exit(1);
    char end = 0;
    (void)!read(done[0], &end, 1);
    nrt.close();
    _exit(0);
  }
  char result = 0;
  ASSERT_EQ(read(ready[0], &result, 1), 1);
  ASSERT_EQ(result, 'y');
  const auto try_cores = [](const char* variable, const char* value) {
    return in_child([=] {
      setenv(variable, value, 1);
      Loaded nrt(library().c_str());
      return static_cast<int>(nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    });
  };
  const Ended same = try_cores("NEURON_RT_VISIBLE_CORES", "1");
  EXPECT_TRUE(same.exited(NRT_RESOURCE)) << same.status;
  EXPECT_NE(same.err.find("ERROR   NRT:nrt_allocate_neuron_cores               NeuronCore(s) not available - "
                          "Requested:nc1-nc1 Available:0"),
            std::string::npos)
      << same.err;
  EXPECT_NE(same.err.find("nc1 by pid " + std::to_string(holder)), std::string::npos) << same.err;
  EXPECT_TRUE(try_cores("NEURON_RT_VISIBLE_CORES", "2-3").exited(0)) << "other cores are free";
  EXPECT_TRUE(try_cores("NEURON_RT_NUM_CORES", "2").exited(0));
  const Ended three = try_cores("NEURON_RT_NUM_CORES", "3");
  EXPECT_TRUE(three.exited(NRT_RESOURCE)) << "0, 2 and 3 are free, which are not three in a row";
  EXPECT_NE(three.err.find("Requested:3 Available:2"), std::string::npos) << three.err;
  close(done[1]);
  int status = -1;
  waitpid(holder, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(try_cores("NEURON_RT_VISIBLE_CORES", "1").exited(0)) << "free at once";
  for (const int fd : {ready[0], ready[1], done[0]}) close(fd);
}

TEST_F(Process, givenNoBackendChosenWhenTheSimulatorStandsInThenOneWarningSaysSo) {
  if (access("/dev/neuron0", F_OK) == 0) GTEST_SKIP() << "this machine has a Neuron device";
  const auto open_twice = [] {
    unsetenv("OPENNRT_BACKEND");
    Loaded nrt(library().c_str());
    std::uint32_t count = 0;
    if (nrt.total(&count) != NRT_SUCCESS) return 1;
    for (int i = 0; i < 2; ++i) {
      if (nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 2;
      nrt.close();
    }
    return 0;
  };
  const Ended ended = in_child(open_twice);
  EXPECT_TRUE(ended.exited(0)) << ended.err;
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_NE(ended.err.find(" WARN   NRT:nrt_init"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("OPENNRT_BACKEND=sim"), std::string::npos);
  EXPECT_EQ(ended.out, "");
  const Ended quiet = in_child([&] {
    setenv("NEURON_RT_LOG_LEVEL", "QUIET", 1);
    return open_twice();
  });
  EXPECT_TRUE(quiet.exited(0));
  EXPECT_EQ(quiet.err, "");
}

TEST_F(Process, givenNeuronAskedForWhenThereIsNoDeviceThenItIsRefused) {
  if (access("/dev/neuron0", F_OK) == 0) GTEST_SKIP() << "this machine has a Neuron device";
  const Ended ended = in_child([] {
    setenv("OPENNRT_BACKEND", "neuron", 1);
    Loaded nrt(library().c_str());
    return static_cast<int>(nrt.init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
  });
  EXPECT_TRUE(ended.exited(NRT_FAILURE)) << ended.status;
  EXPECT_NE(ended.err.find("This instance has no neuron devices"), std::string::npos) << ended.err;
  if (access("/sys/module/neuron/version", F_OK) != 0) {  // D1
    EXPECT_NE(
        ended.err.find("Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is installed."),
        std::string::npos)
        << ended.err;
  }
}

TEST_F(Process, givenAnotherWorkingFolderWhenOpenedThenTheLibraryFindsItsParts) {
  const Ended ended = in_child(
      [] {
        if (chdir("/") != 0) return 1;
        Loaded nrt(library().c_str());
        if (nrt.handle == nullptr) return 2;
        return open_and_use(nrt);
      },
      true);
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

TEST_F(Process, givenABackendPathWhenItHoldsNoneOfThatNameThenTheLibrarysOwnIsTaken) {
  const Ended ended = in_child(
      [] {
        setenv("OPENNRT_BACKEND_PATH", "/nonexistent:/tmp", 1);
        Loaded nrt(library().c_str());
        return open_and_use(nrt);
      },
      true);
  EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
}

}  // namespace
}  // namespace process_test
