// SPDX-License-Identifier: Apache-2.0
//
// Registers, semaphores, events, reset.
#include <algorithm>
#include <cerrno>
#include <vector>

#include "backends/neuron/device.h"

namespace opennrt::neuron {
namespace {

/// Registers that one request reads through the firmware (v1/neuron_dhal_v1.c,
/// FW_IO_MAX_READLESS_READ_REGISTER_COUNT).
constexpr std::size_t kReadMax = 100;
constexpr std::size_t kWriteMax = 1024;
constexpr std::uint64_t kResetPollNs = 1'000'000;

}  // namespace

// ---- registers ----

std::uint64_t Device::bar_address(std::uint32_t bar) const {
  // Requests name registers by the addresses at which DEVICE_INFO says that the BARs are.
  return info_->bar_address[bar == 0 ? 0 : 1];
}

int Device::bar_run(bool write, std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values) {
  std::vector<std::uint64_t> addresses(offsets.size());
  std::transform(offsets.begin(), offsets.end(), addresses.begin(),
                 [&](std::uint64_t offset) { return bar_address(bar) + offset; });
  abi::BarRw request{bar,
                     0,
                     reinterpret_cast<std::uintptr_t>(addresses.data()),
                     reinterpret_cast<std::uintptr_t>(values),
                     static_cast<std::uint32_t>(offsets.size()),
                     0};
  return file_.request(write ? abi::kBarWrite : abi::kBarRead, &request);
}

int Device::bar_read(std::uint32_t bar, std::span<const std::uint64_t> offsets, std::uint32_t* values) {
  if (bar != 0 && bar != 2) return -EINVAL;  // the driver serves no other
  if (const int error = ask_info(); error != 0) return error;
  // BAR 2 is read one by one: the driver takes one address only, and looks for as many as there are values.
  const std::size_t most = bar == 0 ? kReadMax : 1;
  for (std::size_t at = 0; at < offsets.size(); at += most) {
    const std::size_t part = std::min(most, offsets.size() - at);
    if (const int error = bar_run(false, bar, offsets.subspan(at, part), values + at); error != 0) return error;
  }
  return 0;
}

int Device::bar_write(std::uint32_t bar, std::span<const std::uint64_t> offsets, const std::uint32_t* values) {
  if (bar != 0 && bar != 2) return -EINVAL;
  if (const int error = ask_info(); error != 0) return error;
  for (std::size_t at = 0, part = 0; at < offsets.size(); at += part) {
    // To BAR 2 one request writes consecutive registers from the first address (ncdev_bar_write_data_v1).
    const std::size_t most = std::min(kWriteMax, offsets.size() - at);
    part = 1;
    while (part < most && (bar == 0 || offsets[at + part] == offsets[at + part - 1] + 4)) ++part;
    // The request reads the values; its type does not say so.
    const int error = bar_run(true, bar, offsets.subspan(at, part), const_cast<std::uint32_t*>(values + at));
    if (error != 0) return error;
  }
  return 0;
}

// ---- semaphores, events ----

int Device::semaphore(unsigned long request, std::uint32_t core, std::uint32_t index, std::uint32_t& value) {
  // Beyond the last one are other registers. The driver cuts an index to 16 bits before it looks at it; of events it does not
  // check the core, and lets index 256 pass (neuron_core.c).
  if (core >= kCores || index >= inf1::kSemaphores) return -EINVAL;
  abi::Semaphore argument{core, index, value};
  const int error = file_.request(request, &argument);
  if (error == 0) value = argument.value;
  return error;
}

int Device::event_get(std::uint32_t core, std::uint32_t index, std::uint32_t& value) {
  if (core >= kCores || index >= inf1::kEvents) return -EINVAL;
  abi::Event argument{core, index, 0};
  if (const int error = file_.request(abi::kEventGet, &argument); error != 0) return error;
  value = argument.value;
  return 0;
}

int Device::event_set(std::uint32_t core, std::uint32_t index, std::uint32_t value) {
  if (core >= kCores || index >= inf1::kEvents) return -EINVAL;
  abi::Event argument{core, index, value};
  return file_.request(abi::kEventSet, &argument);
}

int Device::clear_core(std::uint32_t core) {
  for (std::uint32_t i = 0; i < inf1::kSemaphores; ++i) {
    std::uint32_t zero = 0;
    if (const int error = semaphore(abi::kSemaphoreWrite, core, i, zero); error != 0) return error;
  }
  for (std::uint32_t i = 0; i < inf1::kEvents; ++i) {
    if (const int error = event_set(core, i, 0); error != 0) return error;
  }
  return 0;
}

// ---- reset ----

int Device::reset_device(std::int32_t& result) {
  if (const int error = file_.request(abi::kDeviceReset, nullptr); error != 0) return error;
  std::uint8_t done = 0;
  const int error = file_.request(abi::kDeviceReady, &done);
  result = done == 0 ? 1 : 0;
  return error;
}

int Device::reset_cores(std::uint32_t core_map, std::int32_t& result) {
  abi::DeviceReset start{core_map, 0};
  if (const int error = file_.request(abi::kNcReset, &start); is_unknown_request(error)) {
    // Drivers that reset whole devices only: what others have on it, or we on its other cores, would be gone.
    constexpr std::uint32_t kAll = (1u << kCores) - 1;
    return core_map == abi::kNcMapDevice || core_map == kAll ? reset_device(result) : -ENOTSUP;
  } else if (error != 0) {
    // It says "no" with a positive number when it has no memory or the process has one outstanding.
    return error == -EFAULT ? -EBUSY : error;
  }
  for (;;) {
    abi::DeviceReady ready{start.request_id, 0};
    if (const int error = file_.request(abi::kNcResetReady, &ready); error != 0) return error;
    result = ready.result;
    // A signal that would end the process ends its wait, too, if it is pending; whoever blocks it waits on.
    if (result != -EINTR) return 0;
    file_.system().sleep(kResetPollNs);
  }
}

int Device::reset_start(std::uint32_t core_map, std::uint32_t& request) {
  if (core_map != abi::kNcMapDevice && (core_map == 0 || core_map >> kCores != 0)) return -EINVAL;
  // The driver knows one outstanding reset per process and device (neuron_reset.c: a request's number is its process's).
  // So each is awaited before the next may begin.
  const std::lock_guard order(reset_mutex_);
  std::int32_t result = 0;
  if (const int error = reset_cores(core_map, result); error != 0) return error;
  // The driver has taken the cores' notification queues away and given back their memory (nnq_destroy_nc).
  for (std::uint32_t core = 0; core < kCores; ++core) {
    if (core_map != abi::kNcMapDevice && (core_map >> core & 1) == 0) continue;
    {
      const std::lock_guard guard(queues_[core].mutex);
      for (Queue& queue : queues_[core].queues) {
        queue.armed = false;  // still mapped for whoever reads it; nq_init makes another
        queue.written = queue.left_over = 0;
      }
    }
    bool sign = false;
    {
      const std::lock_guard guard(lock_mutex_);
      sign = signed_[core];
    }
    if (sign) sign_core(core);  // where a reset drops the locks of models
  }
  if (result != 0) {
    log_.error("reset", "nd{}: the reset of cores {:#x} failed with {}; the kernel's log says more", number_, core_map,
               result);
  }
  request = ++last_reset_;
  resets_[request] = result;
  return 0;
}

int Device::reset_wait(std::uint32_t request, std::int32_t& result) {
  const std::lock_guard order(reset_mutex_);
  const auto found = resets_.find(request);
  if (found == resets_.end()) return -EINVAL;
  result = found->second;
  resets_.erase(found);
  return 0;
}

}  // namespace opennrt::neuron
