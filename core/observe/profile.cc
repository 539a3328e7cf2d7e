// SPDX-License-Identifier: Apache-2.0
#include "core/observe/profile.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "core/common/per_process.h"
#include "core/observe/chrome_trace.h"
#include "core/observe/log.h"

namespace opennrt::observe::profile {
namespace detail {
std::atomic<std::uint32_t> clients{0};
}
namespace {

using Shared = std::shared_ptr<const Inference>;

// About 100 MB; beyond it inferences are only counted.
constexpr std::uint64_t kMaxInstructions = 4'000'000;

/// Inferences for one file.
struct Recording {
  std::vector<Shared> inferences;
  std::uint64_t instructions = 0, lost = 0;

  void add(const Shared& inference) {
    std::uint64_t more = 1;
    for (const EngineActivity& engine : inference->engines) more += engine.instructions.size();
    if (instructions + more > kMaxInstructions) {
      ++lost;
      return;
    }
    inferences.push_back(inference);
    instructions += more;
  }
};

struct Inspection {
  InspectMode mode = InspectMode::kNone;
  bool on_fail = false;
  std::string folder;
  std::set<std::pair<std::uint64_t, std::uint32_t>> seen;  // NEFF, core
  Recording recording;
};

struct Profiles {
  struct OfModel {
    std::uint64_t model = 0;
    Recording recording;
  };
  std::mutex mutex;
  std::map<std::string, OfModel> by_file;
  bool continuous = false;
  std::map<std::uint32_t, Shared> latest;
  std::optional<Inspection> inspection;
};

std::string_view mnemonic(std::string_view text) {
  return text.substr(0, text.find(' '));
}

constexpr std::int64_t kInferenceRow = 0, kFirstEngineRow = 1;

void add_inference(ChromeTrace& trace, const Inference& inference) {
  const std::int64_t group = inference.program.vnc + 1;
  // A moment of the device by the host's clock (aws-neuron-sdk tools/neuron-explorer/how-to-profile-workload.rst).
  const auto on_host = [&](std::uint64_t device_ns) {
    return inference.sync_host_ns + device_ns - inference.sync_device_ns;
  };
  std::uint64_t lost = 0;
  for (std::size_t i = 0; i < inference.engines.size(); ++i) {
    const EngineActivity& engine = inference.engines[i];
    lost += engine.lost_entries;
    for (const Instruction& instruction : engine.instructions) {
      const bool known = engine.texts != nullptr && instruction.index < engine.texts->size();
      const std::string_view text = known ? std::string_view((*engine.texts)[instruction.index]) : "?";
      trace.span(group, kFirstEngineRow + static_cast<std::int64_t>(i), engine.name, mnemonic(text),
                 on_host(instruction.begin_ns), instruction.end_ns - instruction.begin_ns,
                 fmt::format(R"("index":{},"instruction":{},"exec_id":{},"nc_timestamp_ns":{})", instruction.index,
                             json_string(text), inference.exec_id, instruction.begin_ns));
    }
  }
  std::string args = fmt::format(
      R"("exec_id":{},"subgraph":{},"model_id":"{}","nc_timestamp_ns":{},"device_ns":{},"lost_notifications":{})",
      inference.exec_id, json_string(inference.program.subgraph), inference.program.neff, inference.device_begin_ns,
      inference.device_ns, lost);
  if (inference.failed) args += fmt::format(R"(,"failed":{})", json_string(inference.message));
  if (!inference.untraced.empty()) args += fmt::format(R"(,"untraced":{})", json_string(inference.untraced));
  trace.span(group, kInferenceRow, "nc_exec_running", inference.program.model_name, on_host(inference.device_begin_ns),
             inference.device_ns, args);
  trace.span(0, inference.program.vnc, "device_exec", inference.program.model_name, inference.host_begin_ns,
             inference.host_ns,
             fmt::format(R"("exec_id":{},"lnc_idx":"{}")", inference.exec_id, inference.program.vnc));
}

Status write(const std::string& path, const std::vector<Shared>& inferences, std::uint64_t lost) {
  std::uint64_t origin = UINT64_MAX;
  for (const Shared& one : inferences)
    origin = std::min({origin, one->host_begin_ns, one->sync_host_ns + one->device_begin_ns - one->sync_device_ns});
  ChromeTrace trace(inferences.empty() ? 0 : origin);
  std::set<std::uint32_t> cores;
  for (const Shared& inference : inferences) {
    const std::uint32_t vnc = inference->program.vnc;
    if (cores.empty()) trace.name_group(0, "host");
    if (cores.insert(vnc).second) {
      trace.name_row(0, vnc, fmt::format("executions on nc{}", vnc));
      trace.name_group(vnc + 1, fmt::format("NeuronCore {}", vnc));
      trace.name_row(vnc + 1, kInferenceRow, "inference");
      for (std::size_t i = 0; i < inference->engines.size(); ++i)
        trace.name_row(vnc + 1, kFirstEngineRow + static_cast<std::int64_t>(i), inference->engines[i].name);
    }
    add_inference(trace, *inference);
  }
  return trace.write(path, fmt::format(R"("inferences":{},"lost_inferences":{})", inferences.size(), lost));
}

std::string stem_of(const ProgramId& program) {
  // Names as aws-neuron-sdk tools/neuron-explorer/how-to-profile-workload.rst shows them, but for the suffix.
  return fmt::format("{}_instid_0_vnc_{}", program.neff, program.vnc);
}

Status write_new(const std::string& folder, const std::string& stem, const std::vector<Shared>& inferences,
                 std::uint64_t lost) {
  if (const Status made = make_folder(folder); !made) return made;
  return write(free_name(folder, stem), inferences, lost);
}

void add_client() {
  detail::clients.fetch_add(1, std::memory_order_relaxed);
}
void drop_client() {
  detail::clients.fetch_sub(1, std::memory_order_relaxed);
}

/// Keeps the inference wherever it is wanted; the folder to write it to now, if any.
std::string keep(Profiles& all, const Shared& inference) {
  const ProgramId& program = inference->program;
  for (auto& [file, one] : all.by_file)
    if (one.model == program.model) one.recording.add(inference);
  if (all.continuous) all.latest[program.vnc] = inference;
  if (!all.inspection) return {};
  Inspection& inspection = *all.inspection;
  if (inspection.mode == InspectMode::kSession ||
      (inspection.mode == InspectMode::kModel && inspection.seen.emplace(program.neff, program.vnc).second))
    inspection.recording.add(inference);
  return inspection.on_fail && inference->failed ? inspection.folder : std::string();
}

}  // namespace

std::string free_name(const std::string& folder, const std::string& stem) {
  std::string path = folder + "/" + stem + ".json";
  std::error_code error;
  for (int i = 1; std::filesystem::exists(path, error); ++i) path = fmt::format("{}/{}_{}.json", folder, stem, i);
  return path;
}

bool wanted(const ProgramId& program) {
  if (!on()) return false;
  Profiles& all = per_process<Profiles>();
  const std::lock_guard lock(all.mutex);
  if (all.continuous) return true;
  if (std::any_of(all.by_file.begin(), all.by_file.end(),
                  [&](const auto& entry) { return entry.second.model == program.model; }))
    return true;
  if (!all.inspection) return false;
  const Inspection& inspection = *all.inspection;
  return inspection.on_fail || inspection.mode == InspectMode::kSession ||
         (inspection.mode == InspectMode::kModel && !inspection.seen.contains({program.neff, program.vnc}));
}

void submit(Inference inference) noexcept {
  try {
    const Shared shared = std::make_shared<const Inference>(std::move(inference));
    Profiles& all = per_process<Profiles>();
    std::string folder;
    {
      const std::lock_guard lock(all.mutex);
      folder = keep(all, shared);
    }
    if (folder.empty()) return;
    if (const Status written = write_new(folder, stem_of(shared->program) + "_failed", {shared}, 0); !written)
      log(Component::kNrt, Level::kError, "nrt_inspect", "{}", written.error().message);
  } catch (const std::exception&) {
    write(Component::kNrt, Level::kError, "nrt_profile", "no memory to keep the profile of an inference, it is lost");
  }
}

Status start(std::uint64_t model, const std::string& file) {
  if (file.empty()) return make_error(ErrorCode::kInvalidArgument, "filename is empty, expected a path");
  Profiles& all = per_process<Profiles>();
  const std::lock_guard lock(all.mutex);
  if (!all.by_file.try_emplace(file, Profiles::OfModel{model, {}}).second) {
    return make_error(ErrorCode::kInvalidArgument,
                      "filename is \"{}\", which a profile that is under way uses; expected "
                      "another or nrt_profile_stop first",
                      file);
  }
  add_client();
  return {};
}

Status stop(const std::string& file) {
  Recording done;
  {
    Profiles& all = per_process<Profiles>();
    const std::lock_guard lock(all.mutex);
    const auto found = all.by_file.find(file);
    if (found == all.by_file.end()) {
      return make_error(ErrorCode::kInvalidArgument,
                        "filename is \"{}\", expected that of a profile that nrt_profile_start has started", file);
    }
    done = std::move(found->second.recording);
    all.by_file.erase(found);
    drop_client();
  }
  return write(file, done.inferences, done.lost);
}

Status continuous_start() {
  Profiles& all = per_process<Profiles>();
  const std::lock_guard lock(all.mutex);
  if (all.continuous)
    return make_error(ErrorCode::kInvalidArgument,
                      "continuous profiling is on already, expected it to be stopped first");
  if (all.inspection) {
    return make_error(ErrorCode::kInvalidArgument,
                      "an inspection records device profiles; expected nrt_inspect_stop before continuous profiling");
  }
  all.continuous = true;
  add_client();
  return {};
}

Status continuous_save(std::uint32_t vnc, const std::string& folder) {
  Shared latest;
  {
    Profiles& all = per_process<Profiles>();
    const std::lock_guard lock(all.mutex);
    if (!all.continuous)
      return make_error(ErrorCode::kInvalidArgument,
                        "continuous profiling is off, expected nrt_profile_continuous_start");
    const auto found = all.latest.find(vnc);
    if (found == all.latest.end()) {
      return make_error(ErrorCode::kInvalidArgument,
                        "vnc is {}, where nothing has run since continuous profiling began; expected a core where a "
                        "model has been executed",
                        vnc);
    }
    latest = found->second;
  }
  return write_new(folder, stem_of(latest->program), {latest}, 0);
}

Status continuous_stop() {
  Profiles& all = per_process<Profiles>();
  const std::lock_guard lock(all.mutex);
  if (!all.continuous)
    return make_error(ErrorCode::kInvalidArgument,
                      "continuous profiling is off, expected nrt_profile_continuous_start");
  all.continuous = false;
  all.latest.clear();
  drop_client();
  return {};
}

Status inspect_start(InspectMode mode, bool on_fail, const std::string& folder) {
  Profiles& all = per_process<Profiles>();
  const std::lock_guard lock(all.mutex);
  if (all.continuous) {
    return make_error(ErrorCode::kInvalidArgument,
                      "continuous profiling is on; expected nrt_profile_continuous_stop before an inspection that "
                      "records device profiles");
  }
  if (all.inspection) return make_error(ErrorCode::kInvalidArgument, "an inspection records device profiles already");
  all.inspection = Inspection{mode, on_fail, folder, {}, {}};
  add_client();
  return {};
}

Status inspect_stop() {
  Inspection done;
  {
    Profiles& all = per_process<Profiles>();
    const std::lock_guard lock(all.mutex);
    if (!all.inspection) return make_error(ErrorCode::kInvalidArgument, "no inspection records device profiles");
    done = std::move(*all.inspection);
    all.inspection.reset();
    drop_client();
  }
  if (done.mode == InspectMode::kSession)
    return write_new(done.folder, "device_session", done.recording.inferences, done.recording.lost);
  Status result;
  for (const Shared& inference : done.recording.inferences) {
    const Status written = write_new(done.folder, stem_of(inference->program), {inference}, 0);
    if (!written && result) result = written;
  }
  return result;
}

}  // namespace opennrt::observe::profile
