// SPDX-License-Identifier: Apache-2.0
//
// Handles of the C API. A handle is a number that is never used twice and never an address: a stale or foreign one is
// recognised, not followed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/common/error.h"

namespace opennrt {

enum class HandleKind : std::uintptr_t {
  kModel = 0x1,
  kTensor = 0x2,
  kTensorSet = 0x3,
  kErrorTracker = 0x4,
  kCollective = 0x5,
  kSendRecvComm = 0x6,
  kSendRecvRequest = 0x7,
  kTraceConfig = 0x8,
  kTraceFetchOptions = 0x9,
  kProfileOptions = 0xa,
  kInspectConfig = 0xb
};

/// The live objects of one kind. Thread-safe.
template <typename T>
class HandleTable {
 public:
  HandleTable(HandleKind kind, std::string_view noun) : kind_(kind), noun_(noun) {}

  void* add(std::shared_ptr<T> object) {
    const std::uintptr_t handle =
        (next_.fetch_add(1, std::memory_order_relaxed) << kKindBits) | static_cast<std::uintptr_t>(kind_);
    Shard& shard = shard_of(handle);
    const std::unique_lock lock(shard.mutex);
    shard.objects.emplace(handle, std::move(object));
    return reinterpret_cast<void*>(handle);
  }

  /// nullptr: not a live handle of this kind.
  std::shared_ptr<T> find(const void* handle) const {
    const auto key = reinterpret_cast<std::uintptr_t>(handle);
    const Shard& shard = shard_of(key);
    const std::shared_lock lock(shard.mutex);
    const auto found = shard.objects.find(key);
    return found == shard.objects.end() ? nullptr : found->second;
  }

  /// kInvalidHandle, or kInvalidArgument for NULL.
  Result<std::shared_ptr<T>> get(const void* handle) const {
    if (handle == nullptr) return make_error(ErrorCode::kInvalidArgument, "{} is NULL, expected a handle", noun_);
    std::shared_ptr<T> object = find(handle);
    if (object == nullptr) {
      return make_error(ErrorCode::kInvalidHandle,
                        "{} is {}, which is not a live handle; expected one that has not been freed", noun_,
                        fmt::ptr(handle));
    }
    return object;
  }

  /// Takes the object out; nullptr when there is none.
  std::shared_ptr<T> remove(const void* handle) {
    const auto key = reinterpret_cast<std::uintptr_t>(handle);
    Shard& shard = shard_of(key);
    const std::unique_lock lock(shard.mutex);
    const auto found = shard.objects.find(key);
    if (found == shard.objects.end()) return nullptr;
    std::shared_ptr<T> object = std::move(found->second);
    shard.objects.erase(found);
    return object;
  }

  /// Everything alive now.
  std::vector<std::shared_ptr<T>> all() const {
    std::vector<std::shared_ptr<T>> objects;
    for (const Shard& shard : shards_) {
      const std::shared_lock lock(shard.mutex);
      for (const auto& [handle, object] : shard.objects) objects.push_back(object);
    }
    return objects;
  }

  /// Takes everything out.
  std::vector<std::shared_ptr<T>> take_all() {
    std::vector<std::shared_ptr<T>> objects;
    for (Shard& shard : shards_) {
      const std::unique_lock lock(shard.mutex);
      for (auto& [handle, object] : shard.objects) objects.push_back(std::move(object));
      shard.objects.clear();
    }
    return objects;
  }

 private:
  static constexpr unsigned kKindBits = 4;
  static constexpr std::size_t kShards = 16;
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<std::uintptr_t, std::shared_ptr<T>> objects;
  };
  Shard& shard_of(std::uintptr_t handle) { return shards_[(handle >> kKindBits) % kShards]; }
  const Shard& shard_of(std::uintptr_t handle) const { return shards_[(handle >> kKindBits) % kShards]; }

  HandleKind kind_;
  std::string_view noun_;
  std::atomic<std::uintptr_t> next_{0x1000};  // leaves small numbers, which are never anybody's handle
  std::array<Shard, kShards> shards_;
};

}  // namespace opennrt
