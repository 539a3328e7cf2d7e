// SPDX-License-Identifier: Apache-2.0
//
// copy_from_user and copy_to_user for a library that lives in the user's process: an address that the process cannot
// read or write is an EFAULT, never a crash.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opennrt::emulator {

/// 0 or -EFAULT. Thread-safe and async-signal-safe. What was copied before an unmapped page stays copied.
int copy_from_user(void* to, std::uint64_t from, std::size_t bytes);
int copy_to_user(std::uint64_t to, const void* from, std::size_t bytes);

}  // namespace opennrt::emulator
