// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-table.md, a table of fault kind × backend × status × recovery, console text and counters in which every
// cell was observed in this very run: an application of two cores meets the fault on one of them, recovers, and computes right again. A cell that a
// backend cannot have holds the reason that the plan's checker gives. OPENNRT_FAULTS_DOCS_WRITE=1 writes the page.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iterator>
#include <map>
#include <regex>
#include <thread>

#include "core/faults/catalogue.h"
#include "tests/faults/cells.h"

namespace fault_test {
namespace {

using opennrt::faults::Kind;
using opennrt::faults::kinds;
using opennrt::faults::Level;

constexpr std::array kBackends = {"sim", "emulated", "null", "vendor"};
constexpr const char* kHead = R"(# What each fault does, on each backend

<!-- Written by `./dev docs` from a run of tests/faults/table_test.cc, which fails when the page is not what it would write. -->

Every cell was observed: an application that computes on two NeuronCores runs under a plan with this fault for one of them. Given are
the statuses that it met, in their order (`right`: none, and the results were right; `wrong data`: a result was wrong and nobody said
so), the first recovery of *retry* (the call again), *reload* (the model) and *reinit* (`nrt_close`, `nrt_init`) after which all was
right again, what the console said of the first failure, what was counted on that core (the counter of how executions and loads ended, in
brackets the kind of error; after "trace": the events in the system trace) that is not there without a fault, and whether the core beside it
noticed (`right`: no result, counter or event of it was another; `shares the fault`: what fails is of the whole device). What the front door
makes up is not counted, since nothing was done; what happens before `nrt_init` has succeeded has no core to be counted on.
Where a backend cannot have a fault, the plan is refused with the reason that is given. `emulated` is the backend `neuron` on an emulated `/dev/neuron0`, `vendor` a runtime behind the front door.
`null` executes nothing: an inference that ends with its time limit and has written nothing is right there. It has no counters.

There are no rows for silicon, because none of this was observed on it. The faults between runtime and driver are the same code there as for `emulated`, with the
kernel's driver behind it; the front door is the same for all; faults of the chip are refused: silicon cannot be told to fail.

)";

/// A plan with which the kind shows itself, where "anywhere, the first time" is not enough. Core 1 is the application's; its DMA engine 4 feeds
/// ACT and 5 feeds POOL. (Which of several engines has the first event depends on when their doorbells are rung.)
const std::map<std::string_view, const char*> kRules = {
    {"fd_status",
     R"({"fault": "fd_status", "where": {"function": "nrt_execute", "model": "victim"}, "detail": {"status": "NRT_QUEUE_FULL"}})"},
    {"fd_allocation_limit", R"({"fault": "fd_allocation_limit", "where": {"function": "nrt_load"}})"},
    {"fd_latency", R"({"fault": "fd_latency", "where": {"function": "nrt_execute", "model": "victim"}})"},
    {"drv_error", R"({"fault": "drv_error", "where": {"core": 1, "operation": "mem_alloc"}})"},
    {"drv_slow", R"({"fault": "drv_slow", "where": {"core": 1, "operation": "mem_alloc"}})"},
    {"drv_allocation_limit", R"({"fault": "drv_allocation_limit", "where": {"core": 1}})"},
    {"drv_device_removed",
     R"({"fault": "drv_device_removed", "where": {"core": 1, "operation": "mem_alloc"}, "detail": {"return_after": 4}})"},
    {"data_bit_flip", R"({"fault": "data_bit_flip", "where": {"core": 1}, "detail": {"offset": 7, "bit": 7}})"},
    {"dma_abort", R"({"fault": "dma_abort", "where": {"core": 1, "engine": "dma4"}})"},
    {"dma_stall", R"({"fault": "dma_stall", "where": {"core": 1, "engine": "dma4"}})"},
    {"descriptor_corrupt", R"({"fault": "descriptor_corrupt", "where": {"core": 1, "engine": "dma4"}})"},
    {"dram_uncorrectable", R"({"fault": "dram_uncorrectable", "where": {"core": 1, "engine": "dma5"}})"},
    {"link_down", R"({"fault": "link_down", "where": {"core": 1}, "detail": {"ns": 1000}})"},
    {"firmware_silent", R"({"fault": "firmware_silent", "detail": {"requests": 1}})"},
};
/// What happens only when a core that hangs is reset.
constexpr const char* kNeedReset[] = {"drv_reset_fail", "drv_reset_slow", "firmware_silent"};
/// What takes a whole device away, and so the cores beside: nobody is promised there.
constexpr const char* kOfTheDevice[] = {"drv_device_removed", "link_down", "firmware_silent"};

template <typename List>
bool has(const List& list, std::string_view name) {
  return std::any_of(std::begin(list), std::end(list), [&](const char* one) { return name == one; });
}

std::string rules_of(const Kind& kind, std::string_view backend) {
  const std::string name(kind.name);
  std::string rules;
  if (const auto found = kRules.find(kind.name); found != kRules.end()) {
    rules = found->second;
  } else {
    const bool of_core = kind.level != Level::kFrontDoor && kind.where.find("core") != std::string_view::npos;
    rules = "{\"fault\": \"" + name + "\"" + (of_core ? R"(, "where": {"core": 1})" : "") + "}";
  }
  // A reset is waited for when a core is brought back. (The vendor's runtime refuses the rule, and has no chip that hangs; on
  // `null` every inference does.)
  if (has(kNeedReset, kind.name) && backend != "vendor" && backend != "null")
    rules += R"(, {"fault": "engine_hang", "where": {"core": 1}})";
  return rules;
}

struct Row {
  const Kind* kind;
  std::string backend, plan, refused;
  Cell cell;
};

std::string join(const std::vector<std::string>& words) {
  std::string text;
  std::string before;
  for (const std::string& word : words) {
    if (word == before) continue;
    text += (text.empty() ? "`" : ", `") + word + "`";
    before = word;
  }
  return text;
}

/// What the console said of the first failure: its first ERROR line, which says what happened and where (those that follow say
/// which call failed of it). The one place that decides what of it is in the page: what is the same in every run, on every machine,
/// and not what the device adds about its state, which is long.
std::string console_of(const Cell& cell) {
  for (std::string line : error_lines(cell)) {
    line = std::regex_replace(line, std::regex("^([A-Z]+:\\S+) +"), "$1 ");
    line = std::regex_replace(line, std::regex("0x[0-9a-f]{5,}"), "0x…");                       // addresses
    line = std::regex_replace(line, std::regex("/[^ ;,:]*/[^ ;,:]+"), "…");                     // paths
    line = std::regex_replace(line, std::regex(" \\([0-9]+ more error notifications\\)"), "");  // those in time
    line = line.substr(0, line.find("; "));
    std::replace(line.begin(), line.end(), '|', '/');
    return "`" + line + "`";
  }
  return "–";
}

std::string counted_of(const Cell& cell) {
  std::string text;
  const auto add = [&](const std::string& more) { text += (text.empty() ? "" : ", ") + more; };
  const Counts errors = cell.errors[1];
  for (const auto& [name, count] : beside_good(cell.endings[1])) add("`" + name + "`");
  if (!errors.empty()) {
    text += " (";
    for (const auto& [name, count] : errors) text += (text.back() == '(' ? "" : ", ") + name;
    text += ")";
  }
  std::string events;
  for (const auto& [name, count] : beside_good(cell.events[1])) events += (events.empty() ? "`" : ", `") + name + "`";
  if (!events.empty()) text += (text.empty() ? "trace: " : "; trace: ") + events;
  return text.empty() ? "–" : text;
}

std::string line_of(const Row& row) {
  std::string line = "| `" + std::string(row.kind->name) + "` | " + row.backend + " | ";
  if (!row.refused.empty()) return line + "– | " + row.refused + " | | | |\n";
  std::string status = join(row.cell.statuses);
  if (row.cell.wrong_data) status += status.empty() ? "wrong data" : ", wrong data";
  if (status.empty()) status = "right";
  return line + status + " | " + (row.cell.recovery.empty() ? "none needed" : row.cell.recovery) + " | " +
         console_of(row.cell) + " | " + counted_of(row.cell) + " | " +
         (has(kOfTheDevice, row.kind->name) ? "shares the fault"
          : row.cell.neighbour_right        ? "right"
                                            : "affected") +
         " |\n";
}

/// The reason in the checker's message.
std::string reason_of(const std::string& message, const Kind& kind) {
  const std::string before = "cannot have " + std::string(kind.name) + ": ";
  const std::size_t begin = message.find(before);
  if (begin == std::string::npos) return message;
  return message.substr(begin + before.size(), message.find("; expected", begin) - begin - before.size());
}

std::vector<Row> observed() {
  std::vector<Row> rows;
  for (const Kind& kind : kinds())
    for (const char* backend : kBackends) {
      Row row{&kind, backend, R"({"version": 1, "rules": [)" + rules_of(kind, backend) + "]}", {}, {}};
      const auto plan = opennrt::faults::parse_plan(row.plan, "plan");
      EXPECT_TRUE(plan) << plan.error().message;
      if (!plan) continue;
      if (const auto possible = opennrt::faults::check_for_backend(*plan, backend); !possible)
        row.refused = reason_of(possible.error().message, kind);
      rows.push_back(std::move(row));
    }
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < rows.size(); i = next++) {
      const bool over_link = rows[i].kind->name == "link_down";  // which only what is on the host goes over
      rows[i].cell = observe(rows[i].backend, rows[i].plan,
                             over_link ? std::vector<std::string>{"host"} : std::vector<std::string>{});
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::max(2u, std::thread::hardware_concurrency()); ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  return rows;
}

bool documents(const Kind& kind, const std::string& status) {
  if (kind.name == "fd_status") return true;  // the plan says which
  return (" " + std::string(kind.status) + " ").find(" " + status + " ") != std::string::npos;
}

int rank(const std::string& recovery) {
  if (recovery.empty() || recovery == "none needed") return 0;
  if (recovery == "retry") return 1;
  return recovery == "reload" ? 2 : recovery == "reinit" ? 3 : 4;
}

void expect_as_documented(const Row& row) {
  const Kind& kind = *row.kind;
  const Cell& cell = row.cell;
  SCOPED_TRACE(std::string(kind.name) + " on " + row.backend + "\n" + cell.run.out + cell.run.err.substr(0, 4000));
  if (!row.refused.empty()) {
    EXPECT_THAT(cell.statuses, ::testing::Contains("NRT_INVALID")) << "the runtime refuses what the checker refuses";
    EXPECT_THAT(cell.run.err, ::testing::HasSubstr(row.refused));
    EXPECT_TRUE(cell.reported.strikes.empty());
    return;
  }
  EXPECT_TRUE(cell.well);
  EXPECT_TRUE(std::any_of(cell.reported.strikes.begin(), cell.reported.strikes.end(), [&](const auto& strike) {
    return strike.rule.kind == &kind;
  })) << "it has not struck";
  if (!has(kOfTheDevice, kind.name)) {
    expect_neighbour_untouched(cell);
    expect_counted(cell, kind.level == Level::kFrontDoor);
  }
  const bool helped = has(kNeedReset, kind.name);  // by a hang, which has statuses of its own
  for (const std::string& status : cell.statuses)
    EXPECT_TRUE(documents(kind, status) || (helped && status == "NRT_TIMEOUT")) << status;
  EXPECT_LE(rank(cell.recovery), std::max(rank(std::string(kind.recovery)), helped ? 1 : 0)) << cell.recovery;
  EXPECT_EQ(error_lines(cell).empty(), cell.statuses.empty())
      << "a failure is said on the console, and nothing else is";
  for (const auto& alive : cell.reported.closed) EXPECT_TRUE(alive.none());
}

TEST(FaultTable, givenEachKindOnEachBackendWhenItStrikesThenItIsAsDocumentedAndThePageSaysSo) {
  std::string page = kHead;
  page +=
      "| Fault | Backend | Status | Recovery | Console | Counted | Core beside it |\n|---|---|---|---|---|---|---|\n";
  for (const Row& row : observed()) {
    expect_as_documented(row);
    page += line_of(row);
  }
  const std::string path = std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/docs/fault-table.md";
  if (std::getenv("OPENNRT_FAULTS_DOCS_WRITE") != nullptr)
    opennrt::test::write_text(path, page);
  else
    EXPECT_EQ(opennrt::test::read_text(path), page) << "OPENNRT_FAULTS_DOCS_WRITE=1 writes it";
}

}  // namespace
}  // namespace fault_test
