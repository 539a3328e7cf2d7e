// SPDX-License-Identifier: Apache-2.0
//
// Operands as rows of floats: one row per partition, its elements in iteration order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/isa/footprint.h"
#include "core/isa/isa.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

/// An access pattern with neighbouring dimensions merged where they walk memory as one; [0] is the innermost.
struct Walk {
  std::uint32_t dims = 1;
  std::array<std::uint32_t, 4> counts{1, 1, 1, 1};
  std::array<std::int64_t, 4> steps{1, 1, 1, 1};  ///< in elements

  std::size_t elements() const { return std::size_t{counts[0]} * counts[1] * counts[2] * counts[3]; }
  bool contiguous() const { return dims == 1 && (steps[0] == 1 || counts[0] == 1); }
};
/// Counts of at least 1; the first `dims` entries are used.
Walk make_walk(const std::array<std::uint16_t, 4>& counts, const std::array<std::int16_t, 4>& steps,
               std::size_t dims = 4);

/// Reads the elements that `walk` visits from `origin` (its element 0) into out[0 .. elements).
void gather(const std::byte* origin, isa::DataType type, const Walk& walk, float* out);
/// Writes values[0 .. elements) to them, rounded to nearest even, integers saturated. The last write of an element stays.
void scatter(const float* values, isa::DataType type, const Walk& walk, std::byte* origin);

/// Where an operand's element (p, 0, 0, 0, 0) is: base + p * stride.
struct Rows {
  std::byte* base = nullptr;
  std::size_t stride = 0;
  std::byte* row(std::size_t p) const { return base + p * stride; }
};
Rows rows_of(const isa::Operand& operand, const CoreMemory& memory);

/// Reads an operand row by row. Construction copies the operand first when a row of `dst` written early could be one that is
/// read late (the two share a space and bytes, but not the start partition): sources are read before dst is written.
class Source {
 public:
  Source(const isa::Operand& operand, const std::array<std::uint16_t, 4>& counts, std::uint32_t partitions,
         const isa::Operand& dst, const std::array<std::uint16_t, 4>& dst_counts, std::uint32_t dst_partitions,
         const CoreMemory& memory);
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  /// Replaces the order in which row() visits elements (the same ones).
  void set_walk(const Walk& walk) { walk_ = walk; }
  /// Row p: the memory itself where it is contiguous fp32, otherwise `scratch`, filled.
  const float* row(std::size_t p, float* scratch) const;
  const Walk& walk() const { return walk_; }

 private:
  Rows rows_;
  isa::DataType type_;
  Walk walk_;
  std::vector<std::byte> copy_;
};

/// Writes dst row by row and remembers whether a NaN went into a float type.
class Sink {
 public:
  Sink(const isa::Operand& operand, const Walk& walk, const CoreMemory& memory)
      : rows_(rows_of(operand, memory)), type_(operand.dtype), walk_(walk) {}

  /// A place for row p's results: the memory itself when it is contiguous fp32 and each of `sources` (rows of as many
  /// elements, null allowed) is either that very place or apart from it; otherwise `scratch`. Then commit().
  float* begin(std::size_t p, float* scratch, const float* source0, const float* source1 = nullptr) const;
  void commit(std::size_t p, const float* values);
  bool saw_nan() const { return saw_nan_; }

 private:
  Rows rows_;
  isa::DataType type_;
  Walk walk_;
  bool saw_nan_ = false;
};

/// Three rows of working memory of this thread, each of at least isa::kMaxElements floats.
struct Scratch {
  std::vector<float> a, b, out;
  static Scratch& of_thread();
};

}  // namespace opennrt::sim
