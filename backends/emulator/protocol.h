// SPDX-License-Identifier: Apache-2.0
//
// How a process with the preload library talks to the emulated machine, which lives in a process of its own.
//
// Three kinds of Unix sockets (SOCK_SEQPACKET), both to the path in OPENNRT_EMULATED_MACHINE:
// - A *file* is an opened /dev/neuron<N>: the application's file descriptor is the socket itself, so that dup, fork,
//   exec, exit and descriptors sent to other processes do what they do to a file of the driver; the kernel closes the
//   socket when the last reference goes, and that is the driver's `release`. Before connecting, the client binds its
//   end to the abstract name "\0opennrt-neuron-<device>-<16 hex digits>", drawn at random: whoever holds the
//   descriptor, in whatever process, finds the file's number in getsockname(2). On connecting it sends FileHello and
//   gets a Reply.
// - A *guest* is a command that has joined a named machine: it sends GuestHello, gets a Reply, and while its connection
//   is open the machine does not end. ESHUTDOWN: it ends already.
// - A *channel* carries requests: one per thread that makes any, opened lazily (again in a child after fork), closed on
//   exec. On connecting it sends ChannelHello with a descriptor (SCM_RIGHTS) of its window: a memfd, sealed against
//   shrinking, for what does not fit a packet. The Reply carries a descriptor of the machine's host memory, which the
//   client maps where the driver would map physical memory. An mmap offset is, as the driver's, the device address of
//   the memory; kMmap tells where that is in the host memory.
//
// The machine knows who asks from SO_PEERCRED of the channel, never from what a client says. A process ends for the
// machine when its pidfd becomes readable; before cores are handed out the machine looks at all of them, so that a core
// is free at once when waitpid has returned. Functions mirror the operations of the kernel driver (aws-neuron-driver
// neuron_cdev.c): decoding, copies from and to user memory and their EFAULT are the client's affair, everything else
// the machine's.
#pragma once

#include <cstdint>

namespace opennrt::emulator {

inline constexpr std::uint32_t kProtocolVersion = 2;
inline constexpr char kMachineVariable[] = "OPENNRT_EMULATED_MACHINE";  ///< path of the machine's socket
inline constexpr char kFileNamePrefix[] = "opennrt-neuron-";            ///< of the abstract name, after its 0

enum class Hello : std::uint32_t { kFile = 1, kChannel = 2, kGuest = 3 };

struct FileHello {
  Hello kind = Hello::kFile;
  std::uint32_t protocol = kProtocolVersion;
  std::uint32_t device = 0;
  std::uint32_t flags = 0;  ///< of open(2): the bit of O_WRONLY opens without attaching (the driver's "free access")
};

struct ChannelHello {
  Hello kind = Hello::kChannel;
  std::uint32_t protocol = kProtocolVersion;
};

struct GuestHello {
  Hello kind = Hello::kGuest;
  std::uint32_t protocol = kProtocolVersion;
};

/// What a request is about. Arguments a0… in order; what comes back is v0…. "in" and "out" are bytes at the start of
/// the window. `file`: number of the opened file, 0 for requests about the machine. Result: 0 or a negative errno.
enum class Op : std::uint32_t {
  // The machine (no file).
  kMachine = 1,  ///< v: devices present, cores per device, driver major, minor, compatible min, max, visible-device
                 ///< mask, architecture; out: instance type, 0, driver version text, 0. ENODEV: no driver is
                 ///< presented, the rest is there.
  kSysfs,        ///< in: path; out: contents. ENOENT. EISDIR: out: names, each ends with 0.
  // Files.
  kFlush = 20,     ///< this process closes a descriptor of the file
  kHello,          ///< a0 version, as paravirtual::Hello; out: it
  kDeviceInfo,     ///< out: opennrt_device_info_t
  kBdf,            ///< a0 device; v: domain, bus, slot, function
  kApps,           ///< a0 flags (APP_INFO_…); out: AppInfo each
  kPrint,          ///< in: text for the kernel's log
  kCheckAttached,  ///< EACCES: this process has not opened the file's device. For requests that the driver refuses to
                   ///< such a process but that need nothing else of the machine, and for MEM_GET_PA and MEM_GET_INFO.
                   ///< The machine itself refuses kMemAlloc, kMemFree, kMemCopy, kBarWrite, kNqInit, kEngineSetState,
                   ///< kQueueInit, kQueueAck, kQueueRelease, kWriteDescriptors, kWait, kConsume, kQuiesce, kMarker.
  // Cores. Machine-wide numbers. Any file.
  kRangeMark = 40,  ///< a0 count, a1 first, a2 last; out: bitmap of opennrt_core_map_t. EBUSY: v0 longest free run
  kRangeUnmark,     ///< in: bitmap; v0: cores given back
  kReaderEnter,     ///< a0 core of the device; in: uuid, 32 bytes. These four as neuron_crwl.c
  kReaderExit,
  kWriterEnter,
  kWriterDowngrade,
  kModelStarted,  ///< a0 core; v0 count
  kInitState,     ///< a0 core, a1 state; v0 new state (neuron_cinit.c)
  // Memory.
  kMemAlloc = 60,  ///< a: bytes, alignment, host, channel, region, core, category; v: handle, device address, mmap
                   ///< offset
  kMemFree,        ///< a0 handle
  kMemInfo,        ///< a0 handle; v: device address, mmap offset, bytes, host, pid, core
  kMemFind,        ///< a0 device address; v: mmap offset, bytes, handle (MEM_MC_GET_INFO)
  kMemWrite,       ///< a0 handle, a1 offset, a2 bytes; in
  kMemRead,        ///< a0 handle, a1 offset, a2 bytes; out
  kMemCopy,        ///< a: source, its offset, destination, its offset, bytes
  kMemSet,         ///< a: handle, offset, value, bytes
  kProgramEngine,  ///< a0 core, a1 device address, a2 bytes; in
  kMemStats,       ///< a0 core; v: used by process, used, capacity
  kMmap,           ///< a0 offset, a1 bytes, a2 writable: may this process map it? v0 offset in the host memory,
                   ///< v1: 1 if it may write, else the driver maps it read only. EPERM: no allocation is there, or of
                   ///< other size; EINVAL: device memory
  kUnmap,          ///< a0 offset, a1 bytes: it has unmapped it
  // DMA.
  kEngineSetState = 90,  ///< a0 engine, a1 state
  kEngineGetState,       ///< a0 engine; out: opennrt_dma_engine_state_t
  kQueueInit,            ///< a: engine, queue, tx count, rx count, tx handle, rx handle, rxc handle
  kQueueRelease,         ///< a0 engine, a1 queue
  kQueueStart,           ///< a: engine, queue, tx count, rx count
  kQueueAck,             ///< a: engine, queue, count
  kQueueState,           ///< a0 engine, a1 queue; out: opennrt_queue_state_t of tx, then of rx
  kWriteDescriptors,     ///< a: handle, offset, count, queue type; in: 16 bytes each
  kReadDescriptors,      ///< a: engine, queue, queue type, first, count; out: 16 bytes each
  kQuiesce,              ///< a0 core
  // Registers, semaphores, events, notifications, reset.
  kBarRead = 120,   ///< a0 bar, a1 count; in: u64 offsets; out: u32 values
  kBarWrite,        ///< a0 bar, a1 count; in: u64 offsets, then u32 values
  kSemaphoreRead,   ///< a0 core, a1 index; v0
  kSemaphoreWrite,  ///< a: core, index, value
  kSemaphoreIncrement,
  kSemaphoreDecrement,
  kEventGet,    ///< a0 core, a1 index; v0
  kEventSet,    ///< a: core, index, value
  kNqInit,      ///< a: core, type, engine, bytes, reallocate; v: memory handle, mmap offset, bytes
  kHwCounters,  ///< a0 count; in: u64 addresses; out: u32 values (READ_HW_COUNTERS)
  kResetStart,  ///< a0 core map; v0 request
  kResetWait,   ///< a0 request; v0 result. a1 1: that of the calling process, if it has asked for one (DEVICE_READY)
  // Datastore of counters.
  kDsAcquire = 150,  ///< a0 pid, 0: own; v: mmap offset, bytes
  kDsRelease,        ///< a0 pid, 0: own
  // Paravirtual (backends/neuron/paravirtual.h).
  kWait = 160,  ///< a: core, seen, deadline; out on ETIMEDOUT: the reason, text
  kClock,       ///< a0 core or kClockNow; v0 nanoseconds
  kConsume,     ///< a: core, type, engine, entries
  kMarker,      ///< in: its name
};

struct Request {
  Op op = Op::kMachine;
  std::uint32_t pad = 0;
  std::uint64_t file = 0;  ///< from its name
  std::uint64_t a[8] = {};
  std::uint64_t bytes = 0;   ///< input in the window
  std::uint64_t window = 0;  ///< present size of the window: room for output
};

struct Reply {
  std::int32_t error = 0;
  std::uint32_t pad = 0;
  std::uint64_t v[8] = {};
  std::uint64_t bytes = 0;  ///< output in the window. ENOBUFS: the room that is needed; the client enlarges and repeats
};

/// One process of a device (GET_ALL_APPS_INFO).
struct AppInfo {
  std::int32_t pid = 0;
  std::uint8_t core_lock_map = 0, pad[3] = {};
  std::uint64_t host_bytes = 0, device_bytes = 0;
  std::uint8_t uuid[4][32] = {};  ///< model of each core that it has locked
};

}  // namespace opennrt::emulator
