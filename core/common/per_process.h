// SPDX-License-Identifier: Apache-2.0
//
// An object of this process: a child of fork(2) gets a fresh one, because the locks of its parent's may have been held at the
// moment of the fork.
#pragma once

#include <unistd.h>

#include <atomic>

namespace opennrt {

/// The T of this process, made when first asked for; lives as long as the process. Thread-safe.
template <typename T>
T& per_process() {
  struct Owned {
    int pid;
    T object;
    explicit Owned(int owner) : pid(owner) {}
  };
  static std::atomic<Owned*> current{nullptr};
  Owned* owned = current.load(std::memory_order_acquire);
  const int pid = getpid();
  while (owned == nullptr || owned->pid != pid) {
    Owned* fresh = new Owned(pid);
    if (current.compare_exchange_strong(owned, fresh, std::memory_order_acq_rel)) return fresh->object;
    delete fresh;
  }
  return owned->object;
}

}  // namespace opennrt
