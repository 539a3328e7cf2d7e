// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/faults_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!options.output.empty()) {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, options.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, options.error.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  }
  if (!options.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.folder.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A command on the user's own terminal stays in the terminal's group.
  posix_spawnattr_setflags(
      &attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | (options.output.empty() ? 0 : POSIX_SPAWN_SETPGROUP)));
  posix_spawnattr_setsigmask(&attributes, &before_);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot start {}: {}", options.command.front(),
                      std::generic_category().message(failed));
  const Clock::time_point now = Clock::now();
  const bool limited = options.limit < Clock::time_point::max() - now;
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const int why = errno;
  running_.push_back({key, pid, descriptor, now, limited ? now + options.limit : Clock::time_point::max()});
  if (descriptor < 0) {
    kill_all();
    return make_error(ErrorCode::kUnsupported, "pidfd_open: {} (Linux 5.3 or newer is needed)",
                      std::generic_category().message(why));
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
  while (ended.empty() && !running_.empty() && !interrupted_) {
    std::vector<pollfd> watched{{signals_, POLLIN, 0}};
    Clock::time_point end = wake;
    for (const Running& child : running_) {
      watched.push_back({child.descriptor, POLLIN, 0});
      if (!child.late) end = std::min(end, child.end);
    }
    const int ready = ::poll(watched.data(), watched.size(), milliseconds_until(end));
    if (ready > 0 && watched[0].revents != 0) {
      signalfd_siginfo taken;  // or it would end us once signals are let in again
      while (::read(signals_, &taken, sizeof(taken)) == static_cast<ssize_t>(sizeof(taken))) {
      }
      interrupted_ = true;
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

Result<Ended> run_child(const ChildOptions& options) {
  Children children;
  if (const Status started = children.start(0, options); !started) return tl::unexpected<Error>(started.error());
  const std::vector<Ended> ended = children.wait();
  if (ended.empty()) return make_error(ErrorCode::kState, "interrupted");
  return ended.front();
}

}  // namespace opennrt::tool
