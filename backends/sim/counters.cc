// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/counters.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/common/per_process.h"

namespace opennrt::driver {
namespace {

using Failure = CoreLocks::Failure;
using Identity = std::pair<dev_t, ino_t>;

constexpr std::string_view kSuffix = ".counters", kCoresSuffix = ".cores";
constexpr int kAttempts = 16;  // each lost to a process that was just then removing what it took for left behind

struct Closed {
  int fd;
  explicit Closed(int open) : fd(open) {}
  Closed(const Closed&) = delete;
  ~Closed() {
    if (fd >= 0) ::close(fd);
  }
};

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

/// Who has the file locked: 0 nobody, -1 a process of another PID namespace.
pid_t holder_of(int fd) {
  struct flock lock = whole_file(F_RDLCK);
  if (::fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid > 0 ? lock.l_pid : -1;
}

bool lock_now(int fd) {
  struct flock lock = whole_file(F_WRLCK);
  while (::fcntl(fd, F_SETLK, &lock) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

bool identity_of(int dir, const std::string& name, Identity& identity) {
  struct stat status {};
  if (::fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
  identity = {status.st_dev, status.st_ino};
  return true;
}

std::vector<std::string> names_in(int dir, std::string_view suffix) {
  std::vector<std::string> names;
  const int fd = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = fd >= 0 ? ::fdopendir(fd) : nullptr;
  if (entries == nullptr) {
    if (fd >= 0) ::close(fd);
    return names;
  }
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (name.size() > suffix.size() && name.ends_with(suffix)) names.emplace_back(name);
  }
  ::closedir(entries);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

/// A datastore of this process.
struct Counters::Store {
  int dir = -1, fd = -1;
  std::string name;
  Identity identity{};
  void* address = nullptr;
  const pid_t pid = ::getpid();

  ~Store();
};

struct Counters::Mapping {
  std::uint32_t device = 0;
  unsigned users = 1;
  std::shared_ptr<Store> store;  ///< null: of another process
};

/// Those of this process: closing any descriptor of their files would drop their locks, so that nobody opens one twice. A
/// forked child has none of its parent's.
struct Counters::Stores {
  std::mutex mutex;
  std::map<Identity, std::weak_ptr<Store>> live;

  static Stores& of_process() { return per_process<Stores>(); }
};

/// With the lock of Stores, or before it is in there.
Counters::Store::~Store() {
  Identity now;
  const bool ours = fd >= 0 && pid == ::getpid();
  if (ours && identity_of(dir, name, now) && now == identity) ::unlinkat(dir, name.c_str(), 0);
  if (address != nullptr) ::munmap(address, kCountersBytes);
  if (fd >= 0) ::close(fd);
  if (dir >= 0) ::close(dir);
}

Counters::Counters(std::string chosen_dir, std::string instance)
    : chosen_dir_(std::move(chosen_dir)), instance_(std::move(instance)) {}

Counters::~Counters() {
  while (!mappings_.empty()) unmap(mappings_.begin()->first);
}

Result<int> Counters::open_dir() const {
  const Result<std::string> path = runtime_dir(chosen_dir_);
  if (!path) return tl::unexpected(path.error());
  const int dir = ::open(path->c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (dir < 0)
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: cannot open it: {}", *path, errno_text(errno));
  return dir;
}

std::string Counters::name_of(std::uint32_t device, std::int32_t pid) const {
  return fmt::format("{}.{}.{}{}", instance_, device, pid, kSuffix);
}

/// With the lock of Stores.
Failure Counters::own(int dir, std::uint32_t device, std::shared_ptr<Store>& store) const {
  Stores& stores = Stores::of_process();
  const auto live = [&](const std::string& name) -> std::shared_ptr<Store> {
    Identity identity;
    if (!identity_of(dir, name, identity)) return nullptr;
    const auto found = stores.live.find(identity);
    return found == stores.live.end() ? nullptr : found->second.lock();
  };
  const std::string name = name_of(device, ::getpid());
  if ((store = live(name)) != nullptr) return {};
  const auto remove_abandoned = [&] {
    for (const std::string& other : names_in(dir, kSuffix)) {
      if (live(other) != nullptr) continue;
      const Closed file(::openat(dir, other.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (file.fd < 0 || holder_of(file.fd) != 0 || !lock_now(file.fd)) continue;
      // With its lock: whoever made it and has not locked it yet will see that it is gone.
      struct stat status {};
      Identity now;
      if (::fstat(file.fd, &status) == 0 && identity_of(dir, other, now) &&
          now == Identity{status.st_dev, status.st_ino})
        ::unlinkat(dir, other.c_str(), 0);
    }
  };
  const auto broken = [&](const char* what, int error) {
    return Failure{error == EACCES                      ? EPERM
                   : error == ENOSPC || error == ENOMEM ? error
                                                        : EIO,
                   fmt::format("counters {}: cannot {} it: {}", name, what, errno_text(error))};
  };
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    remove_abandoned();
    auto fresh = std::make_shared<Store>();
    const int fd = ::openat(dir, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return broken("create", errno);
    struct stat status {};
    if (!lock_now(fd) || ::fstat(fd, &status) != 0 || status.st_nlink == 0) {
      ::close(fd);
      continue;
    }
    fresh->fd = fd;
    fresh->name = name;
    fresh->identity = {status.st_dev, status.st_ino};
    fresh->dir = ::fcntl(dir, F_DUPFD_CLOEXEC, 0);
    ::fchmod(fd, 0600);  // whatever the umask
    // All of it now: a folder that is full must not end the process when it counts.
    if (const int error = ::posix_fallocate(fd, 0, kCountersBytes); error != 0) return broken("fill", error);
    void* address = ::mmap(nullptr, kCountersBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) return broken("map", errno);
    fresh->address = address;
    std::erase_if(stores.live, [](const auto& entry) { return entry.second.expired(); });
    stores.live[fresh->identity] = fresh;
    store = std::move(fresh);
    return {};
  }
  return {EBUSY, fmt::format("counters {}: expected no such file, or one that a process has left; a process of another "
                             "container has it, or it is no regular file",
                             name)};
}

Failure Counters::other(int dir, std::uint32_t device, std::int32_t pid, void*& address) const {
  const std::string name = name_of(device, pid);
  const Closed file(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.fd < 0) return {errno == ENOENT ? ENOENT : EPERM, ""};
  struct stat status {};
  if (::fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != ::geteuid())
    return {EPERM, fmt::format("counters {}: not a regular file of user {}; remove it", name, ::geteuid())};
  // It is not filled yet, or its process has gone.
  if (status.st_size < static_cast<off_t>(kCountersBytes) || holder_of(file.fd) != pid) return {ENOENT, ""};
  void* mapped = ::mmap(nullptr, kCountersBytes, PROT_READ, MAP_SHARED, file.fd, 0);
  if (mapped == MAP_FAILED) return {ENOMEM, fmt::format("counters {}: cannot map it: {}", name, errno_text(errno))};
  address = mapped;
  return {};
}

Failure Counters::map(std::uint32_t device, std::int32_t pid, void*& address) {
  address = nullptr;
  if (pid < 0) return {EINVAL, fmt::format("pid is {}, expected 0 or that of a process", pid)};
  const Result<int> opened = open_dir();
  if (!opened) return {EPERM, opened.error().message};
  const Closed dir(*opened);
  const std::lock_guard guard(mutex_);
  Stores& stores = Stores::of_process();
  const std::lock_guard live(stores.mutex);
  std::shared_ptr<Store> store;
  if (pid == 0) {
    if (Failure failure = own(dir.fd, device, store); failure.error != 0) return failure;
    address = store->address;
    if (const auto known = mappings_.find(address); known != mappings_.end()) {
      ++known->second.users;
      return {};
    }
  } else if (pid == ::getpid()) {
    Identity identity;
    const auto found =
        identity_of(dir.fd, name_of(device, pid), identity) ? stores.live.find(identity) : stores.live.end();
    const std::shared_ptr<Store> mine = found == stores.live.end() ? nullptr : found->second.lock();
    if (mine == nullptr) return {ENOENT, ""};
    void* mapped = ::mmap(nullptr, kCountersBytes, PROT_READ, MAP_SHARED, mine->fd, 0);
    if (mapped == MAP_FAILED) return {ENOMEM, ""};
    address = mapped;
  } else if (Failure failure = other(dir.fd, device, pid, address); failure.error != 0) {
    return failure;
  }
  mappings_[address] = Mapping{device, 1, std::move(store)};
  return {};
}

Failure Counters::unmap(const void* address) {
  const std::lock_guard guard(mutex_);
  const auto found = mappings_.find(address);
  if (found == mappings_.end()) return {EINVAL, fmt::format("{} is not where counters are mapped", address)};
  if (--found->second.users != 0) return {};
  if (found->second.store == nullptr) ::munmap(const_cast<void*>(address), kCountersBytes);
  const std::lock_guard live(Stores::of_process().mutex);
  mappings_.erase(found);
  return {};
}

void Counters::unmap_device(std::uint32_t device) {
  const std::lock_guard guard(mutex_);
  const std::lock_guard live(Stores::of_process().mutex);
  std::erase_if(mappings_, [&](const auto& entry) {
    if (entry.second.device != device) return false;
    if (entry.second.store == nullptr) ::munmap(const_cast<void*>(entry.first), kCountersBytes);
    return true;
  });
}

Result<std::vector<std::string>> known_instances(const std::string& chosen_dir) {
  const Result<std::string> path = runtime_dir(chosen_dir);
  if (!path) return tl::unexpected(path.error());
  const Closed dir(::open(path->c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (dir.fd < 0)
    return make_error(ErrorCode::kInvalidArgument, "runtime folder {}: cannot open it: {}", *path, errno_text(errno));
  std::vector<std::string> names = names_in(dir.fd, kCoresSuffix);
  for (std::string& name : names) name.resize(name.size() - kCoresSuffix.size());
  return names;
}

}  // namespace opennrt::driver
