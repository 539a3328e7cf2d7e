// SPDX-License-Identifier: Apache-2.0
//
// Which names in the file system are ours, and what is there. A name is first looked at as text, without a system call,
// an allocation or a lock, so that the many names that are not ours cost next to nothing.
#pragma once

#include <sys/stat.h>
#include <string>
#include <string_view>
#include <vector>

namespace opennrt::emulator {

/// An absolute name without "//", "/./", "/../" and a last '/'.
struct Name {
  char text[512];
  std::size_t length = 0;
  bool folder = false;  ///< it had a last '/' or "/.": only a folder has such a name
  std::string_view view() const { return {text, length}; }
};

/// Is it one of those that a provider could have something at: /dev/neuron<N>, a file below /sys/module/neuron or
/// /sys/class/neuron_device …, or a folder with such entries (/dev, /sys/class …)? Relative names never are.
bool may_be_ours(const char* path, Name& name);
/// The same for a name relative to `folder` (AT_FDCWD or a descriptor), for which the file system has nothing.
bool may_be_ours_below(int folder, const char* path, Name& name);

enum class Node { kNothing, kDevice, kFile, kFolder };

struct Found {
  Node node = Node::kNothing;
  int device = -1;       ///< of kDevice
  std::string contents;  ///< of kFile
};

/// The name says that it is a folder, and that is none: ENOTDIR.
inline bool no_folder(const Name& name, const Found& found) {
  return name.folder && (found.node == Node::kDevice || found.node == Node::kFile);
}

/// What the provider has at a name. May throw std::bad_alloc.
Found find(const Name& name);
/// The folder has other entries besides ours: those of the file system.
bool shared_folder(std::string_view name);
/// Entries of ours in a folder; empty: none.
std::vector<std::string> entries(const Name& name);
/// What stat(2) says about it.
void describe(const Name& name, const Found& found, struct stat& out);
/// The same for a descriptor of device number `device`.
void describe_device(int device, struct stat& out);

/// Opens a file or a folder of ours, or with O_PATH a device as well: a memfd, whose name says what it is. A descriptor
/// or a negative errno.
int open_virtual(const Name& name, const Found& found, int flags);
/// Of a memfd made by open_virtual: its node, and its name; kNothing for any other descriptor.
Node virtual_of(int fd, Name& name);
/// Number of the device that a name is that of; -1: of none.
int device_number(const Name& name);

}  // namespace opennrt::emulator
