// SPDX-License-Identifier: Apache-2.0
//
// The Tensor engine: a stationary matrix [K, M] and a moving one [K, N] that streams through it.
#include <Eigen/Core>

#include "simulator/engines/numeric.h"
#include "simulator/engines/rows.h"
#include "simulator/engines/units.h"

namespace opennrt::sim {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Strided = Eigen::OuterStride<>;
using ConstView = Eigen::Map<const Matrix, Eigen::Unaligned, Strided>;
using View = Eigen::Map<Matrix, Eigen::Unaligned, Strided>;

bool in_place(const isa::Operand& operand, const Walk& walk, const Rows& rows) {
  return operand.dtype == isa::DataType::kFp32 && walk.contiguous() && rows.stride % sizeof(float) == 0 &&
         reinterpret_cast<std::uintptr_t>(rows.base) % alignof(float) == 0;
}

// Partial sums of 8-bit products stay below 2^24 for any K that `partitions` can hold (255 * 128 * 128): float is exact.
void accumulate_int32(const Matrix& product, const Walk& walk, const Rows& rows, bool accumulate) {
  const auto n = static_cast<std::size_t>(product.cols());
  for (Eigen::Index m = 0; m < product.rows(); ++m) {
    std::byte* origin = rows.row(static_cast<std::size_t>(m));
    const float* values = product.data() + m * product.cols();
    std::size_t i = 0;
    // Read before written, as for the other types: an element that the walk visits twice gets its last value.
    std::vector<std::uint32_t> before(accumulate ? n : 0);
    const auto visit = [&](auto&& f) {
      i = 0;
      for (std::uint32_t i3 = 0; i3 < walk.counts[3]; ++i3)
        for (std::uint32_t i2 = 0; i2 < walk.counts[2]; ++i2)
          for (std::uint32_t i1 = 0; i1 < walk.counts[1]; ++i1)
            for (std::uint32_t i0 = 0; i0 < walk.counts[0]; ++i0, ++i)
              f(origin + 4 * (i3 * walk.steps[3] + i2 * walk.steps[2] + i1 * walk.steps[1] + i0 * walk.steps[0]));
    };
    if (accumulate) visit([&](const std::byte* at) { before[i] = load<std::uint32_t>(at); });
    visit([&](std::byte* at) {
      const auto value = static_cast<std::uint32_t>(static_cast<std::int32_t>(values[i]));
      store<std::uint32_t>(at, accumulate ? before[i] + value : value);  // wraps modulo 2^32
    });
  }
}

}  // namespace

ErrorNotification load_stationary(const isa::Instruction& in, const CoreMemory& memory, StationaryMatrix& stationary) {
  const Walk walk = make_walk(in.counts, in.src0.steps);
  const Rows rows = rows_of(in.src0, memory);
  stationary.rows = in.partitions;
  stationary.columns = static_cast<std::uint32_t>(walk.elements());
  stationary.dtype = in.src0.dtype;
  stationary.values.resize(std::size_t{stationary.rows} * stationary.columns);
  for (std::size_t k = 0; k < stationary.rows; ++k) {
    gather(rows.row(k), in.src0.dtype, walk, stationary.values.data() + k * stationary.columns);
  }
  return ErrorNotification::kNone;
}

ErrorNotification matmul(const isa::Instruction& in, const CoreMemory& memory, const StationaryMatrix& stationary) {
  const bool integer = in.src0.dtype == isa::DataType::kInt8;
  if (stationary.rows != in.partitions || stationary.columns != in.op1 ||
      (stationary.dtype == isa::DataType::kInt8) != integer) {
    return ErrorNotification::kIllegalInstruction;
  }
  const Eigen::Index k = in.partitions, m = in.op1, n = static_cast<Eigen::Index>(isa::element_count(in.counts));

  const Walk moving_walk = make_walk(in.counts, in.src0.steps);
  const Rows moving_rows = rows_of(in.src0, memory);
  thread_local Matrix gathered, product;
  const bool direct = in_place(in.src0, moving_walk, moving_rows);
  if (!direct) {
    gathered.resize(k, n);
    for (Eigen::Index i = 0; i < k; ++i) {
      gather(moving_rows.row(static_cast<std::size_t>(i)), in.src0.dtype, moving_walk, gathered.data() + i * n);
    }
  }
  const ConstView moving(direct ? reinterpret_cast<const float*>(moving_rows.base) : gathered.data(), k, n,
                         Strided(direct ? static_cast<Eigen::Index>(moving_rows.stride / sizeof(float)) : n));
  const ConstView weights(stationary.values.data(), k, m, Strided(m));

  const Walk walk = make_walk(in.counts, in.dst.steps);
  const Rows rows = rows_of(in.dst, memory);
  if (!integer && in_place(in.dst, walk, rows)) {
    View out(reinterpret_cast<float*>(rows.base), m, n,
             Strided(static_cast<Eigen::Index>(rows.stride / sizeof(float))));
    if (in.accumulate) {
      out.noalias() += weights.transpose() * moving;
    } else {
      out.noalias() = weights.transpose() * moving;
    }
    for (Eigen::Index i = 0; i < m; ++i) {
      if (has_nan(&out(i, 0), static_cast<std::size_t>(n))) return ErrorNotification::kNumerical;
    }
    return ErrorNotification::kNone;
  }

  product.resize(m, n);
  product.noalias() = weights.transpose() * moving;
  if (integer) {
    accumulate_int32(product, walk, rows, in.accumulate);
    return ErrorNotification::kNone;
  }
  Sink sink(in.dst, walk, memory);
  float* before = Scratch::of_thread().a.data();
  for (Eigen::Index i = 0; i < m; ++i) {
    float* row = product.data() + i * n;
    if (in.accumulate) {
      gather(rows.row(static_cast<std::size_t>(i)), in.dst.dtype, walk, before);
      zip(before, row, row, static_cast<std::size_t>(n), Add{});
    }
    sink.commit(static_cast<std::size_t>(i), row);
  }
  return sink.saw_nan() ? ErrorNotification::kNumerical : ErrorNotification::kNone;
}

}  // namespace opennrt::sim
