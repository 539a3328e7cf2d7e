// SPDX-License-Identifier: Apache-2.0
//
// Arrays in .npy files, and how they correspond to tensors of a model.
#pragma once

#include <nrt/nrt.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "core/common/error.h"
#include "core/neff/npy.h"

namespace opennrt::client {

/// Errors begin with the path.
Result<neff::NpyArray> read_array(const std::filesystem::path& path);
Status write_array(const std::filesystem::path& path, const neff::NpyArray& array);

/// "float32", "bfloat16", … as .npy arrays and NEFFs name it; "type <number>" for what has no such name.
std::string dtype_name(nrt_dtype_t dtype);

/// "[1, 8, 8]", for messages.
std::string shape_text(std::span<const std::uint64_t> shape);

}  // namespace opennrt::client
