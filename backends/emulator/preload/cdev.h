// SPDX-License-Identifier: Apache-2.0
//
// The driver's ioctl in user space: decodes a request as neuron_cdev.c does, copies from and to the caller's memory,
// and asks the machine. What differs on purpose from driver 2.24.7.0: where that answers a failed copy with the number
// of bytes that are left, and a bad handle of MEM_GET_EXTENDED_INFO with +EINVAL, both of which ioctl(2) hands out as a
// success, the answer here is EFAULT and EINVAL, as of driver 2.29 (Neuron SDK, release-notes/components/runtime.rst).
// And sums that wrap around in 2.24.7.0 (offset + size) are refused.
#pragma once

#include <cstdint>

#include "backends/emulator/preload/client.h"
#include "backends/emulator/preload/copy.h"
#include "backends/emulator/preload/emulated.h"

namespace opennrt::emulator {

/// 0 or more, or a negative errno. Thread-safe, async-signal-safe.
int cdev_ioctl(const OpenedFile& file, std::uint32_t command, std::uint64_t argument);

/// What the machine is; asked for once (it does not change).
struct MachineFacts {
  std::uint32_t devices = 0, cores_per_device = 0, major = 0, minor = 0, compatible_min = 0, compatible_max = 0;
  std::uint32_t architecture = 0;
};

/// One request on its way.
class Call {
 public:
  Call(Session& session, const MachineFacts& machine, const OpenedFile& file, std::uint32_t command,
       std::uint64_t argument)
      : session(session), machine(machine), file(file), command(command), argument(argument) {}

  /// The request's structure from and to the caller. 0 or -EFAULT.
  template <class T>
  int get(T& value) const {
    return copy_from_user(&value, argument, sizeof(T));
  }
  template <class T>
  int put(const T& value) const {
    return copy_to_user(argument, &value, sizeof(T));
  }
  int ask(Op op, std::initializer_list<std::uint64_t> a = {}, std::size_t bytes = 0) const {
    return session.call(op, file.number, a, bytes);
  }
  /// ask() and the beginning of what came back as a T; -EPROTO when it is shorter.
  template <class T>
  int ask_for(T& value, Op op, std::initializer_list<std::uint64_t> a = {}, std::size_t bytes = 0) const {
    if (const int r = ask(op, a, bytes); r != 0) return r;
    if (session.reply().bytes < sizeof(T)) return -EPROTO;
    __builtin_memcpy(&value, session.window(), sizeof(T));
    return 0;
  }
  /// Is the calling process attached to the device? 0 or -EACCES.
  int attached() const { return ask(Op::kCheckAttached); }
  /// Copies the caller's buffer to the start of the window. 0, -EFAULT or -ENOMEM.
  int fill(std::uint64_t from, std::uint64_t bytes) const;
  bool core_exists(std::uint64_t core) const { return core < machine.cores_per_device; }

  Session& session;
  const MachineFacts& machine;
  const OpenedFile& file;
  const std::uint32_t command;
  const std::uint64_t argument;
};

/// The driver's internal errors that reach the caller as they are (include/linux/errno.h).
inline constexpr int kErrorNotSupported = 524;  // ENOTSUPP

/// Largest kmalloc: a request whose arrays are longer gets ENOMEM.
inline constexpr std::uint64_t kLargestArray = 4 << 20;

// One function per request or family of them, by area.

// cdev_memory.cc
int mem_alloc(Call&);
int mem_alloc_v2(Call&);
int mem_free(Call&);
int mem_get_pa(Call&);
int mem_get_info(Call&);
int mem_get_extended_info(Call&);
int mem_mc_get_info(Call&);
int mem_set(Call&);
int dmabuf_fd(Call&);
int resource_mmap_info(Call&);

// cdev_copy.cc
int mem_copy(Call&);
int mem_copy_async(Call&);
int mem_copy_async_wait(Call&);
int mem_buf_copy(Call&);
int mem_buf_zerocopy(Call&);
int program_engine(Call&);
int program_engine_nc(Call&);

// cdev_dma.cc
int dma_eng_init(Call&);
int dma_eng_set_state(Call&);
int dma_eng_get_state(Call&);
int dma_queue_init(Call&);
int dma_queue_init_batch(Call&);
int dma_queue_release(Call&);
int dma_queue_copy_start(Call&);
int dma_ack_completed(Call&);
int dma_queue_get_state(Call&);
int dma_copy_descriptors(Call&);
int dma_descriptor_copyout(Call&);
int dma_quiesce_queues(Call&);

// cdev_core.cc
int semaphore(Call&);
int event(Call&);
int notifications_init_v1(Call&);
int notifications_init_v2(Call&);
int notifications_init_with_realloc(Call&);
int crwl(Call&);
int nc_range_mark(Call&);
int nc_range_unmark(Call&);
int cinit_set_state(Call&);
int nc_model_started_count(Call&);
int nc_pid_state_dump(Call&);
int nc_reset(Call&);
int nc_reset_ready(Call&);
int device_reset(Call&);
int device_ready(Call&);
int device_reset_status(Call&);
int acquire_neuron_ds(Call&);
int release_neuron_ds(Call&);

// cdev_device.cc
int succeeds(Call&);
int fails(Call&);  ///< EPERM: the driver's -1
int compatible_version(Call&);
int device_basic_info(Call&);
int device_info(Call&);
int driver_info(Call&);
int device_bdf(Call&);
int device_bdf_ext(Call&);
int device_app_pid(Call&);
int get_all_apps_info(Call&);
int host_device_id(Call&);
int host_device_id_to_rid_map(Call&);
int bar_read(Call&);
int bar_write(Call&);
int read_hw_counters(Call&);
int post_metric(Call&);
int print(Call&);
int hbm_scrub(Call&);
int logical_to_physical_nc_map(Call&);
int pod_info(Call&);
int pod_status(Call&);
int pod_ctrl(Call&);

// cdev_paravirtual.cc
int paravirtual_hello(Call&);
int paravirtual_wait(Call&);
int paravirtual_clock(Call&);
int paravirtual_consume(Call&);
int paravirtual_mem_stats(Call&);
int paravirtual_quiesce(Call&);
int paravirtual_marker(Call&);

}  // namespace opennrt::emulator
