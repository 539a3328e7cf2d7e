// SPDX-License-Identifier: Apache-2.0
//
// Where the library finds its own parts: relative to itself, so that an installed tree works from any folder.
#pragma once

#include <string>

namespace opennrt {

struct LibraryPaths {
  std::string library_dir;  ///< folder of libnrt.so.1, links resolved
  std::string backend_dir;  ///< its opennrt/backends
  std::string data_dir;     ///< its opennrt
};
/// Found once with dladdr(3); thread-safe.
const LibraryPaths& library_paths();

}  // namespace opennrt
