// SPDX-License-Identifier: Apache-2.0
#include "simulator/faults/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/isa/inf1.h"

namespace opennrt::sim {
namespace {

constexpr std::array<std::string_view, kFaults> kNames = {
    "sram_correctable", "sram_uncorrectable", "dram_correctable", "dram_uncorrectable",
    "data_bit_flip",    "dma_abort",          "dma_stall",        "descriptor_corrupt",
    "engine_hang",      "engine_slow",        "nan_produced",     "notification_overflow",
    "semaphore_stuck",  "link_down",          "firmware_silent"};

constexpr std::array<std::string_view, inf1::kDmaEnginesPerDevice> kDmaEngines = {
    "dma0", "dma1", "dma2", "dma3", "dma4", "dma5", "dma6", "dma7", "dma8", "dma9", "dma10", "dma11"};

}  // namespace

std::string describe(const faults::Strike& strike) {
  return fmt::format("fault injection: rule '{}' ({}) strikes at event {} of device {}{}, {} ns", strike.rule->name,
                     strike.rule->kind->name, strike.event, strike.device,
                     strike.core < 0 ? "" : fmt::format(" core {}", strike.core), strike.now_ns);
}

std::string_view dma_engine_name(std::uint32_t engine) {
  return kDmaEngines[engine % kDmaEngines.size()];
}

std::byte one_bit(const faults::Rule& rule) {
  return std::byte{1} << static_cast<int>(faults::integer(rule, "bit"));
}

std::byte pair_of_bits(const faults::Rule& rule) {
  const auto bit = static_cast<unsigned>(faults::integer(rule, "bit"));
  return static_cast<std::byte>(1u << bit | 1u << (bit + 1) % 8);
}

std::shared_ptr<Faults> Faults::of(const faults::Plan& plan) {
  static std::string kept_plan;
  static std::shared_ptr<Faults> kept;
  if (!plan.has(faults::Level::kChip)) {
    kept.reset();
    return nullptr;
  }
  if (std::string text = faults::to_json(plan); kept == nullptr || text != kept_plan) {
    kept = std::make_shared<Faults>(plan);
    kept_plan = std::move(text);
  }
  return kept;
}

Faults::Faults(const faults::Plan& plan) {
  for (const faults::Rule& rule : plan.rules) {
    const auto name = std::find(kNames.begin(), kNames.end(), rule.kind->name);
    if (name == kNames.end()) continue;  // another level's
    faults::Plan alone{plan.seed, {rule}, plan.source};
    auto injector = std::make_unique<faults::Injector>(std::move(alone), faults::Level::kChip);
    if (!injector->wants(*rule.kind)) continue;  // another process's
    injector->on_strike([this](const faults::Strike& strike) {
      if (tell_) tell_(strike);
    });
    armed_[static_cast<std::size_t>(name - kNames.begin())].push_back({rule, std::move(injector)});
  }
}

void Faults::marker(std::string_view name) {
  for (const auto& of_kind : armed_)
    for (const Armed& armed : of_kind) armed.injector->marker(name);
}

const faults::Rule* Faults::strike(Armed& armed, const FaultPlace& place, std::uint64_t now_ns) {
  faults::Event event;
  event.device = place.device;
  event.core = place.core;
  event.queue = place.queue;
  event.engine = place.engine;
  event.now_ns = now_ns;
  return armed.injector->strike(*armed.rule.kind, event);
}

}  // namespace opennrt::sim
