// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/syscalls.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <memory>
#include <thread>
#include <utility>

namespace opennrt::neuron {
namespace {

constexpr std::size_t kFileMax = 4096;  // a sysfs file is a page at most

std::string owner_name(uid_t uid) {
  std::array<char, 4096> room;
  passwd entry{}, *found = nullptr;
  if (getpwuid_r(uid, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

std::string group_name(gid_t gid) {
  std::array<char, 4096> room;
  group entry{}, *found = nullptr;
  if (getgrgid_r(gid, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) return found->gr_name;
  return std::to_string(gid);
}

class System final : public Syscalls {
 public:
  int open(const std::string& path, int flags) override {
    int fd = 0;
    do fd = ::open(path.c_str(), flags);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
  }
  void close(int fd) override { ::close(fd); }
  int ioctl(int fd, unsigned long request, void* argument) override {
    const int result = ::ioctl(fd, request, argument);
    return result < 0 ? -errno : result;
  }
  int mmap(int fd, std::uint64_t offset, std::size_t bytes, bool writable, void*& address) override {
    const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void* const mapped = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) return -errno;
    address = mapped;
    return 0;
  }
  void munmap(void* address, std::size_t bytes) override { ::munmap(address, bytes); }
  std::optional<std::string> read_file(const std::string& path) override {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::nullopt;
    std::string text;
    std::array<char, 512> part;
    ssize_t got = 0;
    while (text.size() < kFileMax &&
           ((got = ::read(fd, part.data(), part.size())) > 0 || (got < 0 && errno == EINTR))) {
      if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
    }
    ::close(fd);
    if (got < 0) return std::nullopt;
    return text;
  }
  std::vector<std::string> list(const std::string& folder) override {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(folder.c_str()), closedir);
    if (!stream) return names;
    while (const dirent* entry = readdir(stream.get())) names.emplace_back(entry->d_name);
    return names;
  }
  std::optional<NodeAccess> access(const std::string& path) override {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return std::nullopt;
    return NodeAccess{found.st_mode & 07777u, owner_name(found.st_uid), group_name(found.st_gid), geteuid()};
  }
  std::optional<std::uint32_t> minor_number(const std::string& path) override {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0 || !S_ISCHR(found.st_mode)) return std::nullopt;
    return minor(found.st_rdev);
  }
  std::uint64_t now_ns() override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
  }
  void sleep(std::uint64_t nanoseconds) override {
    if (nanoseconds == 0)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::nanoseconds(nanoseconds));
  }
};

}  // namespace

Syscalls& system_calls() {
  static System* const system = new System;  // outlives everything that may call at exit
  return *system;
}

File::File(File&& other) noexcept : system_(other.system_), fd_(std::exchange(other.fd_, -1)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    reset();
    system_ = other.system_;
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void File::reset() {
  if (fd_ >= 0) system_->close(fd_);
  fd_ = -1;
}

int File::request(unsigned long number, void* argument) const {
  int result = 0;
  do result = system_->ioctl(fd_, number, argument);
  while (result == -EINTR);
  // The driver passes on what copy_from_user and copy_to_user return: how many bytes did not go (neuron_cdev.c).
  return result > 0 ? -EFAULT : result;
}

}  // namespace opennrt::neuron
