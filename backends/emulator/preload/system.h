// SPDX-License-Identifier: Apache-2.0
//
// System calls past everybody: for what the library does itself, so that it never meets its own interposed functions,
// a sanitizer's, or a cancellation point. Results are 0 or more, or a negative errno; errno is left alone.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>

namespace opennrt::emulator {

/// Keeps errno as it was.
class KeepErrno {
 public:
  KeepErrno() : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

template <class... A>
long system_call(long number, A... a) {
  KeepErrno keep;
  const long result = ::syscall(number, a...);
  return result < 0 ? -errno : result;
}

}  // namespace opennrt::emulator
