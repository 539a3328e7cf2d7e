// SPDX-License-Identifier: Apache-2.0
//
// Runs other people's programs, several at a time, with a limit of time for each.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::tool {

struct ChildOptions {
  std::vector<std::string> command;                ///< found by PATH
  std::map<std::string, std::string> environment;  ///< on top of ours; an empty value takes the variable away
  std::filesystem::path output, error;             ///< files; empty: ours
  std::filesystem::path folder;                    ///< working directory; empty: ours
  std::chrono::nanoseconds limit = std::chrono::nanoseconds::max();
};

struct Ended {
  std::uint64_t key = 0;
  int exit = -1;      ///< exit status, or -1
  int signal = 0;     ///< that ended it, or 0
  bool late = false;  ///< it was ended because its time was over
  double milliseconds = 0;
};

/// Children with process groups of their own: whatever one leaves behind ends with it. One whose input is the user's terminal stays in
/// the terminal's group. A child ends when we do, however that happens. While an instance lives, SIGINT, SIGTERM and SIGHUP end all
/// children. Not thread-safe; one at a time in a process, in its main thread.
class Children {
 public:
  Children();
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// kInvalidArgument: the command cannot be started.
  Status start(std::uint64_t key, const ChildOptions& options);
  std::size_t running() const { return running_.size(); }
  /// Waits for one child, at most until `wake`. Nothing: the time is over, or interrupted().
  std::vector<Ended> wait(std::chrono::steady_clock::time_point wake = std::chrono::steady_clock::time_point::max());
  /// The signal by which somebody wants us to end, or 0; all children are ended already.
  int interrupted() const { return interrupted_; }

 private:
  struct Running {
    std::uint64_t key;
    pid_t pid;
    int descriptor;  ///< of the process
    std::chrono::steady_clock::time_point begin, end;
    bool late = false;
  };
  Ended reap(const Running& child);
  void kill_all();

  std::vector<Running> running_;
  int signals_ = -1;
  sigset_t before_{};
  int interrupted_ = 0;
};

}  // namespace opennrt::tool
