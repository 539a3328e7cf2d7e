// SPDX-License-Identifier: Apache-2.0
//
// Where emulated machines listen: who has a machine of a name and who joins it, at its start and at its end, and what
// is left of machines that were killed (docs/fidelity.md, "The emulated /dev/neuron").
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "tests/unit/emulator/machine_client.h"

namespace opennrt::emulator::test {
namespace {

namespace fs = std::filesystem;

/// Serves until nobody is connected.
void serve(const Listener& listener) {
  opennrt::test::Host host;
  host.set("OPENNRT_SIM_INSTANCE", "inf1.xlarge");
  auto machine = Machine::make(host.table(), *driver::Config::read(*host.table()), *DriverVersion::parse("2.24.7.0"));
  if (!machine) {
    std::fprintf(stderr, "%s\n", machine.error().message.c_str());
    ::_exit(9);
  }
  Server server(**machine, listener.socket());
  server.wait_until_idle();
}

/// Does a machine take a client there?
bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const int window = ::memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ::fcntl(window, F_ADD_SEALS, F_SEAL_SHRINK);
  const ChannelHello hello;
  bool good = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  if (good) {
    send(fd, &hello, sizeof(hello), window);
    int memory = -1;
    const auto reply = receive(fd, &memory);
    good = reply && reply->error == 0;
    if (memory >= 0) ::close(memory);
  }
  ::close(window);
  ::close(fd);
  return good;
}

struct ListenerTest : testing::Test {
  Result<Listener> open(const std::string& name) const { return Listener::open(runtime.path(), name); }
  std::string machine(const std::string& name) const { return runtime.path() + "/machine-" + name; }
  std::size_t folders() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(runtime.path()), fs::directory_iterator()));
  }
  opennrt::test::TempDir runtime;
};

TEST_F(ListenerTest, givenAMachineWithAGuestWhenItsOwnCommandHasEndedThenItStaysUntilTheGuestLeaves) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const auto listener = open("shared");
    if (!listener || listener->joined()) ::_exit(1);
    const pid_t first = ::fork();  // its command: it is connected while the machine's guest arrives
    if (first == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::memcpy(address.sun_path, listener->path().c_str(), listener->path().size() + 1);
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
      if (::write(ready[1], "x", 1) != 1) ::_exit(1);
      ::pause();
    }
    char byte;
    if (::read(ready[0], &byte, 1) != 1 || ::write(ready[1], &first, sizeof(first)) != sizeof(first)) ::_exit(2);
    serve(*listener);
    ::_exit(0);
  }
  while (!fs::exists(machine("shared") + "/socket")) ::usleep(1000);
  {
    const auto guest = open("shared");
    ASSERT_TRUE(guest) << guest.error().message;
    ASSERT_TRUE(guest->joined());
    EXPECT_EQ(guest->path(), machine("shared") + "/socket");
    pid_t command = 0;
    ASSERT_EQ(::read(ready[0], &command, sizeof(command)), static_cast<ssize_t>(sizeof(command)));
    ::kill(command, SIGKILL);
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(answers(guest->path())) << i;
      ASSERT_EQ(::waitpid(owner, nullptr, WNOHANG), 0) << i;
      ::usleep(1000);
    }
  }
  int status = -1;
  ASSERT_EQ(::waitpid(owner, &status, 0), owner);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(open("shared")->joined()) << "a new one";
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(ListenerTest, givenALockThatIsHeldWhenNobodyListensThenTheSecondWaitsForTheMachineOrForTheLock) {
  ASSERT_EQ(::mkdir(machine("slow").c_str(), 0700), 0);
  const int lock = ::open((machine("slow") + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  std::thread holder([lock] {
    ::usleep(50'000);
    ::close(lock);
  });
  const auto second = open("slow");
  holder.join();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_FALSE(second->joined());
  EXPECT_TRUE(fs::exists(machine("slow") + "/socket"));
}

TEST_F(ListenerTest, givenCommandsThatComeAndGoWhenTheyShareANameThenEachHasAMachineThatAnswers) {
  constexpr int kProcesses = 3, kRounds = 40;
  std::vector<pid_t> processes;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int round = 0; round < kRounds; ++round) {
        const auto listener = open("busy");
        if (!listener) ::_exit(1);
        if (listener->joined()) {
          if (!answers(listener->path())) ::_exit(2);
        } else {
          serve(*listener);
        }
      }
      ::_exit(0);
    }
    processes.push_back(child);
  }
  for (const pid_t process : processes) {
    int status = -1;
    ASSERT_EQ(::waitpid(process, &status, 0), process);
    EXPECT_EQ(status, 0) << "exit status " << WEXITSTATUS(status) << ", signal " << WTERMSIG(status);
  }
}

TEST_F(ListenerTest, givenAFolderThatIsALinkWhenAMachineIsNamedThenItIsRefusedAndNothingBehindItTouched) {
  const opennrt::test::TempDir elsewhere;
  const std::string file = elsewhere.path() + "/socket";
  ::close(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  fs::create_directory_symlink(elsewhere.path(), machine("link"));
  const auto refused = open("link");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, testing::HasSubstr(machine("link") + " is a symbolic link"));
  EXPECT_TRUE(fs::exists(file));
  EXPECT_FALSE(fs::exists(elsewhere.path() + "/lock"));
}

TEST_F(ListenerTest, givenMachinesThatWereKilledWhenTheNextComesThenTheirFoldersAreGoneAndTheOthersStay) {
  const auto living = open("");
  ASSERT_TRUE(living);
  const auto named = open("named");
  ASSERT_TRUE(named);
  for (int i = 0; i < 2; ++i) {
    Child killed([&] { return open("") ? (std::_Exit(0), 0) : 1; });  // without its destructor
  }
  EXPECT_EQ(folders(), 3u) << "two living, and the second that was killed: the first went when the second came";
  {
    const auto next = open("");
    ASSERT_TRUE(next);
    EXPECT_EQ(folders(), 3u);
    EXPECT_TRUE(fs::exists(next->path()));
  }
  EXPECT_EQ(folders(), 2u) << "one that ends removes its own";
  EXPECT_TRUE(fs::exists(living->path()));
  EXPECT_TRUE(fs::exists(named->path()));
}

}  // namespace
}  // namespace opennrt::emulator::test
