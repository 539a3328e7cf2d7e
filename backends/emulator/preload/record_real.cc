// SPDX-License-Identifier: Apache-2.0
//
// The devices of this machine: every call goes to the kernel.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "backends/emulator/preload/record.h"
#include "backends/emulator/preload/system.h"
#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {
namespace {

constexpr std::string_view kNode = "/dev/neuron";

/// "/dev/neuron3": 3; anything else: -1.
int device_number(std::string_view path) {
  std::uint64_t number = 0;
  if (!path.starts_with(kNode) || path.size() == kNode.size() || path[kNode.size()] == '0') {
    return path == "/dev/neuron0" ? 0 : -1;
  }
  const std::string_view digits = path.substr(kNode.size());
  if (digits.find_first_not_of("0123456789") != std::string_view::npos || digits.size() > 4) return -1;
  return parse_number(digits, number) ? static_cast<int>(number) : -1;
}

bool of_the_driver(std::string_view path) {
  return path.starts_with("/sys/module/neuron/") || path == "/sys/module/neuron" ||
         path.starts_with("/sys/class/neuron_device") || path.starts_with("/sys/devices/virtual/neuron_device");
}

/// By system calls of its own: the library's functions are interposed, and would ask this provider.
class RealDevices final : public Provider {
 public:
  int open(int device, int flags) override {
    const std::string path = std::string(kNode) + std::to_string(device);
    return static_cast<int>(system_call(SYS_openat, AT_FDCWD, path.c_str(), flags));
  }

  int device_of(int fd) override {
    struct stat status;
    if (system_call(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) != 0 || !S_ISCHR(status.st_mode)) return -1;
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    std::array<char, PATH_MAX> target;
    const long length = system_call(SYS_readlinkat, AT_FDCWD, link.c_str(), target.data(), target.size());
    return length > 0 ? device_number({target.data(), static_cast<std::size_t>(length)}) : -1;
  }

  int ioctl(int fd, unsigned long request, void* argument) override {
    return static_cast<int>(system_call(SYS_ioctl, fd, request, argument));
  }

  void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) override {
    const long at = system_call(SYS_mmap, address, bytes, protection, flags, fd, offset);
    if (at >= 0) return reinterpret_cast<void*>(at);
    errno = static_cast<int>(-at);
    return MAP_FAILED;
  }

  void closing(int) override {}

  std::optional<std::string> file(const std::string& path) override {
    struct stat status;
    if (!of_the_driver(path) || system_call(SYS_newfstatat, AT_FDCWD, path.c_str(), &status, 0) != 0 ||
        !S_ISREG(status.st_mode))
      return std::nullopt;
    const auto fd = static_cast<int>(system_call(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd < 0) return std::nullopt;
    std::string contents;
    std::array<char, 4096> buffer;
    long n = 0;
    while ((n = system_call(SYS_read, fd, buffer.data(), buffer.size())) > 0)
      contents.append(buffer.data(), static_cast<std::size_t>(n));
    system_call(SYS_close, fd);
    return n < 0 ? std::nullopt : std::make_optional(std::move(contents));
  }

  /// Of /dev only the nodes of our devices: what else is there is nobody's business.
  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    const bool nodes = path == "/dev";
    if (!nodes && !of_the_driver(path)) return std::nullopt;
    const auto fd =
        static_cast<int>(system_call(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return std::nullopt;
    std::vector<std::string> names;
    alignas(8) std::array<char, 8192> buffer;
    for (long n = 0; (n = system_call(SYS_getdents64, fd, buffer.data(), buffer.size())) > 0;) {
      for (long at = 0; at < n;) {
        // struct linux_dirent64: inode 8, offset 8, length of the record 2, type 1, name
        std::uint16_t length = 0;
        std::memcpy(&length, buffer.data() + at + 16, sizeof length);
        std::string name = buffer.data() + at + 19;
        at += length;
        if (name == "." || name == ".." || (nodes && device_number("/dev/" + name) < 0)) continue;
        names.push_back(std::move(name));
      }
    }
    system_call(SYS_close, fd);
    if (nodes && names.empty()) return std::nullopt;
    std::sort(names.begin(), names.end());
    return names;
  }
};

}  // namespace

std::unique_ptr<Provider> make_real_devices() {
  return std::make_unique<RealDevices>();
}

}  // namespace opennrt::emulator
