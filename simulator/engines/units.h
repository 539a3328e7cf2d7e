// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of one group of opcodes each. The instruction has been validated: every address is in bounds.
#pragma once

#include "core/isa/isa.h"
#include "simulator/engines/engines.h"

namespace opennrt::sim {

using inf1::chosen::ErrorNotification;

// pe.cc
ErrorNotification load_stationary(const isa::Instruction& in, const CoreMemory& memory, StationaryMatrix& stationary);
/// kIllegalInstruction when K, M or the kind of type differ from the matrix in the array.
ErrorNotification matmul(const isa::Instruction& in, const CoreMemory& memory, const StationaryMatrix& stationary);

// elementwise.cc
ErrorNotification activate(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification tensor_tensor(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification tensor_scalar(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification tensor_copy(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification memset_tensor(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification reciprocal(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification partition_broadcast(const isa::Instruction& in, const CoreMemory& memory);

// reduce.cc
ErrorNotification tensor_reduce(const isa::Instruction& in, const CoreMemory& memory);
ErrorNotification partition_reduce(const isa::Instruction& in, const CoreMemory& memory);

}  // namespace opennrt::sim
