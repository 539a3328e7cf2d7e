// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace opennrt::emulator {
namespace {

int open_pidfd(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

struct Stat {
  char state = 'X';
  std::uint64_t started = 0;
};

/// From /proc/<pid>/stat; nothing: there is no such process.
std::optional<Stat> stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text, '\0');  // an iterator would throw when the process ends between open and read
  const std::size_t after_name = text.rfind(')');  // the name may hold anything
  if (after_name == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(after_name + 1));
  Stat stat;
  std::string skipped;
  fields >> stat.state;
  constexpr int kBetween = 18;  // proc(5): state is field 3, starttime field 22
  for (int i = 0; i < kBetween; ++i) fields >> skipped;
  fields >> stat.started;
  return fields ? std::optional(stat) : std::nullopt;
}

}  // namespace

Process::Process(pid_t pid) : pid_(pid), pidfd_(open_pidfd(pid)), started_(stat_of(pid).value_or(Stat{}).started) {}

Process::~Process() {
  if (pidfd_ >= 0) ::close(pidfd_);
}

bool Process::ended() const {
  if (pidfd_ >= 0) {
    pollfd look{pidfd_, POLLIN, 0};
    return ::poll(&look, 1, 0) > 0;
  }
  const auto stat = stat_of(pid_);
  return !stat || stat->started != started_ || stat->state == 'Z' || stat->state == 'X';
}

bool Process::enter() {
  const std::lock_guard guard(mutex_);
  if (gone_) return false;
  ++requests_;
  return true;
}

void Process::leave() {
  {
    const std::lock_guard guard(mutex_);
    --requests_;
  }
  changed_.notify_all();
}

void Process::close() {
  std::unique_lock guard(mutex_);
  gone_ = true;
  changed_.wait(guard, [this] { return requests_ == 0; });
}

std::shared_ptr<Process> Processes::meet(pid_t pid) {
  for (;;) {
    std::shared_ptr<Process> known;
    {
      const std::lock_guard guard(mutex_);
      auto& slot = living_[pid];
      if (!slot) return slot = std::make_shared<Process>(pid);
      known = slot;
    }
    if (!known->ended()) return known;
    bury(known);
  }
}

void Processes::sweep() {
  std::vector<std::shared_ptr<Process>> all;
  {
    const std::lock_guard guard(mutex_);
    all.reserve(living_.size());
    for (const auto& [pid, process] : living_) all.push_back(process);
  }
  for (const auto& process : all) {
    if (process->ended()) bury(process);
  }
}

void Processes::bury(const std::shared_ptr<Process>& process) {
  const std::lock_guard order(burial_);
  {
    const std::lock_guard guard(mutex_);
    const auto at = living_.find(process->pid());
    if (at == living_.end() || at->second != process) return;  // somebody else has done it
  }
  process->close();
  bury_(*process);
  const std::lock_guard guard(mutex_);
  living_.erase(process->pid());
}

void Processes::dismiss() {
  std::vector<std::shared_ptr<Process>> all;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& [pid, process] : living_) all.push_back(process);
  }
  for (const auto& process : all) process->close();
}

}  // namespace opennrt::emulator
