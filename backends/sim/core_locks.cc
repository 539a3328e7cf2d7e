// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/core_locks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>

namespace opennrt::driver {
namespace {

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

struct flock record(short type, std::uint32_t first, std::uint32_t count) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = count;
  return lock;
}

/// All of the run or none of it, at once: the kernel takes a range of bytes in one step. 0, or errno: EAGAIN when
/// another process has one of them.
int set_lock(int fd, short type, std::uint32_t first, std::uint32_t count) {
  struct flock lock = record(type, first, count);
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

/// A descriptor that closes itself. Never for a lock file: see CoreLocks.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

bool owned_dir(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == ::geteuid();
}

/// Where the folder is. A parent that belongs to somebody else is passed over: XDG_RUNTIME_DIR often survives sudo, and
/// a folder of root's in a user's would lock that user out.
std::string place_of_runtime_dir(const std::string& chosen) {
  if (!chosen.empty()) return chosen;
  const std::string user = std::to_string(::geteuid());
  const char* xdg = std::getenv("XDG_RUNTIME_DIR");
  if (xdg != nullptr && xdg[0] == '/' && owned_dir(xdg)) return std::string(xdg) + "/opennrt";
  if (owned_dir("/run/user/" + user)) return "/run/user/" + user + "/opennrt";
  return "/tmp/opennrt-" + user;
}

/// Makes the folder if it is not there and opens it. What is checked is what was opened, whatever happens to the path
/// meanwhile.
Result<Descriptor> open_dir(const std::string& path) {
  constexpr const char* kAdvice = "remove it, or set OPENNRT_RUNTIME_DIR to a folder of this user";
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: cannot create it: {}", path, errno_text(errno));
  }
  Descriptor dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (dir.get() < 0) {
    const int error = errno;
    if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
      return make_error(ErrorCode::kInvalidArgument,
                        "runtime folder {} is a symbolic link, expected a folder of this user; {}", path, kAdvice);
    }
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: cannot open it: {}; {}", path, errno_text(error),
                      kAdvice);
  }
  if (::fstat(dir.get(), &status) != 0) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: {}", path, errno_text(errno));
  }
  if (status.st_uid != ::geteuid()) {
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {} belongs to user {}, expected user {}; {}", path,
                      status.st_uid, ::geteuid(), kAdvice);
  }
  if ((status.st_mode & 022) != 0) {
    return make_error(ErrorCode::kInvalidArgument,
                      "runtime folder {} has mode {:o}, expected it not to be writable for others; chmod go-w it", path,
                      status.st_mode & 07777);
  }
  return dir;
}

std::string command_of(pid_t pid) {
  std::string text;
  if (std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary); file) {
    std::ostringstream all;
    all << file.rdbuf();  // an iterator would throw when the process ends between open and read
    text = std::move(all).str();
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
  std::string path = place_of_runtime_dir(chosen);
  const Result<Descriptor> dir = open_dir(path);
  if (!dir) return tl::unexpected<Error>(dir.error());
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
  const std::string place = place_of_runtime_dir(chosen_dir_);
  const Result<Descriptor> dir = open_dir(place);
  if (!dir) return {EPERM, dir.error().message};
  const std::string name = instance_ + ".cores";
  const std::string path = place + "/" + name;
  struct stat status {};
  const auto look = [&] { return ::fstatat(dir->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0; };
  // Someone may have removed the folder while we ran (a session's end does): then whoever comes next locks a new file,
  // and so must we.
  if (file_ && look() && status.st_dev == file_->device && status.st_ino == file_->inode) return {};

  // What we own goes along to the file that replaces ours.
  auto adopt = [this](std::shared_ptr<File> file) {
    const std::lock_guard guard(file->mutex);
    for (std::uint32_t core = 0; core < cores_; ++core) {
      if (test(mine_, core) && set_lock(file->fd, F_WRLCK, core, 1) == 0) set(file->taken, core);
    }
    file_ = file;
  };
  auto& table = FileTable<File>::of_process();
  const std::lock_guard guard(table.mutex);
  // Look before opening: a second descriptor of a file that we have locked must not even be closed again.
  if (look()) {
    if (auto known = table.files.find({status.st_dev, status.st_ino}); known != table.files.end()) {
      adopt(known->second);
      return {};
    }
  }
  const int fd = ::openat(dir->get(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
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
  ::fchmod(fd, 0600);  // whatever the umask of who made it: the next process of this user must be able to open it
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
  const std::lock_guard own(mutex_);
  taken = {};
  available = 0;
  if (count == 0 || first > last || last >= cores_) {
    return {EINVAL,
            fmt::format("{} core(s) of {}-{} asked for, expected 1 or more in 0-{}", count, first, last, cores_ - 1)};
  }
  if (Failure failure = open_file(); failure.error != 0) return failure;
  const std::lock_guard guard(file_->mutex);
  const auto broken = [&](int error) {
    return Failure{EIO, fmt::format("lock file {}: cannot lock: {}", file_->path, errno_text(error))};
  };
  for (std::uint32_t core = first; count <= last - first + 1 && core <= last - count + 1;) {
    const std::uint32_t end = core + count;
    std::uint32_t ours = end;  // the last core of the run that this process has; the kernel would give it to us again
    while (ours > core && !test(file_->taken, ours - 1)) --ours;
    if (ours > core) {
      core = ours;
      continue;
    }
    const int error = set_lock(file_->fd, F_WRLCK, core, count);
    if (error == 0) {
      for (; core < end; ++core) {
        set(taken, core);
        set(file_->taken, core);
        set(mine_, core);
      }
      available = count;
      return {};
    }
    if (error != EAGAIN) return broken(error);
    struct flock other = record(F_WRLCK, core, count);
    if (::fcntl(file_->fd, F_GETLK, &other) != 0) return broken(errno);
    if (other.l_type == F_UNLCK) continue;  // free by now
    if (other.l_len == 0) break;            // somebody locked the file to its end
    core = static_cast<std::uint32_t>(other.l_start + other.l_len);
  }
  // What there is, for the message: the longest run of free cores, as the driver's max_range.
  std::uint32_t run = 0;
  for (std::uint32_t core = first; core <= last; ++core) {
    struct flock other = record(F_WRLCK, core, 1);
    const bool free = !test(file_->taken, core) && ::fcntl(file_->fd, F_GETLK, &other) == 0 && other.l_type == F_UNLCK;
    run = free ? run + 1 : 0;
    available = std::max(available, run);
  }
  return {EBUSY, ""};
}

CoreLocks::Failure CoreLocks::release(const opennrt_core_map_t& cores) {
  const std::lock_guard own(mutex_);
  if (!file_) return {};
  const std::lock_guard guard(file_->mutex);
  for (std::uint32_t core = 0; core < cores_; ++core) {
    if (!test(cores, core) || !test(mine_, core)) continue;
    set_lock(file_->fd, F_UNLCK, core, 1);
    clear(file_->taken, core);
    clear(mine_, core);
  }
  return {};
}

CoreLocks::Failure CoreLocks::holder(std::uint32_t core, opennrt_core_holder_t& holder) {
  const std::lock_guard own(mutex_);
  holder = {};
  if (core >= cores_) return {EINVAL, fmt::format("core {}, expected 0-{}", core, cores_ - 1)};
  if (Failure failure = open_file(); failure.error != 0) return failure;
  const std::lock_guard guard(file_->mutex);
  pid_t pid = 0;
  if (test(file_->taken, core)) {
    pid = ::getpid();
  } else {
    struct flock lock = record(F_WRLCK, core, 1);
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
