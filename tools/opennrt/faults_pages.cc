// SPDX-License-Identifier: Apache-2.0
//
// What a campaign found, for machines (JUnit XML) and for people (one HTML file that needs nothing else).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/faults/catalogue.h"

#include "tools/opennrt/faults_campaign.h"

namespace opennrt::tool {
namespace {

constexpr std::size_t kMaxRows = 500;  // of failing runs on the page

/// What a program printed may be in any encoding; what is not UTF-8 becomes U+FFFD.
std::string as_utf8(const std::string& text) {
  const nlohmann::json json = text;
  return nlohmann::json::parse(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)).get<std::string>();
}

/// For XML and HTML: nothing that ends an attribute, and no characters that XML does not have (controls, U+FFFE, U+FFFF).
std::string escaped(const std::string& text) {
  std::string safe;
  const std::string utf8 = as_utf8(text);
  for (std::size_t at = 0; at < utf8.size(); ++at) {
    const char c = utf8[at];
    const std::string_view three = std::string_view(utf8).substr(at, 3);
    if (three == "\xEF\xBF\xBE" || three == "\xEF\xBF\xBF") {
      safe += "\xEF\xBF\xBD";
      at += 2;
      continue;
    }
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return safe;
}

std::string list(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", name, count == 1 ? "" : fmt::format(" ×{}", count));
  return text;
}

std::string command_line(const Campaign& campaign) {
  std::string text;
  for (const std::string& word : campaign.command) {
    const bool plain = !word.empty() && word.find_first_of(" \t\n\"'\\$`*?;&|<>()#~") == std::string::npos;
    std::string quoted = word;
    for (std::size_t at = quoted.find('\''); at != std::string::npos; at = quoted.find('\'', at + 4))
      quoted.replace(at, 1, "'\\''");
    text += (text.empty() ? "" : " ") + (plain ? word : "'" + quoted + "'");
  }
  return text;
}

std::array<std::uint64_t, kRunOutcomes.size()> counts_of(const std::vector<RunResult>& results) {
  std::array<std::uint64_t, kRunOutcomes.size()> counts{};
  for (const RunResult& result : results) ++counts[static_cast<std::size_t>(result.outcome)];
  return counts;
}

constexpr const char* kStyle = R"(
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #8886;padding:.25rem .6rem;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#c62828;font-weight:600}.good{color:#2e7d32;font-weight:600}
pre{background:#8882;padding:.6rem;overflow:auto}code{font-size:.92em})";

}  // namespace

std::string summary(const std::vector<RunResult>& results) {
  const auto counts = counts_of(results);
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] != 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[i], kRunOutcomes[i]);
  return text.empty() ? "no runs" : text;
}

bool is_empty_plan(const std::string& plan) {
  const auto read = faults::parse_plan(plan, "");
  return read && read->rules.empty();
}

std::vector<RuleCount> rule_counts(const Campaign& campaign, const std::vector<RunResult>& results) {
  std::vector<RuleCount> counts;
  const auto plan = faults::parse_plan(campaign.plan, "campaign.json");
  if (!plan) return counts;
  std::map<std::string, std::uint64_t> struck;
  for (const RunResult& result : results)
    for (const auto& [rule, count] : result.rules) struck[rule] += count;
  for (const faults::Rule& rule : plan->rules)
    counts.push_back({rule.name, std::string(rule.kind->name), struck[rule.name]});
  return counts;
}

std::string junit_page(const Campaign& campaign, const std::vector<RunResult>& results, const Minimal& minimal) {
  std::uint64_t failures = 0;
  double seconds = 0;
  for (const RunResult& result : results) {
    failures += is_failure(result.outcome) ? 1u : 0u;
    seconds += result.milliseconds / 1000;
  }
  std::string page = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"opennrt faults campaign\" "
      "tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{:.3f}\">\n",
      results.size(), failures, seconds);
  page += "<properties>\n";
  for (const RuleCount& rule : rule_counts(campaign, results))
    page += fmt::format("<property name=\"rule {} ({})\" value=\"struck {} times\"/>\n", escaped(rule.name), rule.kind,
                        rule.struck);
  page += "</properties>\n";
  for (const RunResult& result : results) {
    page += fmt::format("<testcase classname=\"faults\" name=\"run {} seed {}\" time=\"{:.3f}\"", result.run,
                        result.seed, result.milliseconds / 1000);
    if (!is_failure(result.outcome)) {
      page += "/>\n";
      continue;
    }
    page += fmt::format("><failure type=\"{}\" message=\"{}\">faults: {}\nstatuses: {}\ncommand: {}\n",
                        to_text(result.outcome), escaped(result.why), escaped(list(result.faults)),
                        escaped(list(result.statuses)), escaped(command_line(campaign)));
    if (const auto small = minimal.find(result.run); small != minimal.end())
      page += (is_empty_plan(small->second) ? "it ends so without any fault, minimal plan:\n" : "minimal plan:\n") +
              escaped(small->second);
    page += "</failure></testcase>\n";
  }
  return page + "</testsuite>\n</testsuites>\n";
}

std::string html_page(const Campaign& campaign, const std::vector<RunResult>& results, const Minimal& minimal) {
  const auto counts = counts_of(results);
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Fault campaign</title><style>{}</style>"
      "</head><body>\n<h1>Fault campaign</h1>\n<p><code>{}</code></p>\n<p>{} of {} runs, seeds {} to {}.</p>\n"
      "<table><tr><th>Outcome</th><th>Runs</th></tr>\n",
      kStyle, escaped(command_line(campaign)), results.size(), campaign.runs, campaign.seed,
      campaign.seed + campaign.runs - (campaign.runs == 0 ? 0 : 1));
  for (std::size_t i = 0; i < counts.size(); ++i)
    page += fmt::format("<tr><td class=\"{}\">{}</td><td class=\"n\">{}</td></tr>\n",
                        counts[i] == 0                           ? ""
                        : is_failure(static_cast<RunOutcome>(i)) ? "bad"
                                                                 : "good",
                        kRunOutcomes[i], counts[i]);
  page += "</table>\n<h2>Faults</h2>\n<table><tr><th>Fault</th><th>Struck</th><th>Runs</th>";
  for (const char* outcome : kRunOutcomes) page += fmt::format("<th>{}</th>", outcome);
  page += "<th>Statuses in these runs</th></tr>\n";
  struct Row {
    std::uint64_t struck = 0, runs = 0;
    std::array<std::uint64_t, kRunOutcomes.size()> outcomes{};
    std::map<std::string, std::uint64_t> statuses;
  };
  std::map<std::string, Row> rows;
  for (const RunResult& result : results)
    for (const auto& [kind, struck] : result.faults) {
      Row& row = rows[kind];
      row.struck += struck;
      ++row.runs;
      ++row.outcomes[static_cast<std::size_t>(result.outcome)];
      for (const auto& [status, count] : result.statuses) row.statuses[status] += count;
    }
  for (const auto& [kind, row] : rows) {
    page += fmt::format("<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>", kind, row.struck,
                        row.runs);
    for (const std::uint64_t count : row.outcomes)
      page += fmt::format("<td class=\"n\">{}</td>", count == 0 ? "" : fmt::format("{}", count));
    page += fmt::format("<td>{}</td></tr>\n", escaped(list(row.statuses)));
  }
  page += "</table>\n<h2>Rules</h2>\n<table><tr><th>Rule</th><th>Fault</th><th>Struck</th></tr>\n";
  for (const RuleCount& rule : rule_counts(campaign, results))
    page += fmt::format("<tr><td>{}</td><td><code>{}</code></td><td class=\"n{}\">{}</td></tr>\n", escaped(rule.name),
                        rule.kind, rule.struck == 0 ? " bad" : "", rule.struck);
  page += "</table>\n<h2>Runs that failed</h2>\n";
  std::size_t shown = 0;
  for (const RunResult& result : results) {
    if (!is_failure(result.outcome) || ++shown > kMaxRows) continue;
    page += fmt::format(
        "<details{}><summary>run {} (seed {}): <span class=\"bad\">{}</span> {}</summary><p>faults: {}<br>statuses: "
        "{}</p>",
        minimal.contains(result.run) ? " open" : "", result.run, result.seed, to_text(result.outcome),
        escaped(result.why), escaped(list(result.faults)), escaped(list(result.statuses)));
    if (const auto small = minimal.find(result.run); small != minimal.end())
      page +=
          fmt::format("<p>A minimal plan{}:</p><pre>{}</pre>",
                      is_empty_plan(small->second) ? " (it ends so without any fault)" : "", escaped(small->second));
    page += "</details>\n";
  }
  if (shown == 0) page += "<p class=\"good\">None.</p>\n";
  if (shown > kMaxRows) page += fmt::format("<p>And {} more.</p>\n", shown - kMaxRows);
  return page + fmt::format("<h2>Plan</h2>\n<pre>{}</pre>\n</body></html>\n", escaped(campaign.plan));
}

}  // namespace opennrt::tool
