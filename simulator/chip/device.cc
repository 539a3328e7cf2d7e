// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/device.h"

#include <algorithm>
#include <cstring>

namespace opennrt::sim {
namespace {

constexpr std::uint32_t kNobodyAnswers = 0xffff'ffff;

}  // namespace

Device::Device(Context& context, std::uint32_t index)
    : context_(context),
      index_(index),
      mailbox_(fmt::format("device{}_firmware", index).c_str(), context, *this, index,
               [this](std::uint32_t core_map) { reset(core_map); }) {
  for (std::uint32_t c = 0; c < cores_.size(); ++c) cores_[c] = std::make_unique<Core>(context, *this, index, c);
  for (std::uint32_t e = 0; e < dma_.size(); ++e) {
    Core& core = *cores_[e / inf1::kDmaEnginesPerCore];
    const DmaEnvironment environment{context, *this, links_, core.notifier(), core.stats(), core};
    dma_[e] = std::make_unique<DmaEngine>(environment, index, e);
  }
}

Status Device::power_on() {
  for (std::uint32_t channel = 0; channel < dram_.size(); ++channel) {
    auto memory = Mapping::reserve(context_.config.dram_channel_bytes);
    if (!memory) return with_context(memory.error(), fmt::format("device {} DRAM channel {}", index_, channel));
    dram_[channel] = std::move(*memory);
  }
  for (auto& core : cores_) {
    if (auto status = core->power_on(); !status) return status;
  }
  mailbox_.power_on((east_ != nullptr ? inf1::kFwEastLink : 0) | (west_ != nullptr ? inf1::kFwWestLink : 0));
  pci_.power_on(context_.config.pci_revision, context_.config.pci_bar4_bytes);
  return {};
}

void Device::connect(Device* east, Device* west) {
  east_ = east;
  west_ = west;
}

void Device::memory_error(MemoryKind memory, std::uint32_t channel, bool corrected, Core* reader) {
  using enum inf1::chosen::ErrorNotification;
  const bool sram = memory == MemoryKind::kSram;
  channel %= inf1::kDramChannels;
  mailbox_.count_memory_error(sram ? inf1::kFwEccSram : inf1::kFwEccDram + 4 * channel, corrected);
  if (corrected) return;
  for (auto& core : cores_) {
    if (reader != nullptr && reader != core.get()) continue;
    core->notifier().error(sram ? kSramUncorrectable : kDramUncorrectable, Notifier::kDmaSender, sram ? 0 : channel);
  }
}

void Device::power_off() {
  for (auto& engine : dma_) engine->reset();
  for (auto& core : cores_) core->power_off();
  for (Mapping& channel : dram_) channel = {};
  mailbox_.power_off();
  links_down_ = 0;
  east_ = west_ = nullptr;
  links_.reset();
  storage_.clear();
}

void Device::reset(std::uint32_t core_map) {
  for (std::uint32_t c = 0; c < cores_.size(); ++c) {
    if ((core_map >> c & 1) == 0) continue;
    for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerCore; ++e) dma_[c * inf1::kDmaEnginesPerCore + e]->reset();
    cores_[c]->reset();
  }
  if (core_map != 0xffff'ffff) return;
  links_down_ = 0;
  if (west_ != nullptr) west_->links_down_ &= ~(1u << kEastLink);
  if (east_ != nullptr) east_->links_down_ &= ~(1u << kWestLink);
  links_.reset();
  storage_.clear();
  mailbox_.clear();
}

// ---- addresses as DMA has them ----

Target Device::resolve(std::uint64_t address, std::uint64_t bytes) {
  Target target;
  const std::uint64_t link = address & inf1::kWestBase, rest = address & ~inf1::kWestBase;
  if (link == 0) return local(rest, bytes);
  if (links_down_ != 0 && link_is_down(link == inf1::kHostBase   ? kHostLink
                                       : link == inf1::kEastBase ? kEastLink
                                                                 : kWestLink)) {
    return target;
  }
  if (link == inf1::kHostBase) {
    target.memory = context_.host.find(rest, bytes);
    if (target.memory != nullptr) target.place = Place::kHost;
  } else if (link == inf1::kEastBase && east_ != nullptr) {
    target = east_->local(rest, bytes);
    target.link_write = &links_.to_east;
    target.link_read = &links_.from_east;
  } else if (link == inf1::kWestBase && west_ != nullptr) {
    target = west_->local(rest, bytes);
    target.link_write = &west_->links_.from_east;
    target.link_read = &west_->links_.to_east;
  }
  return target;
}

Target Device::local(std::uint64_t address, std::uint64_t bytes) {
  Target target;
  // Port 1 reaches the same memory; the core windows and registers lie below it.
  const std::uint64_t port0 = address & ~inf1::kPort1;
  for (std::uint32_t channel = 0; channel < dram_.size(); ++channel) {
    const std::uint64_t offset = port0 - inf1::kDramChannelBase[channel];
    if (port0 < inf1::kDramChannelBase[channel] || offset >= dram_[channel].bytes()) continue;
    if (bytes > dram_[channel].bytes() - offset) return target;
    target.place = Place::kDram;
    target.memory = dram_[channel].data() + offset;
    target.channel = channel;
    target.dram = &links_.dram[channel];
    return target;
  }
  if (port0 >= inf1::kTpbBase && port0 < inf1::kTpbBase + inf1::kCoresPerDevice * inf1::kCoreWindow) {
    const std::uint64_t offset = port0 - inf1::kTpbBase;
    const auto core = static_cast<std::uint32_t>(offset / inf1::kCoreWindow);
    if (!core_answers(core)) return target;
    target = cores_[core]->window_resolve(offset % inf1::kCoreWindow, bytes);
  } else if (port0 >= inf1::kApbBase && port0 < inf1::kApbBase + inf1::kBar0Bytes) {
    target.place = Place::kRegister;
    target.bar = 0;
    target.offset = port0 - inf1::kApbBase;
  }
  if (target.place == Place::kRegister) target.chip = this;
  return target;
}

bool Device::write(std::uint64_t address, std::span<const std::byte> data) {
  const Target target = resolve(address, data.size());
  if (target.place != Place::kDram && target.place != Place::kHost && target.place != Place::kCoreMemory) return false;
  // Last what a reader polls: notification entries begin with their phase.
  if (data.size() > 1) std::memcpy(target.memory + 1, data.data() + 1, data.size() - 1);
  if (!data.empty()) {
    __atomic_store_n(reinterpret_cast<std::uint8_t*>(target.memory), static_cast<std::uint8_t>(data[0]),
                     __ATOMIC_RELEASE);
  }
  if (target.place == Place::kHost) context_.host_written();
  return true;
}

// ---- registers ----

std::byte* Device::dram(std::uint64_t bar4_offset) {
  const std::uint64_t channel_bytes = context_.config.dram_channel_bytes;  // both channels, one after the other
  const std::uint64_t channel = bar4_offset / channel_bytes, offset = bar4_offset % channel_bytes;
  if (channel >= dram_.size() || channel_bytes - offset < 4) return nullptr;
  return dram_[channel].data() + offset;
}

std::uint32_t Device::register_read(std::uint32_t bar, std::uint64_t offset) {
  if (offset % 4 != 0) return kNobodyAnswers;
  if (bar == 0) return apb_read(offset);
  if (bar == 2 && offset < inf1::kBar2Bytes && core_answers(static_cast<std::uint32_t>(offset / inf1::kCoreWindow))) {
    return cores_[offset / inf1::kCoreWindow]->window_read(offset % inf1::kCoreWindow).value_or(kNobodyAnswers);
  }
  if (bar == 4) {
    if (const std::byte* memory = dram(offset); memory != nullptr) {
      std::uint32_t value;
      std::memcpy(&value, memory, sizeof value);
      return value;
    }
  }
  return kNobodyAnswers;
}

void Device::register_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t value) {
  if (offset % 4 != 0) return;
  if (bar == 0) {
    apb_write(offset, value);
  } else if (bar == 2 && offset < inf1::kBar2Bytes &&
             core_answers(static_cast<std::uint32_t>(offset / inf1::kCoreWindow))) {
    (void)cores_[offset / inf1::kCoreWindow]->window_write(offset % inf1::kCoreWindow, value);
  } else if (bar == 4) {
    if (std::byte* memory = dram(offset); memory != nullptr) std::memcpy(memory, &value, sizeof value);
  }
}

namespace {

enum class Block { kNone, kMailbox, kPutils, kUdma, kTdma };
struct ApbPlace {
  Block block = Block::kNone;
  std::uint32_t core = 0;   ///< that it belongs to; not for the mailbox
  std::uint32_t index = 0;  ///< core or DMA engine of the device
  std::uint64_t offset = 0;
};

ApbPlace locate(std::uint64_t offset) {
  if (offset >= inf1::kMiscRam && offset - inf1::kMiscRam < Mailbox::kBytes) {
    return {Block::kMailbox, 0, 0, offset - inf1::kMiscRam};
  }
  if (offset >= inf1::kPutilsBase && offset - inf1::kPutilsBase < inf1::kCoresPerDevice * inf1::kPutilsStride) {
    const std::uint64_t in = offset - inf1::kPutilsBase;
    const auto core = static_cast<std::uint32_t>(in / inf1::kPutilsStride);
    return {Block::kPutils, core, core, in % inf1::kPutilsStride};
  }
  const auto core = static_cast<std::uint32_t>(offset / inf1::kUdmaCoreStride);
  const std::uint64_t in = offset % inf1::kUdmaCoreStride;
  if (core >= inf1::kCoresPerDevice) return {};
  if (in >= inf1::kUdmaBase) {
    const std::uint64_t engine = (in - inf1::kUdmaBase) / inf1::kUdmaEngineStride;
    return {Block::kUdma, core, static_cast<std::uint32_t>(core * inf1::kDmaEnginesPerCore + engine),
            (in - inf1::kUdmaBase) % inf1::kUdmaEngineStride};
  }
  if (in < inf1::kDmaEnginesPerCore * inf1::kTdmaEngineStride) return {Block::kTdma, core, 0, offset};
  return {};
}

}  // namespace

std::uint32_t Device::apb_read(std::uint64_t offset) {
  const ApbPlace place = locate(offset);
  if (place.block != Block::kMailbox && !core_answers(place.core)) return kNobodyAnswers;
  switch (place.block) {
    case Block::kNone:
      return kNobodyAnswers;
    case Block::kMailbox:
      if (links_down_ != 0 && place.offset / 4 * 4 == inf1::kFwStatus) {
        return mailbox_.read(place.offset) & ~down_neighbours();
      }
      return mailbox_.read(place.offset);
    case Block::kUdma:
      return dma_[place.index]->read(place.offset);
    case Block::kPutils:
      if (const auto value = cores_[place.index]->notifier().read(place.offset)) return *value;
      break;
    case Block::kTdma:
      break;
  }
  const auto it = storage_.find(offset);
  return it == storage_.end() ? 0 : it->second;
}

void Device::apb_write(std::uint64_t offset, std::uint32_t value) {
  const ApbPlace place = locate(offset);
  if (place.block != Block::kMailbox && !core_answers(place.core)) return;
  switch (place.block) {
    case Block::kNone:
      return;
    case Block::kMailbox:
      mailbox_.write(place.offset, value);
      return;
    case Block::kUdma:
      dma_[place.index]->write(place.offset, value);
      return;
    case Block::kPutils:
      if (cores_[place.index]->notifier().write(place.offset, value)) return;
      break;
    case Block::kTdma:
      break;
  }
  storage_[offset] = value;
}

std::string Device::describe_core(std::uint32_t core) {
  std::string text;
  auto add = [&](const std::string& part) {
    if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
  };
  for (std::size_t e = 0; e < isa::kEngines; ++e) add(cores_[core]->engine(e).describe());
  for (std::uint32_t e = 0; e < inf1::kDmaEnginesPerCore; ++e) {
    for (std::uint32_t q = 0; q < inf1::kQueuesPerDmaEngine; ++q) {
      add(dma_[core * inf1::kDmaEnginesPerCore + e]->queue(q).describe());
    }
  }
  return text;
}

}  // namespace opennrt::sim
