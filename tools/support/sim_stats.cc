// SPDX-License-Identifier: Apache-2.0
#include "tools/support/sim_stats.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <system_error>

#include "tools/support/files.h"

namespace opennrt::client {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxSummaryBytes = 16 << 20;
constexpr int kFormat = 1;

SimStats::Engine parse_engine(const json& from) {
  SimStats::Engine engine;
  from.at("instructions").get_to(engine.instructions);
  from.at("busy_cycles").get_to(engine.busy_cycles);
  from.at("useful_operations").get_to(engine.useful_operations);
  from.at("busy_ns").get_to(engine.busy_ns);
  from.at("stalled_semaphore_ns").get_to(engine.stalled_semaphore_ns);
  from.at("stalled_event_ns").get_to(engine.stalled_event_ns);
  from.at("stalled_instructions_ns").get_to(engine.stalled_instructions_ns);
  for (const auto& [semaphore, ns] : from.at("stalled_on_semaphore_ns").items())
    engine.stalled_on_semaphore_ns[static_cast<std::uint32_t>(std::strtoul(semaphore.c_str(), nullptr, 10))] =
        ns.get<std::uint64_t>();
  return engine;
}

SimStats::Core parse_core(const json& from) {
  SimStats::Core core;
  from.at("device").get_to(core.device);
  from.at("core").get_to(core.core);
  from.at("first_start_ns").get_to(core.first_start_ns);
  from.at("last_end_ns").get_to(core.last_end_ns);
  const json& engines = from.at("engines");
  for (std::size_t e = 0; e < isa::kEngines; ++e)
    core.engines[e] = parse_engine(engines.at(std::string(isa::engine_name(static_cast<isa::Engine>(e)))));
  const json& dma = from.at("dma");
  dma.at("dram_read_bytes").get_to(core.dram_read_bytes);
  dma.at("dram_write_bytes").get_to(core.dram_write_bytes);
  dma.at("host_read_bytes").get_to(core.host_read_bytes);
  dma.at("host_write_bytes").get_to(core.host_write_bytes);
  dma.at("core_memory_read_bytes").get_to(core.core_memory_read_bytes);
  dma.at("core_memory_write_bytes").get_to(core.core_memory_write_bytes);
  dma.at("instruction_bytes").get_to(core.instruction_bytes);
  dma.at("neighbour_read_bytes").get_to(core.neighbour_read_bytes);
  dma.at("neighbour_write_bytes").get_to(core.neighbour_write_bytes);
  for (const json& one : dma.at("queues")) {
    SimStats::Queue& queue = core.queues.emplace_back();
    one.at("engine").get_to(queue.engine);
    one.at("queue").get_to(queue.queue);
    one.at("packets").get_to(queue.packets);
    one.at("bytes").get_to(queue.bytes);
    one.at("busy_ns").get_to(queue.busy_ns);
  }
  const json& roof = from.at("roofline");
  roof.at("operations_per_byte").get_to(core.roofline.operations_per_byte);
  roof.at("peak_gflops").get_to(core.roofline.peak_gflops);
  roof.at("dram_gigabytes_per_second").get_to(core.roofline.dram_gigabytes_per_second);
  roof.at("attainable_gflops").get_to(core.roofline.attainable_gflops);
  roof.at("achieved_gflops").get_to(core.roofline.achieved_gflops);
  roof.at("bound").get_to(core.roofline.bound);
  return core;
}

}  // namespace

Result<SimStats> read_sim_stats(const std::filesystem::path& path) {
  const auto bytes = read_file(path, kMaxSummaryBytes);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  try {
    const json root = json::parse(reinterpret_cast<const char*>(bytes->data()),
                                  reinterpret_cast<const char*>(bytes->data()) + bytes->size());
    if (const int format = root.at("format").get<int>(); format != kFormat)
      return make_error(ErrorCode::kInvalidFile, "{}: format is {}, expected {}", path.string(), format, kFormat);
    SimStats stats;
    root.at("instance").get_to(stats.instance);
    root.at("clock_ghz").get_to(stats.clock_ghz);
    root.at("simulated_ns").get_to(stats.simulated_ns);
    for (const json& core : root.at("cores")) {
      stats.cores.push_back(parse_core(core));
      if (stats.cores.back().last_end_ns < stats.cores.back().first_start_ns)
        return make_error(ErrorCode::kInvalidFile, "{}: last_end_ns is {}, expected at least first_start_ns, {}",
                          path.string(), stats.cores.back().last_end_ns, stats.cores.back().first_start_ns);
    }
    return stats;
  } catch (const json::exception& error) {
    return make_error(ErrorCode::kInvalidFile, "{} is not a summary of the simulator: {}", path.string(), error.what());
  }
}

double ns_per_inference(const SimStats& stats, std::uint64_t inferences) {
  double sum = 0;
  for (const SimStats::Core& core : stats.cores) sum += static_cast<double>(core.span_ns());
  return inferences == 0 ? 0 : sum / static_cast<double>(inferences);
}

double ns_between_results(const SimStats& stats, std::uint64_t inferences) {
  if (inferences == 0 || stats.cores.empty()) return 0;
  std::uint64_t first = stats.cores[0].first_start_ns, last = stats.cores[0].last_end_ns;
  for (const SimStats::Core& core : stats.cores) {
    first = std::min(first, core.first_start_ns);
    last = std::max(last, core.last_end_ns);
  }
  return static_cast<double>(last - first) / static_cast<double>(inferences);
}

SummaryRequest::SummaryRequest() {
  if (const char* named = std::getenv("OPENNRT_SIM_STATS"); named != nullptr && *named != '\0') {
    file_ = named;
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);  // an old one must not be taken for ours
    return;
  }
  std::string pattern = (std::filesystem::temp_directory_path() / "opennrt-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return;
  folder_ = pattern;
  file_ = folder_ / "stats.json";
  ::setenv("OPENNRT_SIM_STATS", file_.c_str(), 1);
}

SummaryRequest::~SummaryRequest() {
  if (folder_.empty()) return;
  ::unsetenv("OPENNRT_SIM_STATS");
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Result<std::optional<SimStats>> SummaryRequest::read() const {
  std::error_code ignored;
  if (file_.empty() || !std::filesystem::exists(file_, ignored)) return std::optional<SimStats>();
  auto stats = read_sim_stats(file_);
  if (!stats) return tl::unexpected<Error>(stats.error());
  return std::optional<SimStats>(std::move(*stats));
}

}  // namespace opennrt::client
