// SPDX-License-Identifier: Apache-2.0
//
// Reductions along the free dimensions and across partitions. Additions are in float; their order is fixed (it depends on the
// instruction only), but is not that of a plain loop.
#include <algorithm>
#include <array>

#include "simulator/engines/numeric.h"
#include "simulator/engines/rows.h"
#include "simulator/engines/units.h"

namespace opennrt::sim {
namespace {

constexpr std::size_t kLanes = 16;  // of one vector reduction: fixed, so that the result does not depend on the CPU

template <typename Op>
float reduce_run(const float* x, std::size_t n, Op) {
  float lanes[kLanes];
  if (n < kLanes) {
    float result = x[0];
    for (std::size_t i = 1; i < n; ++i) result = Op::apply(result, x[i]);
    return result;
  }
  std::copy_n(x, kLanes, lanes);
  std::size_t i = kLanes;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = Op::apply(lanes[l], x[i + l]);
  }
  for (std::size_t l = 0; i < n; ++i, ++l) lanes[l] = Op::apply(lanes[l], x[i]);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t l = 0; l < width; ++l) lanes[l] = Op::apply(lanes[l], lanes[l + width]);
  }
  return lanes[0];
}

struct Dims {
  std::array<std::uint16_t, 4> counts{1, 1, 1, 1};
  std::array<std::int16_t, 4> src{}, dst{};
  std::size_t size = 0, elements = 1;
  void add(std::uint16_t count, std::int16_t src_step, std::int16_t dst_step) {
    counts[size] = count, src[size] = src_step, dst[size] = dst_step;
    ++size;
    elements *= count;
  }
};

// The walk over `inner`, then over `outer`, of the source.
Walk joined(const Dims& inner, const Dims& outer) {
  Dims all = inner;
  for (std::size_t i = 0; i < outer.size; ++i) all.add(outer.counts[i], outer.src[i], 0);
  return make_walk(all.counts, all.src, all.size);
}

}  // namespace

ErrorNotification tensor_reduce(const isa::Instruction& in, const CoreMemory& memory) {
  Dims kept, reduced;
  for (std::size_t i = 0; i < in.counts.size(); ++i) {
    if (in.counts[i] == 1) continue;
    (in.dst.steps[i] == 0 ? reduced : kept).add(in.counts[i], in.src0.steps[i], in.dst.steps[i]);
  }
  Source source(in.src0, in.counts, in.partitions, in.dst, in.counts, in.partitions, memory);
  // The longer of the two goes inside, where the loops are vectors.
  const bool kept_inside = kept.elements >= reduced.elements;
  source.set_walk(kept_inside ? joined(kept, reduced) : joined(reduced, kept));
  Sink sink(in.dst, make_walk(kept.counts, kept.dst, kept.size), memory);
  Scratch& scratch = Scratch::of_thread();
  const bool average = static_cast<isa::Alu>(in.op0) == isa::Alu::kAverage;
  with_alu(in.op0, [&](auto op) {
    for (std::size_t p = 0; p < in.partitions; ++p) {
      const float* x = source.row(p, scratch.a.data());
      float* out = scratch.out.data();
      if (kept_inside) {
        std::copy_n(x, kept.elements, out);
        for (std::size_t r = 1; r < reduced.elements; ++r) zip(out, x + r * kept.elements, out, kept.elements, op);
      } else {
        for (std::size_t k = 0; k < kept.elements; ++k)
          out[k] = reduce_run(x + k * reduced.elements, reduced.elements, op);
      }
      if (average) zip_scalar(out, static_cast<float>(reduced.elements), out, kept.elements, Divide{});
      sink.commit(p, out);
    }
  });
  return sink.saw_nan() ? ErrorNotification::kNumerical : ErrorNotification::kNone;
}

ErrorNotification partition_reduce(const isa::Instruction& in, const CoreMemory& memory) {
  const Rows rows = rows_of(in.src0, memory);
  const Walk walk = make_walk(in.counts, in.src0.steps);
  Sink sink(in.dst, make_walk(in.counts, in.dst.steps), memory);
  Scratch& scratch = Scratch::of_thread();
  const std::size_t n = isa::element_count(in.counts);
  with_alu(in.op0, [&](auto op) {
    gather(rows.row(0), in.src0.dtype, walk, scratch.out.data());
    for (std::size_t p = 1; p < in.partitions; ++p) {
      gather(rows.row(p), in.src0.dtype, walk, scratch.a.data());
      zip(scratch.out.data(), scratch.a.data(), scratch.out.data(), n, op);
    }
  });
  sink.commit(0, scratch.out.data());
  return sink.saw_nan() ? ErrorNotification::kNumerical : ErrorNotification::kNone;
}

}  // namespace opennrt::sim
