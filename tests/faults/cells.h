// SPDX-License-Identifier: Apache-2.0
//
// Runs the application of door_client.cc under a fault plan, and keeps what it says.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/faults/report.h"
#include "tests/unit/tools/process.h"

namespace fault_test {

using Counts = std::map<std::string, std::uint64_t>;  ///< by name, without those that are 0

struct Cell {
  opennrt::test::Outcome run;
  std::vector<std::string> statuses;   ///< "NRT_TIMEOUT", in order
  std::vector<std::string> functions;  ///< that returned them
  std::string recovery;                ///< "retry", "reload", "reinit", "none"; empty: nothing failed
  bool wrong_data = false, well = false, neighbour_right = true;
  bool still = false;  ///< nothing executes, and there are no counters
  std::uint64_t neighbour_inferences = 0;
  // Of core 0, the neighbour, and core 1, over all sessions.
  Counts endings[2];  ///< how executions and loads ended (observe::kEndings)
  Counts errors[2];   ///< of what kind the failures were (observe::kErrorKinds)
  Counts events[2];   ///< of the system trace
  opennrt::faults::Reported reported;
};

/// `backend`: "sim", "emulated" (the backend `neuron` on an emulated machine), "null" (where every inference ends with its time, as it
/// should) or "vendor" (a stand-in). `options`: of the
/// application.
inline Cell observe(const std::string& backend, const std::string& plan, const std::vector<std::string>& options = {}) {
  const opennrt::test::TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  std::vector<std::string> command{build + "/tests/door_client", build + "/bin/opennrt"};
  command.insert(command.end(), options.begin(), options.end());
  if (backend == "null") command.push_back("still");
  if (backend == "emulated") command.insert(command.begin(), {build + "/bin/opennrt", "emulate", "--"});
  opennrt::test::write_text(folder / "plan.json", plan);
  Cell cell;
  cell.run =
      opennrt::test::run_program(command, {{"OPENNRT_BACKEND", backend == "emulated" ? "neuron" : backend},
                                           {"OPENNRT_VENDOR_LIBNRT", build + "/tests/vendor/stand_in/libnrt.so.1"},
                                           {"OPENNRT_RUNTIME_DIR", folder.path()},
                                           {"OPENNRT_FAULTS", folder / "plan.json"},
                                           {"OPENNRT_FAULTS_REPORT", folder / "report"},
                                           {"NEURON_RT_LOG_LEVEL", "INFO"}});
  std::istringstream lines(cell.run.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what, first, second, third;
    std::uint64_t count = 0;
    words >> what >> first >> second;
    if (what == "status") {
      cell.functions.push_back(first);
      cell.statuses.push_back(second);
    }
    if (what == "recovery") cell.recovery = first;
    if (what == "wrong") cell.wrong_data = true;
    if (what == "neighbour") {
      if (first != "right") cell.neighbour_right = false;
      cell.neighbour_inferences += std::stoull(second);
    }
    if (what == "counted") {
      words >> third >> count;
      (second == "error_summary" ? cell.errors : cell.endings)[first == "0" ? 0 : 1][third] += count;
    }
    if (what == "event") {
      words >> count;
      cell.events[first == "0" ? 0 : 1][second] += count;
    }
    if (line == "well") cell.well = true;
  }
  cell.still = backend == "null";
  if (auto read = opennrt::faults::read_report(folder / "report"))
    cell.reported = std::move(*read);
  else
    ADD_FAILURE() << read.error().message;
  return cell;
}

/// What follows a status, beside it: the counter of endings and the kind of error that a failed load or execution is counted
/// in, and the event of the system trace (docs/profiling.md; both empty where there are none). The counters are those of
/// aws-neuron-sdk tools/neuron-sys-tools/neuron-sysfs-user-guide.rst.
struct Counted {
  const char *ending, *error, *event;
};
inline const std::map<std::string, Counted> kCounted = {
    {"NRT_FAILURE", {"failure", "hardware", ""}},
    {"NRT_INVALID", {"invalid_error", "model", ""}},
    {"NRT_RESOURCE", {"resource_error", "runtime", ""}},
    {"NRT_TIMEOUT", {"timed_out", "generic", ""}},
    {"NRT_HW_ERROR", {"failure", "hardware", ""}},
    {"NRT_QUEUE_FULL", {"failed_to_queue", "", ""}},
    {"NRT_EXEC_UNIT_UNRECOVERABLE", {"failure", "hardware", ""}},
    {"NRT_EXEC_COMPLETED_WITH_NUM_ERR", {"completed_with_num_err", "numerical", "numerical_err"}},
    {"NRT_EXEC_COMPLETED_WITH_ERR", {"completed_with_err", "model", ""}},
    {"NRT_EXEC_OOB", {"oob_error", "model", ""}},
    {"NRT_EXEC_HW_ERR_HBM_UE", {"hw_hbm_ue_error", "hardware", "hw_notify"}},
    {"NRT_EXEC_HW_ERR_NC_UE", {"hw_nc_ue_error", "hardware", "hw_notify"}},
    {"NRT_EXEC_HW_ERR_DMA_ABORT", {"hw_dma_abort_error", "hardware", "hw_notify"}},
    {"NRT_EXEC_SW_NQ_OVERFLOW", {"execute_sw_nq_overflow", "runtime", "hw_notify"}},
};

/// The counts without what is there when nothing fails, too (a model that is loaded anew is another one: nrt_model_switch).
inline Counts beside_good(Counts counts) {
  static const std::set<std::string> good = {"completed", "nc_exec_running", "timestamp_sync_point", "device_exec",
                                             "model_load"};
  std::erase_if(counts, [](const auto& one) { return one.first.starts_with("nrt") || good.contains(one.first); });
  return counts;
}

/// Each failed load or execution of core 1 that reached the runtime is counted once, in its place, and has its event. What a
/// plan makes the front door say is not: there nothing was done.
inline void expect_counted(const Cell& cell, bool at_front_door) {
  Counts endings, errors, events;
  for (std::size_t i = 0; i < cell.statuses.size() && !at_front_door; ++i) {
    const std::string& function = cell.functions[i];
    if (function != "nrt_load" && function != "nrt_execute" && function != "nrta_execute_schedule") continue;
    const auto found = kCounted.find(cell.statuses[i]);
    ASSERT_NE(found, kCounted.end()) << cell.statuses[i];
    ++endings[found->second.ending];
    if (*found->second.error != '\0') ++errors[found->second.error];
    if (*found->second.event != '\0') ++events[found->second.event];
  }
  if (cell.still) endings = errors = {};
  EXPECT_EQ(beside_good(cell.endings[1]), endings);
  EXPECT_EQ(cell.errors[1], errors);
  EXPECT_EQ(beside_good(cell.events[1]), events);
}

/// Each inference of core 0 has completed, and nothing else is known of it.
inline void expect_neighbour_untouched(const Cell& cell) {
  EXPECT_TRUE(cell.neighbour_right);
  Counts endings;
  if (cell.neighbour_inferences != 0 && !cell.still) endings["completed"] = cell.neighbour_inferences;
  EXPECT_EQ(cell.endings[0], endings);
  EXPECT_EQ(cell.errors[0], Counts{});
  EXPECT_EQ(beside_good(cell.events[0]), Counts{});
  const auto ran = cell.events[0].find("nc_exec_running");
  EXPECT_EQ(ran == cell.events[0].end() ? 0 : ran->second, cell.neighbour_inferences);
}

/// The lines that the library wrote as errors in the thread that uses core 1 (the first; the neighbour has one of its own), without
/// time, process and thread: "TDRV:some_function  its message". Not what a simulated device says that it sees inside itself when
/// it is waited for: a chip is silent about that.
inline std::vector<std::string> error_lines(const Cell& cell) {
  static const std::regex error("^\\S+ \\S+ +([0-9]+):([0-9]+) +ERROR +(.*)$");
  static const std::regex time("inference timeout|Inference of model .* failed|with status 5 \\(NRT_TIMEOUT\\)");
  std::vector<std::string> found;
  std::istringstream lines(cell.run.err);
  std::smatch match;
  for (std::string line; std::getline(lines, line);)
    if (std::regex_match(line, match, error) && match[1] == match[2] && !match[3].str().starts_with("TDRV:wait "))
      if (!cell.still || !std::regex_search(line, time)) found.push_back(match[3]);
  return found;
}

}  // namespace fault_test
