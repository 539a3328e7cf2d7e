// SPDX-License-Identifier: Apache-2.0
//
// What does fault injection cost an inference and a call of the driver: without a plan, with rules for another level (both times
// the decorator is not loaded and the runtime holds the backend's own functions), with rules that watch every operation and
// never strike, and with notification queues in between?
#include <cstdlib>

#include "bench/support.h"
#include "models/onnx/builder.h"

namespace {

constexpr const char* kPlans[] = {
    nullptr,
    R"({"version": 1, "rules": [{"fault": "fd_latency", "where": {"function": "nrt_unload"}, "when": {"nth": 1000000000}}]})",
    R"({"version": 1, "rules": [{"fault": "drv_error", "when": {"nth": 1000000000}}]})",
    R"({"version": 1, "rules": [{"fault": "drv_notification_lost", "when": {"nth": 1000000000}}]})"};

void use(std::int64_t plan) {
  if (kPlans[plan] == nullptr)
    ::unsetenv("OPENNRT_FAULTS");
  else
    ::setenv("OPENNRT_FAULTS", kPlans[plan], 1);
}

void execute(benchmark::State& state, std::int64_t plan) {
  use(plan);
  opennrt::bench::measure(state, opennrt::compile::compile_onnx(opennrt::compile::make_identity(), {}), "identity");
}
BENCHMARK_CAPTURE(execute, no_plan, 0)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK_CAPTURE(execute, other_level, 1)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK_CAPTURE(execute, watched, 2)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK_CAPTURE(execute, notifications, 3)->Unit(benchmark::kMicrosecond)->UseRealTime();

/// One call of the driver, mem_stats.
void driver_call(benchmark::State& state, std::int64_t plan) {
  use(plan);
  const auto session = opennrt::client::Session::open();
  if (!session) return opennrt::bench::fail(state, session.error());
  nrt_vnc_memory_stats_t stats{};
  std::size_t bytes = 0;
  for (auto _ : state) nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &bytes);
}
BENCHMARK_CAPTURE(driver_call, no_plan, 0)->Unit(benchmark::kNanosecond);
BENCHMARK_CAPTURE(driver_call, other_level, 1)->Unit(benchmark::kNanosecond);
BENCHMARK_CAPTURE(driver_call, watched, 2)->Unit(benchmark::kNanosecond);

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
