// SPDX-License-Identifier: Apache-2.0
//
// What Trace has recorded as a Value Change Dump (IEEE 1364), for GTKWave and the like.
#pragma once

#include <string>

#include "core/common/error.h"
#include "simulator/chip/trace.h"

namespace opennrt::sim {

/// One scope per core, in it one per engine with the wires `busy` and `wait`, and one per DMA queue with the wire `busy`; only those
/// that did something. Picoseconds. kResource names the file and the system's reason.
Status write_vcd(const std::string& path, const Trace& trace);

}  // namespace opennrt::sim
