// SPDX-License-Identifier: Apache-2.0
//
// What do more NeuronCores gain? ResNet-50's convolutions cut into a pipeline of 1, 2 and 4 stages, 4 threads submitting: the
// simulated time from one result to the next, and how many times the throughput of one core that is.
#include <atomic>
#include <thread>

#include "bench/support.h"
#include "models/onnx/builder.h"

namespace {

using opennrt::Result;
using opennrt::Status;
using namespace opennrt::client;

constexpr int kThreads = 4;
constexpr int kInferences = 24;  // enough that filling and draining four stages does not count for much

/// Simulated nanoseconds from one result to the next; 0 when the backend is not the simulator.
Result<double> ns_between_results(const std::vector<std::byte>& neff) {
  const SummaryRequest summary;
  {
    auto session = Session::open();
    if (!session) return tl::unexpected<opennrt::Error>(session.error());
    auto model = Model::load(neff, -1, "resnet50_shape");
    if (!model) return tl::unexpected<opennrt::Error>(model.error());
    std::vector<Binding> bindings;
    for (int t = 0; t < kThreads; ++t) {
      auto binding = Binding::make(*model, NRT_TENSOR_PLACEMENT_VIRTUAL, -1);
      if (!binding) return tl::unexpected<opennrt::Error>(binding.error());
      bindings.push_back(std::move(*binding));
    }
    std::vector<Status> outcomes(kThreads);
    {
      std::atomic<int> next{0};
      std::vector<std::jthread> threads;
      for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
          while (outcomes[t] && next++ < kInferences)
            outcomes[t] =
                check(nrt_execute(model->handle(), bindings[t].inputs(), bindings[t].outputs()), "nrt_execute");
        });
      }
    }
    for (const Status& outcome : outcomes)
      if (!outcome) return tl::unexpected<opennrt::Error>(outcome.error());
  }
  const auto stats = summary.read();
  if (!stats) return tl::unexpected<opennrt::Error>(stats.error());
  return stats->has_value() ? opennrt::client::ns_between_results(**stats, kInferences) : 0.0;
}

void pipeline(benchmark::State& state) {
  static double one_core_ns = 0;
  opennrt::compile::Options options;
  options.auto_cast = opennrt::compile::Options::AutoCast::kMatmult;
  options.cores = static_cast<std::size_t>(state.range(0));
  const auto neff = opennrt::compile::compile_onnx(opennrt::compile::make_resnet50_shape(), options);
  if (!neff) return opennrt::bench::fail(state, neff.error());
  double ns = 0;
  for (auto _ : state) {
    const auto took = ns_between_results(*neff);
    if (!took) return opennrt::bench::fail(state, took.error());
    ns = *took;
  }
  state.SetItemsProcessed(state.iterations() * kInferences);
  if (ns == 0) return;
  if (state.range(0) == 1) one_core_ns = ns;
  state.counters["sim_ms"] = ns * 1e-6;
  if (one_core_ns != 0) state.counters["times_one_core"] = one_core_ns / ns;
}
BENCHMARK(pipeline)
    ->Arg(1)
    ->Arg(2)
    ->Arg(4)
    ->ArgName("cores")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(1);

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
