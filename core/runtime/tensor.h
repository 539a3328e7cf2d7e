// SPDX-License-Identifier: Apache-2.0
//
// Tensors: a range of storage that is device memory, host memory of the device, or memory of this process.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/common/error.h"
#include "core/runtime/machine.h"
#include "core/umd/umd.h"

namespace opennrt {

/// Bytes with an owner. Shared by a tensor and its slices. Thread-safe but for concurrent access to the same bytes.
class Storage {
 public:
  enum class Kind { kDevice, kHost, kVirtual, kAttached };

  /// `vnc` is what copies between device tensors compare. kResource when there is not that much.
  static Result<std::shared_ptr<Storage>> allocate_device(const Core& core, int vnc, std::uint64_t bytes);
  static Result<std::shared_ptr<Storage>> allocate_host(const Core& core, int vnc, std::uint64_t bytes);
  static Result<std::shared_ptr<Storage>> allocate_virtual(int vnc, std::uint64_t bytes);
  static std::shared_ptr<Storage> attach(void* buffer, std::uint64_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Kind kind() const { return kind_; }
  int vnc() const { return vnc_; }
  std::uint64_t bytes() const { return bytes_; }
  /// Device memory; nullptr for other kinds and after release().
  std::shared_ptr<umd::Memory> device_memory() const;
  /// All bytes as this process addresses them; empty for device memory and after release().
  std::span<std::byte> host() const;
  /// Gives back what belongs to a device: the runtime closes. Other storage stays.
  void release();

 private:
  Storage(Kind kind, int vnc, std::uint64_t bytes) : kind_(kind), vnc_(vnc), bytes_(bytes) {}
  const Kind kind_;
  const int vnc_;
  const std::uint64_t bytes_;
  mutable std::mutex mutex_;
  std::shared_ptr<umd::Memory> memory_;  ///< kDevice, kHost
  std::byte* host_ = nullptr;            ///< kVirtual (owned), kAttached
};

/// What a tensor refers to at one moment; keeps it alive.
struct TensorView {
  std::shared_ptr<Storage> storage;  ///< nullptr: empty tensor
  std::uint64_t offset = 0, size = 0;
};

class Tensor {
 public:
  explicit Tensor(std::string name, TensorView view = {}) : name_(std::move(name)), view_(std::move(view)) {}

  const std::string& name() const { return name_; }  ///< for messages; may be empty
  TensorView view() const;
  void attach(void* buffer, std::uint64_t bytes);

  /// kInvalidArgument: out of range, NULL buffer, no storage; then nothing has moved.
  Status check_access(std::uint64_t offset, const void* buffer, std::uint64_t size, const char* what) const;
  Status read(void* buffer, std::uint64_t offset, std::uint64_t size) const;
  Status write(const void* buffer, std::uint64_t offset, std::uint64_t size);
  Status set(std::uint64_t offset, int value, std::uint64_t size);
  /// What copy() would refuse.
  static Status check_copy(const Tensor& from, std::uint64_t from_offset, const Tensor& to, std::uint64_t to_offset,
                           std::uint64_t size);
  static Status copy(const Tensor& from, std::uint64_t from_offset, Tensor& to, std::uint64_t to_offset,
                     std::uint64_t size);

  /// Counts of executions that wrote this tensor.
  void complete();
  void reset_completions();
  /// Waits at most `limit` for the count; whether it was reached.
  bool wait_completions(std::uint64_t expected, std::chrono::microseconds limit) const;

  /// Tells the system trace that the call is about this tensor.
  void trace_subject(const TensorView& view, std::uint64_t bytes) const;

 private:
  Result<TensorView> checked(std::uint64_t offset, const void* buffer, std::uint64_t size, const char* what) const;
  static Result<std::pair<TensorView, TensorView>> checked_copy(const Tensor& from, std::uint64_t from_offset,
                                                                const Tensor& to, std::uint64_t to_offset,
                                                                std::uint64_t size);
  const std::string name_;
  mutable std::mutex mutex_;
  mutable std::condition_variable completed_;
  TensorView view_;
  std::uint64_t completions_ = 0;
};

/// Tensors by name. Does not own them. Thread-safe.
class TensorSet {
 public:
  struct Entry {
    void* handle = nullptr;
    std::weak_ptr<Tensor> tensor;
  };
  void put(std::string name, void* handle, const std::shared_ptr<Tensor>& tensor);
  /// nullptr handle: there is none of that name.
  Entry find(const std::string& name) const;
  std::string names() const;  ///< for messages

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace opennrt
