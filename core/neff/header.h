// SPDX-License-Identifier: Apache-2.0
//
// The parts of the container that only this library needs.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/neff/neff.h"

namespace opennrt::neff {

/// What a hash check found.
enum class HashCheck { kMatches, kCannotTell };

/// Compares the header's hash with that of the payload: SHA-256 (pkg_version 1) or MD5 (2) over the payload bytes, which is
/// what our writer hashes. What other writers hash is not public: kCannotTell. A mismatch is kInvalidFile.
Result<HashCheck> check_hash(const Header& header, std::span<const std::byte> payload);

}  // namespace opennrt::neff
