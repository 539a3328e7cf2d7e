// SPDX-License-Identifier: Apache-2.0
//
// opennrt emulate: runs a command on a machine whose Neuron devices are simulated (backends/emulator).
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <opennrt/backend.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "backends/emulator/machine/listener.h"
#include "backends/emulator/machine/machine.h"
#include "backends/emulator/machine/server.h"
#include "backends/emulator/protocol.h"
#include "tools/opennrt/commands.h"

namespace opennrt::tool {
namespace {

constexpr int kCannotRun = 126, kNotFound = 127;  // as a shell says it

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

/// The folder beside libnrt.so.1 with our other parts, in the build tree as in the installed one.
Result<std::string> parts_folder() {
  Dl_info info{};
  void* nrt = ::dlsym(RTLD_DEFAULT, "nrt_init");
  if (nrt == nullptr || ::dladdr(nrt, &info) == 0 || info.dli_fname == nullptr)
    return make_error(ErrorCode::kInternal, "libnrt.so.1, which this tool is linked to, is not found");
  std::error_code error;
  const auto path = std::filesystem::canonical(info.dli_fname, error);
  if (error) return make_error(ErrorCode::kInvalidArgument, "{}: {}", info.dli_fname, error.message());
  return (path.parent_path() / "opennrt").string();
}

/// What the runtime would offer the simulator: here the environment, and what the command line says in its place.
class Host {
 public:
  Host(const EmulateOptions& options, std::string data_dir) : data_dir_(std::move(data_dir)) {
    if (!options.instance.empty()) values_["OPENNRT_SIM_INSTANCE"] = options.instance;
    if (!options.devices.empty()) values_["OPENNRT_SIM_DEVICES"] = options.devices;
    table_.size = sizeof(table_);
    table_.context = this;
    table_.data_dir = data_dir_.c_str();
    table_.config = [](void* self, const char* name) -> const char* {
      const auto& values = static_cast<Host*>(self)->values_;
      const auto at = values.find(name);
      return at != values.end() ? at->second.c_str() : std::getenv(name);
    };
    if (!options.verbose) return;
    table_.log = [](void*, opennrt_log_level_t level, const char* function, const char* text) {
      if (level <= OPENNRT_LOG_WARNING) fmt::print(stderr, "opennrt emulate: {}: {}\n", function, text);
    };
    table_.log_enabled = [](void*, opennrt_log_level_t level) { return level <= OPENNRT_LOG_WARNING; };
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  const opennrt_host_t* table() const { return &table_; }

 private:
  std::map<std::string, std::string> values_;
  std::string data_dir_;
  opennrt_host_t table_{};
};

void prepend(const char* name, const std::string& value, char separator) {
  const char* old = std::getenv(name);
  const std::string text = old == nullptr || *old == 0 ? value : value + separator + old;
  ::setenv(name, text.c_str(), 1);
}

std::atomic<pid_t> command_pid = 0;

void forward(int signal) {
  const int saved = errno;
  if (const pid_t pid = command_pid; pid > 0) ::kill(pid, signal);
  errno = saved;
}

/// Signals that end us are the command's; those from a terminal it gets anyway. All signals are held back until `release`:
/// none is lost before there is a command, and the machine's threads get none.
class Signals {
 public:
  Signals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &mask_);
    struct sigaction action {};
    action.sa_handler = forward;
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < kForwarded.size(); ++i) ::sigaction(kForwarded[i], &action, &before_[i]);
  }
  ~Signals() { restore(); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void release() const { ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr); }
  /// As they were: for the command, and for us when it has ended.
  void restore() const {
    for (std::size_t i = 0; i < kForwarded.size(); ++i) ::sigaction(kForwarded[i], &before_[i], nullptr);
    release();
  }

 private:
  static constexpr std::array kForwarded{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  sigset_t mask_{};
  std::array<struct sigaction, kForwarded.size()> before_{};
};

/// The command, as a process; it comes before any thread of ours does.
class Command {
 public:
  static Result<Command> start(const std::vector<std::string>& words, const std::string& library,
                               const std::string& machine, const Signals& signals) {
    std::array<int, 2> failure{};
    if (::pipe2(failure.data(), O_CLOEXEC) != 0) return make_error(ErrorCode::kResource, "pipe: {}", errno_text(errno));
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) return make_error(ErrorCode::kResource, "fork: {}", errno_text(errno));
    if (pid == 0) {
      prepend("LD_PRELOAD", library, ':');
      ::setenv(emulator::kMachineVariable, machine.c_str(), 1);
#if defined(__SANITIZE_ADDRESS__)
      prepend("ASAN_OPTIONS", "verify_asan_link_order=0", ':');  // the preload library comes before the sanitizer's
#endif
      signals.restore();
      ::execvp(arguments[0], arguments.data());
      const int error = errno;
      [[maybe_unused]] const ssize_t written = ::write(failure[1], &error, sizeof(error));
      ::_exit(error == ENOENT ? kNotFound : kCannotRun);
    }
    ::close(failure[1]);
    Command command;
    command.pid_ = pid;
    command_pid = pid;
    int error = 0;
    ssize_t size = 0;
    do {
      size = ::read(failure[0], &error, sizeof(error));
    } while (size < 0 && errno == EINTR);
    ::close(failure[0]);
    if (size == static_cast<ssize_t>(sizeof(error))) command.error_ = error;
    return command;
  }

  int error() const {
    return error_;
  }  ///< errno of exec; 0: it runs

  /// Its exit status as a shell has it.
  int wait() const {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    command_pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
  int error_ = 0;
};

int run_command(const EmulateOptions& options, const Command& command, const Signals& signals) {
  signals.release();
  const int exit_status = command.wait();
  signals.restore();  // whom it has left behind we wait for, but may be told not to
  if (command.error() != 0)
    fmt::print(stderr, "opennrt: error: {}: {}\n", options.command.front(), errno_text(command.error()));
  return exit_status;
}

}  // namespace

Result<int> emulate(const EmulateOptions& options) {
  auto version = emulator::DriverVersion::parse(options.driver);
  if (!version) return with_context(version.error(), "--driver");
  auto folder = parts_folder();
  if (!folder) return tl::unexpected<Error>(folder.error());
  const std::string library = *folder + "/libopennrt_device.so";
  if (::access(library.c_str(), R_OK) != 0)
    return make_error(ErrorCode::kInvalidFile, "{}: {}", library, errno_text(errno));
  const Host host(options, *folder);
  auto config = driver::Config::read(*host.table());
  if (!config) return tl::unexpected<Error>(config.error());

  const Signals signals;
  auto listener = emulator::Listener::open(config->runtime_dir, options.machine);
  if (!listener && listener.error().code == ErrorCode::kState) {  // another command's machine: this one joins it
    auto path = emulator::Listener::path_of(config->runtime_dir, options.machine);
    if (!path) return tl::unexpected<Error>(path.error());
    auto command = Command::start(options.command, library, *path, signals);
    if (!command) return tl::unexpected<Error>(command.error());
    return run_command(options, *command, signals);
  }
  if (!listener) return tl::unexpected<Error>(listener.error());

  auto command = Command::start(options.command, library, listener->path(), signals);
  if (!command) return tl::unexpected<Error>(command.error());
  auto machine = emulator::Machine::make(host.table(), std::move(*config), std::move(*version));
  if (!machine) {
    ::kill(command_pid, SIGTERM);
    command->wait();
    return tl::unexpected<Error>(machine.error());
  }
  emulator::Server server(**machine, listener->socket());
  const int exit_status = run_command(options, *command, signals);
  server.wait_until_idle();
  return exit_status;
}

}  // namespace opennrt::tool
