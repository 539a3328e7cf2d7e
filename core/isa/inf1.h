// SPDX-License-Identifier: Apache-2.0
//
// Where things are on an Inf1 device, as its public kernel driver addresses them (aws-neuron-driver v1/address_map.h,
// v1/putils.h, udma/udma_regs.h). What is not public and was chosen by us is in namespace chosen and says so; see
// docs/fidelity.md. These are facts of the hardware that the runtime, the backends and the simulator agree on; sizes
// that a chip model may change (SBUF bytes, clocks, latencies) are in simulator/chips/*.json.
#pragma once

#include <cstdint>

namespace opennrt::inf1 {

// ---- PCI (aws-neuron-driver neuron_pci.c; revisions: neuron_arch.c) ----
inline constexpr std::uint16_t kPciVendor = 0x1d0f, kPciDevice = 0x7064;
inline constexpr std::uint32_t kPciClass = 0x08'8000;                                // "other system peripheral"
inline constexpr std::uint8_t kPciRevisionQemu = 0xff, kPciRevisionEmulator = 0xf0;  // else: silicon
inline constexpr std::uint64_t kBar0Bytes = 0x100'0000;                              // all registers below
inline constexpr std::uint64_t kBar2Bytes = 0x1000'0000;                             // four core windows

// ---- device addresses (aws-neuron-driver v1/address_map.h) ----
inline constexpr std::uint64_t kDramChannelBase[2] = {0x0ull, 0x10'0000'0000ull};
inline constexpr std::uint64_t kDramChannelSize = 0x1'0000'0000ull;  // 4 GiB each
inline constexpr std::uint32_t kDramChannels = 2;
inline constexpr std::uint32_t kDramRegions = 4;  // pools that the driver cuts each channel into (v1/neuron_dhal_v1.c)
inline constexpr std::uint64_t kPort1 = 0x1000'0000'0000ull;     // AXI port 1 (an alias of the same memory)
inline constexpr std::uint64_t kHostBase = 0x4000'0000'0000ull;  // PCIe x8: host memory = kHostBase | bus address
inline constexpr std::uint64_t kEastBase = 0x8000'0000'0000ull;  // PCIe x4 to the east neighbour
inline constexpr std::uint64_t kWestBase = 0xc000'0000'0000ull;  // PCIe x4 to the west neighbour
inline constexpr std::uint64_t kTpbBase = 0xfff'c000'0000ull;    // BAR2: 64 MiB per NeuronCore
inline constexpr std::uint64_t kApbBase = 0xfff'f000'0000ull;    // BAR0: registers

inline constexpr std::uint32_t kCoresPerDevice = 4;
inline constexpr std::uint64_t kCoreWindow = 0x400'0000ull;  // 64 MiB
inline constexpr std::uint32_t kDmaEnginesPerCore = 3;
inline constexpr std::uint32_t kDmaEnginesPerDevice = kCoresPerDevice * kDmaEnginesPerCore;
inline constexpr std::uint32_t kQueuesPerDmaEngine = 16;
inline constexpr std::uint32_t kSemaphores = 32;
inline constexpr std::uint32_t kEvents = 256;
inline constexpr std::uint32_t kNotificationTypes = 4;
inline constexpr std::uint32_t kNotificationEngines = 4;

/// The driver's own host-to-device ring of a core: engine 3*core+2, queue 15 (v1/neuron_dhal_v1.c).
inline constexpr std::uint32_t h2t_engine(std::uint32_t core) {
  return core * kDmaEnginesPerCore + 2;
}
inline constexpr std::uint32_t kH2tQueue = 15;

// ---- in a core's 64 MiB window (BAR2) ----
inline constexpr std::uint64_t kEventOffset = 0x270'0000;  // 4 bytes per event
inline constexpr std::uint64_t kSemaphoreRead = 0x270'1000;
inline constexpr std::uint64_t kSemaphoreSet = 0x270'1100;
inline constexpr std::uint64_t kSemaphoreIncrement = 0x270'1200;
inline constexpr std::uint64_t kSemaphoreDecrement = 0x270'1300;
inline constexpr std::uint64_t kPeFifoOffset = 0x265'c000;
inline constexpr std::uint64_t kFifoBytes = 0x4000;  // 16 KiB

namespace chosen {  // not public: free addresses of the same window, ours
inline constexpr std::uint64_t kActFifoOffset = 0x266'0000;
inline constexpr std::uint64_t kPoolFifoOffset = 0x266'4000;
/// SBUF: partition p begins at kSbufOffset + p * kSbufPartitionStride; only the first bytes of each stride exist (chip
/// file).
inline constexpr std::uint64_t kSbufOffset = 0x0;
inline constexpr std::uint64_t kSbufPartitionStride = 0x2'0000;  // 128 KiB
/// PSUM likewise.
inline constexpr std::uint64_t kPsumOffset = 0x200'0000;
inline constexpr std::uint64_t kPsumPartitionStride = 0x4000;  // 16 KiB
inline constexpr std::uint32_t kPartitions = 128;
}  // namespace chosen

inline constexpr std::uint64_t core_base(std::uint32_t core) {
  return kTpbBase + core * kCoreWindow;
}

// ---- in BAR0 ----
inline constexpr std::uint64_t kUdmaBase = 0x4'0000;  // + core * kUdmaCoreStride + engine-in-core * kUdmaEngineStride
inline constexpr std::uint64_t kUdmaCoreStride = 0x10'0000;
inline constexpr std::uint64_t kUdmaEngineStride = 0x4'0000;
inline constexpr std::uint64_t kTdmaCoreStride = 0x10'0000;  // TDMA at core * stride + engine-in-core * 0x1000
inline constexpr std::uint64_t kTdmaEngineStride = 0x1000;
inline constexpr std::uint64_t kPutilsBase = 0x40'4000;  // + core * kPutilsStride
inline constexpr std::uint64_t kPutilsStride = 0x1'0000;
inline constexpr std::uint64_t kMiscRam = 0x78'e000;  // firmware mailbox

/// Words of MISC RAM (aws-neuron-driver neuron_fw_io.h, v1/fw_io.h), relative to kMiscRam. ECC counters: corrected
/// errors in the upper half of the word, uncorrected ones in the lower; one word for SRAM and one for each DRAM
/// channel.
inline constexpr std::uint32_t kFwApiVersion = 0x00, kFwStatus = 0x1c, kFwDeviceId = 0x24, kFwSerialLow = 0x38,
                               kFwSerialHigh = 0x3c, kFwEccSram = 0x40, kFwEccDram = 0x44, kFwMetrics = 0x100,
                               kFwResetCores = 0x1d8, kFwReset = 0x1ec, kFwRequestHigh = 0x1f0, kFwRequestLow = 0x1f4,
                               kFwResponseHigh = 0x1f8, kFwResponseLow = 0x1fc, kFwDoorbell = 0x800;
inline constexpr std::uint32_t kFwReady = 1u << 31, kFwEastLink = 1u << 0, kFwWestLink = 1u << 1;  // kFwStatus
inline constexpr std::uint32_t kFwResetDevice = 1, kFwResetByMap = 2;                              // kFwReset
inline constexpr std::uint32_t kFwMetricsBytes = 128;
/// Requests through the mailbox and their answers.
inline constexpr std::uint8_t kFwCommandRead = 1, kFwCommandMetrics = 2;
inline constexpr std::uint8_t kFwOk = 0, kFwFailed = 1, kFwUnknownCommand = 2;
struct FwRequest {
  std::uint8_t sequence, command;
  std::uint16_t bytes;   ///< header included
  std::uint32_t crc32c;  ///< of everything, this field as 0
};
static_assert(sizeof(FwRequest) == 8);
struct FwResponse {
  std::uint8_t sequence, error;
  std::uint16_t bytes;  ///< header included
};
static_assert(sizeof(FwResponse) == 4);

inline constexpr std::uint64_t udma_base(std::uint32_t engine) {  // engine: 0..11 of the device
  return kUdmaBase + (engine / kDmaEnginesPerCore) * kUdmaCoreStride +
         (engine % kDmaEnginesPerCore) * kUdmaEngineStride;
}
// UDMA queue registers (udma/udma_regs.h), relative to the queue's block.
inline constexpr std::uint64_t kM2sQueues = 0x1000, kS2mQueues = 0x2'1000, kUdmaQueueStride = 0x1000;
inline constexpr std::uint32_t kQCfg = 0x20, kQStatus = 0x24, kQBaseLow = 0x28, kQBaseHigh = 0x2c, kQLength = 0x30,
                               kQHead = 0x34, kQTailIncrement = 0x38, kQTail = 0x3c, kQCurrent = 0x40;
inline constexpr std::uint32_t kQCompletionLow = 0x44, kQCompletionHigh = 0x48, kQCompletionHead = 0x4c;
inline constexpr std::uint32_t kM2sCompletionCfg = 0xa0, kS2mCompletionCfg = 0x54, kCompletionEnable = 1;
inline constexpr std::uint32_t kM2sSwControl = 0xb0, kS2mSwControl = 0x64, kQueueReset = 1u << 8;
inline constexpr std::uint32_t kQCfgEnable = 3u << 16;  // prefetch and scheduling enabled

// Registers of a whole UDMA, relative to its base: state (four fields of two bits: 0 idle, 1 normal, 2 abort) and the
// request to change it, limits of a packet, size of completion descriptors, error causes.
inline constexpr std::uint64_t kM2sState = 0x200, kM2sChangeState = 0x204, kS2mState = 0x2'0200,
                               kS2mChangeState = 0x2'0204, kM2sLengthCfg = 0x254, kM2sPrefetchCfg2 = 0x308,
                               kS2mCompletionCfg1 = 0x2'0380, kM2sErrors = 0x3'a000, kS2mErrors = 0x3'a040;
inline constexpr std::uint32_t kUdmaStateNormal = 0x1111, kUdmaStateAbort = 0x2222;
inline constexpr std::uint32_t kUdmaToNormal = 1, kUdmaToDisabled = 2, kUdmaToAbort = 4;
inline constexpr std::uint32_t kMaxPacketMask = 0xf'ffff, kMaxDescriptorsMask = 0xff;
/// Error causes (udma/udma_iofic.c, second level groups A and B).
inline constexpr std::uint32_t kM2sRingId = 1u << 17, kM2sLast = 1u << 16, kM2sFirst = 1u << 15,
                               kM2sTooManyDescriptors = 1u << 14, kM2sTooLong = 1u << 13, kM2sPrefetchBus = 1u << 11,
                               kM2sDataBus = 1u << 8, kS2mRingId = 1u << 11, kS2mPrefetchBus = 1u << 9,
                               kS2mDataBus = 1u << 1;
/// Within kM2sErrors and kS2mErrors: writing 0 clears a cause, writing 1 to a bit of the set register sets it.
inline constexpr std::uint64_t kErrorCause = 0x0, kErrorCauseSet = 0x8;

// ---- UDMA descriptors (udma/udma.h): 16 bytes, {u32 len_ctrl; u32 meta; u64 address} ----
inline constexpr std::uint32_t kDescriptorBytes = 16;
inline constexpr std::uint32_t kDescMaxBytes = 0x1'0000;  // encoded as length 0
inline constexpr std::uint32_t kDescLengthMask = 0xffff, kDescRingIdShift = 24, kDescFirst = 1u << 26,
                               kDescLast = 1u << 27, kDescBarrier = 1u << 30;
inline constexpr std::uint32_t kDescPerPacket = 128;
inline constexpr std::uint32_t kInitialRingId = 1;
inline constexpr std::uint32_t kRingAlignment = 256;  // base and size of a ring, so 16 descriptors
inline constexpr std::uint32_t kRingMinDescriptors = 32;

/// Notification types (share/neuron_driver_shared.h, enum NQ_TYPE).
enum class NotificationType : std::uint32_t { kTrace = 0, kNotify = 1, kEvent = 2, kError = 3 };

// ---- notification entries: layout chosen by us, 16 bytes, little-endian ----
namespace chosen {
struct Notification {
  std::uint8_t phase;   ///< 1 during the first pass over the ring, 0 during the second, and so on
  std::uint8_t type;    ///< NotificationType
  std::uint8_t engine;  ///< isa::Engine of the sender; 3 = DMA
  std::uint8_t code;    ///< kError: ErrorNotification; kTrace: TraceCode; otherwise 0
  /// kNotify: the instruction's value; kError: where (instruction index, descriptor index); kTrace: instruction index.
  std::uint32_t value;
  std::uint64_t time_ns;  ///< the device's clock
};
static_assert(sizeof(Notification) == 16);

/// What a trace notification says of an instruction. Its index counts since the last reset of the core.
enum class TraceCode : std::uint8_t {
  kRetired = 0,
  kStarted = 1,  ///< it waits for nothing any more
};

/// What an error notification says. The runtime maps each to the NRT_STATUS that the public troubleshooting page gives.
enum class ErrorNotification : std::uint8_t {
  kNone = 0,
  kNumerical = 1,           ///< a NaN was produced; execution goes on
  kIllegalInstruction = 2,  ///< opcode or field; the engine stops
  kOutOfBounds = 3,         ///< an address outside SBUF/PSUM; the engine stops
  kSramUncorrectable = 4,
  kDramUncorrectable = 5,
  kDmaAbort = 6,       ///< bad address or descriptor; value = side << 16 | engine << 8 | queue, side 1 = RX
  kSemaphore = 7,      ///< a semaphore counted below 0 or over 65535
  kEvent = 8,          ///< an event set twice or cleared twice
  kQueueOverflow = 9,  ///< a notification queue was full and an entry was lost
};
}  // namespace chosen

// Registers of notification queues in PUTILS (v1/putils.h): base low, base high, size; head 0x18 after base low.
inline constexpr std::uint64_t kNqErrorBaseLow = 0x1074, kNqEventBaseLow = 0x1094, kNqNotifyBaseLow = 0xbfc,
                               kNqTraceBaseLow = 0xc7c, kNqEngineStride = 0x104;
inline constexpr std::uint64_t kNqHeadAfterBaseLow = 0x18;

namespace chosen {
/// Written by the reader: how many entries it has consumed in total since the queue was set up (u32, wraps around).
/// From the first such write on a queue holds size / 16 entries that are not consumed; what does not fit is lost and
/// reported by kQueueOverflow. A reader that never writes it has a ring whose oldest entries are overwritten: the
/// public driver knows no such register.
inline constexpr std::uint64_t kNqConsumedAfterBaseLow = 0x1c;
/// Bits of a UDMA queue's status register (kQStatus). Abort stays until the queue is reset; the reason is a
/// DmaAbortReason.
inline constexpr std::uint32_t kQStatusAbort = 1u << 31, kQStatusBusy = 1u << 30, kQStatusReasonMask = 0xff;
enum class DmaAbortReason : std::uint8_t {
  kNone = 0,
  kRing = 1,    ///< doorbell on a ring without length, or for more descriptors than it holds; ring memory not readable
  kRingId = 2,  ///< a descriptor's ring id is not the one of this pass
  kDescriptor =
      3,  ///< no FIRST at the start, FIRST in the middle, or more than kDescPerPacket descriptors without LAST
  kReadAddress = 4,   ///< nobody answers at a source address
  kWriteAddress = 5,  ///< nobody answers at a destination address
};
}  // namespace chosen

}  // namespace opennrt::inf1
