// SPDX-License-Identifier: Apache-2.0
//
// Who owns a core, among processes. Every child here is forked before any machine is built.
#include "backends/sim/core_locks.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "tests/unit/backends/plugin.h"

namespace opennrt::driver {
namespace {

using test::TempDir;

/// Runs `body` in a child that then lives until it is killed; returns its pid when `body` has returned `expected`.
pid_t child_that(const std::function<int()>& body, int expected) {
  int ready[2];
  if (::pipe(ready) != 0) return -1;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int answer = body();
    if (::write(ready[1], &answer, sizeof(answer)) != sizeof(answer)) ::_exit(2);
    for (;;) ::pause();
  }
  int answer = -1;
  EXPECT_EQ(::read(ready[0], &answer, sizeof(answer)), static_cast<ssize_t>(sizeof(answer)));
  EXPECT_EQ(answer, expected);
  ::close(ready[0]);
  ::close(ready[1]);
  return pid;
}

void kill_and_reap(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

struct Reserved {
  int error;
  opennrt_core_map_t taken{};
  std::uint32_t available = 0;
};
Reserved reserve(CoreLocks& locks, std::uint32_t count, std::uint32_t first, std::uint32_t last) {
  Reserved r{};
  r.error = locks.reserve(count, first, last, r.taken, r.available).error;
  return r;
}

TEST(CoreLocks, givenACoreOfAnotherProcessThenItIsBusyAndItsHolderIsNamed) {
  TempDir dir;
  const pid_t child = child_that(
      [&] {
        auto* locks = new CoreLocks(dir.path(), "inf1.xlarge", 4);
        return reserve(*locks, 2, 1, 2).error;
      },
      0);
  CoreLocks locks(dir.path(), "inf1.xlarge", 4);
  const Reserved exact = reserve(locks, 1, 1, 1);
  EXPECT_EQ(exact.error, EBUSY);
  EXPECT_EQ(exact.available, 0u);
  opennrt_core_holder_t holder{};
  EXPECT_EQ(locks.holder(1, holder).error, 0);
  EXPECT_EQ(holder.pid, child);
  EXPECT_NE(std::string(holder.command).find("test"), std::string::npos) << holder.command;
  EXPECT_EQ(locks.holder(0, holder).error, 0);
  EXPECT_EQ(holder.pid, 0);
  const Reserved any = reserve(locks, 2, 0, 3);
  EXPECT_EQ(any.error, 0);
  EXPECT_EQ(any.taken.bits[0], 0b1001u);
  kill_and_reap(child);
  EXPECT_EQ(reserve(locks, 2, 1, 2).error, 0) << "SIGKILL must free its cores at once";
}

TEST(CoreLocks, givenAForkedChildThenItHasNoneOfItsParentsCores) {
  TempDir dir;
  CoreLocks locks(dir.path(), "inf1.xlarge", 4);
  ASSERT_EQ(reserve(locks, 4, 0, 3).error, 0);
  const pid_t child = child_that(
      [&] {
        CoreLocks own(dir.path(), "inf1.xlarge", 4);
        opennrt_core_holder_t holder{};
        if (own.holder(2, holder).error != 0 || holder.pid != ::getppid()) return -2;
        return reserve(own, 1, 0, 3).error;
      },
      EBUSY);
  kill_and_reap(child);
  const pid_t other = child_that(
      [&] {
        CoreLocks own(dir.path(), "inf1.xlarge", 4);
        return reserve(own, 1, 2, 2).error;
      },
      EBUSY);
  kill_and_reap(other);
}

TEST(CoreLocks, givenMoreProcessesThanCoresThenExactlyAsManyWinAsThereAreCores) {
  constexpr int kProcesses = 24;
  for (int round = 0; round < 5; ++round) {
    TempDir dir;
    int start[2];
    ASSERT_EQ(::pipe(start), 0);
    int results[2];
    ASSERT_EQ(::pipe(results), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::close(start[1]);
        char go;
        if (::read(start[0], &go, 1) < 0) ::_exit(2);  // until the parent closes its end
        CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
        const Reserved r = reserve(locks, 3, 0, 15);
        if (::write(results[1], &r, sizeof(r)) != sizeof(r)) ::_exit(2);
        for (;;) ::pause();
      }
      children.push_back(pid);
    }
    ::close(start[0]);
    ::close(start[1]);
    std::uint64_t owned = 0;
    int winners = 0;
    for (int i = 0; i < kProcesses; ++i) {
      Reserved r{};
      ASSERT_EQ(::read(results[0], &r, sizeof(r)), static_cast<ssize_t>(sizeof(r)));
      if (r.error == 0) {
        ++winners;
        EXPECT_EQ(owned & r.taken.bits[0], 0u) << "two owners";
        owned |= r.taken.bits[0];
      } else {
        EXPECT_EQ(r.error, EBUSY);
      }
    }
    EXPECT_EQ(winners, 5) << "16 cores, 3 each";
    EXPECT_EQ(__builtin_popcountll(owned), 15);
    for (const pid_t pid : children) kill_and_reap(pid);
    CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
    EXPECT_EQ(reserve(locks, 16, 0, 15).error, 0) << "a core was lost";
    ::close(results[0]);
    ::close(results[1]);
  }
}

TEST(CoreLocks, givenAPlantedLinkThenItIsRefusedByItsPath) {
  TempDir dir;
  const std::string victim = dir.path() + "/victim";
  std::ofstream(victim) << "precious";
  const std::string runtime = dir.path() + "/runtime";
  ASSERT_EQ(::mkdir(runtime.c_str(), 0700), 0);
  const std::string lock = runtime + "/inf1.xlarge.cores";
  ASSERT_EQ(::symlink(victim.c_str(), lock.c_str()), 0);
  opennrt_core_map_t taken{};
  std::uint32_t available = 0;
  {
    CoreLocks locks(runtime, "inf1.xlarge", 4);
    const auto failure = locks.reserve(1, 0, 3, taken, available);
    EXPECT_EQ(failure.error, EPERM);
    EXPECT_NE(failure.message.find(lock), std::string::npos) << failure.message;
    EXPECT_NE(failure.message.find("symbolic link"), std::string::npos) << failure.message;
  }
  ASSERT_EQ(::unlink(lock.c_str()), 0);
  ASSERT_EQ(::link(victim.c_str(), lock.c_str()), 0);
  {
    CoreLocks locks(runtime, "inf1.xlarge", 4);
    const auto failure = locks.reserve(1, 0, 3, taken, available);
    EXPECT_EQ(failure.error, EPERM) << "a hard link to somebody's file";
    EXPECT_NE(failure.message.find(lock), std::string::npos) << failure.message;
  }
  const std::string link = dir.path() + "/linked";
  ASSERT_EQ(::symlink(runtime.c_str(), link.c_str()), 0);
  const auto refused = runtime_dir(link);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find(link), std::string::npos) << refused.error().message;
  ASSERT_EQ(::chmod(runtime.c_str(), 0777), 0);
  const auto open_to_all = runtime_dir(runtime);
  ASSERT_FALSE(open_to_all.has_value());
  EXPECT_NE(open_to_all.error().message.find("777"), std::string::npos) << open_to_all.error().message;
}

TEST(CoreLocks, givenNoFolderThenItIsMadeForThisUserOnly) {
  TempDir dir;
  const auto made = runtime_dir(dir.path() + "/new");
  ASSERT_TRUE(made.has_value()) << made.error().message;
  struct stat status {};
  ASSERT_EQ(::stat(made->c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_FALSE(runtime_dir(dir.path() + "/no/such").has_value());
}

TEST(CoreLocks, givenSeveralObjectsThenClosingOneKeepsTheOthersCores) {
  TempDir dir;
  CoreLocks first(dir.path(), "inf1.xlarge", 4);
  ASSERT_EQ(reserve(first, 1, 0, 0).error, 0);
  {
    CoreLocks second(dir.path(), "inf1.xlarge", 4);
    EXPECT_EQ(reserve(second, 1, 0, 0).error, EBUSY) << "also within a process";
    EXPECT_EQ(reserve(second, 1, 1, 1).error, 0);
  }
  const pid_t child = child_that(
      [&] {
        auto* own = new CoreLocks(dir.path(), "inf1.xlarge", 4);
        if (reserve(*own, 1, 0, 0).error != EBUSY) return -1;
        return reserve(*own, 1, 1, 1).error;
      },
      0);
  kill_and_reap(child);
}

TEST(CoreLocks, givenTheFileWasRemovedThenTheNextReservationStillHoldsAgainstOthers) {
  TempDir dir;
  CoreLocks locks(dir.path(), "inf1.xlarge", 4);
  ASSERT_EQ(reserve(locks, 1, 0, 0).error, 0);
  std::filesystem::remove(dir.path() + "/inf1.xlarge.cores");
  ASSERT_EQ(reserve(locks, 1, 1, 1).error, 0);
  const pid_t child = child_that(
      [&] {
        CoreLocks own(dir.path(), "inf1.xlarge", 4);
        const Reserved r = reserve(own, 2, 0, 3);
        return r.error != 0 ? -1 : static_cast<int>(r.taken.bits[0]);
      },
      0b1100);
  kill_and_reap(child);
}

TEST(CoreLocks, badRangesAreRefused) {
  TempDir dir;
  CoreLocks locks(dir.path(), "inf1.xlarge", 4);
  EXPECT_EQ(reserve(locks, 0, 0, 3).error, EINVAL);
  EXPECT_EQ(reserve(locks, 1, 3, 2).error, EINVAL);
  EXPECT_EQ(reserve(locks, 1, 0, 4).error, EINVAL);
  EXPECT_EQ(reserve(locks, 5, 0, 3).error, EBUSY);
}

}  // namespace
}  // namespace opennrt::driver
