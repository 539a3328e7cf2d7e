// SPDX-License-Identifier: Apache-2.0
//
// How long does one simulated inference of the digits network take, on the wall and on the chip?
#include "bench/support.h"
#include "tools/support/files.h"

namespace {

using opennrt::compile::Options;

void digits(benchmark::State& state, Options::AutoCast auto_cast) {
  const auto onnx =
      opennrt::client::read_file(opennrt::bench::source_dir() / "models" / "zoo" / "digits" / "digits.onnx");
  if (!onnx) return opennrt::bench::fail(state, onnx.error());
  Options options;
  options.auto_cast = auto_cast;
  opennrt::bench::measure(state, opennrt::compile::compile_onnx(*onnx, options), "digits");
}
BENCHMARK_CAPTURE(digits, fp32, Options::AutoCast::kNone)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(digits, bf16, Options::AutoCast::kMatmult)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
