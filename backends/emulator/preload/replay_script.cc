// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/replay_script.h"

namespace opennrt::emulator {
namespace {

bool is_step(Verb verb) {
  return verb == Verb::kOpen || verb == Verb::kIoctl || verb == Verb::kMmap || verb == Verb::kClose;
}

bool reads(const Event& event) {
  if (event.verb != Verb::kIoctl) return false;
  const RequestDescription* known = describe(std::string_view(event.in[1].text));
  return known != nullptr && known->reads;
}

}  // namespace

Script::Script(const Transcript& transcript, unsigned process) {
  for (const Event& event : transcript.events) {
    if (event.process != process) continue;
    if (event.verb == Verb::kMemory) {
      entries_.push_back({{}, &event, false});
      continue;
    }
    Part* part = nullptr;
    if (const auto at = parts_.find(event.thread); at != parts_.end()) part = &at->second;
    if (is_step(event.verb)) {
      entries_.push_back({{&event, {}, 0, entries_.size(), reads(event)}, nullptr, false});
      parts_[event.thread].steps.push_back(entries_.size() - 1);
    } else if (part != nullptr && !part->steps.empty()) {
      Step& last = entries_[part->steps.back()].step;
      std::uint64_t times = 0;
      if (event.verb == Verb::kData) last.data.push_back(&event);
      if (event.verb == Verb::kAgain && parse_number(event.in[0].text, times)) last.again += times;
    }
  }
}

const Step* Script::take(Part& part, const Fits& fits) {
  const Step* before = part.at == 0 ? nullptr : &entries_[part.steps[part.at - 1]].step;
  const bool may_repeat = before != nullptr && before->reads;
  if (may_repeat && part.polls < before->again && fits(*before)) {
    ++part.polls;
    return before;
  }
  if (part.at < part.steps.size()) {
    const Step& step = entries_[part.steps[part.at]].step;
    if (fits(step)) {
      ++part.at;
      part.polls = 0;
      return &step;
    }
  }
  return may_repeat && fits(*before) ? before : nullptr;
}

const Step* Script::next(long thread, const Fits& fits) {
  if (const auto known = by_thread_.find(thread); known != by_thread_.end()) return take(parts_[known->second], fits);
  for (auto& [number, part] : parts_) {
    if (part.claimed) continue;
    const Step* step = take(part, fits);
    if (step == nullptr) continue;
    part.claimed = true;
    by_thread_[thread] = number;
    return step;
  }
  return nullptr;
}

void Script::taken(const Step& step, const Deliver& deliver) {
  entries_[step.index].done = true;
  deliver_ready(deliver);
}

void Script::deliver_ready(const Deliver& deliver) {
  for (; front_ < entries_.size(); ++front_) {
    const Entry& entry = entries_[front_];
    if (entry.memory != nullptr) {
      deliver(*entry.memory);
    } else if (!entry.done) {
      return;
    }
  }
}

const Event* Script::expected(long thread) const {
  const auto known = by_thread_.find(thread);
  for (const auto& [number, part] : parts_) {
    if (known == by_thread_.end() ? part.claimed : number != known->second) continue;
    return part.at < part.steps.size() ? entries_[part.steps[part.at]].step.event : nullptr;
  }
  return nullptr;
}

}  // namespace opennrt::emulator
