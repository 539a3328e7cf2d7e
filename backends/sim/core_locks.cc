// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/core_locks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace opennrt::driver {
namespace {

/// The byte that whoever looks for several free cores holds for that moment, so that two searchers do not each take
/// half of
/// what both need. A process that is stopped there must not stop the others: after kGateWait they search without it,
/// which can
/// only make them give up too early, never share a core.
constexpr off_t kGateByte = off_t{1} << 20;
constexpr auto kGateWait = std::chrono::seconds(5);
constexpr auto kGatePoll = std::chrono::microseconds(200);

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

struct flock record(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

/// 0, or errno: EAGAIN when another process has it.
int set_lock(int fd, short type, off_t byte) {
  struct flock lock = record(type, byte);
  while (::fcntl(fd, F_SETLK, &lock) != 0) {
    if (errno == EINTR) continue;
    return errno == EACCES ? EAGAIN : errno;
  }
  return 0;
}

bool test(const opennrt_core_map_t& map, std::uint32_t core) {
  return (map.bits[core / 64] >> (core % 64) & 1) != 0;
}
void set(opennrt_core_map_t& map, std::uint32_t core) {
  map.bits[core / 64] |= std::uint64_t{1} << (core % 64);
}
void clear(opennrt_core_map_t& map, std::uint32_t core) {
  map.bits[core / 64] &= ~(std::uint64_t{1} << (core % 64));
}

Status check_dir(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: {}", path, errno_text(errno));
  }
  if (S_ISLNK(status.st_mode)) {
    return make_error(ErrorCode::kInvalidArgument,
                      "runtime folder {} is a symbolic link, expected a folder of this user", path);
  }
  if (!S_ISDIR(status.st_mode)) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {} is not a folder", path);
  }
  if (status.st_uid != ::geteuid()) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {} belongs to user {}, expected user {}", path,
                      status.st_uid, ::geteuid());
  }
  if ((status.st_mode & 022) != 0) {
    return make_error(ErrorCode::kInvalidArgument,
                      "runtime folder {} has mode {:o}, expected it not to be writable for others", path,
                      status.st_mode & 07777);
  }
  return {};
}

std::string command_of(pid_t pid) {
  std::string text;
  if (std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary); file) {
    text.assign(std::istreambuf_iterator<char>(file), {});
    while (!text.empty() && text.back() == '\0') text.pop_back();
    std::replace(text.begin(), text.end(), '\0', ' ');
  }
  if (text.empty()) {
    if (std::ifstream file("/proc/" + std::to_string(pid) + "/comm"); file) std::getline(file, text);
  }
  // It goes to a log line: no control characters of somebody else's command line.
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

void copy_text(char (&to)[64], const std::string& from) {
  const std::size_t length = std::min(from.size(), sizeof(to) - 1);
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

}  // namespace

Result<std::string> runtime_dir(const std::string& chosen) {
  std::string path = chosen;
  if (path.empty()) {
    const std::string user = std::to_string(::geteuid());
    const char* xdg = std::getenv("XDG_RUNTIME_DIR");
    struct stat status {};
    if (xdg != nullptr && xdg[0] == '/' && ::stat(xdg, &status) == 0 && S_ISDIR(status.st_mode)) {
      path = std::string(xdg) + "/opennrt";
    } else if (::stat(("/run/user/" + user).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      path = "/run/user/" + user + "/opennrt";
    } else {
      path = "/tmp/opennrt-" + user;
    }
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: cannot create it: {}", path, errno_text(errno));
  }
  if (Status status = check_dir(path); !status) return tl::unexpected<Error>(status.error());
  return path;
}

struct CoreLocks::File {
  std::string path;
  int fd = -1;
  dev_t device = 0;
  ino_t inode = 0;
  std::mutex mutex;
  opennrt_core_map_t taken{};  ///< by this process: F_GETLK and F_SETLK do not tell one's own locks
};

namespace {

/// Files of this process, never closed. After fork a child starts with its own table: it has none of its parent's
/// locks, and
/// the parent's mutex may be held by a thread that the child does not have.
template <typename File>
struct FileTable {
  pid_t pid = ::getpid();
  std::mutex mutex;
  std::map<std::pair<dev_t, ino_t>, std::shared_ptr<File>> files;

  static FileTable& of_process() {
    static std::atomic<FileTable*> current{nullptr};
    FileTable* table = current.load();
    while (table == nullptr || table->pid != ::getpid()) {
      auto* fresh = new FileTable;  // lives as long as the process
      if (current.compare_exchange_strong(table, fresh)) return *fresh;
      delete fresh;
    }
    return *table;
  }
};

}  // namespace

CoreLocks::CoreLocks(std::string chosen_dir, std::string instance, std::uint32_t cores)
    : chosen_dir_(std::move(chosen_dir)), instance_(std::move(instance)), cores_(cores) {}

CoreLocks::~CoreLocks() {
  release(mine_);
}

CoreLocks::Failure CoreLocks::open_file() {
  Result<std::string> dir = runtime_dir(chosen_dir_);
  if (!dir) return {EPERM, dir.error().message};
  const std::string path = *dir + "/" + instance_ + ".cores";
  struct stat status {};
  // Someone may have removed the folder while we ran (a session's end does): then whoever comes next locks a new file,
  // and so
  // must we.
  if (file_ && ::lstat(path.c_str(), &status) == 0 && status.st_dev == file_->device && status.st_ino == file_->inode)
    return {};

  // What we own goes along to the file that replaces ours.
  auto adopt = [this](std::shared_ptr<File> file) {
    for (std::uint32_t core = 0; core < cores_; ++core) {
      if (test(mine_, core) && set_lock(file->fd, F_WRLCK, core) == 0) set(file->taken, core);
    }
    file_ = std::move(file);
  };
  auto& table = FileTable<File>::of_process();
  const std::lock_guard guard(table.mutex);
  // Look before opening: a second descriptor of a file that we have locked must not even be closed again.
  if (::lstat(path.c_str(), &status) == 0) {
    if (auto known = table.files.find({status.st_dev, status.st_ino}); known != table.files.end()) {
      adopt(known->second);
      return {};
    }
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    const int error = errno;
    if (error == ELOOP) return {EPERM, fmt::format("lock file {} is a symbolic link; remove it", path)};
    return {error == EACCES ? EPERM : EIO, fmt::format("lock file {}: cannot open it: {}", path, errno_text(error))};
  }
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || status.st_nlink > 1) {
    // Closing is safe only if it is not a file of the table under another name (a planted hard link).
    if (table.files.find({status.st_dev, status.st_ino}) == table.files.end()) ::close(fd);
    return {EPERM,
            fmt::format("lock file {} is not a regular file of user {} with one name; remove it", path, ::geteuid())};
  }
  auto file = std::make_shared<File>();
  file->path = path;
  file->fd = fd;
  file->device = status.st_dev;
  file->inode = status.st_ino;
  table.files.emplace(std::pair{status.st_dev, status.st_ino}, file);
  adopt(std::move(file));
  return {};
}

CoreLocks::Failure CoreLocks::reserve(std::uint32_t count, std::uint32_t first, std::uint32_t last,
                                      opennrt_core_map_t& taken, std::uint32_t& available) {
  taken = {};
  available = 0;
  if (count == 0 || first > last || last >= cores_) {
    return {EINVAL,
            fmt::format("{} core(s) of {}-{} asked for, expected 1 or more in 0-{}", count, first, last, cores_ - 1)};
  }
  if (Failure failure = open_file(); failure.error != 0) return failure;
  const std::lock_guard guard(file_->mutex);
  const int fd = file_->fd;

  bool gate = false;
  for (const auto end = std::chrono::steady_clock::now() + kGateWait; std::chrono::steady_clock::now() < end;) {
    const int error = set_lock(fd, F_WRLCK, kGateByte);
    if (error == 0) {
      gate = true;
      break;
    }
    if (error != EAGAIN) return {EIO, fmt::format("lock file {}: cannot lock: {}", file_->path, errno_text(error))};
    std::this_thread::sleep_for(kGatePoll);
  }
  std::uint32_t found = 0;
  Failure failure;
  for (std::uint32_t core = first; core <= last && found < count; ++core) {
    if (test(file_->taken, core)) continue;
    const int error = set_lock(fd, F_WRLCK, core);
    if (error == 0) {
      set(taken, core);
      ++found;
    } else if (error != EAGAIN) {
      failure = {EIO, fmt::format("lock file {}: cannot lock core {}: {}", file_->path, core, errno_text(error))};
      break;
    }
  }
  available = found;
  if (failure.error == 0 && found < count) failure.error = EBUSY;
  for (std::uint32_t core = first; core <= last; ++core) {
    if (!test(taken, core)) continue;
    if (failure.error == 0) {
      set(file_->taken, core);
      set(mine_, core);
    } else {
      set_lock(fd, F_UNLCK, core);
    }
  }
  if (gate) set_lock(fd, F_UNLCK, kGateByte);
  if (failure.error != 0) taken = {};
  return failure;
}

CoreLocks::Failure CoreLocks::release(const opennrt_core_map_t& cores) {
  if (!file_) return {};
  const std::lock_guard guard(file_->mutex);
  for (std::uint32_t core = 0; core < cores_; ++core) {
    if (!test(cores, core) || !test(mine_, core)) continue;
    set_lock(file_->fd, F_UNLCK, core);
    clear(file_->taken, core);
    clear(mine_, core);
  }
  return {};
}

CoreLocks::Failure CoreLocks::holder(std::uint32_t core, opennrt_core_holder_t& holder) {
  holder = {};
  if (core >= cores_) return {EINVAL, fmt::format("core {}, expected 0-{}", core, cores_ - 1)};
  if (Failure failure = open_file(); failure.error != 0) return failure;
  const std::lock_guard guard(file_->mutex);
  pid_t pid = 0;
  if (test(file_->taken, core)) {
    pid = ::getpid();
  } else {
    struct flock lock = record(F_WRLCK, core);
    if (::fcntl(file_->fd, F_GETLK, &lock) != 0)
      return {EIO, fmt::format("lock file {}: {}", file_->path, errno_text(errno))};
    if (lock.l_type == F_UNLCK) return {};
    pid = lock.l_pid;
  }
  if (pid <= 0) {  // held from another PID namespace: the kernel has no number for it here
    holder.pid = -1;
    copy_text(holder.command, "a process of another container");
    return {};
  }
  holder.pid = pid;
  copy_text(holder.command, command_of(pid));
  return {};
}

}  // namespace opennrt::driver
