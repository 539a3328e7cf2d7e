// SPDX-License-Identifier: Apache-2.0
#include "simulator/engines/rows.h"

#include <algorithm>

#include "simulator/engines/numeric.h"

namespace opennrt::sim {
namespace {

// Calls run(element offset, index) for each innermost run.
template <typename F>
void each_run(const Walk& walk, F&& run) {
  std::size_t index = 0;
  for (std::uint32_t i3 = 0; i3 < walk.counts[3]; ++i3) {
    for (std::uint32_t i2 = 0; i2 < walk.counts[2]; ++i2) {
      for (std::uint32_t i1 = 0; i1 < walk.counts[1]; ++i1) {
        run(i3 * walk.steps[3] + i2 * walk.steps[2] + i1 * walk.steps[1], index);
        index += walk.counts[0];
      }
    }
  }
}

template <typename Type>
void gather_as(const std::byte* origin, const Walk& walk, float* out, Type) {
  using T = typename Type::Storage;
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(T));
  const std::size_t n = walk.counts[0];
  const std::int64_t step = walk.steps[0] * kBytes;
  each_run(walk, [&](std::int64_t offset, std::size_t index) {
    const std::byte* from = origin + offset * kBytes;
    float* to = out + index;
    if (step == kBytes) {
      if constexpr (std::is_same_v<Type, Fp32>) {
        std::memcpy(to, from, n * sizeof(float));
      } else {
        for (std::size_t i = 0; i < n; ++i) to[i] = Type::to_float(load<T>(from + i * sizeof(T)));
      }
    } else if (step == 0) {
      std::fill_n(to, n, Type::to_float(load<T>(from)));
    } else {
      for (std::size_t i = 0; i < n; ++i) to[i] = Type::to_float(load<T>(from + static_cast<std::int64_t>(i) * step));
    }
  });
}

template <typename Type>
void scatter_as(const float* values, const Walk& walk, std::byte* origin, Type) {
  using T = typename Type::Storage;
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(T));
  const std::size_t n = walk.counts[0];
  const std::int64_t step = walk.steps[0] * kBytes;
  each_run(walk, [&](std::int64_t offset, std::size_t index) {
    std::byte* to = origin + offset * kBytes;
    const float* from = values + index;
    if (step == kBytes) {
      if constexpr (std::is_same_v<Type, Fp32>) {
        std::memmove(to, from, n * sizeof(float));
      } else {
        for (std::size_t i = 0; i < n; ++i) store<T>(to + i * sizeof(T), Type::from_float(from[i]));
      }
    } else {
      for (std::size_t i = 0; i < n; ++i) store<T>(to + static_cast<std::int64_t>(i) * step, Type::from_float(from[i]));
    }
  });
}

bool is_aligned(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) % alignof(float) == 0;
}

// True when the two operands share bytes of a partition without starting in the same one.
bool crosses(const isa::Operand& a, const isa::Footprint& fa, std::uint32_t na, const isa::Operand& b,
             const isa::Footprint& fb, std::uint32_t nb) {
  return a.space == b.space && a.partition != b.partition && a.partition < b.partition + nb &&
         b.partition < a.partition + na && fa.begin < fb.end && fb.begin < fa.end;
}

bool partly_overlap(const float* a, const float* b, std::size_t n) {
  return a != b && std::less<>{}(a, b + n) && std::less<>{}(b, a + n);
}

}  // namespace

Walk make_walk(const std::array<std::uint16_t, 4>& counts, const std::array<std::int16_t, 4>& steps, std::size_t dims) {
  Walk walk;
  walk.dims = 0;
  for (std::size_t i = 0; i < dims; ++i) {
    if (counts[i] == 1) continue;
    const std::size_t last = walk.dims - 1;
    if (walk.dims > 0 && steps[i] == walk.steps[last] * walk.counts[last]) {
      walk.counts[last] *= counts[i];
    } else {
      walk.counts[walk.dims] = counts[i];
      walk.steps[walk.dims] = steps[i];
      ++walk.dims;
    }
  }
  walk.dims = std::max(walk.dims, 1u);
  return walk;
}

void gather(const std::byte* origin, isa::DataType type, const Walk& walk, float* out) {
  with_type(type, [&](auto t) { gather_as(origin, walk, out, t); });
}
void scatter(const float* values, isa::DataType type, const Walk& walk, std::byte* origin) {
  with_type(type, [&](auto t) { scatter_as(values, walk, origin, t); });
}

Rows rows_of(const isa::Operand& operand, const CoreMemory& memory) {
  const std::size_t stride = isa::bytes_per_partition(operand.space, memory.limits);
  std::byte* space = operand.space == isa::Space::kSbuf ? memory.sbuf : memory.psum;
  return {space + operand.partition * stride + operand.offset, stride};
}

Source::Source(const isa::Operand& operand, const std::array<std::uint16_t, 4>& counts, std::uint32_t partitions,
               const isa::Operand& dst, const std::array<std::uint16_t, 4>& dst_counts, std::uint32_t dst_partitions,
               const CoreMemory& memory)
    : rows_(rows_of(operand, memory)), type_(operand.dtype), walk_(make_walk(counts, operand.steps)) {
  const isa::Footprint mine = isa::footprint(operand, counts), theirs = isa::footprint(dst, dst_counts);
  if (!crosses(operand, mine, partitions, dst, theirs, dst_partitions)) return;
  // Whole floats, so that contiguous fp32 rows stay aligned.
  const auto bytes = static_cast<std::size_t>(mine.end - mine.begin);
  const std::size_t stride = (bytes + 3) / 4 * 4;
  const std::size_t before = static_cast<std::size_t>(static_cast<std::int64_t>(operand.offset) - mine.begin);
  copy_.resize(stride * partitions);
  for (std::uint32_t p = 0; p < partitions; ++p) std::memcpy(copy_.data() + p * stride, rows_.row(p) - before, bytes);
  rows_ = {copy_.data() + before, stride};
}

const float* Source::row(std::size_t p, float* scratch) const {
  const std::byte* origin = rows_.row(p);
  if (type_ == isa::DataType::kFp32 && walk_.contiguous() && is_aligned(origin))
    return reinterpret_cast<const float*>(origin);
  gather(origin, type_, walk_, scratch);
  return scratch;
}

float* Sink::begin(std::size_t p, float* scratch, const float* source0, const float* source1) const {
  std::byte* origin = rows_.row(p);
  if (type_ != isa::DataType::kFp32 || !walk_.contiguous() || !is_aligned(origin)) return scratch;
  auto* direct = reinterpret_cast<float*>(origin);
  const std::size_t n = walk_.elements();
  if (source0 && partly_overlap(direct, source0, n)) return scratch;
  if (source1 && partly_overlap(direct, source1, n)) return scratch;
  return direct;
}

void Sink::commit(std::size_t p, const float* values) {
  if (is_float(type_) && !saw_nan_) saw_nan_ = has_nan(values, walk_.elements());
  std::byte* origin = rows_.row(p);
  if (reinterpret_cast<const std::byte*>(values) == origin) return;
  scatter(values, type_, walk_, origin);
}

Scratch& Scratch::of_thread() {
  thread_local Scratch scratch = [] {
    Scratch s;
    s.a.resize(isa::kMaxElements);
    s.b.resize(isa::kMaxElements);
    s.out.resize(isa::kMaxElements);
    return s;
  }();
  return scratch;
}

}  // namespace opennrt::sim
