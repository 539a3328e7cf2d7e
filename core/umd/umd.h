// SPDX-License-Identifier: Apache-2.0
//
// The user-mode driver: what core/runtime sees of devices. Everything below goes through opennrt/backend.h only.
#pragma once

#include <opennrt/backend.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/common/error.h"
#include "core/isa/inf1.h"
#include "core/neff/neff.h"
#include "core/observe/counters.h"
#include "core/observe/profile.h"

namespace opennrt::umd {

/// A backend plug-in, loaded by name ("sim": libopennrt_backend_sim.so in `backend_dir`) or by path. Stays loaded for the life of
/// the process (SystemC's kernel is one per process); closed when the last user lets go. Thread-safe.
class Backend : public std::enable_shared_from_this<Backend> {
 public:
  /// `decorator`: a plug-in (decorator.h), by name or by path, that stands before it; empty: none, and nothing is loaded for it.
  static Result<std::shared_ptr<Backend>> open(const std::string& name_or_path, const std::string& backend_dir,
                                               const opennrt_host_t& host, const std::string& decorator = {});
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const opennrt_backend_api_t& api() const { return *api_; }
  opennrt_backend_t* handle() const { return handle_; }
  std::string_view name() const { return api_->name; }
  /// The program has passed a marker of a fault plan: tells a decorator, if one was ever loaded (true), open or not. Thread-safe.
  static bool tell_decorator(const char* name);
  /// The same for the backend, if it wants to know. Thread-safe.
  void pass_marker(const char* name) const;

  /// What the backend last logged as an error from within a call of the calling thread, since the thread asked; then forgets it.
  static std::string take_error_text();

 private:
  Backend() = default;
  opennrt_backend_api_t table_{};  ///< a copy: functions that an older backend does not have are NULL
  const opennrt_backend_api_t* api_ = &table_;
  opennrt_host_t outer_{}, inner_{};  ///< the caller's, and ours around it, which keeps error texts
  opennrt_backend_t* handle_ = nullptr;
};

class Device;
class CoreContext;

/// Device DRAM, or host memory that the device reaches by DMA. Freed with the last owner; keeps its device open. Thread-safe
/// (concurrent writes to the same bytes are the caller's to order).
class Memory {
 public:
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::uint64_t device_address() const { return address_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t core() const { return core_; }
  Device& device() const { return *device_; }
  opennrt_mem_t handle() const { return handle_; }
  /// Host memory: its mapping in this process; device memory: nullptr.
  std::byte* host() const { return host_; }
  /// Bounds are checked: an access that does not fit is kInvalidArgument and nothing moves.
  Status write(std::uint64_t offset, std::span<const std::byte> data);
  Status read(std::uint64_t offset, std::span<std::byte> data) const;
  Status set(std::uint64_t offset, int value, std::uint64_t bytes);

 private:
  friend class Device;
  Memory() = default;
  std::shared_ptr<Device> device_;
  opennrt_mem_t handle_ = 0;
  std::uint64_t address_ = 0, bytes_ = 0;
  std::uint32_t core_ = 0;
  opennrt_mem_category_t category_{};  ///< as which it is counted
  std::byte* host_ = nullptr;
};

/// One opened device. Thread-safe.
class Device : public std::enable_shared_from_this<Device> {
 public:
  static Result<std::shared_ptr<Device>> open(std::shared_ptr<Backend> backend, std::uint32_t number);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const opennrt_device_info_t& info() const { return info_; }
  std::uint32_t number() const { return number_; }
  const opennrt_backend_api_t& api() const { return backend_->api(); }
  opennrt_device_t* handle() const { return handle_; }

  /// kResource with the amounts (asked, free, capacity) when it does not fit.
  Result<std::shared_ptr<Memory>> allocate_device(std::uint64_t bytes, std::uint32_t core,
                                                  opennrt_mem_category_t category, std::uint64_t alignment = 64);
  Result<std::shared_ptr<Memory>> allocate_host(std::uint64_t bytes, std::uint32_t core,
                                                opennrt_mem_category_t category);
  Status copy(const Memory& from, std::uint64_t from_offset, Memory& to, std::uint64_t to_offset, std::uint64_t bytes);
  /// The backend's clock; 0 when it has none. Nanoseconds.
  std::uint64_t clock_ns() const;
  /// What programs on one core share (notification queues, their order); made when first asked for, lives as long as the device.
  Result<CoreContext*> core_context(std::uint32_t core);

  /// What happens on this device from now on is counted where other processes see it, if the backend has such a place. To be
  /// called before anything else uses the device; more than once is fine.
  void start_counting();
  const observe::CounterStore& counters() const { return counters_; }

 private:
  /// Owns what mem_alloc handed out.
  Result<std::shared_ptr<Memory>> adopt(opennrt_mem_t handle, std::uint64_t bytes, std::uint32_t core,
                                        opennrt_mem_category_t category);
  Device();
  std::shared_ptr<Backend> backend_;
  opennrt_device_t* handle_ = nullptr;
  opennrt_device_info_t info_{};
  std::uint32_t number_ = 0;
  observe::CounterStore counters_;
  void* counters_address_ = nullptr;
  std::mutex mutex_;  ///< of contexts_
  std::array<std::unique_ptr<CoreContext>, inf1::kCoresPerDevice> contexts_;
};

/// How an inference ended. core/runtime/outcome.h maps it to NRT_STATUS.
enum class Outcome {
  kCompleted,
  kCompletedWithNumericalError,  ///< a NaN was produced; outputs are there
  kCompletedWithError,           ///< semaphore or event errors
  kIllegalInstruction,
  kOutOfBounds,
  kTimeout,
  kSramUncorrectable,
  kDramUncorrectable,
  kDmaAbort,
  kNotificationOverflow,
  kUnrecoverable,  ///< the core could not be brought back; needs a reset of the runtime
};

struct ExecutionReport {
  Outcome outcome = Outcome::kCompleted;
  std::string message;          ///< for the log when not kCompleted: engine, instruction, queue, semaphore
  std::uint64_t device_ns = 0;  ///< device clock from the first doorbell to the last end notification
};

/// What a tensor of the model is bound to in one inference: memory of the same device, or a buffer of this process.
struct Binding {
  std::string_view name;
  std::shared_ptr<Memory> memory;  ///< with memory_offset; or
  std::uint64_t memory_offset = 0;
  std::span<std::byte> host;  ///< a buffer of the process (never written for inputs)
};

/// How an inference is to run.
struct Run {
  std::uint64_t timeout_ns = 0;
  std::uint64_t spent_ns = 0;  ///< of the timeout, by earlier steps of the same inference
  /// Called after a complete inference (outputs are there), before the next one can get on the core: what it reads with
  /// Program::read_variable is of this inference. May be empty.
  std::function<void()> completed;
  /// What the inference is part of, for traces and profiles; nullptr: nobody will ask. Alive until the end.
  const observe::profile::ProgramId* id = nullptr;
};

/// Constants in device memory by what is in them, for programs that may share them (NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS).
/// Keeps nothing alive: the memory goes with the last program that has it. Thread-safe.
class SharedConstants {
 public:
  /// Memory of `device` with `image` in it: one that is there already, or a new one, accounted to `core`.
  Result<std::shared_ptr<Memory>> get(Device& device, std::uint32_t core, std::span<const std::byte> image,
                                      std::uint64_t alignment);

 private:
  using Digest = std::array<std::byte, 32>;
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, Digest>;  ///< device, bytes, alignment, SHA-256
  std::mutex mutex_;
  std::map<Key, std::weak_ptr<Memory>> known_;
};

/// One subgraph loaded on one core: constants and instructions in DRAM, DMA rings built. execute() may be called from any
/// thread; inferences on the same core run one after another, in the order in which they got in.
class Program {
 public:
  /// `core`: the device's own number. On failure everything allocated is freed again.
  /// `shared`: where its constants are looked for first; nullptr: it has a copy of its own.
  static Result<std::unique_ptr<Program>> load(std::shared_ptr<Device> device, std::uint32_t core,
                                               const neff::Subgraph& subgraph, SharedConstants* shared = nullptr);
  virtual ~Program() = default;
  /// Bindings cover every input and output of the subgraph, once, with at least their size (the runtime has checked). An Error
  /// is a failure to get it started (driver, bindings); how it ran is in the report.
  virtual Result<ExecutionReport> execute(std::span<const Binding> inputs, std::span<const Binding> outputs,
                                          const Run& run) = 0;
  Result<ExecutionReport> execute(std::span<const Binding> inputs, std::span<const Binding> outputs,
                                  std::uint64_t timeout_ns) {
    return execute(inputs, outputs, Run{timeout_ns, 0, {}});
  }
  /// The front of a tmp-buf or output variable, as the inference left it that is calling Run::completed: only from there.
  /// kInvalidArgument: there is no such variable, or it is smaller.
  virtual Status read_variable(std::string_view name, std::span<std::byte> to) = 0;
  virtual std::uint32_t core() const = 0;
  virtual const std::shared_ptr<Device>& device() const = 0;
  /// Device memory this program holds, in bytes, by kind.
  struct MemoryUse {
    std::uint64_t code = 0, constants = 0, scratchpad = 0, rings = 0;
  };
  virtual MemoryUse memory_use() const = 0;
};

}  // namespace opennrt::umd
