// SPDX-License-Identifier: Apache-2.0
//
// What an instruction does to a core's memories, and how long it takes. No SystemC here: function and time are separate, and
// both are plain functions that simulator/chip calls when an instruction starts and retires.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/common/error.h"
#include "core/isa/inf1.h"
#include "core/isa/isa.h"

namespace opennrt::sim {

/// SBUF and PSUM of one core, partition-major, each aligned to 4 bytes. Addresses of an instruction are checked against `limits`
/// before use. Not owned.
struct CoreMemory {
  std::byte* sbuf = nullptr;  ///< partition p at sbuf + p * limits.sbuf_bytes_per_partition
  std::byte* psum = nullptr;
  isa::Limits limits;
};

/// The matrix that sits in the PE array.
struct StationaryMatrix {
  std::uint32_t rows = 0, columns = 0;  ///< K, M
  isa::DataType dtype = isa::DataType::kFp32;
  std::vector<float> values;  ///< row-major [K][M], as float (exact for every input type but int32)
};

/// What a retired instruction reports.
struct Effect {
  inf1::chosen::ErrorNotification error = inf1::chosen::ErrorNotification::kNone;
};

/// Carries out a compute instruction (kLoadStationary … kPartitionBroadcast): reads operands, writes the destination. Instructions
/// that only synchronise are the chip's: kIllegalInstruction here, as is what isa::validate refuses and a matmul whose K, M or
/// type (int8 or not) is not that of `stationary`. kOutOfBounds when an operand leaves its memory. In both cases nothing was
/// written. kNumerical: a NaN was written into a float type; the result is complete. Never throws, never touches memory outside
/// `memory`. Threads may call it at the same time for different cores.
Effect execute(const isa::Instruction& instruction, CoreMemory& memory, StationaryMatrix& stationary);

/// Parameters of time, from simulator/chips/*.json (each with its source there).
struct CostModel {
  double clock_ghz = 0;
  std::uint32_t min_free_cycles = 0;      ///< floor of every engine's instruction
  std::uint32_t fixed_access_cycles = 0;  ///< SBUF/PSUM access latency
  std::uint32_t dispatch_cycles = 0;      ///< instructions without operands
  std::uint32_t fp32_matmul_passes = 0;
  std::uint32_t pe_columns = 0;
  double int32_cost_factor = 0;
  std::uint32_t reciprocal_cycles_per_element = 0;
  std::uint32_t pe_load_cycles_floor = 0;
  std::uint32_t pe_background_loads = 0;  ///< stationary matrices that load while another one is in use: 0 or 1
  std::uint32_t tensor_tensor_cycles_per_element = 0;   ///< two sources share SBUF's read port
  std::uint32_t reduce_bf16_elements_per_cycle = 0;     ///< tensor_reduce of bf16 into bf16
  std::uint32_t partition_reduce_cycles_per_stage = 0;  ///< per element and halving of the partitions (a tree)
};

/// Engine cycles from start to retirement (docs/fidelity.md gives the formulas). At least 1.
std::uint64_t busy_cycles(const isa::Instruction& instruction, isa::Engine engine, const CostModel& cost);
/// How many of `next`'s busy cycles may pass while `previous`, the instruction right before it on the same engine, is not done:
/// the next stationary matrix loads in the background of a matmul, and an instruction's access time is hidden unless it reads what
/// the one before writes.
std::uint64_t overlap_cycles(const isa::Instruction& previous, const isa::Instruction& next, const CostModel& cost);
/// Multiply-accumulates (PE) or element operations (others) of an instruction: for utilisation.
std::uint64_t useful_operations(const isa::Instruction& instruction, isa::Engine engine);

}  // namespace opennrt::sim
