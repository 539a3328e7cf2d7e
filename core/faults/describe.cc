// SPDX-License-Identifier: Apache-2.0
#include "core/faults/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "core/faults/names.h"

namespace opennrt::faults {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> words(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Of a marker: a name without a colon, or anything and a number from 1.
constexpr const char* kMarkerPattern = "^([^:]*|.+:0*[1-9][0-9]{0,18})$";

/// Large numbers as people read them, exact all the same.
std::string plain(double value) {
  return fmt::format("{:.0f}", value);
}

ordered_json fallback_of(const Parameter& parameter) {
  const std::string text(parameter.fallback);
  switch (parameter.type) {
    case Parameter::Type::kBool:
      return text == "true";
    case Parameter::Type::kInteger:
      return std::stoll(text);
    case Parameter::Type::kBits:
      return std::stoull(text);
    case Parameter::Type::kNumber:
      return std::stod(text);
    case Parameter::Type::kText:
      break;
  }
  return text;
}

ordered_json schema_of(const Parameter& parameter) {
  ordered_json json = {{"description", parameter.meaning}};
  switch (parameter.type) {
    case Parameter::Type::kBool:
      json["type"] = "boolean";
      break;
    case Parameter::Type::kInteger:
      json["type"] = "integer";
      break;
    case Parameter::Type::kBits:
      json.update({{"type", "integer"}, {"minimum", 1}, {"maximum", UINT64_MAX}});
      break;
    case Parameter::Type::kNumber:
      json["type"] = "number";
      break;
    case Parameter::Type::kText:
      json["type"] = "string";
      break;
  }
  if (!parameter.choices.empty()) json["enum"] = words(parameter.choices, '|');
  if (parameter.least != parameter.most) {
    json["minimum"] = static_cast<std::int64_t>(parameter.least);
    json["maximum"] = static_cast<std::int64_t>(parameter.most);
  }
  if (!parameter.fallback.empty()) json["default"] = fallback_of(parameter);
  return json;
}

ordered_json object(ordered_json properties) {
  return {{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(properties)}};
}

ordered_json whole(std::int64_t least, const char* description) {
  return {{"description", description}, {"type", "integer"}, {"minimum", least}, {"maximum", UINT64_MAX}};
}

/// One of the names, or a pattern; whether that fits a name is not for a schema to say.
ordered_json name_or_pattern(const char* description, std::span<const std::string_view> names) {
  return {{"description", std::string(description) + "; * and ? allowed"},
          {"type", "string"},
          {"anyOf", {{{"enum", names}}, {{"pattern", "[*?]"}}}}};
}

ordered_json place(const std::string& field, const Kind& kind) {
  if (field == "device" || field == "core") {
    return {{"description", field == "device" ? "number of the device; null: events that belong to none"
                                              : "core of the device; null: events that belong to none"},
            {"type", {"integer", "null"}},
            {"minimum", 0},
            {"maximum", field == "device" ? 63 : 255}};
  }
  if (field == "queue") {
    const bool driver = kind.level == Level::kDriver;
    return {{"description", driver ? "type of notification queue: 0 trace, 1 notify, 2 event, 3 error" : "DMA queue"},
            {"type", "integer"},
            {"minimum", 0},
            {"maximum", driver ? 3 : 15}};
  }
  // A rule for statuses needs a function that returns one.
  if (field == "function" && kind.name == "fd_status") return {{"$ref", "#/$defs/function_with_status"}};
  if (field == "engine" || field == "operation" || field == "function") return {{"$ref", "#/$defs/" + field}};
  const char* description = field == "process" ? "name of the command, as /proc/<pid>/comm has it" : "name";
  return {{"description", std::string(description) + "; * and ? allowed"}, {"type", "string"}, {"minLength", 1}};
}

/// What a rule of this kind may hold beside what every rule may.
ordered_json rule_of(const Kind& kind) {
  ordered_json where = ordered_json::object(), detail = ordered_json::object(), required = ordered_json::array();
  for (const std::string& field : words(kind.where, ' ')) where[field] = place(field, kind);
  for (const Parameter& parameter : kind.parameters) {
    detail[std::string(parameter.name)] = schema_of(parameter);
    if (parameter.fallback.empty()) required.push_back(parameter.name);
  }
  ordered_json inside = object(detail), then = {{"properties", {{"where", object(where)}}}};
  if (!required.empty()) {
    inside["required"] = required;
    then["required"] = {"detail"};
  }
  then["properties"]["detail"] = inside;
  return {{"if", {{"properties", {{"fault", {{"const", kind.name}}}}}}}, {"then", then}};
}

ordered_json when_schema() {
  return object(
      {{"nth", whole(1, "the event of this number; with every: the first one")},
       {"every", whole(1, "every so many events")},
       {"probability",
        {{"description", "of each event, drawn from the seed"},
         {"type", "number"},
         {"exclusiveMinimum", 0},
         {"maximum", 1},
         {"default", 1}}},
       {"after_us",
        {{"description", "not before this time of the device's clock; front door: since nrt_init"},
         {"type", "number"},
         {"minimum", 0},
         {"maximum", 1'000'000'000'000}}},
       {"between",
        {{"description", "from one marker to another, \"\" for none: \"nrt_load:2\" is the second return of nrt_load"},
         {"type", "array"},
         {"items", {{"type", "string"}, {"pattern", kMarkerPattern}}},
         {"uniqueItems", true},
         {"minItems", 2},
         {"maxItems", 2}}}});
}

std::string joined(std::string_view list) {
  std::string text;
  for (const std::string& word : words(list, ' ')) text += fmt::format("{}{}", text.empty() ? "" : ", ", word);
  return text;
}

std::string example(const Kind& kind) {
  ordered_json rule = {{"fault", kind.name}};
  for (const std::string& field : words(kind.where, ' ')) {
    if (field == "function") rule["where"][field] = "nrt_execute";
    if (field == "core" || field == "device") rule["where"][field] = 0;
  }
  rule["when"]["nth"] = 3;
  for (const Parameter& parameter : kind.parameters)
    rule["detail"][std::string(parameter.name)] =
        !parameter.fallback.empty() ? fallback_of(parameter) : ordered_json(words(parameter.choices, '|').front());
  return ordered_json{{"version", 1}, {"rules", {rule}}}.dump();
}

}  // namespace

std::string expected(const Parameter& parameter) {
  if (!parameter.choices.empty()) {
    std::string list;
    for (const std::string& choice : words(parameter.choices, '|')) list += (list.empty() ? "" : ", ") + choice;
    return list;
  }
  const std::string range = parameter.least == parameter.most
                                ? ""
                                : fmt::format(" from {} to {}", plain(parameter.least), plain(parameter.most));
  switch (parameter.type) {
    case Parameter::Type::kBool:
      return "true or false";
    case Parameter::Type::kInteger:
      return "an integer" + range;
    case Parameter::Type::kBits:
      return fmt::format("an integer from 1 to {}", UINT64_MAX);
    case Parameter::Type::kNumber:
      return "a number" + range;
    case Parameter::Type::kText:
      break;
  }
  return "a text";
}

std::string schema() {
  ordered_json names = ordered_json::array(), kinds_rules = ordered_json::array();
  for (const Kind& kind : kinds()) {
    names.push_back(kind.name);
    kinds_rules.push_back(rule_of(kind));
  }
  ordered_json times = whole(0, "how often at most, at each place; 0: without end");
  times["default"] = 1;
  ordered_json seed = whole(0, "of the rules with a probability");
  seed["default"] = 0;
  ordered_json rule =
      object({{"name", {{"description", "for reports; no two rules share one"}, {"type", "string"}, {"minLength", 1}}},
              {"fault", {{"description", "the kind, see opennrt faults list"}, {"enum", names}}},
              {"where", {{"description", "limits the rule to some places"}, {"type", "object"}}},
              {"when", when_schema()},
              {"times", times},
              {"detail", {{"description", "what the kind's parameters say"}, {"type", "object"}}}});
  rule["required"] = {"fault"};
  // One event cannot be struck twice.
  const ordered_json one_event = {{"required", {"nth"}}, {"not", {{"required", {"every"}}}}};
  kinds_rules.push_back({{"if", {{"required", {"when"}}, {"properties", {{"when", one_event}}}}},
                         {"then", {{"properties", {{"times", {{"maximum", 1}}}}}}}});
  rule["allOf"] = kinds_rules;
  ordered_json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "A fault plan of OpenNRT (OPENNRT_FAULTS)"}};
  root.update(object({{"$schema", {{"type", "string"}}},
                      {"description", {{"type", "string"}}},
                      {"version", {{"const", 1}}},
                      {"seed", seed},
                      {"rules", {{"type", "array"}, {"maxItems", kMaxRules}, {"items", {{"$ref", "#/$defs/rule"}}}}}}));
  root["required"] = {"version", "rules"};
  std::vector<std::string_view> with_status(functions().begin(), functions().end());
  std::erase_if(with_status, [](std::string_view name) { return !returns_status(name); });
  root["$defs"] = {{"rule", rule},
                   {"engine", name_or_pattern("an engine", engines())},
                   {"operation", name_or_pattern("a function of opennrt/backend.h", operations())},
                   {"function", name_or_pattern("a function of the C API", functions())},
                   {"function_with_status", name_or_pattern("a function that returns an NRT_STATUS", with_status)}};
  return root.dump(2) + "\n";
}

std::string tables() {
  std::string text;
  for (const Level level : {Level::kFrontDoor, Level::kDriver, Level::kChip}) {
    const std::string name(to_text(level));
    text += fmt::format(
        "### Level: {}\n\n| Fault | What | `where` | `detail` (default) | Statuses | Recovery "
        "|\n|---|---|---|---|---|---|\n",
        name);
    for (const Kind& kind : kinds()) {
      if (kind.level != level) continue;
      std::string detail;
      for (const Parameter& parameter : kind.parameters)
        detail += fmt::format("{}`{}` {}", detail.empty() ? "" : ", ", parameter.name,
                              parameter.fallback.empty() ? "(required)" : fmt::format("({})", parameter.fallback));
      std::string statuses;
      for (const std::string& status : words(kind.status, ' '))
        statuses += (statuses.empty() ? "`" : ", `") + status + "`";
      if (kind.name == "fd_status") statuses = "the one asked for";
      text += fmt::format("| `{}` | {} Counted: {}. | {} | {} | {} | {} |\n", kind.name, kind.what, kind.event,
                          joined(kind.where), detail, statuses, kind.recovery);
    }
    text += "\n";
  }
  return text;
}

std::string list_json(const std::function<bool(const Kind&)>& wanted) {
  ordered_json list = ordered_json::array();
  for (const Kind& kind : kinds()) {
    if (!wanted(kind)) continue;
    ordered_json parameters = ordered_json::object();
    for (const Parameter& parameter : kind.parameters) parameters[std::string(parameter.name)] = schema_of(parameter);
    list.push_back({{"fault", kind.name},
                    {"level", to_text(kind.level)},
                    {"what", kind.what},
                    {"backends", words(kind.backends, ' ')},
                    {"where", words(kind.where, ' ')},
                    {"detail", parameters},
                    {"event", kind.event},
                    {"statuses", words(kind.status, ' ')},
                    {"recovery", kind.recovery},
                    {"source", kind.source}});
  }
  return list.dump(2) + "\n";
}

std::string explain(const Kind& kind) {
  const std::string backends = kind.backends != "*"              ? joined(kind.backends)
                               : kind.level == Level::kFrontDoor ? "any, the vendor's runtime included"
                                                                 : "any but vendor";
  std::string text = fmt::format("{}: {}\n", kind.name, kind.what);
  const auto row = [&](std::string_view name, std::string_view value) {
    text += fmt::format("  {:<9} {}\n", name, value);
  };
  row("level", to_text(kind.level));
  row("backends", backends);
  row("counted", kind.event);
  row("where", joined(kind.where));
  row("statuses", kind.name == "fd_status" ? "the one asked for" : joined(kind.status));
  row("recovery", kind.recovery);
  row("source", kind.source);
  for (const Parameter& parameter : kind.parameters)
    text += fmt::format("  detail.{}: {}. {}; {}\n", parameter.name, parameter.meaning, expected(parameter),
                        parameter.fallback.empty() ? "required" : fmt::format("default {}", parameter.fallback));
  text += fmt::format("  example   {}\n", example(kind));
  return text;
}

}  // namespace opennrt::faults
