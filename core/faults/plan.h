// SPDX-License-Identifier: Apache-2.0
//
// A fault plan: which faults happen where and when. OPENNRT_FAULTS is the path of a JSON file, or the JSON itself when it
// begins with '{'. docs/faults.schema.json is its schema, docs/fault-injection.md its guide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/common/error.h"

namespace opennrt::faults {

/// Where a kind of fault is injected. Each level takes the rules of its own kinds and leaves the others alone.
enum class Level {
  kFrontDoor,  ///< libnrt's entry points: any backend, the vendor's runtime included
  kDriver,     ///< a decorator between runtime and backend: any backend, silicon included
  kChip,       ///< inside the simulated chip: `sim`, and the emulated /dev/neuron
};

/// One kind of fault, as the catalogue (catalogue.h) has it.
struct Kind;

/// Limits a rule to some places; what is not given matches any. Text may hold the wildcards * and ?.
struct Where {
  std::optional<std::uint32_t> device, core;  ///< core: of the device for kChip and kDriver
  bool no_device = false, no_core = false;  ///< only events that belong to none (null in the file); recordings have it
  std::string engine;                       ///< pe, act, pool, dma<0..11>; empty: any
  std::optional<std::uint32_t> queue;       ///< DMA queue, or notification queue's type
  std::string function;                     ///< nrt_…: front door
  std::string operation;                    ///< name of a function of opennrt/backend.h: driver
  std::string tensor, model, process;       ///< process: name of the command (comm)
};

/// When a rule strikes. Events are what matches its `where`, counted from 1 for each place (device and core; the front door
/// counts for each function) apart: then counts do not depend on how threads interleave. What is said beside nth and every only
/// decides which of the counted events may strike.
struct When {
  std::uint64_t nth = 0;    ///< the nth event; 0: not limited so
  std::uint64_t every = 0;  ///< every so many events; with nth: from that one on
  double probability =
      1;  ///< from the plan's seed, the rule's name, the place and the event's number: no order matters
  std::uint64_t after_ns = 0;  ///< not before this time of the device's clock
  /// Between two markers: "nrt_load:2" is the second return of nrt_load, "name" a call of opennrt_marker("name").
  std::string from, to;
};

using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string>;

struct Rule {
  std::string name;  ///< for reports; no two rules share one; default "rule <position>"
  const Kind* kind = nullptr;
  Where where;
  When when;
  std::uint64_t times = 1;              ///< how often it strikes at most, at each place; 0: without end
  std::map<std::string, Value> detail;  ///< as the kind's parameters say; defaults are filled in
  std::uint32_t position = 0;           ///< in the plan, from 0
  std::uint32_t line = 0;               ///< where it begins in the plan's file; 0: it was not read from one
};

inline constexpr std::size_t kMaxRules = 65536;

struct Plan {
  std::uint64_t seed = 0;
  std::vector<Rule> rules;
  std::string source;  ///< path, or "OPENNRT_FAULTS"

  bool has(Level level) const;
};

/// "front door", "driver", "chip".
std::string_view to_text(Level level);
/// Whether text matches a pattern with the wildcards * (anything) and ? (one character).
bool matches(std::string_view pattern, std::string_view text);

/// kInvalidArgument / kInvalidFile: source, line, field, what it is and what was expected.
Result<Plan> parse_plan(const std::string& json, const std::string& source);
/// What OPENNRT_FAULTS says: JSON or a path. An empty value is an empty plan.
Result<Plan> read_plan(const std::string& value);
/// Rules that the backend cannot have are an error that says why. `backend`: "sim", "null", "neuron" (silicon), "emulated" (neuron
/// on an emulated machine), "vendor", or the path of a third party's.
Status check_for_backend(const Plan& plan, const std::string& backend);
/// Tells what the plan does in the chip from what others do: the same for plans whose rules of that level (and seed, where one
/// has a probability) are the same; 0 when it has none.
std::uint64_t chip_identity(const Plan& plan);
/// The plan as JSON again, defaults left out; parse_plan(to_json(p)) is p.
std::string to_json(const Plan& plan);
/// One rule in one line, with its name.
std::string to_json(const Rule& rule);

}  // namespace opennrt::faults
