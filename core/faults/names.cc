// SPDX-License-Identifier: Apache-2.0
#include "core/faults/names.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <vector>

namespace opennrt::faults {
namespace {

constexpr auto kEngines = std::to_array<std::string_view>({"pe", "act", "pool", "dma0", "dma1", "dma2", "dma3", "dma4",
                                                           "dma5", "dma6", "dma7", "dma8", "dma9", "dma10", "dma11"});

constexpr auto kOperations = std::to_array<std::string_view>({
    "open",
    "close",
    "version",
    "devices",
    "device_open",
    "device_close",
    "device_info",
    "cores_reserve",
    "cores_release",
    "core_holder",
    "core_lock",
    "core_unlock",
    "mem_alloc",
    "mem_free",
    "mem_info",
    "mem_map",
    "mem_unmap",
    "mem_write",
    "mem_read",
    "mem_copy",
    "mem_set",
    "mem_stats",
    "dma_engine_set_state",
    "dma_engine_get_state",
    "dma_queue_init",
    "dma_write_descriptors",
    "dma_queue_start",
    "dma_queue_get_state",
    "dma_queue_release",
    "dma_quiesce",
    "bar_read",
    "bar_write",
    "semaphore_read",
    "semaphore_write",
    "semaphore_increment",
    "semaphore_decrement",
    "event_get",
    "event_set",
    "nq_init",
    "nq_destroy",
    "nq_consume",
    "reset_start",
    "reset_wait",
    "clock",
    "wait",
    "counters_map",
    "counters_unmap",
    "work_started",
});

struct Described {
  std::string_view name, result, parameters;
};
constexpr Described kDescribed[] = {
#define OPENNRT_FUNCTION(result, name, parameters, arguments) {#name, #result, #parameters},
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION
};

constexpr auto names_of() {
  std::array<std::string_view, std::size(kDescribed)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kDescribed[i].name;
  return names;
}
constexpr auto kFunctions = names_of();

const Described* described(std::string_view function) {
  const auto found = std::find(kFunctions.begin(), kFunctions.end(), function);
  return found == kFunctions.end() ? nullptr : &kDescribed[found - kFunctions.begin()];
}

bool has_part(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0 : 1)});
      corner = above;
    }
  }
  return row.back();
}

}  // namespace

std::span<const std::string_view> engines() {
  return kEngines;
}

std::span<const std::string_view> operations() {
  return kOperations;
}

std::span<const std::string_view> functions() {
  return kFunctions;
}

bool returns_status(std::string_view function) {
  const Described* found = described(function);
  return found != nullptr && found->result == "NRT_STATUS";
}

// As core/api/door_call.h finds them in the arguments.
bool names_tensor(std::string_view function) {
  const Described* found = described(function);
  return found != nullptr &&
         (has_part(found->parameters, "nrt_tensor_t* ") || function == "nrt_tensor_free" ||
          has_part(found->parameters, "char* name") || has_part(found->parameters, "char* tensor_name"));
}

bool names_model(std::string_view function) {
  const Described* found = described(function);
  return found != nullptr &&
         (has_part(found->parameters, "nrt_model_t* ") || function == "nrt_load" || function == "nrt_load_collectives");
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> names) {
  std::string_view best;
  std::size_t least = std::max<std::size_t>(2, name.size() / 3) + 1;
  if (name.size() > 64) return best;
  for (const std::string_view candidate : names) {
    const std::size_t changes = distance(name, candidate);
    if (changes < least) {
      least = changes;
      best = candidate;
    }
  }
  return best;
}

}  // namespace opennrt::faults
