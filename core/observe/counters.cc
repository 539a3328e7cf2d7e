// SPDX-License-Identifier: Apache-2.0
#include "core/observe/counters.h"

#include <atomic>
#include <charconv>
#include <cstring>

namespace opennrt::observe {
namespace {

// aws-neuron-driver share/neuron_driver_shared.h, "NDS stats" and "NDS shared data offsets".
constexpr char kSignature[4] = {'n', 'd', 's', 0};
constexpr std::int32_t kVersion = 1;  // of the format; the driver neither writes nor reads it
constexpr std::size_t kHeaderBytes = sizeof(kSignature) + sizeof(kVersion);
constexpr std::size_t kDeviceCounters = 12 + 18 + 1;  // the last one that is named, and those reserved
constexpr std::size_t kCoreCounters = 31, kMoreCoreCounters = 10 + 54;
constexpr std::size_t kOldCoreCounters = 65, kOldMoreCores = 12, kOldAllCounters = 96;
constexpr std::size_t kWord = sizeof(std::uint64_t);

constexpr std::size_t aligned(std::size_t offset) {
  return (offset + 63) / 64 * 64;
}

constexpr std::size_t kDeviceStart = kHeaderBytes;
constexpr std::size_t kCoreStart = kDeviceStart + kDeviceCounters * kWord;
constexpr std::size_t kMoreStart =
    aligned(44588 + kOldCoreCounters * kCountedCores * kWord + kOldAllCounters * kOldMoreCores * kWord);

static_assert(kHeaderBytes == 8 && kDeviceStart % kWord == 0);
static_assert(kCoreStart == 256);
static_assert(kMoreStart == 55936);
static_assert(kMoreStart + kMoreCoreCounters * kCountedCores * kWord <= kCounterStoreBytes);
static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "other processes read it");

}  // namespace

std::uint64_t packed_version(std::string_view text, std::uint64_t kind) {
  std::uint64_t parts[3] = {};
  const char *from = text.data(), *end = from + text.size();
  for (std::uint64_t& part : parts) {
    const auto [rest, error] = std::from_chars(from, end, part);
    if (error != std::errc{} || rest == end || *rest != '.') break;
    from = rest + 1;
  }
  return packed_version(parts[0], parts[1], parts[2], kind);
}

CounterStore::CounterStore(void* memory, std::size_t bytes)
    : memory_(bytes >= kCounterStoreBytes ? static_cast<std::byte*>(memory) : nullptr) {}

void CounterStore::begin() const {
  if (memory_ == nullptr) return;
  std::memcpy(memory_ + sizeof(kSignature), &kVersion, sizeof(kVersion));
  std::uint64_t header = 0;
  std::memcpy(&header, memory_, sizeof(header));
  std::memcpy(&header, kSignature, sizeof(kSignature));
  std::atomic_ref(*at(0)).store(header, std::memory_order_release);
}

bool CounterStore::begun() const {
  if (memory_ == nullptr) return false;
  const std::uint64_t header = std::atomic_ref(*at(0)).load(std::memory_order_acquire);
  return std::memcmp(&header, kSignature, sizeof(kSignature)) == 0;
}

std::uint64_t* CounterStore::at(std::size_t offset) const {
  return reinterpret_cast<std::uint64_t*>(memory_ + offset);
}

std::uint64_t* CounterStore::at(std::uint32_t core, CoreCounter counter) const {
  const auto number = static_cast<std::size_t>(counter);
  if (memory_ == nullptr || core >= kCountedCores) return nullptr;
  if (number < kCoreCounters) return at(kCoreStart + (core * kCoreCounters + number) * kWord);
  return at(kMoreStart + (core * kMoreCoreCounters + number - kCoreCounters) * kWord);
}

std::uint64_t* CounterStore::at(DeviceCounter counter) const {
  return memory_ == nullptr ? nullptr : at(kDeviceStart + static_cast<std::size_t>(counter) * kWord);
}

std::uint64_t CounterStore::add(std::uint32_t core, CoreCounter counter, std::int64_t amount) const {
  std::uint64_t* word = at(core, counter);
  if (word == nullptr) return 0;
  return std::atomic_ref(*word).fetch_add(static_cast<std::uint64_t>(amount), std::memory_order_relaxed);
}

std::uint64_t CounterStore::add(DeviceCounter counter, std::int64_t amount) const {
  std::uint64_t* word = at(counter);
  if (word == nullptr) return 0;
  return std::atomic_ref(*word).fetch_add(static_cast<std::uint64_t>(amount), std::memory_order_relaxed);
}

void CounterStore::set(DeviceCounter counter, std::uint64_t value) const {
  if (std::uint64_t* word = at(counter); word != nullptr)
    std::atomic_ref(*word).store(value, std::memory_order_relaxed);
}

std::uint64_t CounterStore::get(std::uint32_t core, CoreCounter counter) const {
  std::uint64_t* word = at(core, counter);
  return word == nullptr ? 0 : std::atomic_ref(*word).load(std::memory_order_relaxed);
}

std::uint64_t CounterStore::get(DeviceCounter counter) const {
  std::uint64_t* word = at(counter);
  return word == nullptr ? 0 : std::atomic_ref(*word).load(std::memory_order_relaxed);
}

void CounterStore::add_time(std::uint32_t core, std::uint64_t nanoseconds) const {
  const std::uint64_t before = add(core, CoreCounter::kCoreTime, static_cast<std::int64_t>(nanoseconds));
  // Nothing is lost to rounding, whoever adds in between.
  add(core, CoreCounter::kTimeInUse, static_cast<std::int64_t>((before + nanoseconds) / 1000 - before / 1000));
}

}  // namespace opennrt::observe
