// SPDX-License-Identifier: Apache-2.0
//
// A provider to record from: two devices with just enough of the driver, whose numbers are as unlike from one instance to
// the next as those of two runs on a machine.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "backends/emulator/preload/provider.h"
#include "backends/neuron/abi.h"

namespace opennrt::emulator::test {

namespace abi = neuron::abi;

inline constexpr char kSerial[] = "SN-0123456789";
inline constexpr char kHostName[] = "ip-10-1-2-3";

class FakeDevices : public Provider {
 public:
  explicit FakeDevices(std::uint64_t salt) : salt_(salt) {}

  int open(int device, int) override {
    if (device > 1) return -ENOENT;
    const int fd = memfd_create("fake-device", 0);
    (void)ftruncate(fd, 4096 + device);  // a mark that dup and fork keep
    return fd;
  }
  int device_of(int fd) override {
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_size >= 4096 && status.st_size <= 4097
               ? static_cast<int>(status.st_size - 4096)
               : -1;
  }
  int ioctl(int, unsigned long request, void* argument) override {
    const std::lock_guard lock(mutex_);
    switch (request) {
      case abi::kMemAllocV2: {
        auto& alloc = *static_cast<abi::MemAllocV2*>(argument);
        const std::uint64_t handle = salt_ * 1000 + ++last_;
        *reinterpret_cast<std::uint64_t*>(alloc.mem_handle) = handle;
        sizes_[handle] = alloc.size;
        return 0;
      }
      case abi::kMemFree:
        return sizes_.erase(static_cast<abi::MemFree*>(argument)->mem_handle) == 1 ? 0 : -EINVAL;
      case abi::kMemGetExtendedInfo: {
        auto& info = *static_cast<abi::MemGetExtendedInfo*>(argument);
        if (!sizes_.contains(info.mem_handle)) return -EINVAL;
        info.host_memory = 1;
        info.pa = info.mmap_offset = salt_ << 32 | info.mem_handle << 20;
        info.pid = static_cast<std::uint64_t>(getpid());
        info.size = sizes_[info.mem_handle];
        return 0;
      }
      case abi::kMemMcGetInfo: {
        auto& info = *static_cast<abi::MemGetMcMmapInfo*>(argument);
        info.mmap_offset = info.pa & ~std::uint64_t{0xfffff};
        info.size = 4096;
        return 0;
      }
      case abi::kMemBufCopy: {
        auto& copy = *static_cast<abi::MemBufCopy*>(argument);
        if (copy.copy_to_mem_handle != 0)
          memory_.assign(reinterpret_cast<const char*>(copy.buffer), copy.size);
        else
          std::memcpy(reinterpret_cast<void*>(copy.buffer), memory_.data(),
                      std::min<std::size_t>(copy.size, memory_.size()));
        return 0;
      }
      case abi::kSemaphoreRead:
        static_cast<abi::Semaphore*>(argument)->value = polls > 0 && polls-- > 0 ? 0 : 7;
        return 0;
      case abi::kCrwlNcRangeMark:
        static_cast<abi::CrwlNcMap*>(argument)->max_nc_available = 2;
        return -EBUSY;
      case abi::kCrwlWriterEnter:
      case abi::kPrintk:
        return 0;
      case abi::kNotificationsInitV1:
        static_cast<abi::NotificationsInitV1*>(argument)->mmap_offset = nq_offset();
        return 0;
      case abi::kDmaQueueCopyStart:
        notify();
        return 0;
      default:
        return -ENOTTY;
    }
  }
  void* mmap(void* address, std::size_t bytes, int protection, int flags, int, off_t offset) override {
    if (static_cast<std::uint64_t>(offset) != nq_offset()) {
      errno = EINVAL;
      return MAP_FAILED;
    }
    void* at = ::mmap(address, bytes, PROT_READ | PROT_WRITE | (protection & 0),
                      (flags & ~MAP_TYPE) | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nq_ = static_cast<std::uint64_t*>(at);
    return at;
  }
  void closing(int) override {}
  std::optional<std::string> file(const std::string& path) override {
    if (path == "/sys/module/neuron/version") return "2.24.7.0\n";
    if (path == "/sys/class/neuron_device/neuron0/info/serial_number") return std::string(kSerial) + "\n";
    if (path == "/sys/class/neuron_device/neuron0/core_count") return "4\n";
    return std::nullopt;
  }
  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    if (path != "/dev") return std::nullopt;
    return std::vector<std::string>{"neuron0", "neuron1"};
  }

  /// The device writes a notification.
  void notify() {
    nq_[2 * entries_] = 0x1111 * (entries_ + 1);
    nq_[2 * entries_ + 1] = 0x8000000000000001;
    ++entries_;
  }

  int polls = 0;  ///< semaphore reads that still give 0

 private:
  std::uint64_t nq_offset() const { return salt_ << 40; }
  std::mutex mutex_;  ///< of requests
  std::uint64_t salt_, last_ = 0, entries_ = 0;
  std::map<std::uint64_t, std::uint64_t> sizes_;
  std::string memory_;
  std::uint64_t* nq_ = nullptr;
};

/// A recorder or a replayer lives as long as its process, as in the preload library.
inline Provider& keep(std::unique_ptr<Provider> provider) {
  static auto* const kept = new std::vector<std::unique_ptr<Provider>>;
  return *kept->emplace_back(std::move(provider));
}

/// What programs do, in one line each.
struct Program {
  Provider& devices;
  int fd = -1;

  std::uint64_t alloc(std::uint64_t bytes) {
    std::uint64_t handle = 0;
    abi::MemAllocV2 alloc{bytes, 0, 1, 0, 0, 0, reinterpret_cast<std::uintptr_t>(&handle)};
    result = devices.ioctl(fd, abi::kMemAllocV2, &alloc);
    return handle;
  }
  void free(std::uint64_t handle) {
    abi::MemFree free{handle};
    result = devices.ioctl(fd, abi::kMemFree, &free);
  }
  abi::MemGetExtendedInfo info(std::uint64_t handle) {
    abi::MemGetExtendedInfo info{handle, 1, 0, 0, 0, 0, 0};
    result = devices.ioctl(fd, abi::kMemGetExtendedInfo, &info);
    return info;
  }
  void copy(std::uint64_t handle, void* buffer, std::uint32_t bytes, bool to_memory) {
    abi::MemBufCopy copy{handle, reinterpret_cast<std::uintptr_t>(buffer), bytes, 0, to_memory ? 1u : 0u, 0};
    result = devices.ioctl(fd, abi::kMemBufCopy, &copy);
  }
  std::uint32_t semaphore(std::uint32_t index) {
    abi::Semaphore semaphore{0, index, 99};
    result = devices.ioctl(fd, abi::kSemaphoreRead, &semaphore);
    return semaphore.value;
  }
  int result = 0;
};

}  // namespace opennrt::emulator::test
