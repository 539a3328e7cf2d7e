// SPDX-License-Identifier: Apache-2.0
//
// The ABI of /dev/neuron<N> in one include: structures and numbers of the requests, by area.
#pragma once

#include "backends/neuron/abi_core.h"    // IWYU pragma: export
#include "backends/neuron/abi_device.h"  // IWYU pragma: export
#include "backends/neuron/abi_dma.h"     // IWYU pragma: export
#include "backends/neuron/abi_memory.h"  // IWYU pragma: export
