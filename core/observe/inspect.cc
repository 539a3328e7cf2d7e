// SPDX-License-Identifier: Apache-2.0
#include "core/observe/inspect.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <sstream>
#include <vector>

#include "core/common/per_process.h"
#include "core/observe/chrome_trace.h"

namespace opennrt::observe::inspect {
namespace {

constexpr std::uint64_t kSampleSpacingNs = 100'000'000;

struct CpuTimes {
  std::uint64_t busy = 0, total = 0;
};

struct Sample {
  std::uint64_t at_ns = 0;
  std::uint64_t memory_used = 0, memory_total = 0;  // bytes; total 0: not read
  std::vector<CpuTimes> cpus;
};

struct Inspection {
  Options options;
  bool with_runtime = false;
  std::string folder;
  std::vector<Sample> samples;

  bool traces() const { return options.enable && options.activities.test(kSystemProfile); }
  bool profiles() const { return (options.enable && options.activities.test(kDeviceProfile)) || options.on_fail; }
  bool samples_host() const {
    return options.enable && (options.activities.test(kHostMemory) || options.activities.test(kCpuUtil));
  }
};

struct State {
  std::mutex mutex;
  std::optional<Inspection> inspection;
};

std::atomic<bool> sampling{false};  // a hint: a child of fork(2) inherits it, but no inspection

/// Memory of the machine that is in use, as tools show it: MemTotal - MemAvailable of /proc/meminfo.
void read_memory(Sample& sample) {
  std::ifstream file("/proc/meminfo");
  std::uint64_t total = 0, available = 0, value = 0;
  for (std::string key, unit; file >> key >> value && std::getline(file, unit);) {
    if (key == "MemTotal:") total = value * 1024;
    if (key == "MemAvailable:") available = value * 1024;
  }
  if (available > total) return;
  sample.memory_total = total;
  sample.memory_used = total - available;
}

/// Lines cpu0, cpu1 … of /proc/stat: ticks of user, nice, system, idle, iowait, irq, softirq, steal.
void read_cpus(Sample& sample) {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line) && line.starts_with("cpu");) {
    if (line.starts_with("cpu ")) continue;
    std::istringstream fields(line);
    std::string name;
    fields >> name;
    CpuTimes times;
    std::uint64_t ticks = 0;
    for (int i = 0; i < 8 && fields >> ticks; ++i) {
      times.total += ticks;
      if (i != 3 && i != 4) times.busy += ticks;
    }
    sample.cpus.push_back(times);
  }
}

void take_sample(Inspection& inspection, std::uint64_t now) {
  Sample sample;
  sample.at_ns = now;
  if (inspection.options.activities.test(kHostMemory)) read_memory(sample);
  if (inspection.options.activities.test(kCpuUtil)) read_cpus(sample);
  inspection.samples.push_back(std::move(sample));
}

void add_samples(ChromeTrace& trace, const std::vector<Sample>& samples) {
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Sample& sample = samples[i];
    if (sample.memory_total > 0) {
      const double percent = 100.0 * static_cast<double>(sample.memory_used) / static_cast<double>(sample.memory_total);
      trace.counter(0, "mem_usage", sample.at_ns,
                    fmt::format(R"("usage":{},"percent_usage":{})", sample.memory_used, percent));
    }
    if (i == 0 || sample.cpus.empty() || sample.cpus.size() != samples[i - 1].cpus.size()) continue;
    std::string args;
    for (std::size_t cpu = 0; cpu < sample.cpus.size(); ++cpu) {
      const CpuTimes &before = samples[i - 1].cpus[cpu], &now = sample.cpus[cpu];
      const std::uint64_t total = now.total > before.total ? now.total - before.total : 0;
      const std::uint64_t busy = now.busy > before.busy ? std::min(now.busy - before.busy, total) : 0;
      const double util = total == 0 ? 0.0 : 100.0 * static_cast<double>(busy) / static_cast<double>(total);
      args += fmt::format(R"({}"cpu{}":{})", args.empty() ? "" : ",", cpu, util);
    }
    trace.counter(0, "cpu_util", sample.at_ns, args);
  }
}

/// The system trace and the samples, in one file.
Status write_system(const Inspection& inspection, const trace::Taken& taken) {
  std::uint64_t origin = UINT64_MAX;
  for (const trace::Event& event : taken.events) origin = std::min(origin, event.timestamp_ns);
  for (const Sample& sample : inspection.samples) origin = std::min(origin, sample.at_ns);
  ChromeTrace file(origin == UINT64_MAX ? 0 : origin);
  file.add(taken);
  add_samples(file, inspection.samples);
  if (const Status made = make_folder(inspection.folder); !made) return made;
  return file.write(profile::free_name(inspection.folder, "system_profile"),
                    fmt::format(R"("session_id":{},"dropped_events":{})", inspection.options.session, taken.dropped));
}

Status finish(Inspection inspection) {
  Status result;
  trace::Taken taken;
  if (inspection.samples_host()) take_sample(inspection, trace::now_ns());
  if (inspection.traces()) {
    auto stopped = trace::stop(trace::Client::kInspect);
    if (stopped)
      taken = std::move(*stopped);
    else
      result = tl::unexpected(stopped.error());
  }
  if (inspection.traces() || inspection.samples_host()) {
    const Status written = write_system(inspection, taken);
    if (!written && result) result = written;
  }
  if (inspection.profiles()) {
    const Status written = profile::inspect_stop();
    if (!written && result) result = written;
  }
  return result;
}

std::optional<Inspection> take_out(bool with_runtime_only) {
  State& state = per_process<State>();
  const std::lock_guard lock(state.mutex);
  if (!state.inspection || (with_runtime_only && !state.inspection->with_runtime)) return std::nullopt;
  sampling.store(false, std::memory_order_relaxed);
  std::optional<Inspection> taken = std::move(state.inspection);
  state.inspection.reset();
  return taken;
}

}  // namespace

Status begin(const Options& options, bool with_runtime) {
  State& state = per_process<State>();
  const std::lock_guard lock(state.mutex);
  if (state.inspection)
    return make_error(ErrorCode::kInvalidArgument, "an inspection is under way, expected nrt_inspect_stop first");
  Inspection fresh;
  fresh.options = options;
  fresh.with_runtime = with_runtime;
  fresh.folder = fmt::format("{}/{}_pid_{}", options.output_dir, host_name(), getpid());
  if (options.session != 1) fresh.folder += fmt::format("_session_{}", options.session);
  if (fresh.profiles()) {
    const bool always = options.enable && options.activities.test(kDeviceProfile);
    const Status started = profile::inspect_start(always ? options.device_mode : profile::InspectMode::kNone,
                                                  options.on_fail, fresh.folder);
    if (!started) return started;
  }
  if (fresh.traces()) {
    if (const Status started = trace::start(trace::Client::kInspect, options.trace); !started) {
      if (fresh.profiles()) (void)profile::inspect_stop();
      return started;
    }
  }
  if (fresh.samples_host()) {
    take_sample(fresh, trace::now_ns());
    sampling.store(true, std::memory_order_relaxed);
  }
  state.inspection = std::move(fresh);
  return {};
}

Status stop() {
  auto inspection = take_out(false);
  if (!inspection)
    return make_error(ErrorCode::kInvalidArgument, "no inspection is under way, expected nrt_inspect_begin first");
  return finish(std::move(*inspection));
}

Status end_with_runtime() {
  auto inspection = take_out(true);
  return inspection ? finish(std::move(*inspection)) : Status();
}

void sample() noexcept {
  if (!sampling.load(std::memory_order_relaxed)) return;
  try {
    State& state = per_process<State>();
    const std::lock_guard lock(state.mutex);
    if (!state.inspection || !state.inspection->samples_host()) return;
    const std::uint64_t now = trace::now_ns();
    if (now < state.inspection->samples.back().at_ns + kSampleSpacingNs) return;
    take_sample(*state.inspection, now);
  } catch (const std::exception&) {  // no memory for one more sample
  }
}

}  // namespace opennrt::observe::inspect
