// SPDX-License-Identifier: Apache-2.0
//
// What an emulated /dev/neuron offers beyond the kernel driver's ABI to a client that knows it is emulated, as a
// virtual machine's kernel knows its hypervisor: to wait instead of polling, to read the simulated clock, to say how far
// it has read a notification queue, to pass markers of a fault plan. A program that does not know it uses the plain ABI and sees a device that runs by
// itself. The real driver answers such a request with EINVAL or ENOTTY, and that is how a client tells the two apart.
#pragma once

#include <linux/ioctl.h>

#include <cstdint>

namespace opennrt::neuron::paravirtual {

inline constexpr char kBase = 'O';
inline constexpr std::uint32_t kVersion = 2;

/// Answer of kHello: what no ioctl of the driver tells. From here on the process waits with kWait: the device stands still
/// until it does, so that a program takes the same simulated cycles as on backend `sim`.
struct Hello {
  /// in: kVersion, or 0: only asks, and the device goes on running by itself; out: the highest that the device serves
  std::uint32_t version;
  std::uint32_t open_isa_version;  ///< out: version of docs/isa.md that the engines execute
  std::uint32_t sbuf_bytes_per_partition, psum_bytes_per_partition;
  char instance_type[24];  ///< e.g. "inf1.6xlarge"
  /// out: what the plan of faults that the machine was started with does in its chips (faults::chip_identity); 0: nothing
  std::uint64_t fault_plan = 0;
};

struct Wait {
  std::uint32_t core, pad;
  std::uint64_t seen, deadline;  ///< as `wait` of opennrt/backend.h
  std::uint64_t text;            ///< in: address of a buffer; the reason for an ETIMEDOUT is written to it, ends with 0
  std::uint32_t text_bytes, pad2;
};

struct Clock {
  std::uint32_t core;  ///< in: kClockNow, or the core whose work_started is asked for
  std::uint32_t pad;
  std::uint64_t nanoseconds;  ///< out
};
inline constexpr std::uint32_t kClockNow = 0xffff'ffff;

struct Consume {
  std::uint32_t core, type, engine, pad;  ///< as `nq_consume` of opennrt/backend.h
  std::uint64_t entries;
};

struct MemStats {
  std::uint32_t core, pad;
  std::uint64_t used_by_process, used, capacity;  ///< out, as opennrt_mem_stats_t
};

struct Quiesce {
  std::uint32_t core, pad;  ///< stops all queues of the core; the driver of today no longer does it on request
};

/// The process has passed a marker of a fault plan: rules of the machine's chips hold between markers, whoever passes them.
struct Marker {
  std::uint64_t name;        ///< in: address of its text
  std::uint32_t bytes, pad;  ///< of the text, without a final 0: up to kLongestMarker
};
inline constexpr std::uint32_t kLongestMarker = 4096;

inline constexpr unsigned long kHello = _IOWR(kBase, 1, Hello);
inline constexpr unsigned long kWait = _IOWR(kBase, 2, Wait);
inline constexpr unsigned long kClock = _IOWR(kBase, 3, Clock);
inline constexpr unsigned long kConsume = _IOWR(kBase, 4, Consume);
inline constexpr unsigned long kMemStats = _IOWR(kBase, 5, MemStats);
inline constexpr unsigned long kQuiesce = _IOWR(kBase, 6, Quiesce);
inline constexpr unsigned long kMarker = _IOW(kBase, 7, Marker);

}  // namespace opennrt::neuron::paravirtual
