// SPDX-License-Identifier: Apache-2.0
#include "backends/sim/platform.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/isa/inf1.h"

namespace opennrt::driver {
namespace {
/// Long against an inference's notifications, short against any timeout.
constexpr std::uint64_t kSliceNs = 10'000'000;

class PrivatePages : public HostMemory {
 public:
  std::byte* allocate(std::uint64_t bytes) override {
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
  }
  void release(std::byte* data, std::uint64_t bytes) override { ::munmap(data, bytes); }
  void clear(std::byte* data, std::uint64_t bytes) override {
    if (::madvise(data, bytes, MADV_DONTNEED) != 0) std::memset(data, 0, bytes);  // locked pages stay
  }
};
}  // namespace

HostMemory& HostMemory::of_process() {
  static PrivatePages pages;
  return pages;
}

void HostIndex::add(std::uint64_t bus_address, std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  ranges_.insert_or_assign(bus_address, bytes);
}

void HostIndex::remove(std::uint64_t bus_address) {
  const std::lock_guard guard(mutex_);
  ranges_.erase(bus_address);
}

bool HostIndex::contains(std::uint64_t bus_address, std::uint64_t bytes) const {
  const std::lock_guard guard(mutex_);
  auto it = ranges_.upper_bound(bus_address);
  if (it == ranges_.begin()) return false;
  --it;
  const std::uint64_t offset = bus_address - it->first;
  return offset < it->second && bytes <= it->second - offset;
}

sim::Ran Platform::run(const std::function<bool()>& condition, std::uint64_t deadline_ns,
                       const std::atomic<bool>* cancelled) const {
  for (;;) {
    const std::uint64_t now = machine->now_ns();
    const std::uint64_t until = deadline_ns > now && deadline_ns - now > kSliceNs ? now + kSliceNs : deadline_ns;
    const sim::Ran ran = machine->run_until(condition, until);
    if (ran != sim::Ran::kDeadline || until == deadline_ns) return ran;
    if (cancelled != nullptr && *cancelled) return ran;
  }
}

std::unique_ptr<HostPages> HostPages::allocate(Platform& platform, std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (bytes == 0 || bytes > UINT64_MAX - page) return nullptr;
  const std::uint64_t size = (bytes + page - 1) / page * page;
  std::byte* data = platform.host_memory.allocate(size);
  if (data == nullptr) return nullptr;
  const std::uint64_t bus_address = platform.machine->host_register(data, size);
  if (bus_address == 0) {  // no bus addresses left
    platform.host_memory.release(data, size);
    return nullptr;
  }
  return std::unique_ptr<HostPages>(new HostPages(platform, data, size, bus_address));
}

HostPages::HostPages(Platform& platform, std::byte* data, std::uint64_t bytes, std::uint64_t bus_address)
    : platform_(platform), data_(data), bytes_(bytes), bus_address_(bus_address) {
  platform_.host_index.add(bus_address_, bytes_);
}

HostPages::~HostPages() {
  platform_.host_index.remove(bus_address_);
  platform_.machine->host_unregister(bus_address_);
  platform_.host_memory.release(data_, bytes_);
}

std::uint64_t HostPages::device_address() const {
  return inf1::kHostBase | bus_address_;
}

PinnedBuffer::PinnedBuffer(Platform& platform, void* buffer, std::uint64_t bytes)
    : platform_(platform), bus_address_(platform.machine->host_register(buffer, bytes)) {}

PinnedBuffer::~PinnedBuffer() {
  if (bus_address_ != 0) platform_.machine->host_unregister(bus_address_);
}

std::uint64_t PinnedBuffer::device_address() const {
  return inf1::kHostBase | bus_address_;
}

}  // namespace opennrt::driver
