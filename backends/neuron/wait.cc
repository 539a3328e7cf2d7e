// SPDX-License-Identifier: Apache-2.0
//
// Time, and waiting for the device. Inf1's driver has neither interrupts nor a blocking request for notifications: on silicon
// the queues are looked at.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "backends/neuron/device.h"

namespace opennrt::neuron {
namespace {

// At first without pause, for what takes microseconds, then with growing ones: a wait never costs more than a tenth of
// what has been waited for already.
constexpr int kSpins = 1000, kYields = 1000;
constexpr std::uint64_t kPauseMinNs = 10'000, kPauseMaxNs = 1'000'000;

}  // namespace

int Device::clock(std::uint64_t& nanoseconds) {
  if (!paravirtual_) {
    nanoseconds = file_.system().now_ns();
    return 0;
  }
  paravirtual::Clock request{paravirtual::kClockNow, 0, 0};
  const int error = file_.request(paravirtual::kClock, &request);
  nanoseconds = request.nanoseconds;
  return error;
}

int Device::work_started(std::uint32_t core, std::uint64_t& nanoseconds) {
  if (core >= kCores) return -EINVAL;
  if (!paravirtual_) {
    nanoseconds = starts_[core].ns;
    return 0;
  }
  paravirtual::Clock request{core, 0, 0};
  const int error = file_.request(paravirtual::kClock, &request);
  nanoseconds = request.nanoseconds;
  return error;
}

int Device::poll(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline) {
  Syscalls& system = file_.system();
  const std::uint64_t begin = system.now_ns();
  std::uint64_t left_over = 0;
  for (int round = 0;; ++round) {
    if (written(core, left_over) > seen) return 0;
    if (round < kSpins) continue;
    const std::uint64_t now = system.now_ns();
    if (now >= deadline) return written(core, left_over) > seen ? 0 : -ETIMEDOUT;
    std::uint64_t pause = 0;
    if (round >= kSpins + kYields) pause = std::clamp((now - begin) / 10, kPauseMinNs, kPauseMaxNs);
    system.sleep(std::min(pause, deadline - now));
  }
}

int Device::wait(std::uint32_t core, std::uint64_t seen, std::uint64_t deadline) {
  if (core >= kCores) return -EINVAL;
  if (!paravirtual_) {
    const int result = poll(core, seen, deadline);
    starts_[core].open = false;
    return result;
  }
  // The emulator counts what it has written to all queues of the driver's; the caller, what is in those that it has.
  std::uint64_t left_over = 0;
  written(core, left_over);
  std::array<char, 2048> text{};
  paravirtual::Wait request{core,
                            0,
                            seen + left_over,
                            deadline,
                            reinterpret_cast<std::uintptr_t>(text.data()),
                            static_cast<std::uint32_t>(text.size()),
                            0};
  const int result = file_.request(paravirtual::kWait, &request);
  if (result == -ETIMEDOUT && text.front() != '\0')
    log_.error("wait", "{}", std::string(text.data(), strnlen(text.data(), text.size())));
  return result;
}

int Device::pass_marker(std::string_view name) {
  if (!emulator_) return 0;
  const std::size_t bytes = std::min<std::size_t>(name.size(), paravirtual::kLongestMarker);
  paravirtual::Marker request{reinterpret_cast<std::uintptr_t>(name.data()), static_cast<std::uint32_t>(bytes), 0};
  return file_.request(paravirtual::kMarker, &request);
}

}  // namespace opennrt::neuron
