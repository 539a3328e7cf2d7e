// SPDX-License-Identifier: Apache-2.0
//
// What is done with an open device: ioctl(2), mmap(2), closing it, and what a character device without read, write and
// poll operations (neuron_cdev.c ncdev_fops) answers to those.
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <array>
#include <cstdarg>

#include "backends/emulator/preload/interpose.h"
#include "backends/emulator/preload/mappings.h"

using namespace opennrt::emulator;

DECLARE_REAL(ioctl);
DECLARE_REAL(mmap);
DECLARE_REAL(munmap);
DECLARE_REAL(close);
DECLARE_REAL(dup2);
DECLARE_REAL(dup3);
DECLARE_REAL(close_range);
DECLARE_REAL(closefrom);
DECLARE_REAL(read);
DECLARE_REAL(write);
DECLARE_REAL(readv);
DECLARE_REAL(writev);
DECLARE_REAL(pread);
DECLARE_REAL(pwrite);
DECLARE_REAL(poll);
DECLARE_REAL(ppoll);
DECLARE_REAL(epoll_ctl);

namespace {

/// Requests that the kernel answers before it asks a driver (fs/ioctl.c do_vfs_ioctl).
bool of_every_file(unsigned long request) {
  return request == FIOCLEX || request == FIONCLEX || request == FIONBIO || request == FIOASYNC;
}

/// The driver's flush: each descriptor that goes, whether it is the file's last or not.
void flush(int fd) {
  if (device_of_seen(fd) < 0) return;
  KeepErrno keep;
  provider()->closing(fd);
}

void flush_range(unsigned first, unsigned last) {
  if (!active() || !devices_seen.load(std::memory_order_relaxed)) return;
  constexpr unsigned kLooked = 4096;
  for (unsigned fd = first; fd <= last && fd < kLooked; ++fd) flush(static_cast<int>(fd));
}

constexpr short kAlwaysReady = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;  // DEFAULT_POLLMASK

/// poll(2) with devices among the descriptors: those are ready, the others are only looked at.
template <class R>
int poll_some(pollfd* files, nfds_t count, R&& real, int (*look)(pollfd*, nfds_t)) {
  std::array<pollfd, 256> others;
  if (!active() || !devices_seen.load(std::memory_order_relaxed) || files == nullptr || count > others.size())
    return real();
  int ready = 0;
  for (nfds_t i = 0; i < count; ++i) {
    others[i] = files[i];
    if ((files[i].events & kAlwaysReady) == 0 || device_of_seen(files[i].fd) < 0) continue;
    others[i].fd = -1;
    ++ready;
  }
  if (ready == 0) return real();
  const int r = look(others.data(), count);
  if (r < 0) return r;
  for (nfds_t i = 0; i < count; ++i) {
    files[i].revents =
        others[i].fd == files[i].fd ? others[i].revents : static_cast<short>(files[i].events & kAlwaysReady);
  }
  return r + ready;
}

}  // namespace

OPENNRT_INTERPOSED int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list more;
  va_start(more, request);
  void* argument = va_arg(more, void*);
  va_end(more);
  if (device_of(fd) < 0 || of_every_file(request)) return REAL(ioctl)(fd, request, argument);
  return answer(provider()->ioctl(fd, request, argument));
}

OPENNRT_INTERPOSED void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  if ((flags & MAP_ANONYMOUS) != 0 || fd < 0 || device_of(fd) < 0) {
    return REAL(mmap)(address, bytes, protection, flags, fd, offset);
  }
  return provider()->mmap(address, bytes, protection, flags, fd, offset);
}
OPENNRT_INTERPOSED void* mmap64(void* address, size_t bytes, int protection, int flags, int fd,
                                off64_t offset) noexcept {
  return mmap(address, bytes, protection, flags, fd, offset);
}

OPENNRT_INTERPOSED int munmap(void* address, size_t bytes) noexcept {
  if (active() && devices_seen.load(std::memory_order_relaxed)) {
    if (Provider* p = provider()) p->unmapping(address, bytes);
  }
  const int r = REAL(munmap)(address, bytes);
  if (r == 0 && active()) unmapped(address, bytes);
  return r;
}

OPENNRT_INTERPOSED int close(int fd) {
  flush(fd);
  return REAL(close)(fd);
}
OPENNRT_INTERPOSED int dup2(int from, int to) noexcept {
  if (from != to) flush(to);
  return REAL(dup2)(from, to);
}
OPENNRT_INTERPOSED int dup3(int from, int to, int flags) noexcept {
  if (from != to) flush(to);
  return REAL(dup3)(from, to, flags);
}
OPENNRT_INTERPOSED int close_range(unsigned first, unsigned last, int flags) noexcept {
  constexpr int kOnExec = 1 << 2;  // CLOSE_RANGE_CLOEXEC
  if ((flags & kOnExec) == 0) flush_range(first, last);
  return REAL(close_range)(first, last, flags);
}
OPENNRT_INTERPOSED void closefrom(int first) noexcept {
  flush_range(static_cast<unsigned>(first < 0 ? 0 : first), ~0u);
  REAL(closefrom)(first);
}

OPENNRT_INTERPOSED ssize_t read(int fd, void* to, size_t bytes) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(read)(fd, to, bytes);
}
OPENNRT_INTERPOSED ssize_t __read_chk(int fd, void* to, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read(fd, to, bytes);
}
OPENNRT_INTERPOSED ssize_t write(int fd, const void* from, size_t bytes) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(write)(fd, from, bytes);
}
OPENNRT_INTERPOSED ssize_t readv(int fd, const struct iovec* parts, int count) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(readv)(fd, parts, count);
}
OPENNRT_INTERPOSED ssize_t writev(int fd, const struct iovec* parts, int count) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(writev)(fd, parts, count);
}
OPENNRT_INTERPOSED ssize_t pread(int fd, void* to, size_t bytes, off_t offset) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(pread)(fd, to, bytes, offset);
}
OPENNRT_INTERPOSED ssize_t pread64(int fd, void* to, size_t bytes, off64_t offset) {
  return pread(fd, to, bytes, offset);
}
OPENNRT_INTERPOSED ssize_t pwrite(int fd, const void* from, size_t bytes, off_t offset) {
  return device_of_seen(fd) >= 0 ? answer(-EINVAL) : REAL(pwrite)(fd, from, bytes, offset);
}
OPENNRT_INTERPOSED ssize_t pwrite64(int fd, const void* from, size_t bytes, off64_t offset) {
  return pwrite(fd, from, bytes, offset);
}

OPENNRT_INTERPOSED int poll(pollfd* files, nfds_t count, int milliseconds) {
  return poll_some(
      files, count, [&] { return REAL(poll)(files, count, milliseconds); },
      [](pollfd* f, nfds_t n) { return REAL(poll)(f, n, 0); });
}
OPENNRT_INTERPOSED int ppoll(pollfd* files, nfds_t count, const timespec* limit, const sigset_t* mask) {
  return poll_some(
      files, count, [&] { return REAL(ppoll)(files, count, limit, mask); },
      [](pollfd* f, nfds_t n) { return REAL(poll)(f, n, 0); });
}
OPENNRT_INTERPOSED int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  if (operation == EPOLL_CTL_ADD && device_of_seen(fd) >= 0) return answer(-EPERM);
  return REAL(epoll_ctl)(epoll, operation, fd, event);
}
