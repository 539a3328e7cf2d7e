// SPDX-License-Identifier: Apache-2.0
//
// Requirement H2: whose counters can be read, by whom, and until when. Every child here is forked before anything is mapped by
// a thread.
#include "backends/sim/counters.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "tests/unit/backends/plugin.h"

namespace opennrt::driver {
namespace {

using test::TempDir;

/// Runs `body` in a child that then lives until it is killed; returns its pid when `body` has returned.
pid_t child_that(const std::function<bool()>& body) {
  int ready[2];
  if (::pipe(ready) != 0) return -1;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const char answer = body() ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(2);
    for (;;) ::pause();
  }
  char answer = 0;
  EXPECT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  ::close(ready[0]);
  ::close(ready[1]);
  return pid;
}

void kill_and_reap(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

struct CounterFiles : testing::Test {
  TempDir dir;
  std::string folder = dir.path() + "/run";
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
    return names;
  }
  std::string name(const std::string& device, pid_t pid) const {
    return "inf1.xlarge." + device + "." + std::to_string(pid) + ".counters";
  }
  /// Maps this process's own in a child, with `mark` as its first byte.
  bool mark(char mark) const {
    static Counters* leaked = nullptr;  // stays until the child is killed
    leaked = new Counters(folder, "inf1.xlarge");
    void* address = nullptr;
    if (leaked->map(0, 0, address).error != 0) return false;
    *static_cast<char*>(address) = mark;
    return true;
  }
};

TEST_F(CounterFiles, givenAProcessThatCountsWhenAnotherOneMapsItsCountersThenItSeesThemAsTheyChange) {
  const pid_t pid = child_that([&] { return mark('x'); });
  Counters reader(folder, "inf1.xlarge");
  void* address = nullptr;
  ASSERT_EQ(reader.map(0, pid, address).error, 0);
  EXPECT_EQ(*static_cast<char*>(address), 'x');
  EXPECT_EQ(reader.unmap(address).error, 0);
  EXPECT_EQ(reader.unmap(address).error, EINVAL);
  EXPECT_EQ(reader.map(1, pid, address).error, ENOENT) << "of that device it has none";
  EXPECT_EQ(reader.map(0, ::getpid(), address).error, ENOENT) << "nor have we";
  EXPECT_EQ(reader.map(0, -2, address).error, EINVAL);
  EXPECT_EQ(address, nullptr);
  kill_and_reap(pid);
}

TEST_F(CounterFiles, givenAReaderWhenItWritesThenItCannot) {
  const pid_t pid = child_that([&] { return mark('x'); });
  const pid_t writer = ::fork();
  if (writer == 0) {
    ::signal(SIGSEGV, [](int) { ::_exit(42); });
    Counters reader(folder, "inf1.xlarge");
    void* address = nullptr;
    if (reader.map(0, pid, address).error != 0) ::_exit(1);
    *static_cast<volatile char*>(address) = 'y';
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(writer, &status, 0), writer);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42) << status;
  kill_and_reap(pid);
}

TEST_F(CounterFiles, givenCountersOfThisProcessWhenTheLastMappingGoesThenTheFileDoes) {
  Counters counters(folder, "inf1.xlarge");
  Counters again(folder, "inf1.xlarge");
  void *first = nullptr, *second = nullptr, *read = nullptr;
  ASSERT_EQ(counters.map(0, 0, first).error, 0);
  ASSERT_EQ(again.map(0, 0, second).error, 0);
  EXPECT_EQ(first, second) << "a process has one per device";
  ASSERT_EQ(counters.map(0, ::getpid(), read).error, 0);
  *static_cast<char*>(first) = 'z';
  EXPECT_EQ(*static_cast<char*>(read), 'z');
  struct stat status {};
  ASSERT_EQ(::stat((folder + "/" + name("0", ::getpid())).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kCountersBytes));
  EXPECT_EQ(counters.unmap(first).error, 0);
  EXPECT_EQ(files(), std::set<std::string>{name("0", ::getpid())});
  again.unmap_device(0);
  EXPECT_EQ(files(), std::set<std::string>{});
  ASSERT_EQ(counters.map(0, 0, first).error, 0);
  EXPECT_EQ(*static_cast<char*>(first), 0) << "a new one begins with nothing";
}

TEST_F(CounterFiles, givenAKilledProcessWhenTheNextOneCountsThenNothingOfItIsLeft) {
  const pid_t pid = child_that([&] { return mark('x'); });
  const pid_t alive = child_that([&] { return mark('a'); });
  kill_and_reap(pid);
  EXPECT_TRUE(files().contains(name("0", pid))) << "nobody could remove it yet";
  Counters counters(folder, "inf1.xlarge");
  void* address = nullptr;
  EXPECT_EQ(counters.map(0, pid, address).error, ENOENT) << "what the dead have counted is not shown as alive";
  ASSERT_EQ(counters.map(0, 0, address).error, 0);
  EXPECT_EQ(files(), (std::set<std::string>{name("0", ::getpid()), name("0", alive)}));
  ASSERT_EQ(counters.map(0, alive, address).error, 0);
  EXPECT_EQ(*static_cast<char*>(address), 'a');
  kill_and_reap(alive);
}

TEST_F(CounterFiles, givenAFileUnderOurNumberThatSomebodyLeftWhenWeCountThenItIsReplaced) {
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
  std::ofstream(folder + "/" + name("0", ::getpid())) << "old";
  Counters counters(folder, "inf1.xlarge");
  void* address = nullptr;
  ASSERT_EQ(counters.map(0, 0, address).error, 0);
  EXPECT_EQ(*static_cast<char*>(address), 0);
}

TEST_F(CounterFiles, givenAPlantedLinkWhenWeCountThenItsTargetIsNotTouched) {
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
  const std::string target = dir.path() + "/target";
  std::ofstream(target) << "precious";
  std::filesystem::create_symlink(target, folder + "/" + name("0", ::getpid()));
  Counters counters(folder, "inf1.xlarge");
  void* address = nullptr;
  const auto failure = counters.map(0, 0, address);
  EXPECT_EQ(failure.error, EBUSY);
  EXPECT_EQ(address, nullptr);
  EXPECT_NE(failure.message.find(name("0", ::getpid())), std::string::npos) << failure.message;
  std::string text;
  std::getline(std::ifstream(target), text);
  EXPECT_EQ(text, "precious");
}

TEST_F(CounterFiles, givenAFolderThatOthersMayWriteWhenMappedThenItIsRefused) {
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::all);
  Counters counters(folder, "inf1.xlarge");
  void* address = nullptr;
  const auto failure = counters.map(0, 0, address);
  EXPECT_EQ(failure.error, EPERM);
  EXPECT_NE(failure.message.find("has mode 777"), std::string::npos) << failure.message;
}

TEST_F(CounterFiles, givenAForkedChildWhenItEndsOrCountsItselfThenItsParentsCountersStay) {
  auto counters = std::make_unique<Counters>(folder, "inf1.xlarge");
  void* address = nullptr;
  ASSERT_EQ(counters->map(0, 0, address).error, 0);
  *static_cast<char*>(address) = 'p';
  const pid_t pid = child_that([&] {
    counters.reset();  // as when the child's copy of an object goes
    return mark('c');
  });
  EXPECT_EQ(files(), (std::set<std::string>{name("0", ::getpid()), name("0", pid)}));
  const pid_t reader = child_that([&, parent = ::getpid()] {
    Counters other(folder, "inf1.xlarge");
    void *of_parent = nullptr, *of_child = nullptr;
    return other.map(0, parent, of_parent).error == 0 && *static_cast<char*>(of_parent) == 'p' &&
           other.map(0, pid, of_child).error == 0 && *static_cast<char*>(of_child) == 'c';
  });
  kill_and_reap(reader);
  kill_and_reap(pid);
  EXPECT_EQ(*static_cast<char*>(address), 'p');
}

TEST_F(CounterFiles, givenManyProcessesThatComeAndGoAtOnceThenEveryOneCounts) {
  for (int round = 0; round < 5; ++round) {
    std::vector<pid_t> pids;
    for (int i = 0; i < 24; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        const bool counted = mark('m');
        if (!counted) ::_exit(1);
        ::raise(SIGKILL);  // each leaves its file to the others
      }
      pids.push_back(pid);
    }
    for (const pid_t pid : pids) {
      int status = 0;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      EXPECT_TRUE(WIFSIGNALED(status)) << status;
    }
  }
  Counters counters(folder, "inf1.xlarge");
  void* address = nullptr;
  ASSERT_EQ(counters.map(0, 0, address).error, 0);
  EXPECT_EQ(files(), std::set<std::string>{name("0", ::getpid())});
}

TEST_F(CounterFiles, givenLockFilesThenTheirInstancesAreKnown) {
  const auto none = known_instances(folder);
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->empty());
  for (const char* instance : {"inf1.xlarge", "inf1.24xlarge"}) {
    CoreLocks locks(folder, instance, 4);
    opennrt_core_holder_t holder{};
    EXPECT_EQ(locks.holder(0, holder).error, 0);
  }
  EXPECT_EQ(*known_instances(folder), (std::vector<std::string>{"inf1.24xlarge", "inf1.xlarge"}));
}

}  // namespace
}  // namespace opennrt::driver
