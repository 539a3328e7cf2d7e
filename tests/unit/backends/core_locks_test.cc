// SPDX-License-Identifier: Apache-2.0
//
// Who owns a core, among processes. Every child here is forked before any machine is built.
#include "backends/sim/core_locks.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <tuple>
#include <vector>

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
  const Reserved two = reserve(locks, 2, 0, 3);
  EXPECT_EQ(two.error, EBUSY) << "0 and 3 are free, which is no run of two";
  EXPECT_EQ(two.available, 1u);
  const Reserved one = reserve(locks, 1, 1, 3);
  EXPECT_EQ(one.error, 0);
  EXPECT_EQ(one.taken.bits[0], 0b1000u) << "the first that is free";
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

// B8: a reservation that does not get all of its cores never had one of them, not even for a moment.
TEST(CoreLocks, givenAReservationThatCannotSucceedWhenItIsTriedAllTheTimeThenItTakesNothingFromOthers) {
  TempDir dir;
  const pid_t holder = child_that(
      [&] {
        auto* locks = new CoreLocks(dir.path(), "inf1.6xlarge", 16);
        return reserve(*locks, 1, 7, 7).error;
      },
      0);
  const pid_t greedy = ::fork();
  if (greedy == 0) {
    CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
    for (;;) {
      if (reserve(locks, 8, 0, 7).error != EBUSY || reserve(locks, 10, 0, 15).error != EBUSY) ::_exit(1);
    }
  }
  CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
  for (int round = 0; round < 5000; ++round) {
    const Reserved r = reserve(locks, 4, 0, 3);
    ASSERT_EQ(r.error, 0) << "round " << round;
    ASSERT_EQ(locks.release(r.taken).error, 0);
  }
  EXPECT_EQ(::waitpid(greedy, nullptr, WNOHANG), 0) << "it must still be trying";
  kill_and_reap(greedy);
  kill_and_reap(holder);
}

// B8: nothing is held while a process looks for cores.
TEST(CoreLocks, givenAProcessThatIsStoppedWhileItReservesThenOthersGetTheirCoresAtOnce) {
  TempDir dir;
  const pid_t busy = ::fork();
  if (busy == 0) {
    CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
    for (;;) {
      for (const auto& [count, first, last] : {std::tuple{4u, 0u, 3u}, {2u, 0u, 7u}}) {
        const Reserved r = reserve(locks, count, first, last);
        if (r.error != 0 || locks.release(r.taken).error != 0) ::_exit(1);
      }
    }
  }
  CoreLocks locks(dir.path(), "inf1.6xlarge", 16);
  for (int round = 0; round < 300; ++round) {
    ASSERT_EQ(::kill(busy, SIGSTOP), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(busy, &status, WUNTRACED), busy);
    ASSERT_TRUE(WIFSTOPPED(status)) << status;
    const Reserved exact = reserve(locks, 4, 8, 11);
    ASSERT_EQ(exact.error, 0);
    const Reserved any = reserve(locks, 8, 0, 15);
    // The stopped one may have up to four of 0-7; then there is no run of eight, but still one of four.
    const Reserved four = any.error == 0 ? any : reserve(locks, 4, 0, 15);
    ASSERT_EQ(four.error, 0);
    ASSERT_EQ(locks.release(four.taken).error, 0);
    ASSERT_EQ(locks.release(exact.taken).error, 0);
    ASSERT_EQ(::kill(busy, SIGCONT), 0);
  }
  EXPECT_EQ(::waitpid(busy, nullptr, WNOHANG), 0);
  kill_and_reap(busy);
}

TEST(CoreLocks, givenAProgramThatIsExecutedThenItHasNeitherCoresNorTheFile) {
  TempDir dir;
  CoreLocks locks(dir.path(), "inf1.xlarge", 4);
  ASSERT_EQ(reserve(locks, 1, 0, 0).error, 0);
  int end[2];
  ASSERT_EQ(::pipe2(end, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto* own = new CoreLocks(dir.path(), "inf1.xlarge", 4);
    if (reserve(*own, 1, 1, 1).error != 0) ::_exit(1);
    ::fcntl(end[1], F_DUPFD_CLOEXEC, 100);  // descriptors are closed in order, this one after the lock file's
    ::close(end[1]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execlp("sleep", "sleep", "1000", nullptr);
    ::_exit(2);
  }
  ::close(end[1]);
  char byte = 0;
  EXPECT_EQ(::read(end[0], &byte, 1), 0) << "until the child has executed the other program";
  ::close(end[0]);
  EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it must be running";
  std::error_code gone;  // its loader opens and closes files of its own meanwhile
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(child) + "/fd", gone)) {
    const std::string file = std::filesystem::read_symlink(entry, gone).string();
    EXPECT_EQ(file.find(".cores"), std::string::npos) << file;
  }
  EXPECT_EQ(reserve(locks, 1, 1, 1).error, 0) << "what it had before is free";
  kill_and_reap(child);
  opennrt_core_holder_t holder{};
  EXPECT_EQ(locks.holder(0, holder).error, 0);
  EXPECT_EQ(holder.pid, ::getpid());
}

/// A folder of another user: as root made here, else one that every system has.
std::string folder_of_somebody_else(const TempDir& dir) {
  if (::geteuid() != 0) return "/usr";
  const std::string path = dir.path() + "/theirs";
  if (::mkdir(path.c_str(), 0700) != 0 || ::chown(path.c_str(), 65534, 65534) != 0) return "";
  return path;
}

TEST(CoreLocks, givenAFolderOfAnotherUserThenItIsRefusedAndAsAParentPassedOver) {
  TempDir dir;
  const std::string theirs = folder_of_somebody_else(dir);
  ASSERT_FALSE(theirs.empty());
  const auto refused = runtime_dir(theirs);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find(theirs + " belongs to user "), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("expected user " + std::to_string(::geteuid())), std::string::npos);
  CoreLocks locks(theirs, "inf1.xlarge", 4);
  EXPECT_EQ(reserve(locks, 1, 0, 3).error, EPERM);
  EXPECT_FALSE(std::filesystem::exists(theirs + "/inf1.xlarge.cores"));
  // As it survives sudo: a folder of root's in it would lock its owner out.
  const char* before = std::getenv("XDG_RUNTIME_DIR");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("XDG_RUNTIME_DIR", theirs.c_str(), 1);
  const auto chosen = runtime_dir("");
  before == nullptr ? ::unsetenv("XDG_RUNTIME_DIR") : ::setenv("XDG_RUNTIME_DIR", kept.c_str(), 1);
  ASSERT_TRUE(chosen.has_value()) << chosen.error().message;
  EXPECT_NE(*chosen, theirs + "/opennrt");
  EXPECT_FALSE(std::filesystem::exists(theirs + "/opennrt"));
}

TEST(CoreLocks, givenAFolderThatOthersMayWriteToThenItIsRefusedByItsMode) {
  TempDir dir;
  for (const mode_t mode : {0777, 0770, 0702, 01777}) {
    ASSERT_EQ(::chmod(dir.path().c_str(), mode), 0);
    const auto refused = runtime_dir(dir.path());
    ASSERT_FALSE(refused.has_value()) << mode;
    EXPECT_NE(refused.error().message.find(fmt::format("has mode {:o}", mode)), std::string::npos)
        << refused.error().message;
  }
  for (const mode_t mode : {0700, 0755}) {
    ASSERT_EQ(::chmod(dir.path().c_str(), mode), 0);
    EXPECT_TRUE(runtime_dir(dir.path()).has_value()) << mode;
  }
}

TEST(CoreLocks, givenALinkForAFolderThenItIsRefusedByItsPath) {
  TempDir dir;
  const std::string runtime = dir.path() + "/runtime";
  ASSERT_EQ(::mkdir(runtime.c_str(), 0700), 0);
  const std::string link = dir.path() + "/linked";
  ASSERT_EQ(::symlink(runtime.c_str(), link.c_str()), 0);
  const auto refused = runtime_dir(link);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find(link + " is a symbolic link"), std::string::npos) << refused.error().message;
  const std::string file = dir.path() + "/file";
  std::ofstream(file) << "x";
  const auto no_folder = runtime_dir(file);
  ASSERT_FALSE(no_folder.has_value());
  EXPECT_NE(no_folder.error().message.find(file), std::string::npos) << no_folder.error().message;
}

/// What stands where the lock file would be, and what the refusal says.
struct Planted {
  const char* what;
  std::function<int(const std::string& lock, const std::string& victim)> plant;
  const char* message;
};

TEST(CoreLocks, givenSomethingPlantedForTheLockFileThenItIsRefusedByItsPathAndNothingElseIsTouched) {
  const std::vector<Planted> cases = {
      {"a link", [](auto& lock, auto& victim) { return ::symlink(victim.c_str(), lock.c_str()); },
       "is a symbolic link"},
      {"a link to nothing", [](auto& lock, auto& victim) { return ::symlink((victim + ".new").c_str(), lock.c_str()); },
       "is a symbolic link"},
      {"a hard link", [](auto& lock, auto& victim) { return ::link(victim.c_str(), lock.c_str()); },
       "is not a regular file"},
      {"a fifo", [](auto& lock, auto&) { return ::mkfifo(lock.c_str(), 0600); }, "is not a regular file"},
      {"a folder", [](auto& lock, auto&) { return ::mkdir(lock.c_str(), 0700); }, "cannot open it"}};
  for (const Planted& planted : cases) {
    TempDir dir;
    const std::string victim = dir.path() + "/victim", lock = dir.path() + "/inf1.xlarge.cores";
    std::ofstream(victim) << "precious";
    ASSERT_EQ(planted.plant(lock, victim), 0) << planted.what;
    opennrt_core_map_t taken{};
    std::uint32_t available = 0;
    CoreLocks locks(dir.path(), "inf1.xlarge", 4);
    const auto failure = locks.reserve(1, 0, 3, taken, available);
    EXPECT_NE(failure.error, 0) << planted.what;
    EXPECT_NE(failure.message.find(lock), std::string::npos) << failure.message;
    EXPECT_NE(failure.message.find(planted.message), std::string::npos) << failure.message;
    EXPECT_FALSE(std::filesystem::exists(victim + ".new")) << planted.what;
    EXPECT_EQ(std::filesystem::file_size(victim), 8u) << planted.what;
    std::filesystem::remove(lock);
    EXPECT_EQ(reserve(locks, 4, 0, 3).error, 0) << "once it is gone: " << planted.what;
  }
}

TEST(CoreLocks, givenAFileThatAnotherProcessLeftThenItBlocksNobody) {
  TempDir dir;
  const std::string lock = dir.path() + "/inf1.xlarge.cores";
  std::ofstream(lock) << "whatever an older release wrote here";
  const mode_t before = ::umask(0777);
  const pid_t child = child_that(
      [&] {
        auto* locks = new CoreLocks(dir.path(), "inf1.2xlarge", 4);
        return reserve(*locks, 4, 0, 3).error;
      },
      0);
  ::umask(before);
  kill_and_reap(child);
  struct stat status {};
  ASSERT_EQ(::stat((dir.path() + "/inf1.2xlarge.cores").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u) << "whatever the umask";
  for (const char* instance : {"inf1.xlarge", "inf1.2xlarge"}) {
    CoreLocks locks(dir.path(), instance, 4);
    EXPECT_EQ(reserve(locks, 4, 0, 3).error, 0) << instance;
  }
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

TEST(CoreLocks, givenThreadsWhenTheyReserveThroughSeveralObjectsThenNoCoreHasTwoOwners) {
  TempDir dir;
  CoreLocks objects[2] = {{dir.path(), "inf1.xlarge", 4}, {dir.path(), "inf1.xlarge", 4}};
  std::atomic<int> owners[4] = {}, wrong = 0, had = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      CoreLocks& locks = objects[t % 2];
      for (int round = 0; round < 500; ++round) {
        const Reserved r = reserve(locks, 1 + t % 2, 0, 3);
        opennrt_core_holder_t holder{};
        if (locks.holder(t % 4, holder).error != 0) ++wrong;
        if (r.error == EBUSY) continue;
        if (r.error != 0) ++wrong;
        ++had;
        for (unsigned core = 0; core < 4; ++core) {
          if ((r.taken.bits[0] >> core & 1) != 0 && ++owners[core] != 1) ++wrong;
        }
        for (unsigned core = 0; core < 4; ++core) {
          if ((r.taken.bits[0] >> core & 1) != 0) --owners[core];
        }
        if (locks.release(r.taken).error != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(had, 0);
  EXPECT_EQ(reserve(objects[0], 4, 0, 3).error, 0);
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
