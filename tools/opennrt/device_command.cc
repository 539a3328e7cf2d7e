// SPDX-License-Identifier: Apache-2.0
#include "tools/opennrt/device_command.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <nrt/nrt_version.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace opennrt::tool {
namespace {

namespace fs = std::filesystem;

constexpr int kCannotRun = 126, kNotFound = 127;  // as a shell says it

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

std::atomic<pid_t> command_pid = 0;

void forward(int signal, siginfo_t* info, void*) {
  const int saved = errno;
  // What a terminal sends has gone to all processes in its foreground, the command among them. Only a hang-up is told to the
  // session's leader alone.
  const bool terminal = info->si_code == SI_KERNEL && (signal == SIGINT || signal == SIGQUIT || signal == SIGHUP);
  const bool ours_alone = signal == SIGHUP && ::getsid(0) == ::getpid();
  if (const pid_t pid = command_pid; pid > 0 && (!terminal || ours_alone)) ::kill(pid, signal);
  errno = saved;
}

/// The file that execvp(3) would execute; empty: none.
std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* variable = std::getenv("PATH");
  std::string_view folders = variable != nullptr ? variable : "/bin:/usr/bin";
  for (;;) {
    const std::size_t end = folders.find(':');
    const std::string folder(folders.substr(0, end));
    const std::string path = (folder.empty() ? "." : folder) + "/" + program;
    std::error_code error;
    if (fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0) return path;
    if (end == std::string_view::npos) return {};
    folders.remove_prefix(end + 1);
  }
}

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool read(void* data, std::size_t bytes, std::uint64_t at) const {
    return fd_ >= 0 && ::pread(fd_, data, bytes, static_cast<off_t>(at)) == static_cast<ssize_t>(bytes);
  }

 private:
  int fd_;
};

/// True: an ELF program for which the kernel loads no dynamic linker.
bool linked_statically(const File& file) {
  Elf64_Ehdr header{};
  if (!file.read(&header, sizeof(header), 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (!file.read(&part, sizeof(part), header.e_phoff + std::uint64_t{i} * sizeof(part))) return false;
    if (part.p_type == PT_INTERP) return false;
  }
  return true;
}

/// True: the kernel has the dynamic linker ignore LD_PRELOAD (getauxval(3), AT_SECURE).
bool gains_rights(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  return ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::getuid()) ||
         ((status.st_mode & S_ISGID) != 0 && status.st_gid != ::getgid()) ||
         (::getuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0);
}

/// The interpreter that a script names; empty: it is no script.
std::string interpreter(const File& file) {
  std::string line;
  for (char c = 0; line.size() < 256 && file.read(&c, 1, line.size()) && c != '\n';) line += c;
  if (!line.starts_with("#!")) return {};
  const std::size_t from = line.find_first_not_of(" \t", 2);
  if (from == std::string::npos) return {};
  return line.substr(from, line.find_first_of(" \t", from) - from);
}

void prepend(const char* name, const std::string& value) {
  const char* old = std::getenv(name);
  const std::string text = old == nullptr || *old == 0 ? value : value + ":" + old;
  ::setenv(name, text.c_str(), 1);
}

}  // namespace

Result<std::string> device_library() {
  Dl_info where{};
  if (::dladdr(reinterpret_cast<const void*>(&nrt_get_version), &where) == 0)
    return make_error(ErrorCode::kInternal, "libnrt is not among the loaded libraries");
  std::error_code error;
  const fs::path nrt = fs::canonical(where.dli_fname, error);
  if (error) return make_error(ErrorCode::kInvalidFile, "{}: {}", where.dli_fname, error.message());
  const std::string library = nrt.parent_path() / "opennrt/libopennrt_device.so";
  if (::access(library.c_str(), R_OK) != 0)
    return make_error(ErrorCode::kInvalidFile, "{}: {} (the installation is not complete)", library, errno_text(errno));
  // ld.so(8) splits the variable at these and has no way to quote them.
  if (library.find_first_of(" :") != std::string::npos)
    return make_error(ErrorCode::kInvalidFile,
                      "the library is '{}', expected a path without blanks and colons, which LD_PRELOAD cannot hold: "
                      "install OpenNRT elsewhere",
                      library);
  return library;
}

std::string unreachable(const std::string& program) {
  std::string path = find_program(program);
  const std::string script_of = interpreter(File(path));
  if (!script_of.empty()) path = script_of;  // the kernel takes the rights of the interpreter, too
  // The dynamic linker itself, called as a program, has no interpreter and serves the variable.
  if (fs::path(path).filename().string().starts_with("ld-")) return {};
  if (linked_statically(File(path))) return "is linked statically";
  if (gains_rights(path)) return "runs with other rights than ours (setuid, setgid or capabilities)";
  return {};
}

Signals::Signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &mask_);
  struct sigaction action {};
  action.sa_sigaction = forward;
  action.sa_mask = all;  // in the order in which they came
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  for (std::size_t i = 0; i < kForwarded.size(); ++i) ::sigaction(kForwarded[i], &action, &before_[i]);
}

void Signals::restore() const {
  for (std::size_t i = 0; i < kForwarded.size(); ++i) ::sigaction(kForwarded[i], &before_[i], nullptr);
  release();
}

Result<Command> Command::start(const std::vector<std::string>& words, const std::string& library,
                               const std::map<std::string, std::string>& variables, const Signals& signals) {
  if (const std::string why = unreachable(words.front()); !why.empty())
    fmt::print(stderr,
               "opennrt: warning: {} {}: LD_PRELOAD does not reach it, and it sees the devices of this computer only\n",
               words.front(), why);
  std::array<int, 2> failure{};
  if (::pipe2(failure.data(), O_CLOEXEC) != 0) return make_error(ErrorCode::kResource, "pipe: {}", errno_text(errno));
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int error = errno;
    for (const int end : failure) ::close(end);
    return make_error(ErrorCode::kResource, "fork: {}", errno_text(error));
  }
  if (pid == 0) {
    prepend("LD_PRELOAD", library);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
#if defined(__SANITIZE_ADDRESS__)
    prepend("ASAN_OPTIONS", "verify_asan_link_order=0");  // the preload library comes before the sanitizer's
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

void Command::kill(int signal) const {
  ::kill(pid_, signal);
}

int Command::wait() const {
  // Where the kernel can, in poll(2): a signal always interrupts it, so that it is forwarded at once whatever delays handlers
  // (ThreadSanitizer does).
  if (const auto end = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)); end >= 0) {
    pollfd ended{end, POLLIN, 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) continue;
    ::close(end);
  }
  siginfo_t ignored{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &ignored, WEXITED | WNOWAIT) < 0 && errno == EINTR) continue;
  command_pid = 0;  // before its number can be another one's
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace opennrt::tool
