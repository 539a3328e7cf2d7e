// SPDX-License-Identifier: Apache-2.0
//
// Loading of backend plug-ins.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "core/umd/decorator.h"
#include "core/umd/driver_call.h"
#include "core/umd/umd.h"

namespace opennrt::umd {
namespace {

thread_local std::string last_error_text;
constexpr std::size_t kErrorTextMax = 4096;
std::atomic<PassMarker> marker_passed{nullptr};  // of the decorator, which stays loaded

void forward_log(void* context, opennrt_log_level_t level, const char* function, const char* text) {
  const auto* outer = static_cast<const opennrt_host_t*>(context);
  if (level == OPENNRT_LOG_ERROR && text != nullptr && last_error_text.size() < kErrorTextMax) {
    if (!last_error_text.empty()) last_error_text += "; ";
    last_error_text += text;
  }
  if (outer->log != nullptr) outer->log(outer->context, level, function, text);
}

bool forward_log_enabled(void* context, opennrt_log_level_t level) {
  const auto* outer = static_cast<const opennrt_host_t*>(context);
  // Errors are wanted here in any case: they go into the report of an inference.
  return level == OPENNRT_LOG_ERROR || outer->log_enabled == nullptr || outer->log_enabled(outer->context, level);
}

const char* forward_config(void* context, const char* name) {
  const auto* outer = static_cast<const opennrt_host_t*>(context);
  return outer->config != nullptr ? outer->config(outer->context, name) : nullptr;
}

bool is_plain_name(const std::string& name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

std::string dl_reason() {
  const char* text = dlerror();
  return text != nullptr ? text : "no reason given";
}

/// The plug-in's library, to be closed by the caller.
Result<void*> load(const std::string& name_or_path, const std::string& backend_dir, std::string& path) {
  const bool is_path = name_or_path.find('/') != name_or_path.npos;
  if (!is_path && !is_plain_name(name_or_path))
    return make_error(ErrorCode::kInvalidArgument,
                      "backend '{}': expected a name (letters, digits, '_', '-') or a path with a '/'", name_or_path);
  path = is_path ? name_or_path : backend_dir + "/libopennrt_backend_" + name_or_path + ".so";
  // NODELETE: SystemC's kernel cannot be unloaded and loaded again, and neither can threads that a backend may own.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr)
    return make_error(ErrorCode::kInvalidArgument, "backend '{}': {} cannot be loaded: {}", name_or_path, path,
                      dl_reason());
  return library;
}

}  // namespace

std::string Backend::take_error_text() {
  return std::exchange(last_error_text, {});
}

Result<std::shared_ptr<Backend>> Backend::open(const std::string& name_or_path, const std::string& backend_dir,
                                               const opennrt_host_t& host, const std::string& decorator) {
  std::string path;
  const Result<void*> loaded = load(name_or_path, backend_dir, path);
  if (!loaded) return tl::unexpected(loaded.error());
  void* library = *loaded;
  auto entry = reinterpret_cast<opennrt_backend_entry_t>(dlsym(library, OPENNRT_BACKEND_ENTRY));
  if (entry == nullptr) {
    auto error = make_error(ErrorCode::kInvalidArgument, "backend '{}': {} is not a backend: {}", name_or_path, path,
                            dl_reason());
    dlclose(library);
    return error;
  }
  const opennrt_backend_api_t* api = entry(OPENNRT_BACKEND_ABI_MAJOR);
  if (api == nullptr || api->abi_major != OPENNRT_BACKEND_ABI_MAJOR) {
    auto error = make_error(ErrorCode::kUnsupported, "backend '{}': {} does not serve version {} of the backend ABI{}",
                            name_or_path, path, OPENNRT_BACKEND_ABI_MAJOR,
                            api != nullptr ? fmt::format(" (it has {}.{})", api->abi_major, api->abi_minor) : "");
    dlclose(library);
    return error;
  }
  // Everything up to device_close must be there; what comes later may be missing or NULL (backend.h).
  constexpr std::size_t kLeast = offsetof(opennrt_backend_api_t, device_close) + sizeof(api->device_close);
  bool whole = api->size >= kLeast && api->name != nullptr && api->open != nullptr && api->close != nullptr &&
               api->version != nullptr && api->devices != nullptr && api->device_open != nullptr &&
               api->device_close != nullptr;
  if (!whole) {
    auto error = make_error(
        ErrorCode::kUnsupported,
        "backend '{}': {} has an incomplete table (size {}, expected at least {} with open to device_close set)",
        name_or_path, path, api->size, kLeast);
    dlclose(library);
    return error;
  }
  std::shared_ptr<Backend> backend(new Backend());
  std::memcpy(&backend->table_, api, std::min(api->size, sizeof(backend->table_)));
  backend->outer_ = host;
  backend->inner_ = {sizeof(opennrt_host_t), &backend->outer_, forward_log,
                     forward_log_enabled,    forward_config,   host.data_dir};
  take_error_text();
  int status = 0;
  if (decorator.empty()) {
    status = api->open(&backend->inner_, &backend->handle_);
  } else {
    std::string decorator_path;
    const Result<void*> before = load(decorator, backend_dir, decorator_path);
    auto decorate = before ? reinterpret_cast<Decorate>(dlsym(*before, kDecorateSymbol)) : nullptr;
    if (decorate == nullptr) {
      dlclose(library);
      if (!before) return tl::unexpected(before.error());
      auto error = make_error(ErrorCode::kInvalidArgument, "backend '{}': {} is no decorator: {}", decorator,
                              decorator_path, dl_reason());
      dlclose(*before);
      return error;
    }
    marker_passed.store(reinterpret_cast<PassMarker>(dlsym(*before, kPassMarkerSymbol)), std::memory_order_release);
    const opennrt_backend_api_t inner = backend->table_;
    status = decorate(&inner, &backend->inner_, &backend->table_, &backend->handle_);
    dlclose(*before);
  }
  dlclose(library);  // the code stays, because of NODELETE
  if (status != 0) {
    backend->handle_ = nullptr;
    std::string text = take_error_text();
    return make_error(
        code_of_errno(status) == ErrorCode::kInternal ? ErrorCode::kInvalidArgument : code_of_errno(status),
        "backend '{}' ({}) cannot be opened: {}{}{}", name_or_path, path, std::strerror(-status),
        text.empty() ? "" : ": ", text);
  }
  return backend;
}

bool Backend::tell_decorator(const char* name) {
  const PassMarker pass = marker_passed.load(std::memory_order_acquire);
  if (pass != nullptr) pass(name);
  return pass != nullptr;
}

void Backend::pass_marker(const char* name) const {
  if (api_->marker != nullptr) (void)api_->marker(handle_, name);
}

Backend::~Backend() {
  if (handle_ != nullptr) api_->close(handle_);
}

}  // namespace opennrt::umd
