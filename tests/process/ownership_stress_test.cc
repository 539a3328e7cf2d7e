// SPDX-License-Identifier: Apache-2.0
//
// Requirements A3, B6, B8: 64 processes on 16 simulated NeuronCores, half of them killed at random moments, round after
// round. Never two owners of a core, never a core lost, nothing left behind that blocks the next round.
//
// Who owns a core is witnessed independently of the library: each process that nrt_init gave a core also locks the
// core's byte in a file of the test. That file's descriptor is lower than any of the library's, so when a process dies
// its witness goes first.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/tools/process.h"

/// Asked by LeakSanitizer's runtime, where there is one: a forked child has its parent's memory and does not own it.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return 1;
}

namespace process_test {
namespace {

constexpr unsigned kCores = 16, kProcesses = 64;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr unsigned kRounds = 20;  // each process costs many times as much
#else
constexpr unsigned kRounds = 200;
#endif

/// How a worker ends that has found something wrong.
enum Wrong : int { kStatus = 10, kCoresOtherThanAsked, kTwoOwners, kNoInformation };

struct Shared {
  std::atomic<bool> finish;
  std::atomic<unsigned> wins, refusals;
  std::array<std::atomic<bool>, kProcesses> owns;
};

class Worker {
 public:
  Worker(Shared& shared, int witness, unsigned index, std::uint64_t seed)
      : shared_(shared), witness_(witness), index_(index), random_(seed) {}

  /// Takes cores, keeps them for a while, gives them back, until told to finish. 0 or a Wrong.
  int run() {
    console_ = memfd_create("console", 0);
    fcntl(console_, F_SETFL, O_APPEND);
    dup2(console_, STDERR_FILENO);
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);  // the information block names the cores
    setenv("NEURON_RT_LOG_LOCATION", "console", 1);
    while (!shared_.finish) {
      const std::vector<unsigned> asked = ask();
      if (ftruncate(console_, 0) != 0) return kNoInformation;
      const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
      if (status == NRT_RESOURCE) {
        ++shared_.refusals;
        nap(40000);
        continue;
      }
      if (status != NRT_SUCCESS) return kStatus;
      const std::vector<unsigned> cores = mine();
      if (cores.empty()) return kNoInformation;
      if (by_number_ ? cores != asked
                     : cores.size() != asked.size() || cores.back() - cores.front() + 1 != asked.size())
        return kCoresOtherThanAsked;
      for (const unsigned core : cores) {
        if (!witness(F_WRLCK, core)) return kTwoOwners;
      }
      shared_.owns[index_] = true;
      ++shared_.wins;
      if (random_() % 4 == 0) {
        nap(10000);
      } else {
        while (!shared_.finish) nap(2000);
      }
      shared_.owns[index_] = false;
      for (const unsigned core : cores) witness(F_UNLCK, core);
      nrt_close();
    }
    return 0;
  }

 private:
  /// Chooses 1 to 4 cores, half of the time by their numbers.
  std::vector<unsigned> ask() {
    std::vector<unsigned> cores(1 + random_() % 4);
    by_number_ = random_() % 2 == 0;
    unsetenv("NEURON_RT_VISIBLE_CORES");
    unsetenv("NEURON_RT_NUM_CORES");
    std::iota(cores.begin(), cores.end(), static_cast<unsigned>(random_() % (kCores - cores.size() + 1)));
    if (by_number_) {
      const std::string range = std::to_string(cores.front()) + "-" + std::to_string(cores.back());
      setenv("NEURON_RT_VISIBLE_CORES", range.c_str(), 1);
    } else {
      setenv("NEURON_RT_NUM_CORES", std::to_string(cores.size()).c_str(), 1);
    }
    return cores;
  }

  std::vector<unsigned> mine() {
    std::string text(static_cast<std::size_t>(lseek(console_, 0, SEEK_END)), '\0');
    if (pread(console_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) return {};
    const std::string before = "Visible cores: ";
    std::vector<unsigned> cores;
    std::size_t at = text.find(before);
    if (at == std::string::npos) return {};
    for (at += before.size(); at < text.size() && text[at] != '\n';) {
      char* end = nullptr;
      cores.push_back(static_cast<unsigned>(std::strtoul(text.c_str() + at, &end, 10)));
      at = static_cast<std::size_t>(end - text.c_str());
      if (text.compare(at, 2, ", ") == 0) at += 2;
    }
    return cores;
  }

  bool witness(short type, unsigned core) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = core;
    lock.l_len = 1;
    return fcntl(witness_, F_SETLK, &lock) == 0;
  }

  void nap(unsigned most_us) { std::this_thread::sleep_for(std::chrono::microseconds(random_() % most_us)); }

  Shared& shared_;
  const int witness_;
  const unsigned index_;
  std::mt19937_64 random_;
  int console_ = -1;
  bool by_number_ = false;
};

TEST(OwnershipStress, given64ProcessesOn16CoresWhenHalfAreKilledThenThereAreNeverTwoOwnersAndNeverACoreLost) {
  const opennrt::test::TemporaryFolder folder;
  const std::string path = (folder / "witness").string(), runtime = (folder / "runtime").string();
  const int witness = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(witness, 0);
  setenv("OPENNRT_SIM_INSTANCE", "inf1.6xlarge", 1);
  setenv("OPENNRT_RUNTIME_DIR", runtime.c_str(), 1);
  std::uint32_t total = 0;  // also loads the backend, once for all children
  ASSERT_EQ(nrt_get_total_nc_count(&total), NRT_SUCCESS);
  ASSERT_EQ(total, kCores);

  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* shared = new (memory) Shared{};
  const char* given = std::getenv("OPENNRT_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("OPENNRT_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  unsigned killed_owners = 0;

  for (unsigned round = 0; round < kRounds && !HasFailure(); ++round) {
    shared->finish = false;
    std::array<pid_t, kProcesses> pids{};
    std::array<bool, kProcesses> victim{};
    for (unsigned i = 0; i < kProcesses; ++i) {
      shared->owns[i] = false;
      victim[i] = i < kProcesses / 2;
    }
    std::shuffle(victim.begin(), victim.end(), random);
    const auto kill_one = [&](unsigned i) {
      if (shared->owns[i]) ++killed_owners;
      EXPECT_EQ(kill(pids[i], SIGKILL), 0);
    };
    std::vector<unsigned> later;
    for (unsigned i = 0; i < kProcesses; ++i) {
      const std::uint64_t own_seed = random();
      pids[i] = fork();
      ASSERT_GE(pids[i], 0);
      if (pids[i] == 0) _exit(Worker(*shared, witness, i, own_seed).run());
      if (!victim[i]) continue;
      if (random() % 4 == 0) {
        kill_one(i);  // while it starts
      } else {
        later.push_back(i);
      }
    }
    std::shuffle(later.begin(), later.end(), random);
    for (const unsigned i : later) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
      kill_one(i);
    }
    shared->finish = true;
    for (unsigned i = 0; i < kProcesses; ++i) {
      int status = -1;
      ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
      if (victim[i]) {
        EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "status " << status << " in round " << round;
      } else {
        EXPECT_EQ(status, 0) << "exit " << WEXITSTATUS(status) << " (see Wrong) in round " << round;
      }
    }
    const pid_t all = fork();
    if (all == 0) {
      unsetenv("NEURON_RT_VISIBLE_CORES");
      const NRT_STATUS status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
      nrt_close();
      _exit(status);
    }
    int status = -1;
    ASSERT_EQ(waitpid(all, &status, 0), all);
    EXPECT_EQ(status, 0) << "a core was lost in round " << round;
  }
  std::printf("%u rounds: %u times cores were had, %u times refused, %u owners killed\n", kRounds, shared->wins.load(),
              shared->refusals.load(), killed_owners);
  // That it was a fight at all.
  EXPECT_GT(shared->wins, kRounds);
  EXPECT_GT(shared->refusals, kRounds);
  EXPECT_GT(killed_owners, kRounds / 4);
  munmap(memory, sizeof(Shared));
  close(witness);
}

}  // namespace
}  // namespace process_test
