// SPDX-License-Identifier: Apache-2.0
//
// The files that the driver shows below /sys for Inferentia (aws-neuron-driver neuron_cdev.c, neuron_sysfs_metrics.c),
// as far as there is something behind them: what nobody counts is absent, not 0.
#pragma once

#include <string>

#include "backends/emulator/machine/machine.h"

namespace opennrt::emulator {

/// /dev/neuron<N> has this major number, and the device's own number as minor. Dynamic in a kernel; 235 is a common
/// one.
inline constexpr unsigned kMajor = 235;

/// 0 and a file's contents; -EISDIR and a folder's names, each with a 0 behind it; -ENOENT.
int read_sysfs(Machine& machine, const std::string& path, std::string& out);

}  // namespace opennrt::emulator
