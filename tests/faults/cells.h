// SPDX-License-Identifier: Apache-2.0
//
// Runs the application of door_client.cc under a fault plan, and keeps what it says.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "core/faults/report.h"
#include "tests/unit/tools/process.h"

namespace fault_test {

struct Cell {
  opennrt::test::Outcome run;
  std::vector<std::string> statuses;  ///< "NRT_TIMEOUT", in order
  std::string recovery;               ///< "retry", "reload", "reinit", "none"; empty: nothing failed
  bool wrong_data = false, well = false, neighbour_right = true;
  opennrt::faults::Reported reported;
};

/// `backend`: "sim", "emulated" (the backend `neuron` on an emulated machine) or "vendor" (a stand-in). `options`: of the
/// application.
inline Cell observe(const std::string& backend, const std::string& plan, const std::vector<std::string>& options = {}) {
  const opennrt::test::TemporaryFolder folder;
  const std::string build = std::getenv("OPENNRT_BUILD_DIR");
  std::vector<std::string> command{build + "/tests/door_client"};
  command.insert(command.end(), options.begin(), options.end());
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
    std::string what, first, second;
    words >> what >> first >> second;
    if (what == "status") cell.statuses.push_back(second);
    if (what == "recovery") cell.recovery = first;
    if (what == "wrong") cell.wrong_data = true;
    if (what == "neighbour" && first != "right") cell.neighbour_right = false;
    if (line == "well") cell.well = true;
  }
  if (auto read = opennrt::faults::read_report(folder / "report"))
    cell.reported = std::move(*read);
  else
    ADD_FAILURE() << read.error().message;
  return cell;
}

}  // namespace fault_test
