// SPDX-License-Identifier: Apache-2.0
//
// What the interposed functions share.
#pragma once

#include <fcntl.h>
#include <cerrno>
#include <exception>
#include <utility>

#include "backends/emulator/preload/active.h"
#include "backends/emulator/preload/names.h"
#include "backends/emulator/preload/provider.h"
#include "backends/emulator/preload/real.h"
#include "backends/emulator/preload/system.h"

#define OPENNRT_INTERPOSED extern "C" __attribute__((visibility("default")))

namespace opennrt::emulator {

/// Runs what may need memory inside a function of the C library's: ENOMEM instead of an exception.
template <class R, class F>
R guarded(R failure, F&& f) noexcept {
  try {
    return std::forward<F>(f)();
  } catch (const std::exception&) {
    errno = ENOMEM;
    return failure;
  }
}

/// A result or a negative errno, as the C library returns it.
inline int answer(long r) {
  if (r >= 0) return static_cast<int>(r);
  errno = static_cast<int>(-r);
  return -1;
}

/// Device of a descriptor, -1 for others. Says at once for processes that have never had one.
inline int device_of_seen(int fd) {
  if (!active() || !devices_seen.load(std::memory_order_relaxed) || fd < 0) return -1;
  Provider* p = provider();
  return p == nullptr ? -1 : p->device_of(fd);
}

/// The same for the functions that matter, which always look.
inline int device_of(int fd) {
  if (!active() || fd < 0) return -1;
  Provider* p = provider();
  const int device = p == nullptr ? -1 : p->device_of(fd);
  if (device >= 0) devices_seen.store(true, std::memory_order_relaxed);
  return device;
}

/// Looks up a name for a function that has a result for it: `ours` is called with what was found. Otherwise `real`, and
/// when the file system has nothing at a relative name, `ours` once more with what that name leads to.
template <class Real, class Ours>
auto by_name(int folder, const char* path, Real&& real, Ours&& ours) -> decltype(real()) {
  using R = decltype(real());
  if (!active()) return real();
  Name name;
  if (may_be_ours(path, name)) {
    if (shared_folder(name.view())) return real();
    Found found;
    if (!guarded(false, [&] { return found = find(name), true; })) return R(-1);
    if (no_folder(name, found)) return R(answer(-ENOTDIR));
    return found.node == Node::kNothing ? real() : ours(name, found);
  }
  const int before = errno;
  const R result = real();
  if (result != R(-1) || (errno != ENOENT && errno != ENOTDIR)) return result;
  const int error = errno;
  Found found;
  if (may_be_ours_below(folder, path, name) && !shared_folder(name.view()) &&
      guarded(false, [&] { return found = find(name), true; }) && found.node != Node::kNothing) {
    if (no_folder(name, found)) return R(answer(-ENOTDIR));
    errno = before;
    return ours(name, found);
  }
  errno = error;
  return result;
}

/// Opens what was found. A descriptor or a negative errno.
int open_found(const Name& name, const Found& found, int flags) noexcept;

}  // namespace opennrt::emulator
