// SPDX-License-Identifier: Apache-2.0
//
// What /proc says about other processes.
#pragma once

#include <string_view>
#include <vector>

namespace opennrt {

/// Pids of the running processes whose name (/proc/<pid>/comm, at most 15 characters) is `name`, ascending; not this
/// process and no zombies. Empty also when /proc cannot be read. Thread-safe.
std::vector<int> processes_named(std::string_view name);

}  // namespace opennrt
