// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>

#include "core/neff/neff.h"
#include "tools/opennrt/commands.h"
#include "tools/opennrt/device_time.h"
#include "tools/support/client.h"
#include "tools/support/files.h"
#include "tools/support/sim_stats.h"

namespace opennrt::tool {
namespace {

using Clock = std::chrono::steady_clock;

/// What one thread does until time or iterations are used up.
struct Worker {
  client::Model* model = nullptr;
  std::unique_ptr<client::Binding> binding;
  std::vector<double> milliseconds;  ///< of each inference
  Status status;
};

struct Plan {
  Clock::time_point deadline;
  std::optional<std::uint64_t> iterations;
  std::atomic<std::uint64_t> started{0};
  std::atomic<bool> stop{false};

  bool next() {
    if (stop.load(std::memory_order_relaxed)) return false;
    if (iterations) return started.fetch_add(1, std::memory_order_relaxed) < *iterations;
    return Clock::now() < deadline;
  }
};

void work(Worker& worker, Plan& plan) {
  while (plan.next()) {
    const auto begin = Clock::now();
    const NRT_STATUS status = nrt_execute(worker.model->handle(), worker.binding->inputs(), worker.binding->outputs());
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
    worker.status = client::check(status, "executing " + worker.model->name());
    if (!worker.status) {
      plan.stop = true;
      return;
    }
    worker.milliseconds.push_back(took.count());
  }
}

/// `sorted` is not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const auto index = static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[index];
}

void print(const BenchOptions& options, std::vector<double> times, double seconds) {
  std::sort(times.begin(), times.end());
  const double mean = std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
  fmt::print("{}: {} inferences, {} thread{}, {} cop{} of the model\n", options.model, times.size(), options.threads,
             options.threads == 1 ? "" : "s", options.copies, options.copies == 1 ? "y" : "ies");
  fmt::print("  wall time per inference   mean {:.3f} ms, p50 {:.3f}, p90 {:.3f}, p99 {:.3f}, max {:.3f}\n", mean,
             quantile(times, 0.5), quantile(times, 0.9), quantile(times, 0.99), times.back());
  fmt::print("  wall throughput           {:.1f} inferences/s\n", static_cast<double>(times.size()) / seconds);
}

}  // namespace

Status bench(const BenchOptions& options) {
  const auto neff = client::read_file(options.model);
  if (!neff) return tl::unexpected<Error>(neff.error());
  const auto header = neff::parse_header(*neff);
  if (!header) return with_context(header.error(), options.model);
  const client::SummaryRequest summary;
  DeviceTime device_time;
  std::optional<std::uint64_t> device_ns;

  std::vector<Worker> workers(options.threads);
  double seconds = 0;
  {
    auto session = client::Session::open();
    if (!session) return tl::unexpected<Error>(session.error());
    std::vector<std::unique_ptr<client::Model>> models;
    for (std::uint32_t copy = 0; copy < options.copies; ++copy) {
      const int core = options.copies == 1 ? -1 : static_cast<int>(copy * header->num_tpb);
      auto model = client::Model::load(*neff, core, options.model);
      if (!model) return tl::unexpected<Error>(model.error());
      models.push_back(std::make_unique<client::Model>(std::move(*model)));
    }
    for (std::size_t i = 0; i < workers.size(); ++i) {
      workers[i].model = models[i % models.size()].get();
      auto binding = client::Binding::make(*workers[i].model, NRT_TENSOR_PLACEMENT_VIRTUAL, -1);
      if (!binding) return tl::unexpected<Error>(binding.error());
      workers[i].binding = std::make_unique<client::Binding>(std::move(*binding));
    }

    Plan plan;
    plan.iterations = options.iterations;
    const auto begin = Clock::now();
    plan.deadline = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
    {
      std::vector<std::jthread> threads;
      threads.reserve(workers.size());
      for (Worker& worker : workers) threads.emplace_back([&worker, &plan] { work(worker, plan); });
    }
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (device_time.known()) {  // one inference more, so that timing it takes no part in what was measured
      Worker& worker = workers.front();
      if (auto begun = device_time.begin(); !begun) return begun;
      Plan once;
      once.iterations = 1;
      work(worker, once);
      if (worker.status) worker.milliseconds.pop_back();
      const auto took = device_time.end();
      if (!took) return tl::unexpected<Error>(took.error());
      device_ns = *took;
    }
    for (Worker& worker : workers) worker.binding.reset();
  }

  std::vector<double> times;
  for (const Worker& worker : workers) {
    if (!worker.status) return worker.status;
    times.insert(times.end(), worker.milliseconds.begin(), worker.milliseconds.end());
  }
  if (times.empty()) return make_error(ErrorCode::kTimeout, "no inference was started within {} s", options.seconds);
  const std::uint64_t inferences = times.size();
  print(options, std::move(times), seconds);
  const auto stats = summary.read();
  if (!stats) return tl::unexpected<Error>(stats.error());
  if (stats->has_value())
    print_latency(**stats, inferences);
  else if (device_ns)
    fmt::print(
        "  simulated time            {:.3f} us per inference, from the first doorbell to the last notification\n",
        static_cast<double>(*device_ns) * 1e-3);
  else
    fmt::print("  simulated time            not known: the backend is not the simulator\n");
  return {};
}

}  // namespace opennrt::tool
