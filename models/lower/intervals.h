// SPDX-License-Identifier: Apache-2.0
//
// What happened last to each byte of a memory: a map from disjoint byte ranges to a state, which splits where accesses begin and
// end. Bytes never touched have the default state.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>

namespace opennrt::compile::lower {

template <typename State>
class IntervalMap {
 public:
  /// Calls fn(const State&) for every range that overlaps [begin, end) and was touched before.
  template <typename Fn>
  void visit(std::uint64_t begin, std::uint64_t end, Fn fn) const {
    auto it = map_.upper_bound(begin);
    if (it != map_.begin() && std::prev(it)->second.end > begin) --it;
    for (; it != map_.end() && it->first < end; ++it) fn(it->second.state);
  }
  /// Makes [begin, end) one range with `state`.
  void assign(std::uint64_t begin, std::uint64_t end, const State& state) {
    if (begin >= end) return;
    split(begin);
    split(end);
    map_.erase(map_.lower_bound(begin), map_.lower_bound(end));
    map_.emplace(begin, Range{end, state});
  }
  /// Calls fn(State&) for pieces that cover exactly [begin, end), making default ones in the gaps.
  template <typename Fn>
  void update(std::uint64_t begin, std::uint64_t end, Fn fn) {
    if (begin >= end) return;
    split(begin);
    split(end);
    auto it = map_.lower_bound(begin);
    for (std::uint64_t at = begin; at < end;) {
      if (it == map_.end() || it->first > at) {
        const std::uint64_t stop = it == map_.end() || it->first > end ? end : it->first;
        it = map_.emplace(at, Range{stop, State{}}).first;
      }
      fn(it->second.state);
      at = it->second.end;
      ++it;
    }
  }
  std::size_t size() const { return map_.size(); }

 private:
  struct Range {
    std::uint64_t end;
    State state;
  };
  void split(std::uint64_t at) {
    auto it = map_.lower_bound(at);
    if (it == map_.begin() || (it != map_.end() && it->first == at)) return;
    --it;
    if (it->second.end <= at) return;
    const Range tail = it->second;
    it->second.end = at;
    map_.emplace(at, tail);
  }
  std::map<std::uint64_t, Range> map_;
};

}  // namespace opennrt::compile::lower
