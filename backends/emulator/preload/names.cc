// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/names.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/sysmacros.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "backends/emulator/preload/provider.h"
#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

constexpr std::string_view kNode = "/dev/neuron";
constexpr std::string_view kFolders[] = {"/dev",        "/sys",         "/sys/class",
                                         "/sys/module", "/sys/devices", "/sys/devices/virtual"};
constexpr std::string_view kTrees[] = {"/sys/class/neuron_device", "/sys/module/neuron",
                                       "/sys/devices/virtual/neuron_device"};
constexpr std::string_view kFileTag = "opennrt-file:", kFolderTag = "opennrt-folder:", kNodeTag = "opennrt-node:";
constexpr unsigned kMajor = 235;  ///< where no `dev` file says otherwise: a number of those given out dynamically

bool within(std::string_view name, std::string_view tree) {
  return name.starts_with(tree) && (name.size() == tree.size() || name[tree.size()] == '/');
}

int node_number(std::string_view name) {
  if (!name.starts_with(kNode) || name.size() == kNode.size() || name.size() > kNode.size() + 3) return -1;
  int number = 0;
  for (const char c : name.substr(kNode.size())) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  return name[kNode.size()] == '0' && name.size() > kNode.size() + 1 ? -1 : number;
}

bool ours(std::string_view name) {
  return node_number(name) >= 0 || std::ranges::find(kFolders, name) != std::end(kFolders) ||
         std::ranges::any_of(kTrees, [&](std::string_view tree) { return within(name, tree); });
}

/// Appends `path` to `name`, component by component; false when there is no room.
bool append(Name& name, const char* path) {
  for (const char* at = path; *at != 0;) {
    while (*at == '/') ++at;
    const char* end = at;
    while (*end != 0 && *end != '/') ++end;
    const std::string_view part(at, static_cast<std::size_t>(end - at));
    at = end;
    name.folder = part.empty() || part == "." || part == "..";
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      while (name.length > 0 && name.text[--name.length] != '/') continue;
      continue;
    }
    if (name.length + 1 + part.size() >= sizeof(name.text)) return false;
    name.text[name.length++] = '/';
    std::memcpy(name.text + name.length, part.data(), part.size());
    name.length += part.size();
  }
  name.text[name.length] = 0;
  return true;
}

std::string string(const Name& name) {
  return std::string(name.view());
}

/// A file with the device's number says it: "<major>:<minor>".
dev_t number_of(int device) {
  unsigned major = kMajor, minor = static_cast<unsigned>(device);
  if (Provider* p = provider()) {
    const auto text = p->file("/sys/class/neuron_device/neuron" + std::to_string(device) + "/dev");
    if (text) std::sscanf(text->c_str(), "%u:%u", &major, &minor);
  }
  return makedev(major, minor);
}

/// The link of a descriptor in /proc; its length or a negative errno.
long link_of(int fd, char (&to)[640]) {
  char proc[40];
  if (fd == AT_FDCWD) {
    std::strcpy(proc, "/proc/self/cwd");
  } else {
    std::snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
  }
  const long n = system_call(SYS_readlinkat, AT_FDCWD, proc, to, sizeof(to) - 1);
  to[std::max(n, 0l)] = 0;
  return n;
}

}  // namespace

int device_number(const Name& name) {
  return node_number(name.view());
}

bool may_be_ours(const char* path, Name& name) {
  if (path == nullptr || *path != '/') return false;
  const char* at = path;
  while (*at == '/' || (*at == '.' && at[1] == '/')) ++at;
  if (*at != '.' && std::strncmp(at, "dev", 3) != 0 && std::strncmp(at, "sys", 3) != 0) return false;
  name.length = 0;
  return append(name, path) && ours(name.view());
}

bool may_be_ours_below(int folder, const char* path, Name& name) {
  if (path == nullptr || *path == '/') return false;
  // The current folder is one of the file system's: only a name of ours can be meant.
  if (folder == AT_FDCWD && std::strstr(path, "neuron") == nullptr) return false;
  char link[640];
  if (folder != AT_FDCWD && folder < 0) return false;
  if (link_of(folder, link) <= 0) return false;
  name.length = 0;
  if (Name virtual_name; folder != AT_FDCWD && virtual_of(folder, virtual_name) == Node::kFolder) {
    name = virtual_name;
  } else if (link[0] != '/' || !append(name, link)) {
    return false;
  }
  return append(name, path) && ours(name.view());
}

Found find(const Name& name) {
  Found found;
  Provider* p = provider();
  if (p == nullptr) return found;
  KeepErrno keep;
  if (const int number = node_number(name.view()); number >= 0) {
    const auto nodes = p->folder("/dev");
    if (nodes && std::ranges::find(*nodes, name.text + 5) != nodes->end()) {
      found.node = Node::kDevice;
      found.device = number;
    }
    return found;
  }
  if (auto contents = p->file(string(name))) {
    found.node = Node::kFile;
    found.contents = std::move(*contents);
  } else if (!shared_folder(name.view()) && p->folder(string(name))) {
    found.node = Node::kFolder;
  }
  return found;
}

bool shared_folder(std::string_view name) {
  return std::ranges::find(kFolders, name) != std::end(kFolders);
}

std::vector<std::string> entries(const Name& name) {
  Provider* p = provider();
  if (p == nullptr) return {};
  KeepErrno keep;
  return p->folder(string(name)).value_or(std::vector<std::string>{});
}

void describe_device(int device, struct stat& out) {
  out = {};
  out.st_mode = S_IFCHR | 0666;  // as the udev rule of the driver's package has it (preinstall)
  out.st_rdev = number_of(device);
  out.st_dev = makedev(0, 5);
  out.st_ino = 1000 + static_cast<ino_t>(device);
  out.st_nlink = 1;
  out.st_blksize = 4096;
}

void describe(const Name& name, const Found& found, struct stat& out) {
  if (found.node == Node::kDevice) return describe_device(device_number(name), out);
  out = {};
  out.st_dev = makedev(0, 20);
  out.st_ino = std::hash<std::string_view>{}(name.view()) | 1;
  out.st_blksize = 4096;
  if (found.node == Node::kFolder) {
    out.st_mode = S_IFDIR | 0755;
    out.st_nlink = 2;
  } else {
    out.st_mode = S_IFREG | 0444;
    out.st_nlink = 1;
    out.st_size = 4096;  // a file of sysfs is a page
    out.st_blocks = 8;   // and has none, but what is shorter than its blocks say is copied by its holes, of which a
                         // memfd tells
  }
}

namespace {

/// A memfd of that name and with these contents, sealed; or a negative errno.
int make_file(const char* name, unsigned flags, std::string_view contents) {
  const long fd = system_call(SYS_memfd_create, name, MFD_ALLOW_SEALING | flags);
  if (fd < 0) return static_cast<int>(fd);
  for (std::size_t done = 0; done < contents.size();) {
    const long n = system_call(SYS_pwrite64, fd, contents.data() + done, contents.size() - done, done);
    if (n == -EINTR) continue;
    if (n <= 0) {
      system_call(SYS_close, fd);
      return n == 0 ? -EIO : static_cast<int>(n);
    }
    done += static_cast<std::size_t>(n);
  }
  system_call(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return static_cast<int>(fd);
}

}  // namespace

int open_virtual(const Name& name, const Found& found, int flags) {
  const bool only_path = (flags & O_PATH) != 0;
  if (!only_path && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
  if (!only_path && (flags & O_ACCMODE) != O_RDONLY) return found.node == Node::kFolder ? -EISDIR : -EACCES;
  if ((flags & O_DIRECTORY) != 0 && found.node != Node::kFolder) return -ENOTDIR;
  char tag[240];  // what memfd_create takes
  const std::string_view kind = found.node == Node::kFolder   ? kFolderTag
                                : found.node == Node::kDevice ? kNodeTag
                                                              : kFileTag;
  if (kind.size() + name.length >= sizeof(tag)) return -ENAMETOOLONG;
  tag[kind.copy(tag, kind.size()) + name.view().copy(tag + kind.size(), name.length)] = 0;
  const int fd = make_file(tag, (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0u, found.contents);
  if (fd < 0 || !only_path) return fd;
  char again[40];
  std::snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
  const long path = system_call(SYS_openat, AT_FDCWD, again, O_PATH | (flags & O_CLOEXEC));
  system_call(SYS_close, fd);
  return static_cast<int>(path);
}

Node virtual_of(int fd, Name& name) {
  char link[640];
  constexpr std::string_view kMemfd = "/memfd:", kDeleted = " (deleted)";
  if (fd < 0 || link_of(fd, link) <= 0) return Node::kNothing;
  std::string_view text(link);
  if (!text.starts_with(kMemfd) || !text.ends_with(kDeleted)) return Node::kNothing;
  text.remove_prefix(kMemfd.size());
  text.remove_suffix(kDeleted.size());
  const Node node = text.starts_with(kFileTag)     ? Node::kFile
                    : text.starts_with(kFolderTag) ? Node::kFolder
                    : text.starts_with(kNodeTag)   ? Node::kDevice
                                                   : Node::kNothing;
  if (node == Node::kNothing) return node;
  text.remove_prefix(text.find(':') + 1);
  if (text.size() >= sizeof(name.text)) return Node::kNothing;
  name.length = text.copy(name.text, sizeof(name.text) - 1);
  name.text[name.length] = 0;
  return node;
}

}  // namespace opennrt::emulator
