// SPDX-License-Identifier: Apache-2.0
//
// What one process of a transcript said and was told, as a script to be followed thread by thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {

/// An event that a program causes, with what belongs to it.
struct Step {
  const Event* event = nullptr;
  std::vector<const Event*> data;
  std::uint64_t again = 0;  ///< it happened so many more times
  std::size_t index = 0;    ///< within its script
  bool reads = false;       ///< a poll: how often it is made does not matter
};

/// Not thread-safe. The transcript outlives it.
class Script {
 public:
  Script(const Transcript& transcript, unsigned process);
  bool empty() const { return entries_.empty(); }

  using Fits = std::function<bool(const Step&)>;
  using Deliver = std::function<void(const Event& memory)>;

  /// The step that a thread of this process takes now, or null: `fits` says which one the program's call may be; a
  /// thread that is new takes the part of the first recorded one whose beginning fits. Polls may be made more or less
  /// often than they were. Memory that the device had written before the next step of the process was taken is
  /// delivered by `taken`.
  const Step* next(long thread, const Fits& fits);
  /// After the step has been answered.
  void taken(const Step& step, const Deliver& deliver);
  /// Memory from before the first step.
  void start(const Deliver& deliver) { deliver_ready(deliver); }
  /// What a thread was to do next, for messages; null: nothing more.
  const Event* expected(long thread) const;

 private:
  struct Part {
    std::vector<std::size_t> steps;  ///< indices of entries_
    std::size_t at = 0;              ///< next one
    std::uint64_t polls = 0;         ///< how often the one before has been taken again
    bool claimed = false;
  };
  struct Entry {
    Step step;
    const Event* memory = nullptr;  ///< instead of a step
    bool done = false;
  };
  const Step* take(Part& part, const Fits& fits);
  void deliver_ready(const Deliver& deliver);

  std::vector<Entry> entries_;
  std::size_t front_ = 0;               ///< all before are done
  std::map<unsigned, Part> parts_;      ///< by recorded thread
  std::map<long, unsigned> by_thread_;  ///< recorded thread of a present one
};

}  // namespace opennrt::emulator
