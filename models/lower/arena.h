// SPDX-License-Identifier: Apache-2.0
//
// Byte ranges of every partition's SBUF. A range that is given back may be given out again at once: who may touch it when is the
// scheduler's to order.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

namespace opennrt::compile::lower {

class Arena {
 public:
  static constexpr std::uint32_t kAlignment = 32;

  Arena(std::uint32_t begin, std::uint32_t end);

  /// A range of the arena, given back with the last owner. Must not outlive the arena.
  class Buffer {
   public:
    Buffer(Arena& arena, std::uint32_t offset, std::uint32_t bytes) : arena_(arena), offset_(offset), bytes_(bytes) {}
    ~Buffer() { arena_.release(offset_, bytes_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    std::uint32_t offset() const { return offset_; }
    std::uint32_t bytes() const { return bytes_; }

   private:
    Arena& arena_;
    std::uint32_t offset_, bytes_;
  };

  /// The smallest hole that fits below `limit` (an offset from the arena's begin); nullptr when there is none.
  std::shared_ptr<Buffer> allocate(std::uint64_t bytes, std::uint32_t limit = ~0u);
  std::uint32_t largest_hole() const;
  std::uint32_t size() const { return end_ - begin_; }
  std::uint32_t peak() const { return peak_; }  ///< most bytes out at a time

 private:
  void release(std::uint32_t offset, std::uint32_t bytes);
  std::uint32_t begin_, end_, used_ = 0, peak_ = 0;
  std::map<std::uint32_t, std::uint32_t> holes_;  ///< offset → bytes
};

}  // namespace opennrt::compile::lower
