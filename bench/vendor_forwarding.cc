// SPDX-License-Identifier: Apache-2.0
//
// What does forwarding a call to the vendor's library cost? A function that does nothing, called directly, and through
// the front door: counted only, timed (OPENNRT_CALL_STATS), recorded (OPENNRT_CALL_RECORD).
#include <benchmark/benchmark.h>
#include <dlfcn.h>
#include <nrt/nrt.h>

#include <cstdio>
#include <cstdlib>

namespace {

using Execute = decltype(&nrt_execute);
Execute direct = nullptr;

void run(benchmark::State& state, Execute execute) {
  for (auto _ : state) benchmark::DoNotOptimize(execute(nullptr, nullptr, nullptr));
}

void called_directly(benchmark::State& state) {
  run(state, direct);
}
BENCHMARK(called_directly);

/// nrt_init reads the variables anew.
void forwarded(benchmark::State& state, const char* variable, const char* value) {
  if (variable != nullptr) setenv(variable, value, 1);
  if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return state.SkipWithError("nrt_init failed");
  run(state, &nrt_execute);
  nrt_close();
  if (variable != nullptr) unsetenv(variable);
}
BENCHMARK_CAPTURE(forwarded, counted, nullptr, nullptr);
BENCHMARK_CAPTURE(forwarded, timed, "OPENNRT_CALL_STATS", "/dev/null");
BENCHMARK_CAPTURE(forwarded, recorded, "OPENNRT_CALL_RECORD", "/dev/null");

}  // namespace

int main(int argc, char** argv) {
  setenv("OPENNRT_BACKEND", "vendor", 1);
  setenv("OPENNRT_VENDOR_LIBNRT", OPENNRT_BENCH_STUB, 1);
  void* stub = dlopen(OPENNRT_BENCH_STUB, RTLD_NOW | RTLD_LOCAL);
  if (stub == nullptr || (direct = reinterpret_cast<Execute>(dlsym(stub, "nrt_execute"))) == nullptr) {
    std::fprintf(stderr, "vendor_forwarding: %s\n", dlerror());
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
