// SPDX-License-Identifier: Apache-2.0
//
// open(2) and its relatives, streams included.
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "backends/emulator/preload/interpose.h"

using namespace opennrt::emulator;

namespace opennrt::emulator {

int open_found(const Name& name, const Found& found, int flags) noexcept {
  try {
    if (no_folder(name, found)) return -ENOTDIR;
    if (found.node != Node::kDevice || (flags & O_PATH) != 0) return open_virtual(name, found, flags);
    if ((flags & O_DIRECTORY) != 0) return -ENOTDIR;
    if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
    const int fd = provider()->open(found.device, flags);
    if (fd >= 0) devices_seen.store(true, std::memory_order_relaxed);
    return fd;
  } catch (const std::exception&) {
    return -ENOMEM;
  }
}

namespace {

/// A process that was started with a device open, as a shell's redirection does it.
__attribute__((constructor)) void look_at_inherited() {
  if (!active()) return;
  KeepErrno keep;
  constexpr int kLooked = 256;
  for (int fd = 0; fd < kLooked; ++fd) {
    if (device_of(fd) >= 0) break;
  }
}

/// The device that a descriptor's link in /proc leads to, by any of its names. False: it leads to none.
bool is_link_of_device(const char* path, Name& name, Found& found) {
  if (!active() || path == nullptr || *path != '/') return false;
  constexpr const char* kFolders[] = {"/proc/self/fd/", "/dev/fd/"};
  int fd = std::strcmp(path, "/dev/stdin") == 0 ? 0 : -1;
  for (const char* folder : kFolders) {
    const std::size_t length = std::strlen(folder);
    if (std::strncmp(path, folder, length) != 0 || path[length] < '0' || path[length] > '9') continue;
    char* end = nullptr;
    const unsigned long number = std::strtoul(path + length, &end, 10);
    if (*end == 0 && number < INT_MAX) fd = static_cast<int>(number);
  }
  if (fd < 0) return false;
  KeepErrno keep;
  if (const int device = device_of(fd); device >= 0) {
    name.length = static_cast<std::size_t>(std::snprintf(name.text, sizeof(name.text), "/dev/neuron%d", device));
  } else if (virtual_of(fd, name) != Node::kDevice) {
    return false;
  }
  found.node = Node::kDevice;
  found.device = device_number(name);
  return true;
}

template <class R>
int open_with(int folder, const char* path, int flags, R&& real) {
  if (Name linked; (flags & O_NOFOLLOW) == 0) {
    if (Found device; is_link_of_device(path, linked, device)) return answer(open_found(linked, device, flags));
  }
  return by_name(folder, path, real,
                 [&](const Name& name, const Found& found) { return answer(open_found(name, found, flags)); });
}

bool wants_mode(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

/// The flags of fopen(3)'s mode; -1: not one.
int stream_flags(const char* mode) {
  int flags = *mode == 'r'   ? O_RDONLY
              : *mode == 'w' ? O_WRONLY | O_CREAT | O_TRUNC
              : *mode == 'a' ? O_WRONLY | O_CREAT | O_APPEND
                             : -1;
  if (flags < 0) return flags;
  for (const char* at = mode + 1; *at != 0 && *at != ','; ++at) {
    if (*at == '+') flags = (flags & ~O_ACCMODE) | O_RDWR;
    if (*at == 'e') flags |= O_CLOEXEC;
    if (*at == 'x') flags |= O_EXCL;
  }
  return flags;
}

/// A stream on what is ours at `path`; false: nothing is, or not in this mode.
bool open_stream(const char* path, const char* mode, FILE*& stream) {
  Name name;
  if (!active() || mode == nullptr || !may_be_ours(path, name) || shared_folder(name.view())) return false;
  const int flags = stream_flags(mode);
  Found found;
  stream = nullptr;
  if (flags < 0) return false;
  if (!guarded(false, [&] { return found = find(name), true; })) return true;
  if (found.node == Node::kNothing) return false;
  const int fd = answer(open_found(name, found, flags));
  if (fd < 0) return true;
  stream = fdopen(fd, mode);
  if (stream == nullptr) system_call(SYS_close, fd);
  return true;
}

}  // namespace
}  // namespace opennrt::emulator

DECLARE_REAL(open);
DECLARE_REAL(openat);
DECLARE_REAL(creat);
DECLARE_REAL(fopen);
DECLARE_REAL(freopen);

// O_LARGEFILE and the names with 64 mean nothing on 64-bit machines: one function serves both.
OPENNRT_INTERPOSED int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (wants_mode(flags)) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return open_with(AT_FDCWD, path, flags, [&] { return REAL(open)(path, flags, mode); });
}
OPENNRT_INTERPOSED int open64(const char* path, int flags, ...) __attribute__((alias("open")));

OPENNRT_INTERPOSED int openat(int folder, const char* path, int flags, ...) {
  mode_t mode = 0;
  if (wants_mode(flags)) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return open_with(folder, path, flags, [&] { return REAL(openat)(folder, path, flags, mode); });
}
OPENNRT_INTERPOSED int openat64(int folder, const char* path, int flags, ...) __attribute__((alias("openat")));

// Fortified programs call these.
OPENNRT_INTERPOSED int __open_2(const char* path, int flags) {
  return open(path, flags);
}
OPENNRT_INTERPOSED int __open64_2(const char* path, int flags) __attribute__((alias("__open_2")));
OPENNRT_INTERPOSED int __openat_2(int folder, const char* path, int flags) {
  return openat(folder, path, flags);
}
OPENNRT_INTERPOSED int __openat64_2(int folder, const char* path, int flags) __attribute__((alias("__openat_2")));

OPENNRT_INTERPOSED int creat(const char* path, mode_t mode) {
  return open_with(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, [&] { return REAL(creat)(path, mode); });
}
OPENNRT_INTERPOSED int creat64(const char* path, mode_t mode) __attribute__((alias("creat")));

OPENNRT_INTERPOSED FILE* fopen(const char* path, const char* mode) {
  FILE* stream;
  return open_stream(path, mode, stream) ? stream : REAL(fopen)(path, mode);
}
OPENNRT_INTERPOSED FILE* fopen64(const char* path, const char* mode) __attribute__((alias("fopen")));

OPENNRT_INTERPOSED FILE* freopen(const char* path, const char* mode, FILE* stream) {
  Name name;
  Found found;
  if (active() && path != nullptr && mode != nullptr && may_be_ours(path, name) && !shared_folder(name.view()) &&
      guarded(false, [&] { return found = find(name), true; }) && found.node == Node::kFile) {
    const int fd = open_found(name, found, stream_flags(mode));
    if (fd < 0) return answer(fd), nullptr;
    // The memfd has a name in /proc that can be opened again.
    char again[40];
    std::snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
    FILE* result = REAL(freopen)(again, mode, stream);
    KeepErrno keep;
    system_call(SYS_close, fd);
    return result;
  }
  return REAL(freopen)(path, mode, stream);
}
OPENNRT_INTERPOSED FILE* freopen64(const char* path, const char* mode, FILE* stream) __attribute__((alias("freopen")));
