// SPDX-License-Identifier: Apache-2.0
//
// What do faults at the front door cost where there are none? The smallest call of the C API without a plan, with a plan
// that has nothing for the front door (the same way is taken), and with one whose rule is about another function. On the null
// backend; no model, no simulator.
#include <benchmark/benchmark.h>
#include <nrt/nrt.h>

#include <cstdlib>

namespace {

constexpr const char* kOfTheDriver = R"({"version": 1, "rules": [{"fault": "drv_slow", "when": {"nth": 1000000000}}]})";
constexpr const char* kElsewhere =
    R"({"version": 1, "rules": [{"fault": "fd_latency", "where": {"function": "nrt_load"}}]})";

/// nrt_init reads the plan anew.
void call(benchmark::State& state, const char* plan) {
  if (plan != nullptr) setenv("OPENNRT_FAULTS", plan, 1);
  if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return state.SkipWithError("nrt_init failed");
  for (auto _ : state) benchmark::DoNotOptimize(nrt_get_status_as_str(NRT_TIMEOUT));
  nrt_close();
  unsetenv("OPENNRT_FAULTS");
}
BENCHMARK_CAPTURE(call, no_plan, nullptr);
BENCHMARK_CAPTURE(call, plan_for_the_driver, kOfTheDriver);
BENCHMARK_CAPTURE(call, plan_for_another_function, kElsewhere);

}  // namespace

int main(int argc, char** argv) {
  setenv("OPENNRT_BACKEND", "null", 1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
