// SPDX-License-Identifier: Apache-2.0
//
// The function that an interposed one hides: the next of its name in the order of libraries (libc's, or a sanitizer's).
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace opennrt::emulator {

/// Resolved at the first call and without allocation, so that it works before constructors have run and in a signal
/// handler; resolving twice at the same time is harmless.
template <class F>
class Real {
 public:
  constexpr explicit Real(const char* name) : name_(name) {}

  template <class... A>
  auto operator()(A... a) {
    void* f = function_.load(std::memory_order_relaxed);
    if (f == nullptr) {
      f = dlsym(RTLD_NEXT, name_);
      function_.store(f, std::memory_order_relaxed);
    }
    return reinterpret_cast<F*>(f)(a...);
  }

 private:
  const char* name_;
  std::atomic<void*> function_{nullptr};
};

}  // namespace opennrt::emulator

/// REAL(name): the hidden function of an interposed one that is declared with exactly its type.
#define REAL(name) real_##name
#define DECLARE_REAL(name) static constinit ::opennrt::emulator::Real<decltype(::name)> real_##name(#name)
