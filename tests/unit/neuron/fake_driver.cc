// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/neuron/fake_driver.h"

namespace opennrt::neuron::test {
namespace {

template <typename T>
T& as(void* argument) {
  return *static_cast<T*>(argument);
}

constexpr std::uint64_t kBar0 = 0xffff'8000'1000'0000, kBar2 = 0xffff'8000'2000'0000;  // where a kernel has mapped them

}  // namespace

std::uint32_t FakeDriver::host_number(const Opened& file) const {
  if (const auto found = host_numbers.find(file.path); found != host_numbers.end()) return found->second;
  return static_cast<std::uint32_t>(std::stoul(file.path.substr(file.path.find_first_of("0123456789")))) + host_shift;
}

int FakeDriver::allocate(std::uint64_t size, bool host, std::uint32_t category, std::uint64_t pointer) {
  const std::uint64_t handle = next_handle_++;
  memories[handle] = {std::vector<std::byte>(size), host, next_address_, category};
  next_address_ += (size + 0xffff) / 0x10000 * 0x10000;
  std::memcpy(reinterpret_cast<void*>(pointer), &handle, sizeof(handle));
  return 0;
}

int FakeDriver::lock(const Opened& file, unsigned long request, const abi::Crwl& crwl) {
  Lock& held = locks[{file.path, crwl.nc_id}];
  const bool same = held.pid == ::getpid() && std::memcmp(&held.uuid, &crwl.uuid, sizeof(crwl.uuid)) == 0;
  switch (request) {
    case abi::kCrwlReaderEnter:
      if (!same) return -ENOENT;
      ++held.readers;
      return 0;
    case abi::kCrwlReaderExit:
      if (!same) return -ENOENT;
      if (held.readers == 0) return -EINVAL;
      --held.readers;
      return 0;
    case abi::kCrwlWriterEnter:
      if (held.writer || held.readers != 0) return -EBUSY;
      held.writer = true;
      if (same) return -EALREADY;
      held.pid = ::getpid();
      held.uuid = crwl.uuid;
      return 0;
    default:
      if (!held.writer) return -EINVAL;
      if (!same) return -ENOENT;
      held.writer = false;
      held.readers = 1;
      return 0;
  }
}

int FakeDriver::range(unsigned long request, void* argument) {
  const bool big = request == abi::kCrwlNcRangeMarkExt0 || request == abi::kCrwlNcRangeUnmarkExt0;
  abi::CrwlNcMapExt map{};
  std::memcpy(&map, argument, big ? sizeof(abi::CrwlNcMapExt) : sizeof(abi::CrwlNcMap));
  int error = 0;
  if (request == abi::kCrwlNcRangeUnmark || request == abi::kCrwlNcRangeUnmarkExt0) {
    std::erase_if(marks, [&](const auto& mark) {
      return (map.bitmap[mark.first / 64] >> mark.first % 64 & 1) != 0 && mark.second == ::getpid();
    });
    return 0;
  }
  error = -EBUSY;
  map.max_nc_available = 0;
  std::uint32_t run = 0;
  for (std::uint32_t core = map.start_nc_index; core <= map.end_nc_index && error != 0; ++core) {
    run = marks.contains(core) ? 0 : run + 1;
    map.max_nc_available = std::max(map.max_nc_available, run);
    if (run != map.nc_count) continue;
    for (std::uint32_t taken = core + 1 - run; taken <= core; ++taken) {
      marks[taken] = ::getpid();
      map.bitmap[taken / 64] |= std::uint64_t{1} << taken % 64;
    }
    error = 0;
  }
  std::memcpy(argument, &map, big ? sizeof(abi::CrwlNcMapExt) : sizeof(abi::CrwlNcMap));
  return error;
}

int FakeDriver::queue(std::uint32_t core, std::uint32_t type, std::uint32_t engine, std::uint32_t bytes, bool anew,
                      std::uint64_t& offset, std::uint64_t& handle) {
  std::uint64_t& there = queues[core << 8 | type << 4 | engine];
  if (there == 0 || anew) {
    memories.erase(there);
    allocate(bytes, true, 6, reinterpret_cast<std::uintptr_t>(&there));
  }
  handle = there;
  offset = memories.at(there).address;
  return 0;
}

int FakeDriver::answer(const Opened& file, unsigned long request, void* argument) {
  const auto copy = [&](const auto& form) {
    const auto found = memories.find(form.mem_handle);
    if (found == memories.end() || form.offset + form.size > found->second.bytes.size()) return -EINVAL;
    std::byte* const at = found->second.bytes.data() + form.offset;
    if (form.copy_to_mem_handle != 0)
      std::memcpy(at, reinterpret_cast<void*>(form.buffer), form.size);
    else
      std::memcpy(reinterpret_cast<void*>(form.buffer), at, form.size);
    return 0;
  };
  const auto move = [&](const auto& form) {
    const auto from = memories.find(form.src_mem_handle), to = memories.find(form.dst_mem_handle);
    if (from == memories.end() || to == memories.end()) return -EINVAL;
    std::memmove(to->second.bytes.data() + form.dst_offset, from->second.bytes.data() + form.src_offset, form.size);
    return 0;
  };
  const auto set = [&](const auto& form) {
    const auto found = memories.find(form.mem_handle);
    if (found == memories.end()) return -EINVAL;
    std::memset(found->second.bytes.data() + form.offset, static_cast<int>(form.value), form.size);
    return 0;
  };
  switch (request) {
    case paravirtual::kHello: {
      if (!emulated) return -EINVAL;
      auto& hello = as<paravirtual::Hello>(argument);
      hello = {paravirtual::kVersion, 1, 80 * 1024, 16 * 1024, "inf1.2xlarge", fault_plan};
      return 0;
    }
    case paravirtual::kWait:
      last_wait = as<paravirtual::Wait>(argument);
      std::memcpy(reinterpret_cast<void*>(last_wait.text), wait_text.c_str(), wait_text.size() + 1);
      return wait_text.empty() ? 0 : -ETIMEDOUT;
    case paravirtual::kClock:
      as<paravirtual::Clock>(argument).nanoseconds = 4711;
      return 0;
    case paravirtual::kConsume:
      return emulated ? 0 : -EINVAL;
    case abi::kDriverInfoGet:
      as<abi::DeviceDriverInfo>(argument) = {architecture, 0, 0, sizeof(abi::DeviceDriverInfo), feature_flags};
      return 0;
    case abi::kDeviceBasicInfo:
      as<abi::DeviceBasicInfo>(argument) = {architecture, 0};
      return 0;
    case abi::kDeviceInfo: {
      abi::DeviceInfo info{};
      info.architecture = architecture;
      info.connected_device_count = 1;
      info.connected_devices[0] = host_number(file) + 1;
      info.bar_address[0] = kBar0;
      info.bar_address[1] = kBar2;
      as<abi::DeviceInfo>(argument) = info;
      return 0;
    }
    case abi::kDeviceBdfExt:
      as<abi::DeviceBdfExt>(argument) = {0, 1, 2, 3, 4};
      return 0;
    case abi::kDeviceBdf:
      as<abi::DeviceBdf>(argument) = {9, 8, 7};
      return 0;
    case abi::kHostDeviceId:
      as<abi::HostDeviceId>(argument) = {host_number(file)};
      return 0;
    case abi::kCompatibleVersion:
      as<abi::CompatibleVersion>(argument) = {compatible_max, compatible_min};
      return 0;
    case abi::kMemAlloc: {
      const auto& form = as<abi::MemAlloc>(argument);
      return allocate(form.size, form.host_memory != 0, 0, form.mem_handle);
    }
    case abi::kMemAllocV2: {
      const auto& form = as<abi::MemAllocV2>(argument);
      if (form.host_memory != 0 && form.align != 0) return -EINVAL;
      return allocate(form.size, form.host_memory != 0, 0, form.mem_handle);
    }
    case abi::kMemAllocV2Mt: {
      const auto& form = as<abi::MemAllocV2Mt>(argument);
      if (form.host_memory != 0 && form.align != 0) return -EINVAL;
      return allocate(form.size, form.host_memory != 0, form.mem_type, form.mem_handle);
    }
    case abi::kMemAllocV2Mt64: {
      const auto& form = as<abi::MemAllocV2Mt64>(argument);
      if (form.host_memory != 0 && form.align != 0) return -EINVAL;
      return allocate(form.size, form.host_memory != 0, form.mem_type, form.mem_handle);
    }
    case abi::kMemFree:
      return memories.erase(as<abi::MemFree>(argument).mem_handle) != 0 ? 0 : -EINVAL;
    case abi::kMemGetExtendedInfo: {
      auto& info = as<abi::MemGetExtendedInfo>(argument);
      const auto found = memories.find(info.mem_handle);
      if (found == memories.end()) return EINVAL;  // positive, as the driver does
      const Memory& memory = found->second;
      info.host_memory = memory.host ? 1 : 0;
      info.mmap_offset = memory.address;
      info.pa = memory.address | (memory.host ? inf1::kHostBase : 0);
      info.pid = static_cast<std::uint64_t>(::getpid());
      info.size = memory.bytes.size();
      return 0;
    }
    case abi::kMemBufCopy:
      return copy(as<abi::MemBufCopy>(argument));
    case abi::kMemBufCopy64:
      return copy(as<abi::MemBufCopy64>(argument));
    case abi::kMemCopy:
      return move(as<abi::MemCopy>(argument));
    case abi::kMemCopy64:
      return move(as<abi::MemCopy64>(argument));
    case abi::kMemset:
      return set(as<abi::Memset>(argument));
    case abi::kMemset64:
      return set(as<abi::Memset64>(argument));
    case abi::kDmaQueueInit:
      return as<abi::DmaQueueInit>(argument).qid < inf1::kQueuesPerDmaEngine ? 0 : -EINVAL;
    case abi::kDmaQueueInitBatch:
      batches.push_back(as<abi::DmaQueueInitBatch>(argument).count);
      return batches.back() < abi::kMaxQueueInitBatch ? 0 : -E2BIG;
    case abi::kDmaQueueCopyStart:
    case abi::kDmaEngSetState:
    case abi::kDmaCopyDescriptors:
    case abi::kDmaCopyDescriptors64:
    case abi::kReleaseNeuronDs:
      return 0;
    case abi::kDmaQuiesceQueues:
      return quiesces ? 0 : -ENOTTY;
    case abi::kBarWrite: {
      const auto& form = as<abi::BarRw>(argument);
      const auto* addresses = reinterpret_cast<const std::uint64_t*>(form.address);
      const auto* values = reinterpret_cast<const std::uint32_t*>(form.data);
      for (std::uint32_t i = 0; i < form.count; ++i) {
        const std::uint64_t address = form.bar == 0 ? addresses[i] - kBar0 : addresses[0] + 4 * i - kBar2 + (1u << 30);
        registers[address] = values[i];
      }
      return 0;
    }
    case abi::kBarRead: {
      const auto& form = as<abi::BarRw>(argument);
      if (form.bar == 0 ? form.count > 100 : form.count != 1) return -EINVAL;
      for (std::uint32_t i = 0; i < form.count; ++i) {
        const std::uint64_t address = reinterpret_cast<const std::uint64_t*>(form.address)[i];
        reinterpret_cast<std::uint32_t*>(form.data)[i] =
            registers[form.bar == 0 ? address - kBar0 : address - kBar2 + (1u << 30)];
      }
      return 0;
    }
    case abi::kCrwlReaderEnter:
    case abi::kCrwlReaderExit:
    case abi::kCrwlWriterEnter:
    case abi::kCrwlWriterDowngrade:
      return lock(file, request, as<abi::Crwl>(argument));
    case abi::kCrwlNcRangeMark:
    case abi::kCrwlNcRangeMarkExt0:
    case abi::kCrwlNcRangeUnmark:
    case abi::kCrwlNcRangeUnmarkExt0:
      return range(request, argument);
    case abi::kDeviceReset:
      return 0;
    case abi::kDeviceReady:
      as<std::uint8_t>(argument) = reset_result == 0 ? 1 : 0;
      return 0;
    case abi::kSemaphoreWrite:
    case abi::kEventSet:
      return 0;
    case abi::kNcReset:
      if (pending_resets_++ != 0) return 1;  // one per process, as the driver answers
      as<abi::DeviceReset>(argument).request_id = 77;
      return 0;
    case abi::kNcResetReady:
      if (as<abi::DeviceReady>(argument).request_id != 77 || pending_resets_ != 1) return -EIO;
      pending_resets_ = 0;
      as<abi::DeviceReady>(argument).result = reset_result;
      for (const auto& [key, handle] : queues) memories.erase(handle);
      queues.clear();
      return 0;
    case abi::kNotificationsInitV2: {
      auto& form = as<abi::NotificationsInitV2>(argument);
      return queue(form.nq_dev_id, form.nq_type, form.engine_index, form.size, false, form.mmap_offset,
                   form.mem_handle);
    }
    case abi::kNotificationsInitWithReallocV2: {
      auto& form = as<abi::NotificationsInitWithReallocV2>(argument);
      return queue(form.nq_dev_id, form.nq_type, form.engine_index, form.size, form.force_alloc_mem != 0,
                   form.mmap_offset, form.mem_handle);
    }
    case abi::kDeviceGetAllAppsInfo: {
      auto& header = as<abi::GetAppsInfo>(argument);
      header.size = std::min(header.capacity, static_cast<std::uint32_t>(others.size()));
      if (header.size != 0) std::memcpy(&header + 1, others.data(), header.size * sizeof(abi::AppInfo));
      return 0;
    }
    case abi::kAcquireNeuronDs: {
      auto& form = as<abi::NeuronDsInfo>(argument);
      if (form.pid != 0) return -ENOENT;
      std::uint64_t handle = 0;
      allocate(4096, true, 0, reinterpret_cast<std::uintptr_t>(&handle));
      form.mmap_offset = memories.at(handle).address;
      form.size = 4096;
      return 0;
    }
    default:
      return -EINVAL;
  }
}

}  // namespace opennrt::neuron::test
