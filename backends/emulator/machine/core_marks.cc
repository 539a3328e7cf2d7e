// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/core_marks.h"

#include <algorithm>
#include <cerrno>

namespace opennrt::emulator {

int CoreMarks::mark(pid_t pid, std::uint32_t count, std::uint32_t first, std::uint32_t last, opennrt_core_map_t& taken,
                    std::uint32_t& longest) {
  taken = {};
  longest = 0;
  if (first > last || last >= holders_.size()) return -EINVAL;
  const std::lock_guard guard(mutex_);
  const auto end = holders_.begin() + last + 1;
  auto at = std::find(holders_.begin() + first, end, 0);
  while (at != end) {
    const auto busy = std::find_if(at, end, [](pid_t holder) { return holder != 0; });
    const auto run = static_cast<std::uint32_t>(busy - at);
    if (run >= count) {
      const auto start = static_cast<std::uint32_t>(at - holders_.begin());
      std::fill_n(at, count, pid);
      for (std::uint32_t core = start; core < start + count; ++core) {
        taken.bits[core / 64] |= std::uint64_t{1} << (core % 64);
      }
      return 0;
    }
    longest = std::max(longest, run);
    // The driver does not look at the core behind the busy one.
    at = end - busy > 2 ? std::find(busy + 2, end, 0) : end;
  }
  return -EBUSY;
}

std::uint32_t CoreMarks::unmark(pid_t pid, const opennrt_core_map_t& cores) {
  const std::lock_guard guard(mutex_);
  std::uint32_t count = 0;
  for (std::uint32_t core = 0; core < holders_.size(); ++core) {
    if ((cores.bits[core / 64] >> (core % 64) & 1) == 0 || holders_[core] != pid) continue;
    holders_[core] = 0;
    ++count;
  }
  return count;
}

void CoreMarks::unmark_all(pid_t pid) {
  opennrt_core_map_t all{};
  for (std::uint64_t& bits : all.bits) bits = ~std::uint64_t{0};
  unmark(pid, all);
}

pid_t CoreMarks::holder(std::uint32_t core) const {
  const std::lock_guard guard(mutex_);
  return core < holders_.size() ? holders_[core] : 0;
}

}  // namespace opennrt::emulator
