// SPDX-License-Identifier: Apache-2.0
//
// What all devices of one backend share: the machine, the host memory that its chips may reach, and who may go next.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/sim/admission.h"
#include "backends/sim/log.h"
#include "simulator/machine.h"

namespace opennrt::driver {

/// Which host addresses belong to a live allocation: what the kernel driver's ndma_validate_pa asks before it lets a
/// descriptor into a ring (aws-neuron-driver v1/neuron_dhal_v1.c, neuron_dma.c). Thread-safe.
class HostIndex {
 public:
  void add(std::uint64_t bus_address, std::uint64_t bytes);
  void remove(std::uint64_t bus_address);
  bool contains(std::uint64_t bus_address, std::uint64_t bytes) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

/// Where the driver takes host memory from. Thread-safe.
class HostMemory {
 public:
  virtual ~HostMemory() = default;
  /// Zeroed, page-aligned; `bytes` is a multiple of the page size. Null: there is none left.
  virtual std::byte* allocate(std::uint64_t bytes) = 0;
  virtual void release(std::byte* data, std::uint64_t bytes) = 0;
  /// Zeros all of what was allocated, for everybody who maps it, by giving its pages back to the system.
  virtual void clear(std::byte* data, std::uint64_t bytes) = 0;

  /// Private pages of this process.
  static HostMemory& of_process();
};

struct Platform {
  Log log;
  std::unique_ptr<sim::Machine> machine;
  HostIndex host_index;
  Admission admission;
  HostMemory& host_memory;

  Platform(const opennrt_host_t* host, std::unique_ptr<sim::Machine> powered, bool deterministic,
           HostMemory& memory = HostMemory::of_process())
      : log(host), machine(std::move(powered)), admission(*machine, deterministic, log), host_memory(memory) {}

  /// Runs until `condition`, until `deadline_ns`, or until nothing can happen any more. The machine moves time to the
  /// end of a
  /// run that went idle; it is run in slices so that one core's hang does not push the clock past its neighbours'
  /// deadlines.
  /// `cancelled`: looked at between slices; then what was reached so far is a deadline.
  sim::Ran run(const std::function<bool()>& condition, std::uint64_t deadline_ns,
               const std::atomic<bool>* cancelled = nullptr) const;
};

/// Zeroed pages of host memory that every chip reaches by DMA, for as long as the object lives. The platform must
/// outlive it.
class HostPages {
 public:
  /// Null: the system has no memory left.
  static std::unique_ptr<HostPages> allocate(Platform& platform, std::uint64_t bytes);
  ~HostPages();
  HostPages(const HostPages&) = delete;
  HostPages& operator=(const HostPages&) = delete;

  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t device_address() const;  ///< as a descriptor takes it
  void clear() { platform_.host_memory.clear(data_, bytes_); }

 private:
  HostPages(Platform& platform, std::byte* data, std::uint64_t bytes, std::uint64_t bus_address);
  Platform& platform_;
  std::byte* data_;
  std::uint64_t bytes_, bus_address_;
};

/// A buffer of the caller, reachable by DMA while the object lives (the driver's zero-copy path, neuron_dma.c).
class PinnedBuffer {
 public:
  PinnedBuffer(Platform& platform, void* buffer, std::uint64_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  std::uint64_t device_address() const;
  bool valid() const { return bus_address_ != 0; }  ///< false: the bus has no addresses left

 private:
  Platform& platform_;
  std::uint64_t bus_address_;
};

}  // namespace opennrt::driver
