// SPDX-License-Identifier: Apache-2.0
#include "bench/support.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "tools/support/files.h"

#ifndef OPENNRT_SOURCE_DIR
#error "OPENNRT_SOURCE_DIR is set by CMakeLists.txt"
#endif

namespace opennrt::bench {
namespace {

std::atomic<bool> any_failed{false};

}  // namespace

int run_main(int argc, char** argv) {
  ::setenv("OPENNRT_BACKEND", "sim", /*overwrite=*/0);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("OPENNRT_BACKEND", std::getenv("OPENNRT_BACKEND"));
  const std::size_t ran = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  if (ran == 0) std::fprintf(stderr, "error: no benchmark matches the filter\n");
  return ran == 0 || any_failed ? 1 : 0;
}

void fail(benchmark::State& state, const Error& error) {
  any_failed = true;
  state.SkipWithError(error.message.c_str());
}

std::filesystem::path source_dir() {
  const char* named = std::getenv("OPENNRT_SOURCE_DIR");
  return named != nullptr && *named != '\0' ? named : OPENNRT_SOURCE_DIR;
}

Result<LoadedModel> LoadedModel::load(const std::vector<std::byte>& neff, const std::string& name) {
  LoadedModel loaded;
  loaded.summary_ = std::make_unique<client::SummaryRequest>();
  auto session = client::Session::open();
  if (!session) return tl::unexpected<Error>(session.error());
  loaded.session_.emplace(std::move(*session));
  auto model = client::Model::load(neff, 0, name);
  if (!model) return tl::unexpected<Error>(model.error());
  loaded.model_.emplace(std::move(*model));
  auto binding = client::Binding::make(*loaded.model_, NRT_TENSOR_PLACEMENT_VIRTUAL, -1);
  if (!binding) return tl::unexpected<Error>(binding.error());
  loaded.binding_.emplace(std::move(*binding));
  return loaded;
}

Status LoadedModel::execute() {
  ++executions_;
  return client::check(nrt_execute(model_->handle(), binding_->inputs(), binding_->outputs()), "nrt_execute");
}

Result<std::optional<double>> LoadedModel::close() {
  binding_.reset();
  model_.reset();
  session_.reset();
  const auto stats = summary_->read();
  if (!stats) return tl::unexpected<Error>(stats.error());
  if (!stats->has_value()) return std::optional<double>();
  return std::optional<double>(client::ns_per_inference(**stats, executions_));
}

void measure(benchmark::State& state, const Result<std::vector<std::byte>>& neff, const std::string& name,
             bool warm_up) {
  if (!neff) return fail(state, neff.error());
  auto model = LoadedModel::load(*neff, name);
  if (!model) return fail(state, model.error());
  if (warm_up)
    if (auto status = model->execute(); !status) return fail(state, status.error());
  for (auto _ : state)
    if (auto status = model->execute(); !status) return fail(state, status.error());
  state.SetItemsProcessed(state.iterations());
  const auto simulated = model->close();
  if (!simulated) return fail(state, simulated.error());
  if (simulated->has_value()) state.counters["sim_ms"] = **simulated * 1e-6;
}

}  // namespace opennrt::bench
