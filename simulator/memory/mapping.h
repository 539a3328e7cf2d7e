// SPDX-License-Identifier: Apache-2.0
//
// Memory of the simulated machine that costs nothing until it is touched: address space reserved from the kernel,
// pages on first use.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/common/error.h"

namespace opennrt::sim {

/// One range of zeroed memory. Movable, not copyable; unmapped by the destructor. Not thread-safe.
class Mapping {
 public:
  Mapping() = default;
  /// kResource when the system refuses the address space.
  static Result<Mapping> reserve(std::uint64_t bytes);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }
  /// Gives the pages back: everything reads as zero again.
  void clear();

 private:
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace opennrt::sim
