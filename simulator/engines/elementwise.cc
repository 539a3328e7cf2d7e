// SPDX-License-Identifier: Apache-2.0
//
// Instructions that give one element for one element. All arithmetic is in float; a function of the Scalar engine is the exact
// function rounded to float (the C library's, within 1 ulp), where silicon has piecewise polynomials.
#include <cmath>
#include <numbers>

#include "simulator/engines/numeric.h"
#include "simulator/engines/rows.h"
#include "simulator/engines/units.h"

namespace opennrt::sim {
namespace {

ErrorNotification outcome(const Sink& sink) {
  return sink.saw_nan() ? ErrorNotification::kNumerical : ErrorNotification::kNone;
}

// For each partition p: compute(p, row of src0, place for the results).
template <typename F>
ErrorNotification map_rows(const isa::Instruction& in, const CoreMemory& memory, F&& compute) {
  const Source source(in.src0, in.counts, in.partitions, in.dst, in.counts, in.partitions, memory);
  Sink sink(in.dst, make_walk(in.counts, in.dst.steps), memory);
  Scratch& scratch = Scratch::of_thread();
  for (std::size_t p = 0; p < in.partitions; ++p) {
    const float* x = source.row(p, scratch.a.data());
    float* out = sink.begin(p, scratch.out.data(), x);
    compute(p, x, out);
    sink.commit(p, out);
  }
  return outcome(sink);
}

// One value per partition: src1[P, 1], or the immediate.
std::vector<float> per_partition(const isa::Instruction& in, const CoreMemory& memory, float otherwise) {
  std::vector<float> values(in.partitions, otherwise);
  if (in.src1_per_partition) {
    const Rows rows = rows_of(in.src1, memory);
    for (std::size_t p = 0; p < values.size(); ++p) gather(rows.row(p), in.src1.dtype, Walk{}, &values[p]);
  }
  return values;
}

float sigmoid(float x) {
  // exp of a negative number only: no overflow on either side.
  const float e = std::exp(-std::fabs(x));
  return x >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
}

template <typename F>
void map(const float* x, float scale, float bias, float* out, std::size_t n, F f) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) out[i] = f(x[i] * scale + bias);
}

void apply(isa::Activation function, const float* x, float scale, float bias, float* out, std::size_t n) {
  using isa::Activation;
  switch (function) {
    case Activation::kCopy:
      return map(x, scale, bias, out, n, [](float v) { return v; });
    case Activation::kRelu:
      return map(x, scale, bias, out, n, [](float v) { return (v > 0 || v != v) ? v : 0.0f; });
    case Activation::kSigmoid:
      return map(x, scale, bias, out, n, sigmoid);
    case Activation::kTanh:
      return map(x, scale, bias, out, n, [](float v) { return std::tanh(v); });
    case Activation::kExp:
      return map(x, scale, bias, out, n, [](float v) { return std::exp(v); });
    case Activation::kSqrt:
      return map(x, scale, bias, out, n, [](float v) { return std::sqrt(v); });
    case Activation::kRsqrt:
      return map(x, scale, bias, out, n, [](float v) { return 1.0f / std::sqrt(v); });
    case Activation::kSquare:
      return map(x, scale, bias, out, n, [](float v) { return v * v; });
    case Activation::kAbs:
      return map(x, scale, bias, out, n, [](float v) { return std::fabs(v); });
    case Activation::kLog:
      return map(x, scale, bias, out, n, [](float v) { return std::log(v); });
    case Activation::kGelu:
      return map(x, scale, bias, out, n, [](float v) {
        // erfc keeps the relative accuracy of the negative side, where 1 + erf would cancel, and double that of its argument;
        // at minus infinity the limit is meant.
        const double half = 0.5 * std::erfc(-static_cast<double>(v) * (std::numbers::sqrt2 / 2));
        return half == 0.0 ? 0.0f : static_cast<float>(v * half);
      });
    case Activation::kReciprocal:
      return map(x, scale, bias, out, n, [](float v) { return 1.0f / v; });
    case Activation::kSilu:
      return map(x, scale, bias, out, n, [](float v) {
        const double e = std::exp(-static_cast<double>(v));
        return std::isinf(e) ? 0.0f : static_cast<float>(v / (1.0 + e));
      });
    case Activation::kSoftplus:
      return map(x, scale, bias, out, n,
                 [](float v) { return (v > 0 || v != v ? v : 0.0f) + std::log1p(std::exp(-std::fabs(v))); });
    case Activation::kSign:
      return map(x, scale, bias, out, n, [](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : v; });
    case Activation::kErf:
      return map(x, scale, bias, out, n, [](float v) { return std::erf(v); });
  }
}

// Rows of equal type are moved bit for bit: int32 travels as fp32 does, untouched.
void as_moved(isa::Operand& src, isa::Operand& dst) {
  if (src.dtype == isa::DataType::kInt32 && dst.dtype == isa::DataType::kInt32)
    src.dtype = dst.dtype = isa::DataType::kFp32;
}

}  // namespace

ErrorNotification activate(const isa::Instruction& in, const CoreMemory& memory) {
  const std::vector<float> bias = per_partition(in, memory, 0.0f);
  const std::size_t n = isa::element_count(in.counts);
  return map_rows(in, memory, [&](std::size_t p, const float* x, float* out) {
    apply(static_cast<isa::Activation>(in.op0), x, in.imm0, bias[p], out, n);
  });
}

ErrorNotification tensor_tensor(const isa::Instruction& in, const CoreMemory& memory) {
  const Source a(in.src0, in.counts, in.partitions, in.dst, in.counts, in.partitions, memory);
  const Source b(in.src1, in.counts, in.partitions, in.dst, in.counts, in.partitions, memory);
  Sink sink(in.dst, make_walk(in.counts, in.dst.steps), memory);
  Scratch& scratch = Scratch::of_thread();
  const std::size_t n = isa::element_count(in.counts);
  with_alu(in.op0, [&](auto op) {
    for (std::size_t p = 0; p < in.partitions; ++p) {
      const float* x = a.row(p, scratch.a.data());
      const float* y = b.row(p, scratch.b.data());
      float* out = sink.begin(p, scratch.out.data(), x, y);
      zip(x, y, out, n, op);
      sink.commit(p, out);
    }
  });
  return outcome(sink);
}

ErrorNotification tensor_scalar(const isa::Instruction& in, const CoreMemory& memory) {
  const std::vector<float> operand0 = per_partition(in, memory, in.imm0);
  const std::size_t n = isa::element_count(in.counts);
  const bool second = static_cast<isa::Alu>(in.op1) != isa::Alu::kBypass;
  return map_rows(in, memory, [&](std::size_t p, const float* x, float* out) {
    with_alu(in.op0, [&](auto op) { zip_scalar(x, operand0[p], out, n, op); });
    if (second) with_alu(in.op1, [&](auto op) { zip_scalar(out, in.imm1, out, n, op); });
  });
}

ErrorNotification tensor_copy(const isa::Instruction& in, const CoreMemory& memory) {
  isa::Instruction moved = in;
  as_moved(moved.src0, moved.dst);
  const std::size_t n = isa::element_count(in.counts);
  const ErrorNotification error = map_rows(
      moved, memory, [&](std::size_t, const float* x, float* out) { std::memmove(out, x, n * sizeof(float)); });
  return is_float(in.dst.dtype) ? error : ErrorNotification::kNone;
}

ErrorNotification memset_tensor(const isa::Instruction& in, const CoreMemory& memory) {
  Sink sink(in.dst, make_walk(in.counts, in.dst.steps), memory);
  float* values = Scratch::of_thread().out.data();
  std::fill_n(values, isa::element_count(in.counts), in.imm0);
  for (std::size_t p = 0; p < in.partitions; ++p) sink.commit(p, values);
  return outcome(sink);
}

ErrorNotification reciprocal(const isa::Instruction& in, const CoreMemory& memory) {
  const std::size_t n = isa::element_count(in.counts);
  return map_rows(in, memory,
                  [&](std::size_t, const float* x, float* out) { zip_scalar(x, 1.0f, out, n, ReverseDivide{}); });
}

ErrorNotification partition_broadcast(const isa::Instruction& in, const CoreMemory& memory) {
  isa::Instruction moved = in;
  as_moved(moved.src0, moved.dst);
  const std::size_t n = isa::element_count(in.counts);
  const Source source(moved.src0, in.counts, 1, moved.dst, in.counts, in.partitions, memory);
  Sink sink(moved.dst, make_walk(in.counts, in.dst.steps), memory);
  // One copy of the row serves all partitions: dst may hold the source's own row.
  Scratch& scratch = Scratch::of_thread();
  const float* row = source.row(0, scratch.a.data());
  if (row != scratch.a.data()) std::memcpy(scratch.a.data(), row, n * sizeof(float));
  for (std::size_t p = 0; p < in.partitions; ++p) sink.commit(p, scratch.a.data());
  return is_float(in.dst.dtype) ? outcome(sink) : ErrorNotification::kNone;
}

}  // namespace opennrt::sim
