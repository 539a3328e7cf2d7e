// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/model.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/runtime/counting.h"
#include "core/runtime/input_dump.h"

namespace opennrt {
namespace {

const char* kind_word(neff::TensorKind kind) {
  return kind == neff::TensorKind::kInput ? "input" : "output";
}

bool outputs_match_inputs(const std::vector<neff::TensorInfo>& tensors) {
  std::vector<const neff::TensorInfo*> in, out;
  for (const neff::TensorInfo& tensor : tensors)
    (tensor.kind == neff::TensorKind::kInput ? in : out).push_back(&tensor);
  if (in.empty() || in.size() != out.size()) return false;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i]->dtype != out[i]->dtype || in[i]->shape != out[i]->shape || in[i]->bytes != out[i]->bytes) return false;
  }
  return true;
}

}  // namespace

Result<std::shared_ptr<Model>> Model::load(const neff::Neff& neff, const std::vector<Placement>& placements,
                                           const ModelConfiguration& configuration, umd::SharedConstants* shared) {
  auto plan = Plan::make(neff);
  if (!plan) return tl::unexpected(plan.error());
  std::shared_ptr<Model> model(new Model);
  model->plan_ = *plan;
  model->cores_per_replica_ = static_cast<std::uint32_t>(neff.subgraphs.size());
  model->feeds_back_ = outputs_match_inputs(model->plan_->tensors);
  model->timeout_ns_ = configuration.timeout_ns;
  model->dump_inputs_on_ = configuration.dump_inputs_on;
  for (std::span<const Placement> rest(placements); !rest.empty(); rest = rest.subspan(neff.subgraphs.size())) {
    auto replica = Pipeline::load(neff, *plan, rest.first(neff.subgraphs.size()), shared);
    if (!replica) return tl::unexpected(replica.error());
    model->vncs_.push_back((*replica)->vnc());
    model->replicas_.push_back(std::move(*replica));
  }
  for (const Placement& placement : placements) model->cores_.push_back(placement.vnc);
  return model;
}

Result<std::vector<Model::Bound>> Model::bind(const TensorSet& set, neff::TensorKind kind) const {
  std::vector<Bound> bounds;
  bounds.reserve(tensors().size());
  for (const neff::TensorInfo& info : tensors()) {
    if (info.kind != kind) continue;
    const TensorSet::Entry entry = set.find(info.name);
    if (entry.handle == nullptr) {
      return make_error(ErrorCode::kInvalidArgument, "{} tensor \"{}\" is missing in the {} set; the set has {}",
                        kind_word(kind), info.name, kind_word(kind), set.names());
    }
    Bound bound{&info, entry.tensor.lock(), {}, {}};
    if (bound.tensor == nullptr) {
      return make_error(ErrorCode::kInvalidHandle, "{} tensor \"{}\" has been freed; expected one that is alive",
                        kind_word(kind), info.name);
    }
    bound.view = bound.tensor->view();
    if (bound.view.storage == nullptr) {
      return make_error(ErrorCode::kBadInput, "{} tensor \"{}\" is empty, expected one with {} bytes of storage",
                        kind_word(kind), info.name, info.bytes);
    }
    if (bound.view.size != info.bytes) {
      return make_error(ErrorCode::kInvalidArgument, "Unexpected {} size, for {}, expected: {}, received: {}",
                        kind_word(kind), info.name, info.bytes, bound.view.size);
    }
    bound.binding.name = info.name;
    if (auto memory = bound.view.storage->device_memory()) {
      bound.binding.memory = std::move(memory);
      bound.binding.memory_offset = bound.view.offset;
    } else if (const std::span<std::byte> host = bound.view.storage->host(); host.data() != nullptr) {
      bound.binding.host = host.subspan(bound.view.offset, bound.view.size);
    } else {
      return make_error(ErrorCode::kBadInput,
                        "{} tensor \"{}\" lost its storage on the device with nrt_close; expected one allocated "
                        "since",
                        kind_word(kind), info.name);
    }
    bounds.push_back(std::move(bound));
  }
  return bounds;
}

Result<Pipeline*> Model::choose(std::span<const Bound> inputs, std::span<const Bound> outputs,
                                std::optional<std::uint32_t> vnc) {
  if (vnc.has_value() && std::find(vncs_.begin(), vncs_.end(), *vnc) == vncs_.end())
    return make_error(ErrorCode::kInvalidArgument, "model \"{}\" is not loaded on nc{}", name(), *vnc);
  const Bound* elsewhere = nullptr;
  Pipeline* best = nullptr;
  const std::size_t begin = next_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const std::size_t index = (begin + i) % replicas_.size();
    if (vnc.has_value() && vncs_[index] != *vnc) continue;
    Pipeline& replica = *replicas_[index];
    const auto reaches = [&](const Bound& bound) {
      if (bound.binding.memory == nullptr || replica.uses(bound.binding.memory->device())) return true;
      elsewhere = &bound;
      return false;
    };
    bool usable = true;
    for (const Bound& bound : inputs) usable = usable && reaches(bound);
    for (const Bound& bound : outputs) usable = usable && reaches(bound);
    if (usable && (best == nullptr ||
                   replica.busy.load(std::memory_order_relaxed) < best->busy.load(std::memory_order_relaxed))) {
      best = &replica;
    }
  }
  if (best != nullptr) return best;
  return make_error(ErrorCode::kInvalidArgument,
                    "{} tensor \"{}\" is on Neuron Device {}, expected one on the device that runs the "
                    "model, {}",
                    kind_word(elsewhere->info->kind), elsewhere->info->name,
                    elsewhere->binding.memory->device().number(), replicas_.front()->first_device());
}

Status Model::feed_back(const std::vector<Bound>& outputs, std::vector<std::vector<std::byte>>& fed,
                        std::vector<umd::Binding>& inputs) const {
  fed.resize(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    fed[i].resize(outputs[i].info->bytes);
    const umd::Binding& from = outputs[i].binding;
    if (from.memory != nullptr) {
      if (const Status done = from.memory->read(from.memory_offset, fed[i]); !done) return done;
    } else {
      std::memcpy(fed[i].data(), from.host.data(), fed[i].size());
    }
    inputs[i].memory.reset();
    inputs[i].memory_offset = 0;
    inputs[i].host = fed[i];
  }
  return {};
}

Status Model::check(const TensorSet& input_set, const TensorSet& output_set, std::optional<std::uint32_t> vnc) {
  const std::shared_lock lock(gate_);
  if (replicas_.empty()) return make_error(ErrorCode::kInvalidHandle, "model \"{}\" has been unloaded", name());
  const Status fine = [&]() -> Status {
    const auto inputs = bind(input_set, neff::TensorKind::kInput);
    if (!inputs) return tl::unexpected(inputs.error());
    const auto outputs = bind(output_set, neff::TensorKind::kOutput);
    if (!outputs) return tl::unexpected(outputs.error());
    const Result<Pipeline*> chosen = choose(*inputs, *outputs, vnc);
    if (!chosen) return tl::unexpected(chosen.error());
    return {};
  }();
  if (!fine) count_refused(fine.error(), vnc);
  return fine;
}

void Model::count_refused(const Error& error, std::optional<std::uint32_t> vnc) const {
  const auto at = vnc ? std::find(vncs_.begin(), vncs_.end(), *vnc) : vncs_.begin();
  const std::size_t replica = at == vncs_.end() ? 0 : static_cast<std::size_t>(at - vncs_.begin());
  const umd::Program& program = replicas_[replica]->first_program();
  count_failure(program.device()->counters(), program.core(), error.code);
}

Result<umd::ExecutionReport> Model::execute(const TensorSet& inputs, const TensorSet& outputs, int repeat,
                                            std::optional<std::uint32_t> vnc) {
  const std::shared_lock lock(gate_);
  if (replicas_.empty()) return make_error(ErrorCode::kInvalidHandle, "model \"{}\" has been unloaded", name());
  auto report = run(inputs, outputs, repeat, vnc);
  if (!report) count_refused(report.error(), vnc);
  return report;
}

Result<umd::ExecutionReport> Model::run(const TensorSet& input_set, const TensorSet& output_set, int repeat,
                                        std::optional<std::uint32_t> vnc) {
  const auto inputs = bind(input_set, neff::TensorKind::kInput);
  if (!inputs) return tl::unexpected(inputs.error());
  const auto outputs = bind(output_set, neff::TensorKind::kOutput);
  if (!outputs) return tl::unexpected(outputs.error());
  const Result<Pipeline*> chosen = choose(*inputs, *outputs, vnc);
  if (!chosen) return tl::unexpected(chosen.error());
  Pipeline& replica = **chosen;

  std::vector<umd::Binding> in, out;
  in.reserve(inputs->size());
  out.reserve(outputs->size());
  for (const Bound& bound : *inputs) in.push_back(bound.binding);
  for (const Bound& bound : *outputs) out.push_back(bound.binding);

  struct Busy {
    explicit Busy(std::atomic<std::uint32_t>& counter) : count(counter) {
      count.fetch_add(1, std::memory_order_relaxed);
    }
    ~Busy() { count.fetch_sub(1, std::memory_order_relaxed); }
    std::atomic<std::uint32_t>& count;
  };
  const Busy busy(replica.busy);
  std::vector<std::vector<std::byte>> fed;
  umd::ExecutionReport total;
  for (int i = 0; i < repeat; ++i) {
    if (i > 0 && feeds_back_) {
      if (const Status done = feed_back(*outputs, fed, in); !done) return tl::unexpected(done.error());
    }
    const auto begun = std::chrono::steady_clock::now();
    auto report = replica.execute(in, out, timeout_ns_);
    if (!report) return report;
    count_inference(replica.first_program(), *report, std::chrono::steady_clock::now() - begun);
    total.outcome = report->outcome;
    total.message = std::move(report->message);
    total.device_ns += report->device_ns;
    dump_inputs_on_error(dump_inputs_on_, total.outcome, name(), in, tensors());
    const bool written = total.outcome == umd::Outcome::kCompleted ||
                         total.outcome == umd::Outcome::kCompletedWithNumericalError ||
                         total.outcome == umd::Outcome::kCompletedWithError;
    if (written) {
      for (const Bound& bound : *outputs) bound.tensor->complete();
    }
    if (total.outcome != umd::Outcome::kCompleted) break;
  }
  return total;
}

void Model::unload() {
  std::vector<std::unique_ptr<Pipeline>> gone;
  const std::unique_lock lock(gate_);
  gone.swap(replicas_);
}

}  // namespace opennrt
