// SPDX-License-Identifier: Apache-2.0
//
// What faults did, for whoever started the program: OPENNRT_FAULTS_REPORT names a file to which every process and every level
// appends lines of JSON. `opennrt faults record`, `replay` and `campaign` read it.
//   {"pid":1,"process":"digits","strike":{"rule":{…},"event":3,"device":0,"core":null,"function":"","operation":"mem_alloc","now_ns":5}}
//   {"pid":1,"process":"digits","status":{"function":"nrt_execute","status":"NRT_TIMEOUT"}}
//   {"pid":1,"process":"digits","closed":{"models":0,"tensors":0,"tensor_sets":0}}
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/common/error.h"
#include "core/faults/injector.h"

namespace opennrt::faults {

/// What a client had not freed when it called nrt_close.
struct Alive {
  std::uint64_t models = 0, tensors = 0, tensor_sets = 0;
  bool none() const { return models == 0 && tensors == 0 && tensor_sets == 0; }
};

/// Thread-safe; usable in a forked child. A line is one write(2) to a file opened with O_APPEND, so that lines of several
/// processes do not mix. What cannot be written (a full disk) is lost, and `lost` told so once: a report must not fail what it reports on.
class Report {
 public:
  /// kInvalidArgument: OPENNRT_FAULTS_REPORT cannot be opened for appending; it is made with mode 0600.
  static Result<std::unique_ptr<Report>> open(const std::string& path,
                                              std::function<void(const std::string&)> lost = {});
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  void strike(const Strike& strike) const;
  /// A function of the C API returned something else than NRT_SUCCESS.
  void status(std::string_view function, std::string_view name) const;
  void closed(const Alive& alive) const;

 private:
  Report(int descriptor, std::string path, std::function<void(const std::string&)> lost)
      : descriptor_(descriptor), path_(std::move(path)), lost_(std::move(lost)) {}
  void append(const std::string& line) const;

  const int descriptor_;
  const std::string path_;
  const std::function<void(const std::string&)> lost_;
  mutable std::atomic<bool> told_ = false;
};

/// Such a file read back. `rules` has the rule of each strike as it was in its plan.
struct Reported {
  struct Struck {
    std::int64_t pid = 0;
    std::string process;
    Rule rule;
    std::uint64_t event = 0;
    std::int64_t device = -1, core = -1;
    std::string function, operation;
    std::uint64_t now_ns = 0;
  };
  struct Returned {
    std::int64_t pid = 0;
    std::string function, status;
  };
  std::vector<Struck> strikes;
  std::vector<Returned> statuses;  ///< in the order of the file
  std::vector<Alive> closed;
};

/// A file that is not there is an empty report; a last line without its end (a process killed while it wrote) is left out.
/// kInvalidFile: path, line and what is wrong.
Result<Reported> read_report(const std::string& path);

/// A plan that makes exactly these faults again: a rule for each strike, by its event's number at its place. kUnsupported: two
/// processes of one name were struck differently, which no plan can tell apart.
Result<Plan> recorded_plan(const Reported& reported);

/// One line for each strike, sorted: two runs with the same lines had the same faults in the same places.
std::vector<std::string> strike_lines(const Reported& reported);

}  // namespace opennrt::faults
