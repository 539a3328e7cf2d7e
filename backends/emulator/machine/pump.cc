// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/pump.h"

namespace opennrt::emulator {

Pump::~Pump() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Pump::kick(driver::Device& device, std::uint32_t core) {
  {
    const std::lock_guard guard(mutex_);
    pending_.emplace(&device, core);
  }
  changed_.notify_all();
}

void Pump::work() {
  std::unique_lock guard(mutex_);
  for (;;) {
    changed_.wait(guard, [this] { return stop_ || !pending_.empty(); });
    if (stop_) return;
    const auto [device, core] = pending_.extract(pending_.begin()).value();
    guard.unlock();
    device->run(core, stop_);
    guard.lock();
  }
}

}  // namespace opennrt::emulator
