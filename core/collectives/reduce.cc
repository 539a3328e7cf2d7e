// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/reduce.h"

#include <nrt/nrt.h>

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace opennrt::collectives {
namespace {

template <typename T>
constexpr bool kIsFloat = !std::is_integral_v<T>;

/// What a sum is kept in: integers wrap only when they are unsigned, small floats would be rounded at every step.
template <typename T>
auto accumulator() {
  if constexpr (std::is_integral_v<T>) {
    if constexpr (sizeof(T) < sizeof(unsigned)) {
      return unsigned{};  // narrower ones would be promoted to int
    } else {
      return std::make_unsigned_t<T>{};
    }
  } else {
    return float{};
  }
}

template <typename T>
T load(const Bytes& bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void store(Bytes& bytes, std::size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

template <typename T>
T pick(T a, T b, bool greater) {
  if constexpr (kIsFloat<T>) {
    if (std::isnan(static_cast<float>(a))) return a;
    if (std::isnan(static_cast<float>(b))) return b;
  }
  return (greater ? a < b : b < a) ? b : a;
}

template <typename T>
Bytes reduce_as(std::vector<Bytes> inputs, int op) {
  using Sum = decltype(accumulator<T>());
  Bytes& first = inputs.front();
  const std::size_t elements = first.size() / sizeof(T);
  for (std::size_t i = 0; i < elements; ++i) {
    if (op == NRT_OP_ADD) {
      Sum sum = static_cast<Sum>(load<T>(first, i));
      for (std::size_t k = 1; k < inputs.size(); ++k) sum = sum + static_cast<Sum>(load<T>(inputs[k], i));
      store(first, i, static_cast<T>(sum));
    } else {
      T best = load<T>(first, i);
      for (std::size_t k = 1; k < inputs.size(); ++k) best = pick(best, load<T>(inputs[k], i), op == NRT_OP_MAX);
      store(first, i, best);
    }
  }
  return std::move(first);
}

}  // namespace

std::size_t element_bytes(int dtype) {
  switch (dtype) {
    case NRT_DTYPE_FP8_E3:
    case NRT_DTYPE_FP8_E4:
    case NRT_DTYPE_FP8_E5:
    case NRT_DTYPE_UINT8:
    case NRT_DTYPE_INT8:
      return 1;
    case NRT_DTYPE_FLOAT16:
    case NRT_DTYPE_BFLOAT16:
    case NRT_DTYPE_UINT16:
    case NRT_DTYPE_INT16:
      return 2;
    case NRT_DTYPE_FLOAT32:
    case NRT_DTYPE_FP32R:
    case NRT_DTYPE_UINT32:
    case NRT_DTYPE_INT32:
      return 4;
    case NRT_DTYPE_UINT64:
    case NRT_DTYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

Status check_reduction(int dtype, int op) {
  if (op != NRT_OP_ADD && op != NRT_OP_MAX && op != NRT_OP_MIN) {
    return make_error(ErrorCode::kInvalidArgument, "op is {:#x}, expected NRT_OP_ADD, NRT_OP_MAX or NRT_OP_MIN", op);
  }
  if (element_bytes(dtype) == 0) {
    return make_error(ErrorCode::kInvalidArgument, "dtype is {:#x}, expected one of nrt_dtype_t", dtype);
  }
  if (dtype == NRT_DTYPE_FP8_E3 || dtype == NRT_DTYPE_FP8_E4 || dtype == NRT_DTYPE_FP8_E5 || dtype == NRT_DTYPE_FP32R) {
    return make_error(ErrorCode::kInvalidArgument,
                      "dtype is {:#x}, which Inf1 does not have; expected an integer, fp32, bf16 or fp16 to reduce",
                      dtype);
  }
  return {};
}

Result<Bytes> reduce(std::vector<Bytes> inputs, int dtype, int op) {
  if (const Status valid = check_reduction(dtype, op); !valid) return tl::unexpected(valid.error());
  if (inputs.empty())
    return make_error(ErrorCode::kInvalidArgument, "nothing is given to reduce, expected 1 input or more");
  for (const Bytes& input : inputs) {
    if (input.size() != inputs.front().size() || input.size() % element_bytes(dtype) != 0) {
      return make_error(ErrorCode::kInvalidArgument, "{} bytes are given to reduce, expected {} and a multiple of {}",
                        input.size(), inputs.front().size(), element_bytes(dtype));
    }
  }
  switch (dtype) {
    case NRT_DTYPE_UINT8:
      return reduce_as<std::uint8_t>(std::move(inputs), op);
    case NRT_DTYPE_INT8:
      return reduce_as<std::int8_t>(std::move(inputs), op);
    case NRT_DTYPE_UINT16:
      return reduce_as<std::uint16_t>(std::move(inputs), op);
    case NRT_DTYPE_INT16:
      return reduce_as<std::int16_t>(std::move(inputs), op);
    case NRT_DTYPE_UINT32:
      return reduce_as<std::uint32_t>(std::move(inputs), op);
    case NRT_DTYPE_INT32:
      return reduce_as<std::int32_t>(std::move(inputs), op);
    case NRT_DTYPE_UINT64:
      return reduce_as<std::uint64_t>(std::move(inputs), op);
    case NRT_DTYPE_INT64:
      return reduce_as<std::int64_t>(std::move(inputs), op);
    case NRT_DTYPE_FLOAT16:
      return reduce_as<Eigen::half>(std::move(inputs), op);
    case NRT_DTYPE_BFLOAT16:
      return reduce_as<Eigen::bfloat16>(std::move(inputs), op);
    default:
      return reduce_as<float>(std::move(inputs), op);
  }
}

}  // namespace opennrt::collectives
