// SPDX-License-Identifier: Apache-2.0
#include "core/vendor/library.h"

#include <dlfcn.h>
#include <nrt/nrt.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/vendor/elf_file.h"
#include "core/vendor/self_binding.h"

namespace opennrt::vendor {
namespace {

constexpr std::uint64_t kMajor = NRT_MAJOR_VERSION;

/// Base address of the object that an address belongs to; nullptr: none.
const void* base_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) == 0 ? nullptr : info.dli_fbase;
}

void anchor() {}  // an address inside this library

}  // namespace

Result<std::shared_ptr<const Library>> Library::open(const std::string& path, std::span<const char* const> names) {
  const auto refuse = [&](const std::string& reason) {
    return make_error(
        ErrorCode::kDeviceGone,
        "OPENNRT_BACKEND is \"vendor\" and its library is \"{}\": {}; expected the Neuron runtime's libnrt.so.1, "
        "version {}.x (OPENNRT_VENDOR_LIBNRT says where)",
        path, reason, kMajor);
  };
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) return refuse(std::string("it cannot be read: ") + std::strerror(errno));
  auto library = std::shared_ptr<Library>(new Library);
  library->path_ = resolved.get();
  if (const Status fine = check_file(library->path_); !fine) return refuse(fine.error().message);
  if (const Status loaded = library->load(names); !loaded) return refuse(loaded.error().message);
  if (const Status fine = library->ask_version(); !fine) return refuse(fine.error().message);
  return library;
}

Status Library::load(std::span<const char* const> names) {
  // By absolute path: the dynamic linker then compares files, not sonames, and does not hand out the library of the
  // same soname that is there already. NODELETE: it stays whoever else closes it.
  handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle_ == nullptr) {
    const char* reason = dlerror();
    return make_error(ErrorCode::kDeviceGone, "it cannot be loaded: {}",
                      reason == nullptr ? "no reason given" : reason);
  }
  const auto rebound = bind_to_itself(handle_, names);
  if (!rebound) return tl::unexpected(rebound.error());
  rebound_ = *rebound;
  for (const char* needed : {"nrt_init", "nrt_close", "nrt_get_version"}) {
    if (symbol(needed) == nullptr) return make_error(ErrorCode::kDeviceGone, "it has no {}", needed);
  }
  return {};
}

Status Library::ask_version() {
  const auto get = reinterpret_cast<NRT_STATUS (*)(nrt_version_t*, std::size_t)>(symbol("nrt_get_version"));
  if (const NRT_STATUS status = get(&version_, sizeof(version_)); status != NRT_SUCCESS) {
    return make_error(ErrorCode::kDeviceGone, "its nrt_get_version answers with status {}", static_cast<int>(status));
  }
  version_.rt_detail[sizeof(version_.rt_detail) - 1] = '\0';
  version_.git_hash[sizeof(version_.git_hash) - 1] = '\0';
  if (version_.rt_major != kMajor) {
    return make_error(ErrorCode::kDeviceGone, "its version is {}.{}.{}.{}, which is too {}", version_.rt_major,
                      version_.rt_minor, version_.rt_patch, version_.rt_maintenance,
                      version_.rt_major < kMajor ? "old" : "new");
  }
  return {};
}

void* Library::symbol(const char* name) const {
  void* found = dlsym(handle_, name);
  // Its dependencies are searched, too, and one of them may depend on "libnrt.so.1": that is us.
  return found == nullptr || base_of(found) == base_of(reinterpret_cast<const void*>(&anchor)) ? nullptr : found;
}

std::string Library::describe() const {
  return fmt::format("{}, version {}.{}.{}.{}", path_, version_.rt_major, version_.rt_minor, version_.rt_patch,
                     version_.rt_maintenance);
}

}  // namespace opennrt::vendor
