// SPDX-License-Identifier: Apache-2.0
//
// Faults of a core's engines, its memories, semaphores and notification queues.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/isa/footprint.h"
#include "core/isa/table.h"
#include "simulator/chip/core.h"
#include "simulator/chip/device.h"

namespace opennrt::sim {
namespace {

using faults::Rule;
using inf1::chosen::ErrorNotification;

/// The byte of SBUF or PSUM that a rule's memory, partition and offset name; what is beyond the memory's end counts on
/// from its start.
std::byte& byte_of(const Rule& rule, const CoreMemory& memory) {
  const bool sbuf = faults::text(rule, "memory") == "sbuf";
  const std::uint64_t bytes = isa::bytes_per_partition(sbuf ? isa::Space::kSbuf : isa::Space::kPsum, memory.limits);
  const auto partition = static_cast<std::uint64_t>(faults::integer(rule, "partition")) % memory.limits.partitions;
  const auto offset = static_cast<std::uint64_t>(faults::integer(rule, "offset")) % bytes;
  return (sbuf ? memory.sbuf : memory.psum)[partition * bytes + offset];
}

bool is_floating(isa::DataType type) {
  return type == isa::DataType::kFp32 || type == isa::DataType::kBf16 || type == isa::DataType::kFp16;
}

void store_nan(std::byte* at, isa::DataType type) {
  const std::uint32_t nan = type == isa::DataType::kFp32 ? 0x7fc0'0000 : type == isa::DataType::kBf16 ? 0x7fc0 : 0x7e00;
  std::memcpy(at, &nan, isa::data_type_bytes(type));
}

/// Where element `index` of an operand is, counted over its partitions one after another; its last one if beyond.
std::byte* element(const isa::Operand& operand, const isa::Instruction& instruction, std::uint32_t partitions,
                   std::uint64_t index, const CoreMemory& memory) {
  const std::uint64_t each = isa::element_count(instruction.counts);
  index = std::min(index, each * partitions - 1);
  const std::uint64_t partition = operand.partition + index / each;
  std::uint64_t rest = index % each;
  std::int64_t at = operand.offset;
  for (std::size_t i = 0; i < instruction.counts.size(); ++i) {
    const auto step = static_cast<std::int64_t>(rest % instruction.counts[i]);
    at += step * operand.steps[i] * static_cast<std::int64_t>(isa::data_type_bytes(operand.dtype));
    rest /= instruction.counts[i];
  }
  std::byte* base = operand.space == isa::Space::kSbuf ? memory.sbuf : memory.psum;
  return base + partition * isa::bytes_per_partition(operand.space, memory.limits) + at;
}

std::string_view sender_name(std::uint8_t sender) {
  return sender < isa::kEngines ? isa::engine_name(static_cast<isa::Engine>(sender)) : std::string_view{};
}

std::string_view queue_name(inf1::NotificationType type) {
  switch (type) {
    case inf1::NotificationType::kTrace:
      return "trace";
    case inf1::NotificationType::kNotify:
      return "notify";
    case inf1::NotificationType::kEvent:
      return "event";
    case inf1::NotificationType::kError:
      break;
  }
  return "error";
}

}  // namespace

FaultPlace Sequencer::place() const {
  return {core_.device_index(), core_.index(), isa::engine_name(engine_)};
}

bool Sequencer::fault_at_start(std::uint64_t& ps) {
  Faults& faults = *context_.faults;
  const FaultPlace where = place();
  const std::uint64_t now = context_.now_ns();
  faults.at(Fault::kSramCorrectable, where, now,
            [&](const Rule&) { core_.device().memory_error(MemoryKind::kSram, 0, true); });
  faults.at(Fault::kSramUncorrectable, where, now, [&](const Rule& rule) {
    byte_of(rule, core_.memory()) ^= pair_of_bits(rule);
    core_.device().memory_error(MemoryKind::kSram, 0, false, &core_);
  });
  faults.at(
      Fault::kDataBitFlip, where, now, [](const Rule& rule) { return faults::text(rule, "memory") != "dma"; },
      [&](const Rule& rule) { byte_of(rule, core_.memory()) ^= one_bit(rule); });
  faults.at(Fault::kEngineSlow, where, now, [&](const Rule& rule) {
    // Not beyond what the kernel's clock can hold.
    constexpr double kLongestPs = 1e18;
    ps = static_cast<std::uint64_t>(std::min(kLongestPs, std::ceil(static_cast<double>(ps) * number(rule, "factor"))));
  });
  bool ends = true;
  faults.at(Fault::kEngineHang, where, now, [&](const Rule&) { ends = false; });
  if (!ends) halt(ErrorNotification::kNone, "it hangs: " + isa::disassemble(current_));
  return ends;
}

void Sequencer::fault_in_result(Effect& effect) {
  const isa::OpcodeInfo* info = isa::find_opcode(current_.opcode);
  if (info == nullptr || !info->uses(isa::kFieldDst) || !is_floating(current_.dst.dtype)) return;
  context_.faults->at(Fault::kNanProduced, place(), context_.now_ns(), [&](const Rule& rule) {
    const std::uint32_t partitions = isa::partition_count(info->dst_partitions, current_);
    store_nan(element(current_.dst, current_, partitions, static_cast<std::uint64_t>(integer(rule, "element")),
                      core_.memory()),
              current_.dst.dtype);
    effect.error = ErrorNotification::kNumerical;
  });
}

bool Core::change_is_lost(std::uint32_t semaphore, std::uint8_t sender) {
  bool lost = false;
  context_.faults->at(
      Fault::kSemaphoreStuck, {device_index_, index_, sender_name(sender)}, context_.now_ns(),
      [&](const Rule& rule) {
        const std::int64_t wanted = faults::integer(rule, "semaphore");
        return wanted < 0 || wanted == semaphore;
      },
      [&](const Rule&) { lost = true; });
  return lost;
}

bool Notifier::found_full(inf1::NotificationType type) {
  bool full = false;
  context_.faults->at(
      Fault::kNotificationOverflow, place_, context_.now_ns(),
      [&](const Rule& rule) { return faults::text(rule, "queue") == queue_name(type); },
      [&](const Rule&) { full = true; });
  return full;
}

}  // namespace opennrt::sim
