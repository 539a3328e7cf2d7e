// SPDX-License-Identifier: Apache-2.0
//
// The kernel driver as this process finds it: which devices there are, which release it is, what it can do.
#pragma once

#include <opennrt/backend.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/neuron/syscalls.h"

namespace opennrt::neuron {

inline constexpr char kVersionFile[] = "/sys/module/neuron/version";

std::string device_path(std::uint32_t number);
/// Numbers of the device nodes, ascending.
std::vector<std::uint32_t> device_numbers(Syscalls& system);

/// What /sys/module/neuron/version says, e.g. "2.24.7.0"; nothing when the module is not loaded or the text is no version.
/// The compatible range is left 0.
std::optional<opennrt_driver_version_t> driver_version(Syscalls& system);

/// E.g. "inf1.6xlarge" as the machine's firmware says it; "inf1" when that says something else.
std::string instance_type(Syscalls& system);

/// What differs between releases and is known from the driver itself (NEURON_IOCTL_DRIVER_INFO_GET; releases without it
/// have none of this). Everything else shows when it is first used.
struct Features {
  std::uint32_t architecture = 0, revision = 0;
  bool driver_info = false;       ///< the driver says what it has
  bool batch_queue_init = false;  ///< DMA_QUEUE_INIT_BATCH
  bool big_core_maps = false;     ///< NC_RANGE_MARK_EXT0
  bool memory_type = false;       ///< MEM_ALLOC_V2MT
  bool memory64 = false;          ///< MEM_ALLOC_V2MT64, and the copies with 64-bit sizes and offsets
};
int probe_features(const File& file, Features& features);

/// "Inferentia2 (Inf2)" …
std::string architecture_name(std::uint32_t architecture);

/// Why a device node cannot be opened and who could, in a sentence.
std::string open_refusal(Syscalls& system, const std::string& path, int error);

}  // namespace opennrt::neuron
