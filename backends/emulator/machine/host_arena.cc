// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/host_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace opennrt::emulator {

Result<std::unique_ptr<HostArena>> HostArena::make() {
  const auto failed = [](const char* what) {
    return make_error(ErrorCode::kResource, "host memory of the emulated machine: {}: {}", what,
                      std::generic_category().message(errno));
  };
  const int fd = ::memfd_create("opennrt-host-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return failed("memfd_create");
  void* base = MAP_FAILED;
  if (::ftruncate(fd, static_cast<off_t>(kBytes)) == 0 &&
      ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
    base = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  if (base == MAP_FAILED) {
    auto error = failed("64 GiB of address space");
    ::close(fd);
    return error;
  }
  return std::unique_ptr<HostArena>(new HostArena(fd, static_cast<std::byte*>(base)));
}

HostArena::HostArena(int fd, std::byte* base) : fd_(fd), base_(base), pool_(0, kBytes) {}

HostArena::~HostArena() {
  ::munmap(base_, kBytes);
  ::close(fd_);
}

std::byte* HostArena::allocate(std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  const auto offset = pool_.allocate(bytes, 0);
  return offset ? base_ + *offset : nullptr;
}

void HostArena::release(std::byte* data, std::uint64_t bytes) {
  // Whoever gets the range next finds zeros. A process that still maps it sees what the next owner writes, as with
  // pages that the driver has freed.
  clear(data, bytes);
  const std::lock_guard guard(mutex_);
  pool_.release(offset_of(data), bytes);
}

void HostArena::clear(std::byte* data, std::uint64_t bytes) {
  if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset_of(data)),
                  static_cast<off_t>(bytes)) != 0)
    std::memset(data, 0, bytes);
}

}  // namespace opennrt::emulator
