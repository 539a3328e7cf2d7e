// SPDX-License-Identifier: Apache-2.0
//
// The processes that use an emulated machine: who they are, whether they live, and what of theirs is under way.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace opennrt::emulator {

/// One process. Thread-safe.
class Process {
 public:
  /// Watches a process that lives, or lived when it spoke to us.
  explicit Process(pid_t pid);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }  ///< -1: this kernel has none
  bool ended() const;                   ///< asks the kernel

  /// It said paravirtual Hello: the device stands still until it waits.
  std::atomic<bool> paravirtual = false;

  std::atomic<bool> watched = false;  ///< somebody polls its pidfd

  /// A request begins; false: the process is dead, or being buried.
  bool enter();
  void leave();
  /// True from the moment the process is found dead: what waits on its behalf gives up.
  const std::atomic<bool>& gone() const { return gone_; }
  /// No request is let in any more; returns once none is under way.
  void close();

 private:
  const pid_t pid_;
  const int pidfd_;
  const std::uint64_t started_;  ///< as the kernel tells it apart from a later one with its number
  std::atomic<bool> gone_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned requests_ = 0;
};

/// All of them by number. Thread-safe.
class Processes {
 public:
  /// `bury` is called once for each process that has ended, after its last request; by any thread, one at a time.
  explicit Processes(std::function<void(Process&)> bury) : bury_(std::move(bury)) {}

  /// The process with that number, which is alive. One that had it before is buried first.
  std::shared_ptr<Process> meet(pid_t pid);
  /// Buries whoever has ended. When it returns, nothing is left of a process that ended before it was called.
  void sweep();
  /// What is under way for any of them gives up; no request is let in any more. Returns when none is under way.
  void dismiss();

 private:
  void bury(const std::shared_ptr<Process>& process);

  const std::function<void(Process&)> bury_;
  std::mutex burial_;  ///< taken before mutex_
  mutable std::mutex mutex_;
  std::map<pid_t, std::shared_ptr<Process>> living_;
};

}  // namespace opennrt::emulator
