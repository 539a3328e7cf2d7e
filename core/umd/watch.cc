// SPDX-License-Identifier: Apache-2.0
#include "core/umd/watch.h"

#include <atomic>
#include <new>
#include <utility>

#include "core/observe/inspect.h"
#include "core/observe/log.h"
#include "core/observe/trace.h"

namespace opennrt::umd {
namespace {

namespace trace = observe::trace;
using inf1::chosen::Notification;
using inf1::chosen::TraceCode;

/// The device itself has said that the inference failed.
bool reported_by_hardware(Outcome outcome) {
  return outcome == Outcome::kSramUncorrectable || outcome == Outcome::kDramUncorrectable ||
         outcome == Outcome::kDmaAbort || outcome == Outcome::kNotificationOverflow;
}

std::uint64_t next_exec_id() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

observe::profile::EngineActivity activity_of(isa::Engine engine, const std::vector<Notification>& entries,
                                             std::uint64_t began_ns,
                                             std::shared_ptr<const std::vector<std::string>> text) {
  observe::profile::EngineActivity activity;
  activity.name = isa::engine_name(engine);
  activity.program_instructions = text == nullptr ? 0 : text->size();
  activity.texts = std::move(text);
  // The device counts instructions since its reset; the first entry of an inference is that of the program's first instruction,
  // because the queue was empty then.
  const std::uint32_t base = entries.empty() ? 0 : entries.front().value;
  std::uint64_t last_end = began_ns;
  const Notification* started = nullptr;
  for (const Notification& entry : entries) {
    if (entry.code == static_cast<std::uint8_t>(TraceCode::kStarted)) {
      started = &entry;
      continue;
    }
    const bool known = started != nullptr && started->value == entry.value;
    activity.instructions.push_back({entry.value - base, known ? started->time_ns : last_end, entry.time_ns});
    last_end = entry.time_ns;
    started = nullptr;
  }
  const std::uint64_t expected = 2 * activity.program_instructions;
  activity.lost_entries = expected > entries.size() ? expected - entries.size() : 0;
  return activity;
}

InferenceWatch::InferenceWatch(CoreContext& context, Device& device, const observe::profile::ProgramId* id)
    : context_(context), device_(device), id_(id) {
  if (id == nullptr) return;
  const std::uint64_t before = context.ran(id->model);
  traced_ = trace::on();
  profiled_ = observe::profile::wanted(*id);
  if (!traced_ && !profiled_) return;
  exec_id_ = next_exec_id();
  host_begin_ns_ = trace::now_ns();
  begin_ = std::chrono::steady_clock::now();
  if (profiled_) {
    if (const Status started = context.start_trace(); !started) untraced_ = started.error().message;
  }
  if (traced_ && before != 0 && before != id->model) {
    trace::Event event;
    event.type = trace::kNrtModelSwitch;
    event.thread = trace::thread_id();
    event.id = trace::next_id();
    event.parent_id = trace::parent();
    event.exec_id = exec_id_;
    event.timestamp_ns = host_begin_ns_;
    event.subject = {trace::Subject::Kind::kModel, static_cast<std::int32_t>(id->vnc), id->model_name, id->neff, 0};
    trace::record(std::move(event));
  }
}

InferenceWatch::~InferenceWatch() {
  if (profiled_) (void)context_.stop_trace();
}

void InferenceWatch::finish(const ExecutionReport& report, std::uint64_t began_ns, std::int64_t notification_shift_ns,
                            const std::function<ProgramText()>& text) {
  if (!traced_ && !profiled_) return;
  const auto took = std::chrono::steady_clock::now() - begin_;
  host_ns_ = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
  sync_device_ns_ = device_.clock_ns();
  sync_host_ns_ = trace::now_ns();
  try {
    if (traced_) trace(report, began_ns);
    if (profiled_) profile(report, began_ns, notification_shift_ns, text());
  } catch (const std::bad_alloc&) {
    observe::write(observe::Component::kTdrv, observe::Level::kError, "nrt_profile",
                   "no memory to record an inference, its profile is lost");
  }
  observe::inspect::sample();
}

void InferenceWatch::trace(const ExecutionReport& report, std::uint64_t began_ns) {
  const trace::Subject subject{trace::Subject::Kind::kModel, static_cast<std::int32_t>(id_->vnc), id_->model_name,
                               id_->neff, 0};
  const auto record = [&](trace::Type type, std::uint64_t at_ns, std::uint64_t duration_ns, std::uint64_t device_ns) {
    trace::Event event;
    event.type = type;
    event.thread = trace::thread_id();
    event.id = trace::next_id();
    event.parent_id = trace::parent();
    event.exec_id = exec_id_;
    event.timestamp_ns = at_ns;
    event.duration_ns = duration_ns;
    event.device_ns = device_ns;
    event.subject = subject;
    trace::record(std::move(event));
  };
  record(trace::kDeviceExec, host_begin_ns_, host_ns_, 0);
  // aws-neuron-sdk archive/profiler/neuron-profiler-2-0-beta-user-guide.rst, "How Timestamp Adjustment Works".
  record(trace::kNcExecRunning, sync_host_ns_ + began_ns - sync_device_ns_, report.device_ns, began_ns);
  record(trace::kTimestampSyncPoint, sync_host_ns_, 0, sync_device_ns_);
  const std::uint64_t end = began_ns + report.device_ns;
  const auto at_end = [&](trace::Type type) { record(type, sync_host_ns_ + end - sync_device_ns_, 0, end); };
  if (report.outcome == Outcome::kCompletedWithNumericalError) at_end(trace::kNumericalErr);
  if (reported_by_hardware(report.outcome)) at_end(trace::kHwNotify);
  trace::note(subject);
}

void InferenceWatch::profile(const ExecutionReport& report, std::uint64_t began_ns, std::int64_t notification_shift_ns,
                             const ProgramText& text) {
  CoreContext::Traced traced = context_.stop_trace();
  for (auto& entries : traced)
    for (auto& entry : entries) entry.time_ns += static_cast<std::uint64_t>(notification_shift_ns);
  observe::profile::Inference inference;
  inference.program = *id_;
  inference.exec_id = exec_id_;
  inference.failed = report.outcome != Outcome::kCompleted;
  inference.message = report.message;
  inference.untraced = untraced_;
  inference.host_begin_ns = host_begin_ns_;
  inference.host_ns = host_ns_;
  inference.device_begin_ns = began_ns;
  inference.device_ns = report.device_ns;
  inference.sync_host_ns = sync_host_ns_;
  inference.sync_device_ns = sync_device_ns_;
  for (std::size_t e = 0; untraced_.empty() && e < isa::kEngines; ++e)
    inference.engines.push_back(activity_of(static_cast<isa::Engine>(e), traced[e], began_ns, text[e]));
  observe::profile::submit(std::move(inference));
}

}  // namespace opennrt::umd
