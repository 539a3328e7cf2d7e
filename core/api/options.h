// SPDX-License-Identifier: Apache-2.0
//
// Options objects of the C API that are opaque to clients: handles, as models and tensors are.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/api/call.h"
#include "core/common/per_process.h"

namespace opennrt::api {

/// Objects of type T behind handles of type Handle. A child of fork(2) has none.
template <typename T, typename Handle, HandleKind kKind>
struct Options {
  static HandleTable<T>& table() {
    struct Own {
      HandleTable<T> table{kKind, "options"};
    };
    return per_process<Own>().table;
  }

  static NRT_STATUS allocate(const char* function, Handle** options) {
    return any_time(function, [&](Process&) -> Status {
      if (const Status there = require(options, "options"); !there) return there;
      *options = static_cast<Handle*>(table().add(std::make_shared<T>()));
      native::objects_given_out.store(true, std::memory_order_relaxed);
      return {};
    });
  }

  static NRT_STATUS free(const char* function, Handle* options) {
    return any_time(function, [&](Process&) -> Status {
      if (const auto found = table().get(options); !found) return tl::unexpected(found.error());
      (void)table().remove(options);
      return {};
    });
  }

  /// `change(T&)` returns a Status.
  template <typename Change>
  static NRT_STATUS with(const char* function, const Handle* options, Change&& change) {
    return any_time(function, [&](Process&) -> Status {
      const auto found = table().get(options);
      if (!found) return tl::unexpected(found.error());
      return change(**found);
    });
  }

  /// The object, or the defaults for NULL.
  static Result<T> copy_or_default(const Handle* options) {
    if (options == nullptr) return T{};
    const auto found = table().get(options);
    if (!found) return tl::unexpected(found.error());
    return **found;
  }
};

/// An array of malloc'ed names for the caller.
inline Status give_names(const std::vector<std::string_view>& names, const char*** to, std::size_t* count) {
  if (const Status there = require(to, "the array of names"); !there) return there;
  if (const Status there = require(count, "count"); !there) return there;
  auto** array = static_cast<char**>(std::calloc(names.size() + 1, sizeof(char*)));
  bool complete = array != nullptr;
  for (std::size_t i = 0; complete && i < names.size(); ++i) {
    array[i] = strndup(names[i].data(), names[i].size());
    complete = array[i] != nullptr;
  }
  if (!complete) {
    for (std::size_t i = 0; array != nullptr && i < names.size(); ++i) std::free(array[i]);
    std::free(array);
    return make_error(ErrorCode::kResource, "memory for {} names is not available", names.size());
  }
  *to = const_cast<const char**>(array);
  *count = names.size();
  return {};
}

inline void free_names(const char** names, std::size_t count) {
  for (std::size_t i = 0; names != nullptr && i < count; ++i) std::free(const_cast<char*>(names[i]));
  std::free(const_cast<char**>(names));
}

/// A path that a client gives.
inline Result<std::string> path_of(const char* path, const char* name) {
  if (const Status there = require(path, name); !there) return tl::unexpected(there.error());
  if (*path == '\0') return make_error(ErrorCode::kInvalidArgument, "{} is empty, expected a path", name);
  return std::string(path);
}

// What the configurations of the system trace and of inspections share.
Status enable_core(observe::trace::Config& config, std::uint32_t core, bool enabled);
Status enable_type(observe::trace::Config& config, const char* event_type, bool enabled);

}  // namespace opennrt::api
