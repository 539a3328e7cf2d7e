// SPDX-License-Identifier: Apache-2.0
//
// Whole files in and out, for the command-line tools.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "core/common/error.h"

namespace opennrt::client {

inline constexpr std::uint64_t kMaxFileBytes = 8ull
                                               << 30;  ///< more than the DRAM of a device: nothing we read is larger

/// The bytes of a regular file of at most `max_bytes`. kInvalidArgument when it cannot be opened or is no regular file (path
/// and reason), kInvalidFile when it is larger.
Result<std::vector<std::byte>> read_file(const std::filesystem::path& path, std::uint64_t max_bytes = kMaxFileBytes);

/// Writes a file in one step: readers see the old contents or the new, never a part. Missing parent folders are an error.
Status write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Makes the folder, and its parents where they are missing; fine when it is there already.
Status make_folder(const std::filesystem::path& path);

}  // namespace opennrt::client
