// SPDX-License-Identifier: Apache-2.0
//
// `opennrt emulate` as a command (docs/fidelity.md, "The emulated /dev/neuron"): what it presents, to whom its arguments, signals
// and exit status belong, and machines that several commands share.
#include <elf.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/process/running.h"
#include "tests/unit/tools/process.h"

namespace opennrt::test {
namespace {

/// A program at a terminal, as the leader of its session.
class Terminal {
 public:
  explicit Terminal(const Words& words) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = ::forkpty(&master_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      ::execv(arguments[0], arguments.data());
      ::_exit(99);
    }
  }
  ~Terminal() {
    hang_up();
    if (pid_ > 0) wait();
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  pid_t pid() const { return pid_; }
  void type(const std::string& keys) {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  /// Reads until this has been said; false: nobody is there any more.
  bool wait_for(const std::string& text) {
    std::array<char, 256> part{};
    while (said_.find(text) == std::string::npos) {
      const ssize_t size = ::read(master_, part.data(), part.size());
      if (size <= 0) return false;
      said_.append(part.data(), static_cast<std::size_t>(size));
    }
    return true;
  }
  const std::string& said() const { return said_; }
  void hang_up() {
    if (master_ >= 0) ::close(std::exchange(master_, -1));
  }
  /// Exit status; -1 - signal when a signal has ended it.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1 - WTERMSIG(status);
  }

 private:
  int master_ = -1;
  pid_t pid_ = -1;
  std::string said_;
};

/// From here on this process and its children run on a kernel without pidfd_open(2).
void forget_pidfd_open() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    ::_exit(98);
}

struct Emulate : testing::Test {
  Emulate() { ::setenv("OPENNRT_RUNTIME_DIR", folder.path().c_str(), 1); }

  TemporaryFolder folder;
  const std::string tool = std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/bin/opennrt";

  Words words(const Words& options, const Words& command) const {
    Words all{tool, "emulate"};
    all.insert(all.end(), options.begin(), options.end());
    all.emplace_back("--");
    all.insert(all.end(), command.begin(), command.end());
    return all;
  }
  Words shell(const Words& options, const std::string& script) const {
    return words(options, {"/bin/sh", "-c", script});
  }
  Outcome run(const Words& options, const std::string& script) const { return run_program(shell(options, script)); }
};

TEST_F(Emulate, givenACommandWhenItEndsThenItsExitStatusIsOurs) {
  EXPECT_EQ(run({}, "exit 0").exit, 0);
  EXPECT_EQ(run({}, "exit 7").exit, 7);
  EXPECT_EQ(run({}, "kill -KILL $$").exit, 128 + SIGKILL);
  const Outcome missing = run_program(words({}, {"/no/such/program"}));
  EXPECT_EQ(missing.exit, 127);
  EXPECT_EQ(missing.err, "opennrt: error: /no/such/program: No such file or directory\n");
  const Outcome text = run_program(words({}, {"/etc/passwd"}));
  EXPECT_EQ(text.exit, 126);
  EXPECT_EQ(text.err, "opennrt: error: /etc/passwd: Permission denied\n");
}

TEST_F(Emulate, givenOptionsBehindTheDashesThenTheyAreTheCommands) {
  const Outcome outcome = run_program(words({}, {"/bin/echo", "--driver", "none", "-v", "--", "--machine"}));
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out, "--driver none -v -- --machine\n");
  EXPECT_EQ(run_program({tool, "emulate"}).exit, 2) << "no command";
  const Outcome forgotten = run_program({tool, "emulate", "ls", "-la"});
  EXPECT_EQ(forgotten.exit, 2);
  EXPECT_NE(forgotten.err.find("-la; what is to be run comes after --"), std::string::npos) << forgotten.err;
  EXPECT_NE(run_program({tool, "emulate", "--help"}).out.find("opennrt emulate [OPTIONS] -- command [ARGUMENT...]\n"),
            std::string::npos);
}

TEST_F(Emulate, givenAnOptionWithoutAValueThenItIsNotTakenAsUnset) {
  for (const char* option : {"--instance", "--devices", "--driver", "--machine"}) {
    const Outcome outcome = run({option, ""}, "echo started");
    EXPECT_EQ(outcome.exit, 2) << option;
    EXPECT_EQ(outcome.out, "") << option;
    EXPECT_NE(outcome.err.find(std::string(option) + ": a value is missing"), std::string::npos) << outcome.err;
  }
}

TEST_F(Emulate, givenSomeDevicesThenTheOthersAreNotThere) {
  const Outcome some = run({"--instance", "inf1.6xlarge", "--devices", "0,2"},
                           "echo /dev/neuron*; cat /dev/neuron1; : < /dev/neuron2 && echo opened");
  EXPECT_EQ(some.exit, 0) << some.err;
  EXPECT_EQ(some.out, "/dev/neuron0 /dev/neuron2\nopened\n");
  EXPECT_EQ(some.err, "cat: /dev/neuron1: No such file or directory\n");

  const Outcome beyond = run({"--instance", "inf1.6xlarge", "--devices", "0,9"}, "echo started");
  EXPECT_EQ(beyond.exit, 1);
  EXPECT_EQ(beyond.out, "");
  EXPECT_EQ(beyond.err,
            "opennrt: error: --devices is '0,9', expected increasing numbers of devices of this instance, 0 to 3, "
            "separated by commas\n");
  const Outcome unknown = run({"--instance", "inf9.large"}, "echo started");
  EXPECT_EQ(unknown.exit, 1);
  EXPECT_TRUE(unknown.err.starts_with("opennrt: error: --instance 'inf9.large': ")) << unknown.err;
  ::setenv("OPENNRT_SIM_DEVICES", "7", 1);
  const Outcome environment = run({}, "echo started");
  ::unsetenv("OPENNRT_SIM_DEVICES");
  EXPECT_NE(environment.err.find("error: OPENNRT_SIM_DEVICES is '7', expected"), std::string::npos) << environment.err;
}

TEST_F(Emulate, givenADriverVersionThenItIsPresented) {
  EXPECT_EQ(run({}, "cat /sys/module/neuron/version").out, "2.24.7.0\n");
  EXPECT_EQ(run({"--driver", "2.10"}, "cat /sys/module/neuron/version").out, "2.10\n");

  const Outcome none = run({"--driver", "none"}, "echo /dev/neuron*; cat /sys/module/neuron/version /dev/neuron0");
  EXPECT_EQ(none.out, "/dev/neuron*\n");
  EXPECT_EQ(none.err,
            "cat: /sys/module/neuron/version: No such file or directory\n"
            "cat: /dev/neuron0: No such file or directory\n");

  const Outcome old = run({"--driver", "1.5"}, "OPENNRT_BACKEND=neuron " + tool + " run /etc/passwd");
  EXPECT_EQ(old.exit, 1);
  EXPECT_NE(old.err.find("This runtime requires Neuron Driver version 2.0 or greater. Please upgrade aws-neuron-dkms "
                         "package."),
            std::string::npos)
      << old.err;

  for (const char* wrong : {"2", "two", "2.24.", "2.24.7.0.1"}) {
    const Outcome refused = run({"--driver", wrong}, "echo started");
    EXPECT_EQ(refused.exit, 1) << wrong;
    EXPECT_EQ(refused.out, "") << wrong;
    EXPECT_EQ(refused.err, "opennrt: error: --driver: driver version is '" + std::string(wrong) +
                               "', expected 'none' or up to four numbers such as 2.24 or 2.24.7.0\n");
  }
}

TEST_F(Emulate, givenASignalThenItIsTheCommands) {
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGALRM}) {
    Running plain(shell({}, "echo ready; exec sleep 1000"));
    EXPECT_EQ(plain.line(), "ready");
    EXPECT_EQ(::kill(plain.pid(), signal), 0);
    EXPECT_EQ(plain.wait(), 128 + signal);

    Running handles(
        shell({}, "trap 'echo told; exit 5' TERM HUP INT USR1 USR2 ALRM; echo ready; while :; do sleep 0.01; done"));
    EXPECT_EQ(handles.line(), "ready");
    EXPECT_EQ(::kill(handles.pid(), signal), 0);
    EXPECT_EQ(handles.line(), "told");
    EXPECT_EQ(handles.wait(), 5);
  }
  Running deaf(shell({}, "echo ready; read line; echo $line; exit 3"), [] { ::signal(SIGHUP, SIG_IGN); });
  EXPECT_EQ(deaf.line(), "ready");
  EXPECT_EQ(::kill(deaf.pid(), SIGHUP), 0) << "which the command ignores, as nohup(1) has set it";
  deaf.finish_input();
  EXPECT_EQ(deaf.wait(), 3);
}

// A terminal tells all processes in its foreground. The command, in a session of its own, is not among them, and so would hear
// of the key from us alone; signals reach it in their order.
TEST_F(Emulate, givenAKeyAtTheTerminalThenItIsNotPassedOn) {
  const std::string script =
      "trap 'echo key' INT; trap 'echo signal; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
  Terminal terminal(words({}, {"/usr/bin/setsid", "/bin/sh", "-c", script}));
  EXPECT_TRUE(terminal.wait_for("ready"));
  terminal.type("\x03");
  EXPECT_TRUE(terminal.wait_for("^C")) << "the echo: the signal has been sent";
  EXPECT_EQ(::kill(terminal.pid(), SIGUSR1), 0);
  EXPECT_TRUE(terminal.wait_for("signal"));
  EXPECT_EQ(terminal.wait(), 5);
  EXPECT_EQ(terminal.said().find("key"), std::string::npos) << terminal.said();

  Terminal usual(words({}, {"/bin/sh", "-c", "trap 'echo key; exit 6' INT; echo ready; while :; do sleep 0.01; done"}));
  EXPECT_TRUE(usual.wait_for("ready"));
  usual.type("\x03");
  EXPECT_EQ(usual.wait(), 6) << "the terminal has told it";
}

TEST_F(Emulate, givenATerminalThatHangsUpThenTheCommandIsTold) {
  const std::string told = (folder / "told").string();
  const std::string script = "trap 'echo told > " + told + "; exit 5' HUP; echo ready; while :; do sleep 0.01; done";
  Terminal terminal(words({}, {"/bin/sh", "-c", script}));
  EXPECT_TRUE(terminal.wait_for("ready"));
  terminal.hang_up();
  EXPECT_EQ(terminal.wait(), 5);
  EXPECT_EQ(read_text(told), "told\n");
}

TEST_F(Emulate, givenAProgramThatThePreloadLibraryDoesNotReachThenItIsSaid) {
  // exit(42), and nothing else.
  const std::array<unsigned char, 12> code{0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
  constexpr Elf64_Addr kBase = 0x400000;
  struct Image {
    Elf64_Ehdr header{};
    Elf64_Phdr part{};
    std::array<unsigned char, 12> code{};
  } image;
  std::memcpy(image.header.e_ident, ELFMAG, SELFMAG);
  image.header.e_ident[EI_CLASS] = ELFCLASS64;
  image.header.e_ident[EI_DATA] = ELFDATA2LSB;
  image.header.e_ident[EI_VERSION] = EV_CURRENT;
  image.header.e_type = ET_EXEC;
  image.header.e_machine = EM_X86_64;
  image.header.e_version = EV_CURRENT;
  image.header.e_entry = kBase + offsetof(Image, code);
  image.header.e_phoff = offsetof(Image, part);
  image.header.e_ehsize = sizeof(Elf64_Ehdr);
  image.header.e_phentsize = sizeof(Elf64_Phdr);
  image.header.e_phnum = 1;
  image.part.p_type = PT_LOAD;
  image.part.p_flags = PF_R | PF_X;
  image.part.p_vaddr = kBase;
  image.part.p_filesz = image.part.p_memsz = sizeof(Image);
  image.part.p_align = 0x1000;
  image.code = code;
  const std::string program = (folder / "alone").string(), script = (folder / "script").string();
  write_text(program, {reinterpret_cast<const char*>(&image), sizeof(image)});
  write_text(script, "#! " + program + "\n");
  for (const std::string& path : {program, script}) {
    ASSERT_EQ(::chmod(path.c_str(), 0700), 0);
    const Outcome outcome = run_program(words({}, {path}));
    EXPECT_EQ(outcome.exit, 42);
    EXPECT_EQ(outcome.err, "opennrt: warning: " + path +
                               " is linked statically: LD_PRELOAD does not reach it, and it sees the devices of this "
                               "computer only\n");
  }
  // One that gains rights: of another user if we may make such a file, else the system's own.
  std::string other = "/usr/bin/su";
  if (::getuid() == 0) {
    other = (folder / "sh").string();
    std::filesystem::copy_file("/bin/sh", other);
    ASSERT_EQ(::chown(other.c_str(), 65534, 0), 0);
    ASSERT_EQ(::chmod(other.c_str(), 04755), 0);
  }
  const Outcome rights = run_program(words({}, {other, ::getuid() == 0 ? "-c" : "--version", ":"}));
  EXPECT_EQ(rights.exit, 0);
  EXPECT_EQ(rights.err,
            "opennrt: warning: " + other +
                " runs with other rights than ours (setuid, setgid or capabilities): LD_PRELOAD does not reach "
                "it, and it sees the devices of this computer only\n");
  EXPECT_EQ(run_program(words({}, {"sh", "-c", ":"})).err, "") << "found in PATH, reached";
}

TEST_F(Emulate, givenAnInstallationWhosePathLdPreloadCannotHoldThenItIsRefused) {
  const std::filesystem::path from = std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/lib", to = folder / "a b";
  std::filesystem::create_directories(to / "opennrt");
  std::filesystem::copy_file(from / "libnrt.so.1", to / "libnrt.so.1");
  write_text(to / "opennrt/libopennrt_device.so", "");
  const std::map<std::string, std::string> there{{"LD_LIBRARY_PATH", to.string()}};
  const std::string expected = "opennrt: error: the library is '" + (to / "opennrt/libopennrt_device.so").string() +
                               "', expected a path without blanks and colons, which LD_PRELOAD cannot hold: install "
                               "OpenNRT elsewhere\n";
  for (const Words& all : {shell({}, "echo started"), Words{tool, "ioctl", "record", "-o", (folder / "t").string(),
                                                            "--", "/bin/echo", "started"}}) {
    const Outcome outcome = run_program(all, there);
    EXPECT_EQ(outcome.exit, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err, expected);
  }
}

TEST_F(Emulate, givenAMachineThatRunsWhenJoinedThenOptionsThatSayAnotherOneAreRefused) {
  Running first(shell({"--machine", "m", "--instance", "inf1.6xlarge", "--devices", "0,2", "--driver", "2.10"},
                      "echo ready; read line"));
  EXPECT_EQ(first.line(), "ready");
  const std::vector<std::pair<Words, std::string>> different{
      {{"--instance", "inf1.24xlarge"},
       "--instance is 'inf1.24xlarge', but machine 'm' runs already, with 'inf1.6xlarge'"},
      {{"--devices", "0,1"}, "--devices is '0,1', but machine 'm' runs already, with '0,2'"},
      {{"--devices", "0,4"},
       "--devices is '0,4', expected increasing numbers of devices of this instance, 0 to 3, separated by commas"},
      {{"--driver", "2.24.7.0"}, "--driver is '2.24.7.0', but machine 'm' runs already, with '2.10'"},
      {{"--driver", "none"}, "--driver is 'none', but machine 'm' runs already, with '2.10'"},
      {{"-v"}, "--verbose: machine 'm' runs already, and its log is with the command that has started it"}};
  for (const auto& [options, message] : different) {
    Words all{"--machine", "m"};
    all.insert(all.end(), options.begin(), options.end());
    const Outcome outcome = run(all, "echo started");
    EXPECT_EQ(outcome.exit, 1) << message;
    EXPECT_EQ(outcome.out, "") << message;
    EXPECT_EQ(outcome.err, "opennrt: error: " + message + "\n");
  }
  const Outcome same =
      run({"--machine", "m", "--instance", "6xlarge", "--devices", "0,2", "--driver", "2.10"}, "echo /dev/neuron*");
  EXPECT_EQ(same.exit, 0) << same.err;
  EXPECT_EQ(same.out, "/dev/neuron0 /dev/neuron2\n");
  ::setenv("OPENNRT_SIM_INSTANCE", "inf1.24xlarge", 1);  // a default, for machines that are started
  EXPECT_EQ(run({"--machine", "m"}, "echo /dev/neuron*").out, "/dev/neuron0 /dev/neuron2\n");
  ::unsetenv("OPENNRT_SIM_INSTANCE");

  Running none(shell({"--machine", "n", "--driver", "none"}, "echo ready; read line"));
  EXPECT_EQ(none.line(), "ready");
  EXPECT_EQ(run({"--machine", "n", "--driver", "none"}, "exit 3").exit, 3);
  EXPECT_EQ(run({"--machine", "n", "--driver", "2.10"}, "exit 3").err,
            "opennrt: error: --driver is '2.10', but machine 'n' runs already, with 'none'\n");
  EXPECT_EQ(run({"--machine", "n", "--instance", "inf1.2xlarge"}, "exit 3").exit, 1);
}

// Whoever is left behind keeps the machine from the moment at which it uses it.
TEST_F(Emulate, givenAProcessThatStaysWhenItHasTheDeviceOpenThenTheMachineStays) {
  const std::string go = (folder / "go").string();
  Running left(shell({}, "exec 3< /dev/neuron0; (until [ -e " + go +
                             " ]; do sleep 0.01; done; : < /dev/neuron0 && echo there) & "
                             "exit 4"));
  write_text(go, "");
  EXPECT_EQ(left.line(), "there");
  EXPECT_EQ(left.wait(), 4);
}

TEST_F(Emulate, givenAMachineWithANameThenCommandsShareItUntilTheLastHasLeft) {
  const std::string script =
      "exec 3< /dev/neuron0 && echo $OPENNRT_EMULATED_MACHINE; read line; : < /dev/neuron1 && echo there";
  Running first(shell({"--machine", "both", "--instance", "inf1.6xlarge"}, script));
  const std::string socket = first.line();
  EXPECT_EQ(socket, (folder / "machine-both" / "socket").string());
  Running second(shell({"--machine", "both"}, script));  // it does not choose the kind of machine: that one runs
  EXPECT_EQ(second.line(), socket);
  Running other(shell({"--machine", "another", "--instance", "inf1.6xlarge"}, script));
  EXPECT_EQ(other.line(), (folder / "machine-another" / "socket").string());

  first.finish_input();
  EXPECT_EQ(first.line(), "there");
  second.finish_input();
  EXPECT_EQ(second.line(), "there");
  EXPECT_EQ(second.wait(), 0);
  EXPECT_EQ(first.wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(socket));
  EXPECT_EQ(run({"--machine", "both"}, "echo /dev/neuron*").out, "/dev/neuron0\n") << "a new one, of the usual kind";

  const Outcome refused = run({"--machine", "a/b"}, "echo started");
  EXPECT_EQ(refused.exit, 1);
  EXPECT_NE(refused.err.find("name of the machine is 'a/b', expected up to 32 letters"), std::string::npos)
      << refused.err;
}

TEST_F(Emulate, givenACommandThatLeavesSomebodyBehindWhenASignalComesThenTheMachineEnds) {
  const std::string pid_file = (folder / "pid").string(), here = (folder / "here").string();
  Running left(shell({}, "(exec 3<&-; exec 3< /dev/neuron0; echo here > " + here +
                             "; exec sleep 1000) > /dev/null & echo $! > " + pid_file + "; until [ -s " + here +
                             " ]; do :; done; echo gone"));
  EXPECT_EQ(left.line(), "gone");
  // Told before it knows that the command has ended, it would only pass the signal on.
  int status = 0;
  while (::waitpid(left.pid(), &status, WNOHANG) == 0) {
    ::kill(left.pid(), SIGTERM);
    ::usleep(1000);
  }
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  ::kill(std::atoi(read_text(pid_file).c_str()), SIGKILL);
}

TEST_F(Emulate, givenAKernelWithoutPidfdsWhenAProcessIsKilledThenItsPlaceIsFree) {
  // The device has room for 16 processes; the 17th gets a place when one of them is dead. Descriptor 3 is closed first: a shell
  // that finds it taken opens another one, duplicates it and closes it, and for the driver that process is gone with the close.
  const std::string script = "cd " + folder.path().string() +
                             "; pids=; n=0; while [ $n -lt 16 ]; do (exec 3<&-; exec 3< /dev/neuron0; echo here > $n; "
                             "exec sleep 1000) & last=$!;"
                             " pids=\"$pids $last\"; until [ -s $n ]; do :; done; n=$((n + 1)); done;"
                             " (: < /dev/neuron0) 2> /dev/null && echo room; echo full; kill -KILL $last; wait $last;"
                             " (: < /dev/neuron0) && echo free; kill -KILL $pids 2> /dev/null; exit 4";
  Running blind(shell({}, script), forget_pidfd_open);
  EXPECT_EQ(blind.line(), "full");
  EXPECT_EQ(blind.line(), "free");
  EXPECT_EQ(blind.wait(), 4) << "98: no seccomp here";
}

}  // namespace
}  // namespace opennrt::test
