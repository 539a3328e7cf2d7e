// SPDX-License-Identifier: Apache-2.0
#include "core/faults/catalogue.h"

#include <algorithm>
#include <array>

namespace opennrt::faults {
namespace {

using enum Parameter::Type;

constexpr std::string_view kErrnoNames = "EBUSY|ENOMEM|EINTR|EIO|ENODEV";

// Statuses that this generation's runtime can return: core/api/status.cc and core/runtime/outcome.h.
constexpr std::string_view kAnyStatus =
    "NRT_FAILURE NRT_INVALID NRT_INVALID_HANDLE NRT_RESOURCE NRT_TIMEOUT NRT_HW_ERROR NRT_QUEUE_FULL "
    "NRT_LOAD_NOT_ENOUGH_NC NRT_UNSUPPORTED_NEFF_VERSION NRT_UNINITIALIZED NRT_CLOSED NRT_QUEUE_EMPTY "
    "NRT_EXEC_UNIT_UNRECOVERABLE NRT_EXEC_BAD_INPUT NRT_EXEC_COMPLETED_WITH_NUM_ERR NRT_EXEC_COMPLETED_WITH_ERR "
    "NRT_EXEC_NC_BUSY NRT_EXEC_OOB NRT_EXEC_HW_ERR_COLLECTIVES NRT_EXEC_HW_ERR_HBM_UE NRT_EXEC_HW_ERR_NC_UE "
    "NRT_EXEC_HW_ERR_DMA_ABORT NRT_EXEC_SW_NQ_OVERFLOW";

// What aws-neuron-sdk src/libnrt/include/nrt/nrt_status.h has beside them can be asked for, too: a client may meet it elsewhere.
constexpr std::string_view kStatusNames =
    "NRT_FAILURE|NRT_INVALID|NRT_INVALID_HANDLE|NRT_RESOURCE|NRT_TIMEOUT|NRT_HW_ERROR|NRT_QUEUE_FULL|"
    "NRT_LOAD_NOT_ENOUGH_NC|NRT_UNSUPPORTED_NEFF_VERSION|NRT_FAIL_HOST_MEM_ALLOC|NRT_UNINITIALIZED|NRT_CLOSED|"
    "NRT_QUEUE_EMPTY|NRT_EXEC_UNIT_UNRECOVERABLE|NRT_EXEC_BAD_INPUT|NRT_EXEC_COMPLETED_WITH_NUM_ERR|"
    "NRT_EXEC_COMPLETED_WITH_ERR|NRT_EXEC_NC_BUSY|NRT_EXEC_OOB|NRT_COLL_PENDING|NRT_EXEC_HW_ERR_COLLECTIVES|"
    "NRT_EXEC_HW_ERR_HBM_UE|NRT_EXEC_HW_ERR_NC_UE|NRT_EXEC_HW_ERR_DMA_ABORT|NRT_EXEC_SW_NQ_OVERFLOW|"
    "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE|NRT_NETWORK_PROXY_FAILURE";

constexpr double kMaxMicroseconds = 3.6e9;  // an hour
constexpr double kMaxNanoseconds = 3.6e12;  // the same
constexpr double kMaxBytes = 1ull << 40;

constexpr std::array kStatus = {
    Parameter{"status", kText, "", 0, 0, kStatusNames, "what the function returns"},
    Parameter{"moment", kText, "instead", 0, 0, "instead|after",
              "instead: the function does nothing; after: it does its work and its success is replaced"}};
constexpr std::array kLatency = {
    Parameter{"us", kInteger, "1000", 1, kMaxMicroseconds, "", "microseconds of wall time"},
    Parameter{"moment", kText, "before", 0, 0, "before|after", "when the call waits"}};
constexpr std::array kAllocationLimit = {
    Parameter{"bytes", kInteger, "0", 0, kMaxBytes, "", "in use by tensors and models of the process at most"}};

constexpr std::array kOpenErrno = {Parameter{"errno", kText, "ENODEV", 0, 0,
                                             "EACCES|EBUSY|ENOMEM|EINTR|EIO|ENODEV|ENXIO|EMFILE",
                                             "what opening a device answers"}};
constexpr std::array kProbe = {
    Parameter{"how", kText, "absent", 0, 0, "absent|info",
              "absent: the device is not listed; info: it is, but does not tell what it is"}};
constexpr std::array kOld = {Parameter{"version", kText, "1.9", 0, 0, "", "release of the driver, as <major>.<minor>"},
                             Parameter{"compatible_max", kInteger, "0", 0, 4294967295.0, "",
                                       "newest runtime version that it says to serve; 0: as the real one says"}};
constexpr std::array kOperationErrno = {
    Parameter{"errno", kText, "EIO", 0, 0, kErrnoNames, "what the operation answers; it does nothing"}};
constexpr std::array kSlow = {
    Parameter{"us", kInteger, "1000", 1, kMaxMicroseconds, "", "microseconds of wall time that it takes longer"}};
constexpr std::array kCoresTaken = {
    Parameter{"pid", kInteger, "4194304", 1, 2147483647, "", "process that is said to hold the cores"},
    Parameter{"command", kText, "python3 serve.py", 0, 0, "", "its command line"}};
constexpr std::array kMemoryLimit = {
    Parameter{"bytes", kInteger, "0", 0, kMaxBytes, "", "that the process may have allocated on the device"},
    Parameter{"memory", kText, "device", 0, 0, "device|host|any",
              "device DRAM, host memory for DMA, or both together"}};
constexpr std::array kDelay = {
    Parameter{"ns", kInteger, "1000000", 1, kMaxNanoseconds, "", "nanoseconds of the device's clock"}};
constexpr std::array kCorrupt = {Parameter{"word", kInteger, "0", 0, 3, "", "32-bit word of the 16-byte entry"},
                                 Parameter{"mask", kInteger, "255", 1, 4294967295.0, "", "bits that are inverted"}};
constexpr std::array kRemoved = {
    Parameter{"return_after", kInteger, "0", 0, 1e9, "",
              "operations on the device that are refused until it is back, empty; 0: it stays away"}};
constexpr std::array kResetResult = {
    Parameter{"errno", kText, "none", 0, 0, "none|EBUSY|EINTR|EIO|ENODEV|ETIMEDOUT",
              "none: the reset ends and says that it failed; otherwise what the driver answers"}};

constexpr std::array kSram = {
    Parameter{"memory", kText, "sbuf", 0, 0, "sbuf|psum", "which memory of the core"},
    Parameter{"partition", kInteger, "0", 0, 127, "", "partition"},
    Parameter{"offset", kInteger, "0", 0, 1048575, "", "byte within the partition"},
    Parameter{"bit", kInteger, "0", 0, 7, "", "bit of the byte; an uncorrectable error changes the next bit, too"}};
constexpr std::array kDram = {
    Parameter{"offset", kInteger, "0", 0, kMaxBytes, "", "byte within what the DMA descriptor reads"},
    Parameter{"bit", kInteger, "0", 0, 7, "", "bit of the byte; an uncorrectable error changes the next bit, too"}};
constexpr std::array kFlip = {
    Parameter{"memory", kText, "dma", 0, 0, "dma|sbuf|psum",
              "dma: in what a descriptor carries; otherwise in a memory of the core"},
    Parameter{"partition", kInteger, "0", 0, 127, "", "sbuf and psum: partition"},
    Parameter{"offset", kInteger, "0", 0, kMaxBytes, "", "byte, within the data carried or the partition"},
    Parameter{"bit", kInteger, "0", 0, 7, "", "bit of the byte"}};
constexpr std::array kStall = {Parameter{"ns", kInteger, "0", 0, kMaxNanoseconds, "",
                                         "nanoseconds of simulated time; 0: until the queue is reset"}};
constexpr std::array kDescriptor = {
    Parameter{"field", kText, "address", 0, 0, "address|length|ring_id", "what changes in the descriptor fetched"},
    Parameter{"mask", kBits, "1125899906842624", 0, 0, "", "bits that are inverted; of a shorter field its low ones"}};
constexpr std::array kFactor = {
    Parameter{"factor", kNumber, "10", 1, 1e9, "", "how many times as long the instruction takes"}};
constexpr std::array kNan = {Parameter{"element", kInteger, "0", 0, 1048575, "",
                                       "element of the output, counted over its partitions; the last if beyond"}};
constexpr std::array kOverflow = {
    Parameter{"queue", kText, "notify", 0, 0, "notify|error|event|trace", "notification queue that is found full"}};
constexpr std::array kStuck = {
    Parameter{"semaphore", kInteger, "-1", -1, 31, "", "semaphore of the core; -1: whichever is changed"}};
constexpr std::array kLink = {
    Parameter{"link", kText, "host", 0, 0, "host|east|west", "PCIe to the host, or the link to a neighbour"},
    Parameter{"ns", kInteger, "0", 0, kMaxNanoseconds, "",
              "nanoseconds of simulated time; 0: until the device is reset"}};
constexpr std::array kSilent = {
    Parameter{"requests", kInteger, "0", 0, 1e9, "", "requests that stay without an answer; 0: all from then on"}};

constexpr std::string_view kTroubleshoot = "aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst";
constexpr std::string_view kStatuses = "aws-neuron-sdk src/libnrt/include/nrt/nrt_status.h";
constexpr std::string_view kIoctl = "aws-neuron-driver neuron_ioctl.h, neuron_cdev.c";

// Data are instructions and addresses, too: whatever a program that is not the one that was loaded can end with. A word that is
// written elsewhere than it should can even ring a doorbell or be taken for a notification.
constexpr std::string_view kOfWrongData =
    "NRT_SUCCESS NRT_INVALID NRT_TIMEOUT NRT_EXEC_OOB NRT_EXEC_COMPLETED_WITH_NUM_ERR NRT_EXEC_COMPLETED_WITH_ERR "
    "NRT_EXEC_HW_ERR_DMA_ABORT NRT_EXEC_SW_NQ_OVERFLOW NRT_HW_ERROR";

// The first inference says so, those after it find what is in the memory now.
constexpr std::string_view kOfWrongDram =
    "NRT_EXEC_HW_ERR_HBM_UE NRT_SUCCESS NRT_INVALID NRT_TIMEOUT NRT_EXEC_OOB NRT_EXEC_COMPLETED_WITH_NUM_ERR "
    "NRT_EXEC_COMPLETED_WITH_ERR NRT_EXEC_HW_ERR_DMA_ABORT NRT_HW_ERROR";

constexpr std::string_view kAnywhere = "*", kExecuting = "sim neuron emulated", kSimulated = "sim emulated";

constexpr std::array kKinds = {
    // ---- the front door ----
    Kind{"fd_status", Level::kFrontDoor, "A function of the C API returns a status of choice.", kAnywhere,
         "function process tensor model", kStatus, "a function that returns an NRT_STATUS is called", kAnyStatus,
         "retry", kStatuses},
    Kind{"fd_latency", Level::kFrontDoor, "A function of the C API takes longer.", kAnywhere,
         "function process tensor model", kLatency, "a function is called", "NRT_SUCCESS", "none needed",
         "a loaded machine; nothing but time changes"},
    Kind{"fd_allocation_limit", Level::kFrontDoor, "Tensors and models together may have only so many bytes.",
         kAnywhere, "function process", kAllocationLimit,
         "nrt_load… or nrt_tensor_allocate… asks for memory that would pass the limit", "NRT_RESOURCE", "retry",
         kTroubleshoot},
    // ---- between runtime and backend ----
    Kind{"drv_open_fail", Level::kDriver, "A device cannot be opened.", kAnywhere, "device process", kOpenErrno,
         "a device is opened", "NRT_FAILURE NRT_RESOURCE NRT_HW_ERROR", "reinit", kTroubleshoot},
    Kind{"drv_probe_fail", Level::kDriver, "The driver did not bring a device up.", kAnywhere, "device process", kProbe,
         "devices are listed, or a device is asked what it is", "NRT_FAILURE NRT_HW_ERROR NRT_INVALID", "reinit",
         "aws-neuron-driver neuron_pci.c: a probe that fails leaves no /dev/neuron<N>"},
    Kind{"drv_missing",
         Level::kDriver,
         "No driver is installed.",
         kAnywhere,
         "process",
         {},
         "the runtime asks for the driver's version",
         "NRT_FAILURE",
         "reinit",
         kTroubleshoot},
    Kind{"drv_old", Level::kDriver, "The driver is older than the runtime needs.", kAnywhere, "process", kOld,
         "the runtime asks for the driver's version", "NRT_FAILURE", "reinit", kTroubleshoot},
    Kind{"drv_error", Level::kDriver, "An operation of the driver fails with an errno.", kAnywhere,
         "device core operation process", kOperationErrno, "an operation of the driver is called",
         "NRT_SUCCESS NRT_FAILURE NRT_RESOURCE NRT_HW_ERROR NRT_EXEC_UNIT_UNRECOVERABLE NRT_EXEC_HW_ERR_COLLECTIVES",
         "retry", kIoctl},
    Kind{"drv_slow", Level::kDriver, "An operation of the driver takes longer.", kAnywhere,
         "device core operation process", kSlow, "an operation of the driver is called", "NRT_SUCCESS NRT_TIMEOUT",
         "none needed", "a loaded machine; nothing but time changes"},
    Kind{"drv_cores_taken", Level::kDriver, "Another process holds NeuronCores.", kAnywhere, "device core process",
         kCoresTaken, "cores are reserved", "NRT_RESOURCE", "reinit", kTroubleshoot},
    Kind{"drv_allocation_limit", Level::kDriver, "A device has only so much memory.", kAnywhere, "device core process",
         kMemoryLimit, "memory is asked for that would pass the limit", "NRT_RESOURCE", "retry", kTroubleshoot},
    Kind{"drv_notification_lost",
         Level::kDriver,
         "A notification never arrives.",
         kExecuting,
         "device core queue process",
         {},
         "an entry of a notification queue arrives",
         "NRT_TIMEOUT NRT_SUCCESS",
         "retry",
         "aws-neuron-sdk neuron-runtime/nrt-configurable-parameters.rst: NEURON_RT_EXEC_TIMEOUT"},
    Kind{"drv_notification_delayed", Level::kDriver, "A notification, and all behind it, arrives late.", kExecuting,
         "device core queue process", kDelay, "an entry of a notification queue arrives", "NRT_SUCCESS NRT_TIMEOUT",
         "none needed", "entries keep their order in the ring (aws-neuron-driver neuron_nq.c)"},
    Kind{"drv_notification_duplicated",
         Level::kDriver,
         "A notification arrives twice.",
         kExecuting,
         "device core queue process",
         {},
         "an entry of a notification queue arrives",
         "NRT_SUCCESS NRT_EXEC_COMPLETED_WITH_ERR NRT_TIMEOUT",
         "none needed",
         "an end counted twice must not end an inference early"},
    Kind{"drv_notification_corrupted", Level::kDriver, "Bits of a notification change on their way.", kExecuting,
         "device core queue process", kCorrupt, "an entry of a notification queue arrives",
         "NRT_SUCCESS NRT_TIMEOUT NRT_EXEC_COMPLETED_WITH_ERR NRT_EXEC_COMPLETED_WITH_NUM_ERR NRT_EXEC_OOB NRT_INVALID "
         "NRT_EXEC_HW_ERR_NC_UE NRT_EXEC_HW_ERR_HBM_UE NRT_EXEC_HW_ERR_DMA_ABORT NRT_EXEC_SW_NQ_OVERFLOW",
         "retry", "which bit decides what the entry says"},
    Kind{"drv_device_removed", Level::kDriver, "A device goes away while it is in use.", kAnywhere,
         "device core operation process", kRemoved, "an operation of the driver is called on a device",
         "NRT_FAILURE NRT_EXEC_UNIT_UNRECOVERABLE", "reinit", "Linux: operations on a removed device answer ENODEV"},
    Kind{"drv_reset_fail", Level::kDriver, "A reset does not succeed.", kAnywhere, "device core process", kResetResult,
         "a reset is waited for", "NRT_EXEC_UNIT_UNRECOVERABLE NRT_FAILURE NRT_HW_ERROR NRT_TIMEOUT NRT_RESOURCE",
         "reinit", kStatuses},
    Kind{"drv_reset_slow", Level::kDriver, "A reset takes longer.", kAnywhere, "device core process", kSlow,
         "a reset is waited for", "NRT_SUCCESS", "none needed",
         "aws-neuron-driver neuron_reset.c: the wait has a limit of its own"},
    // ---- in the chip ----
    Kind{"sram_correctable", Level::kChip, "One bit of SBUF or PSUM is wrong and corrected.", kSimulated,
         "device core engine", kSram, "an instruction of an engine begins", "NRT_SUCCESS", "none needed",
         "aws-neuron-driver v1/fw_io.c: ECC counters"},
    Kind{"sram_uncorrectable", Level::kChip, "Two bits of SBUF or PSUM are wrong.", kSimulated, "device core engine",
         kSram, "an instruction of an engine begins", "NRT_EXEC_HW_ERR_NC_UE", "retry", kStatuses},
    Kind{"dram_correctable", Level::kChip, "One bit of device memory is wrong and corrected.", kSimulated,
         "device core engine queue", kDram, "a DMA descriptor reads device memory", "NRT_SUCCESS", "none needed",
         "aws-neuron-driver v1/fw_io.c: ECC counters"},
    Kind{"dram_uncorrectable", Level::kChip, "Two bits of device memory are wrong.", kSimulated,
         "device core engine queue", kDram, "a DMA descriptor reads device memory", kOfWrongDram, "reload", kStatuses},
    Kind{"data_bit_flip", Level::kChip, "A bit of data changes and nobody notices.", kSimulated,
         "device core engine queue", kFlip, "an instruction begins (sbuf, psum) or a DMA descriptor moves data (dma)",
         kOfWrongData, "reload", "silent by definition; in constants it stays until a reload"},
    Kind{"dma_abort",
         Level::kChip,
         "A DMA queue goes to the abort state.",
         kSimulated,
         "device core engine queue",
         {},
         "a DMA descriptor is fetched",
         "NRT_EXEC_HW_ERR_DMA_ABORT NRT_HW_ERROR",
         "retry",
         kStatuses},
    Kind{"dma_stall", Level::kChip, "A DMA queue stops moving.", kSimulated, "device core engine queue", kStall,
         "a DMA descriptor is fetched", "NRT_TIMEOUT NRT_SUCCESS NRT_HW_ERROR", "retry", kTroubleshoot},
    Kind{"descriptor_corrupt", Level::kChip, "A DMA descriptor is not what was written.", kSimulated,
         "device core engine queue", kDescriptor, "a DMA descriptor is fetched", kOfWrongData, "reload",
         "aws-neuron-driver udma: a descriptor's ring id must match, addresses must exist"},
    Kind{"engine_hang",
         Level::kChip,
         "An engine never ends an instruction.",
         kSimulated,
         "device core engine",
         {},
         "an instruction of an engine begins",
         "NRT_TIMEOUT",
         "retry",
         kTroubleshoot},
    Kind{"engine_slow", Level::kChip, "An instruction takes many times as long.", kSimulated, "device core engine",
         kFactor, "an instruction of an engine begins", "NRT_SUCCESS NRT_TIMEOUT", "none needed",
         "nothing but time changes"},
    Kind{"nan_produced", Level::kChip, "An instruction writes a NaN.", kSimulated, "device core engine", kNan,
         "an instruction with floating-point output ends", "NRT_EXEC_COMPLETED_WITH_NUM_ERR", "retry", kTroubleshoot},
    Kind{"notification_overflow", Level::kChip, "A notification queue is full and loses an entry.", kSimulated,
         "device core", kOverflow, "a notification is written", "NRT_EXEC_SW_NQ_OVERFLOW NRT_SUCCESS", "retry",
         kTroubleshoot},
    Kind{"semaphore_stuck", Level::kChip, "A change of a semaphore is lost.", kSimulated, "device core engine", kStuck,
         "a semaphore is incremented or decremented", "NRT_TIMEOUT NRT_EXEC_COMPLETED_WITH_ERR", "retry",
         kTroubleshoot},
    Kind{"link_down", Level::kChip, "A link of the device is down.", kSimulated, "device core engine queue", kLink,
         "a DMA descriptor goes over the link",
         "NRT_EXEC_HW_ERR_DMA_ABORT NRT_TIMEOUT NRT_EXEC_HW_ERR_COLLECTIVES NRT_SUCCESS NRT_EXEC_UNIT_UNRECOVERABLE "
         "NRT_HW_ERROR",
         "reinit", "DMA to what cannot be reached aborts"},
    Kind{"firmware_silent", Level::kChip, "The device's firmware does not answer.", kSimulated, "device", kSilent,
         "a request reaches the firmware",
         "NRT_EXEC_UNIT_UNRECOVERABLE NRT_TIMEOUT NRT_FAILURE NRT_HW_ERROR NRT_SUCCESS", "reinit",
         "aws-neuron-driver v1/fw_io.c, neuron_reset.c: requests and resets time out"},
};

}  // namespace

std::span<const Kind> kinds() {
  return kKinds;
}

const Kind* find_kind(std::string_view name) {
  const auto found = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& kind) { return kind.name == name; });
  return found == kKinds.end() ? nullptr : &*found;
}

}  // namespace opennrt::faults
