// SPDX-License-Identifier: Apache-2.0
//
// Asynchronous execution: the explicit API (nrt_async.h, without collectives) and the legacy mode.
#include <utility>

#include "core/api/execution.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

/// What every scheduling function is given besides its work.
struct Ticket {
  int queue;
  nrta_error_tracker_t* err;
  nrta_seq_t* sequence;
};

/// A scheduling call: `body(Process&, Runtime&, const std::shared_ptr<ErrorTracker>&)` checks and returns where and what.
struct Job {
  std::uint32_t vnc = 0;
  Unit unit = Unit::kCompute;
  ExecutionUnits::Work work;
};
template <typename Body>
NRT_STATUS schedule(const char* function, const Ticket& ticket, Body&& body) noexcept {
  return while_open_status(function, [&](Process& process, Runtime& runtime) -> NRT_STATUS {
    if (const Status there = require(ticket.sequence, "req_sequence"); !there) return fail(function, there.error());
    auto errors = process.error_trackers.get(ticket.err);
    if (!errors) return fail(function, with_context(errors.error(), "err").value());
    Result<Job> job = body(process, (*errors)->vnc());
    if (!job) return fail(function, job.error());
    const auto seq =
        runtime.units().schedule(job->vnc, job->unit, ticket.queue, std::move(job->work), std::move(*errors));
    if (!seq && seq.error().code == ErrorCode::kQueueFull) {  // how the caller is told to wait: nothing is wrong
      if (job->unit == Unit::kCompute) runtime.count_refused(job->vnc, ErrorCode::kQueueFull);
      observe::log(observe::Component::kNrt, observe::Level::kDebug, function, "{}", seq.error().message);
      return to_status(seq.error().code);
    }
    if (!seq) return fail(function, seq.error());
    *ticket.sequence = *seq;
    return NRT_SUCCESS;
  });
}

/// The core of a tensor; `fallback` for one that belongs to none.
std::uint32_t core_of(const Tensor& tensor, std::uint32_t fallback) {
  const TensorView view = tensor.view();
  return view.storage == nullptr || view.storage->vnc() < 0 ? fallback
                                                            : static_cast<std::uint32_t>(view.storage->vnc());
}

/// Work whose failure is a Status.
template <typename Body>
ExecutionUnits::Work work_of(const char* function, Body body) {
  return [function, body = std::move(body)]() -> int {
    const Status done = body();
    return done ? NRT_SUCCESS : fail(function, done.error());
  };
}

}  // namespace

NRT_STATUS opennrt::api::enqueue(const char* function, Runtime& runtime, const std::shared_ptr<Model>& model,
                                 const TensorSet& inputs, const TensorSet& outputs, int repeat) {
  if (const Status fine = model->check(inputs, outputs); !fine) return fail(function, fine.error());
  const std::shared_ptr<PinnedSets> sets = PinnedSets::take(*model, inputs, outputs);
  const Status queued = runtime.async().submit(model->vncs(), static_cast<std::uint32_t>(model->id()), sets->storages,
                                               [function, model, sets, repeat](std::uint32_t vnc) -> int {
                                                 return run(function, *model, sets->inputs, sets->outputs, repeat, vnc);
                                               });
  if (queued) return NRT_SUCCESS;
  runtime.count_refused(model->vnc(), queued.error().code);
  return fail(function, queued.error());
}

namespace opennrt::api::native {

NRT_STATUS nrta_tensor_write(nrt_tensor_t* tensor, const void* buf, uint64_t offset, uint64_t size, int queue,
                             nrta_error_tracker_t* err, nrta_seq_t* req_sequence) {
  constexpr const char* kFunction = "nrta_tensor_write";
  return schedule(kFunction, {queue, err, req_sequence}, [&](Process& process, std::uint32_t vnc) -> Result<Job> {
    auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status fits = (*found)->check_access(offset, buf, size, "write"); !fits)
      return tl::unexpected(fits.error());
    const std::uint32_t core = core_of(**found, vnc);
    return Job{core, Unit::kTensorWrite, work_of(kFunction, [held = std::move(*found), buf, offset, size] {
                 return held->write(buf, offset, size);
               })};
  });
}

NRT_STATUS nrta_tensor_read(void* buf, nrt_tensor_t* tensor, uint64_t offset, uint64_t size, int queue,
                            nrta_error_tracker_t* err, nrta_seq_t* req_sequence) {
  constexpr const char* kFunction = "nrta_tensor_read";
  return schedule(kFunction, {queue, err, req_sequence}, [&](Process& process, std::uint32_t vnc) -> Result<Job> {
    auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status fits = (*found)->check_access(offset, buf, size, "read"); !fits)
      return tl::unexpected(fits.error());
    const std::uint32_t core = core_of(**found, vnc);
    return Job{core, Unit::kTensorRead, work_of(kFunction, [held = std::move(*found), buf, offset, size] {
                 return held->read(buf, offset, size);
               })};
  });
}

NRT_STATUS nrta_tensor_copy(nrt_tensor_t* src, uint64_t src_offset, nrt_tensor_t* dst, uint64_t dst_offset,
                            uint64_t size, int queue, nrta_error_tracker_t* err, nrta_seq_t* req_sequence) {
  constexpr const char* kFunction = "nrta_tensor_copy";
  return schedule(kFunction, {queue, err, req_sequence}, [&](Process& process, std::uint32_t vnc) -> Result<Job> {
    auto from = process.tensors.get(src);
    if (!from) return with_context(from.error(), "src");
    auto to = process.tensors.get(dst);
    if (!to) return with_context(to.error(), "dst");
    if (const Status fits = Tensor::check_copy(**from, src_offset, **to, dst_offset, size); !fits)
      return tl::unexpected(fits.error());
    const std::uint32_t core = core_of(**to, core_of(**from, vnc));
    return Job{core, Unit::kTensorOp,
               work_of(kFunction, [source = std::move(*from), target = std::move(*to), src_offset, dst_offset, size] {
                 return Tensor::copy(*source, src_offset, *target, dst_offset, size);
               })};
  });
}

NRT_STATUS nrta_execute_schedule(nrt_model_t* model, const nrt_tensor_set_t* input, nrt_tensor_set_t* output, int queue,
                                 nrta_error_tracker_t* err, nrta_seq_t* req_sequence) {
  constexpr const char* kFunction = "nrta_execute_schedule";
  return schedule(kFunction, {queue, err, req_sequence}, [&](Process& process, std::uint32_t vnc) -> Result<Job> {
    auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    const auto inputs = process.tensor_sets.get(input);
    if (!inputs) return with_context(inputs.error(), "input");
    const auto outputs = process.tensor_sets.get(output);
    if (!outputs) return with_context(outputs.error(), "output");
    if (const Status fine = (*found)->check(**inputs, **outputs, vnc); !fine) return tl::unexpected(fine.error());
    auto sets = PinnedSets::take(**found, **inputs, **outputs);
    return Job{vnc, Unit::kCompute, [held = std::move(*found), pinned = std::move(sets), vnc]() -> int {
                 return run(kFunction, *held, pinned->inputs, pinned->outputs, 1, vnc);
               }};
  });
}

NRT_STATUS nrta_is_completed(nrta_seq_t seq, bool* is_completed) {
  return while_open("nrta_is_completed", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(is_completed, "is_completed"); !there) return there;
    const auto completed = runtime.units().is_completed(seq);
    if (!completed) return tl::unexpected(completed.error());
    *is_completed = *completed;
    return {};
  });
}

NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue, nrta_seq_t* seq) {
  return while_open("nrta_get_sequence", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(seq, "seq"); !there) return there;
    const auto last = runtime.units().last_completed(lnc, static_cast<Unit>(raw(xu)), queue);
    if (!last) return tl::unexpected(last.error());
    *seq = *last;
    return {};
  });
}

NRT_STATUS nrta_get_completion_handle(nrta_seq_t seq, int* fd) {
  return while_open("nrta_get_completion_handle", [&](Process&, Runtime& runtime) -> Status {
    if (const Status there = require(fd, "fd"); !there) return there;
    const auto made = runtime.units().completion_fd(seq);
    if (!made) return tl::unexpected(made.error());
    *fd = *made;
    return {};
  });
}

NRT_STATUS nrta_error_tracker_create(uint32_t lnc_idx, nrta_error_tracker_t** error_tracker) {
  return while_open("nrta_error_tracker_create", [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(error_tracker, "error_tracker"); !there) return there;
    const auto core = runtime.core(lnc_idx, "lnc_idx");
    if (!core) return tl::unexpected(core.error());
    *error_tracker =
        static_cast<nrta_error_tracker_t*>(process.error_trackers.add(std::make_shared<ErrorTracker>(lnc_idx)));
    return {};
  });
}

void nrta_error_tracker_destroy(nrta_error_tracker_t* error_tracker) {
  (void)any_time("nrta_error_tracker_destroy", [&](Process& process) -> Status {
    if (error_tracker != nullptr && process.error_trackers.remove(error_tracker) == nullptr) {
      observe::log(observe::Component::kNrt, observe::Level::kDebug, "nrta_error_tracker_destroy",
                   "{} is not a live error tracker, ignored", fmt::ptr(error_tracker));
    }
    return {};
  });
}

NRT_STATUS nrta_error_tracker_get_list(nrta_error_tracker_t* error_tracker, const nrta_error_t** list,
                                       size_t* error_count) {
  return any_time("nrta_error_tracker_get_list", [&](Process& process) -> Status {
    if (const Status there = require(list, "list"); !there) return there;
    if (const Status there = require(error_count, "error_count"); !there) return there;
    const auto tracker = process.error_trackers.get(error_tracker);
    if (!tracker) return tl::unexpected(tracker.error());
    const std::vector<nrta_error_t>& errors = (*tracker)->take();
    *list = errors.data();
    *error_count = errors.size();
    return {};
  });
}

NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params) {
  return while_open("nrt_register_async_exec_callback", [&](Process&, Runtime& runtime) -> Status {
    runtime.async().set_callback(callback, params);
    return {};
  });
}

NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc) {
  constexpr const char* kFunction = "nrt_async_drain_queued_execs";
  return while_open_status(kFunction, [&](Process&, Runtime& runtime) -> NRT_STATUS {
    if (const auto core = runtime.core(vnc, "vnc"); !core) return fail(kFunction, core.error());
    const Result<int> failed = runtime.async().drain(static_cast<std::uint32_t>(vnc));
    return failed ? static_cast<NRT_STATUS>(*failed) : fail(kFunction, failed.error());
  });
}

}  // namespace opennrt::api::native
