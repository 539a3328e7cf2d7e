// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/model.h"

#include <cstring>
#include <mutex>
#include <utility>

#include "core/observe/log.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;

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
                                           const ModelConfiguration& configuration) {
  const neff::Subgraph& subgraph = neff.subgraphs.front();
  std::shared_ptr<Model> model(new Model);
  model->name_ = neff.header.name.empty() ? subgraph.name : neff.header.name;
  model->tensors_ = subgraph.tensors;
  model->feeds_back_ = outputs_match_inputs(subgraph.tensors);
  model->timeout_ns_ = configuration.timeout_ns;
  for (const Placement& placement : placements) {
    auto program = umd::Program::load(placement.core.device, placement.core.device_core, subgraph);
    if (!program) {
      observe::log(Component::kNmgr, Level::kError, "stage_kelf_models",
                   "Failed to stage graph: {} to NeuronCore {}: {}", subgraph.name, placement.vnc,
                   program.error().message);
      return tl::unexpected(program.error());
    }
    auto replica = std::make_unique<Replica>();
    replica->program = std::move(*program);
    model->vncs_.push_back(placement.vnc);
    model->replicas_.push_back(std::move(replica));
  }
  return model;
}

Result<std::vector<Model::Bound>> Model::bind(const TensorSet& set, neff::TensorKind kind) const {
  std::vector<Bound> bounds;
  bounds.reserve(tensors_.size());
  for (const neff::TensorInfo& info : tensors_) {
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

Result<Model::Replica*> Model::choose(std::span<const Bound> inputs, std::span<const Bound> outputs) {
  const Bound* elsewhere = nullptr;
  Replica* best = nullptr;
  const std::size_t begin = next_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    Replica& replica = *replicas_[(begin + i) % replicas_.size()];
    const auto reaches = [&](const Bound& bound) {
      if (bound.binding.memory == nullptr || &bound.binding.memory->device() == replica.program->device().get())
        return true;
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
                    elsewhere->binding.memory->device().number(), replicas_.front()->program->device()->number());
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

void Model::report_failure(const Replica& replica, const umd::ExecutionReport& report) const {
  observe::log(Component::kTdrv, Level::kError, "exec_consume_infer_status_notifications", "{}", report.message);
  observe::log(Component::kNmgr, Level::kError, "dlr_infer",
               "Inference of model \"{}\" on Neuron Device {} NC {} failed", name_, replica.program->device()->number(),
               replica.program->core());
}

Result<umd::ExecutionReport> Model::execute(const TensorSet& input_set, const TensorSet& output_set, int repeat) {
  const std::shared_lock lock(gate_);
  if (replicas_.empty()) return make_error(ErrorCode::kInvalidHandle, "model \"{}\" has been unloaded", name_);
  const auto inputs = bind(input_set, neff::TensorKind::kInput);
  if (!inputs) return tl::unexpected(inputs.error());
  const auto outputs = bind(output_set, neff::TensorKind::kOutput);
  if (!outputs) return tl::unexpected(outputs.error());
  const Result<Replica*> chosen = choose(*inputs, *outputs);
  if (!chosen) return tl::unexpected(chosen.error());
  Replica& replica = **chosen;

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
    auto report = replica.program->execute(in, out, timeout_ns_);
    if (!report) return report;
    total.outcome = report->outcome;
    total.message = std::move(report->message);
    total.device_ns += report->device_ns;
    if (total.outcome != umd::Outcome::kCompleted) report_failure(replica, total);
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
  std::vector<std::unique_ptr<Replica>> gone;
  const std::unique_lock lock(gate_);
  gone.swap(replicas_);
}

}  // namespace opennrt
