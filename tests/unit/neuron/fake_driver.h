// SPDX-License-Identifier: Apache-2.0
//
// A Neuron driver behind the backend's seam, of whatever release: requests that are not in `knows` are answered as the real
// driver answers unknown ones.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/neuron/abi.h"
#include "backends/neuron/backend.h"
#include "backends/neuron/paravirtual.h"

namespace opennrt::neuron::test {

/// Requests that not all releases have.
inline std::set<unsigned long> newer_requests() {
  return {abi::kDriverInfoGet,
          abi::kMemAllocV2,
          abi::kMemAllocV2Mt,
          abi::kMemAllocV2Mt64,
          abi::kMemCopy64,
          abi::kMemBufCopy64,
          abi::kMemset64,
          abi::kDmaCopyDescriptors64,
          abi::kDmaQueueInitBatch,
          abi::kCrwlNcRangeMarkExt0,
          abi::kCrwlNcRangeUnmarkExt0,
          abi::kNotificationsInitWithReallocV2,
          abi::kDeviceBdfExt,
          abi::kHostDeviceId,
          abi::kNcReset};
}

/// Requests that a file opened for writing only serves (neuron_cdev.c, ncdev_misc_ioctl), and the emulator's.
inline std::set<unsigned long> free_requests() {
  return {abi::kCrwlNcRangeMark,       abi::kCrwlNcRangeMarkExt0, abi::kCrwlNcRangeUnmark,
          abi::kCrwlNcRangeUnmarkExt0, abi::kCompatibleVersion,   abi::kDeviceBasicInfo,
          abi::kDeviceBdfExt,          abi::kDriverInfoGet,       paravirtual::kHello};
}

class FakeDriver : public Syscalls {
 public:
  struct Memory {
    std::vector<std::byte> bytes;
    bool host = false;
    std::uint64_t address = 0;
    std::uint32_t category = 0;
  };
  struct Lock {
    std::int32_t pid = 0;
    abi::Uuid uuid{};
    unsigned readers = 0;
    bool writer = false;
  };
  struct Opened {
    std::string path;
    int flags = 0;
  };

  // ---- what a test sets ----
  std::map<std::string, std::string> files = {{kVersionFile, "2.24.7.0\n"}};
  std::vector<std::string> nodes = {"neuron0", "neuron1"};
  std::map<std::string, int> open_errors;
  bool open_errors_for_control = true;  ///< a file for requests that need no device fails, too
  NodeAccess node_access{0660, "root", "neuron", 1000};
  std::uint64_t fault_plan = 0;  ///< of an emulated machine
  std::uint32_t architecture = 1, compatible_min = 2, compatible_max = 7;
  std::uint64_t feature_flags =
      abi::kFeatureBatchQueueInit | abi::kFeatureBigCoreMaps | abi::kFeatureMemAllocType | abi::kFeatureMemAlloc64;
  std::set<unsigned long> knows = newer_requests();
  std::uint32_t host_shift = 0;                       ///< host's number of a device minus ours
  std::map<std::string, std::uint32_t> host_numbers;  ///< by path, where it is another
  int interruptions = 0;                              ///< EINTR so often before each request
  std::int32_t reset_result = 0;
  bool quiesces = false;
  bool emulated = false;
  std::vector<abi::AppInfo> others;

  // ---- what it has ----
  std::vector<unsigned long> requests;
  std::map<int, Opened> opened;
  std::vector<std::string> attached;  ///< devices that this process was attached to, in order, with repetitions
  std::map<std::uint64_t, Memory> memories;
  std::map<std::uint32_t, std::int32_t> marks;  ///< pid by core of the machine
  std::map<std::pair<std::string, std::uint32_t>, Lock> locks;
  std::map<std::uint64_t, std::uint32_t> registers;  ///< of BAR 0
  std::map<std::uint64_t, std::uint64_t> queues;     ///< memory by core << 8 | type << 4 | engine
  std::vector<std::uint32_t> batches;
  std::vector<std::pair<std::uint64_t, std::size_t>> mapped;
  std::uint64_t now = 1000;
  std::function<void()> while_polling;
  paravirtual::Wait last_wait{};
  std::string wait_text;

  bool asked(unsigned long request) const {
    return std::find(requests.begin(), requests.end(), request) != requests.end();
  }
  /// Writes a notification as the device does.
  void notify(std::uint64_t memory, std::uint64_t slot, std::uint8_t phase = 1) {
    memories.at(memory).bytes[slot * sizeof(inf1::chosen::Notification)] = static_cast<std::byte>(phase);
  }

  int open(const std::string& path, int flags) override {
    if (const auto found = open_errors.find(path); found != open_errors.end()) {
      if (open_errors_for_control || (flags & O_ACCMODE) != O_WRONLY) return -found->second;
    }
    const std::string name = path.substr(path.rfind('/') + 1);
    if (std::find(nodes.begin(), nodes.end(), name) == nodes.end()) return -ENOENT;
    opened[next_fd_] = {path, flags};
    if ((flags & O_ACCMODE) != O_WRONLY) attached.push_back(path);
    return next_fd_++;
  }
  void close(int fd) override {
    // ncdev_misc_flush: whoever closes a file for requests that need no device loses all its cores.
    if ((opened.at(fd).flags & O_ACCMODE) == O_WRONLY)
      std::erase_if(marks, [](const auto& mark) { return mark.second == ::getpid(); });
    opened.erase(fd);
  }
  int mmap(int, std::uint64_t offset, std::size_t bytes, bool, void*& address) override {
    for (auto& [handle, memory] : memories) {
      if (memory.address != offset || !memory.host) continue;
      if (memory.bytes.size() != bytes || bytes % 4096 != 0) return -EINVAL;
      address = memory.bytes.data();
      mapped.emplace_back(reinterpret_cast<std::uintptr_t>(address), bytes);
      return 0;
    }
    return -EINVAL;
  }
  void munmap(void* address, std::size_t bytes) override {
    std::erase(mapped, std::pair{std::uint64_t{reinterpret_cast<std::uintptr_t>(address)}, bytes});
  }
  std::optional<std::string> read_file(const std::string& path) override {
    const auto found = files.find(path);
    return found == files.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::string> list(const std::string& folder) override {
    return folder == "/dev" ? nodes : std::vector<std::string>{};
  }
  std::optional<NodeAccess> access(const std::string&) override { return node_access; }
  std::optional<std::uint32_t> minor_number(const std::string& path) override { return host_number({path, 0}); }
  std::uint64_t now_ns() override { return now += 10; }
  void sleep(std::uint64_t nanoseconds) override {
    now += nanoseconds;
    if (while_polling) while_polling();
  }
  int ioctl(int fd, unsigned long request, void* argument) override {
    if (interrupted_++ < interruptions) return -EINTR;
    interrupted_ = 0;
    requests.push_back(request);
    if (newer_requests().contains(request) && !knows.contains(request)) return -EINVAL;
    const Opened& file = opened.at(fd);
    if ((file.flags & O_ACCMODE) == O_WRONLY && !free_requests().contains(request)) return -EINVAL;
    return answer(file, request, argument);
  }

 private:
  int answer(const Opened& file, unsigned long request, void* argument);
  int allocate(std::uint64_t size, bool host, std::uint32_t category, std::uint64_t pointer);
  int lock(const Opened& file, unsigned long request, const abi::Crwl& crwl);
  int range(unsigned long request, void* argument);
  int queue(std::uint32_t core, std::uint32_t type, std::uint32_t engine, std::uint32_t bytes, bool anew,
            std::uint64_t& offset, std::uint64_t& handle);
  std::uint32_t host_number(const Opened& file) const;

  int next_fd_ = 100, interrupted_ = 0;
  std::uint64_t next_handle_ = 1, next_address_ = 0x10000;
  std::uint32_t pending_resets_ = 0;
};

/// A host whose log is kept.
class FakeHost {
 public:
  FakeHost() { host_ = {sizeof(opennrt_host_t), this, &log, nullptr, &config, "/"}; }
  const opennrt_host_t* get() const { return &host_; }
  std::string errors;
  std::map<std::string, std::string> variables;

 private:
  static void log(void* context, opennrt_log_level_t level, const char*, const char* text) {
    if (level == OPENNRT_LOG_ERROR) static_cast<FakeHost*>(context)->errors += std::string(text) + "\n";
  }
  static const char* config(void* context, const char* name) {
    const auto& variables = static_cast<FakeHost*>(context)->variables;
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  }
  opennrt_host_t host_{};
};

}  // namespace opennrt::neuron::test
