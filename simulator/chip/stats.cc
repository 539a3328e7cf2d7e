// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/stats.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace opennrt::sim {

namespace {

using json = nlohmann::ordered_json;

/// Where the core is under its roof. An operation is a multiplication or an addition of the tensor engine.
json roofline(const CoreStats& s, const Roof& roof) {
  const double span_ns = static_cast<double>(s.last_end_ps - s.first_start_ps) / 1000;
  const double operations =
      2.0 * static_cast<double>(s.engines[static_cast<std::size_t>(isa::Engine::kPe)].useful_operations);
  const auto bytes = static_cast<double>(s.dram_read_bytes + s.dram_write_bytes);
  json out;
  out["operations"] = operations;
  out["dram_bytes"] = bytes;
  out["operations_per_byte"] = bytes > 0 ? operations / bytes : 0;
  out["peak_gflops"] = roof.operations_per_ns;
  out["dram_gigabytes_per_second"] = roof.bytes_per_ns;
  const double slope = bytes > 0 ? operations / bytes * roof.bytes_per_ns : roof.operations_per_ns;
  out["attainable_gflops"] = std::min(roof.operations_per_ns, slope);
  out["achieved_gflops"] = span_ns > 0 ? operations / span_ns : 0;
  out["bound"] = slope < roof.operations_per_ns ? "memory" : "compute";
  return out;
}

}  // namespace

Status write_stats(const std::string& path, const std::string& instance, double clock_ghz, const Roof& roof,
                   std::uint64_t simulated_ps, const std::vector<CoreStatsEntry>& cores) {
  json root;
  root["format"] = 1;
  root["instance"] = instance;
  root["clock_ghz"] = clock_ghz;
  root["simulated_ns"] = simulated_ps / 1000;
  root["cores"] = json::array();
  for (const CoreStatsEntry& entry : cores) {
    const CoreStats& s = entry.stats;
    if (!s.touched()) continue;
    json core;
    core["device"] = entry.device;
    core["core"] = entry.core;
    core["first_start_ns"] = s.first_start_ps / 1000;
    core["last_end_ns"] = s.last_end_ps / 1000;
    for (std::size_t e = 0; e < isa::kEngines; ++e) {
      const EngineStats& engine = s.engines[e];
      json& out = core["engines"][std::string(isa::engine_name(static_cast<isa::Engine>(e)))];
      out["instructions"] = engine.instructions;
      out["busy_cycles"] = engine.busy_cycles;
      out["busy_ns"] = engine.busy_ps / 1000;
      out["stalled_semaphore_ns"] = engine.semaphore_wait_ps / 1000;
      out["stalled_event_ns"] = engine.event_wait_ps / 1000;
      out["stalled_instructions_ns"] = engine.starved_ps / 1000;
      out["useful_operations"] = engine.useful_operations;
      json& waits = out["stalled_on_semaphore_ns"] = json::object();
      for (std::size_t i = 0; i < engine.semaphore_wait_each_ps.size(); ++i) {
        if (const std::uint64_t ps = engine.semaphore_wait_each_ps[i]; ps != 0) waits[std::to_string(i)] = ps / 1000;
      }
    }
    json& dma = core["dma"];
    dma["packets"] = s.dma_packets;
    dma["descriptors"] = s.dma_descriptors;
    dma["aborts"] = s.dma_aborts;
    dma["dram_read_bytes"] = s.dram_read_bytes;
    dma["dram_write_bytes"] = s.dram_write_bytes;
    dma["host_read_bytes"] = s.host_read_bytes;
    dma["host_write_bytes"] = s.host_write_bytes;
    dma["core_memory_read_bytes"] = s.core_memory_read_bytes;
    dma["core_memory_write_bytes"] = s.core_memory_write_bytes;
    dma["instruction_bytes"] = s.instruction_bytes;
    dma["neighbour_read_bytes"] = s.neighbour_read_bytes;
    dma["neighbour_write_bytes"] = s.neighbour_write_bytes;
    json& queues = dma["queues"] = json::array();
    for (std::size_t i = 0; i < s.queues.size(); ++i) {
      const QueueStats& queue = s.queues[i];
      if (queue.packets == 0) continue;
      queues.push_back({{"engine", i / inf1::kQueuesPerDmaEngine},
                        {"queue", i % inf1::kQueuesPerDmaEngine},
                        {"packets", queue.packets},
                        {"bytes", queue.bytes},
                        {"busy_ns", queue.busy_ps / 1000}});
    }
    core["roofline"] = roofline(s, roof);
    core["notifications"] = s.notifications;
    core["notifications_lost"] = s.notifications_lost;
    root["cores"].push_back(std::move(core));
  }
  std::ofstream file(path);
  file << root.dump(2) << '\n';
  file.close();
  if (!file)
    return make_error(ErrorCode::kResource, "cannot write the statistics file {}: {}", path, std::strerror(errno));
  return {};
}

}  // namespace opennrt::sim
