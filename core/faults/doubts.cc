// SPDX-License-Identifier: Apache-2.0
#include "core/faults/doubts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "core/faults/catalogue.h"
#include "core/faults/injector.h"
#include "core/faults/names.h"

namespace opennrt::faults {
namespace {

constexpr std::uint32_t kMostDevices = 16, kCoresPerDevice = 4;  // inf1.24xlarge; Inferentia
constexpr std::size_t kLongestCommand = 15;                      // proc(5): /proc/<pid>/comm is cut to it

struct Marker {
  std::string_view name;
  std::uint64_t count = 1;

  explicit Marker(std::string_view text) : name(text.substr(0, text.rfind(':'))) {
    if (name.size() < text.size()) std::from_chars(text.data() + name.size() + 1, text.data() + text.size(), count);
  }
};

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Operations of opennrt/backend.h that are about no device, or about no core of it.
constexpr auto kOfNoDevice = std::to_array<std::string_view>(
    {"open", "close", "version", "devices", "cores_reserve", "cores_release", "core_holder"});
constexpr auto kOfNoCore = std::to_array<std::string_view>(
    {"device_open", "device_close", "device_info", "bar_read", "bar_write", "counters_map", "counters_unmap", "clock"});

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

/// Collects what is said about one rule.
class Doubter {
 public:
  Doubter(const Plan& plan, const Rule& rule, std::vector<std::string>& said) : plan_(plan), rule_(rule), said_(said) {}

  void all() {
    markers();
    places();
    engines_of_kind();
    operations_of_places();
    subjects();
  }

 private:
  void say(const std::string& what) {
    said_.push_back(fmt::format("{}{}: rules[{}] ({}): {}", plan_.source,
                                rule_.line == 0 ? "" : fmt::format(":{}", rule_.line), rule_.position, rule_.name,
                                what));
  }

  void markers() {
    const When& when = rule_.when;
    for (const std::string& text : {when.from, when.to}) {
      const Marker marker(text);
      if (!marker.name.starts_with("nrt") || contains(functions(), marker.name)) continue;
      const std::string_view near = nearest(marker.name, functions());
      if (!near.empty() || marker.name.starts_with("nrt_"))
        say(fmt::format("\"{}\" is no function of the C API{}: only opennrt_marker passes it", marker.name,
                        near.empty() ? "" : fmt::format(" (is {} meant?)", near)));
    }
    if (when.from.empty() || when.to.empty()) return;
    const Marker from(when.from), to(when.to);
    if (from.name == to.name && from.count >= to.count)
      say(fmt::format("it holds from \"{}\" to \"{}\", which comes before that: never", when.from, when.to));
  }

  void places() {
    const Where& where = rule_.where;
    if (where.device && *where.device >= kMostDevices)
      say(fmt::format("where.device is {}, and no instance has more than {} devices", *where.device, kMostDevices));
    if (where.core && *where.core >= kCoresPerDevice)
      say(fmt::format("where.core is {}, and a device has {} cores, each device counts its own from 0", *where.core,
                      kCoresPerDevice));
    const auto stars = static_cast<std::size_t>(std::count(where.process.begin(), where.process.end(), '*'));
    if (where.process.size() - stars > kLongestCommand)
      say(fmt::format("where.process is \"{}\", and the system cuts the name of a command to {} characters (\"{}\")",
                      where.process, kLongestCommand, where.process.substr(0, kLongestCommand)));
  }

  void engines_of_kind() {
    if (rule_.kind->level != Level::kChip) return;
    const std::string_view kind = rule_.kind->name;
    const bool flip = kind == "data_bit_flip";
    const bool dma = flip ? text(rule_, "memory") == "dma"
                          : is_one_of(kind, {"dram_correctable", "dram_uncorrectable", "dma_abort", "dma_stall",
                                             "descriptor_corrupt", "link_down"});
    const std::string what =
        flip ? fmt::format("{} with detail.memory {}", kind, text(rule_, "memory")) : std::string(kind);
    if (flip && !dma && rule_.where.queue)
      say(fmt::format("where.queue is {}, and {} is of an engine, which has no queue", *rule_.where.queue, what));
    if (rule_.where.engine.empty()) return;
    const auto possible = [&](std::string_view name) {
      return name.starts_with("dma") == dma && matches(rule_.where.engine, name);
    };
    if (std::none_of(engines().begin(), engines().end(), possible))
      say(fmt::format("where.engine is \"{}\", and {} is of {}", rule_.where.engine, what,
                      dma ? "dma0 to dma11" : "pe, act and pool"));
  }

  /// A place that none of the operations meant is about.
  void operations_of_places() {
    const Where& where = rule_.where;
    if (rule_.kind->level != Level::kDriver || where.operation.empty()) return;
    const bool removal = rule_.kind->name == "drv_device_removed";
    const auto possible = [&](std::string_view name) {
      if (!matches(where.operation, name)) return false;
      if (contains(kOfNoDevice, name)) return !removal && !where.device && !where.core;
      return !where.core || !contains(kOfNoCore, name);
    };
    if (std::any_of(operations().begin(), operations().end(), possible)) return;
    say(fmt::format("where.operation is \"{}\", which is about no {}", where.operation,
                    where.core && !where.device && !removal ? "core" : "device or none of its cores"));
  }

  void subjects() {
    const Where& where = rule_.where;
    if (rule_.kind->level != Level::kFrontDoor) return;
    const auto none = [&](bool (*names)(std::string_view)) {
      return std::none_of(functions().begin(), functions().end(), [&](std::string_view name) {
        return names(name) && (where.function.empty() || matches(where.function, name));
      });
    };
    if (!where.tensor.empty() && none(names_tensor))
      say(fmt::format("where.tensor is \"{}\", and {} is told no tensor's name", where.tensor, where.function));
    if (!where.model.empty() && none(names_model))
      say(fmt::format("where.model is \"{}\", and {} is told no model", where.model, where.function));
  }

  const Plan& plan_;
  const Rule& rule_;
  std::vector<std::string>& said_;
};

}  // namespace

std::vector<std::string> doubts(const Plan& plan) {
  std::vector<std::string> said;
  for (const Rule& rule : plan.rules) Doubter(plan, rule, said).all();
  return said;
}

}  // namespace opennrt::faults
