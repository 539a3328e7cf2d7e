// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/async.h"

#include <algorithm>
#include <utility>

namespace opennrt {

std::shared_ptr<PinnedSets> PinnedSets::take(const Model& model, const TensorSet& inputs, const TensorSet& outputs) {
  auto pinned = std::make_shared<PinnedSets>();
  for (const neff::TensorInfo& info : model.tensors()) {
    const bool input = info.kind == neff::TensorKind::kInput;
    const TensorSet::Entry entry = (input ? inputs : outputs).find(info.name);
    std::shared_ptr<Tensor> tensor = entry.tensor.lock();
    if (tensor == nullptr) continue;  // freed since it was checked: the execution says so
    (input ? pinned->inputs : pinned->outputs).put(info.name, entry.handle, tensor);
    if (TensorView view = tensor->view(); view.storage != nullptr)
      pinned->storages.push_back({std::move(view.storage), !input});
    pinned->tensors.push_back(std::move(tensor));
  }
  return pinned;
}

AsyncMode::AsyncMode(ExecutionUnits& units, std::uint32_t cores, std::uint32_t limit)
    : units_(units), limit_(limit), cores_(cores) {}

void AsyncMode::set_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params) {
  const std::lock_guard lock(mutex_);
  callback_ = callback;
  params_ = params;
}

bool AsyncMode::waits_for_others(std::uint32_t vnc, std::span<const StorageUse> storages) const {
  return std::any_of(storages.begin(), storages.end(), [&](const StorageUse& mine) {
    const auto found = in_use_.find(mine.storage.get());
    return found != in_use_.end() && std::any_of(found->second.begin(), found->second.end(), [&](const Use& other) {
             return other.vnc != vnc && (other.written || mine.written);
           });
  });
}

std::optional<std::uint32_t> AsyncMode::choose(std::span<const std::uint32_t> vncs,
                                               std::span<const StorageUse> storages) const {
  std::optional<std::uint32_t> best;
  for (const std::uint32_t vnc : vncs) {
    if (cores_[vnc].inflight >= limit_ || waits_for_others(vnc, storages)) continue;
    if (!best || cores_[vnc].inflight < cores_[*best].inflight) best = vnc;
  }
  return best;
}

Status AsyncMode::submit(std::span<const std::uint32_t> vncs, std::uint32_t model_id, std::vector<StorageUse> storages,
                         std::function<int(std::uint32_t)> work) {
  std::unique_lock lock(mutex_);
  std::optional<std::uint32_t> chosen;
  while (!(chosen = choose(vncs, storages))) {
    if (ExecutionUnits::on_worker()) {
      return make_error(
          ErrorCode::kQueueFull,
          "nc{} has {} executions in flight, or another core's must come first, and a callback cannot wait "
          "for the end of one",
          vncs.front(), cores_[vncs.front()].inflight);
    }
    changed_.wait(lock);
  }
  const std::uint32_t vnc = *chosen;
  Core& core = cores_[vnc];
  const std::uint64_t job = core.jobs + 1;
  for (const auto& [storage, written] : storages) in_use_[storage.get()].push_back({vnc, written});
  ++core.inflight;
  auto shared = std::make_shared<std::vector<StorageUse>>(std::move(storages));
  // With the lock: the numbers of the jobs are in the order of the queue.
  auto queued = units_.schedule(
      vnc, Unit::kCompute, 0,
      [this, vnc, model_id, job, shared, run = std::move(work)]() mutable {
        const int status = run(vnc);
        run = nullptr;
        finish(vnc, model_id, job, *shared, status);
        return status;
      },
      nullptr);
  if (!queued) {
    release(vnc, *shared);
    return tl::unexpected(std::move(queued.error()));
  }
  core.jobs = job;
  return {};
}

void AsyncMode::release(std::uint32_t vnc, std::span<const StorageUse> storages) {
  for (const auto& [storage, written] : storages) {
    const auto found = in_use_.find(storage.get());
    std::vector<Use>& uses = found->second;
    uses.erase(std::find(uses.begin(), uses.end(), Use{vnc, written}));
    if (uses.empty()) in_use_.erase(found);
  }
  --cores_[vnc].inflight;
  changed_.notify_all();
}

void AsyncMode::finish(std::uint32_t vnc, std::uint32_t model_id, std::uint64_t job, std::vector<StorageUse>& storages,
                       int status) {
  NRT_ASYNC_EXEC_STATUS_CALLBACK callback = nullptr;
  void* params = nullptr;
  {
    const std::lock_guard lock(mutex_);
    release(vnc, storages);
    callback = callback_;
    params = params_;
    if (callback == nullptr && cores_[vnc].failed == NRT_SUCCESS) cores_[vnc].failed = status;
  }
  storages.clear();
  if (callback != nullptr) callback(params, model_id, vnc, job, static_cast<NRT_STATUS>(status));
}

Status AsyncMode::wait_unused(std::shared_ptr<Storage> storage) {
  if (!enabled() || storage == nullptr) return {};
  std::unique_lock lock(mutex_);
  const auto used = [&] { return in_use_.contains(storage.get()); };
  if (used() && ExecutionUnits::on_worker()) {
    return make_error(ErrorCode::kState,
                      "the tensor is in use by a queued execution, and a callback cannot wait for its end");
  }
  changed_.wait(lock, [&] { return !used(); });
  return {};
}

Result<int> AsyncMode::drain(std::uint32_t vnc) {
  if (const Status done = units_.drain(vnc, Unit::kCompute, 0); !done) return tl::unexpected(done.error());
  const std::lock_guard lock(mutex_);
  return std::exchange(cores_[vnc].failed, static_cast<int>(NRT_SUCCESS));
}

}  // namespace opennrt
