// SPDX-License-Identifier: Apache-2.0
//
// Conversations of programs with /dev/neuron<N>: written down, played back, summed up (docs/ioctl-recording.md). The work is
// done by the preload library in the program; here it is started.
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/format.h>
#include <nrt/nrt_version.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backends/emulator/preload/describe.h"
#include "backends/emulator/preload/record.h"
#include "backends/emulator/preload/replay.h"
#include "backends/emulator/preload/transcript.h"
#include "tools/opennrt/commands.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

using emulator::Event;
using emulator::Transcript;
using emulator::Verb;
namespace fs = std::filesystem;

/// The preload library is installed beside libnrt.
Result<std::string> preload_library() {
  Dl_info where{};
  if (dladdr(reinterpret_cast<const void*>(&nrt_get_version), &where) == 0)
    return make_error(ErrorCode::kInternal, "libnrt is not among the loaded libraries");
  std::error_code ignored;
  const fs::path library = fs::canonical(where.dli_fname, ignored).parent_path() / "opennrt/libopennrt_device.so";
  if (!fs::exists(library, ignored))
    return make_error(ErrorCode::kInvalidFile, "{} is missing: the installation is not complete", library.string());
  return library.string();
}

/// The command sees our environment, with the library in front of others to be preloaded.
Status prepare_environment(const std::string& variable, const std::string& file) {
  auto library = preload_library();
  if (!library) return tl::unexpected(library.error());
  const char* others = std::getenv("LD_PRELOAD");
  const std::string all = others != nullptr && *others != 0 ? *library + ":" + others : *library;
  ::setenv("LD_PRELOAD", all.c_str(), 1);
  ::setenv(variable.c_str(), file.c_str(), 1);
#if defined(__SANITIZE_ADDRESS__)
  // A program that was built with the sanitizer wants its runtime to be first.
  const char* options = std::getenv("ASAN_OPTIONS");
  const std::string asan = (options != nullptr ? std::string(options) + ":" : "") + "verify_asan_link_order=0";
  ::setenv("ASAN_OPTIONS", asan.c_str(), 1);
#endif
  return {};
}

Result<int> run_command(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  // Keys pressed at the terminal reach the command itself; we stay to tell how it ended.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGQUIT, SIG_IGN);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t restored;
  sigemptyset(&restored);
  sigaddset(&restored, SIGINT);
  sigaddset(&restored, SIGQUIT);
  posix_spawnattr_setsigdefault(&attributes, &restored);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot start {}: {}", command.front(), ::strerrordesc_np(failed));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return make_error(ErrorCode::kInternal, "waitpid: {}", ::strerrordesc_np(errno));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<Transcript> read_transcript(const std::string& file) {
  const auto bytes = client::read_file(file);
  if (!bytes) return tl::unexpected(bytes.error());
  auto transcript = emulator::parse_transcript({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!transcript) return make_error(ErrorCode::kInvalidFile, "{}", transcript.error().text(file));
  return std::move(*transcript);
}

/// A file that goes away with us.
class CountingFile {
 public:
  CountingFile() : path_((fs::temp_directory_path() / "opennrt-replay-XXXXXX").string()) {
    const int fd = ::mkostemp(path_.data(), O_CLOEXEC);
    error_ = fd < 0 ? errno : 0;
    if (fd >= 0) ::close(fd);
  }
  ~CountingFile() {
    if (error_ == 0) ::unlink(path_.c_str());
  }
  CountingFile(const CountingFile&) = delete;
  CountingFile& operator=(const CountingFile&) = delete;
  int error() const { return error_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int error_ = 0;
};

struct Calls {
  std::uint64_t made = 0, failed = 0;
  std::set<std::string> errors;
};

void count(const Event& event, std::uint64_t times, std::map<std::string, Calls>& calls) {
  std::string name = emulator::verb_name(event.verb);
  if (event.verb == Verb::kIoctl) name = event.in[1].name.empty() ? event.in[1].text : event.in[1].text + " (unknown)";
  Calls& call = calls[name];
  call.made += times;
  long result = 0;
  if (event.out.empty() || !emulator::parse_result(event.out.front().text, result) || result >= 0) return;
  call.failed += times;
  call.errors.insert(event.out.front().text);
}

}  // namespace

Result<int> ioctl_record(const IoctlOptions& options) {
  std::error_code error;
  const std::string file = fs::absolute(options.file, error).string();
  // Emptied here, so that every process of the command only appends.
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", file, ::strerrordesc_np(errno));
  ::close(fd);
  if (auto good = prepare_environment(emulator::kRecordVariable, file); !good) return tl::unexpected(good.error());
  ::setenv(emulator::kPayloadVariable, options.payload ? "yes" : "no", 1);
  auto status = run_command(options.command);
  if (status && fs::file_size(file, error) == 0)
    fmt::print(stderr, "opennrt: {} is empty: the command made no call that concerns /dev/neuron*\n", options.file);
  return status;
}

Result<int> ioctl_replay(const IoctlOptions& options) {
  std::error_code error;
  const std::string file = fs::absolute(options.file, error).string();
  if (const auto good = read_transcript(file); !good) return tl::unexpected(good.error());
  const CountingFile counting;
  if (counting.error() != 0)
    return make_error(ErrorCode::kResource, "cannot make {}: {}", counting.path(), ::strerrordesc_np(counting.error()));
  if (auto good = prepare_environment(emulator::kReplayVariable, file); !good) return tl::unexpected(good.error());
  ::setenv(emulator::kReplayStateVariable, counting.path().c_str(), 1);
  return run_command(options.command);
}

Status ioctl_show(const std::string& file) {
  const auto transcript = read_transcript(file);
  if (!transcript) return tl::unexpected(transcript.error());
  fmt::print("driver {}, payload {}\n", transcript->driver.empty() ? "none" : transcript->driver,
             transcript->payload ? "recorded" : "left out");
  std::map<unsigned, std::map<std::string, Calls>> processes;
  std::map<unsigned, std::set<unsigned>> threads;
  std::map<std::pair<unsigned, unsigned>, const Event*> last;
  for (const Event& event : transcript->events) {
    const std::pair who{event.process, event.thread};
    std::uint64_t times = 1;
    const Event* counted = &event;
    if (event.verb == Verb::kAgain) {
      counted = last[who];
      emulator::parse_number(event.in.front().text, times);
    } else if (event.verb == Verb::kMemory || event.verb == Verb::kData || event.verb == Verb::kProcess) {
      continue;
    }
    threads[event.process].insert(event.thread);
    if (counted != nullptr) count(*counted, times, processes[event.process]);
    last[who] = counted;
  }
  for (const auto& [process, calls] : processes) {
    fmt::print("process {}, {} thread{}\n", process, threads[process].size(), threads[process].size() == 1 ? "" : "s");
    for (const auto& [name, call] : calls)
      fmt::print("  {:<36}{:>9}{}\n", name, call.made,
                 call.failed == 0 ? "" : fmt::format("  {} failed: {}", call.failed, fmt::join(call.errors, " ")));
  }
  return {};
}

}  // namespace opennrt::tool
