// SPDX-License-Identifier: Apache-2.0
//
// How far is writing and reading a tensor from a memcpy of the same bytes? Both are timed in turns in the same loop; the counter
// `times_memcpy` is their ratio. VIRTUAL tensors are what applications on Inf1 bind; DEVICE tensors cross the DMA engines.
#include <chrono>
#include <cstring>

#include "bench/support.h"

namespace {

using opennrt::client::Session;
using opennrt::client::Tensor;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void transfer(benchmark::State& state, nrt_tensor_placement_t placement, bool write) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const auto session = Session::open();
  if (!session) return opennrt::bench::fail(state, session.error());
  auto tensor = Tensor::allocate(placement, 0, bytes, "tensor");
  if (!tensor) return opennrt::bench::fail(state, tensor.error());
  std::vector<std::byte> buffer(bytes, std::byte{1}), other(bytes, std::byte{2});
  if (auto status = tensor->write(buffer); !status) return opennrt::bench::fail(state, status.error());

  double tensor_seconds = 0, memcpy_seconds = 0;
  for (auto _ : state) {
    auto begin = Clock::now();
    std::memcpy(other.data(), buffer.data(), bytes);
    benchmark::DoNotOptimize(other.data());
    benchmark::ClobberMemory();
    memcpy_seconds += seconds_since(begin);

    begin = Clock::now();
    const auto status = write ? tensor->write(buffer) : tensor->read(buffer);
    const double took = seconds_since(begin);
    if (!status) return opennrt::bench::fail(state, status.error());
    tensor_seconds += took;
    state.SetIterationTime(took);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  state.counters["memcpy_GBps"] =
      1e-9 * static_cast<double>(bytes) * static_cast<double>(state.iterations()) / memcpy_seconds;
  state.counters["times_memcpy"] = tensor_seconds / memcpy_seconds;
}

void sizes(benchmark::internal::Benchmark* b) {
  b->RangeMultiplier(16)->Range(4 << 10, 16 << 20)->UseManualTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(transfer, virtual_write, NRT_TENSOR_PLACEMENT_VIRTUAL, true)->Apply(sizes);
BENCHMARK_CAPTURE(transfer, virtual_read, NRT_TENSOR_PLACEMENT_VIRTUAL, false)->Apply(sizes);
BENCHMARK_CAPTURE(transfer, device_write, NRT_TENSOR_PLACEMENT_DEVICE, true)->Apply(sizes);
BENCHMARK_CAPTURE(transfer, device_read, NRT_TENSOR_PLACEMENT_DEVICE, false)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  return opennrt::bench::run_main(argc, argv);
}
