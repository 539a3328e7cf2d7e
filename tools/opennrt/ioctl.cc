// SPDX-License-Identifier: Apache-2.0
//
// Conversations of programs with /dev/neuron<N>: written down, played back, summed up (docs/ioctl-recording.md). The work is
// done by the preload library in the program; here it is started.
#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
#include "tools/opennrt/device_command.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

using emulator::Event;
using emulator::Transcript;
using emulator::Verb;
namespace fs = std::filesystem;

/// Runs it with the preload library in front; signals that come to us are the command's.
Result<int> run_command(const IoctlOptions& options, const std::map<std::string, std::string>& variables) {
  auto library = device_library();
  if (!library) return tl::unexpected(library.error());
  const Signals signals;
  const auto command = Command::start(options.command, *library, variables, signals);
  if (!command) return tl::unexpected(command.error());
  signals.release();
  const int status = command->wait();
  if (command->error() != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot start {}: {}", options.command.front(),
                      ::strerrordesc_np(command->error()));
  return status;
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
  // Emptied here, so that every process of the command only appends. A file that was there may have been anybody's to read.
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  struct stat status {};
  const bool good = fd >= 0 && ::fstat(fd, &status) == 0 && (!S_ISREG(status.st_mode) || ::fchmod(fd, 0600) == 0);
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (!good) return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", file, ::strerrordesc_np(why));
  const auto exit_status = run_command(
      options, {{emulator::kRecordVariable, file}, {emulator::kPayloadVariable, options.payload ? "yes" : "no"}});
  if (exit_status && S_ISREG(status.st_mode) && fs::file_size(file, error) == 0)
    fmt::print(stderr, "opennrt: {} is empty: the command made no call that concerns /dev/neuron*\n", options.file);
  return exit_status;
}

Result<int> ioctl_replay(const IoctlOptions& options) {
  std::error_code error;
  const std::string file = fs::absolute(options.file, error).string();
  if (const auto good = read_transcript(file); !good) return tl::unexpected(good.error());
  const CountingFile counting;
  if (counting.error() != 0)
    return make_error(ErrorCode::kResource, "cannot make {}: {}", counting.path(), ::strerrordesc_np(counting.error()));
  return run_command(options, {{emulator::kReplayVariable, file}, {emulator::kReplayStateVariable, counting.path()}});
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
