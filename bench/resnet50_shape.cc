// SPDX-License-Identifier: Apache-2.0
//
// How long does a network of real size take to simulate? ResNet-50's 53 convolutions with random weights, one 224x224 image,
// matrix products in bf16 as the vendor's compiler has them by default.
#include "bench/support.h"
#include "models/onnx/builder.h"

namespace {

void resnet50_shape(benchmark::State& state) {
  opennrt::compile::Options options;
  options.auto_cast = opennrt::compile::Options::AutoCast::kMatmult;
  const auto neff = opennrt::compile::compile_onnx(opennrt::compile::make_resnet50_shape(), options);
  opennrt::bench::measure(state, neff, "resnet50_shape", /*warm_up=*/false);
}
BENCHMARK(resnet50_shape)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
