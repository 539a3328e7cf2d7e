// SPDX-License-Identifier: Apache-2.0
//
// ONNX Gather: out[..., i..., ...] = data[..., index[i...], ...]; a negative index counts from the back.
#include <cstring>

#include "core/cpu/attributes.h"
#include "core/neff/npy.h"

namespace opennrt::cpu {
namespace {

class Gather final : public Function {
 public:
  Gather(std::string name, Axis axis, std::size_t element_bytes, Type index_type)
      : name_(std::move(name)), axis_(axis), block_(axis.inner * element_bytes), index_type_(index_type) {}

  Status run(std::span<const std::span<const std::byte>> inputs,
             std::span<const std::span<std::byte>> outputs) const override {
    return with_type(index_type_, [&]<typename T>(T) -> Status {
      if constexpr (std::is_integral_v<T>) {
        const auto indices = elements<T>(inputs[1]);
        const auto length = static_cast<std::int64_t>(axis_.length);
        std::byte* to = outputs[0].data();
        for (std::size_t o = 0; o < axis_.outer; ++o) {
          const std::byte* slice = inputs[0].data() + o * axis_.length * block_;
          for (std::size_t i = 0; i < indices.size(); ++i, to += block_) {
            const std::int64_t index = indices[i] < 0 ? std::int64_t{indices[i]} + length : indices[i];
            if (index < 0 || index >= length)
              return make_error(ErrorCode::kBadInput,
                                "CPU node '{}' (opennrt.gather): index {} at position {} is out of range, expected {} "
                                "to {}",
                                name_, indices[i], i, -length, length - 1);
            std::memcpy(to, slice + static_cast<std::size_t>(index) * block_, block_);
          }
        }
      }
      return {};
    });
  }

 private:
  std::string name_;
  Axis axis_;
  std::size_t block_;  ///< bytes that one index moves
  Type index_type_;
};

}  // namespace

std::unique_ptr<Function> make_gather(Checker& checker) {
  checker.expect(2, 1, {"axis"});
  if (!checker.ok()) return nullptr;
  const neff::TensorInfo &data = checker.inputs()[0], &indices = checker.inputs()[1];
  const Type type = checker.input_type(0), index_type = checker.index_type(indices);
  if (checker.output_type(0) != type)
    checker.fail(ErrorCode::kInvalidFile, "output '{}' is of type {}, expected that of the data, {}",
                 checker.node().outputs[0].name, checker.node().outputs[0].dtype, data.dtype);
  const std::size_t axis = checker.axis(data.shape.size(), 0);
  if (!checker.ok()) return nullptr;
  const auto at = data.shape.begin() + static_cast<std::ptrdiff_t>(axis);
  std::vector<std::uint32_t> shape(data.shape.begin(), at);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), at + 1, data.shape.end());
  checker.expect_shape(0, shape);
  return std::make_unique<Gather>(checker.node().name, Checker::along(data.shape, axis), neff::dtype_bytes(data.dtype),
                                  index_type);
}

}  // namespace opennrt::cpu
