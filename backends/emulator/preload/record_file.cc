// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/record_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>
#include <utility>

#include "backends/emulator/preload/system.h"
#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {
namespace {

long write_all(int fd, const std::string& text) {
  // One call, so that lines of processes do not mix; only a full disk makes it several, and then an error.
  for (std::size_t done = 0; done < text.size();) {
    const long wrote = system_call(SYS_write, fd, text.data() + done, text.size() - done);
    if (wrote < 0 && wrote != -EINTR) return wrote;
    if (wrote > 0) done += static_cast<std::size_t>(wrote);
  }
  return 0;
}

/// Lines "<n>.<m> process…" in the file so far.
unsigned count_processes(int fd) {
  const std::string verb = std::string(" ") + verb_name(Verb::kProcess);
  std::string line;
  unsigned count = 0;
  std::array<char, 65536> buffer;
  off_t at = 0;
  for (long n = 0; (n = system_call(SYS_pread64, fd, buffer.data(), buffer.size(), at)) > 0; at += n) {
    for (long i = 0; i < n; ++i) {
      const char c = buffer[static_cast<std::size_t>(i)];
      if (c != '\n') {
        if (line.size() < 64) line += c;  // enough to know it
        continue;
      }
      const std::size_t space = line.find(' ');
      count += space != std::string::npos && line.find('.') < space && line.compare(space, verb.size(), verb) == 0;
      line.clear();
    }
  }
  return count;
}

}  // namespace

RecordFile::RecordFile(std::string path) : path_(std::move(path)) {
  std::array<char, PATH_MAX> folder;
  if (path_.starts_with('/')) return;  // the program may change its folder
  if (system_call(SYS_getcwd, folder.data(), folder.size()) > 0) path_ = std::string(folder.data()) + "/" + path_;
}

int RecordFile::open_file() const {
  // Readable by its owner alone: with --payload it holds the user's data.
  return static_cast<int>(
      system_call(SYS_openat, AT_FDCWD, path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
}

void RecordFile::failed(long error) const {
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  const std::string text =
      "opennrt: cannot write the recording " + path_ + ": " + strerrordesc_np(static_cast<int>(-error)) + "\n";
  system_call(SYS_write, STDERR_FILENO, text.data(), text.size());
}

unsigned RecordFile::begin(const std::string& header, unsigned forked) {
  const int fd = open_file();
  if (fd < 0) {
    failed(fd);
    return 0;
  }
  system_call(SYS_flock, fd, LOCK_EX);
  const unsigned number = count_processes(fd) + 1;
  std::string text = system_call(SYS_lseek, fd, 0L, SEEK_END) == 0 ? header : std::string();
  text += std::to_string(number) + ".1 " + verb_name(Verb::kProcess);
  if (forked != 0) text += " forked=" + std::to_string(forked);
  const long error = write_all(fd, text + "\n");
  system_call(SYS_close, fd);  // and unlocks
  if (error == 0) return number;
  failed(error);
  return 0;
}

void RecordFile::append(const std::string& text) {
  const int fd = open_file();
  const long error = fd < 0 ? fd : write_all(fd, text);
  if (fd >= 0) system_call(SYS_close, fd);
  if (error != 0) failed(error);
}

}  // namespace opennrt::emulator
