// SPDX-License-Identifier: Apache-2.0
//
// The register writes by which the kernel driver works a UDMA queue (aws-neuron-driver udma/udma_main.c).
#pragma once

#include <cstdint>

#include "backends/sim/admission.h"
#include "simulator/machine.h"

namespace opennrt::driver {

/// Offset in BAR0 of a register of a queue; `tx`: memory to stream (M2S), else stream to memory (S2M).
std::uint64_t queue_register(std::uint32_t engine, std::uint32_t queue, bool tx, std::uint32_t offset);

/// Base, length, reset of the pointers (ring id 1 again), enable.
void program_queue(sim::Machine& machine, std::uint32_t device, std::uint32_t engine, std::uint32_t queue, bool tx,
                   std::uint64_t base, std::uint32_t descriptors);
/// No more descriptors are fetched, in both directions; pointers stay.
void pause_queue(sim::Machine& machine, std::uint32_t device, std::uint32_t engine, std::uint32_t queue);
/// Adds to the tails: where the data goes to first, then where it comes from, since that starts it.
void ring_doorbell(sim::Machine& machine, std::uint32_t device, const Doorbell& doorbell);

}  // namespace opennrt::driver
