// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/pipeline.h"

#include <algorithm>
#include <new>
#include <utility>

#include "core/observe/debug_stream.h"
#include "core/observe/log.h"
#include "core/observe/trace.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;
using umd::Outcome;

/// Of what steps pass to each other in host memory, for all inferences of a replica: a file may ask for absurd amounts.
constexpr std::uint64_t kMaxHostBytes = 8ull << 30;
constexpr std::uintptr_t kCpuAlignment = 8;  // what cpu::Function asks for

bool goes_on(Outcome outcome) {
  return outcome == Outcome::kCompleted || outcome == Outcome::kCompletedWithNumericalError ||
         outcome == Outcome::kCompletedWithError;
}

/// After these the public runtime says that it is not to be relied on any more (aws-neuron-sdk
/// neuron-runtime/nrt-troubleshoot.rst, "Hardware Errors").
bool undefined_state(Outcome outcome) {
  return outcome == Outcome::kTimeout || outcome == Outcome::kSramUncorrectable ||
         outcome == Outcome::kDramUncorrectable;
}

/// The worse of two that let an inference go on.
bool worse(Outcome a, Outcome b) {
  const auto rank = [](Outcome o) {
    return o == Outcome::kCompleted ? 0 : o == Outcome::kCompletedWithNumericalError ? 1 : 2;
  };
  return rank(a) > rank(b);
}

}  // namespace

Pipeline::Pipeline(std::shared_ptr<const Plan> plan) : plan_(std::move(plan)), places_(plan_->stages() + 1) {}

Result<std::unique_ptr<Pipeline>> Pipeline::load(const neff::Neff& neff, std::shared_ptr<const Plan> plan,
                                                 std::span<const Placement> placements, umd::SharedConstants* shared) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline(std::move(plan)));
  for (std::size_t i = 0; i < neff.subgraphs.size(); ++i) {
    const neff::Subgraph& subgraph = neff.subgraphs[i];
    const observe::trace::Span span(observe::trace::kModelLoad);
    observe::profile::ProgramId id{placements[i].vnc, pipeline->plan_->id, pipeline->plan_->neff_id,
                                   pipeline->plan_->model, subgraph.name};
    if (observe::trace::on())
      observe::trace::note(
          {observe::trace::Subject::Kind::kModel, static_cast<std::int32_t>(id.vnc), id.model_name, id.neff, 0});
    auto program = umd::Program::load(placements[i].core.device, placements[i].core.device_core, subgraph, shared);
    if (!program) {
      observe::log(Component::kNmgr, Level::kError, "stage_kelf_models",
                   "Failed to stage graph: {} to NeuronCore {}: {}", subgraph.name, placements[i].vnc,
                   program.error().message);
      if (neff.subgraphs.size() == 1) return tl::unexpected(program.error());
      return with_context(program.error(), fmt::format("subgraph '{}'", subgraph.name));
    }
    pipeline->stages_.push_back({placements[i].vnc, std::move(*program), std::move(id)});
  }
  if (pipeline->plan_->direct()) return pipeline;
  if (const Status made = pipeline->make_frames(); !made)
    return with_context(made.error(), "what the steps of the model pass to each other");
  return pipeline;
}

/// All of them at load: a device that is too small says so then, not in the middle of the work.
Status Pipeline::make_frames() {
  const std::size_t count = plan_->stages() + 1;
  std::uint64_t host_bytes = 0;
  for (std::size_t i = 0; i < plan_->values.size(); ++i) {
    const Plan::Value& value = plan_->values[i];
    // A value has at most 2^33 bytes and a model less than 2^13 of them (core/neff/limits.h).
    if (!value.input && !value.output && !value.constant && !stays_on_device(i)) host_bytes += value.info.bytes;
  }
  if (host_bytes > kMaxHostBytes / count)
    return make_error(ErrorCode::kResource,
                      "{} inferences at a time take {} bytes of host memory each, expected {} at "
                      "most for all",
                      count, host_bytes, kMaxHostBytes);
  for (std::size_t i = 0; i < count; ++i) {
    auto frame = make_frame();
    if (!frame) return tl::unexpected(frame.error());
    frames_.push_back(std::move(*frame));
  }
  return {};
}

const umd::Device* Pipeline::device_of(std::size_t step) const {
  const Plan::Step& of = plan_->steps[step];
  return of.function == nullptr ? stages_[of.what.index].program->device().get() : nullptr;
}

/// A value stays in device memory when a core of the same device takes it next; between devices and to CPU nodes it goes
/// through host memory.
bool Pipeline::stays_on_device(std::size_t value) const {
  const Plan::Value& of = plan_->values[value];
  const umd::Device* device = device_of(*of.made_by);
  return device != nullptr &&
         std::any_of(of.used_by.begin(), of.used_by.end(), [&](std::size_t step) { return device_of(step) == device; });
}

Result<std::unique_ptr<Pipeline::Frame>> Pipeline::make_frame() const {
  auto frame = std::make_unique<Frame>();
  const std::size_t count = plan_->values.size();
  frame->values.resize(count);
  frame->host.resize(count);
  frame->copies.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Plan::Value& value = plan_->values[i];
    umd::Binding& binding = frame->values[i];
    binding.name = value.info.name;
    if (value.constant) {
      const std::vector<std::byte>& data = plan_->constants[*value.constant];
      binding.host = {const_cast<std::byte*>(data.data()), data.size()};  // no step writes a constant
      continue;
    }
    if (value.input || value.output) continue;
    if (stays_on_device(i)) {
      const umd::Program& maker = *stages_[plan_->steps[*value.made_by].what.index].program;
      auto memory = maker.device()->allocate_device(value.info.bytes, maker.core(), OPENNRT_MEM_SCRATCHPAD_DEVICE);
      if (!memory) return with_context(memory.error(), fmt::format("value '{}'", value.info.name));
      binding.memory = std::move(*memory);
    } else {
      frame->host[i] = std::make_unique_for_overwrite<std::byte[]>(value.info.bytes);
      binding.host = {frame->host[i].get(), value.info.bytes};
    }
  }
  return frame;
}

std::unique_ptr<Pipeline::Frame> Pipeline::take_frame() {
  const std::lock_guard lock(mutex_);
  auto frame = std::move(frames_.back());
  frames_.pop_back();
  return frame;
}

void Pipeline::give_frame(std::unique_ptr<Frame> frame) {
  // The tensors of the inference must not live on in it.
  for (std::size_t i = 0; i < plan_->values.size(); ++i)
    if (plan_->values[i].input || plan_->values[i].output) frame->values[i] = {};
  const std::lock_guard lock(mutex_);
  frames_.push_back(std::move(frame));
}

bool Pipeline::uses(const umd::Device& device) const {
  return std::any_of(stages_.begin(), stages_.end(),
                     [&](const Stage& stage) { return stage.program->device().get() == &device; });
}

Result<umd::ExecutionReport> Pipeline::execute(std::span<const umd::Binding> inputs,
                                               std::span<const umd::Binding> outputs, std::uint64_t timeout_ns) {
  if (plan_->direct()) {
    auto report = run_stage(0, inputs, outputs, {timeout_ns, 0, {}});
    if (report && report->outcome != Outcome::kCompleted) log_failure(0, *report);
    return report;
  }
  const umd::FifoSemaphore::Hold place(places_);
  struct Borrowed {
    explicit Borrowed(Pipeline& from) : pipeline(from), frame(from.take_frame()) {}
    ~Borrowed() { pipeline.give_frame(std::move(frame)); }
    Pipeline& pipeline;
    std::unique_ptr<Frame> frame;
  } const borrowed(*this);
  for (std::size_t i = 0; i < plan_->values.size(); ++i) {
    const Plan::Value& value = plan_->values[i];
    if (value.input) borrowed.frame->values[i] = inputs[*value.input];
    if (value.output) borrowed.frame->values[i] = outputs[*value.output];
  }
  return run_steps(*borrowed.frame, timeout_ns);
}

Result<umd::ExecutionReport> Pipeline::run_steps(Frame& frame, std::uint64_t timeout_ns) {
  umd::ExecutionReport total;
  for (std::size_t number = 0; number < plan_->steps.size(); ++number) {
    const Plan::Step& step = plan_->steps[number];
    const std::string where = fmt::format("step {} of {}, {} '{}'", number + 1, plan_->steps.size(),
                                          step.function == nullptr ? "subgraph" : "CPU node", step.name);
    Result<umd::ExecutionReport> report = umd::ExecutionReport{};
    if (total.device_ns >= timeout_ns && step.function == nullptr) {
      report->outcome = Outcome::kTimeout;
      report->message =
          fmt::format("inference timeout ({} ms): the steps before took all of it", timeout_ns / 1'000'000);
    } else {
      report = run_step(number, frame, {timeout_ns, total.device_ns, {}});
    }
    if (!report) return with_context(report.error(), where);
    total.device_ns += report->device_ns;
    if (report->outcome == Outcome::kCompleted) continue;
    report->message = where + ": " + report->message;
    log_failure(number, *report);
    if (goes_on(report->outcome) && !worse(report->outcome, total.outcome)) continue;
    total.outcome = report->outcome;
    total.message = std::move(report->message);
    if (!goes_on(total.outcome)) break;
  }
  return total;
}

/// Whether a step can work on a value where it is.
bool Pipeline::reaches(std::size_t step, std::size_t value, const Frame& frame) const {
  const umd::Binding& binding = frame.values[value];
  const umd::Device* device = device_of(step);
  if (device != nullptr) return binding.memory == nullptr || &binding.memory->device() == device;
  // A caller may have bound one buffer as input and output, which must not overlap for a CPU node.
  const bool may_overlap = plan_->values[value].output && plan_->values[value].made_by == step;
  return binding.memory == nullptr && !may_overlap &&
         reinterpret_cast<std::uintptr_t>(binding.host.data()) % kCpuAlignment == 0;
}

Result<umd::ExecutionReport> Pipeline::run_step(std::size_t number, Frame& frame, const umd::Run& run) {
  const Plan::Step& step = plan_->steps[number];
  const auto bytes_of = [&](std::size_t value) { return plan_->values[value].info.bytes; };
  // Where a step cannot reach a value, a copy in host memory stands for it.
  const auto copy_for = [&](std::size_t value) {
    frame.copies[value].resize(bytes_of(value));
    return umd::Binding{plan_->values[value].info.name, nullptr, 0, frame.copies[value]};
  };
  std::vector<umd::Binding> in, out;
  for (const std::size_t value : step.inputs) {
    const umd::Binding& at = frame.values[value];
    in.push_back(at);
    if (reaches(number, value, frame)) continue;
    in.back() = copy_for(value);
    if (at.memory == nullptr)
      std::copy_n(at.host.begin(), bytes_of(value), in.back().host.begin());
    else if (const Status read = at.memory->read(at.memory_offset, in.back().host); !read)
      return tl::unexpected(read.error());
  }
  for (const std::size_t value : step.outputs)
    out.push_back(reaches(number, value, frame) ? frame.values[value] : copy_for(value));

  Result<umd::ExecutionReport> report = umd::ExecutionReport{};
  if (step.function == nullptr) {
    report = run_stage(number, in, out, run);
    if (!report || !goes_on(report->outcome)) return report;
  } else {
    std::vector<std::span<const std::byte>> from;
    std::vector<std::span<std::byte>> to;
    for (std::size_t i = 0; i < in.size(); ++i) from.emplace_back(in[i].host.first(bytes_of(step.inputs[i])));
    for (std::size_t i = 0; i < out.size(); ++i) to.push_back(out[i].host.first(bytes_of(step.outputs[i])));
    if (const Status done = step.function->run(from, to); !done) {
      report->outcome = Outcome::kOutOfBounds;
      report->message = done.error().message;
      return report;
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const umd::Binding& at = frame.values[step.outputs[i]];
    if (reaches(number, step.outputs[i], frame)) continue;
    if (at.memory == nullptr)
      std::copy_n(out[i].host.begin(), out[i].host.size(), at.host.begin());
    else if (const Status written = at.memory->write(at.memory_offset, out[i].host); !written)
      return tl::unexpected(written.error());
  }
  return report;
}

Result<umd::ExecutionReport> Pipeline::run_stage(std::size_t number, std::span<const umd::Binding> inputs,
                                                 std::span<const umd::Binding> outputs, umd::Run run) {
  const Plan::Step& step = plan_->steps[number];
  const Stage& stage = stages_[step.what.index];
  if (!step.debug.empty() && observe::debug_stream::wanted(stage.vnc))
    run.completed = [this, number] { report_debug_tensors(number); };
  run.id = &stage.id;
  auto report = stage.program->execute(inputs, outputs, run);
  if (report) stage.program->device()->counters().add_time(stage.program->core(), report->device_ns);
  return report;
}

void Pipeline::report_debug_tensors(std::size_t number) const {
  const Plan::Step& step = plan_->steps[number];
  const Stage& stage = stages_[step.what.index];
  try {
    std::vector<std::byte> data;
    for (const Plan::DebugTensor& debug : step.debug) {
      data.resize(debug.info.bytes);
      if (const Status read = stage.program->read_variable(debug.variable, data); !read) {
        observe::log(Component::kNmgr, Level::kWarn, "debug_stream", "debug tensor \"{}\" of model \"{}\": {}",
                     debug.info.name, plan_->model, read.error().message);
        continue;
      }
      observe::debug_stream::emit(stage.vnc, {debug.info.name, debug.info.dtype, debug.info.shape, data});
    }
  } catch (const std::bad_alloc&) {
    observe::log(Component::kNmgr, Level::kWarn, "debug_stream", "no memory for the debug tensors of model \"{}\"",
                 plan_->model);
  }
}

void Pipeline::log_failure(std::size_t number, const umd::ExecutionReport& report) const {
  const Plan::Step& step = plan_->steps[number];
  if (step.function != nullptr) {
    observe::log(Component::kNmgr, Level::kError, "dlr_infer", "Inference of model \"{}\" failed: {}", plan_->model,
                 report.message);
    return;
  }
  const umd::Program& program = *stages_[step.what.index].program;
  observe::log(Component::kTdrv, Level::kError, "exec_consume_infer_status_notifications", "{}{}",
               undefined_state(report.outcome) ? "(FATAL-RT-UNDEFINED-STATE) " : "", report.message);
  observe::log(Component::kNmgr, Level::kError, "dlr_infer",
               "Inference of model \"{}\" on Neuron Device {} NC {} failed", plan_->model, program.device()->number(),
               program.core());
}

}  // namespace opennrt
