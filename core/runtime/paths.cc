// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/paths.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace opennrt {
namespace {

void anchor() {}  // an address inside this library

LibraryPaths find() {
  Dl_info info{};
  std::filesystem::path file;
  if (dladdr(reinterpret_cast<const void*>(&anchor), &info) != 0 && info.dli_fname != nullptr) file = info.dli_fname;
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::canonical(file, error);
  const std::filesystem::path folder = (error ? file : resolved).parent_path();
  return {folder.string(), (folder / OPENNRT_BACKEND_SUBDIR).string(), (folder / OPENNRT_DATA_SUBDIR).string()};
}

}  // namespace

const LibraryPaths& library_paths() {
  static const LibraryPaths* paths = new LibraryPaths(find());  // used at exit, too
  return *paths;
}

}  // namespace opennrt
