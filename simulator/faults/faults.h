// SPDX-License-Identifier: Apache-2.0
//
// The chip's side of a fault plan (core/faults): where an event of the machine meets the rules. What a fault does is
// with the unit that it befalls: engine_faults.cc, dma_faults.cc, chip_faults.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/faults/catalogue.h"
#include "core/faults/injector.h"

namespace opennrt::sim {

/// The kinds that happen in a chip, in the order of their names in faults.cc.
enum class Fault : std::uint8_t {
  kSramCorrectable,
  kSramUncorrectable,
  kDramCorrectable,
  kDramUncorrectable,
  kDataBitFlip,
  kDmaAbort,
  kDmaStall,
  kDescriptorCorrupt,
  kEngineHang,
  kEngineSlow,
  kNanProduced,
  kNotificationOverflow,
  kSemaphoreStuck,
  kLinkDown,
  kFirmwareSilent,
};
inline constexpr std::size_t kFaults = 15;

/// Where in the machine an event happens; what has no meaning there stays as it is here.
struct FaultPlace {
  std::int64_t device = -1, core = -1;
  std::string_view engine{};  ///< pe, act, pool, dma0 … dma11; lives as long as the program
  std::int64_t queue = -1;
};

/// One sentence for the log.
std::string describe(const faults::Strike& strike);

std::string_view dma_engine_name(std::uint32_t engine);

/// The bit of a byte that a rule's `bit` names; the pair that an error correction sees and cannot undo.
std::byte one_bit(const faults::Rule& rule);
std::byte pair_of_bits(const faults::Rule& rule);

/// Counts events and says which rules strike. Simulation thread only, but for of().
class Faults {
 public:
  /// Null when no rule of the plan is the chip's: then nothing in the machine ever asks. The same plan again gives the
  /// same object, so that what has struck has struck, also after the machine was off: a runtime that is opened again
  /// finds it well. With another plan, or none, everything begins anew. One caller at a time.
  static std::shared_ptr<Faults> of(const faults::Plan& plan);
  explicit Faults(const faults::Plan& plan);

  /// Told of each strike, where and when it happens.
  void on_strike(std::function<void(const faults::Strike&)> tell) { tell_ = std::move(tell); }

  /// The program has passed a marker.
  void marker(std::string_view name);

  bool wants(Fault fault) const { return !armed_[static_cast<std::size_t>(fault)].empty(); }
  /// An event: calls `act(rule)` for each rule that strikes. Only rules for which `applies(rule)` is true count it.
  template <typename Applies, typename Act>
  void at(Fault fault, const FaultPlace& place, std::uint64_t now_ns, Applies&& applies, Act&& act) {
    for (Armed& armed : armed_[static_cast<std::size_t>(fault)]) {
      if (!applies(armed.rule)) continue;
      if (const faults::Rule* rule = strike(armed, place, now_ns); rule != nullptr) act(*rule);
    }
  }
  template <typename Act>
  void at(Fault fault, const FaultPlace& place, std::uint64_t now_ns, Act&& act) {
    at(
        fault, place, now_ns, [](const faults::Rule&) { return true; }, std::forward<Act>(act));
  }

 private:
  /// A rule with a count of its own: which events are its own may depend on its details.
  struct Armed {
    faults::Rule rule;
    std::unique_ptr<faults::Injector> injector;
  };
  static const faults::Rule* strike(Armed& armed, const FaultPlace& place, std::uint64_t now_ns);

  std::array<std::vector<Armed>, kFaults> armed_;
  std::function<void(const faults::Strike&)> tell_;
};

}  // namespace opennrt::sim
