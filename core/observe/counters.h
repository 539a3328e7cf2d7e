// SPDX-License-Identifier: Apache-2.0
//
// Counters that other processes read while this one runs (requirement H2), in the layout of the Neuron driver's datastore:
// 256 KiB per process and device, as aws-neuron-driver neuron_ds.h and share/neuron_driver_shared.h have it. The numbers below
// are the public ones; what is not named here is not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace opennrt::observe {

inline constexpr std::size_t kCounterStoreBytes = 256 * 1024;
inline constexpr std::uint32_t kCountedCores = 4;  ///< of a device; Inferentia has no more

enum class DeviceCounter : std::uint32_t {
  kRuntimeVersion = 0,  ///< see packed_version()
  kFrameworkVersion = 1,
  kFalVersion = 2,
  kCodeHost = 6,  ///< bytes in use, as the four below
  kTensorsHost = 7,
  kConstantsHost = 8,
  kScratchpadHost = 9,
  kMiscHost = 10
};

enum class CoreCounter : std::uint32_t {
  kTimeInUse = 0,  ///< microseconds of the device's clock, as sysfs shows nc_time_in_use
  kCompleted = 1,
  kCompletedWithError = 2,
  kCompletedWithNumericalError = 3,
  kTimedOut = 4,
  kIncorrectInput = 5,
  kFailedToQueue = 6,
  kGenericError = 7,  ///< the kinds of error of neuron-monitor's error_summary: 7 to 12
  kNumericalError = 8,
  kModelError = 9,
  kTransientError = 10,
  kHardwareError = 11,
  kRuntimeError = 12,
  kLatencyDevice = 13,  ///< nanoseconds of the device's clock, summed over inferences that completed
  kLatencyTotal = 14,   ///< nanoseconds of the host's clock, likewise
  kCoreTime = 15,       ///< kTimeInUse in nanoseconds
  kGenericFailure = 16,
  kResourceError = 17,
  kNotEnoughCores = 18,
  kInvalid = 19,
  kUnsupportedNeffVersion = 20,
  kCodeDevice = 22,  ///< bytes in use, as the four below
  kTensorsDevice = 23,
  kConstantsDevice = 24,
  kScratchpadDevice = 25,
  kMiscDevice = 26,
  kModelLoads = 27,  ///< that succeeded
  kInferences = 28,  ///< that succeeded
  kOutOfBounds = 30,
  // From here on in a section of their own, behind what datastores used to have.
  kHbmUncorrectable = 32,
  kCoreUncorrectable = 33,
  kDmaAbort = 34,
  kNotificationOverflow = 35
};

struct NamedCounter {
  CoreCounter counter;
  std::string_view name;
};
/// How executions and loads end. One that succeeds or fails is counted in exactly one of these. Names are those of sysfs and
/// neuron-monitor where they have one.
inline constexpr NamedCounter kEndings[] = {{CoreCounter::kCompleted, "completed"},
                                            {CoreCounter::kCompletedWithError, "completed_with_err"},
                                            {CoreCounter::kCompletedWithNumericalError, "completed_with_num_err"},
                                            {CoreCounter::kTimedOut, "timed_out"},
                                            {CoreCounter::kIncorrectInput, "incorrect_input"},
                                            {CoreCounter::kFailedToQueue, "failed_to_queue"},
                                            {CoreCounter::kGenericFailure, "failure"},
                                            {CoreCounter::kResourceError, "resource_error"},
                                            {CoreCounter::kNotEnoughCores, "resource_nc_error"},
                                            {CoreCounter::kInvalid, "invalid_error"},
                                            {CoreCounter::kUnsupportedNeffVersion, "unsupported_neff_version"},
                                            {CoreCounter::kOutOfBounds, "oob_error"},
                                            {CoreCounter::kHbmUncorrectable, "hw_hbm_ue_error"},
                                            {CoreCounter::kCoreUncorrectable, "hw_nc_ue_error"},
                                            {CoreCounter::kDmaAbort, "hw_dma_abort_error"},
                                            {CoreCounter::kNotificationOverflow, "execute_sw_nq_overflow"}};
/// What kind of error it was, for those that failed: at most one of these each.
inline constexpr NamedCounter kErrorKinds[] = {
    {CoreCounter::kGenericError, "generic"},     {CoreCounter::kNumericalError, "numerical"},
    {CoreCounter::kTransientError, "transient"}, {CoreCounter::kModelError, "model"},
    {CoreCounter::kRuntimeError, "runtime"},     {CoreCounter::kHardwareError, "hardware"}};
inline constexpr NamedCounter kDeviceMemory[] = {{CoreCounter::kCodeDevice, "model_code"},
                                                 {CoreCounter::kTensorsDevice, "tensors"},
                                                 {CoreCounter::kConstantsDevice, "constants"},
                                                 {CoreCounter::kScratchpadDevice, "scratchpad"},
                                                 {CoreCounter::kMiscDevice, "runtime_memory"}};

/// A version as the driver reads it: `kind` is the framework's type, 0 otherwise.
constexpr std::uint64_t packed_version(std::uint64_t major, std::uint64_t minor, std::uint64_t build,
                                       std::uint64_t kind = 0) {
  return (kind & 0xffff) << 48 | (major & 0xff) << 40 | (minor & 0xff) << 32 | (build & 0xffffffff);
}
/// From text such as "2.1.0"; what is not a number counts as 0.
std::uint64_t packed_version(std::string_view text, std::uint64_t kind);

/// A datastore that is mapped in this process, or none: then everything counts for nothing, and reads 0. It does not own the
/// mapping. Cores are those of the device, 0 to 3; others are ignored. Thread-safe; also among processes.
class CounterStore {
 public:
  CounterStore() = default;
  /// None when `bytes` is less than kCounterStoreBytes. Only what is mapped writable may be written.
  CounterStore(void* memory, std::size_t bytes);

  explicit operator bool() const { return memory_ != nullptr; }
  /// Marks it as a datastore. Its memory is zero so far.
  void begin() const;
  bool begun() const;

  /// The value before. Takes back with a negative `amount`.
  std::uint64_t add(std::uint32_t core, CoreCounter counter, std::int64_t amount = 1) const;
  std::uint64_t add(DeviceCounter counter, std::int64_t amount) const;
  void set(DeviceCounter counter, std::uint64_t value) const;
  std::uint64_t get(std::uint32_t core, CoreCounter counter) const;
  std::uint64_t get(DeviceCounter counter) const;
  /// The core was busy for that long.
  void add_time(std::uint32_t core, std::uint64_t nanoseconds) const;

 private:
  std::uint64_t* at(std::size_t offset) const;
  std::uint64_t* at(std::uint32_t core, CoreCounter counter) const;
  std::uint64_t* at(DeviceCounter counter) const;
  std::byte* memory_ = nullptr;
};

}  // namespace opennrt::observe
