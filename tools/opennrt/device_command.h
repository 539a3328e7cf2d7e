// SPDX-License-Identifier: Apache-2.0
//
// A command that runs with the preload library, as a child that gets our signals: for `emulate` and `ioctl`.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "core/common/error.h"

namespace opennrt::tool {

/// Path of libopennrt_device.so, beside the libnrt.so.1 that this tool is linked to, in the build tree as in the installed one.
/// kInvalidFile: it is not there, or its path cannot be said in LD_PRELOAD.
Result<std::string> device_library();

/// Why the preload library will not get into a program, as the end of a sentence about it; empty: it will. `program` is looked
/// for as a shell does it; one that is not found or not readable is nothing to be said about.
std::string unreachable(const std::string& program);

/// Signals that would end us are the command's. All signals are held back until `release`: none is lost before there is a command,
/// and threads that are started until then get none. One object per process.
class Signals {
 public:
  Signals();
  ~Signals() { restore(); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void release() const { ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr); }
  /// As they were: for the command, and for us when it has ended.
  void restore() const;

 private:
  static constexpr std::array kForwarded{SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM};
  sigset_t mask_{};
  std::array<struct sigaction, kForwarded.size()> before_{};
};

/// The command as a process. Start it before any thread.
class Command {
 public:
  /// `variables` are set for it on top of ours, and `library` comes first in its LD_PRELOAD. kResource: no process. That it
  /// cannot be executed is `error()`. Says on standard error when `library` will not get into it.
  static Result<Command> start(const std::vector<std::string>& words, const std::string& library,
                               const std::map<std::string, std::string>& variables, const Signals& signals);

  int error() const { return error_; }  ///< errno of exec; 0: it runs
  void kill(int signal) const;
  /// Its exit status as a shell has it: 128 + signal where one ended it; 126 and 127 where it could not be executed.
  int wait() const;

 private:
  pid_t pid_ = -1;
  int error_ = 0;
};

}  // namespace opennrt::tool
