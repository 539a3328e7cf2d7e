// SPDX-License-Identifier: Apache-2.0
//
// What every entry point has in common: it is let in or refused, its failure is logged and becomes a status, and no
// exception
// leaves it.
#pragma once

#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "core/api/native.h"
#include "core/api/status.h"
#include "core/observe/log.h"
#include "core/observe/trace.h"
#include "core/runtime/process.h"

namespace opennrt::api {

inline NRT_STATUS fail(const char* function, const Error& error) {
  observe::log(observe::Component::kNrt, observe::Level::kError, function, "{}", error.message);
  return to_status(error.code);
}

/// Runs `body`, which returns an NRT_STATUS; exceptions (ours cannot throw, but memory can run out) become statuses.
template <typename Body>
NRT_STATUS guarded(const char* function, Body&& body) noexcept {
  const observe::trace::Span span{std::string_view(function)};
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    observe::write(observe::Component::kNrt, observe::Level::kError, function, "host memory is used up");
    return to_status(ErrorCode::kResource);
  } catch (const std::exception& unexpected) {
    try {
      observe::log(observe::Component::kNrt, observe::Level::kError, function, "internal error: {}", unexpected.what());
    } catch (...) {
    }
    return to_status(ErrorCode::kInternal);
  }
}

/// For functions that may come at any time. `body(Process&)` returns a Status.
template <typename Body>
NRT_STATUS any_time(const char* function, Body&& body) noexcept {
  return guarded(function, [&]() -> NRT_STATUS {
    const Status done = body(Process::current());
    return done ? NRT_SUCCESS : fail(function, done.error());
  });
}

/// For functions between nrt_init and nrt_close. `body(Process&, Runtime&)` returns an NRT_STATUS by to_status or fail.
template <typename Body>
NRT_STATUS while_open_status(const char* function, Body&& body) noexcept {
  return guarded(function, [&]() -> NRT_STATUS {
    Process& process = Process::current();
    const Process::Call call(process);
    if (call.runtime() == nullptr) {
      observe::log(observe::Component::kNrt, observe::Level::kError, function, "called {}",
                   call.refused() == Process::State::kUninitialized ? "before nrt_init" : "after nrt_close");
      return to_status(call.refused());
    }
    return body(process, *call.runtime());
  });
}

/// The same for a `body(Process&, Runtime&)` that returns a Status.
template <typename Body>
NRT_STATUS while_open(const char* function, Body&& body) noexcept {
  return while_open_status(function, [&](Process& process, Runtime& runtime) -> NRT_STATUS {
    const Status done = body(process, runtime);
    return done ? NRT_SUCCESS : fail(function, done.error());
  });
}

/// kInvalidArgument when a pointer that must not be NULL is.
inline Status require(const void* pointer, const char* name) {
  if (pointer == nullptr) return make_error(ErrorCode::kInvalidArgument, "{} is NULL, expected an address", name);
  return {};
}

/// Copies the front of `value` that a caller, who may know an older or newer layout, has room for.
template <typename T>
Status copy_front(const T& value, void* to, std::size_t room, std::size_t* written, const char* name) {
  if (const Status there = require(to, name); !there) return there;
  if (room == 0) return make_error(ErrorCode::kInvalidArgument, "size of {} is 0, expected up to {}", name, sizeof(T));
  const std::size_t bytes = room < sizeof(T) ? room : sizeof(T);
  std::memcpy(to, &value, bytes);
  if (written != nullptr) *written = bytes;
  return {};
}

}  // namespace opennrt::api
