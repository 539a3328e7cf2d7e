// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/provider.h"

#include <unistd.h>
#include <atomic>
#include <cstdlib>

#include "backends/emulator/preload/active.h"
#include "backends/emulator/preload/emulated.h"
#include "backends/emulator/preload/record.h"
#include "backends/emulator/preload/replay.h"
#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : nullptr;
}

std::unique_ptr<Provider> make_provider() {
  if (const char* transcript = variable(kReplayVariable)) return make_replayer(transcript);
  std::unique_ptr<Provider> made;
  if (const char* machine = variable(kMachineVariable)) made = make_emulated_machine(machine);
  if (const char* transcript = variable(kRecordVariable)) {
    return make_recorder(made ? std::move(made) : make_real_devices(), transcript);
  }
  return made;
}

}  // namespace

bool decide_activity() {
  if (environ == nullptr) return false;  // before the C library has it: ask again
  const bool on = variable(kMachineVariable) != nullptr || variable(kReplayVariable) != nullptr ||
                  variable(kRecordVariable) != nullptr;
  activity.store(on ? Activity::kOn : Activity::kOff, std::memory_order_relaxed);
  return on;
}

Provider* provider() {
  static constinit std::atomic<Provider*> one{nullptr};
  Provider* p = one.load(std::memory_order_acquire);
  if (p != nullptr || !active()) return p;
  KeepErrno keep;
  // No guard that a fork could leave locked: two threads may make one each, and the later one is dropped. It lives as
  // long as the process: functions are interposed until its last instruction.
  std::unique_ptr<Provider> made = make_provider();
  if (made == nullptr) {
    activity.store(Activity::kOff, std::memory_order_relaxed);
    return nullptr;
  }
  if (one.compare_exchange_strong(p, made.get(), std::memory_order_acq_rel)) return made.release();
  return p;
}

}  // namespace opennrt::emulator
