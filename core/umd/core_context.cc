// SPDX-License-Identifier: Apache-2.0
#include "core/umd/core_context.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "core/umd/driver_call.h"

namespace opennrt::umd {
namespace {

using inf1::chosen::ErrorNotification;
using inf1::chosen::Notification;

constexpr std::uint32_t kNotifyQueueBytes =
    64 * 1024;  // 4096 entries: a program may notify that often between two looks
constexpr std::uint32_t kErrorQueueBytes = 16 * 1024;
constexpr std::uint8_t kDmaSender = 3;  // Notification::engine of a DMA queue

std::string sender(const Notification& entry) {
  return entry.engine < isa::kEngines ? std::string(isa::engine_name(static_cast<isa::Engine>(entry.engine)))
                                      : fmt::format("sender {}", entry.engine);
}

/// A notification queue, as an overflow names it: type << 8 | engine.
std::string queue_of(std::uint32_t value) {
  constexpr const char* kTypes[] = {"trace", "notify", "event", "error"};
  const std::uint32_t type = value >> 8 & 3, engine = value & 0xff;
  if (type > 1 || engine >= isa::kEngines) return fmt::format("the {} queue", kTypes[type]);
  return fmt::format("the {} queue of {}", kTypes[type], isa::engine_name(static_cast<isa::Engine>(engine)));
}

struct Fault {
  Outcome outcome;
  bool stops;  ///< the inference cannot end by itself any more
  std::string_view text;
};

/// What an error notification means (documented names: aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst).
Fault fault_of(std::uint8_t code) {
  switch (static_cast<ErrorNotification>(code)) {
    case ErrorNotification::kNumerical:
      return {Outcome::kCompletedWithNumericalError, false,
              "numerical error (INFER_ERROR_SUBTYPE_NUMERICAL): a NaN was produced"};
    case ErrorNotification::kIllegalInstruction:
      return {Outcome::kIllegalInstruction, true, "illegal instruction"};
    case ErrorNotification::kOutOfBounds:
      return {Outcome::kOutOfBounds, true, "out-of-bounds access"};
    case ErrorNotification::kSramUncorrectable:
      return {Outcome::kSramUncorrectable, true, "uncorrectable SRAM error"};
    case ErrorNotification::kDramUncorrectable:
      return {Outcome::kDramUncorrectable, true, "uncorrectable DRAM error"};
    case ErrorNotification::kDmaAbort:
      return {Outcome::kDmaAbort, true, "DMA abort"};
    case ErrorNotification::kSemaphore:
      return {Outcome::kCompletedWithError, false, "semaphore error: it counted below 0 or above 65535"};
    case ErrorNotification::kEvent:
      return {Outcome::kCompletedWithError, false, "event error: it was set twice or cleared twice"};
    case ErrorNotification::kQueueOverflow:
      return {Outcome::kNotificationOverflow, true, "notification queue overflow: an entry was lost"};
    case ErrorNotification::kNone:
      break;
  }
  return {Outcome::kCompletedWithError, true, "unknown error notification"};
}

}  // namespace

/// What the notifications of one inference have said so far.
struct CoreContext::Progress {
  std::uint32_t end_value = 0;
  const std::function<std::string(std::uint32_t, std::uint32_t)>* queue_name = nullptr;
  std::array<std::uint32_t, isa::kEngines> ends{};
  bool traced = false;  ///< trace queues are there
  std::uint32_t device = 0, core = 0;
  std::uint64_t errors = 0;
  bool stopped = false;
  Ending ending;

  bool done() const { return stopped || (ends[0] > 0 && ends[1] > 0 && ends[2] > 0); }

  void take(const Notification& entry) {
    if (entry.type == static_cast<std::uint8_t>(inf1::NotificationType::kError)) return take_error(entry);
    if (entry.type != static_cast<std::uint8_t>(inf1::NotificationType::kNotify) || entry.value != end_value) return;
    if (entry.engine >= isa::kEngines) return;
    ++ends[entry.engine];
    ending.last_end_ns = std::max(ending.last_end_ns, entry.time_ns);
  }

  void take_error(const Notification& entry) {
    // A profile with holes is no reason to fail an inference (value: notifier.cc of the simulator, type << 8 | engine).
    if (traced && static_cast<ErrorNotification>(entry.code) == ErrorNotification::kQueueOverflow &&
        entry.value >> 8 == static_cast<std::uint32_t>(inf1::NotificationType::kTrace))
      return;
    Fault fault = fault_of(entry.code);
    ++errors;
    // The first that stops the inference names it; before that, the worst of those that let it go on.
    bool first = errors == 1 || (fault.stops && !stopped) ||
                 (!stopped && ending.outcome == Outcome::kCompletedWithNumericalError &&
                  fault.outcome == Outcome::kCompletedWithError);
    if (!first) return;
    ending.outcome = fault.outcome;
    // What the documented console text is, is part of the message (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst,
    // "Hardware Errors").
    const std::uint32_t engine = entry.value >> 8 & 0xff, queue = entry.value & 0xff;
    if (fault.outcome == Outcome::kSramUncorrectable)
      ending.message = fmt::format(
          "[ND {}][NC {}] Uncorrectable memory error is detected, metadata: {:#x}. Please terminate or stop/start this "
          "instance to prevent future impact from the hardware error. ({})",
          device, core, entry.value, fault.text);
    else if (fault.outcome == Outcome::kDramUncorrectable)
      ending.message = fmt::format(
          "Uncorrectable HBM memory error is detected. Execution results may be invalid. Please terminate this "
          "instance "
          "to prevent future impact from the hardware error. ({}, channel {} of Neuron Device {})",
          fault.text, entry.value, device);
    else if (fault.outcome == Outcome::kDmaAbort && entry.engine == kDmaSender)
      ending.message = fmt::format(
          "[MLA {}][NC {}] DMA {} engine {} is in an abort state: {} on DMA engine {} queue {} ({})", device, core,
          (entry.value >> 16 & 1) != 0 ? "RX" : "TX", engine, fault.text, engine, queue, (*queue_name)(engine, queue));
    else if (entry.engine == kDmaSender)
      ending.message =
          fmt::format("{} on DMA engine {} queue {} ({})", fault.text, engine, queue, (*queue_name)(engine, queue));
    else if (fault.outcome == Outcome::kNotificationOverflow)
      ending.message = fmt::format("{} in {}", fault.text, queue_of(entry.value));
    else
      ending.message = fmt::format("{} at instruction {} of {}", fault.text, entry.value, sender(entry));
    if (static_cast<ErrorNotification>(entry.code) == ErrorNotification::kNone ||
        entry.code > static_cast<std::uint8_t>(ErrorNotification::kQueueOverflow))
      ending.message += fmt::format(" (code {})", entry.code);
    stopped = stopped || fault.stops;
    ending.needs_recovery = ending.needs_recovery || fault.outcome != Outcome::kCompletedWithNumericalError;
  }
};

Result<std::unique_ptr<CoreContext>> CoreContext::create(Device& device, std::uint32_t core) {
  std::unique_ptr<CoreContext> context(new CoreContext(device, core));
  for (std::uint32_t i = 0; i < inf1::kDmaEnginesPerCore; ++i) {
    int result = call(device.api().dma_engine_set_state, device.handle(), core * inf1::kDmaEnginesPerCore + i,
                      OPENNRT_DMA_NORMAL);
    if (result != 0 && result != -ENOTSUP) return driver_error(result, "dma_engine_set_state", device.number());
  }
  if (auto status = context->make_queues(); !status) return tl::unexpected(status.error());
  return context;
}

CoreContext::~CoreContext() {
  destroy_queues();
}

Status CoreContext::make_queues() {
  for (std::size_t i = 0; i < kFirstTraceQueue; ++i) {
    Queue& queue = queues_[i];
    bool notify = i < isa::kEngines;
    queue.type = notify ? OPENNRT_NQ_NOTIFY : OPENNRT_NQ_ERROR;
    queue.engine = notify ? static_cast<std::uint32_t>(i) : 0;
    int result = call(device_.api().nq_init, device_.handle(), core_, queue.type, queue.engine,
                      notify ? kNotifyQueueBytes : kErrorQueueBytes, &queue.nq);
    if (result != 0) return driver_error(result, "nq_init", device_.number());
    queue.made = true;
    queue.consumed = 0;
    if (queue.nq.entries == nullptr || queue.nq.bytes < sizeof(Notification) ||
        (queue.nq.bytes & (queue.nq.bytes - 1)) != 0)
      return make_error(ErrorCode::kInternal,
                        "nq_init on Neuron Device {}: the queue has {} bytes, expected a mapped power of two",
                        device_.number(), queue.nq.bytes);
  }
  seen_ = 0;
  return {};
}

void CoreContext::destroy_queues() {
  for (Queue& queue : queues_) {
    if (queue.made) call(device_.api().nq_destroy, device_.handle(), core_, queue.type, queue.engine);
    queue.made = false;
  }
}

std::uint64_t CoreContext::drain(const std::function<void(const Notification&)>& take) {
  std::uint64_t taken = 0;
  for (Queue& queue : queues_) {
    if (!queue.made) continue;
    const std::uint64_t room = queue.nq.bytes / sizeof(Notification);
    const auto* base = static_cast<const std::byte*>(const_cast<const void*>(queue.nq.entries));
    std::uint64_t before = queue.consumed;
    for (;;) {
      const std::byte* at = base + (queue.consumed % room) * sizeof(Notification);
      const std::uint8_t expected = (queue.consumed / room) % 2 == 0 ? 1 : 0;
      // The device writes the phase last; what it wrote before is there once the phase is.
      if (__atomic_load_n(reinterpret_cast<const std::uint8_t*>(at), __ATOMIC_ACQUIRE) != expected) break;
      Notification entry;
      std::memcpy(&entry, at, sizeof(entry));
      ++queue.consumed;
      if (queue.type == OPENNRT_NQ_TRACE)
        traced_[queue.engine].push_back(entry);
      else
        take(entry);
      // A queue that fills as fast as it is read must not keep us from the others.
      if (queue.consumed - before >= room) break;
    }
    if (queue.consumed != before)
      call(device_.api().nq_consume, device_.handle(), core_, queue.type, queue.engine, queue.consumed);
    taken += queue.consumed - before;
  }
  seen_ += taken;
  return taken;
}

void CoreContext::drop_notifications() {
  drain([](const Notification&) {});
  for (auto& entries : traced_) entries.clear();
}

Status CoreContext::start_trace(std::uint32_t bytes_per_engine) {
  for (auto& entries : traced_) entries.clear();
  for (std::uint32_t engine = 0; engine < isa::kEngines; ++engine) {
    Queue& queue = queues_[kFirstTraceQueue + engine];
    if (queue.made) continue;  // it could not be destroyed
    queue = {OPENNRT_NQ_TRACE, engine, {}, 0, false};
    const int result =
        call(device_.api().nq_init, device_.handle(), core_, queue.type, queue.engine, bytes_per_engine, &queue.nq);
    const bool usable = result == 0 && queue.nq.entries != nullptr && queue.nq.bytes >= sizeof(Notification);
    if (usable) {
      queue.made = true;
      continue;
    }
    (void)stop_trace();
    return driver_error(result == 0 ? -ENOTSUP : result, "nq_init of a trace queue", device_.number());
  }
  return {};
}

CoreContext::Traced CoreContext::stop_trace() {
  drain([](const Notification&) {});  // between inferences nothing else is expected
  for (std::size_t i = kFirstTraceQueue; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!queue.made) continue;
    // One that is still there goes on to be read: wait() counts the entries of all queues that there are.
    if (call(device_.api().nq_destroy, device_.handle(), core_, queue.type, queue.engine) != 0) continue;
    seen_ -= queue.consumed;
    queue.made = false;
  }
  return std::exchange(traced_, {});
}

Status CoreContext::wait_for_notification(std::uint64_t deadline_ns, bool& timed_out) {
  const auto& api = device_.api();
  timed_out = false;
  if (api.wait != nullptr) {
    int result = api.wait(device_.handle(), core_, seen_, deadline_ns);
    if (result == -ETIMEDOUT)
      timed_out = true;
    else if (result != 0)
      return driver_error(result, "wait", device_.number());
    return {};
  }
  // No wait(): look at the phase bits, first at once, then with growing pauses.
  constexpr int kSpins = 200, kYields = 2000;
  for (int round = 0;; ++round) {
    for (const Queue& queue : queues_) {
      if (!queue.made) continue;
      const std::uint64_t room = queue.nq.bytes / sizeof(Notification);
      const auto* base = static_cast<const std::uint8_t*>(const_cast<const void*>(queue.nq.entries));
      const std::uint8_t expected = (queue.consumed / room) % 2 == 0 ? 1 : 0;
      if (__atomic_load_n(base + (queue.consumed % room) * sizeof(Notification), __ATOMIC_ACQUIRE) == expected)
        return {};
    }
    std::uint64_t now = 0;
    int result = call(api.clock, device_.handle(), &now);
    if (result != 0) return driver_error(result, "clock", device_.number());
    if (now >= deadline_ns) {
      timed_out = true;
      return {};
    }
    if (round > kSpins + kYields)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    else if (round > kSpins)
      std::this_thread::yield();
  }
}

Result<Ending> CoreContext::wait_for_end(std::uint32_t end_value, std::uint64_t timeout_ns, std::uint64_t deadline_ns,
                                         const std::function<std::string(std::uint32_t, std::uint32_t)>& queue_name) {
  Progress progress;
  progress.end_value = end_value;
  progress.queue_name = &queue_name;
  progress.traced = queues_[kFirstTraceQueue].made;
  progress.device = device_.number();
  progress.core = core_;
  auto take = [&](const Notification& entry) { progress.take(entry); };
  Backend::take_error_text();
  bool timed_out = false;
  for (;;) {
    std::uint64_t taken = drain(take);
    if (progress.done() || (timed_out && taken == 0)) break;
    if (taken != 0) continue;
    if (auto status = wait_for_notification(deadline_ns, timed_out); !status) return tl::unexpected(status.error());
  }
  Ending& ending = progress.ending;
  if (progress.done()) {
    // Errors that the last instructions raised are in another queue than the ends.
    if (!progress.stopped) drain(take);
    if (progress.errors > 1) ending.message += fmt::format(" ({} more error notifications)", progress.errors - 1);
    return ending;
  }
  std::string missing;
  for (std::size_t i = 0; i < isa::kEngines; ++i)
    if (progress.ends[i] == 0)
      missing += fmt::format("{} (end:{}) of {}", missing.empty() ? "missing infer_status notification:" : ",", i,
                             isa::engine_name(static_cast<isa::Engine>(i)));
  std::string text = fmt::format(
      "inference timeout ({} ms) on Neuron Device {} NC {}, waiting for execution completion notification; {}",
      timeout_ns / 1'000'000, device_.number(), core_, missing);
  if (!ending.message.empty()) text += "; before that: " + ending.message;
  if (std::string said = Backend::take_error_text(); !said.empty()) text += "; " + said;
  ending.outcome = Outcome::kTimeout;
  ending.message = std::move(text);
  ending.needs_recovery = true;
  return ending;
}

Result<std::string> CoreContext::clear_semaphores() {
  std::string left;
  for (std::uint32_t i = 0; i < inf1::kSemaphores; ++i) {
    std::uint32_t value = 0;
    int result = call(device_.api().semaphore_read, device_.handle(), core_, i, &value);
    if (result != 0) return driver_error(result, "semaphore_read", device_.number());
    if (value == 0) continue;
    left += fmt::format("{}semaphore {} is {}", left.empty() ? "" : ", ", i, value);
    result = call(device_.api().semaphore_write, device_.handle(), core_, i, 0u);
    if (result != 0) return driver_error(result, "semaphore_write", device_.number());
  }
  return left;
}

Status CoreContext::bring_back() {
  const auto& api = device_.api();
  int result = call(api.dma_quiesce, device_.handle(), core_);
  if (result != 0 && result != -ENOTSUP) return driver_error(result, "dma_quiesce", device_.number());
  std::uint32_t request = 0;
  result = call(api.reset_start, device_.handle(), 1u << core_, &request);
  if (result != 0) return driver_error(result, "reset_start", device_.number());
  std::int32_t answer = 0;
  result = call(api.reset_wait, device_.handle(), request, &answer);
  if (result != 0) return driver_error(result, "reset_wait", device_.number());
  if (answer != 0)
    return make_error(ErrorCode::kHardware, "the reset of NC {} of Neuron Device {} failed with {}", core_,
                      device_.number(), answer);
  for (std::uint32_t i = 0; i < inf1::kDmaEnginesPerCore; ++i) {
    result = call(api.dma_engine_set_state, device_.handle(), core_ * inf1::kDmaEnginesPerCore + i, OPENNRT_DMA_NORMAL);
    if (result != 0 && result != -ENOTSUP) return driver_error(result, "dma_engine_set_state", device_.number());
  }
  destroy_queues();
  if (auto status = make_queues(); !status) return status;
  auto left = clear_semaphores();
  if (!left) return tl::unexpected(left.error());
  for (std::uint32_t i = 0; i < inf1::kEvents; ++i) {
    std::uint32_t value = 0;
    result = call(api.event_get, device_.handle(), core_, i, &value);
    if (result == 0 && value != 0) result = call(api.event_set, device_.handle(), core_, i, 0u);
    if (result != 0) return driver_error(result, "event_get/event_set", device_.number());
  }
  return {};
}

Status CoreContext::recover() {
  auto status = bring_back();
  if (!status)
    unrecoverable_ = fmt::format("NC {} of Neuron Device {} could not be brought back after a failed inference: {}",
                                 core_, device_.number(), status.error().message);
  return status;
}

}  // namespace opennrt::umd
