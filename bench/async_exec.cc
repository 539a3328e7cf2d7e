// SPDX-License-Identifier: Apache-2.0
//
// What does asynchronous execution gain over nrt_execute? The same Identity of four values: executed one after another, scheduled
// with a number of requests outstanding (nrta_*), and in the legacy mode with as many in flight. `schedule_us` is what the call
// itself takes.
#include <nrt/nrt_async.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <string>

#include "bench/support.h"
#include "models/onnx/builder.h"

namespace {

using Clock = std::chrono::steady_clock;
using opennrt::bench::LoadedModel;

opennrt::Error failed(const char* function, NRT_STATUS status) {
  return {opennrt::ErrorCode::kInternal, std::string(function) + ": " + nrt_get_status_as_str(status)};
}

opennrt::Result<LoadedModel> load_identity() {
  auto neff = opennrt::compile::compile_onnx(opennrt::compile::make_identity(), {});
  if (!neff) return tl::unexpected(neff.error());
  return LoadedModel::load(*neff, "identity");
}

void count(benchmark::State& state, Clock::duration scheduling) {
  state.SetItemsProcessed(state.iterations());
  state.counters["schedule_us"] = benchmark::Counter(std::chrono::duration<double, std::micro>(scheduling).count() /
                                                     static_cast<double>(state.iterations()));
}

bool wait(nrta_seq_t seq) {
  int fd = -1;
  if (nrta_get_completion_handle(seq, &fd) != NRT_SUCCESS) return false;
  pollfd entry{fd, POLLIN, 0};
  const bool readable = poll(&entry, 1, -1) == 1;
  close(fd);
  return readable;
}

/// nrta_execute_schedule with at most state.range(0) requests outstanding.
void schedule_identity(benchmark::State& state) {
  auto model = load_identity();
  if (!model) return opennrt::bench::fail(state, model.error());
  nrta_error_tracker_t* errors = nullptr;
  if (const NRT_STATUS status = nrta_error_tracker_create(0, &errors); status != NRT_SUCCESS)
    return opennrt::bench::fail(state, failed("nrta_error_tracker_create", status));
  std::deque<nrta_seq_t> outstanding;
  Clock::duration scheduling{};
  for (auto _ : state) {
    if (outstanding.size() == static_cast<std::size_t>(state.range(0))) {
      if (!wait(outstanding.front())) return opennrt::bench::fail(state, failed("waiting", NRT_FAILURE));
      outstanding.pop_front();
    }
    const auto begin = Clock::now();
    const NRT_STATUS status = nrta_execute_schedule(model->model().handle(), model->binding().inputs(),
                                                    model->binding().outputs(), 0, errors, &outstanding.emplace_back());
    scheduling += Clock::now() - begin;
    if (status != NRT_SUCCESS) return opennrt::bench::fail(state, failed("nrta_execute_schedule", status));
  }
  if (!outstanding.empty()) wait(outstanding.back());
  const nrta_error_t* list = nullptr;
  std::size_t count_of_errors = 0;
  if (nrta_error_tracker_get_list(errors, &list, &count_of_errors) != NRT_SUCCESS || count_of_errors != 0)
    return opennrt::bench::fail(state, failed("an execution", NRT_FAILURE));
  nrta_error_tracker_destroy(errors);
  count(state, scheduling);
}
BENCHMARK(schedule_identity)->Arg(1)->Arg(4)->Arg(64)->Unit(benchmark::kMicrosecond)->UseRealTime();

/// nrt_execute with state.range(0) executions in flight; 0: synchronous.
void execute_identity(benchmark::State& state) {
  setenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", std::to_string(state.range(0)).c_str(), 1);
  auto model = load_identity();
  unsetenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS");
  if (!model) return opennrt::bench::fail(state, model.error());
  Clock::duration scheduling{};
  for (auto _ : state) {
    const auto begin = Clock::now();
    const NRT_STATUS status =
        nrt_execute(model->model().handle(), model->binding().inputs(), model->binding().outputs());
    scheduling += Clock::now() - begin;
    if (status != NRT_SUCCESS) return opennrt::bench::fail(state, failed("nrt_execute", status));
  }
  if (const NRT_STATUS status = nrt_async_drain_queued_execs(0); status != NRT_SUCCESS)
    return opennrt::bench::fail(state, failed("nrt_async_drain_queued_execs", status));
  count(state, scheduling);
}
BENCHMARK(execute_identity)->Arg(0)->Arg(3)->Arg(63)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
