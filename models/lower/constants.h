// SPDX-License-Identifier: Apache-2.0
//
// Floats as the device wants them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/isa/isa.h"

namespace opennrt::compile::lower {

/// Nearest bfloat16, ties to even; NaN stays NaN.
std::uint16_t to_bf16(float value);
/// `values` in fp32 or bf16, little-endian.
std::vector<std::byte> pack(std::span<const float> values, isa::DataType dtype);

}  // namespace opennrt::compile::lower
