// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/stats.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace opennrt::sim {

Status write_stats(const std::string& path, const std::string& instance, double clock_ghz, std::uint64_t simulated_ps,
                   const std::vector<CoreStatsEntry>& cores) {
  using json = nlohmann::ordered_json;
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
