// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/emulated.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cstdio>
#include <cstring>

#include "backends/emulator/preload/active.h"
#include "backends/emulator/preload/cdev.h"
#include "backends/emulator/preload/client.h"
#include "backends/emulator/preload/mappings.h"
#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

constexpr std::size_t kPrefix = sizeof(kFileNamePrefix) - 1;

std::uint64_t random_number() {
  std::uint64_t n = 0;
  while (system_call(SYS_getrandom, &n, sizeof(n), 0) != sizeof(n)) continue;
  return n;
}

std::string contents(const Session& session) {
  return {reinterpret_cast<const char*>(session.window()), session.reply().bytes};
}

class EmulatedMachine final : public Provider {
 public:
  int open(int device, int flags) override {
    constexpr std::uint64_t kMode = O_ACCMODE;
    char name[64];
    const int length = std::snprintf(
        name, sizeof(name), "%c%s%d-%016llx", 0, kFileNamePrefix, device,
        static_cast<unsigned long long>((random_number() & ~kMode) | (static_cast<unsigned>(flags) & kMode)));
    const int fd = connect_machine(name, static_cast<std::size_t>(length), (flags & O_CLOEXEC) != 0);
    if (fd < 0) return fd;
    FileHello hello;
    hello.device = static_cast<std::uint32_t>(device);
    hello.flags = static_cast<std::uint32_t>(flags);
    Reply reply;
    int r = send_packet(fd, &hello, sizeof(hello));
    if (r == 0) r = receive_packet(fd, &reply, sizeof(reply));
    if (r == 0) r = reply.error;
    if (r != 0) {
      system_call(SYS_close, fd);
      return r;
    }
    devices_seen.store(true, std::memory_order_relaxed);
    return fd;
  }

  int device_of(int fd) override { return opened_file(fd).device; }

  int ioctl(int fd, unsigned long request, void* argument) override {
    const OpenedFile file = opened_file(fd);
    if (file.device < 0) return -ENOTTY;
    return cdev_ioctl(file, static_cast<std::uint32_t>(request), reinterpret_cast<std::uint64_t>(argument));
  }

  void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) override {
    return map_device(opened_file(fd), address, bytes, protection, flags, offset);
  }

  void closing(int fd) override {
    const OpenedFile file = opened_file(fd);
    if (file.device >= 0) Session().call(Op::kFlush, file.number);
  }

  std::optional<std::string> file(const std::string& path) override {
    Session session;
    if (sysfs(session, path) != 0) return std::nullopt;
    return contents(session);
  }

  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    Session session;
    std::vector<std::string> names;
    if (path == "/dev") {
      if (session.call(Op::kMachine, 0) != 0) return std::nullopt;
      const std::uint64_t devices = session.v(0), visible = session.v(6);
      for (unsigned d = 0; d < 64 && (d < devices || visible != 0); ++d) {
        if (visible == 0 || (visible >> d & 1) != 0) names.push_back("neuron" + std::to_string(d));
      }
      return names;
    }
    if (sysfs(session, path) != -EISDIR) return std::nullopt;
    const std::string all = contents(session);
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = std::min(all.find('\0', at), all.size());
      if (end > at) names.push_back(all.substr(at, end - at));
      at = end + 1;
    }
    return names;
  }

 private:
  static int sysfs(Session& session, const std::string& path) {
    std::byte* window = session.room(path.size());
    if (window == nullptr) return -ENOMEM;
    std::memcpy(window, path.data(), path.size());
    return session.call(Op::kSysfs, 0, {}, path.size());
  }
};

}  // namespace

OpenedFile opened_file(int fd) {
  sockaddr_un name{};
  socklen_t length = sizeof(name);
  if (system_call(SYS_getsockname, fd, &name, &length) < 0 || name.sun_family != AF_UNIX || name.sun_path[0] != 0)
    return {};
  const char* text = name.sun_path + 1;
  const std::size_t bytes = length - offsetof(sockaddr_un, sun_path) - 1;
  if (length <= offsetof(sockaddr_un, sun_path) + 1 || bytes <= kPrefix || bytes >= sizeof(name.sun_path) - 1 ||
      std::memcmp(text, kFileNamePrefix, kPrefix) != 0) {
    return {};
  }
  const char* at = text + kPrefix;
  const char* end = text + bytes;
  OpenedFile file;
  int device = 0;
  for (; at < end && *at >= '0' && *at <= '9' && device < 1000; ++at) device = device * 10 + (*at - '0');
  if (at == end || *at++ != '-' || end - at != 16) return {};
  for (; at < end; ++at) {
    const int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;
    if (digit < 0) return {};
    file.number = file.number << 4 | static_cast<unsigned>(digit);
  }
  file.device = device;
  return file;
}

std::unique_ptr<Provider> make_emulated_machine(const char* socket_path) {
  use_machine(socket_path);
  pthread_atfork(nullptr, nullptr, close_parents_channels);
  return std::make_unique<EmulatedMachine>();
}

}  // namespace opennrt::emulator
