// SPDX-License-Identifier: Apache-2.0
//
// Devices and their memory.
#include <algorithm>

#include "core/common/bytes.h"
#include "core/umd/core_context.h"
#include "core/umd/driver_call.h"
#include "core/umd/umd.h"

namespace opennrt::umd {
namespace {

constexpr std::uint32_t kInferentia = 1;  // NEURON_ARCH_V1 (aws-neuron-driver share/neuron_driver_shared.h)

std::string_view category_name(opennrt_mem_category_t category) {
  switch (category) {
    case OPENNRT_MEM_CODE_HOST:
    case OPENNRT_MEM_CODE_DEVICE:
      return "instructions";
    case OPENNRT_MEM_TENSORS_HOST:
    case OPENNRT_MEM_TENSORS_DEVICE:
      return "tensors";
    case OPENNRT_MEM_CONSTANTS_HOST:
    case OPENNRT_MEM_CONSTANTS_DEVICE:
      return "constants";
    case OPENNRT_MEM_SCRATCHPAD_DEVICE:
      return "scratchpad";
    case OPENNRT_MEM_DMA_RINGS_HOST:
    case OPENNRT_MEM_DMA_RINGS_DEVICE:
      return "DMA rings";
    case OPENNRT_MEM_NOTIFICATION_HOST:
    case OPENNRT_MEM_NOTIFICATION_DEVICE:
      return "notifications";
    default:
      return "other";
  }
}

/// Constants and what is computed with them lie on different channels, and neighbouring cores begin on different ones, so
/// that their bandwidths add up.
std::uint32_t preferred_channel(std::uint32_t core, opennrt_mem_category_t category, std::uint32_t channels) {
  bool data = category == OPENNRT_MEM_TENSORS_DEVICE || category == OPENNRT_MEM_SCRATCHPAD_DEVICE;
  return (core + (data ? 1 : 0)) % channels;
}

/// The datastore has five slots per place for what the driver tells apart further.
void count(const Device& device, std::uint32_t core, opennrt_mem_category_t category, std::int64_t bytes) {
  using enum observe::CoreCounter;
  using enum observe::DeviceCounter;
  const observe::CounterStore& counters = device.counters();
  switch (category) {
    case OPENNRT_MEM_CODE_HOST:
      counters.add(kCodeHost, bytes);
      return;
    case OPENNRT_MEM_TENSORS_HOST:
      counters.add(kTensorsHost, bytes);
      return;
    case OPENNRT_MEM_CONSTANTS_HOST:
      counters.add(kConstantsHost, bytes);
      return;
    case OPENNRT_MEM_MISC_HOST:
    case OPENNRT_MEM_NOTIFICATION_HOST:
    case OPENNRT_MEM_DMA_RINGS_HOST:
      counters.add(kMiscHost, bytes);
      return;
    case OPENNRT_MEM_CODE_DEVICE:
      counters.add(core, kCodeDevice, bytes);
      return;
    case OPENNRT_MEM_TENSORS_DEVICE:
      counters.add(core, kTensorsDevice, bytes);
      return;
    case OPENNRT_MEM_CONSTANTS_DEVICE:
      counters.add(core, kConstantsDevice, bytes);
      return;
    case OPENNRT_MEM_SCRATCHPAD_DEVICE:
      counters.add(core, kScratchpadDevice, bytes);
      return;
    case OPENNRT_MEM_MISC_DEVICE:
    case OPENNRT_MEM_NOTIFICATION_DEVICE:
    case OPENNRT_MEM_DMA_RINGS_DEVICE:
      counters.add(core, kMiscDevice, bytes);
      return;
  }
}

Status check_access(const Memory& memory, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > memory.bytes() || bytes > memory.bytes() - offset)
    return make_error(ErrorCode::kInvalidArgument, "access to bytes {} to {} of a memory of {} bytes", offset,
                      offset + bytes, memory.bytes());
  return {};
}

}  // namespace

// ---- Memory ----

Memory::~Memory() {
  const auto& api = device_->api();
  if (host_ != nullptr) call(api.mem_unmap, device_->handle(), handle_);
  call(api.mem_free, device_->handle(), handle_);
  count(*device_, core_, category_, -static_cast<std::int64_t>(bytes_));
}

Status Memory::write(std::uint64_t offset, std::span<const std::byte> data) {
  if (auto status = check_access(*this, offset, data.size()); !status) return status;
  if (data.empty()) return {};
  int result = call(device_->api().mem_write, device_->handle(), handle_, offset, static_cast<const void*>(data.data()),
                    data.size());
  if (result != 0) return driver_error(result, "mem_write", device_->number());
  return {};
}

Status Memory::read(std::uint64_t offset, std::span<std::byte> data) const {
  if (auto status = check_access(*this, offset, data.size()); !status) return status;
  if (data.empty()) return {};
  int result =
      call(device_->api().mem_read, device_->handle(), handle_, offset, static_cast<void*>(data.data()), data.size());
  if (result != 0) return driver_error(result, "mem_read", device_->number());
  return {};
}

Status Memory::set(std::uint64_t offset, int value, std::uint64_t bytes) {
  if (auto status = check_access(*this, offset, bytes); !status) return status;
  if (bytes == 0) return {};
  int result =
      call(device_->api().mem_set, device_->handle(), handle_, offset, static_cast<std::uint32_t>(value & 0xff), bytes);
  if (result != 0) return driver_error(result, "mem_set", device_->number());
  return {};
}

// ---- Device ----

Device::Device() = default;

Result<std::shared_ptr<Device>> Device::open(std::shared_ptr<Backend> backend, std::uint32_t number) {
  std::shared_ptr<Device> device(new Device());
  device->backend_ = std::move(backend);
  device->number_ = number;
  const auto& api = device->api();
  Backend::take_error_text();
  int result = api.device_open(device->backend_->handle(), number, &device->handle_);
  if (result != 0) {
    device->handle_ = nullptr;
    std::string text = Backend::take_error_text();
    return with_context(Error{code_of_errno(result), text.empty() ? std::strerror(-result) : text},
                        fmt::format("Neuron Device {} cannot be opened", number));
  }
  result = call(api.device_info, device->handle_, &device->info_);
  if (result != 0) return driver_error(result, "device_info", number);
  const auto& info = device->info_;
  if (info.architecture != kInferentia)
    return make_error(ErrorCode::kUnsupported, "Neuron Device {} is of architecture {}, expected {} (Inferentia)",
                      number, info.architecture, kInferentia);
  auto refuse = [&](const char* field, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
    return make_error(ErrorCode::kInternal, "Neuron Device {}: the backend says that {} is {}, expected {} to {}",
                      number, field, value, least, most);
  };
  if (info.core_count < 1 || info.core_count > inf1::kCoresPerDevice)
    return refuse("core_count", info.core_count, 1, inf1::kCoresPerDevice);
  if (info.dma_engines_per_core != inf1::kDmaEnginesPerCore)
    return refuse("dma_engines_per_core", info.dma_engines_per_core, inf1::kDmaEnginesPerCore,
                  inf1::kDmaEnginesPerCore);
  if (info.queues_per_dma_engine != inf1::kQueuesPerDmaEngine)
    return refuse("queues_per_dma_engine", info.queues_per_dma_engine, inf1::kQueuesPerDmaEngine,
                  inf1::kQueuesPerDmaEngine);
  if (info.dram_channels < 1 || info.dram_channels > inf1::kDramChannels)
    return refuse("dram_channels", info.dram_channels, 1, inf1::kDramChannels);
  return device;
}

Device::~Device() {
  for (auto& context : contexts_) context.reset();
  counters_ = {};
  if (counters_address_ != nullptr) call(api().counters_unmap, handle_, counters_address_);
  if (handle_ != nullptr) api().device_close(handle_);
}

void Device::start_counting() {
  void* address = nullptr;
  std::size_t bytes = 0;
  if (counters_ || call(api().counters_map, handle_, std::int32_t{0}, &address, &bytes) != 0) return;
  counters_address_ = address;
  counters_ = {address, bytes};
  counters_.begin();
}

Result<std::shared_ptr<Memory>> Device::adopt(opennrt_mem_t handle, std::uint64_t bytes, std::uint32_t core,
                                              opennrt_mem_category_t category) {
  std::shared_ptr<Memory> memory(new Memory());
  memory->device_ = shared_from_this();
  memory->handle_ = handle;
  memory->core_ = core;
  memory->bytes_ = bytes;
  opennrt_mem_info_t info{};
  const int result = call(api().mem_info, handle_, handle, &info);
  if (result != 0) return driver_error(result, "mem_info", number_);
  memory->address_ = info.device_address;
  memory->category_ = category;
  count(*this, core, category, static_cast<std::int64_t>(bytes));
  return memory;
}

Result<std::shared_ptr<Memory>> Device::allocate_device(std::uint64_t bytes, std::uint32_t core,
                                                        opennrt_mem_category_t category, std::uint64_t alignment) {
  if (bytes == 0) return make_error(ErrorCode::kInvalidArgument, "device memory of 0 bytes was asked for");
  if (alignment != 0 && !is_power_of_two(alignment))
    return make_error(ErrorCode::kInvalidArgument, "alignment is {}, expected 0 or a power of two", alignment);
  std::uint32_t first = preferred_channel(core, category, info_.dram_channels);
  opennrt_mem_t handle = 0;
  int result = -ENOMEM;
  // Each core begins with a region of its own, and borrows from the others of the channel before it takes the next one.
  const std::uint32_t regions = std::max(1u, info_.dram_regions);
  for (std::uint32_t i = 0; i < info_.dram_channels * regions && result == -ENOMEM; ++i) {
    const std::uint32_t channel = (first + i / regions) % info_.dram_channels, region = (core + i) % regions;
    opennrt_mem_params_t params{bytes, alignment, false, channel, region, core, category};
    result = call(api().mem_alloc, handle_, static_cast<const opennrt_mem_params_t*>(&params), &handle);
  }
  if (result == -ENOMEM) {
    opennrt_mem_stats_t stats{};
    bool known = call(api().mem_stats, handle_, core, &stats) == 0;
    return make_error(
        ErrorCode::kResource, "out of device memory on Neuron Device {} NC {}: {} bytes asked for ({}), {}", number_,
        core, bytes, category_name(category),
        known ? fmt::format("{} of {} free", stats.capacity - std::min(stats.used, stats.capacity), stats.capacity)
              : "nothing that large is free");
  }
  if (result != 0) return driver_error(result, "mem_alloc", number_);
  return adopt(handle, bytes, core, category);
}

Result<std::shared_ptr<Memory>> Device::allocate_host(std::uint64_t bytes, std::uint32_t core,
                                                      opennrt_mem_category_t category) {
  if (bytes == 0) return make_error(ErrorCode::kInvalidArgument, "host memory of 0 bytes was asked for");
  opennrt_mem_params_t params{bytes, 4096, true, 0, 0, core, category};
  opennrt_mem_t handle = 0;
  int result = call(api().mem_alloc, handle_, static_cast<const opennrt_mem_params_t*>(&params), &handle);
  if (result == -ENOMEM)
    return make_error(ErrorCode::kResource,
                      "out of host memory for DMA on Neuron Device {} NC {}: {} bytes asked for ({})", number_, core,
                      bytes, category_name(category));
  if (result != 0) return driver_error(result, "mem_alloc", number_);
  auto memory = adopt(handle, bytes, core, category);
  if (!memory) return memory;
  void* address = nullptr;
  result = call(api().mem_map, handle_, handle, &address);
  if (result != 0) return driver_error(result, "mem_map", number_);
  (*memory)->host_ = static_cast<std::byte*>(address);
  return memory;
}

Status Device::copy(const Memory& from, std::uint64_t from_offset, Memory& to, std::uint64_t to_offset,
                    std::uint64_t bytes) {
  if (&from.device() != this || &to.device() != this)
    return make_error(ErrorCode::kInvalidArgument,
                      "copy between memories of Neuron Device {} and {} on Neuron Device {}", from.device().number(),
                      to.device().number(), number_);
  if (auto status = check_access(from, from_offset, bytes); !status) return with_context(status.error(), "source");
  if (auto status = check_access(to, to_offset, bytes); !status) return with_context(status.error(), "destination");
  if (bytes == 0) return {};
  int result = call(api().mem_copy, handle_, from.handle(), from_offset, to.handle(), to_offset, bytes);
  if (result != 0) return driver_error(result, "mem_copy", number_);
  return {};
}

std::uint64_t Device::clock_ns() const {
  std::uint64_t now = 0;
  return call(api().clock, handle_, &now) == 0 ? now : 0;
}

Result<CoreContext*> Device::core_context(std::uint32_t core) {
  if (core >= info_.core_count)
    return make_error(ErrorCode::kInvalidArgument, "NC {} of Neuron Device {}: expected 0 to {}", core, number_,
                      info_.core_count - 1);
  std::lock_guard lock(mutex_);
  if (!contexts_[core]) {
    auto context = CoreContext::create(*this, core);
    if (!context) return tl::unexpected(context.error());
    contexts_[core] = std::move(*context);
  }
  return contexts_[core].get();
}

}  // namespace opennrt::umd
