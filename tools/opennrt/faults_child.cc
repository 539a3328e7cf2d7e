// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace opennrt::tool {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!more.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : more)
    if (!value.empty()) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

int milliseconds_until(Clock::time_point end) {
  if (end == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, INT_MAX));
}

bool redirect(int descriptor, const char* path, int flags) {
  const int file = ::open(path, flags | O_CLOEXEC, 0600);
  if (file == descriptor) return ::fcntl(file, F_SETFD, 0) == 0;  // that one was closed
  return file >= 0 && ::dup2(file, descriptor) == descriptor;
}

/// In the forked child: all that is different there, and then the command. Returns when that cannot be, with the reason in errno.
void become(const ChildOptions& options, char* const* argv, char* const* envp, pid_t parent, bool own_group,
            const sigset_t& mask) {
  if (own_group) ::setpgid(0, 0);
  // However we end, even by SIGKILL, the command ends, too.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  if (!options.output.empty()) {
    constexpr int kAnew = O_WRONLY | O_CREAT | O_TRUNC;
    if (!redirect(STDIN_FILENO, "/dev/null", O_RDONLY) || !redirect(STDOUT_FILENO, options.output.c_str(), kAnew) ||
        !redirect(STDERR_FILENO, options.error.c_str(), kAnew))
      return;
  }
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) return;
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvpe(argv[0], argv, envp);
}

}  // namespace

Children::Children() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, &before_);
  signals_ = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

Children::~Children() {
  kill_all();
  if (signals_ >= 0) ::close(signals_);
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

Status Children::start(std::uint64_t key, const ChildOptions& options) {
  std::vector<std::string> command = options.command, environment = environment_with(options.environment);
  std::vector<char*> argv = pointers(command), envp = pointers(environment);
  const bool ours = !options.output.empty() || ::isatty(STDIN_FILENO) == 0;
  const pid_t parent = ::getpid();
  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0)
    return make_error(ErrorCode::kResource, "pipe2: {}", std::generic_category().message(errno));
  const pid_t pid = ::fork();
  if (pid == 0) {
    become(options, argv.data(), envp.data(), parent, ours, before_);
    const int why = errno;
    (void)!::write(failure[1], &why, sizeof(why));
    ::_exit(127);
  }
  const int unforked = errno;
  ::close(failure[1]);
  if (pid > 0 && ours) ::setpgid(pid, pid);  // whoever of the two is first
  int why = 0;
  ssize_t got = 0;
  while (pid > 0 && (got = ::read(failure[0], &why, sizeof(why))) < 0 && errno == EINTR) {
  }
  ::close(failure[0]);
  if (pid < 0) return make_error(ErrorCode::kResource, "fork: {}", std::generic_category().message(unforked));
  if (got > 0) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return make_error(ErrorCode::kInvalidArgument, "cannot start {}: {}", options.command.front(),
                      std::generic_category().message(why));
  }
  const Clock::time_point now = Clock::now();
  const bool limited = options.limit < Clock::time_point::max() - now;
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const int unopened = errno;
  running_.push_back({key, pid, descriptor, now, limited ? now + options.limit : Clock::time_point::max()});
  if (descriptor < 0) {
    kill_all();
    return make_error(ErrorCode::kUnsupported, "pidfd_open: {} (Linux 5.3 or newer is needed)",
                      std::generic_category().message(unopened));
  }
  return {};
}

Ended Children::reap(const Running& child) {
  // Before it is reaped its number is not anybody else's.
  ::kill(-child.pid, SIGKILL);
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (child.descriptor >= 0) ::close(child.descriptor);
  Ended ended{.key = child.key, .late = child.late};
  if (WIFEXITED(status)) ended.exit = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  ended.milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - child.begin).count();
  return ended;
}

void Children::kill_all() {
  for (const Running& child : running_) {
    ::kill(-child.pid, SIGKILL);
    ::kill(child.pid, SIGKILL);
    (void)reap(child);
  }
  running_.clear();
}

std::vector<Ended> Children::wait(Clock::time_point wake) {
  std::vector<Ended> ended;
  while (ended.empty() && !running_.empty() && interrupted_ == 0) {
    std::vector<pollfd> watched{{signals_, POLLIN, 0}};
    Clock::time_point end = wake;
    for (const Running& child : running_) {
      watched.push_back({child.descriptor, POLLIN, 0});
      if (!child.late) end = std::min(end, child.end);
    }
    const int ready = ::poll(watched.data(), watched.size(), milliseconds_until(end));
    if (ready > 0 && watched[0].revents != 0) {
      signalfd_siginfo taken;  // all of them, or they would end us once signals are let in again
      while (::read(signals_, &taken, sizeof(taken)) == static_cast<ssize_t>(sizeof(taken)))
        if (interrupted_ == 0) interrupted_ = static_cast<int>(taken.ssi_signo);
      kill_all();
      break;
    }
    const Clock::time_point now = Clock::now();
    std::vector<Running> left;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      Running& child = running_[i];
      if (ready > 0 && watched[i + 1].revents != 0) {
        ended.push_back(reap(child));
        continue;
      }
      if (!child.late && now >= child.end) {
        child.late = true;
        ::kill(-child.pid, SIGKILL);
        ::kill(child.pid, SIGKILL);
      }
      left.push_back(child);
    }
    running_ = std::move(left);
    if (ended.empty() && now >= wake) break;
  }
  return ended;
}

}  // namespace opennrt::tool
