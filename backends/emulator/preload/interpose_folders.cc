// SPDX-License-Identifier: Apache-2.0
//
// Listings: /dev and a few folders of /sys show our entries besides the file system's, folders of the driver's show
// only ours. A listing of such a folder is taken when it is opened. nftw(3) and fts(3) read folders inside the C
// library and do not see ours.
#include <dirent.h>
#include <glob.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "backends/emulator/preload/interpose.h"

using namespace opennrt::emulator;

DECLARE_REAL(opendir);
DECLARE_REAL(fdopendir);
DECLARE_REAL(closedir);
DECLARE_REAL(readdir);
DECLARE_REAL(rewinddir);
DECLARE_REAL(seekdir);
DECLARE_REAL(telldir);
DECLARE_REAL(dirfd);
DECLARE_REAL(scandir);
DECLARE_REAL(glob);

namespace {

/// An open folder with entries of ours. What the program holds as its DIR* is the address of one.
struct Folder {
  std::vector<dirent> entries;
  std::size_t at = 0;
  DIR* real = nullptr;  ///< the file system's, of a shared folder
  int fd = -1;          ///< of one that is only ours
};

// Slots instead of a lock, which a fork could leave locked.
constinit std::array<std::atomic<Folder*>, 256> open_folders;
constinit std::atomic<int> open_count{0};

Folder* ours(DIR* folder) {
  if (open_count.load(std::memory_order_relaxed) == 0) return nullptr;
  for (auto& slot : open_folders) {
    Folder* f = slot.load(std::memory_order_acquire);
    if (f != nullptr && reinterpret_cast<DIR*>(f) == folder) return f;
  }
  return nullptr;
}

DIR* publish(std::unique_ptr<Folder> folder) {
  for (auto& slot : open_folders) {
    Folder* free = nullptr;
    if (!slot.compare_exchange_strong(free, folder.get())) continue;
    open_count.fetch_add(1);
    return reinterpret_cast<DIR*>(folder.release());
  }
  if (folder->real != nullptr) REAL(closedir)(folder->real);
  if (folder->fd >= 0) system_call(SYS_close, folder->fd);
  errno = EMFILE;
  return nullptr;
}

void add(Folder& folder, const std::string& name, unsigned char type) {
  const bool known = std::ranges::any_of(folder.entries, [&](const dirent& e) { return name == e.d_name; });
  if (known || name.size() >= sizeof(dirent::d_name)) return;
  dirent e{};
  e.d_ino = std::hash<std::string>{}(name) | 1;
  e.d_off = static_cast<off_t>(folder.entries.size() + 1);
  e.d_reclen = sizeof(dirent);
  e.d_type = type;
  std::memcpy(e.d_name, name.c_str(), name.size() + 1);
  folder.entries.push_back(e);
}

/// `real` with our entries; itself when there are none.
DIR* merged(DIR* real, const Name& name) {
  if (real == nullptr) return nullptr;
  return guarded<DIR*>(real, [&]() -> DIR* {
    const std::vector<std::string> names = entries(name);
    if (names.empty()) return real;
    auto folder = std::make_unique<Folder>();
    folder->real = real;
    KeepErrno keep;
    while (const dirent* e = REAL(readdir)(real)) {
      add(*folder, e->d_name, e->d_type);
      folder->entries.back().d_ino = e->d_ino;
    }
    for (const std::string& n : names) add(*folder, n, name.view() == "/dev" ? DT_CHR : DT_DIR);
    return publish(std::move(folder));
  });
}

/// A folder that only we have, with a descriptor of it that becomes the folder's.
DIR* listed(int fd, const Name& name) {
  return guarded<DIR*>(nullptr, [&] {
    auto folder = std::make_unique<Folder>();
    add(*folder, ".", DT_DIR);
    add(*folder, "..", DT_DIR);
    for (const std::string& n : entries(name)) add(*folder, n, DT_UNKNOWN);
    folder->fd = fd;
    return publish(std::move(folder));
  });
}

}  // namespace

OPENNRT_INTERPOSED DIR* opendir(const char* path) {
  Name name;
  if (!active() || !may_be_ours(path, name)) return REAL(opendir)(path);
  if (shared_folder(name.view())) return merged(REAL(opendir)(path), name);
  Found found;
  if (!guarded(false, [&] { return found = find(name), true; })) return nullptr;
  if (found.node == Node::kNothing) return REAL(opendir)(path);
  const int fd = answer(open_found(name, found, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd < 0 ? nullptr : listed(fd, name);
}

OPENNRT_INTERPOSED DIR* fdopendir(int fd) {
  if (!active()) return REAL(fdopendir)(fd);
  Name name;
  {
    KeepErrno keep;
    if (virtual_of(fd, name) == Node::kFolder) return listed(fd, name);
  }
  DIR* real = REAL(fdopendir)(fd);
  return real != nullptr && may_be_ours_below(fd, ".", name) && shared_folder(name.view()) ? merged(real, name) : real;
}

OPENNRT_INTERPOSED int closedir(DIR* folder) {
  Folder* f = ours(folder);
  if (f == nullptr) return REAL(closedir)(folder);
  for (auto& slot : open_folders) {
    Folder* expected = f;
    if (slot.compare_exchange_strong(expected, nullptr)) break;
  }
  open_count.fetch_sub(1);
  const int r = f->real != nullptr ? REAL(closedir)(f->real) : answer(system_call(SYS_close, f->fd));
  delete f;
  return r;
}

OPENNRT_INTERPOSED dirent* readdir(DIR* folder) {
  Folder* f = ours(folder);
  if (f == nullptr) return REAL(readdir)(folder);
  return f->at < f->entries.size() ? &f->entries[f->at++] : nullptr;
}
static_assert(sizeof(dirent) == sizeof(dirent64));
OPENNRT_INTERPOSED dirent64* readdir64(DIR* folder) {
  return reinterpret_cast<dirent64*>(readdir(folder));
}

OPENNRT_INTERPOSED void rewinddir(DIR* folder) noexcept {
  if (Folder* f = ours(folder)) {
    f->at = 0;
  } else {
    REAL(rewinddir)(folder);
  }
}
OPENNRT_INTERPOSED void seekdir(DIR* folder, long position) noexcept {
  if (Folder* f = ours(folder)) {
    f->at = static_cast<std::size_t>(std::max(position, 0l));
  } else {
    REAL(seekdir)(folder, position);
  }
}
OPENNRT_INTERPOSED long telldir(DIR* folder) noexcept {
  Folder* f = ours(folder);
  return f == nullptr ? REAL(telldir)(folder) : static_cast<long>(f->at);
}
OPENNRT_INTERPOSED int dirfd(DIR* folder) noexcept {
  Folder* f = ours(folder);
  return f == nullptr ? REAL(dirfd)(folder) : f->real != nullptr ? REAL(dirfd)(f->real) : f->fd;
}

OPENNRT_INTERPOSED int scandir(const char* __restrict path, dirent*** __restrict list, int (*wanted)(const dirent*),
                               int (*order)(const dirent**, const dirent**)) {
  Name name;
  if (!active() || !may_be_ours(path, name)) return REAL(scandir)(path, list, wanted, order);
  DIR* folder = opendir(path);
  if (folder == nullptr) return -1;
  const int count = guarded(-1, [&] {
    std::vector<dirent*> all;
    while (const dirent* e = readdir(folder)) {
      if (wanted != nullptr && wanted(e) == 0) continue;
      auto* copy = static_cast<dirent*>(std::malloc(sizeof(dirent)));
      if (copy == nullptr) throw std::bad_alloc();
      std::memcpy(copy, e, std::min<std::size_t>(e->d_reclen, sizeof(dirent)));
      all.push_back(copy);
    }
    if (order != nullptr) {
      std::ranges::stable_sort(all, [&](const dirent* a, const dirent* b) { return order(&a, &b) < 0; });
    }
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers
    auto** out = static_cast<dirent**>(std::malloc(std::max<std::size_t>(all.size(), 1) * sizeof(dirent*)));
    if (out == nullptr) throw std::bad_alloc();
    std::ranges::copy(all, out);
    *list = out;
    return static_cast<int>(all.size());
  });
  closedir(folder);
  return count;
}
OPENNRT_INTERPOSED int scandir64(const char* __restrict path, dirent64*** __restrict list,
                                 int (*wanted)(const dirent64*), int (*order)(const dirent64**, const dirent64**)) {
  return scandir(path, reinterpret_cast<dirent***>(list), reinterpret_cast<int (*)(const dirent*)>(wanted),
                 reinterpret_cast<int (*)(const dirent**, const dirent**)>(order));
}

/// glob(3) reads folders by functions that a caller can give it.
OPENNRT_INTERPOSED int glob(const char* __restrict pattern, int flags, int (*failed)(const char*, int),
                            glob_t* __restrict found) noexcept {
  const bool may_match = active() && pattern != nullptr && found != nullptr && (flags & GLOB_ALTDIRFUNC) == 0 &&
                         (std::strncmp(pattern, "/dev/", 5) == 0 || std::strncmp(pattern, "/sys/", 5) == 0);
  if (!may_match) return REAL(glob)(pattern, flags, failed, found);
  found->gl_opendir = [](const char* path) { return static_cast<void*>(opendir(path)); };
  found->gl_readdir = [](void* folder) { return readdir(static_cast<DIR*>(folder)); };
  found->gl_closedir = [](void* folder) { closedir(static_cast<DIR*>(folder)); };
  found->gl_stat = [](const char* path, struct stat* out) { return stat(path, out); };
  found->gl_lstat = [](const char* path, struct stat* out) { return lstat(path, out); };
  const int r = REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, failed, found);
  found->gl_flags &= ~GLOB_ALTDIRFUNC;
  return r;
}
OPENNRT_INTERPOSED int glob64(const char* __restrict pattern, int flags, int (*failed)(const char*, int),
                              glob64_t* __restrict found) noexcept {
  return glob(pattern, flags, failed, reinterpret_cast<glob_t*>(found));
}
