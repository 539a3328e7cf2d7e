// SPDX-License-Identifier: Apache-2.0
#include "models/lower/arena.h"

#include <algorithm>
#include <iterator>

namespace opennrt::compile::lower {

Arena::Arena(std::uint32_t begin, std::uint32_t end) : begin_(begin), end_(std::max(begin, end)) {
  begin_ = (begin_ + kAlignment - 1) / kAlignment * kAlignment;
  end_ = std::max(begin_, end_ / kAlignment * kAlignment);
  if (end_ > begin_) holes_[begin_] = end_ - begin_;
}

std::shared_ptr<Arena::Buffer> Arena::allocate(std::uint64_t bytes, std::uint32_t limit) {
  const std::uint64_t size = std::max<std::uint64_t>(1, (bytes + kAlignment - 1) / kAlignment) * kAlignment;
  const std::uint64_t stop = std::uint64_t{begin_} + limit;
  auto best = holes_.end();
  for (auto it = holes_.begin(); it != holes_.end(); ++it) {
    if (it->second < size || it->first + size > stop) continue;
    if (best == holes_.end() || it->second < best->second) best = it;
  }
  if (best == holes_.end()) return nullptr;
  const auto taken = static_cast<std::uint32_t>(size);
  const std::uint32_t offset = best->first, rest = best->second - taken;
  holes_.erase(best);
  if (rest > 0) holes_[offset + taken] = rest;
  used_ += taken;
  peak_ = std::max(peak_, used_);
  return std::make_shared<Buffer>(*this, offset, taken);
}

std::uint32_t Arena::largest_hole() const {
  std::uint32_t largest = 0;
  for (const auto& [offset, bytes] : holes_) largest = std::max(largest, bytes);
  return largest;
}

void Arena::release(std::uint32_t offset, std::uint32_t bytes) {
  used_ -= bytes;
  auto next = holes_.lower_bound(offset);
  if (next != holes_.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = holes_.erase(next);
  }
  if (next != holes_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  holes_[offset] = bytes;
}

}  // namespace opennrt::compile::lower
