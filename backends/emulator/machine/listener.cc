// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "backends/emulator/protocol.h"
#include "backends/sim/core_locks.h"

namespace opennrt::emulator {
namespace {

constexpr char kSocket[] = "/socket", kLock[] = "/lock", kNewLock[] = "/lock.new";
constexpr char kOwnFolder[] = "machine.", kOwnFolderInTmp[] = "opennrt-machine.";  // no name has a '.'
constexpr char kRandom[] = "XXXXXX";
constexpr int kBacklog = 512;
constexpr auto kPatience = std::chrono::seconds(10);
constexpr useconds_t kPause = 2000;

std::string text_of(int error) {
  return std::generic_category().message(error);
}

tl::unexpected<Error> failed(const std::string& what) {
  return make_error(ErrorCode::kInvalidArgument, "{}: {}", what, text_of(errno));
}

bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

/// Removes the folders of machines that were killed: those whose lock nobody holds.
void remove_dead(const std::string& place, std::string_view prefix) {
  std::error_code error;
  std::vector<std::string> folders;
  for (auto at = std::filesystem::directory_iterator(place, error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    if (at->path().filename().string().starts_with(prefix)) folders.push_back(at->path().string());
  }
  for (const std::string& folder : folders) {
    const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) continue;
    const int lock = ::openat(dir, kLock + 1, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) == 0) {
      ::unlinkat(dir, kSocket + 1, 0);
      ::unlinkat(dir, kLock + 1, 0);
      ::rmdir(folder.c_str());
    }
    if (lock >= 0) ::close(lock);
    ::close(dir);
  }
}

/// A connection that keeps a machine alive, or a negative errno: ETIMEDOUT, EPROTONOSUPPORT; any other: there is nobody
/// (yet, or any more).
int visit(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const timeval patience{std::chrono::seconds(kPatience).count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  const sockaddr_un address = address_of(path);
  const GuestHello hello;
  Reply reply;
  int error = 0;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0) {
    error = errno;
  } else {
    const ssize_t size = ::recv(fd, &reply, sizeof(reply), 0);
    error = size < 0 ? errno : size != static_cast<ssize_t>(sizeof(reply)) ? ECONNRESET : -reply.error;
  }
  if (error == 0) return fd;
  ::close(fd);
  return error == EAGAIN ? -ETIMEDOUT : -error;
}

}  // namespace

Result<Listener> Listener::open(const std::string& runtime_dir, const std::string& name) {
  return name.empty() ? in_own_folder(runtime_dir) : in_named_folder(runtime_dir, name);
}

Result<Listener> Listener::in_own_folder(const std::string& runtime_dir) {
  Listener listener;
  auto dir = driver::runtime_dir(runtime_dir);
  if (!dir) return tl::unexpected<Error>(dir.error());
  std::string place = *dir, prefix = kOwnFolder;
  // A socket's path has 107 bytes. A longer runtime folder keeps everything else.
  if (place.size() + 1 + prefix.size() + sizeof(kRandom) + sizeof(kSocket) > sizeof(sockaddr_un::sun_path))
    place = "/tmp", prefix = kOwnFolderInTmp;
  remove_dead(place, prefix);
  std::string folder = place + "/" + prefix + kRandom;
  if (::mkdtemp(folder.data()) == nullptr) return failed("folder " + folder);
  listener.folder_ = folder;
  listener.own_folder_ = true;
  // It gets its name when it is held: whoever sees it free may remove the folder.
  const std::string lock = folder + kLock, fresh = folder + kNewLock;
  listener.lock_ = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (listener.lock_ < 0 || ::flock(listener.lock_, LOCK_EX | LOCK_NB) != 0 ||
      ::rename(fresh.c_str(), lock.c_str()) != 0)
    return failed(lock);
  if (auto failure = listener.listen()) return tl::unexpected<Error>(*failure);
  return listener;
}

Result<Listener> Listener::in_named_folder(const std::string& runtime_dir, const std::string& name) {
  if (!good_name(name))
    return make_error(ErrorCode::kInvalidArgument,
                      "name of the machine is '{}', expected up to 32 letters, digits, - and _", name);
  Listener listener;
  auto dir = driver::runtime_dir(runtime_dir);
  if (!dir) return tl::unexpected<Error>(dir.error());
  const std::string folder = *dir + "/machine-" + name, path = folder + kSocket;
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    return make_error(ErrorCode::kInvalidArgument, "{} is longer than a socket's path may be, {} bytes", path,
                      sizeof(sockaddr_un::sun_path) - 1);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return failed("folder " + folder);
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0) return failed("folder " + folder);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid())
    return make_error(ErrorCode::kInvalidArgument, "folder {} is {}, expected a folder of this user; remove it", folder,
                      S_ISLNK(status.st_mode)   ? "a symbolic link"
                      : S_ISDIR(status.st_mode) ? "one of user " + std::to_string(status.st_uid)
                                                : "a file");
  listener.folder_ = folder;
  listener.lock_ = ::open((folder + kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (listener.lock_ < 0) return failed(folder + kLock);
  // A lock that is held does not mean that somebody listens: its holder may be about to, or ending.
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (::flock(listener.lock_, LOCK_EX | LOCK_NB) != 0) {
    const int guest = visit(path);
    if (guest >= 0) {
      listener.guest_ = guest;
      listener.path_ = path;
      ::close(std::exchange(listener.lock_, -1));
      return listener;
    }
    if (guest == -EPROTONOSUPPORT || guest == -EINVAL)
      return make_error(ErrorCode::kState, "machine '{}' is running, but is of another version of opennrt", name);
    if (guest == -ETIMEDOUT || std::chrono::steady_clock::now() >= end)
      return make_error(ErrorCode::kState, "machine '{}' is running, but does not answer at {}: {}", name, path,
                        text_of(-guest));
    ::usleep(kPause);
  }
  if (auto failure = listener.listen()) return tl::unexpected<Error>(*failure);
  return listener;
}

std::optional<Error> Listener::listen() {
  const std::string path = folder_ + kSocket;
  const sockaddr_un address = address_of(path);
  ::unlink(path.c_str());  // of a machine that was killed
  socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0 || ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(socket_, kBacklog) != 0)
    return failed("socket " + path).value();
  path_ = path;
  return std::nullopt;
}

Listener::Listener(Listener&& other) noexcept
    : folder_(std::exchange(other.folder_, {})),
      path_(std::exchange(other.path_, {})),
      own_folder_(std::exchange(other.own_folder_, false)),
      socket_(std::exchange(other.socket_, -1)),
      lock_(std::exchange(other.lock_, -1)),
      guest_(std::exchange(other.guest_, -1)) {}

Listener::~Listener() {
  if (socket_ >= 0 && !path_.empty()) ::unlink(path_.c_str());
  if (own_folder_) {
    ::unlink((folder_ + kNewLock).c_str());
    ::unlink((folder_ + kLock).c_str());
    ::rmdir(folder_.c_str());
  }
  if (socket_ >= 0) ::close(socket_);
  if (guest_ >= 0) ::close(guest_);
  if (lock_ >= 0) ::close(lock_);  // last: who gets the lock finds no socket
}

}  // namespace opennrt::emulator
