// SPDX-License-Identifier: Apache-2.0
#include "core/faults/plan.h"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <system_error>

#include "core/faults/catalogue.h"
#include "core/faults/describe.h"
#include "core/faults/hash.h"
#include "core/faults/json.h"
#include "core/faults/names.h"

namespace opennrt::faults {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 64u << 20;
constexpr double kMaxAfterMicroseconds = 1e12;

bool contains_word(std::string_view words, std::string_view word, char separator) {
  for (std::size_t begin = 0; begin <= words.size();) {
    const std::size_t end = std::min(words.find(separator, begin), words.size());
    if (words.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

std::vector<std::string_view> split(std::string_view words, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin < words.size();) {
    const std::size_t end = std::min(words.find(separator, begin), words.size());
    parts.push_back(words.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Reads a plan; the first thing that is wrong stays in `error` and everything after it does nothing.
class Parser {
 public:
  explicit Parser(const std::string& source) : source_(source) {}

  Result<Plan> read(const Json& root) {
    Plan plan;
    plan.source = source_;
    if (!object(root, "", {"$schema", "description", "version", "seed", "rules"})) return failure();
    if (const Json* schema = root.find("$schema")) text(*schema, "$schema");
    if (const Json* description = root.find("description")) text(*description, "description");
    if (const Json* version = root.find("version")) {
      if (integer(*version, "version", 1, 1) != 1) return failure();
    } else {
      refuse(root.line, "version is missing, expected 1");
    }
    if (const Json* seed = root.find("seed")) plan.seed = integer(*seed, "seed", 0, UINT64_MAX);
    const Json* rules = root.find("rules");
    if (rules == nullptr) {
      refuse(root.line, "rules is missing, expected a list of rules");
    } else if (rules->type != Json::Type::kArray || rules->items.size() > kMaxRules) {
      wrong(*rules, "rules", fmt::format("a list of at most {} rules", kMaxRules));
    } else {
      for (const Json& item : rules->items) {
        plan.rules.push_back(rule(item, static_cast<std::uint32_t>(plan.rules.size())));
        if (failed()) break;
      }
    }
    if (failed()) return failure();
    return plan;
  }

 private:
  bool failed() const { return !error_.empty(); }
  tl::unexpected<Error> failure() const { return make_error(ErrorCode::kInvalidFile, "{}", error_); }

  bool refuse(std::uint32_t line, const std::string& why) {
    if (!failed()) error_ = fmt::format("{}:{}: {}", source_, line, why);
    return false;
  }
  bool wrong(const Json& value, const std::string& field, std::string_view expected) {
    return refuse(value.line, fmt::format("{} is {}, expected {}", field, value.shown(), expected));
  }

  bool object(const Json& value, const std::string& field, const std::vector<std::string_view>& known) {
    if (value.type != Json::Type::kObject) return wrong(value, field.empty() ? "the plan" : field, "an object");
    for (const auto& [name, member] : value.members) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      std::string expected;
      for (const std::string_view other : known) expected += fmt::format("{}{}", expected.empty() ? "" : ", ", other);
      const std::string_view near = nearest(name, known);
      return refuse(member.line, fmt::format("{}{}{} is not known, expected {}{}", field, field.empty() ? "" : ".",
                                             name, known.empty() ? "nothing" : expected,
                                             near.empty() ? "" : fmt::format(" (is {} meant?)", near)));
    }
    return true;
  }

  std::uint64_t integer(const Json& value, const std::string& field, std::uint64_t least, std::uint64_t most) {
    if (value.type == Json::Type::kUnsigned && value.magnitude >= least && value.magnitude <= most)
      return value.magnitude;
    wrong(value, field,
          least == most ? fmt::format("{}", least)
                        : fmt::format("an integer from {} to {}{}", least, most, as_written(value)));
    return least;
  }

  /// 1.0 and 1e3 are integers, but a number that is larger than a double holds exactly has to be written out.
  static std::string_view as_written(const Json& value) {
    return value.type == Json::Type::kNumber && value.number == std::floor(value.number)
               ? ", a number without fraction or exponent"
               : "";
  }

  std::string text(const Json& value, const std::string& field, std::string_view expected = "a text") {
    if (value.type != Json::Type::kText) wrong(value, field, expected);
    return value.text;
  }

  std::string pattern(const Json& value, const std::string& field, std::span<const std::string_view> names,
                      std::string_view expected) {
    std::string wanted = text(value, field, expected);
    if (failed()) return wanted;
    const auto fits = [&](std::string_view name) { return matches(wanted, name); };
    if (wanted.empty() || (!names.empty() && std::none_of(names.begin(), names.end(), fits))) {
      const std::string_view near = nearest(wanted, names);
      wrong(value, field, near.empty() ? std::string(expected) : fmt::format("{} (is {} meant?)", expected, near));
    }
    return wanted;
  }

  std::string marker(const Json& value, const std::string& field) {
    constexpr std::string_view kExpected = "the name of a marker, or <name>:<n> for its n-th, or \"\" for none";
    std::string wanted = text(value, field, kExpected);
    const std::size_t colon = wanted.rfind(':');
    if (failed() || colon == std::string::npos) return wanted;
    std::uint64_t count = 0;
    const auto [end, bad] = std::from_chars(wanted.data() + colon + 1, wanted.data() + wanted.size(), count);
    if (colon == 0 || bad != std::errc{} || end != wanted.data() + wanted.size() || count == 0)
      wrong(value, field, kExpected);
    return wanted;
  }

  Rule rule(const Json& json, std::uint32_t position) {
    Rule rule;
    rule.position = position;
    rule.line = json.line;
    const std::string at = fmt::format("rules[{}]", position);
    if (!object(json, at, {"name", "fault", "where", "when", "times", "detail"})) return rule;
    rule.name = fmt::format("rule {}", position);
    std::uint32_t name_line = json.line;
    if (const Json* name = json.find("name")) {
      rule.name = text(*name, at + ".name");
      if (rule.name.empty()) wrong(*name, at + ".name", "a text that is not empty");
      name_line = name->line;
    }
    if (!names_.insert(rule.name).second)
      refuse(name_line,
             fmt::format("{}.name is \"{}\", which another rule has, too; expected a name of its own", at, rule.name));
    const Json* fault = json.find("fault");
    if (fault == nullptr) {
      refuse(json.line, fmt::format("{}.fault is missing, expected the name of a fault (opennrt faults list)", at));
      return rule;
    }
    std::vector<std::string_view> known;
    for (const Kind& kind : kinds()) known.push_back(kind.name);
    const std::string kind = text(*fault, at + ".fault", "the name of a fault (opennrt faults list)");
    rule.kind = find_kind(kind);
    if (rule.kind == nullptr) {
      const std::string_view near = nearest(kind, known);
      wrong(*fault, at + ".fault",
            near.empty() ? std::string("the name of a fault (opennrt faults list)")
                         : fmt::format("the name of a fault (is {} meant? opennrt faults list)", near));
    }
    if (failed()) return rule;
    if (const Json* where = json.find("where")) rule.where = places(*where, at + ".where", *rule.kind);
    if (const Json* when = json.find("when")) rule.when = times(*when, at + ".when");
    if (const Json* times = json.find("times")) {
      rule.times = integer(*times, at + ".times", 0, UINT64_MAX);
      if (!failed() && rule.when.nth != 0 && rule.when.every == 0 && rule.times > 1)
        wrong(*times, at + ".times", "1, since when.nth without when.every is one event");
    }
    details(rule, json, at);
    return rule;
  }

  Where places(const Json& json, const std::string& at, const Kind& kind) {
    Where where;
    if (!object(json, at, {"device", "core", "engine", "queue", "function", "operation", "tensor", "model", "process"}))
      return where;
    for (const auto& [name, value] : json.members) {
      const std::string field = at + "." + name;
      if (!contains_word(kind.where, name, ' ')) {
        refuse(
            value.line,
            fmt::format("{} means nothing to {}, expected {}", field, kind.name,
                        kind.where.empty() ? "nothing" : fmt::format("{}", fmt::join(split(kind.where, ' '), ", "))));
      } else if (name == "device" || name == "core") {
        const bool device = name == "device";
        if (value.type == Json::Type::kNull) {
          (device ? where.no_device : where.no_core) = true;
        } else {
          (device ? where.device : where.core) =
              static_cast<std::uint32_t>(integer(value, field, 0, device ? 63 : 255));
        }
      } else if (name == "queue") {
        // Queues of a DMA engine, or the four types of notification queue of opennrt/backend.h.
        where.queue = static_cast<std::uint32_t>(integer(value, field, 0, kind.level == Level::kDriver ? 3 : 15));
      } else if (name == "engine") {
        where.engine = pattern(value, field, engines(), "pe, act, pool or dma0 to dma11, * and ? allowed");
      } else if (name == "function") {
        where.function = pattern(value, field, functions(), "a function of the C API, * and ? allowed");
        // A rule for statuses that no function could ever return.
        if (!failed() && kind.name == "fd_status" &&
            std::none_of(functions().begin(), functions().end(), [&](std::string_view known) {
              return returns_status(known) && matches(where.function, known);
            }))
          refuse(value.line,
                 fmt::format("{} is {}, which returns no NRT_STATUS, expected one that does", field, value.shown()));
      } else if (name == "operation") {
        where.operation = pattern(value, field, operations(), "a function of opennrt/backend.h, * and ? allowed");
      } else {
        (name == "tensor"  ? where.tensor
         : name == "model" ? where.model
                           : where.process) = pattern(value, field, {}, "a name, * and ? allowed");
      }
      if (failed()) break;
    }
    return where;
  }

  When times(const Json& json, const std::string& at) {
    When when;
    if (!object(json, at, {"nth", "every", "probability", "after_us", "between"})) return when;
    if (const Json* nth = json.find("nth")) when.nth = integer(*nth, at + ".nth", 1, UINT64_MAX);
    if (const Json* every = json.find("every")) when.every = integer(*every, at + ".every", 1, UINT64_MAX);
    if (const Json* probability = json.find("probability")) {
      when.probability = probability->number;
      const bool number = probability->type == Json::Type::kNumber || probability->type == Json::Type::kUnsigned;
      if (!number || !(when.probability > 0 && when.probability <= 1))
        wrong(*probability, at + ".probability", "a number above 0, up to 1");
    }
    if (const Json* after = json.find("after_us")) {
      const bool number = after->type == Json::Type::kNumber || after->type == Json::Type::kUnsigned;
      if (!number || !(after->number >= 0 && after->number <= kMaxAfterMicroseconds))
        wrong(*after, at + ".after_us", fmt::format("microseconds from 0 to {}", kMaxAfterMicroseconds));
      else
        when.after_ns = static_cast<std::uint64_t>(std::llround(after->number * 1000));
    }
    if (const Json* between = json.find("between")) {
      if (between->type != Json::Type::kArray || between->items.size() != 2) {
        wrong(*between, at + ".between", "two markers, [from, to]");
        return when;
      }
      when.from = marker(between->items[0], at + ".between[0]");
      when.to = marker(between->items[1], at + ".between[1]");
      if (!failed() && when.from == when.to)
        refuse(between->line,
               fmt::format("{}.between is from \"{}\" to the same, expected two markers that differ", at, when.from));
    }
    return when;
  }

  void details(Rule& rule, const Json& json, const std::string& at) {
    const Json* detail = json.find("detail");
    const std::string field = at + ".detail";
    std::vector<std::string_view> known;
    for (const Parameter& parameter : rule.kind->parameters) known.push_back(parameter.name);
    if (failed() || (detail != nullptr && !object(*detail, field, known))) return;
    for (const Parameter& parameter : rule.kind->parameters) {
      const std::string name(parameter.name);
      const Json* value = detail == nullptr ? nullptr : detail->find(name);
      if (value == nullptr && parameter.fallback.empty()) {
        refuse(detail == nullptr ? json.line : detail->line,
               fmt::format("{}.{} is missing, expected {}", field, name, expected(parameter)));
      } else {
        rule.detail[name] = value != nullptr ? given(*value, field + "." + name, parameter) : fallback(parameter);
      }
      if (failed()) return;
    }
  }

  Value given(const Json& value, const std::string& field, const Parameter& parameter) {
    const auto in_range = [&] {
      return parameter.least == parameter.most || (value.number >= parameter.least && value.number <= parameter.most);
    };
    const bool whole = value.type == Json::Type::kInteger ||
                       (value.type == Json::Type::kUnsigned && value.magnitude <= std::uint64_t{INT64_MAX});
    switch (parameter.type) {
      case Parameter::Type::kBool:
        if (value.type == Json::Type::kBool) return value.flag;
        break;
      case Parameter::Type::kInteger:
        if (whole && in_range())
          return value.type == Json::Type::kInteger ? value.integer : static_cast<std::int64_t>(value.magnitude);
        break;
      case Parameter::Type::kBits:
        if (value.type == Json::Type::kUnsigned && value.magnitude != 0) return value.magnitude;
        break;
      case Parameter::Type::kNumber:
        if ((whole || value.type == Json::Type::kNumber) && in_range()) return value.number;
        break;
      case Parameter::Type::kText:
        if (value.type == Json::Type::kText &&
            (parameter.choices.empty() || contains_word(parameter.choices, value.text, '|')))
          return value.text;
        break;
    }
    const bool integral = parameter.type == Parameter::Type::kInteger || parameter.type == Parameter::Type::kBits;
    wrong(value, field, expected(parameter) + std::string(integral ? as_written(value) : ""));
    return Value{};
  }

  static Value fallback(const Parameter& parameter) {
    const std::string text(parameter.fallback);
    switch (parameter.type) {
      case Parameter::Type::kBool:
        return text == "true";
      case Parameter::Type::kInteger:
        return std::int64_t{std::stoll(text)};
      case Parameter::Type::kBits:
        return std::uint64_t{std::stoull(text)};
      case Parameter::Type::kNumber:
        return std::stod(text);
      case Parameter::Type::kText:
        break;
    }
    return text;
  }

  const std::string& source_;
  std::string error_;
  std::set<std::string> names_;
};

nlohmann::ordered_json as_json(const Where& where) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (where.device || where.no_device)
    json["device"] = where.no_device ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(*where.device);
  if (where.core || where.no_core)
    json["core"] = where.no_core ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(*where.core);
  if (where.queue) json["queue"] = *where.queue;
  const std::pair<const char*, const std::string&> texts[] = {
      {"engine", where.engine}, {"function", where.function}, {"operation", where.operation},
      {"tensor", where.tensor}, {"model", where.model},       {"process", where.process}};
  for (const auto& [name, value] : texts)
    if (!value.empty()) json[name] = value;
  return json;
}

nlohmann::ordered_json as_json(const When& when) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (when.nth != 0) json["nth"] = when.nth;
  if (when.every != 0) json["every"] = when.every;
  if (when.probability < 1) json["probability"] = when.probability;
  if (when.after_ns != 0) json["after_us"] = static_cast<double>(when.after_ns) / 1000;
  if (!when.from.empty() || !when.to.empty()) json["between"] = {when.from, when.to};
  return json;
}

bool is_default(const Parameter& parameter, const Value& value) {
  if (parameter.fallback.empty()) return false;
  const std::string text(parameter.fallback);
  switch (parameter.type) {
    case Parameter::Type::kBool:
      return std::get<bool>(value) == (text == "true");
    case Parameter::Type::kInteger:
      return std::get<std::int64_t>(value) == std::stoll(text);
    case Parameter::Type::kBits:
      return std::get<std::uint64_t>(value) == std::stoull(text);
    case Parameter::Type::kNumber:
      return std::get<double>(value) == std::stod(text);
    case Parameter::Type::kText:
      break;
  }
  return std::get<std::string>(value) == text;
}

nlohmann::ordered_json as_json(const Rule& rule, bool always_named) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (always_named || rule.name != fmt::format("rule {}", rule.position)) json["name"] = rule.name;
  json["fault"] = rule.kind->name;
  if (auto where = as_json(rule.where); !where.empty()) json["where"] = std::move(where);
  if (auto when = as_json(rule.when); !when.empty()) json["when"] = std::move(when);
  if (rule.times != 1) json["times"] = rule.times;
  nlohmann::ordered_json detail = nlohmann::ordered_json::object();
  for (const Parameter& parameter : rule.kind->parameters) {
    const Value& value = rule.detail.at(std::string(parameter.name));
    if (!is_default(parameter, value))
      std::visit([&](const auto& plain) { detail[std::string(parameter.name)] = plain; }, value);
  }
  if (!detail.empty()) json["detail"] = std::move(detail);
  return json;
}

// Names come from files and may be in any encoding.
std::string dump(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

bool Plan::has(Level level) const {
  return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.kind->level == level; });
}

std::string_view to_text(Level level) {
  switch (level) {
    case Level::kFrontDoor:
      return "front door";
    case Level::kDriver:
      return "driver";
    case Level::kChip:
      return "chip";
  }
  return "";
}

bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<Plan> parse_plan(const std::string& json, const std::string& source) {
  const Result<Json> root = parse_json(json, source);
  if (!root) return tl::unexpected<Error>(root.error());
  return Parser(source).read(*root);
}

Result<Plan> read_plan(const std::string& value) {
  const std::size_t begin = value.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return Plan{};
  if (value[begin] == '{') {
    Result<Plan> plan = parse_plan(value, "OPENNRT_FAULTS");
    if (!plan) return make_error(ErrorCode::kInvalidArgument, "{}", plan.error().message);
    return plan;
  }
  const auto refuse = [&](const std::string& why) {
    return make_error(ErrorCode::kInvalidArgument,
                      "OPENNRT_FAULTS is \"{}\", expected the path of a fault plan or the plan itself: {}", value, why);
  };
  struct stat there {};
  if (::stat(value.c_str(), &there) != 0) return refuse(std::generic_category().message(errno));
  if (!S_ISREG(there.st_mode)) return refuse("not a regular file");
  if (static_cast<std::uintmax_t>(there.st_size) > kMaxFileBytes)
    return refuse(fmt::format("more than {} bytes", kMaxFileBytes));
  std::ifstream file(value, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return refuse("it cannot be read");
  return parse_plan(text, value);
}

Status check_for_backend(const Plan& plan, const std::string& backend) {
  for (const Rule& rule : plan.rules) {
    const Kind& kind = *rule.kind;
    std::string why;
    if (kind.level == Level::kDriver && backend == "vendor") {
      why = "the vendor's runtime talks to the driver itself, only faults of the front door reach it";
    } else if (kind.backends != "*" && !contains_word(kind.backends, backend, ' ')) {
      if (kind.level == Level::kChip)
        why = backend == "neuron" ? "silicon cannot be told to fail" : "it has no simulated chip";
      else if (backend == "null")
        why = "it executes nothing and so sends no notifications";
      else
        continue;  // a third party's, of which nothing is known
    }
    if (!why.empty())
      return make_error(ErrorCode::kInvalidArgument,
                        "{}{}: rules[{}] ({}): backend {} cannot have {}: {}; expected one of: {}", plan.source,
                        rule.line == 0 ? "" : fmt::format(":{}", rule.line), rule.position, rule.name, backend,
                        kind.name, why, kind.backends == "*" ? "any backend but vendor" : kind.backends);
  }
  return {};
}

std::uint64_t chip_identity(const Plan& plan) {
  std::string text;
  bool drawn = false;
  for (const Rule& rule : plan.rules) {
    if (rule.kind->level != Level::kChip) continue;
    text += to_json(rule) + "\n";
    drawn = drawn || rule.when.probability < 1;
  }
  if (text.empty()) return 0;
  if (drawn) text += std::to_string(plan.seed);
  return std::max<std::uint64_t>(hash_of(text), 1);
}

std::string to_json(const Plan& plan) {
  nlohmann::ordered_json json = {{"version", 1}};
  if (plan.seed != 0) json["seed"] = plan.seed;
  json["rules"] = nlohmann::ordered_json::array();
  for (const Rule& rule : plan.rules) json["rules"].push_back(as_json(rule, false));
  return dump(json, 2) + "\n";
}

std::string to_json(const Rule& rule) {
  return dump(as_json(rule, true), -1);
}

}  // namespace opennrt::faults
