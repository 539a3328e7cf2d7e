// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "backends/sim/core_locks.h"

namespace opennrt::emulator {
namespace {

constexpr char kSocket[] = "/socket";
constexpr int kBacklog = 512;

tl::unexpected<Error> failed(const std::string& what) {
  return make_error(ErrorCode::kInvalidArgument, "{}: {}", what, std::generic_category().message(errno));
}

bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

Result<std::string> folder_of(const std::string& runtime_dir, const std::string& name) {
  if (!good_name(name))
    return make_error(ErrorCode::kInvalidArgument,
                      "name of the machine is '{}', expected up to 32 letters, digits, - and _", name);
  auto dir = driver::runtime_dir(runtime_dir);
  if (!dir) return tl::unexpected<Error>(dir.error());
  return *dir + "/machine-" + name;
}

}  // namespace

Result<std::string> Listener::path_of(const std::string& runtime_dir, const std::string& name) {
  auto folder = folder_of(runtime_dir, name);
  if (!folder) return folder;
  return *folder + kSocket;
}

Result<Listener> Listener::open(const std::string& runtime_dir, const std::string& name) {
  Listener listener;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty()) {
    auto dir = driver::runtime_dir(runtime_dir);
    if (!dir) return tl::unexpected<Error>(dir.error());
    std::string folder = *dir + "/machine-XXXXXX";
    // A socket's path has 107 bytes. A longer runtime folder keeps everything else.
    if (folder.size() + sizeof(kSocket) > sizeof(address.sun_path)) folder = "/tmp/opennrt-machine-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return failed("folder " + folder);
    listener.folder_ = folder;
    listener.own_folder_ = true;
  } else {
    auto folder = folder_of(runtime_dir, name);
    if (!folder) return tl::unexpected<Error>(folder.error());
    listener.folder_ = *folder;
    if (::mkdir(folder->c_str(), 0700) != 0 && errno != EEXIST) return failed("folder " + *folder);
    // Held while the machine lives, however it ends.
    listener.lock_ = ::open((*folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (listener.lock_ < 0) return failed(*folder + "/lock");
    if (::flock(listener.lock_, LOCK_EX | LOCK_NB) != 0)
      return make_error(ErrorCode::kState, "machine '{}' is running", name);
  }
  const std::string path = listener.folder_ + kSocket;
  if (path.size() >= sizeof(address.sun_path))
    return make_error(ErrorCode::kInvalidArgument, "{} is longer than a socket's path may be, {} bytes", path,
                      sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ::unlink(path.c_str());  // of a machine that was killed
  listener.socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener.socket_ < 0 ||
      ::bind(listener.socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.socket_, kBacklog) != 0)
    return failed("socket " + path);
  listener.path_ = path;
  return listener;
}

Listener::Listener(Listener&& other) noexcept
    : folder_(std::exchange(other.folder_, {})),
      path_(std::exchange(other.path_, {})),
      own_folder_(std::exchange(other.own_folder_, false)),
      socket_(std::exchange(other.socket_, -1)),
      lock_(std::exchange(other.lock_, -1)) {}

Listener::~Listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
  if (own_folder_) ::rmdir(folder_.c_str());
  if (socket_ >= 0) ::close(socket_);
  if (lock_ >= 0) ::close(lock_);  // last: who gets the lock finds no socket
}

}  // namespace opennrt::emulator
