// SPDX-License-Identifier: Apache-2.0
//
// What the functions have in common when they are made. Internal to this library.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/common/error.h"
#include "core/cpu/function.h"

namespace opennrt::cpu {

enum class Type { kFloat32, kInt32, kInt64 };

/// Calls `use` with a value of the type.
template <typename Use>
auto with_type(Type type, Use&& use) {
  switch (type) {
    case Type::kFloat32:
      return use(float{});
    case Type::kInt32:
      return use(std::int32_t{});
    case Type::kInt64:
      break;
  }
  return use(std::int64_t{});
}

/// The elements of a buffer that is aligned for them.
template <typename T>
std::span<const T> elements(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}
template <typename T>
std::span<T> elements(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

/// A tensor seen along one axis: [outer, length, inner].
struct Axis {
  std::size_t outer = 1, length = 1, inner = 1;
};

/// Checks one node; keeps the first failure. Readers go on with defaults after it.
class Checker {
 public:
  Checker(const neff::CpuNode& node, std::span<const neff::TensorInfo> inputs) : node_(node), inputs_(inputs) {}

  /// How many inputs and outputs there must be, and which attributes there may be.
  void expect(std::size_t inputs, std::size_t outputs, std::initializer_list<std::string_view> attributes);
  std::int64_t number(std::string_view attribute, std::int64_t fallback, std::int64_t least, std::int64_t most);
  std::int64_t number(std::string_view attribute, std::int64_t least, std::int64_t most);  ///< must be there
  Type input_type(std::size_t i);
  Type output_type(std::size_t i);
  /// That of an index: int32 or int64.
  Type index_type(const neff::TensorInfo& info);
  /// Attribute `axis`: negative ones count from the back.
  std::size_t axis(std::size_t rank, std::int64_t fallback);
  static Axis along(const std::vector<std::uint32_t>& shape, std::size_t axis);
  void expect_shape(std::size_t output, const std::vector<std::uint32_t>& shape);

  template <typename... Args>
  void fail(ErrorCode code, fmt::format_string<Args...> text, Args&&... args) {
    if (status_)
      status_ = make_error(code, "CPU node '{}' ({}): {}", node_.name, node_.function,
                           fmt::format(text, std::forward<Args>(args)...));
  }
  bool ok() const { return status_.has_value(); }
  const Status& status() const { return status_; }
  const neff::CpuNode& node() const { return node_; }
  std::span<const neff::TensorInfo> inputs() const { return inputs_; }

 private:
  Type type(const neff::TensorInfo& info);
  const neff::CpuNode& node_;
  std::span<const neff::TensorInfo> inputs_;
  Status status_;
};

/// Each makes its function; nullptr after a failure that the checker keeps.
std::unique_ptr<Function> make_gather(Checker& checker);
std::unique_ptr<Function> make_argmax(Checker& checker);
std::unique_ptr<Function> make_topk(Checker& checker);
std::unique_ptr<Function> make_cast(Checker& checker);

}  // namespace opennrt::cpu
