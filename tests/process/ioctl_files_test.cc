// SPDX-License-Identifier: Apache-2.0
//
// The emulated device's files as a program sees them: nodes, sysfs, what happens to a descriptor on dup, fork, exec, close
// and exit (docs/fidelity.md).
#include <dirent.h>
#include <glob.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "tests/process/ioctl_client.h"

namespace opennrt::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::StartsWith;

/// What a command prints, errors included.
std::string shell(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 256> part;
  while (pipe != nullptr && std::fgets(part.data(), part.size(), pipe) != nullptr) out += part.data();
  ::pclose(pipe);
  return out;
}

std::set<std::string> names(const std::string& folder) {
  std::set<std::string> out;
  DIR* d = ::opendir(folder.c_str());
  if (d == nullptr) return out;
  while (const dirent* e = ::readdir(d)) out.insert(e->d_name);
  ::closedir(d);
  return out;
}

bool attached(const Node& node) {
  return node.ask(abi::kDmaEngInit, abi::DmaEngInit{0}) == 0;
}

TEST(IoctlFiles, givenShellsAndToolsWhenTheyLookThenTheySeeTheNodes) {
  EXPECT_EQ(shell("echo /dev/neuron*"), "/dev/neuron0 /dev/neuron1 /dev/neuron2 /dev/neuron3\n");
  EXPECT_EQ(shell("bash -c 'echo /dev/neuron?'"), "/dev/neuron0 /dev/neuron1 /dev/neuron2 /dev/neuron3\n");
  EXPECT_THAT(shell("ls -l /dev/neuron1"), StartsWith("crw"));
  EXPECT_EQ(shell("cd /dev && ls neuron2"), "neuron2\n");
  EXPECT_EQ(shell("cat /sys/module/neuron/version"), "2.24.7.0\n");
  EXPECT_EQ(shell("cat < /sys/module/neuron/version"), "2.24.7.0\n");
  EXPECT_EQ(shell("stat -c %F /dev/neuron0"), "character special file\n");
  EXPECT_EQ(shell("stat -L -c %F /sys/class/neuron_device"), "directory\n");
  EXPECT_EQ(
      shell("test -c /dev/neuron3 && test ! -e /dev/neuron4 && test -d /sys/class/neuron_device/neuron0 && echo yes"),
      "yes\n");
  EXPECT_THAT(shell("ls /sys/class/neuron_device"), HasSubstr("neuron0\nneuron1\nneuron2\nneuron3\n"));
  EXPECT_EQ(shell("f=$(mktemp) && cp /sys/module/neuron/version $f && cat $f; rm $f"), "2.24.7.0\n");
  EXPECT_EQ(shell("f=$(mktemp) && install /sys/module/neuron/version $f && cat $f; rm $f"), "2.24.7.0\n");
  EXPECT_EQ(shell("cat /dev/neuron0"), "cat: /dev/neuron0: Invalid argument\n");
  EXPECT_THAT(shell("cat /dev/neuron17"), HasSubstr("No such file"));
}

TEST(IoctlFiles, givenOrdinaryFilesWhenUsedThenNothingIsDifferent) {
  EXPECT_THAT(names("/dev"), IsSupersetOf({"null", "zero", "neuron0", "neuron3", ".", ".."}));
  EXPECT_EQ(shell("head -c 4 /dev/zero | wc -c"), "4\n");
  char folder[] = "/tmp/opennrt-files-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string file = std::string(folder) + "/neuron0";
  std::ofstream(file) << "text";
  EXPECT_EQ(shell("cat " + file), "text");
  EXPECT_EQ(shell("cd " + std::string(folder) + " && cat neuron0 && cat neuron1"),
            "textcat: neuron1: No such file or directory\n");
  EXPECT_EQ(std::filesystem::file_size(file), 4u);
  std::filesystem::remove_all(folder);
  errno = 0;
  EXPECT_EQ(::open("/dev/neuron99", O_RDWR), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(::open("/tmp/opennrt/no/such", O_RDWR), -1);
  EXPECT_EQ(errno, ENOENT);
}

TEST(IoctlFiles, givenANodeWhenDescribedThenEveryWayGivesTheSame) {
  struct stat by_name, by_link, by_folder, by_descriptor;
  Node node(2);
  ASSERT_EQ(::stat("/dev/neuron2", &by_name), 0);
  ASSERT_EQ(::lstat("/dev//./neuron2", &by_link), 0);
  const int dev = ::open("/dev", O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::fstatat(dev, "neuron2", &by_folder, 0), 0);
  ASSERT_EQ(::fstat(node.fd(), &by_descriptor), 0);
  for (const auto& s : {by_name, by_link, by_folder, by_descriptor}) {
    EXPECT_TRUE(S_ISCHR(s.st_mode));
    EXPECT_EQ(minor(s.st_rdev), 2u);
    EXPECT_EQ(s.st_rdev, by_name.st_rdev);
  }
  struct statx x;
  ASSERT_EQ(::statx(AT_FDCWD, "/dev/neuron2", 0, STATX_ALL, &x), 0);
  EXPECT_EQ(x.stx_rdev_minor, 2u);
  EXPECT_EQ(::openat(dev, "neuron9", O_RDWR), -1);
  const int opened = ::openat(dev, "neuron2", O_RDWR);
  EXPECT_GE(opened, 0);
  ::close(opened);
  ::close(dev);
  EXPECT_EQ(::access("/dev/neuron2", R_OK | W_OK), 0);
  EXPECT_EQ(::access("/dev/neuron2", X_OK), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(::access("/dev/neuron7", F_OK), -1);
  EXPECT_EQ(errno, ENOENT);
  char resolved[PATH_MAX];
  ASSERT_NE(::realpath("/dev/../dev/neuron2", resolved), nullptr);
  EXPECT_STREQ(resolved, "/dev/neuron2");
  const std::string link = "/proc/self/fd/" + std::to_string(node.fd());
  EXPECT_EQ(std::filesystem::read_symlink(link), "/dev/neuron2");
  EXPECT_EQ(::open("/dev/neuron2", O_RDWR | O_DIRECTORY), -1);
  EXPECT_EQ(errno, ENOTDIR);
  glob_t found{};
  EXPECT_EQ(::glob("/dev/neuron[0-9]", 0, nullptr, &found), 0);
  EXPECT_EQ(found.gl_pathc, 4u);
  ::globfree(&found);
}

TEST(IoctlFiles, givenANodesNameAsThatOfAFolderWhenUsedThenItIsNone) {
  struct stat status;
  for (const char* name : {"/dev/neuron0/", "/dev/neuron0/.", "/sys/module/neuron/version/"}) {
    EXPECT_EQ(::open(name, O_RDONLY), -1) << name;
    EXPECT_EQ(errno, ENOTDIR);
    EXPECT_EQ(::stat(name, &status), -1) << name;
    EXPECT_EQ(errno, ENOTDIR);
    EXPECT_EQ(std::fopen(name, "r"), nullptr) << name;
    EXPECT_EQ(errno, ENOTDIR);
    EXPECT_EQ(::realpath(name, nullptr), nullptr) << name;
    EXPECT_EQ(errno, ENOTDIR);
  }
  EXPECT_EQ(::stat("/sys/class/neuron_device/", &status), 0);
  EXPECT_THAT(shell("cd /dev && cat neuron0/"), HasSubstr("Not a directory"));
}

TEST(IoctlFiles, givenANodeOpenedAsAPathWhenUsedThenItIsOnlyAName) {
  const int path = ::open("/dev/neuron1", O_PATH | O_CLOEXEC);
  ASSERT_GE(path, 0);
  EXPECT_EQ(::fcntl(path, F_GETFL) & O_PATH, O_PATH);
  EXPECT_EQ(::fcntl(path, F_GETFD), FD_CLOEXEC);
  struct stat status;
  EXPECT_EQ(::fstat(path, &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(minor(status.st_rdev), 1u);
  abi::DeviceBasicInfo info{};
  EXPECT_EQ(::ioctl(path, abi::kDeviceBasicInfo, &info), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, path, 0), MAP_FAILED);
  EXPECT_EQ(errno, EBADF);
  const std::string link = "/proc/self/fd/" + std::to_string(path);
  EXPECT_EQ(std::filesystem::read_symlink(link), "/dev/neuron1");
  const int opened = ::open(link.c_str(), O_RDWR);
  abi::HostDeviceId id{};
  EXPECT_EQ(::ioctl(opened, abi::kHostDeviceId, &id), 0);
  EXPECT_EQ(id.host_device_id, 1u);
  ::close(opened);
  ::close(path);
  const int version = ::open("/sys/module/neuron/version", O_PATH);
  char byte;
  EXPECT_EQ(::read(version, &byte, 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::fstat(version, &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0444u);
  ::close(version);
}

TEST(IoctlFiles, givenADescriptorsLinkWhenOpenedThenItIsTheDeviceOnceMore) {
  Node node(2);
  const int again = ::open(("/proc/self/fd/" + std::to_string(node.fd())).c_str(), O_WRONLY);
  ASSERT_GE(again, 0);
  EXPECT_EQ(::ioctl(again, abi::kDeviceInit, nullptr), -1) << "with an access mode of its own";
  EXPECT_EQ(errno, EINVAL);
  ::close(again);
  EXPECT_EQ(shell("cat /dev/stdin < /dev/neuron1"), "cat: /dev/stdin: Invalid argument\n");
  EXPECT_EQ(shell("exec 9</dev/neuron1; cat /dev/fd/9"), "cat: /dev/fd/9: Invalid argument\n");
}

TEST(IoctlFiles, givenAMachineThatIsNotThereWhenAProgramLooksThenItSaysSoOnce) {
  EXPECT_EQ(shell("OPENNRT_EMULATED_MACHINE=/nowhere/socket cat /dev/neuron0 /dev/neuron1"),
            "opennrt: the emulated machine at /nowhere/socket (OPENNRT_EMULATED_MACHINE) is not there: No such file or "
            "directory\n"
            "cat: /dev/neuron0: No such file or directory\n"
            "cat: /dev/neuron1: No such file or directory\n");
}

TEST(IoctlFiles, givenSysfsWhenReadThenByEveryWay) {
  std::string line;
  std::ifstream version("/sys/module/neuron/version");
  EXPECT_TRUE(std::getline(version, line));
  EXPECT_EQ(line, "2.24.7.0");
  std::ifstream count("/sys/class/neuron_device/neuron0/core_count");
  EXPECT_TRUE(std::getline(count, line));
  EXPECT_EQ(line, "4");
  std::set<std::string> listed;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/neuron_device/neuron0")) {
    listed.insert(entry.path().filename());
  }
  EXPECT_THAT(listed, IsSupersetOf({"core_count", "connected_devices"}));
  EXPECT_TRUE(std::filesystem::is_directory("/sys/class/neuron_device/neuron0"));
  EXPECT_TRUE(std::filesystem::is_regular_file("/sys/class/neuron_device/neuron0/core_count"));
  EXPECT_EQ(::open("/sys/module/neuron/version", O_RDWR), -1);
  EXPECT_EQ(errno, EACCES);
  dirent** list = nullptr;
  const int n = ::scandir("/sys/class/neuron_device", &list, nullptr, ::alphasort);
  ASSERT_GE(n, 4);
  for (int i = 0; i < n; ++i) std::free(list[i]);
  std::free(list);
}

TEST(IoctlFiles, givenOperationsTheDriverDoesNotHaveWhenUsedThenTheKernelsAnswer) {
  Node node;
  char byte = 0;
  EXPECT_EQ(::read(node.fd(), &byte, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(::write(node.fd(), &byte, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(::lseek(node.fd(), 0, SEEK_SET), -1);
  EXPECT_EQ(errno, ESPIPE);
  pollfd file{node.fd(), POLLIN | POLLOUT, 0};
  EXPECT_EQ(::poll(&file, 1, 0), 1);
  EXPECT_EQ(file.revents, POLLIN | POLLOUT);
  const int epoll = ::epoll_create1(0);
  epoll_event event{};
  EXPECT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, node.fd(), &event), -1);
  EXPECT_EQ(errno, EPERM);
  ::close(epoll);
  EXPECT_EQ(::fcntl(node.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::ioctl(node.fd(), FIONCLEX), 0);
  EXPECT_EQ(::fcntl(node.fd(), F_GETFD), 0);
}

TEST(IoctlFiles, givenADescriptorWhenDuplicatedThenItIsTheSameFile) {
  Node node;
  const std::uint64_t memory = node.allocate(4096, false);
  const int twin = ::dup(node.fd());
  ASSERT_GE(twin, 0);
  abi::MemGetExtendedInfo info{};
  info.mem_handle = memory;
  EXPECT_EQ(::ioctl(twin, abi::kMemGetExtendedInfo, &info), 0);
  EXPECT_EQ(info.size, 4096u);
  ::close(twin);
  errno = 0;
  EXPECT_EQ(::ioctl(twin, abi::kMemGetExtendedInfo, &info), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(IoctlFiles, givenAForkWhenTheChildUsesTheParentsFileThenItIsNotAttached) {
  Node node;
  EXPECT_TRUE(attached(node));
  EXPECT_EQ(in_child([&] { return node.ask(abi::kDmaEngInit, abi::DmaEngInit{0}) == -EACCES; }), 0);
  EXPECT_EQ(in_child([&] {
              abi::DeviceBasicInfo info{};
              return node.ask(abi::kDeviceBasicInfo, info) == 0;  // but may ask what it is
            }),
            0);
  EXPECT_TRUE(attached(node)) << "the child's end is not the parent's";
}

TEST(IoctlFiles, givenAProgramStartedWithTheFileWhenItUsesItThenItIsTheDevices) {
  EXPECT_EQ(shell("stat -L -c %F - < /dev/neuron1"), "character special file\n");
  EXPECT_EQ(shell("readlink /proc/self/fd/0 < /dev/neuron1"), "/dev/neuron1\n");
  EXPECT_EQ(shell("cat < /dev/neuron1"), "cat: -: Invalid argument\n");
}

TEST(IoctlFiles, givenADescriptorSentToAnotherProcessWhenUsedThereThenItIsTheSameFile) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  Node node(3);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(node.fd());
    char byte, control[CMSG_SPACE(sizeof(int))];
    iovec part{&byte, 1};
    msghdr message{nullptr, 0, &part, 1, control, sizeof(control), 0};
    if (::recvmsg(ends[1], &message, 0) != 1) ::_exit(2);
    int fd;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    abi::HostDeviceId id{};
    ::_exit(::ioctl(fd, abi::kHostDeviceId, &id) == 0 && id.host_device_id == 3 ? 0 : 1);
  }
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{&byte, 1};
  msghdr message{nullptr, 0, &part, 1, control, sizeof(control), 0};
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = node.fd();
  std::memcpy(CMSG_DATA(c), &fd, sizeof(fd));
  ASSERT_EQ(::sendmsg(ends[0], &message, 0), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(IoctlFiles, givenAProcessThatIsKilledWhenItsMemoryIsLookedForThenItIsGone) {
  Node node;
  const auto used = [&] {
    struct {
      abi::GetAppsInfo head;
      abi::AppInfo apps[16];
    } list{};
    list.head = {abi::kAppInfoAll, 16, 0, 0};
    EXPECT_EQ(node.ask(abi::kDeviceGetAllAppsInfo, list), 0);
    return list.head.size;
  };
  EXPECT_EQ(used(), 1u);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Node own;
    own.allocate(1 << 30, false);
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(used(), 2u);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  // The file is closed by the kernel with the process; that is noticed, not waited for.
  for (int i = 0; i < 1000 && used() != 1; ++i) ::usleep(1000);
  EXPECT_EQ(used(), 1u);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(IoctlFiles, givenManyThreadsWhenTheyAskAtOnceThenEachGetsItsOwnAnswer) {
  Node node;
  std::vector<std::thread> threads;
  std::array<bool, 8> right{};
  for (unsigned t = 0; t < right.size(); ++t) {
    threads.emplace_back([&, t] {
      const std::uint64_t memory = node.allocate(4096 * (t + 1), false);
      bool good = memory != 0;
      for (int i = 0; i < 50; ++i) {
        const auto value = static_cast<std::uint8_t>(t * 16 + i % 16);
        good = good && node.write(memory, std::vector<std::uint8_t>(64, value)) == 0 &&
               node.read(memory, 64)[63] == value && node.info(memory).size == 4096u * (t + 1);
      }
      right[t] = good && node.release(memory) == 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(right, ::testing::Each(true));
}

TEST(IoctlFiles, givenThreadsThatHaveAskedWhenTheirProcessForksThenTheChildHasNoneOfTheirConnections) {
  const auto descriptors = [] {
    const auto list = std::filesystem::directory_iterator("/proc/self/fd");
    return std::distance(begin(list), end(list));
  };
  Node node;
  abi::DeviceBasicInfo info{};
  ASSERT_EQ(node.ask(abi::kDeviceBasicInfo, info), 0);
  const auto before = descriptors();
  constexpr int kThreads = 20;
  std::atomic<int> asked = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      abi::DeviceBasicInfo own{};
      node.ask(abi::kDeviceBasicInfo, own);
      ++asked;
      while (!stop) std::this_thread::yield();
    });
  }
  while (asked < kThreads) std::this_thread::yield();
  EXPECT_EQ(descriptors(), before + 2 * kThreads);
  EXPECT_EQ(in_child([&] {
              // Nor that of the thread that forked, until it asks.
              return descriptors() == before - 2 && node.ask(abi::kDeviceBasicInfo, info) == 0 &&
                     descriptors() == before;
            }),
            0);
  EXPECT_EQ(node.ask(abi::kDeviceBasicInfo, info), 0);
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(descriptors(), before);
}

TEST(IoctlFiles, givenAProgramThatClosesEveryDescriptorWhenItAsksAgainThenItIsAnswered) {
  EXPECT_EQ(in_child([] {
              { Node first; }
              for (int fd = 3; fd < 2000; ++fd) ::close(fd);
              Node again;
              abi::DeviceBasicInfo info{};
              return again.fd() == 3 && again.ask(abi::kDeviceBasicInfo, info) == 0 && attached(again);
            }),
            0);
}

}  // namespace
}  // namespace opennrt::test
