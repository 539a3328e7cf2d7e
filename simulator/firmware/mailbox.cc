// SPDX-License-Identifier: Apache-2.0
#include "simulator/firmware/mailbox.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "simulator/firmware/crc32c.h"

namespace opennrt::sim {

using namespace inf1;

namespace {

constexpr std::uint32_t kNobodyAnswers = 0xffff'ffff;
constexpr std::uint32_t kMaxBytes = 0xffff;  // the size field has 16 bits

constexpr std::size_t kEccFirst = kFwEccSram / 4, kEccWords = 1 + kDramChannels;

}  // namespace

Mailbox::Mailbox(const char* name, Context& context, Bus& bus, std::uint32_t device,
                 std::function<void(std::uint32_t)> reset)
    : Unit(name), context_(context), bus_(bus), device_(device), reset_(std::move(reset)) {}

void Mailbox::power_on(std::uint32_t links) {
  links_ = links;
  words_ = {};
  clear();
}

void Mailbox::power_off() {
  cancel();
  in_reset_ = requests_ = 0;
  ignored_ = 0;
}

void Mailbox::clear() {
  cancel();
  in_reset_ = requests_ = 0;
  std::array<std::uint32_t, kEccWords> ecc;
  std::copy_n(words_.begin() + kEccFirst, kEccWords, ecc.begin());
  words_ = {};
  std::copy(ecc.begin(), ecc.end(), words_.begin() + kEccFirst);
  word(kFwApiVersion) = context_.config.firmware_api_version;
  const std::uint64_t serial = context_.config.serial_number + device_;
  word(kFwSerialLow) = static_cast<std::uint32_t>(serial);
  word(kFwSerialHigh) = static_cast<std::uint32_t>(serial >> 32);
  word(kFwStatus) = kFwReady | links_;
}

void Mailbox::count_memory_error(std::uint32_t at, bool corrected) {
  const std::uint32_t shift = corrected ? 16 : 0;
  if ((word(at) >> shift & 0xffff) != 0xffff) word(at) += 1u << shift;
}

void Mailbox::write(std::uint64_t offset, std::uint32_t value) {
  offset = offset % kBytes / 4 * 4;
  // The firmware's own words.
  if (offset == kFwApiVersion || offset == kFwStatus || offset == kFwSerialLow || offset == kFwSerialHigh ||
      (offset >= kFwEccSram && offset < kFwEccSram + 4 * kEccWords)) {
    return;
  }
  if (offset == kFwDoorbell) {
    doorbell();
  } else {
    words_[offset / 4] = value;
  }
}

void Mailbox::doorbell() {
  if (in_reset_ != 0) return;
  if (context_.faults != nullptr && !answers()) return;
  const std::uint32_t kind = std::exchange(word(kFwReset), 0);
  if (kind == kFwResetDevice) {
    start_reset(kDevice, context_.config.device_reset_ps);
  } else if (kind == kFwResetByMap) {
    start_reset(word(kFwResetCores) & ((1u << kCoresPerDevice) - 1), context_.config.core_reset_ps);
  } else if (kind != 0) {
    context_.log(LogLevel::kWarning, fmt::format("device {}: reset of kind {}, expected {} (device) or {} (cores)",
                                                 device_, kind, kFwResetDevice, kFwResetByMap));
  } else if (requests_++ == 0) {
    schedule(context_.config.mailbox_ps);
  }
}

void Mailbox::start_reset(std::uint32_t core_map, std::uint64_t picoseconds) {
  reset_(core_map);  // for the device this clears MISC RAM, too
  cancel();
  requests_ = 0;
  word(kFwStatus) &= ~kFwReady;
  // The driver of this generation resets cores with an empty map (v1/neuron_dhal_v1.c): nobody is reset, all the rest
  // is as ever.
  in_reset_ = core_map == 0 ? 1u << kCoresPerDevice : core_map;
  schedule(picoseconds);
}

void Mailbox::activate() {
  if (in_reset_ != 0) {
    in_reset_ = 0;
    word(kFwStatus) |= kFwReady;
    return;
  }
  if (requests_ == 0) return;
  serve();
  if (--requests_ != 0) schedule(context_.config.mailbox_ps);
}

std::uint32_t Mailbox::read_word(std::uint64_t at) {
  if (at % 4 != 0) return kNobodyAnswers;
  const Target target = bus_.resolve(at, 4);
  if (target.place == Place::kRegister) return target.chip->register_read(target.bar, target.offset);
  if (target.memory == nullptr) return kNobodyAnswers;
  std::uint32_t value;
  std::memcpy(&value, target.memory, sizeof value);
  return value;
}

void Mailbox::serve() {
  const std::uint64_t at = address(kFwRequestHigh, kFwRequestLow);
  FwRequest request;
  const Target header = bus_.resolve(at, sizeof request);
  if (header.memory == nullptr) {
    context_.log(LogLevel::kWarning, fmt::format("device {}: firmware request at {:#x}, where nobody answers; it is "
                                                 "not served",
                                                 device_, at));
    return;
  }
  std::memcpy(&request, header.memory, sizeof request);
  const Target all = bus_.resolve(at, request.bytes);
  if (request.bytes < sizeof request || all.memory == nullptr) {
    context_.log(LogLevel::kWarning, fmt::format("device {}: firmware request of {} bytes, expected {} or more, all of "
                                                 "them where somebody answers",
                                                 device_, request.bytes, sizeof request));
    respond(request.sequence, kFwFailed, {});
    return;
  }
  std::vector<std::byte> bytes(all.memory, all.memory + request.bytes);
  std::memset(bytes.data() + offsetof(FwRequest, crc32c), 0, sizeof request.crc32c);
  if (const std::uint32_t crc = crc32c(bytes); crc != request.crc32c) {
    context_.log(LogLevel::kWarning,
                 fmt::format("device {}: firmware request {} has CRC-32C {:#010x}, expected {:#010x}", device_,
                             request.sequence, request.crc32c, crc));
    respond(request.sequence, kFwFailed, {});
    return;
  }
  const std::span data = std::span<const std::byte>(bytes).subspan(sizeof request);
  switch (request.command) {
    case kFwCommandRead: {
      const std::size_t count = data.size() / 8;
      if (data.size() % 8 != 0 || sizeof(FwResponse) + count * 4 > kMaxBytes) {
        respond(request.sequence, kFwFailed, {});
        return;
      }
      std::vector<std::byte> values(count * 4);
      for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t where;
        std::memcpy(&where, data.data() + i * 8, sizeof where);
        const std::uint32_t value = read_word(where);
        std::memcpy(values.data() + i * 4, &value, sizeof value);
      }
      respond(request.sequence, kFwOk, values);
      return;
    }
    case kFwCommandMetrics:
      // They would go to CloudWatch; the words at kFwMetrics keep the last ones.
      context_.log(LogLevel::kDebug, fmt::format("device {}: {} bytes of metrics", device_, data.size()));
      respond(request.sequence, data.size() <= kFwMetricsBytes ? kFwOk : kFwFailed, {});
      return;
    default:
      respond(request.sequence, kFwUnknownCommand, {});
  }
}

void Mailbox::respond(std::uint8_t sequence, std::uint8_t error, std::span<const std::byte> data) {
  const FwResponse response{sequence, error, static_cast<std::uint16_t>(sizeof(FwResponse) + data.size())};
  std::vector<std::byte> bytes(response.bytes);
  std::memcpy(bytes.data(), &response, sizeof response);
  std::copy(data.begin(), data.end(), bytes.begin() + sizeof response);
  const std::uint64_t at = address(kFwResponseHigh, kFwResponseLow);
  if (bus_.write(at, bytes)) return;  // which writes the first byte, the sequence number, last
  context_.log(LogLevel::kWarning,
               fmt::format("device {}: firmware response at {:#x}, where nobody answers; it is lost", device_, at));
}

}  // namespace opennrt::sim
