// SPDX-License-Identifier: Apache-2.0
//
// `opennrt emulate` as a command (issue "/dev/neuron", Deliver 2): what it presents, to whom its arguments, signals and exit
// status belong, and machines that several commands share.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "tests/unit/tools/process.h"

namespace opennrt::test {
namespace {

using Words = std::vector<std::string>;

/// A program that runs beside the test, with its input and output. It ends with the object at the latest.
class Running {
 public:
  Running(const Words& words, const std::function<void()>& before = {}) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      std::vector<char*> arguments;
      for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
      arguments.push_back(nullptr);
      if (before) before();
      ::execv(arguments[0], arguments.data());
      ::_exit(99);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Running() {
    finish_input();
    if (pid_ > 0) wait();
    ::close(out_);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t pid() const { return pid_; }
  /// The next line of its output without its end; empty when there is no more.
  std::string line() const {
    std::string text;
    for (char c = 0; ::read(out_, &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  void finish_input() {
    if (in_ >= 0) ::close(std::exchange(in_, -1));
  }
  /// Exit status; -1 - signal when a signal has ended it.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1 - WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
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
  EXPECT_NE(beyond.err.find("OPENNRT_SIM_DEVICES is '0,9', expected increasing numbers"), std::string::npos)
      << beyond.err;
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

  for (const char* wrong : {"2", "two", "2.24.", "2.24.7.0.1", ""}) {
    const Outcome refused = run({"--driver", wrong}, "echo started");
    EXPECT_EQ(refused.exit, 1) << wrong;
    EXPECT_EQ(refused.out, "") << wrong;
    EXPECT_EQ(refused.err, "opennrt: error: --driver: driver version is '" + std::string(wrong) +
                               "', expected 'none' or up to four numbers such as 2.24 or 2.24.7.0\n");
  }
}

TEST_F(Emulate, givenASignalThenItIsTheCommands) {
  for (const int signal : {SIGTERM, SIGHUP, SIGINT}) {
    Running plain(shell({}, "echo ready; exec sleep 1000"));
    EXPECT_EQ(plain.line(), "ready");
    EXPECT_EQ(::kill(plain.pid(), signal), 0);
    EXPECT_EQ(plain.wait(), 128 + signal);

    Running handles(shell({}, "trap 'echo told; exit 5' TERM HUP INT; echo ready; while :; do sleep 0.01; done"));
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
