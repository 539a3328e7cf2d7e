// SPDX-License-Identifier: Apache-2.0
//
// What names and descriptors are: stat(2), access(2), readlink(2), realpath(3) and their relatives.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>

#include "backends/emulator/preload/interpose.h"

using namespace opennrt::emulator;

DECLARE_REAL(stat);
DECLARE_REAL(lstat);
DECLARE_REAL(fstat);
DECLARE_REAL(fstatat);
DECLARE_REAL(statx);
DECLARE_REAL(access);
DECLARE_REAL(faccessat);
DECLARE_REAL(euidaccess);
DECLARE_REAL(readlink);
DECLARE_REAL(readlinkat);
DECLARE_REAL(realpath);
DECLARE_REAL(getxattr);
DECLARE_REAL(lgetxattr);
DECLARE_REAL(listxattr);
DECLARE_REAL(llistxattr);

namespace {

static_assert(sizeof(struct stat) == sizeof(struct stat64));

/// What a descriptor is that fstat says `out` about: ours have no name in the file system, or are sockets.
void describe_descriptor(int fd, struct stat& out) {
  if (!active()) return;
  KeepErrno keep;
  if (S_ISSOCK(out.st_mode)) {
    if (const int device = device_of(fd); device >= 0) {
      guarded(0, [&] { return describe_device(device, out), 0; });
    }
  } else if (S_ISREG(out.st_mode) && out.st_nlink == 0) {
    Name name;
    Found found;
    found.node = virtual_of(fd, name);
    if (found.node != Node::kNothing) describe(name, found, out);
  }
}

int described(const Name& name, const Found& found, struct stat* out) {
  return guarded(-1, [&] { return describe(name, found, *out), 0; });
}

void copy(const struct stat& from, struct statx& to) {
  to = {};
  to.stx_mask = STATX_BASIC_STATS;
  to.stx_blksize = static_cast<__u32>(from.st_blksize);
  to.stx_nlink = static_cast<__u32>(from.st_nlink);
  to.stx_uid = from.st_uid;
  to.stx_gid = from.st_gid;
  to.stx_mode = static_cast<__u16>(from.st_mode);
  to.stx_ino = from.st_ino;
  to.stx_size = static_cast<__u64>(from.st_size);
  to.stx_blocks = static_cast<__u64>(from.st_blocks);
  to.stx_rdev_major = major(from.st_rdev);
  to.stx_rdev_minor = minor(from.st_rdev);
  to.stx_dev_major = major(from.st_dev);
  to.stx_dev_minor = minor(from.st_dev);
}

/// Who may do what with what was found. 0 or -1 and errno.
int permitted(const Found& found, int mode) {
  const bool refused =
      (found.node != Node::kFolder && (mode & X_OK) != 0) || (found.node != Node::kDevice && (mode & W_OK) != 0);
  return refused ? answer(-EACCES) : 0;
}

bool empty_path(const char* path, int flags) {
  return (flags & AT_EMPTY_PATH) != 0 && path != nullptr && *path == 0;
}

}  // namespace

OPENNRT_INTERPOSED int stat(const char* __restrict path, struct stat* __restrict out) noexcept {
  return by_name(
      AT_FDCWD, path, [&] { return REAL(stat)(path, out); },
      [&](const Name& n, const Found& f) { return described(n, f, out); });
}
OPENNRT_INTERPOSED int stat64(const char* __restrict path, struct stat64* __restrict out) noexcept {
  return stat(path, reinterpret_cast<struct stat*>(out));
}

OPENNRT_INTERPOSED int lstat(const char* __restrict path, struct stat* __restrict out) noexcept {
  return by_name(
      AT_FDCWD, path, [&] { return REAL(lstat)(path, out); },
      [&](const Name& n, const Found& f) { return described(n, f, out); });
}
OPENNRT_INTERPOSED int lstat64(const char* __restrict path, struct stat64* __restrict out) noexcept {
  return lstat(path, reinterpret_cast<struct stat*>(out));
}

OPENNRT_INTERPOSED int fstat(int fd, struct stat* out) noexcept {
  const int r = REAL(fstat)(fd, out);
  if (r == 0) describe_descriptor(fd, *out);
  return r;
}
OPENNRT_INTERPOSED int fstat64(int fd, struct stat64* out) noexcept {
  return fstat(fd, reinterpret_cast<struct stat*>(out));
}

OPENNRT_INTERPOSED int fstatat(int folder, const char* __restrict path, struct stat* __restrict out,
                               int flags) noexcept {
  if (empty_path(path, flags)) {
    const int r = REAL(fstatat)(folder, path, out, flags);
    if (r == 0) describe_descriptor(folder, *out);
    return r;
  }
  return by_name(
      folder, path, [&] { return REAL(fstatat)(folder, path, out, flags); },
      [&](const Name& n, const Found& f) { return described(n, f, out); });
}
OPENNRT_INTERPOSED int fstatat64(int folder, const char* __restrict path, struct stat64* __restrict out,
                                 int flags) noexcept {
  return fstatat(folder, path, reinterpret_cast<struct stat*>(out), flags);
}

// Programs that were linked before glibc 2.33.
OPENNRT_INTERPOSED int __xstat(int, const char* path, struct stat* out) {
  return stat(path, out);
}
OPENNRT_INTERPOSED int __xstat64(int, const char* path, struct stat64* out) {
  return stat64(path, out);
}
OPENNRT_INTERPOSED int __lxstat(int, const char* path, struct stat* out) {
  return lstat(path, out);
}
OPENNRT_INTERPOSED int __lxstat64(int, const char* path, struct stat64* out) {
  return lstat64(path, out);
}
OPENNRT_INTERPOSED int __fxstat(int, int fd, struct stat* out) {
  return fstat(fd, out);
}
OPENNRT_INTERPOSED int __fxstat64(int, int fd, struct stat64* out) {
  return fstat64(fd, out);
}
OPENNRT_INTERPOSED int __fxstatat(int, int folder, const char* path, struct stat* out, int flags) {
  return fstatat(folder, path, out, flags);
}
OPENNRT_INTERPOSED int __fxstatat64(int, int folder, const char* path, struct stat64* out, int flags) {
  return fstatat64(folder, path, out, flags);
}

OPENNRT_INTERPOSED int statx(int folder, const char* __restrict path, int flags, unsigned mask,
                             struct statx* __restrict out) noexcept {
  if (empty_path(path, flags)) {
    const int r = REAL(statx)(folder, path, flags, mask, out);
    if (r == 0 && active()) {
      struct stat s {};
      s.st_mode = out->stx_mode;
      s.st_nlink = out->stx_nlink;
      const mode_t before = s.st_mode;
      describe_descriptor(folder, s);
      if (s.st_mode != before) copy(s, *out);
    }
    return r;
  }
  return by_name(
      folder, path, [&] { return REAL(statx)(folder, path, flags, mask, out); },
      [&](const Name& n, const Found& f) {
        struct stat s;
        if (described(n, f, &s) != 0) return -1;
        return copy(s, *out), 0;
      });
}

OPENNRT_INTERPOSED int access(const char* path, int mode) noexcept {
  return by_name(
      AT_FDCWD, path, [&] { return REAL(access)(path, mode); },
      [&](const Name&, const Found& f) { return permitted(f, mode); });
}
OPENNRT_INTERPOSED int faccessat(int folder, const char* path, int mode, int flags) noexcept {
  return by_name(
      folder, path, [&] { return REAL(faccessat)(folder, path, mode, flags); },
      [&](const Name&, const Found& f) { return permitted(f, mode); });
}
OPENNRT_INTERPOSED int euidaccess(const char* path, int mode) noexcept {
  return by_name(
      AT_FDCWD, path, [&] { return REAL(euidaccess)(path, mode); },
      [&](const Name&, const Found& f) { return permitted(f, mode); });
}
OPENNRT_INTERPOSED int eaccess(const char* path, int mode) noexcept {
  return euidaccess(path, mode);
}

namespace {

/// The link of a descriptor of ours in /proc is the name it was opened with, not that of a socket or a memfd.
ssize_t name_of_link(const char* path, char* to, std::size_t room, ssize_t got) {
  constexpr char kProc[] = "/proc/self/fd/";
  if (got <= 0 || !active() || std::strncmp(path, kProc, sizeof(kProc) - 1) != 0) return got;
  KeepErrno keep;
  const int fd = std::atoi(path + sizeof(kProc) - 1);
  char node[32];
  Name name;
  std::string_view text;
  if (const int device = device_of(fd); device >= 0) {
    text = {node, static_cast<std::size_t>(std::snprintf(node, sizeof(node), "/dev/neuron%d", device))};
  } else if (virtual_of(fd, name) != Node::kNothing) {
    text = name.view();
  } else {
    return got;
  }
  return static_cast<ssize_t>(text.copy(to, room));
}

}  // namespace

OPENNRT_INTERPOSED ssize_t readlink(const char* __restrict path, char* __restrict to, size_t room) noexcept {
  return by_name(
      AT_FDCWD, path, [&] { return name_of_link(path, to, room, REAL(readlink)(path, to, room)); },
      [](const Name&, const Found&) { return static_cast<ssize_t>(answer(-EINVAL)); });
}
OPENNRT_INTERPOSED ssize_t readlinkat(int folder, const char* __restrict path, char* __restrict to,
                                      size_t room) noexcept {
  return by_name(
      folder, path, [&] { return name_of_link(path, to, room, REAL(readlinkat)(folder, path, to, room)); },
      [](const Name&, const Found&) { return static_cast<ssize_t>(answer(-EINVAL)); });
}

OPENNRT_INTERPOSED char* realpath(const char* __restrict path, char* __restrict to) noexcept {
  Name name;
  Found found;
  if (active() && path != nullptr && may_be_ours(path, name) && !shared_folder(name.view()) &&
      guarded(false, [&] { return found = find(name), true; }) && found.node != Node::kNothing) {
    if (no_folder(name, found)) return answer(-ENOTDIR), nullptr;
    if (to == nullptr) return strdup(name.text);
    return static_cast<char*>(std::memcpy(to, name.text, name.length + 1));
  }
  return REAL(realpath)(path, to);
}
OPENNRT_INTERPOSED char* __realpath_chk(const char* path, char* to, size_t) {
  return realpath(path, to);
}
OPENNRT_INTERPOSED char* canonicalize_file_name(const char* path) noexcept {
  return realpath(path, nullptr);
}

// Extended attributes, which `ls -l` asks for: neither devtmpfs nor sysfs need have any.
namespace {
template <class R>
ssize_t attributes(const char* path, R&& real) {
  return by_name(AT_FDCWD, path, real,
                 [](const Name&, const Found&) { return static_cast<ssize_t>(answer(-ENOTSUP)); });
}
}  // namespace

OPENNRT_INTERPOSED ssize_t getxattr(const char* path, const char* name, void* to, size_t room) noexcept {
  return attributes(path, [&] { return REAL(getxattr)(path, name, to, room); });
}
OPENNRT_INTERPOSED ssize_t lgetxattr(const char* path, const char* name, void* to, size_t room) noexcept {
  return attributes(path, [&] { return REAL(lgetxattr)(path, name, to, room); });
}
OPENNRT_INTERPOSED ssize_t listxattr(const char* path, char* to, size_t room) noexcept {
  return attributes(path, [&] { return REAL(listxattr)(path, to, room); });
}
OPENNRT_INTERPOSED ssize_t llistxattr(const char* path, char* to, size_t room) noexcept {
  return attributes(path, [&] { return REAL(llistxattr)(path, to, room); });
}
