// SPDX-License-Identifier: Apache-2.0
//
// The open instruction set of OpenNRT's NeuronCore: 64-byte fixed instructions for three engines. Described for people
// in docs/isa.md; encoder, decoder, disassembler and validator all follow the one table in table.cc. Semantics are those
// that the public NKI documentation gives the same-named operations (aws-neuron-sdk nki/api, nki/guides/architecture).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"

namespace opennrt::isa {

inline constexpr std::size_t kInstructionBytes = 64;
inline constexpr std::uint32_t kVersion = 1;

enum class Engine : std::uint8_t { kPe = 0, kAct = 1, kPool = 2 };
inline constexpr std::size_t kEngines = 3;
std::string_view engine_name(Engine engine);  ///< "pe", "act", "pool": also the file names in a NEFF

enum class DataType : std::uint8_t { kFp32 = 0, kBf16 = 1, kFp16 = 2, kInt8 = 3, kInt32 = 4, kUint8 = 5 };
std::string_view data_type_name(DataType type);
std::size_t data_type_bytes(DataType type);

enum class Space : std::uint8_t { kSbuf = 0, kPsum = 1 };

enum class Opcode : std::uint8_t {
  kNop = 0x00,               ///< any engine: only waits and signals
  kNotify = 0x01,            ///< any engine: writes an explicit notification with `immediate_u32`
  kEventSet = 0x02,          ///< any engine: sets event `immediate_u32`; error when it is set already
  kEventClear = 0x03,        ///< any engine: clears event `immediate_u32`; error when it is clear already
  kEventWait = 0x04,         ///< any engine: waits until event `immediate_u32` is set
  kDmaTrigger = 0x05,        ///< any engine: adds to the tails of DMA queue `dma` (rings the doorbell)
  kPseudoDmaTrigger = 0x06,  ///< in NEFFs only: descriptor id `immediate_u32`; the loader replaces it by kDmaTrigger
  kHalt = 0x07,              ///< any engine: stops fetching until the core is reset
  kLoadStationary = 0x10,    ///< PE: src0 [K partitions, M columns] becomes the stationary matrix
  kMatmul =
      0x11,  ///< PE: dst(PSUM, fp32 or int32)[M, N] (+)= stationary^T[M, K] * src0[K, N]; M in op1, N = product of counts
  kActivate = 0x20,            ///< ACT: dst = func(src0 * scale + bias)
  kTensorTensor = 0x30,        ///< POOL: dst = src0 op0 src1
  kTensorScalar = 0x31,        ///< POOL: dst = (src0 op0 operand0) op1 operand1
  kTensorReduce = 0x32,        ///< POOL: dst = op0-reduction of src0 over the iteration dims in which dst does not move
  kTensorCopy = 0x33,          ///< POOL, ACT: dst = cast(src0)
  kMemset = 0x34,              ///< POOL: dst = imm0
  kReciprocal = 0x35,          ///< POOL: dst = 1 / src0
  kPartitionReduce = 0x36,     ///< POOL: dst[1 partition] = op0-reduction of src0 over its partitions (max, add, min)
  kPartitionBroadcast = 0x37,  ///< POOL: dst[P partitions] = src0[1 partition] copied to each
};

/// Functions of kActivate (NKI nki.isa.activation).
enum class Activation : std::uint8_t {
  kCopy = 0,
  kRelu = 1,
  kSigmoid = 2,
  kTanh = 3,
  kExp = 4,
  kSqrt = 5,
  kRsqrt = 6,
  kSquare = 7,
  kAbs = 8,
  kLog = 9,
  kGelu = 10,
  kReciprocal = 11,
  kSilu = 12,
  kSoftplus = 13,
  kSign = 14,
  kErf = 15,
};
/// Operators of kTensorTensor, kTensorScalar, kTensorReduce (NKI ALU operators).
enum class Alu : std::uint8_t {
  kBypass = 0,
  kAdd = 1,
  kSubtract = 2,
  kMult = 3,
  kMax = 4,
  kMin = 5,
  kDivide = 6,
  kReverseSubtract = 7 /* operand - x */,
  kReverseDivide = 8 /* operand / x */,
  kIsGreaterEqual = 9,
  kIsEqual = 10,
  kAverage = 11 /* kTensorReduce: mean */,
};

enum class WaitMode : std::uint8_t {
  kNone = 0,
  kGreaterEqual = 1,  ///< semaphore >= value
  kEqual = 2,
  kConsume = 3,  ///< semaphore >= value, then value is taken from it (counts balance to 0 at the end of a program)
};
enum class SignalMode : std::uint8_t { kNone = 0, kIncrement = 1, kDecrement = 2, kSet = 3 };
struct Wait {
  WaitMode mode = WaitMode::kNone;
  std::uint8_t semaphore = 0;
  std::uint16_t value = 0;
};
struct Signal {
  SignalMode mode = SignalMode::kNone;
  std::uint8_t semaphore = 0;
  std::uint16_t value = 0;
};

/// One tensor operand. Element (p, i3, i2, i1, i0) is at partition `partition + p`, byte `offset + size(dtype) * sum(i_k *
/// steps[k])` of that partition. Steps are in elements and signed; the counts are the instruction's, shared by its operands:
/// step 0 repeats an element (broadcast), and for the destination of a reduction marks the reduced dims.
struct Operand {
  Space space = Space::kSbuf;
  DataType dtype = DataType::kFp32;
  std::uint8_t partition = 0;           ///< start partition, 0..127
  std::uint32_t offset = 0;             ///< byte offset in the partition, below 128 KiB, multiple of the element size
  std::array<std::int16_t, 4> steps{};  ///< [0] = innermost
};

/// What kDmaTrigger rings: `engine` is numbered over the device (0..11, one of the three of the instruction's own core). rx_count is
/// added to the receive side's tail first, then tx_count to the transmit side's.
struct DmaRing {
  std::uint16_t engine = 0;
  std::uint16_t queue = 0;
  std::uint32_t tx_count = 0;
  std::uint32_t rx_count = 0;
};

/// A decoded instruction. Which fields mean something depends on the opcode (see the table in docs/isa.md).
struct Instruction {
  Opcode opcode = Opcode::kNop;
  Wait wait;                                        ///< before it starts
  Signal signal;                                    ///< when it has retired
  std::uint8_t partitions = 1;                      ///< 1..128: partitions of src0 (K of kLoadStationary/kMatmul)
  std::array<std::uint16_t, 4> counts{1, 1, 1, 1};  ///< iteration counts, [0] innermost, each >= 1
  Operand dst, src0, src1;
  std::uint8_t op0 = 0;             ///< Activation or Alu
  std::uint8_t op1 = 0;             ///< kTensorScalar: Alu of the second step; kMatmul: M, columns of the stationary
  float imm0 = 0.0f;                ///< kActivate: scale; kTensorScalar: operand0; kMemset: value
  float imm1 = 0.0f;                ///< kTensorScalar: operand1
  bool accumulate = false;          ///< kMatmul: add to PSUM instead of overwriting
  bool src1_per_partition = false;  ///< kActivate: src1 is the bias [P, 1]; kTensorScalar: src1 is operand0 [P, 1]
  std::uint32_t immediate_u32 = 0;  ///< notify value, event index, pseudo descriptor id
  DmaRing dma;                      ///< kDmaTrigger
};

using Encoded = std::array<std::byte, kInstructionBytes>;

/// Sizes the validator checks operands against.
struct Limits {
  std::uint32_t partitions = 128;
  std::uint32_t sbuf_bytes_per_partition = 80 * 1024;
  std::uint32_t psum_bytes_per_partition = 16 * 1024;
  std::uint32_t psum_bank_bytes = 2 * 1024;
  std::uint32_t pe_rows = 128;            ///< K
  std::uint32_t pe_columns = 64;          ///< M
  std::uint32_t matmul_max_moving = 512;  ///< N
};

/// Encodes; a field that does not fit its bits, is outside its enumeration, or is not used by the opcode and yet differs from
/// its default, is an error (kInvalidArgument) that names it. Pure, thread-safe like all of this header.
Result<Encoded> encode(const Instruction& instruction);
/// Decodes 64 bytes; an unknown opcode or a value outside its enumeration is an error that names field and value. Reserved bits
/// must be 0.
Result<Instruction> decode(std::span<const std::byte, kInstructionBytes> bytes);
/// Checks that `instruction` may run on `engine`: opcode, operands in bounds, partition ranges, types, PSUM banks.
Status validate(const Instruction& instruction, Engine engine, const Limits& limits = {});
/// One line of text, e.g. `matmul psum[0:32,+0x0] fp32 {1,1,8,8}:... wait s3>=1 signal s4+=1`.
std::string disassemble(const Instruction& instruction);
/// A stream: its size must be a multiple of 64; an error says the index of the instruction.
Result<std::vector<Instruction>> decode_stream(std::span<const std::byte> bytes);
Status validate_stream(std::span<const std::byte> bytes, Engine engine, const Limits& limits = {});

}  // namespace opennrt::isa
