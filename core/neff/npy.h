// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files (format versions 1 and 2, C order, little-endian), which hold constants of a NEFF and the tools' inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"

namespace opennrt::neff {

struct NpyArray {
  std::string dtype;                 ///< "float32", "bfloat16", "int8", … (data_type_bytes)
  std::vector<std::uint64_t> shape;  ///< empty: one element
  std::vector<std::byte> data;       ///< row-major, little-endian
};

/// Bytes of one element of a tensor's dtype ("float32": 4), 0 for a name that is not one. bfloat16, which NumPy does not have, is
/// stored as its two raw bytes ('<V2').
std::size_t dtype_bytes(std::string_view dtype);

/// Reads a whole .npy file. kInvalidFile names what is wrong (magic, version, header field, size); kUnsupported: a dtype, byte
/// order or memory order that is not served. Pure.
Result<NpyArray> read_npy(std::span<const std::byte> bytes);

/// A version 1 file of `array`. kInvalidArgument when dtype is not known or the data's size is not that of the shape. Pure.
Result<std::vector<std::byte>> write_npy(const NpyArray& array);

}  // namespace opennrt::neff
