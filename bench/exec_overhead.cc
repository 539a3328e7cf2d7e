// SPDX-License-Identifier: Apache-2.0
//
// What does nrt_execute itself cost? One Identity of four values: next to nothing for the device to do.
#include "bench/support.h"
#include "models/onnx/builder.h"

namespace {

void execute_identity(benchmark::State& state) {
  opennrt::bench::measure(state, opennrt::compile::compile_onnx(opennrt::compile::make_identity(), {}), "identity");
}
BENCHMARK(execute_identity)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
