// SPDX-License-Identifier: Apache-2.0
//
// What the driver's mmap does: maps an allocation of the device's, whole, at the offset that the driver gave for it.
#pragma once

#include <sys/types.h>
#include <cstddef>

#include "backends/emulator/preload/emulated.h"

namespace opennrt::emulator {

/// As mmap(2): MAP_FAILED and errno. EINVAL: no such memory, or not the whole of it; EPERM: device memory that nobody
/// allocated, or for which the machine has no host address; EACCES: the file was not opened for it.
void* map_device(const OpenedFile& file, void* address, std::size_t bytes, int protection, int flags, off_t offset);
/// This process has unmapped a range: when it is a mapping of ours, and not a part of one, the machine is told.
void unmapped(const void* address, std::size_t bytes);

}  // namespace opennrt::emulator
